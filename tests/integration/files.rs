//! Files that are put into a session's directory, and read there.

use crate::support::{Api, Server, soon};
use actix_http::Method;
use actix_web::rt::time::sleep;
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use serde_json::{Value, json};
use std::path::Path;
use std::process::{Command, Output, Stdio};
use std::time::{Duration, SystemTime};

const STAYD: &str = env!("CARGO_BIN_EXE_stayd");

async fn session(server: &Server, directory: &Path) -> String {
    let session = json!({ "command": ["sleep", "1000"], "cwd": directory, "name": "work" });
    server.api().create(session).await["id"].as_str().unwrap().to_owned()
}

fn path(id: &str, query: &str) -> String {
    format!("/api/v1/sessions/{id}/files?{query}")
}

async fn put(api: &Api, id: &str, query: &str, bytes: &[u8]) -> (u16, Value) {
    let reply = api.send(Method::PUT, &path(id, query), bytes).await;
    (reply.status.as_u16(), reply.json())
}

fn stayd(server: &Server, directory: &Path, arguments: &[&str]) -> Output {
    let mut stayd = Command::new(STAYD);
    stayd.args(arguments).arg("--state-dir").arg(server.state()).current_dir(directory);
    stayd.output().unwrap()
}

#[actix_web::test]
async fn an_upload_goes_on_after_the_server_was_killed() {
    let mut server = Server::start().await;
    let there = tempfile::tempdir().unwrap();
    let id = session(&server, there.path()).await;
    let query = |offset: u64| format!("name=a%20b.bin&upload=k-1&total=6&offset={offset}");
    assert_eq!(put(&server.api(), &id, &query(0), b"abc").await, (200, json!({ "received": 3 })));
    server.kill();
    server.restart().await;
    let (status, gap) = put(&server.api(), &id, &query(4), b"e").await;
    assert_eq!((status, &gap["code"], &gap["received"]), (409, &json!("upload_gap"), &json!(3)));
    let (status, done) = put(&server.api(), &id, &query(3), b"def").await;
    let whole = there.path().canonicalize().unwrap().join("a b.bin");
    assert_eq!((status, &done["path"]), (201, &json!(whole)));
    assert_eq!(std::fs::read(&whole).unwrap(), b"abcdef");
    let reply = server.api().get(&path(&id, "path=a%20b.bin")).await;
    assert_eq!((reply.status.as_u16(), &reply.bytes[..]), (200, &b"abcdef"[..]));
    assert_eq!(reply.headers.get("content-type").unwrap(), "application/octet-stream");
    // The answer was lost: the last piece comes again.
    assert_eq!(put(&server.api(), &id, &query(3), b"def").await, (201, done));
    // A file that is there is not replaced.
    let (_, again) = put(&server.api(), &id, "name=a%20b.bin&upload=k-2&total=1", b"x").await;
    assert!(again["path"].as_str().unwrap().ends_with("/a b (1).bin"), "{again}");
    let (_, apart) = put(&server.api(), &id, "name=c&upload=k&total=0&apart=true", b"").await;
    assert!(apart["path"].as_str().unwrap().ends_with("/uploads/c"), "{apart}");
}

#[actix_web::test]
async fn what_is_cancelled_is_gone_and_what_is_wrong_is_told() {
    let server = Server::start_with(&["--max-upload-bytes", "100"]).await;
    let there = tempfile::tempdir().unwrap();
    let id = session(&server, there.path()).await;
    let api = server.api();
    put(&api, &id, "name=a&upload=k&total=2", b"x").await;
    let cancelled = api.send(Method::DELETE, &path(&id, "name=a&upload=k"), "").await;
    assert_eq!(cancelled.status, 204);
    assert_eq!(std::fs::read_dir(there.path()).unwrap().count(), 0);
    for (query, bytes, status, code) in [
        ("name=a&upload=k&total=101", &b"x"[..], 413, "payload_too_large"),
        ("name=a&upload=k&total=1", b"xy", 400, "invalid_request"),
        ("name=../a&upload=k&total=1", b"x", 400, "invalid_request"),
        ("name=a&upload=..&total=1", b"x", 400, "invalid_request"),
        ("name=a&upload=k&total=x", b"x", 400, "invalid_request"),
        ("name=a&upload=k&total=3&offset=2", b"x", 409, "upload_gap"),
    ] {
        let (told, problem) = put(&api, &id, query, bytes).await;
        assert_eq!((told, &problem["code"]), (status, &json!(code)), "{query}: {problem}");
    }
    for (query, status, code) in [
        ("path=none", 404, "no_file"),
        ("path=.", 409, "file_refused"),
        ("path=/dev/zero", 409, "file_refused"),
        ("path=%00", 400, "invalid_request"),
    ] {
        let told = api.get(&path(&id, query)).await;
        assert_eq!((told.status.as_u16(), &told.json()["code"]), (status, &json!(code)), "{query}");
    }
    assert_eq!(std::fs::read_dir(there.path()).unwrap().count(), 0);
}

#[actix_web::test]
async fn an_upload_is_one_file_however_often_and_under_which_name_it_comes() {
    let server = Server::start().await;
    let there = tempfile::tempdir().unwrap();
    let id = session(&server, there.path()).await;
    let api = server.api();
    let piece = |name: &'static str, total: u64, bytes: &'static [u8]| {
        let query = format!("name={name}&upload=k&total={total}");
        let (api, id) = (&api, &id);
        async move { put(api, id, &query, bytes).await }
    };
    let all = futures_util::future::join_all((0..8).map(|_| piece("a", 1, b"x"))).await;
    assert!(all.iter().all(|answer| answer == &all[0]) && all[0].0 == 201, "{all:?}");
    assert_eq!(std::fs::read_dir(there.path()).unwrap().count(), 1);
    // Another file under the same name of an upload is another upload.
    let (status, other) = piece("b", 1, b"y").await;
    assert_eq!((status, other["path"].as_str().unwrap().ends_with("/b")), (201, true));
    // One that has become shorter meanwhile is not mixed with what has come.
    assert_eq!(piece("c", 20, b"123456789").await.0, 200);
    let (status, gap) = piece("c", 2, b"12").await;
    assert_eq!((status, &gap["code"], &gap["received"]), (409, &json!("upload_gap"), &json!(9)));
}

#[actix_web::test]
async fn whoever_has_one_session_has_no_files_by_it() {
    let server = Server::start().await;
    let there = tempfile::tempdir().unwrap();
    let id = session(&server, there.path()).await;
    let owner = server.api();
    let token = json!({ "name": "one", "role": "controller", "sessions": [id] });
    let token = owner.post("/api/v1/tokens", token.to_string()).await.ok(201);
    let share = json!({ "mode": "rw" }).to_string();
    let share = owner.post(&format!("/api/v1/sessions/{id}/shares"), share).await.ok(201);
    for secret in [&token["token"], &share["token"]] {
        let api = owner.with_token(secret.as_str().unwrap());
        assert_eq!(api.get(&path(&id, "path=/etc/passwd")).await.status.as_u16(), 403);
        assert_eq!(put(&api, &id, "name=a&upload=k&total=1", b"x").await.0, 403);
    }
    assert_eq!(std::fs::read_dir(there.path()).unwrap().count(), 0);
}

#[actix_web::test]
async fn files_of_the_kernel_are_read_to_their_end() {
    let server = Server::start().await;
    let id = session(&server, Path::new("/")).await;
    let read = server.api().get(&path(&id, "path=/proc/version")).await;
    let expected = std::fs::read("/proc/version").unwrap();
    assert_eq!((read.status.as_u16(), &read.bytes[..]), (200, &expected[..]));
}

#[actix_web::test]
async fn the_command_line_copies_both_ways() {
    let server = Server::start().await;
    let (there, here) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    session(&server, there.path()).await;
    // More than a piece.
    let bytes: Vec<u8> = (0..2_500_000_u32).map(|at| (at % 251) as u8).collect();
    std::fs::write(here.path().join("big.bin"), &bytes).unwrap();
    std::fs::write(here.path().join("empty"), "").unwrap();
    let copied = stayd(&server, here.path(), &["put", "work", "big.bin", "empty"]);
    assert!(copied.status.success(), "{copied:?}");
    let directory = there.path().canonicalize().unwrap();
    let expected = format!("{0}/big.bin\n{0}/empty\n", directory.display());
    assert_eq!(String::from_utf8(copied.stdout).unwrap(), expected);
    assert_eq!(std::fs::read(there.path().join("big.bin")).unwrap(), bytes);
    let refused = stayd(&server, here.path(), &["get", "work", "big.bin"]);
    assert!(!refused.status.success(), "a file of that name is here");
    let got = stayd(&server, here.path(), &["get", "work", "big.bin", "-o", "copy"]);
    assert!(got.status.success(), "{got:?}");
    assert_eq!(std::fs::read(here.path().join("copy")).unwrap(), bytes);
    let shown = stayd(&server, here.path(), &["get", "work", "empty", "-o", "-"]);
    assert!(shown.status.success() && shown.stdout.is_empty());
    std::fs::write(server.state().join("../in-home"), "mine").unwrap();
    let own = stayd(&server, here.path(), &["get", "work", "~/in-home", "-o", "-"]);
    assert_eq!(String::from_utf8_lossy(&own.stdout), "mine", "{own:?}");
    let none = stayd(&server, here.path(), &["get", "work", "none"]);
    assert_eq!(String::from_utf8(none.stderr).unwrap(), "stayd: none: No such file or directory\n");
    // The audit log names each file once, however many pieces it had.
    let uploads = "SELECT count(*) FROM audit WHERE action = 'session.upload'";
    server.wait_for_sql(uploads, "2").await;
}

#[actix_web::test]
async fn an_interrupted_copy_leaves_nothing_there() {
    let server = Server::start().await;
    let (there, here) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    session(&server, there.path()).await;
    // Without blocks on this disk, and too large to be there before the signal is.
    let big = std::fs::File::create(here.path().join("big")).unwrap();
    big.set_len(1_000_000_000).unwrap();
    let mut stayd = Command::new(STAYD);
    stayd.args(["put", "work", "big", "big"]).arg("--state-dir").arg(server.state());
    stayd.current_dir(here.path()).stderr(Stdio::piped()).stdout(Stdio::piped());
    let copying = stayd.spawn().unwrap();
    soon("a part", async {
        while std::fs::read_dir(there.path()).unwrap().count() == 0 {
            sleep(Duration::from_millis(5)).await;
        }
    })
    .await;
    kill(Pid::from_raw(copying.id() as i32), Signal::SIGINT).unwrap();
    let ended = actix_web::web::block(|| copying.wait_with_output().unwrap()).await.unwrap();
    let told = String::from_utf8_lossy(&ended.stderr).into_owned();
    assert_eq!(ended.status.code(), Some(130), "{told}");
    assert_eq!(told, "stayd: interrupted: big was not copied\n");
    assert_eq!(std::fs::read_dir(there.path()).unwrap().count(), 0);
    assert_eq!(std::fs::read_dir(server.state().join("parts")).unwrap().count(), 0);
}

#[actix_web::test]
async fn parts_that_nobody_comes_back_for_are_removed_after_a_day() {
    let mut server = Server::start().await;
    let there = tempfile::tempdir().unwrap();
    let id = session(&server, there.path()).await;
    for (name, hours) in [("old", 25), ("new", 23)] {
        let query = format!("name={name}&upload=k&total=2");
        assert_eq!(put(&server.api(), &id, &query, b"x").await.0, 200);
        let part = std::fs::File::open(there.path().join(format!(".{name}.k.part"))).unwrap();
        let then = SystemTime::now() - Duration::from_secs(hours * 3600);
        part.set_modified(then).unwrap();
    }
    std::fs::write(there.path().join(".mine.k.part"), "mine").unwrap();
    server.kill();
    server.restart().await;
    soon("the old part's end", async {
        while there.path().join(".old.k.part").exists() {
            sleep(Duration::from_millis(5)).await;
        }
    })
    .await;
    assert!(there.path().join(".mine.k.part").exists(), "no upload of ours");
    // Whoever comes back within a day goes on.
    let done = put(&server.api(), &id, "name=new&upload=k&total=2&offset=1", b"y").await;
    assert_eq!(done.0, 201, "{done:?}");
}
