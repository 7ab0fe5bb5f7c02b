//! A screen that breaks: its session goes on with bytes alone, and everybody hears of it. The
//! faults are those of `src/screens/faults.rs`, which a program asks for with its title; the
//! server of a test is an unoptimized build and has them.

use crate::support::{Event, Server, Terminal, soon};
use serde_json::{Value, json};
use std::os::unix::process::ExitStatusExt;

/// Prints what is typed as a `printf` format, a line at a time; `flood` prints three rings.
const PRINTER: &str = r#"stty -echo; printf ready; while read -r line; do case $line in
    flood) head -c 6000000 /dev/zero | tr '\0' x; printf 'flooded';;
    *) printf "$line";;
esac; done"#;

async fn print(server: &Server, id: &str, line: &str) {
    let path = format!("/api/v1/sessions/{id}/input");
    server.api().post(&path, format!("{line}\n")).await.ok(200);
}

/// Has the screen panic at its next use of this kind, the second time with another title.
async fn ask_for(server: &Server, id: &str, fault: &str, round: u16) {
    let title = format!("stayd-fault:{fault} {round}");
    print(server, id, &format!(r"\e]2;{title}\a")).await;
    // Once the session has the title, the screen has it, too.
    soon("the title", async { while server.api().session(id).await["title"] != title {} }).await;
}

async fn failed(server: &mut Server, id: &str) -> Value {
    let is_it = |line: &Value| line["msg"] == "a screen has failed" && line["session"] == *id;
    server.wait_for_log("a screen has failed", is_it).await
}

#[actix_web::test]
async fn a_screen_that_breaks_anywhere_takes_nothing_along() {
    let mut server = Server::start().await;
    let api = server.api();
    for (fault, when) in [
        ("feed", "it took output"),
        ("resize", "it was resized"),
        ("read", "it was read"),
        ("compress", "it was compressed"),
        ("checkpoint", "it was compressed"),
        ("restore", "it was restored"),
    ] {
        let id = api.run(PRINTER).await;
        let path = format!("/api/v1/sessions/{id}");
        for round in 0..2u16 {
            // A screen that got much output is compressed for the holder: a checkpoint.
            let asked = if fault == "checkpoint" { "compress" } else { fault };
            ask_for(&server, &id, asked, round).await;
            match fault {
                "feed" => print(&server, &id, "more").await,
                "checkpoint" => print(&server, &id, "flood").await,
                "resize" => {
                    let size = json!({ "cols": 90 + round, "rows": 30 }).to_string();
                    api.post(&format!("{path}/resize"), size).await.ok(200);
                }
                "read" => {
                    let refused = api.get(&format!("{path}/screen")).await;
                    refused.problem(503, "no_screen");
                }
                _ => {}
            }
            // After two seconds without output a screen is compressed by itself, and restored
            // by the next request.
            let look = async {
                if fault != "restore" {
                    std::future::pending::<()>().await;
                }
                loop {
                    api.get(&format!("{path}/screen")).await;
                }
            };
            let line = tokio::select! {
                line = failed(&mut server, &id) => line,
                never = look => never,
            };
            assert_eq!(line["when"], when, "{fault}: {line}");
            assert_eq!(line["given_up"], round == 1, "{fault}: {line}");
            if round == 0 {
                let shown = api.get(&format!("{path}/screen")).await;
                assert_eq!(shown.status, 200, "{fault}: it begins anew");
            }
        }
        // Everybody who asks for the screen is told.
        for query in ["", "?format=json", "?wait=text:x", "?wait=quiet:10"] {
            api.get(&format!("{path}/screen{query}")).await.problem(503, "no_screen");
        }
        // Nobody is attached, and the program prints three rings: the tail moves on.
        let before = api.session(&id).await["offset"].as_u64().expect("an offset");
        print(&server, &id, "flood").await;
        soon(fault, async {
            let now = async || api.session(&id).await["offset"].as_u64().expect("an offset");
            while now().await < before + 6_000_000 {}
        })
        .await;
        // Clients get bytes, and can type.
        let (mut terminal, _) = Terminal::attach(&server, &id, "").await;
        let snapshot = terminal.control("snapshot").await;
        assert_eq!(snapshot["complete"], false, "{fault}: {snapshot}");
        terminal.wait_for("flooded").await;
        terminal.type_in("a-word\n").await;
        terminal.wait_for("a-word").await;
        assert_eq!(api.get("/readyz").await.status, 200, "{fault}");
        api.delete(&path).await.ok(200);
    }
    // Screens of the same threads never noticed.
    let id = api.run(PRINTER).await;
    let seen = format!("/api/v1/sessions/{id}/screen?wait=text:ready&timeout_ms=15000");
    assert_eq!(api.get(&seen).await.status, 200);
}

/// What is waited for may never come on a screen that breaks meanwhile.
#[actix_web::test]
async fn a_wait_ends_when_the_screen_is_given_up() {
    let mut server = Server::start().await;
    let api = server.api();
    let id = api.run(PRINTER).await;
    let wait = format!("/api/v1/sessions/{id}/screen?wait=text:never&timeout_ms=600000");
    let (reply, ()) = futures_util::future::join(api.get(&wait), async {
        for round in 0..2 {
            ask_for(&server, &id, "feed", round).await;
            print(&server, &id, "more").await;
            // What is printed before the screen has failed is lost with it, a title too.
            failed(&mut server, &id).await;
        }
    })
    .await;
    reply.problem(503, "no_screen");
}

/// A screen's thread that dies takes all its sessions' screens along: then the server ends,
/// and says so, and the next one finds the programs.
#[actix_web::test]
async fn a_thread_that_dies_ends_the_server() {
    let mut server = Server::start().await;
    let id = server.api().run(PRINTER).await;
    let (mut terminal, _) = Terminal::attach(&server, &id, "").await;
    terminal.type_in("\\e]2;stayd-fault:thread\\a\n").await;
    let said = |line: &Value| {
        line["msg"].as_str().is_some_and(|text| text.contains("the sessions run on"))
    };
    let last = server.wait_for_log("a panic", said).await;
    assert!(last["panic"].as_str().is_some_and(|text| text.contains("asked for")), "{last}");
    assert!(server.stop_waiting().signal().is_some(), "it has ended by a signal");
    while terminal.next().await != Event::Lost {}
    assert_eq!(crate::support::marked(&id), 1, "the program runs on");
}
