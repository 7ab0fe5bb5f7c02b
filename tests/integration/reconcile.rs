//! Differences between what the server knows and what the database says, made on purpose.
//! Those that only the holder could make are in the tests of `registry::compare`.

use crate::support::{Server, Terminal};
use serde_json::{Value, json};

/// Two passes, since a difference has to last; what was mended, as (session, kind).
async fn reconcile(server: &Server) -> Vec<(String, String)> {
    let mut mended = Vec::new();
    for _ in 0..2 {
        let answer = server.api().post("/api/v1/reconcile", "").await.ok(200);
        for one in answer["mended"].as_array().unwrap() {
            let text = |key: &str| one[key].as_str().unwrap().to_owned();
            mended.push((text("session"), text("kind")));
        }
    }
    mended
}

async fn idle_session(server: &Server, name: &str) -> String {
    let body = json!({ "profile": "bash", "name": name });
    let id = server.api().create(body).await["id"].as_str().unwrap().to_owned();
    let (terminal, _) = Terminal::attach(server, &id, "").await;
    terminal.leave().await;
    server.wait_for_sql(&format!("SELECT status FROM sessions WHERE id = '{id}'"), "IDLE").await;
    id
}

async fn warned(server: &mut Server, id: &str, kind: &str) {
    let fits = |line: &Value| line["kind"] == kind && line["session"] == id;
    let line = server.wait_for_log(kind, fits).await;
    assert_eq!(line["level"], "warning", "{line}");
}

#[actix_web::test]
async fn rows_that_differ_are_written_again() {
    let mut server = Server::start().await;
    let changed = idle_session(&server, "changed").await;
    let deleted = idle_session(&server, "deleted").await;
    let fine = idle_session(&server, "fine").await;
    let resized = idle_session(&server, "resized").await;
    assert_eq!(reconcile(&server).await, []);
    let db = server.db();
    let spoil = "UPDATE sessions SET status = 'TERMINATED', active_connections = 3 WHERE id = ?1";
    db.execute(spoil, [&changed]).unwrap();
    db.execute("UPDATE sessions SET cols = 81 WHERE id = ?1", [&resized]).unwrap();
    db.execute("DELETE FROM sessions WHERE id = ?1", [&deleted]).unwrap();
    let mut expected = vec![
        (changed.clone(), "row_differs".to_owned()),
        (deleted.clone(), "row_missing".into()),
        (resized.clone(), "row_differs".into()),
    ];
    expected.sort();
    assert_eq!(reconcile(&server).await, expected);
    for id in [&changed, &deleted, &fine, &resized] {
        let row =
            format!("SELECT status || active_connections || cols FROM sessions WHERE id = '{id}'");
        server.wait_for_sql(&row, "IDLE080").await;
    }
    assert_eq!(reconcile(&server).await, []);
    let ready = server.api().get("/readyz").await.ok(200);
    assert_eq!(ready["repairs"], json!({ "row_differs": 2, "row_missing": 1 }));
    for (id, kind) in &expected {
        warned(&mut server, id, kind).await;
    }
}

#[actix_web::test]
async fn a_live_row_without_a_session_ends() {
    let mut server = Server::start().await;
    let real = idle_session(&server, "real").await;
    let db = server.db();
    let (started, unstarted) =
        ("00000000-0000-7000-8000-000000000001", "00000000-0000-7000-8000-000000000002");
    db.execute_batch(&format!(
        "CREATE TEMP TABLE copy AS SELECT * FROM sessions WHERE id = '{real}';
         UPDATE copy SET id = '{started}', name = 'stray', pid = 4194304;
         INSERT INTO sessions SELECT * FROM copy;
         UPDATE copy SET id = '{unstarted}', name = NULL, status = 'RUNNING', pid = NULL,
             pid_start_time = NULL, boot_id = NULL;
         INSERT INTO sessions SELECT * FROM copy;"
    ))
    .unwrap();
    let kind = "row_alone".to_owned();
    let expected = [(started.to_owned(), kind.clone()), (unstarted.to_owned(), kind)];
    assert_eq!(reconcile(&server).await, expected);
    for (id, end) in [(started, "TERMINATED orphaned"), (unstarted, "ERROR spawn_failed")] {
        let row = format!("SELECT status || ' ' || end_reason FROM sessions WHERE id = '{id}'");
        server.wait_for_sql(&row, end).await;
    }
    warned(&mut server, started, "row_alone").await;
    assert_eq!(server.api().session(&real).await["status"], "IDLE");
    // Its name is free again.
    server.api().create(json!({ "profile": "bash", "name": "stray" })).await;
}

#[actix_web::test]
async fn a_busy_server_has_nothing_to_mend() {
    let server = Server::start().await;
    let sessions = async {
        for round in 0..6 {
            let id = idle_session(&server, &format!("s{round}")).await;
            let (_terminal, _) = Terminal::attach(&server, &id, "").await;
            server.api().delete(&format!("/api/v1/sessions/{id}")).await.ok(200);
            server.api().run("exit 1").await;
        }
    };
    let mut sessions = Box::pin(sessions);
    let mut passes = 0;
    loop {
        tokio::select! {
            biased;
            () = &mut sessions => break,
            mended = reconcile(&server) => assert_eq!(mended, []),
        }
        passes += 1;
    }
    assert!(passes > 3, "{passes} passes");
}
