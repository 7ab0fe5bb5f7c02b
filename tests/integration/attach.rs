//! Attaching, leaving and coming back with `stayd.v1`.

use crate::support::{Event, Server, Terminal, soon};
use awc::ws::Message;
use chrono::{DateTime, Utc};
use serde_json::{Value, json};

#[actix_web::test]
async fn a_session_can_be_left_and_come_back_to() {
    let mut server = Server::start().await;
    let api = server.api();
    let id = api.create(json!({ "profile": "bash" })).await["id"].as_str().unwrap().to_owned();
    let (mut terminal, attached) = Terminal::attach(&server, &id, "cols=100&rows=30").await;
    assert_eq!(attached["session"]["status"], "ACTIVE");
    assert_eq!((&attached["input"], &attached["input_window"]), (&json!(0), &json!(65536)));
    assert_eq!(attached["scrollback_lines"], 1000);
    terminal.type_in("x=kept; echo $((6*7)) $(stty size)\n").await;
    terminal.wait_for("42 30 100").await;
    terminal.leave().await;

    server.wait_for_log("idle", |line| line["to"] == "IDLE").await;
    let idle = api.session(&id).await;
    assert_eq!((&idle["status"], &idle["active_connections"]), (&json!("IDLE"), &json!(0)));
    let at: DateTime<Utc> = idle["destroy_at"].as_str().unwrap().parse().unwrap();
    let left = (at - Utc::now()).num_seconds();
    assert!((1790..=1800).contains(&left), "{left} s");
    let row = "SELECT status || active_connections || (destroy_at IS NOT NULL) FROM sessions";
    server.wait_for_sql(row, "IDLE01").await;

    let (mut terminal, attached) = Terminal::attach(&server, &id, "").await;
    assert_eq!(attached["session"]["status"], "ACTIVE");
    assert_eq!(attached["session"]["destroy_at"], Value::Null);
    terminal.wait_for("42 30 100").await;
    terminal.type_in("echo \"<$x>\"\n").await;
    terminal.wait_for("<kept>").await;
    let transitions = api.transitions(&id).await;
    let to: Vec<_> = transitions.iter().map(|(_, to, reason)| format!("{to} {reason}")).collect();
    let expected = ["RUNNING created", "ACTIVE attached", "IDLE detached", "ACTIVE attached"];
    assert_eq!(to, expected);
}

#[actix_web::test]
async fn two_clients_share_one_screen() {
    let server = Server::start().await;
    let api = server.api();
    let id = api.create(json!({ "profile": "bash" })).await["id"].as_str().unwrap().to_owned();
    let (mut one, _) = Terminal::attach(&server, &id, "client=one").await;
    let (mut two, attached) = Terminal::attach(&server, &id, "client=two").await;
    assert_eq!(attached["session"]["active_connections"], 2);
    let state = loop {
        let state = one.control("state").await;
        if state["active_connections"] == 2 {
            break state;
        }
    };
    let two_alone = json!({ "client": "two", "mode": "rw", "cols": null, "rows": null, "controller": true,
            "looking": true });
    assert_eq!(
        (&state["clients"][1], &state["clients"][0]["controller"]),
        (&two_alone, &json!(false))
    );
    one.type_in("echo from-$((0+1))\n").await;
    one.wait_for("from-1").await;
    two.wait_for("from-1").await;
    two.type_in("echo from-$((1+1))\n").await;
    one.wait_for("from-2").await;
    two.wait_for("from-2").await;
    two.leave().await;
    loop {
        let state = one.control("state").await;
        if state["active_connections"] == 1 {
            assert_eq!(state["status"], "ACTIVE");
            break;
        }
    }
    one.type_in("echo still-$((1+2))\n").await;
    one.wait_for("still-3").await;
}

#[actix_web::test]
async fn an_idle_session_is_destroyed_when_its_time_is_over() {
    let mut server = Server::start().await;
    let api = server.api();
    let session = api.create(json!({ "profile": "bash", "idle_timeout_s": 1 })).await;
    let id = session["id"].as_str().unwrap().to_owned();
    let (terminal, _) = Terminal::attach(&server, &id, "").await;
    terminal.leave().await;
    let idle = server.wait_for_log("idle", |line| line["to"] == "IDLE").await;
    // Somebody comes back in between: nothing happens.
    let (mut terminal, _) = Terminal::attach(&server, &id, "").await;
    actix_web::rt::time::sleep(std::time::Duration::from_millis(1500)).await;
    terminal.type_in("echo alive-$((1+1))\n").await;
    terminal.wait_for("alive-2").await;
    terminal.leave().await;
    let left = server.wait_for_log("idle", |line| line["to"] == "IDLE").await;
    let ended = server.wait_for_log("end", |line| line["to"] == "TERMINATED").await;
    assert_eq!(ended["reason"], "idle_timeout");
    let at = |line: &Value| line["ts"].as_str().unwrap().parse::<DateTime<Utc>>().unwrap();
    let waited = (at(&ended) - at(&left)).num_milliseconds();
    assert!((990..3000).contains(&waited), "{waited} ms");
    assert!(at(&left) > at(&idle));
    let session = api.session(&id).await;
    assert_eq!(
        (&session["status"], &session["end_reason"]),
        (&json!("TERMINATED"), &json!("idle_timeout"))
    );
}

#[actix_web::test]
async fn a_session_without_timeout_is_never_destroyed() {
    let mut server = Server::start().await;
    let session = server.api().create(json!({ "profile": "bash", "idle_timeout_s": null })).await;
    let id = session["id"].as_str().unwrap().to_owned();
    let (terminal, _) = Terminal::attach(&server, &id, "").await;
    terminal.leave().await;
    server.wait_for_log("idle", |line| line["to"] == "IDLE").await;
    assert_eq!(server.api().session(&id).await["destroy_at"], Value::Null);
}

#[actix_web::test]
async fn a_session_nobody_comes_to_is_destroyed_if_its_creator_said_so() {
    let mut server = Server::start().await;
    let api = server.api();
    let session = api.create(json!({ "profile": "bash", "first_attach_timeout_s": 1 })).await;
    assert!(session["destroy_at"].is_string());
    let ended = server.wait_for_log("end", |line| line["to"] == "TERMINATED").await;
    assert_eq!(ended["reason"], "first_attach_timeout");
}

#[actix_web::test]
async fn output_goes_on_at_the_clients_offset() {
    let server = Server::start().await;
    let api = server.api();
    let id = api.run("read -r line; seq 1 20000; read -r line; seq 20001 40000; sleep 1000").await;
    let (mut terminal, attached) = Terminal::attach(&server, &id, "client=me").await;
    terminal.type_in("\n").await;
    terminal.wait_for("20000\r\n").await;
    let (offset, mut seen) = (terminal.offset, terminal.screen.clone());
    assert_eq!(attached["offset"].as_u64().unwrap() + seen.len() as u64, offset);
    drop(terminal);
    let query = format!("client=me&session={id}&offset={offset}");
    let (mut terminal, attached) = Terminal::attach(&server, &id, &query).await;
    assert_eq!(attached["offset"], offset);
    terminal.type_in("\n").await;
    terminal.wait_for("40000\r\n").await;
    seen.extend(&terminal.screen);
    let text = String::from_utf8(seen).unwrap();
    let numbers: Vec<u32> = text.split_whitespace().map(|word| word.parse().unwrap()).collect();
    assert!(numbers.iter().copied().eq(1..=40000), "every line once, in order");
    // The offset of another session means nothing here.
    let other = format!("session={}&offset=5", uuid::Uuid::now_v7());
    let (mut terminal, _) = Terminal::attach(&server, &id, &other).await;
    assert_eq!(terminal.next().await.kind(), "snapshot");
}

impl Event {
    fn kind(&self) -> String {
        match self {
            Event::Control(control) => control["type"].as_str().unwrap_or_default().to_owned(),
            other => format!("{other:?}"),
        }
    }
}

#[actix_web::test]
async fn a_client_that_the_ring_overtook_is_started_again() {
    let server = Server::start().await;
    let api = server.api();
    let id = api.run("read -r line; seq 1 600000; sleep 1000").await;
    let (mut terminal, _) = Terminal::attach(&server, &id, "client=me").await;
    terminal.type_in("\n").await;
    terminal.wait_for("1\r\n2\r\n").await;
    let offset = terminal.offset;
    drop(terminal);
    // Nobody is attached: the program runs on to its end without waiting.
    soon("the end of the output", async {
        while api.session(&id).await["offset"].as_u64().unwrap() < 4_000_000 {}
    })
    .await;
    let query = format!("client=me&session={id}&offset={offset}");
    let (mut terminal, attached) = Terminal::attach(&server, &id, &query).await;
    let snapshot = terminal.control("snapshot").await;
    assert_eq!(snapshot["offset"], attached["offset"]);
    let Event::Bytes(bytes) = terminal.next().await else { panic!("no snapshot") };
    assert_eq!(snapshot["length"], bytes.len());
    assert!(bytes.len() <= 512 << 10);
    terminal.wait_for("600000\r\n").await;
    let gone = api.get(&format!("/api/v1/sessions/{id}/output?offset=0")).await;
    let gone = gone.problem(416, "offset_gone");
    let oldest = gone["oldest"].as_u64().unwrap();
    let there = api.get(&format!("/api/v1/sessions/{id}/output?offset={oldest}")).await;
    assert_eq!(there.headers.get("x-stayd-offset").unwrap(), &oldest.to_string()[..]);
    assert!(there.bytes.ends_with(b"600000\r\n"));
}

#[actix_web::test]
async fn a_client_that_acknowledges_is_not_sent_more_than_its_window() {
    let server = Server::start().await;
    let id = server.api().run("read -r line; head -c 4000000 /dev/zero; sleep 1000").await;
    let (terminal, _) = Terminal::attach(&server, &id, "client=slow").await;
    let mut terminal = terminal.without_acks();
    terminal.say(json!({ "type": "ack", "offset": 0 })).await;
    terminal.type_in("\n").await;
    while terminal.offset < 1 << 20 {
        terminal.next().await;
    }
    assert_eq!(terminal.offset, 1 << 20);
    // Nothing more comes until the next acknowledgement, which is for one byte.
    terminal.say(json!({ "type": "ack", "offset": 1 })).await;
    while terminal.offset == 1 << 20 {
        terminal.next().await;
    }
    assert_eq!(terminal.offset, (1 << 20) + 1);
}

#[actix_web::test]
async fn a_ping_is_answered_before_output_that_waits() {
    let server = Server::start().await;
    let id = server.api().run("read -r line; head -c 4000000 /dev/zero; sleep 1000").await;
    let (terminal, _) = Terminal::attach(&server, &id, "mode=ro").await;
    let mut terminal = terminal.without_acks();
    terminal.say(json!({ "type": "ping", "id": 7 })).await;
    assert_eq!(terminal.control("pong").await["id"], 7);
    let (mut typist, _) = Terminal::attach(&server, &id, "").await;
    terminal.say(json!({ "type": "ack", "offset": 0 })).await;
    typist.type_in("\n").await;
    while terminal.offset < 1 << 20 {
        terminal.next().await;
    }
    // It is sent no output any more, and is still answered.
    terminal.say(json!({ "type": "ping", "id": u64::MAX })).await;
    assert_eq!(terminal.control("pong").await["id"], u64::MAX);
    assert_eq!(terminal.offset, 1 << 20);
    terminal.say(json!({ "type": "ping" })).await;
    assert_eq!(terminal.control("error").await["code"], "invalid_message");
}

#[actix_web::test]
async fn a_client_that_acknowledges_gets_every_byte_of_a_flood() {
    let server = Server::start().await;
    let id = server.api().run("stty -echo; read -r line; seq 1 1500000; sleep 1000").await;
    let (mut terminal, _) = Terminal::attach(&server, &id, "").await;
    terminal.type_in("\n").await;
    // Many rings full: the acknowledgements alone let the program run on.
    loop {
        match terminal.next().await {
            Event::Bytes(_) if terminal.screen.ends_with(b"1500000\r\n") => break,
            Event::Control(control) => assert_ne!(control["type"], "snapshot", "overtaken"),
            Event::Bytes(_) => {}
            end => panic!("{end:?}"),
        }
    }
    let text = terminal.text();
    let numbers = text.split_whitespace().map(|word| word.parse::<u32>().unwrap());
    assert!(numbers.eq(1..=1_500_000), "every line once, in order");
}

#[actix_web::test]
async fn the_last_byte_arrives_after_a_stall() {
    let server = Server::start().await;
    let id = server.api().run("read -r line; seq 1 300000; echo the-end; sleep 1000").await;
    let (terminal, _) = Terminal::attach(&server, &id, "").await;
    let mut terminal = terminal.without_acks();
    terminal.type_in("\n").await;
    // Not reading while all is printed, and then no further output to wake anybody.
    let api = server.api();
    let mut last = 0;
    soon("a stall", async {
        loop {
            actix_web::rt::time::sleep(std::time::Duration::from_millis(300)).await;
            let offset = api.session(&id).await["offset"].as_u64().unwrap();
            if offset > 0 && offset == last {
                break;
            }
            last = offset;
        }
    })
    .await;
    terminal.wait_for("the-end").await;
}

#[actix_web::test]
async fn the_newer_connection_of_a_client_wins() {
    let server = Server::start().await;
    let api = server.api();
    let id = api.create(json!({ "profile": "bash" })).await["id"].as_str().unwrap().to_owned();
    let (mut old, _) = Terminal::attach(&server, &id, "client=same").await;
    let (mut new, attached) = Terminal::attach(&server, &id, "client=same").await;
    let (code, reason) = old.closed().await;
    assert_eq!(code, 4409);
    assert!(reason.contains("do not retry"), "{reason}");
    new.type_in("echo new-$((1+1))\n").await;
    new.wait_for("new-2").await;
    assert_eq!(api.session(&id).await["active_connections"], 1);
    assert_eq!(attached["session"]["status"], "ACTIVE");
}

#[actix_web::test]
async fn a_viewer_can_neither_type_nor_resize() {
    let server = Server::start().await;
    let api = server.api();
    let id = api.create(json!({ "profile": "bash" })).await["id"].as_str().unwrap().to_owned();
    let (mut viewer, attached) = Terminal::attach(&server, &id, "mode=ro&cols=20&rows=5").await;
    assert_eq!(attached["mode"], "ro");
    viewer.type_in("echo viewer\n").await;
    assert_eq!(viewer.control("error").await["code"], "read_only");
    viewer.say(json!({ "type": "resize", "cols": 10, "rows": 10 })).await;
    assert_eq!(viewer.control("error").await["code"], "read_only");
    let (mut typist, _) = Terminal::attach(&server, &id, "").await;
    typist.type_in("echo size-$(stty size)\n").await;
    typist.wait_for("size-24 80").await;
    viewer.wait_for("size-24 80").await;
    assert!(!viewer.text().contains("echo viewer"));
}

#[actix_web::test]
async fn the_size_is_that_of_who_typed_last() {
    let server = Server::start().await;
    let api = server.api();
    let id = api.create(json!({ "profile": "bash" })).await["id"].as_str().unwrap().to_owned();
    let (mut one, _) = Terminal::attach(&server, &id, "cols=100&rows=50").await;
    let (mut two, _) = Terminal::attach(&server, &id, "cols=90&rows=40").await;
    one.resized_to(90, 40).await;
    one.type_in("true\n").await;
    two.resized_to(100, 50).await;
    one.say(json!({ "type": "resize", "cols": 70, "rows": 20 })).await;
    two.resized_to(70, 20).await;
    one.type_in("echo now-$(stty size)\n").await;
    two.wait_for("now-20 70").await;
}

#[actix_web::test]
async fn those_who_come_to_nothing_are_told() {
    let server = Server::start().await;
    let api = server.api();
    for id in ["nobody", &uuid::Uuid::now_v7().to_string()] {
        let path = format!("/api/v1/sessions/{id}/attach");
        let (code, reason) = Terminal::open(&api, &path, Some("stayd.v1")).await.closed().await;
        assert_eq!(code, 4404);
        assert!(reason.contains("do not retry"), "{reason}");
    }
    let body = json!({ "command": ["/etc/passwd"] }).to_string();
    let problem = api.post("/api/v1/sessions", body).await.problem(422, "spawn_failed");
    let unstarted = problem["session"]["id"].as_str().expect("an id").to_owned();
    let killed = api.run("sleep 1000").await;
    api.delete(&format!("/api/v1/sessions/{killed}")).await.ok(200);
    let path = |id: &str| format!("/api/v1/sessions/{id}/attach");
    for id in [&unstarted, &killed] {
        let (code, _) = Terminal::open(&api, &path(id), Some("stayd.v1")).await.closed().await;
        assert_eq!(code, 4410);
    }
    api.get(&path(&killed)).await.problem(426, "upgrade_required");
}

#[actix_web::test]
async fn attaching_creates_once_however_many_come() {
    let server = Server::start().await;
    let mut joined = Vec::new();
    let comers = (0..8).map(|_| Terminal::attach(&server, "shared", "create=bash"));
    for (terminal, attached) in futures_util::future::join_all(comers).await {
        joined.push((terminal, attached["session"]["pid"].clone()));
    }
    assert!(joined.iter().all(|(_, pid)| *pid == joined[0].1 && pid.is_i64()));
    let listed = server.api().get("/api/v1/sessions").await.ok(200);
    assert_eq!(listed["sessions"].as_array().unwrap().len(), 1);
    assert_eq!(listed["sessions"][0]["active_connections"], 8);
}

#[actix_web::test]
async fn creation_on_attach_can_be_forbidden() {
    let server = Server::start_with(&["--create-on-attach", "false"]).await;
    for path in ["/api/v1/sessions/x/attach?create=bash", "/ws/terminal/x"] {
        let mut terminal = Terminal::open(&server.api(), path, None).await;
        assert_eq!(terminal.closed().await.0, 4404);
    }
}

#[actix_web::test]
async fn a_clients_ping_is_answered_and_its_close_too() {
    let server = Server::start().await;
    let (mut terminal, _) = Terminal::attach(&server, "x", "create=bash").await;
    terminal.send(Message::Ping("are you there".into())).await;
    terminal.type_in("echo $((40+2))\n").await;
    terminal.wait_for("42").await;
    terminal.leave().await;
}
