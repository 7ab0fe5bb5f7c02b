//! A database that cannot be written, or read: terminals go on, everybody is told, and
//! nothing that was acknowledged is lost.

use crate::support::{Server, Terminal, soon};
use serde_json::{Value, json};
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};
use std::process::Command;

/// A session with a client that types and sees.
async fn attached(server: &Server) -> (String, Terminal) {
    let session = server.api().create(json!({ "profile": "bash" })).await;
    let id = session["id"].as_str().unwrap().to_owned();
    let (mut terminal, _) = Terminal::attach(server, &id, "").await;
    answers(&mut terminal, 1).await;
    (id, terminal)
}

async fn answers(terminal: &mut Terminal, n: u32) {
    terminal.type_in(format!("echo \"<$(({n}+1000))>\"\n")).await;
    terminal.wait_for(&format!("<{}>", n + 1000)).await;
}

async fn until_ready(server: &Server) -> Value {
    let api = server.api();
    soon("ready", async {
        loop {
            let reply = api.get("/readyz").await;
            if reply.status == 200 {
                return reply.json();
            }
        }
    })
    .await
}

/// What must hold while nothing can be written: a kill and a terminal go on, creating is
/// refused. The killed session's id.
async fn goes_on_without(server: &Server, terminal: &mut Terminal, doomed: &str) {
    let api = server.api();
    let create = json!({ "profile": "bash" }).to_string();
    api.post("/api/v1/sessions", create).await.problem(503, "store_unavailable");
    let reply = api.get("/readyz").await;
    let detail = reply.problem(503, "not_ready")["detail"].to_string();
    assert!(detail.contains("database"), "{detail}");
    answers(terminal, 2).await;
    let ended = api.delete(&format!("/api/v1/sessions/{doomed}")).await.ok(200);
    assert_eq!(ended["persisted"], false, "{ended}");
    assert_eq!(ended["status"], "TERMINATED");
    // Nobody may come to it any more.
    api.get("/healthz").await.ok(200);
    answers(terminal, 3).await;
}

async fn comes_back(server: &mut Server, terminal: &mut Terminal, id: &str, doomed: &str) {
    until_ready(server).await;
    let row = format!("SELECT status || ' ' || end_reason FROM sessions WHERE id = '{doomed}'");
    server.wait_for_sql(&row, "TERMINATED killed").await;
    let last = format!(
        "SELECT to_status FROM transitions WHERE session_id = '{doomed}' ORDER BY seq DESC LIMIT 1"
    );
    server.wait_for_sql(&last, "TERMINATED").await;
    answers(terminal, 4).await;
    attached(server).await;
    server.kill_and_restart().await;
    let status = |session: &Value| session["status"].as_str().unwrap().to_owned();
    assert_eq!(status(&server.api().session(doomed).await), "TERMINATED");
    assert_eq!(status(&server.api().session(id).await), "IDLE");
}

#[actix_web::test]
async fn a_locked_database_is_waited_for() {
    let mut server = Server::start().await;
    let (id, mut terminal) = attached(&server).await;
    let (doomed, _other) = attached(&server).await;
    let lock = server.db();
    lock.execute_batch("BEGIN EXCLUSIVE").unwrap();
    goes_on_without(&server, &mut terminal, &doomed).await;
    let told = |line: &Value| line["level"] == "error" && line["part"] == "store";
    server.wait_for_log("a word in the log", told).await;
    drop(lock);
    comes_back(&mut server, &mut terminal, &id, &doomed).await;
}

/// A small file system of its own; taken off when dropped.
pub(crate) struct Tmpfs(PathBuf);

impl Tmpfs {
    /// `None` where that is not allowed.
    pub(crate) fn mount(at: &Path) -> Option<Self> {
        std::fs::create_dir_all(at).unwrap();
        let mount = Command::new("mount")
            .args(["-t", "tmpfs", "-o", "size=2m,mode=700", "tmpfs"])
            .arg(at)
            .output();
        match mount {
            Ok(output) if output.status.success() => Some(Tmpfs(at.to_owned())),
            Ok(output) => {
                eprintln!("SKIPPED: {}", String::from_utf8_lossy(&output.stderr));
                None
            }
            Err(error) => {
                eprintln!("SKIPPED: no mount(8): {error}");
                None
            }
        }
    }
}

impl Drop for Tmpfs {
    fn drop(&mut self) {
        let _ = Command::new("umount").arg("-l").arg(&self.0).status();
    }
}

/// Fills a file until nothing more fits.
pub(crate) fn fill(path: &Path) {
    use std::io::Write;
    let mut file = std::fs::File::create(path).unwrap();
    for size in [64 << 10, 4 << 10, 1] {
        while file.write_all(&vec![7; size]).is_ok() {}
    }
}

#[actix_web::test]
async fn a_full_disk_loses_nothing_that_was_acknowledged() {
    let dir = Server::dir();
    let Some(_tmpfs) = Tmpfs::mount(&dir.path().join("state")) else { return };
    let mut server = Server::start_in(dir, Vec::new()).await;
    let (id, mut terminal) = attached(&server).await;
    let (doomed, _other) = attached(&server).await;
    let filler = server.state().join("filler");
    fill(&filler);
    goes_on_without(&server, &mut terminal, &doomed).await;
    std::fs::remove_file(&filler).unwrap();
    comes_back(&mut server, &mut terminal, &id, &doomed).await;
}

fn kept_aside(server: &Server) -> Vec<String> {
    let name = |entry: std::io::Result<std::fs::DirEntry>| entry.unwrap().file_name();
    let names = std::fs::read_dir(server.state()).unwrap().map(name);
    let names = names.map(|name| name.to_string_lossy().into_owned());
    names.filter(|name| name.contains(".corrupt-")).collect()
}

fn overwrite(path: &Path, from: u64) {
    let file = std::fs::OpenOptions::new().write(true).open(path).unwrap();
    let length = file.metadata().unwrap().len();
    assert!(length > from, "{} is empty", path.display());
    file.write_all_at(&vec![0xa5; (length - from) as usize], from).unwrap();
}

/// Damages the files of a stopped server; what was alive comes back from the holder.
async fn survives(damage: impl Fn(&Path), damaged: bool) {
    let mut server = Server::start().await;
    let (id, mut terminal) = attached(&server).await;
    let pid = server.api().session(&id).await["pid"].clone();
    answers(&mut terminal, 2).await;
    let row = format!("SELECT status FROM sessions WHERE id = '{id}'");
    server.wait_for_sql(&row, "ACTIVE").await;
    server.kill();
    damage(&server.state().join("stayd.db"));
    server.restart().await;
    let ready = until_ready(&server).await;
    let session = server.api().session(&id).await;
    assert_eq!((&session["pid"], &session["status"]), (&pid, &json!("IDLE")), "{session}");
    let (mut terminal, _) = Terminal::attach(&server, &id, "").await;
    answers(&mut terminal, 3).await;
    server.wait_for_sql(&row, "ACTIVE").await;
    assert_eq!(server.sql("PRAGMA integrity_check").as_deref(), Some("ok"));
    let kept = kept_aside(&server);
    assert_eq!(!kept.is_empty(), damaged, "{kept:?}");
    let told = ready["database"]["damaged_kept_as"].as_str().unwrap_or_default().to_owned();
    assert_eq!(!told.is_empty() && Path::new(&told).exists(), damaged, "{ready}");
}

/// Brings everything into the database's own file, as a long life does.
fn settle(db: &Path) {
    let sql = rusqlite::Connection::open(db).unwrap();
    sql.execute_batch("PRAGMA wal_checkpoint(TRUNCATE)").unwrap();
}

#[actix_web::test]
async fn a_database_of_garbage_is_kept_aside() {
    let garbage = |db: &Path| {
        settle(db);
        overwrite(db, 0);
    };
    survives(garbage, true).await;
}

#[actix_web::test]
async fn a_database_with_damaged_pages_is_kept_aside() {
    let garbage = |db: &Path| {
        settle(db);
        overwrite(db, 4096);
    };
    survives(garbage, true).await;
}

#[actix_web::test]
async fn a_truncated_database_is_kept_aside() {
    let cut = |db: &Path| {
        settle(db);
        std::fs::OpenOptions::new().write(true).open(db).unwrap().set_len(5000).unwrap();
    };
    survives(cut, true).await;
}

#[actix_web::test]
async fn a_log_of_garbage_costs_what_was_only_in_it() {
    // SQLite passes over frames whose checksums are wrong: the database is sound and old.
    survives(|db| overwrite(&db.with_extension("db-wal"), 0), false).await;
}

#[actix_web::test]
async fn damage_under_a_running_server_is_told_and_the_next_start_mends_it() {
    let mut server = Server::start().await;
    let (id, mut terminal) = attached(&server).await;
    let row = format!("SELECT status FROM sessions WHERE id = '{id}'");
    server.wait_for_sql(&row, "ACTIVE").await;
    let db = server.db();
    // Into the file, and something new, so that what the server remembers of it is stale.
    db.execute_batch("CREATE TABLE x (y); DROP TABLE x; PRAGMA wal_checkpoint(TRUNCATE)").unwrap();
    overwrite(&server.state().join("stayd.db"), 4096);
    let create = json!({ "profile": "bash" }).to_string();
    server.api().post("/api/v1/sessions", create).await.problem(503, "store_unavailable");
    server.api().get("/readyz").await.problem(503, "not_ready");
    let told = |line: &Value| line["level"] == "error" && line["part"] == "store";
    server.wait_for_log("a word in the log", told).await;
    answers(&mut terminal, 2).await;
    drop(db);
    server.kill_and_restart().await;
    until_ready(&server).await;
    assert_eq!(server.api().session(&id).await["status"], "IDLE");
    assert!(!kept_aside(&server).is_empty());
}

#[actix_web::test]
async fn a_database_that_is_not_ours_is_refused_and_left_alone() {
    for foreign in ["PRAGMA user_version = 99", "CREATE TABLE theirs (x)"] {
        let dir = Server::dir();
        let path = dir.path().join("state/stayd.db");
        std::fs::create_dir(dir.path().join("state")).unwrap();
        rusqlite::Connection::open(&path).unwrap().execute_batch(foreign).unwrap();
        let before = std::fs::read(&path).unwrap();
        let started = Command::new(env!("CARGO_BIN_EXE_stayd"))
            .args(["serve", "--listen", "127.0.0.1:0", "--state-dir"])
            .arg(dir.path().join("state"))
            .output()
            .unwrap();
        assert!(!started.status.success());
        let stderr = String::from_utf8_lossy(&started.stderr);
        assert!(stderr.contains("version 99") || stderr.contains("not stayd's"), "{stderr}");
        assert_eq!(std::fs::read(&path).unwrap(), before);
    }
}
