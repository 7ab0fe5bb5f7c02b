//! What the tools do, and what they say where they do not.

use super::{call, done, lines, recorder, refused};
use crate::support::{Api, Server, Terminal, marked, soon};
use futures_util::future::join_all;
use serde_json::{Value, json};
use std::time::{Duration, Instant};

#[actix_web::test]
async fn a_wait_counts_only_what_comes_after_what_was_sent() {
    let server = Server::start().await;
    let api = server.api();
    let (session, file) = recorder(&server).await;
    let send = |text: &str, wait: Value, timeout_ms: u64| {
        let keys = ["Enter"];
        done(
            &api,
            "session_send",
            json!({ "session": session, "text": text, "keys": keys, "wait": wait, "timeout_ms": timeout_ms }),
        )
    };
    let first = send("a", json!({ "text": "got a" }), 20_000).await;
    assert_eq!((&first["waited"], &first["typed"]), (&json!("held"), &json!(2)));
    // It is on the screen, and not printed again.
    let old = send("b", json!({ "text": "got a" }), 300).await;
    assert_eq!(old["waited"], "timeout");
    assert!(old["screen"].as_str().unwrap().contains("got a"), "{old}");
    let quiet = send("c", json!({ "quiet_ms": 100 }), 20_000).await;
    assert_eq!(quiet["waited"], "held");
    assert!(quiet["screen"].as_str().unwrap().ends_with("got c"), "{quiet}");
    // From an offset on, which an earlier answer has told.
    let after =
        json!({ "session": session, "wait": { "text": "got b" }, "after": first["offset"] });
    assert_eq!(done(&api, "session_wait", after).await["waited"], "held");
    let after = json!({ "session": session, "wait": { "text": "got b" }, "after": quiet["offset"], "timeout_ms": 200 });
    assert_eq!(done(&api, "session_wait", after).await["waited"], "timeout");
    let beyond =
        json!({ "session": session, "text": "d", "wait": { "text": "x" }, "after": 1_u64 << 40 });
    let beyond = refused(&api, "session_send", beyond, "offset_gone").await;
    assert_eq!(beyond["typed"], 0);
    let plain = done(&api, "session_send", json!({ "session": session, "keys": ["C-d"] })).await;
    assert_eq!((&plain["waited"], &plain["typed"]), (&Value::Null, &json!(1)));
    let over = json!({ "session": session, "wait": { "text": "never" } });
    assert_eq!(done(&api, "session_wait", over).await["waited"], "ended");
    // A wait hears of the end before the session is among those that have ended.
    api.ended(&session).await;
    let ended = json!({ "session": session, "text": "e" });
    assert_eq!(refused(&api, "session_send", ended, "ended").await["typed"], 0);
    assert_eq!(lines(&file), ["a", "b", "c"]);
}

#[actix_web::test]
async fn what_is_sent_again_with_its_key_is_typed_once_also_over_a_kill() {
    let mut server = Server::start().await;
    let api = server.api();
    let (session, file) = recorder(&server).await;
    let send = |key: &str, text: &str| {
        let wait = json!({ "text": format!("got {text}") });
        json!({
            "session": session, "text": text, "keys": ["Enter"], "wait": wait, "timeout_ms": 300,
            "idempotency_key": key,
        })
    };
    assert_eq!(done(&api, "session_send", send("k", "a")).await["waited"], "held");
    assert_eq!(done(&api, "session_send", send("k", "a")).await["waited"], "timeout");
    server.kill_and_restart().await;
    let again = done(&api, "session_send", send("k", "a")).await;
    assert_eq!((&again["waited"], &again["typed"]), (&json!("timeout"), &json!(2)));
    // Where the wait is to count is the client's to say.
    let mut from = send("k", "a");
    from["after"] = 0.into();
    assert_eq!(done(&api, "session_send", from).await["waited"], "held");
    assert_eq!(done(&api, "session_send", send("l", "a")).await["waited"], "held", "another key");
    assert_eq!(done(&api, "session_send", send("l", "b")).await["waited"], "held", "another text");
    // Nor is it somebody else's.
    let made = api.post("/api/v1/tokens", json!({ "name": "anna" }).to_string()).await.ok(201);
    let anna = api.with_token(made["token"].as_str().unwrap());
    assert_eq!(done(&anna, "session_send", send("k", "a")).await["waited"], "held");
    assert_eq!(lines(&file), ["a", "a", "b", "a"]);
}

/// The holder counts 64 clients of a session. Requests with a key come and go without pushing out one
/// that is attached and has not typed for long.
#[actix_web::test]
async fn many_keys_leave_an_attached_client_alone() {
    let server = Server::start().await;
    let api = server.api();
    let (session, file) = recorder(&server).await;
    let (mut terminal, _) = Terminal::attach(&server, &session, "client=person").await;
    terminal.type_in("first\n").await;
    terminal.wait_for("got first").await;
    for number in 0..100 {
        let key = format!("k{number}");
        let send =
            json!({ "session": session, "text": "x", "keys": ["Enter"], "idempotency_key": key });
        done(&api, "session_send", send).await;
    }
    terminal.type_in("second\n").await;
    terminal.wait_for("got second").await;
    let typed = lines(&file);
    assert_eq!(typed.len(), 102);
    assert_eq!(typed.iter().filter(|line| *line == "x").count(), 100);
}

#[actix_web::test]
async fn calls_on_one_session_are_served_in_order() {
    let server = Server::start().await;
    let api = server.api();
    let (session, file) = recorder(&server).await;
    let send = |number: usize| {
        let (text, wait) = (format!("{number}"), json!({ "text": format!("got {number}") }));
        json!({ "session": session, "text": text, "keys": ["Enter"], "wait": wait })
    };
    // Each has its own wait, and sees what was said to it last of all.
    let answers = join_all((0..20).map(|number| done(&api, "session_send", send(number)))).await;
    for (number, told) in answers.iter().enumerate() {
        assert_eq!(told["waited"], "held");
        let screen = told["screen"].as_str().unwrap();
        assert!(screen.ends_with(&format!("got {number}")), "{number}: {screen}");
    }
    assert_eq!(lines(&file).len(), 20);
    // Who waits holds up nobody else, and other sessions not at all.
    let never = json!({ "session": session, "wait": { "text": "never" }, "timeout_ms": 60_000 });
    let waiting = actix_web::rt::spawn({
        let api = api.clone();
        async move { call(&api, "session_wait", never).await }
    });
    let made = api.post("/api/v1/tokens", json!({ "name": "anna" }).to_string()).await.ok(201);
    let anna = api.with_token(made["token"].as_str().unwrap());
    done(&anna, "session_send", send(20)).await;
    let (other, _) = recorder(&server).await;
    done(&api, "session_screen", json!({ "session": other })).await;
    assert!(!waiting.is_finished());
    done(&anna, "session_end", json!({ "session": session })).await;
    let (failed, told) = soon("the end of the wait", waiting).await.unwrap();
    assert_eq!((failed, &told["waited"]), (false, &json!("ended")));
}

#[actix_web::test]
async fn a_command_is_run_once_to_its_end() {
    let mut server = Server::start().await;
    let api = server.api();
    let run = |arguments: Value| done(&api, "command_run", arguments);
    let told =
        run(json!({ "command": "echo $((6 * 7)); echo $PWD >&2; exit 3", "cwd": "/tmp" })).await;
    assert_eq!((&told["exit_code"], &told["output"]), (&json!(3), &json!("42\n/tmp\n")));
    assert_eq!((&told["truncated"], &told["timed_out"]), (&json!(false), &json!(false)));
    let told = run(json!({ "command": ["printf", "\\033[1m%s|", "a b", "c"] })).await;
    assert_eq!((&told["exit_code"], &told["output"]), (&json!(0), &json!("a b|c|")));
    let told = run(json!({ "command": "kill -9 $$" })).await;
    assert_eq!((&told["exit_code"], &told["exit_signal"]), (&Value::Null, &json!(9)));
    refused(&api, "command_run", json!({ "command": ["/nowhere/nothing"] }), "spawn_failed").await;

    // The end of much output.
    let told = run(json!({ "command": "seq 1 300000", "timeout_ms": 60_000 })).await;
    let output = told["output"].as_str().unwrap();
    assert!(output.ends_with("299999\n300000\n"), "{}", &output[output.len() - 100..]);
    assert!(output.len() <= 64 << 10 && output.len() > 60 << 10);
    assert_eq!(told["truncated"], true);

    // Its time ends it, with all that it has started.
    let begun = Instant::now();
    let told =
        run(json!({ "command": "echo begun; sleep 1000 & sleep 1000", "timeout_ms": 500 })).await;
    assert!(begun.elapsed() < Duration::from_secs(20));
    assert_eq!((&told["timed_out"], &told["exit_code"]), (&json!(true), &Value::Null));
    // bash may still say what has become of the other.
    assert!(told["output"].as_str().unwrap().starts_with("begun\n"), "{told}");
    let id = told["session"].as_str().unwrap();
    soon("the end of its processes", async {
        while marked(id) > 0 {
            actix_web::rt::task::yield_now().await;
        }
    })
    .await;

    // Repeated with its key, it has run out as well.
    let slow =
        json!({ "command": "echo slow; sleep 1000", "timeout_ms": 300, "idempotency_key": "slow" });
    let first = run(slow.clone()).await;
    assert_eq!(first["timed_out"], true, "{first}");
    assert_eq!(run(slow).await, first);

    // With a key it runs once, also where the server dies before it has answered.
    let file = server.state().join("ran");
    let line = format!(
        "echo x >> {0}; while [ ! -e {0}.go ]; do sleep 0.02; done; cat {0}",
        file.display()
    );
    let keyed = json!({ "command": line, "idempotency_key": "once", "timeout_ms": 60_000 });
    let lost = actix_web::rt::spawn({
        let message = super::calling("command_run", &keyed).to_string();
        let api: Api = api.clone();
        async move { api.try_send_with(awc::http::Method::POST, "/mcp", &super::HEADERS, message).await }
    });
    soon("that it runs", async {
        while !file.exists() {
            actix_web::rt::task::yield_now().await;
        }
    })
    .await;
    server.kill_and_restart().await;
    assert!(soon("no answer", lost).await.unwrap().is_err());
    std::fs::write(server.state().join("ran.go"), "").unwrap();
    for _ in 0..2 {
        let told = done(&api, "command_run", keyed.clone()).await;
        assert_eq!((&told["exit_code"], &told["output"]), (&json!(0), &json!("x\n")));
    }
    refused(
        &api,
        "command_run",
        json!({ "command": "true", "idempotency_key": "once" }),
        "idempotency_key_reused",
    )
    .await;
    // Nothing of all that is left.
    let live = api.get("/api/v1/sessions").await.ok(200);
    assert_eq!(live["sessions"], json!([]));
}

/// Without a key nobody can ask for it again: a server that dies leaves a session that the next one ends.
#[actix_web::test]
async fn a_command_whose_call_is_lost_has_an_end() {
    let server = Server::start().await;
    let api = server.api();
    let running = actix_web::rt::spawn({
        let api = api.clone();
        async move {
            call(&api, "command_run", json!({ "command": "sleep 1000", "timeout_ms": 20_000 }))
                .await
        }
    });
    let session = soon("its session", async {
        loop {
            let live = api.get("/api/v1/sessions").await.ok(200);
            if let Some(session) = live["sessions"].get(0) {
                return session.clone();
            }
        }
    })
    .await;
    assert_eq!(session["first_attach_timeout_s"], 50);
    assert!(session["destroy_at"].is_string(), "{session}");
    done(&api, "session_end", json!({ "session": session["id"] })).await;
    let (_, told) = soon("its answer", running).await.unwrap();
    assert_eq!((&told["timed_out"], &told["exit_code"]), (&json!(false), &Value::Null));
}

#[actix_web::test]
async fn sessions_are_made_listed_and_ended() {
    let server = Server::start().await;
    let api = server.api();
    let wanted = json!({ "name": "work", "command": ["cat"], "labels": { "a": "b" }, "idempotency_key": "k" });
    let made = done(&api, "session_create", wanted.clone()).await;
    assert_eq!(done(&api, "session_create", wanted).await["id"], made["id"]);
    let other = json!({ "name": "other", "command": ["cat"], "idempotency_key": "k" });
    refused(&api, "session_create", other, "idempotency_key_reused").await;
    refused(&api, "session_create", json!({ "name": "work" }), "name_taken").await;
    refused(&api, "session_create", json!({ "nme": "work" }), "invalid_request").await;
    let one = json!({ "command": ["cat"] });
    done(&api, "session_create", one).await;
    let page = done(&api, "session_list", json!({ "limit": 1 })).await;
    let rest = done(&api, "session_list", json!({ "cursor": page["next"] })).await;
    assert_eq!((&rest["sessions"][0]["name"], &rest["next"]), (&json!("work"), &Value::Null));
    let labelled = done(&api, "session_list", json!({ "label": "a=b" })).await;
    assert_eq!(labelled["sessions"].as_array().unwrap().len(), 1);
    done(&api, "session_end", json!({ "session": "work" })).await;
    refused(&api, "session_end", json!({ "session": "work" }), "not_found").await;
    done(&api, "session_end", json!({ "session": made["id"] })).await;
    let all = done(&api, "session_list", json!({ "all": true, "name": "work" })).await;
    assert_eq!(all["sessions"][0]["end_reason"], "killed");
    let screen = done(&api, "session_screen", json!({ "session": made["id"] })).await;
    assert_eq!(screen["status"], "TERMINATED");
}

#[actix_web::test]
async fn cursor_keys_follow_the_program() {
    let server = Server::start().await;
    let api = server.api();
    let script = r"printf '\033[?1h'; stty raw -echo; echo ready; dd bs=1 count=6 2>/dev/null | od -An -c; sleep 1000";
    let session = api.run(script).await;
    let ready = json!({ "session": session, "wait": { "text": "ready" } });
    done(&api, "session_wait", ready).await;
    let send = json!({ "session": session, "keys": ["Up", "C-c", "Enter", "x"], "wait": { "regex": r"033.*x" } });
    let told = done(&api, "session_send", send).await;
    assert!(told["screen"].as_str().unwrap().contains(r"033   O   A 003  \r   x"), "{told}");
}

/// What was so before the typing does not count.
#[actix_web::test]
async fn a_send_waits_for_a_state_that_is_entered_after_it() {
    let server = Server::start().await;
    let api = server.api();
    let id = crate::attention::reporter(&server, "agent").await;
    let report = |state: &str, message: &str| {
        let text = format!("stayd report --state {state} --message {message}");
        json!({ "session": id, "text": text, "keys": ["Enter"], "wait": { "state": "blocked|done" } })
    };
    for (state, message) in [("done", "one"), ("done", "two"), ("blocked", "three")] {
        assert_eq!(done(&api, "session_send", report(state, message)).await["waited"], "held");
        let attention = api.session(&id).await["attention"].clone();
        assert_eq!((&attention["state"], &attention["message"]), (&json!(state), &json!(message)));
    }
    let nothing =
        json!({ "session": id, "keys": ["Up"], "wait": { "state": "blocked" }, "timeout_ms": 300 });
    assert_eq!(done(&api, "session_send", nothing).await["waited"], "timeout");
    let there = json!({ "session": id, "wait": { "state": "blocked" } });
    assert_eq!(done(&api, "session_wait", there).await["waited"], "held");
}
