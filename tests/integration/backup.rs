//! Copies of the database while it is being written.

use crate::cli::{code_and_text, verb};
use crate::support::{Api, Server, Terminal, Wire, soon};
use awc::http::Method;
use futures_util::StreamExt;
use rusqlite::Connection;
use serde_json::json;
use std::path::Path;

/// The copy is whole, and each session's row says what the last of its transitions does.
fn check(file: &Path) -> i64 {
    let db = Connection::open(file).expect("a database");
    let integrity: String = db.query_row("PRAGMA integrity_check", [], |row| row.get(0)).unwrap();
    assert_eq!(integrity, "ok");
    let version: i64 = db.query_row("PRAGMA user_version", [], |row| row.get(0)).unwrap();
    let schema = include_str!("../../schema.sql");
    assert!(schema.contains(&format!("PRAGMA user_version = {version};")), "{version}");
    let torn = "SELECT count(*) FROM sessions WHERE status != (SELECT to_status FROM transitions \
                WHERE session_id = id ORDER BY seq DESC LIMIT 1)";
    let torn: i64 = db.query_row(torn, [], |row| row.get(0)).unwrap();
    assert_eq!(torn, 0, "rows and transitions are of one moment");
    db.query_row("SELECT count(*) FROM sessions", [], |row| row.get(0)).unwrap()
}

fn leftovers(server: &Server) -> Vec<String> {
    let names = std::fs::read_dir(server.state()).unwrap();
    let names = names.map(|entry| entry.unwrap().file_name().into_string().unwrap());
    names.filter(|name| name.starts_with("backup")).collect()
}

async fn churn(api: Api, rounds: usize) {
    for round in 0..rounds {
        let id = api.run("sleep 1000").await;
        let path = format!("/api/v1/sessions/{id}");
        let labels = json!({ "labels": { "round": round.to_string() } }).to_string();
        api.send(Method::PATCH, &path, labels).await.ok(200);
        api.delete(&path).await.ok(200);
    }
}

#[actix_web::test]
async fn a_copy_is_whole_while_everybody_writes() {
    let mut server = Server::start().await;
    let api = server.api();
    // Something to copy: some 40 MiB, which takes a while.
    let id = api.run("cat").await;
    let many = "WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < 300000) \
                INSERT INTO transitions (session_id, at, from_status, to_status, reason, \
                active_connections) SELECT ?1, '2026-01-01T00:00:00.000Z', 'RUNNING', 'RUNNING', \
                'created', 0 FROM n";
    server.db().execute(many, [&id]).unwrap();
    let (mut terminal, _) = Terminal::attach(&server, &id, "").await;
    let writers: Vec<_> = (0..3).map(|_| actix_web::rt::spawn(churn(server.api(), 12))).collect();
    let mut sizes = Vec::new();
    let dir = tempfile::tempdir().unwrap();
    for round in 0..4 {
        let (copy, ()) = tokio::join!(api.get("/api/v1/backup"), async {
            // The terminal is not in the way of it, nor it of the terminal.
            terminal.type_in(format!("round {round}\n")).await;
            terminal.wait_for(&format!("round {round}\r\nround {round}")).await;
        });
        assert_eq!(copy.status.as_u16(), 200);
        assert_eq!(copy.headers.get("content-type").unwrap(), "application/vnd.sqlite3");
        assert_eq!(
            copy.bytes.len().to_string(),
            copy.headers.get("content-length").unwrap().to_str().unwrap()
        );
        let file = dir.path().join(format!("{round}.db"));
        std::fs::write(&file, &copy.bytes).unwrap();
        sizes.push(check(&file));
    }
    assert!(sizes.is_sorted() && sizes[0] >= 1, "{sizes:?}");
    for writer in writers {
        writer.await.unwrap();
    }
    assert_eq!(leftovers(&server), [""; 0]);

    // Whoever hangs up in the middle leaves nothing behind, and is in nobody's way.
    let request = awc::Client::builder().disable_timeout().finish();
    let request = request.get(format!("{}/api/v1/backup", api.base())).bearer_auth(api.token());
    let mut body = request.send().await.unwrap();
    assert!(body.next().await.unwrap().is_ok());
    drop(body);
    let copy = api.get("/api/v1/backup").await;
    assert_eq!(copy.status.as_u16(), 200);
    assert_eq!(leftovers(&server), [""; 0]);

    // Put in the place of the database it is the database.
    let kept = api.create(json!({ "name": "kept", "command": ["sleep", "1000"] })).await;
    let copy = api.get("/api/v1/backup").await;
    api.create(json!({ "name": "later", "command": ["sleep", "1000"] })).await;
    server.kill();
    std::fs::write(server.state().join("backup-dead.tmp"), "x").unwrap();
    for suffix in ["-wal", "-shm"] {
        let _ = std::fs::remove_file(server.state().join(format!("stayd.db{suffix}")));
    }
    std::fs::write(server.state().join("stayd.db"), &copy.bytes).unwrap();
    server.restart().await;
    assert_eq!(server.api().session("kept").await["id"], kept["id"]);
    // The holder knows what the copy does not.
    assert_eq!(server.api().session("later").await["status"], "RUNNING");
    assert_eq!(leftovers(&server), [""; 0], "what a dead server left is gone");
}

#[actix_web::test]
async fn copies_that_nobody_reads_do_not_keep_others_from_theirs() {
    let server = Server::start().await;
    let api = server.api();
    let id = api.run("cat").await;
    // More than the sockets take.
    let many = "WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < 300000) \
                INSERT INTO transitions (session_id, at, from_status, to_status, reason, \
                active_connections) SELECT ?1, '2026-01-01T00:00:00.000Z', 'RUNNING', 'RUNNING', \
                'created', 0 FROM n";
    server.db().execute(many, [&id]).unwrap();
    let bearer = format!("Authorization: Bearer {}", api.token());
    let open = || {
        let mut wire = Wire::open(&server);
        wire.send("GET", "/api/v1/backup", &[&bearer], "");
        assert_eq!(wire.head().status, 200);
        wire
    };
    let mut unread: Vec<Wire> = (0..3).map(|_| open()).collect();
    assert_eq!(api.get("/api/v1/backup").await.status.as_u16(), 200);
    unread.push(open());
    // One too many is told when to come back, and then has its turn.
    let refused = api.get("/api/v1/backup").await;
    let problem = refused.problem(503, "unavailable");
    assert!(problem["detail"].as_str().unwrap().contains("4 other copies"), "{problem}");
    assert_eq!(refused.headers.get("retry-after").unwrap(), "30");
    let files = |server: &Server| {
        let fds = std::fs::read_dir(format!("/proc/{}/fd", server.pid())).unwrap();
        let targets = fds.flatten().filter_map(|fd| std::fs::read_link(fd.path()).ok());
        targets.filter(|target| target.to_string_lossy().contains("backup-")).count()
    };
    assert_eq!(files(&server), 4);
    while api.get("/api/v1/backup").await.status.as_u16() != 200 {}
    soon("the end of those that nobody read", async {
        while files(&server) > 0 {
            actix_web::rt::task::yield_now().await;
        }
    })
    .await;
}

#[actix_web::test]
async fn the_command_line_writes_a_copy_and_replaces_nothing_unasked() {
    let server = Server::start().await;
    let id = server.api().run("sleep 1000").await;
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("copy.db");
    let name = file.to_str().unwrap();
    assert_eq!(code_and_text(&verb(&server, &["backup", name])), (Some(0), String::new()));
    assert_eq!(check(&file), 1);
    let mode =
        std::os::unix::fs::PermissionsExt::mode(&std::fs::metadata(&file).unwrap().permissions());
    assert_eq!(mode & 0o777, 0o600);
    let before = std::fs::read(&file).unwrap();
    server.api().delete(&format!("/api/v1/sessions/{id}")).await.ok(200);
    let (code, text) = code_and_text(&verb(&server, &["backup", name]));
    assert!(code == Some(1) && text.contains("--force"), "{text}");
    assert_eq!(std::fs::read(&file).unwrap(), before, "untouched");
    assert_eq!(verb(&server, &["backup", "--force", name]).status.code(), Some(0));
    let status = "SELECT status FROM sessions";
    let status: String =
        Connection::open(&file).unwrap().query_row(status, [], |row| row.get(0)).unwrap();
    assert_eq!(status, "TERMINATED");
    let nowhere = dir.path().join("no/such/place.db");
    assert_eq!(verb(&server, &["backup", nowhere.to_str().unwrap()]).status.code(), Some(1));
    let wrong = ["backup", "--force", "--token", "wrong", name];
    assert_eq!(verb(&server, &wrong).status.code(), Some(1));
    check(&file);
    assert_eq!(std::fs::read_dir(dir.path()).unwrap().count(), 1, "nothing half done is left");
}
