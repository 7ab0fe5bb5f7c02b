//! Clients of sessions that end with the server, or just before: they get the last words and
//! the exit, and are never told to come back to a server that has gone.

use crate::cli::{stayd, verb};
use crate::support::{Server, Terminal, lives, soon};
use awc::ws::Message;
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use serde_json::{Value, json};
use std::process::Stdio;

const LAST_WORDS: &str =
    r#"trap "echo bye; exit 3" TERM HUP; echo up; while :; do sleep 0.02; done"#;

/// Says so much at its end that a `stayd.v1` client must acknowledge some of it before it is
/// sent the rest, and less than the ring keeps.
const MANY_WORDS: &str = r#"
$| = 1;
$SIG{HUP} = $SIG{TERM} = sub {
    $SIG{HUP} = $SIG{TERM} = "IGNORE";
    print "many words\n" x 120_000, "bye\n";
    exit 3;
};
print "up\n"; sleep 1 while 1;
"#;

async fn stopping(server: &mut Server) {
    server.wait_for_log("stopping", |line| line["msg"] == "stopping").await;
}

/// Waits for a session that has printed `up` and has a client.
async fn is_attached(server: &Server) {
    let api = server.api();
    soon("the client of run", async {
        loop {
            let list = api.get("/api/v1/sessions").await.ok(200);
            let attached = list["sessions"]
                .as_array()
                .unwrap()
                .iter()
                .find(|session| session["active_connections"] == 1);
            if let Some(session) = attached {
                let output = format!("/api/v1/sessions/{}/output", session["id"].as_str().unwrap());
                if api.get(&output).await.bytes.starts_with(b"up") {
                    return;
                }
            }
            actix_web::rt::task::yield_now().await;
        }
    })
    .await;
}

#[actix_web::test]
async fn stop_all_gives_every_client_the_last_words_and_the_exit() {
    let mut server = Server::start().await;
    let api = server.api();
    let run = stayd(&server, &["run", "--", "sh", "-c", LAST_WORDS])
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    is_attached(&server).await;
    let mut clients = Vec::new();
    for _ in 0..4 {
        let id = api.run(LAST_WORDS).await;
        for dialect in ["stayd.v1", "raw.v1", "json.v1"] {
            let path = format!("/api/v1/sessions/{id}/attach");
            let mut client = Terminal::open(&api, &path, Some(dialect)).await;
            client.wait_for("up").await;
            clients.push((dialect, client));
        }
    }
    let body = json!({ "command": ["perl", "-e", MANY_WORDS] });
    let id = api.create(body).await["id"].as_str().unwrap().to_owned();
    let (mut slow, _) = Terminal::attach(&server, &id, "").await;
    slow.wait_for("up").await;

    let mut stop = stayd(&server, &["stop", "--all"]).spawn().unwrap();
    stopping(&mut server).await;
    for (dialect, mut client) in clients {
        let exit = match dialect {
            "raw.v1" => Value::Null,
            _ => client.control("exit").await,
        };
        let (code, reason) = client.closed().await;
        assert_eq!(code, 1000, "{dialect}: {reason}");
        assert!(client.text().ends_with("bye\r\n"), "{dialect}: {}", client.text());
        match dialect {
            "stayd.v1" => {
                assert_eq!((&exit["code"], &exit["reason"]), (&json!(3), &json!("killed")))
            }
            "json.v1" => assert_eq!(exit["exitCode"], 3),
            _ => {}
        }
    }
    // It has read nothing since before the stop.
    assert_eq!(slow.control("exit").await["code"], 3);
    assert_eq!(slow.closed().await.0, 1000);
    assert!(slow.text().ends_with("many words\r\nbye\r\n"));
    assert!(server.stop_waiting().success());
    assert!(stop.wait().unwrap().success());
    let run = run.wait_with_output().unwrap();
    // It says that somebody has killed the session, and nothing of a server that is away.
    let stderr = String::from_utf8_lossy(&run.stderr);
    assert!(stderr.trim().lines().count() == 1 && stderr.contains("was killed"), "{stderr}");
    // The shell may say before that its sleep was hung up.
    assert!(run.stdout.ends_with(b"bye\r\n"), "{}", String::from_utf8_lossy(&run.stdout));
    assert_eq!(run.status.code(), Some(3));
}

/// One client takes its time, and another never reads: that one does not keep the server.
#[actix_web::test]
async fn a_stop_after_an_end_gives_the_rest_and_the_exit() {
    let mut server = Server::start().await;
    let id = server.api().run("read -r line; seq 1 200000; echo bye; exit 3").await;
    let (mut slow, _) = Terminal::attach(&server, &id, "").await;
    let (_stalled, _) = Terminal::attach(&server, &id, "").await;
    slow.send(Message::Binary("\n".into())).await;
    let mine = |line: &Value| line["session"] == id && line["msg"] == "ended";
    server.wait_for_log("end", mine).await;
    kill(Pid::from_raw(server.pid()), Signal::SIGTERM).unwrap();
    stopping(&mut server).await;
    assert_eq!(slow.control("exit").await["code"], 3);
    assert_eq!(slow.closed().await.0, 1000);
    assert!(slow.text().ends_with("200000\r\nbye\r\n"));
    assert!(server.stop_waiting().success());
    // Ends the holder, which runs on.
    verb(&server, &["stop", "--all"]);
}

#[actix_web::test]
async fn hundreds_of_sessions_end_and_are_recorded() {
    const SESSIONS: usize = 300;
    let mut server = Server::start_quiet().await;
    let api = server.api();
    let create = || api.create(json!({ "command": ["sh", "-c", "sleep 1000 & exec sleep 1000"] }));
    let mut leaders = Vec::new();
    while leaders.len() < SESSIONS {
        let created = futures_util::future::join_all((0..20).map(|_| create())).await;
        leaders.extend(created.iter().map(|it| it["pid"].as_i64().expect("a pid") as i32));
    }
    let stopped = verb(&server, &["stop", "--all"]);
    assert!(stopped.status.success(), "{stopped:?}");
    assert!(server.stop_waiting().success());
    assert_eq!(leaders.into_iter().filter(|pid| lives(pid)).count(), 0);
    let ended = "SELECT count(*) || status || end_reason FROM sessions GROUP BY status, end_reason";
    assert_eq!(server.sql(ended).as_deref(), Some("300TERMINATEDkilled"));
}

/// It takes as long as `stop` waits for a server of whose sessions none ends, 45 s.
#[actix_web::test]
async fn sessions_end_although_their_server_does_not_answer() {
    let mut server = Server::start().await;
    let api = server.api();
    let mut leaders = Vec::new();
    for _ in 0..3 {
        let session = api.create(json!({ "command": ["sh", "-c", "sleep 1000 & exec cat"] })).await;
        leaders.push(session["pid"].as_i64().expect("a pid") as i32);
    }
    let pid = Pid::from_raw(server.pid());
    kill(pid, Signal::SIGSTOP).unwrap();
    let mut stop = stayd(&server, &["stop", "--all"]);
    let stopped = actix_web::web::block(move || stop.output().unwrap()).await.unwrap();
    let said = String::from_utf8_lossy(&stopped.stderr);
    assert!(said.contains("within 45s") && said.contains("ended without it"), "{said}");
    assert!(!stopped.status.success());
    assert_eq!(leaders.into_iter().filter(|pid| lives(*pid)).count(), 0);
    // Once it goes on, it stops as it was told, and records the ends.
    kill(pid, Signal::SIGCONT).unwrap();
    assert!(server.stop_waiting().success());
    assert_eq!(server.sql("SELECT DISTINCT status FROM sessions").as_deref(), Some("TERMINATED"));
}
