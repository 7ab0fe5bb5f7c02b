//! No descriptor is free, no room is left, the disk does not answer: what was known stays known,
//! and what somebody may not do any more they may not.

use crate::cli::{code_and_text, verb};
use crate::store_faults::{Tmpfs, fill};
use crate::support::{DEADLINE, Server, Wire, lives, shim, soon};
use serde_json::{Value, json};
use std::io::{BufRead, BufReader, Read};
use std::path::Path;
use std::pin::pin;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};
use tokio::time::timeout;

/// The server gets no further descriptor from now on, or does again.
fn descriptors(server: &Server, most: u32) {
    let mut prlimit = Command::new("prlimit");
    prlimit.args(["--pid", &server.pid().to_string(), &format!("--nofile={most}:")]);
    assert!(prlimit.status().expect("prlimit(1)").success());
}

fn token(server: &Server, args: &[&str]) -> String {
    let output = verb(server, &[&["token"], args].concat());
    let (code, text) = code_and_text(&output);
    assert_eq!(code, Some(0), "{args:?}: {text}");
    String::from_utf8(output.stdout).expect("text").trim().to_owned()
}

/// Opens streams of events until the server has no descriptor left for another connection.
fn take_all_descriptors(server: &Server, bearer: &str) -> Vec<Wire> {
    let numbers = || {
        let fds = std::fs::read_dir(format!("/proc/{}/fd", server.pid())).expect("it runs");
        fds.flatten().filter_map(|fd| fd.file_name().to_str()?.parse::<u32>().ok())
    };
    let most = numbers().max().expect("some") + 8;
    descriptors(server, most);
    let mut streams = Vec::new();
    while numbers().count() < most as usize {
        let before = numbers().count();
        let mut stream = Wire::open(server);
        stream.send("GET", "/api/v1/events", &[bearer], "");
        let start = Instant::now();
        // Whoever is let in has a descriptor.
        while numbers().count() == before && start.elapsed() < DEADLINE / 20 {}
        streams.push(stream);
        assert!(streams.len() < 1000, "{most} are never taken");
    }
    streams
}

#[actix_web::test]
async fn without_descriptors_nothing_is_forgotten_and_nobody_comes_back() {
    let mut server = Server::start().await;
    let (owner, anna, ben) =
        (server.token(), token(&server, &["add", "anna"]), token(&server, &["add", "ben"]));
    // What leaves its terminal on purpose is found in /proc alone.
    let script = "setsid sh -c 'trap \"\" HUP TERM; echo $$; sleep 1000' & wait";
    let body = json!({ "command": ["bash", "-c", script], "recording": "output" });
    let id = server.api().create(body).await["id"].as_str().unwrap().to_owned();
    let path = format!("/api/v1/sessions/{id}");
    let recording = format!("{path}/recording");
    soon("a recording", async {
        while !server.api().get(&recording).await.bytes.ends_with(b"\\n\"]\n") {}
    })
    .await;
    let output = String::from_utf8(server.api().get(&format!("{path}/output")).await.bytes);
    let pid: i32 = output.unwrap().trim().parse().unwrap();

    let mut wire = Wire::open(&server);
    assert_eq!([&owner, &anna, &ben].map(|token| wire.status_with(token)), [200; 3]);
    let (stays, goes) = (wire.log_in(&owner), wire.log_in(&owner));
    let bearer = format!("Authorization: Bearer {owner}");
    let streams = take_all_descriptors(&server, &bearer);

    // Over TCP nobody gets in, and the owner does over the unix socket, again and again. A token
    // that is removed is out; the others stay.
    let start = Instant::now();
    token(&server, &["rm", "ben"]);
    assert_eq!([&owner, &anna, &ben].map(|token| wire.status_with(token)), [200, 200, 401]);
    let carl = token(&server, &["add", "carl"]);
    assert_eq!([&owner, &anna, &carl].map(|token| wire.status_with(token)), [200; 3]);
    for _ in 0..20 {
        token(&server, &["ls"]);
    }
    assert!(start.elapsed() < DEADLINE, "{:?}", start.elapsed());
    drop(streams);

    // Less than none, for those that stand.
    descriptors(&server, 3);
    let removed = wire.ask("DELETE", "/api/v1/tokens/carl", &[&bearer], "");
    assert_eq!(removed.status, 204, "{}", removed.body);
    assert_eq!([&owner, &anna, &carl].map(|token| wire.status_with(token)), [200, 200, 401]);
    let during = wire.log_in(&anna);
    assert_eq!([&stays, &goes, &during].map(|login| wire.status_of(login)), [200; 3]);
    assert_eq!(wire.log_out(&goes).status, 204);
    assert_eq!([&stays, &goes, &during].map(|login| wire.status_of(login)), [200, 401, 200]);

    // Nobody can be seen in /proc, which does not mean that nobody is there.
    let killed = wire.ask("DELETE", &path, &[&bearer], "");
    assert_eq!(killed.status, 202, "{}", killed.body);
    let record = wire.ask("GET", &path, &[&bearer], "");
    let record: Value = serde_json::from_str(&record.body).unwrap();
    assert!(lives(pid) && record["ended_at"].is_null(), "{record}");
    let unread = wire.ask("GET", &recording, &[&bearer], "");
    assert_eq!(unread.status, 500, "{}", unread.body);

    descriptors(&server, 4096);
    soon("the session's end", async {
        while server.api().session(&id).await["status"] != "TERMINATED" {}
    })
    .await;
    assert!(!lives(pid));
    assert_eq!([&anna, &ben, &carl].map(|token| wire.status_with(token)), [200, 401, 401]);
    let recorded = server.api().get(&recording).await;
    assert!(recorded.status == 200 && recorded.bytes.ends_with(b"\\n\"]\n"));
    server.kill_and_restart().await;
    let mut wire = Wire::open(&server);
    assert_eq!([&stays, &goes, &during].map(|login| wire.status_of(login)), [200, 401, 200]);
}

/// A pipe would have whoever opens it wait for a writer.
#[actix_web::test]
async fn what_is_no_file_in_place_of_the_owners_token_is_an_error_at_the_start() {
    let mut server = Server::start().await;
    let token = server.state().with_file_name("token");
    server.kill();
    std::fs::remove_file(&token).unwrap();
    nix::unistd::mkfifo(&token, nix::sys::stat::Mode::S_IRWXU).unwrap();
    server.begin_restart();
    let mut said = Vec::new();
    while let Some(line) = server.next_log().await {
        said.push(line.to_string());
    }
    let said = said.join("\n");
    assert!(said.contains("expected a file") && said.contains("/token"), "{said}");
    assert_eq!(server.stop_waiting().code(), Some(1));
    // A short one, and one of other characters, is none.
    for wrong in ["", "short", &"pass word ".repeat(8)] {
        std::fs::remove_file(&token).unwrap();
        std::fs::write(&token, wrong).unwrap();
        server.begin_restart();
        assert!(!server.listens().await, "{wrong:?}");
        assert_eq!(server.stop_waiting().code(), Some(1), "{wrong:?}");
    }
    let secret = "0123456789abcdef".repeat(4);
    std::fs::write(&token, &secret).unwrap();
    server.restart().await;
    assert_eq!(Wire::open(&server).status_with(&secret), 200);
}

#[actix_web::test]
async fn what_cannot_be_seen_is_not_said_to_have_ended() {
    let mut server = Server::start().await;
    let real = server.api().run("read").await;
    // A row without a session, and a process of it that only /proc knows of.
    let id = "00000000-0000-7000-8000-000000000001";
    let mut stray = Command::new("sleep").arg("1000").env("STAYD_SESSION", id).spawn().unwrap();
    server
        .db()
        .execute_batch(&format!(
            "CREATE TEMP TABLE copy AS SELECT * FROM sessions WHERE id = '{real}';
             UPDATE copy SET id = '{id}', pid = 4194304;
             INSERT INTO sessions SELECT * FROM copy;"
        ))
        .unwrap();
    let mut wire = Wire::open(&server);
    let bearer = format!("Authorization: Bearer {}", server.token());
    // Accepted, while there are descriptors.
    assert_eq!(wire.ask("GET", "/healthz", &[], "").status, 200);
    descriptors(&server, 3);
    // What differs twice is mended.
    for found in [false, true] {
        let passed = wire.ask("POST", "/api/v1/reconcile", &[&bearer], "");
        assert_eq!(passed.body.contains("row_alone"), found, "{}", passed.body);
    }
    let looked = |line: &Value| {
        let msg = line["msg"].as_str().unwrap_or_default();
        line["session"] == id && msg.contains("what is left of a session")
    };
    // An idle connection is closed after 5 s, and there is no descriptor for another.
    {
        let mut look = pin!(server.wait_for_log("a look at who is left", looked));
        while timeout(Duration::from_secs(1), &mut look).await.is_err() {
            assert_eq!(wire.ask("GET", "/healthz", &[], "").status, 200);
        }
    }
    let record = wire.ask("GET", &format!("/api/v1/sessions/{id}"), &[&bearer], "");
    let record: Value = serde_json::from_str(&record.body).unwrap();
    assert!(record["ended_at"].is_null(), "{record}");
    assert!(stray.try_wait().unwrap().is_none());
    descriptors(&server, 4096);
    soon("the end of what is left", async {
        while stray.try_wait().unwrap().is_none() {
            actix_web::rt::task::yield_now().await;
        }
    })
    .await;
    let row = format!("SELECT end_reason FROM sessions WHERE id = '{id}'");
    server.wait_for_sql(&row, "orphaned").await;
}

/// A server on a small disk of its own.
async fn on_a_small_disk() -> Option<(Tmpfs, Server)> {
    let dir = Server::dir();
    let disk = Tmpfs::mount(&dir.path().join("state"))?;
    Some((disk, Server::start_in(dir, Vec::new()).await))
}

#[actix_web::test]
async fn a_full_disk_takes_no_right_away_too_late() {
    let Some((_disk, mut server)) = on_a_small_disk().await else { return };
    let (owner, anna) = (server.token(), token(&server, &["add", "anna"]));
    let (ben, carl) = (token(&server, &["add", "ben"]), token(&server, &["add", "carl"]));
    let (mut wire, host) = (Wire::open(&server), server.address().to_owned());
    let (stays, goes) = (wire.log_in(&owner), wire.log_in(&owner));
    let of_anna = wire.log_in(&anna);
    let id = server.api().run("sleep 1000").await;
    let share = || {
        let path = format!("/api/v1/sessions/{id}/shares");
        let bearer = format!("Authorization: Bearer {owner}");
        let made = Wire::open(&server).ask("POST", &path, &[&bearer], "{}");
        serde_json::from_str::<Value>(&made.body).unwrap()
    };
    let (keeps, ends) = (share(), share());
    let [keeps, ended] = [&keeps, &ends].map(|it| it["token"].as_str().unwrap().to_owned());
    let ends = format!("/api/v1/sessions/{id}/shares/{}", ends["id"].as_str().unwrap());
    fill(&server.state().join("filler"));

    token(&server, &["rm", "anna"]);
    assert_eq!([&anna, &ben].map(|token| wire.status_with(token)), [401, 200]);
    assert_eq!(wire.log_out(&goes).status, 204);
    assert_eq!(server.api().delete(&ends).await.status, 204);
    token(&server, &["rm", "ben"]);
    let (code, text) = code_and_text(&verb(&server, &["token", "rm", "ben"]));
    assert!(code == Some(1) && text.contains("\"ben\""), "{text}");
    // What gives rights must not take the room, however often it is tried.
    let mut lasting = 0;
    while lasting < 200 {
        let (code, text) = code_and_text(&verb(&server, &["token", "add", &format!("n{lasting}")]));
        if code != Some(0) {
            assert!(code == Some(1) && text.contains("full"), "{text}");
            break;
        }
        lasting += 1;
    }
    assert!(lasting < 200, "the disk is full");
    for _ in 0..20 {
        wire.log_in(&owner);
    }
    let names = token(&server, &["ls"]);
    assert!(names.contains("carl") && !names.contains("anna") && !names.contains("ben"), "{names}");
    let knows = |wire: &mut Wire| {
        assert_eq!([&owner, &anna, &ben, &carl].map(|t| wire.status_with(t)), [200, 401, 401, 200]);
        let of_link = |token: &String| {
            let bearer = format!("Authorization: Bearer {token}");
            Wire::at(&host).ask("GET", "/api/v1/whoami", &[&bearer], "").status
        };
        assert_eq!([&keeps, &ended].map(of_link), [200, 401]);
    };

    // A server that is killed can be started again on the full disk, and knows it all.
    knows(&mut wire);
    server.kill_and_restart().await;
    let mut wire = Wire::open(&server);
    knows(&mut wire);
    let logins = [&stays, &goes, &of_anna].map(|login| wire.status_of(login));
    assert_eq!(logins, [200, 401, 401]);

    // That one, too, has the room to take a right away.
    token(&server, &["rm", "carl"]);
    server.kill_and_restart().await;
    let mut wire = Wire::open(&server);
    assert_eq!(wire.status_with(&carl), 401);
    std::fs::remove_file(server.state().join("filler")).unwrap();
    let dora = token(&server, &["add", "dora"]);
    assert_eq!([&owner, &dora, &carl].map(|token| wire.status_with(token)), [200, 200, 401]);
}

#[actix_web::test]
async fn a_purge_frees_a_full_disk() {
    let Some((_disk, server)) = on_a_small_disk().await else { return };
    let api = server.api();
    let script = "head -c 400000 /dev/zero | tr '\\0' x; echo; read";
    let body = json!({ "command": ["bash", "-c", script], "recording": "output" });
    let id = api.create(body).await["id"].as_str().unwrap().to_owned();
    let bare = api.run("echo; read").await;
    let dir = server.state().join("recordings").join(&id);
    let recorded = || std::fs::metadata(dir.join("0001.cast")).map_or(0, |file| file.len());
    soon("a recording", async {
        while recorded() < 400_000 {
            api.get("/healthz").await.bytes.clear();
        }
    })
    .await;
    for id in [&id, &bare] {
        api.delete(&format!("/api/v1/sessions/{id}")).await.ok(200);
    }
    // SQLite has the room that it needs at the end of its log, or has not: both are right, and
    // what is said of it is true.
    fill(&server.state().join("filler"));
    let refused = api.delete(&format!("/api/v1/sessions/{bare}?purge=true")).await;
    if refused.status != 200 {
        let problem = refused.problem(503, "store_unavailable");
        assert!(problem["detail"].as_str().unwrap().contains("its row"), "{problem}");
        assert_eq!(api.session(&bare).await["status"], "TERMINATED");
    }
    api.delete(&format!("/api/v1/sessions/{id}?purge=true")).await.ok(200);
    assert!(!dir.exists());
    api.get(&format!("/api/v1/sessions/{id}")).await.problem(404, "not_found");
    // With the room that this has made, everything goes on.
    let again = api.delete(&format!("/api/v1/sessions/{bare}?purge=true")).await;
    assert!([200, 404].contains(&again.status.as_u16()));
    api.get(&format!("/api/v1/sessions/{bare}")).await.problem(404, "not_found");
    api.create(json!({ "profile": "bash" })).await;
}

#[actix_web::test]
async fn a_purge_of_a_live_session_on_a_full_disk_is_for_good() {
    let Some((_disk, mut server)) = on_a_small_disk().await else { return };
    let api = server.api();
    let script = "head -c 400000 /dev/zero | tr '\\0' x; echo; read";
    let body = json!({ "command": ["bash", "-c", script], "recording": "output" });
    let id = api.create(body).await["id"].as_str().unwrap().to_owned();
    let path = format!("/api/v1/sessions/{id}");
    let dir = server.state().join("recordings").join(&id);
    soon("a recording", async {
        while std::fs::metadata(dir.join("0001.cast")).map_or(0, |file| file.len()) < 400_000 {
            api.get("/healthz").await.bytes.clear();
        }
    })
    .await;
    fill(&server.state().join("filler"));
    api.delete(&format!("{path}?purge=true")).await.ok(200);
    // Neither this server has anything of it, nor does the holder give it to the next one.
    for restarted in [false, true] {
        if restarted {
            server.kill_and_restart().await;
        }
        let api = server.api();
        api.get(&path).await.problem(404, "not_found");
        api.get(&format!("{path}/output")).await.problem(404, "not_found");
        let all = api.get("/api/v1/sessions?all=true").await.ok(200);
        assert_eq!(all["sessions"], json!([]), "restarted: {restarted}");
    }
    assert!(!dir.exists());
}

#[actix_web::test]
async fn a_full_disk_is_made_room_on_by_retention() {
    let dir = Server::dir();
    let Some(_disk) = Tmpfs::mount(&dir.path().join("state")) else { return };
    let env = vec![("STAYD_RETENTION_S".to_owned(), "5".to_owned())];
    let server = Server::start_in(dir, env).await;
    let api = server.api();
    let script = "head -c 400000 /dev/zero | tr '\\0' x; echo; read";
    let body = json!({ "command": ["bash", "-c", script], "recording": "output" });
    let id = api.create(body).await["id"].as_str().unwrap().to_owned();
    // Written before the disk is full, or there is nothing to make room with.
    let file = server.state().join("recordings").join(&id).join("0001.cast");
    soon("a recording", async {
        while std::fs::metadata(&file).map_or(0, |file| file.len()) < 400_000 {
            api.get("/healthz").await.bytes.clear();
        }
    })
    .await;
    api.delete(&format!("/api/v1/sessions/{id}")).await.ok(200);
    fill(&server.state().join("filler"));
    soon("its row's and its recording's end", async {
        while api.get(&format!("/api/v1/sessions/{id}")).await.status != 404 {}
    })
    .await;
    assert!(!server.state().join("recordings").join(&id).exists());
}

/// Starts a server with so much room; what it said, if it ended instead of listening.
fn start_with_room(state: &Path, free: u64) -> Option<(Option<i32>, String)> {
    let size: u64 = 2 << 20;
    let _ = std::fs::remove_dir_all(state);
    std::fs::create_dir(state).unwrap();
    let filler = state.with_file_name("filler");
    // An earlier server or holder keeps the room of its open files until it has ended.
    let deadline = Instant::now() + DEADLINE;
    let full = loop {
        fill(&filler);
        let full = std::fs::metadata(&filler).unwrap().len();
        if full > size / 2 {
            break full;
        }
        assert!(Instant::now() < deadline, "only {full} bytes of {size} are free");
        std::fs::remove_file(&filler).unwrap();
    };
    assert!(full <= size);
    let file = std::fs::OpenOptions::new().write(true).open(&filler).unwrap();
    file.set_len(full - free).unwrap();
    let mut server = Command::new(env!("CARGO_BIN_EXE_stayd"))
        .args(["serve", "--listen", "127.0.0.1:0", "--state-dir"])
        .arg(state)
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    let mut lines = BufReader::new(server.stderr.take().unwrap());
    let (mut said, mut listens) = (String::new(), false);
    while !listens && lines.read_line(&mut said).unwrap() > 0 {
        listens = said.contains("listening");
    }
    if listens {
        server.kill().unwrap();
        let _ = lines.read_to_string(&mut said);
    }
    let code = server.wait().unwrap().code();
    // A full disk has no room for the files with their pids.
    let state = state.to_str().unwrap();
    for process in std::fs::read_dir("/proc").unwrap().flatten() {
        let Ok(pid) = process.file_name().to_str().unwrap_or_default().parse() else { continue };
        let command = std::fs::read(process.path().join("cmdline")).unwrap_or_default();
        if String::from_utf8_lossy(&command).contains(state) {
            let pid = nix::unistd::Pid::from_raw(pid);
            let _ = nix::sys::signal::kill(pid, nix::sys::signal::Signal::SIGTERM);
        }
    }
    std::fs::remove_file(&filler).unwrap();
    (!listens).then_some((code, said))
}

#[test]
fn a_start_says_that_the_disk_is_full_wherever_it_finds_it() {
    let dir = tempfile::tempdir().unwrap();
    let disk = dir.path().join("disk");
    let Some(_disk) = Tmpfs::mount(&disk) else { return };
    let state = disk.join("state");
    let mut refused = 0;
    for pages in 0..64 {
        let Some((code, said)) = start_with_room(&state, pages * 4096) else {
            assert!(pages > 20, "{pages} pages are not enough for a server");
            break;
        };
        refused += 1;
        assert_eq!(code, Some(1), "{pages} pages: {said}");
        assert!(said.contains("no room is left on the file system of "), "{pages} pages: {said}");
        assert!(said.contains("start again"), "{said}");
        assert!(!said.contains("panicked"), "{pages} pages: {said}");
    }
    assert!(refused > 20, "{refused}");
}

#[actix_web::test]
async fn a_login_that_waits_for_the_disk_is_in_nobodys_way() {
    let dir = Server::dir();
    let hang = dir.path().join("hang");
    let server = Server::start_in(dir, shim::hang_while(&hang)).await;
    let owner = server.token();
    let mut wire = Wire::open(&server);
    let cookie = wire.log_in(&owner);
    // More logins than there are workers.
    std::fs::write(&hang, "").unwrap();
    let login = format!(r#"{{"token":"{owner}"}}"#);
    let mut waiting: Vec<Wire> = (0..32).map(|_| Wire::open(&server)).collect();
    for wire in &mut waiting {
        wire.send("POST", "/api/v1/login", &[], &login);
    }
    // They are answered while the disk hangs, and so is everybody else meanwhile.
    for _ in 0..20 {
        let start = Instant::now();
        assert_eq!(Wire::open(&server).status_of(&cookie), 200);
        assert!(start.elapsed() < DEADLINE / 4, "{:?}", start.elapsed());
    }
    for wire in &mut waiting {
        assert_eq!(wire.answer().status, 204);
    }
    // An end holds at once, before it is written.
    let (cookie_line, origin) =
        (format!("Cookie: {cookie}"), format!("Origin: http://{}", server.address()));
    let mut leaving = Wire::open(&server);
    leaving.send("POST", "/api/v1/logout", &[&cookie_line, &origin], "");
    soon("the login's end", async {
        while Wire::open(&server).status_of(&cookie) != 401 {
            actix_web::rt::task::yield_now().await;
        }
    })
    .await;
    std::fs::remove_file(&hang).unwrap();
    let answer = leaving.answer();
    assert!([204, 503].contains(&answer.status), "{} {}", answer.status, answer.body);
    assert_eq!(wire.status_of(&cookie), 401);
    assert!(answer.header("set-cookie").is_some_and(|cookie| cookie.contains("Max-Age=0")));
    server.wait_for_sql("SELECT count(*) FROM logins", "32").await;
}
