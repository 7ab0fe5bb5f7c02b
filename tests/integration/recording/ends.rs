//! A server that dies between the end that it has written down and what belongs to it.

use super::cast::recording;
use super::recorded;
use crate::store_faults::{Tmpfs, fill};
use crate::support::{Server, Terminal, soon};
use serde_json::json;
use std::time::Duration;

#[actix_web::test]
async fn the_end_of_a_recording_that_a_full_disk_held_up_is_written_by_the_next_server() {
    let dir = Server::dir();
    let recordings = dir.path().join("state/recordings");
    let Some(_tmpfs) = Tmpfs::mount(&recordings) else { return };
    let mut server = Server::start_in(dir, Vec::new()).await;
    let id = recorded(&server, "output", "echo first; read; seq 1 2000; exit 3").await;
    let (mut terminal, _) = Terminal::attach(&server, &id, "").await;
    terminal.wait_for("first").await;
    recording(&server, &id).await;
    let filler = recordings.join("filler");
    fill(&filler);
    terminal.type_in("\n").await;
    let status = format!("SELECT status FROM sessions WHERE id = '{id}'");
    server.wait_for_sql(&status, "ERROR").await;
    server.kill();
    std::fs::remove_file(&filler).unwrap();
    server.restart().await;
    let numbers: String = (1..=2000).map(|number| format!("{number}\r\n")).collect();
    let whole = format!("first\r\n\r\n{numbers}");
    assert_eq!(recording(&server, &id).await.text("o"), whole);
    assert_eq!(recording(&server, &id).await.text("m"), "");
    let screens = format!("SELECT count(*) FROM screens WHERE session_id = '{id}'");
    server.wait_for_sql(&screens, "1").await;
    // Nothing of it is written twice by the server after that.
    server.kill_and_restart().await;
    assert_eq!(recording(&server, &id).await.text("o"), whole);
}

/// `STAYD_END_KILLS` says how often.
#[actix_web::test]
async fn whenever_a_server_dies_about_an_end_all_of_it_is_completed() {
    let kills: u64 =
        std::env::var("STAYD_END_KILLS").map_or(8, |text| text.parse().expect("a number"));
    let mut server = Server::start().await;
    let api = server.api();
    let numbers: String = (1..=500).map(|number| format!("{number}\r\n")).collect();
    for kill in 0..kills {
        let id = recorded(&server, "output", "seq 1 500; exit 5").await;
        // The moment is the test: before the end, in the middle of it, after it. A prime
        // spreads them over what a start and an end take.
        actix_web::rt::time::sleep(Duration::from_micros(kill * 13_007 % 60_000)).await;
        server.kill_and_restart().await;
        let session = server.api().ended(&id).await;
        assert_eq!((&session["exit_code"], &session["status"]), (&json!(5), &json!("ERROR")));
        let (cast, screen) = soon("its recording and its screen", async {
            loop {
                let path = format!("/api/v1/sessions/{id}/recording");
                let screens = format!("SELECT count(*) FROM screens WHERE session_id = '{id}'");
                let screen = server.sql(&screens).as_deref() == Some("1");
                if screen && api.get(&path).await.status == 200 {
                    return (recording(&server, &id).await, screen);
                }
            }
        })
        .await;
        assert!(screen && cast.text("o") == numbers, "kill {kill}: {}", cast.text("o"));
        assert_eq!(cast.text("m"), "", "kill {kill}");
        let output = api.get(&format!("/api/v1/sessions/{id}/output?offset=0")).await;
        assert_eq!(String::from_utf8(output.bytes).unwrap(), numbers, "kill {kill}");
        let history = api.transitions(&id).await;
        assert_eq!(history.iter().filter(|(_, to, _)| to == "ERROR").count(), 1, "{history:?}");
    }
}
