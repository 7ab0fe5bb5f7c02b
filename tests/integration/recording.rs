//! Recordings: every byte once, whatever happens to the server; what is typed only where that
//! was asked for; limits, a full disk, and who may read them.

pub(crate) mod cast;
mod disk;
mod ends;
mod parser;

use crate::cli::{code_and_text, verb};
use crate::support::{Event, Server, Terminal, soon};
use cast::{Cast, recording};
use serde_json::{Value, json};
use stayd::screen::{Options, Screen};
use std::time::{Duration, SystemTime};

/// Lines with characters of every length, so that reads cut some of them.
const FLOOD: &str = r#"awk 'BEGIN { for (i = 0; i < COUNT; i++) printf "\033[3%dm%06d žluťoučký kůň €𝄞\033[m\n", i % 8, i }'"#;

fn flood(lines: u32) -> (String, String) {
    let script = FLOOD.replace("COUNT", &lines.to_string());
    let line = |i: u32| format!("\x1b[3{}m{i:06} žluťoučký kůň €𝄞\x1b[m\r\n", i % 8);
    (script, (0..lines).map(line).collect())
}

async fn recorded(server: &Server, what: &str, script: &str) -> String {
    let body = json!({ "command": ["bash", "-c", script], "recording": what });
    let session = server.api().create(body).await;
    assert_eq!(session["recording"], what);
    session["id"].as_str().expect("an id").to_owned()
}

#[actix_web::test]
async fn what_is_printed_is_recorded_from_the_first_byte_to_the_last() {
    let server = Server::start().await;
    let api = server.api();
    let body = json!({
        "command": ["bash", "-c", "printf 'prvn\\303\\255 \\377!\\n'; read; printf 'last\\342'"],
        "name": "smörgås/".trim_end_matches('/'), "recording": "output", "cols": 90, "rows": 20,
    });
    let session = api.create(body).await;
    let id = session["id"].as_str().unwrap();
    until_printed(&server, id, 11).await;
    let cast = recording(&server, id).await;
    assert_eq!((&cast.header["width"], &cast.header["height"]), (&json!(90), &json!(20)));
    assert_eq!(cast.header["title"], "smörgås");
    assert_eq!(cast.header["env"]["TERM"], "xterm-256color");
    assert_eq!(cast.header["stayd"]["session"], id);
    assert_eq!(cast.header["stayd"]["offset"], 0);
    // A reader of its own, and nobody's client.
    let before = api.session(id).await;
    assert_eq!((&before["status"], &before["active_connections"]), (&json!("RUNNING"), &json!(0)));

    let resize = json!({ "cols": 100, "rows": 30 }).to_string();
    api.post(&format!("/api/v1/sessions/{id}/resize"), resize).await.ok(200);
    api.post(&format!("/api/v1/sessions/{id}/input"), "\n").await.ok(200);
    assert_eq!(server.api().ended(id).await["status"], "TERMINATED");
    let reply = api.get(&format!("/api/v1/sessions/{id}/recording")).await;
    let header = |name: &str| reply.headers.get(name).unwrap().to_str().unwrap().to_owned();
    assert_eq!(header("content-type"), "application/x-asciicast");
    let disposition = header("content-disposition");
    assert!(disposition.starts_with("attachment; filename=\"sm_rg_s.cast\""), "{disposition}");
    assert!(disposition.contains("filename*=UTF-8''sm%C3%B6rg%C3%A5s.cast"), "{disposition}");
    let cast = Cast::parse(&reply.bytes);
    // What is no UTF-8, or never becomes it, is replaced as everywhere.
    assert_eq!(cast.text("o"), "první \u{fffd}!\r\n\r\nlast\u{fffd}");
    assert_eq!(cast.text("r"), "100x30");
    assert_eq!(cast.text("i"), "", "only with `all`");
    let single = api.get(&format!("/api/v1/sessions/{id}/recording?file=1")).await;
    assert_eq!(single.bytes, reply.bytes);
}

#[actix_web::test]
async fn where_there_is_no_recording_that_is_said() {
    let server = Server::start().await;
    let api = server.api();
    let id = api.run("sleep 60").await;
    let path = format!("/api/v1/sessions/{id}/recording");
    api.get(&path).await.problem(404, "no_recording");
    assert!(!server.state().join("recordings").exists());
    api.get("/api/v1/sessions/nobody/recording").await.problem(404, "not_found");
    api.post(&path, "").await.problem(405, "method_not_allowed");
    api.get(&format!("{path}?files=1")).await.problem(400, "invalid_request");
    let body = json!({ "recording": "everything" }).to_string();
    api.post("/api/v1/sessions", body).await.problem(400, "invalid_request");
    let id = recorded(&server, "output", "sleep 60").await;
    api.get(&format!("/api/v1/sessions/{id}/recording?file=2")).await.problem(404, "no_recording");
    api.get(&format!("/api/v1/sessions/{id}/recording?file=0")).await.problem(404, "no_recording");
}

#[actix_web::test]
async fn a_killed_server_loses_and_doubles_nothing_of_a_recording() {
    // Files turn beneath the kills as well.
    let flags = ["--ring-bytes=262144", "--recording-file-bytes=100000"];
    let mut server = Server::start_with(&flags).await;
    let (script, expected) = flood(20_000);
    let id = recorded(&server, "output", &format!("read; {script}; sleep 60")).await;
    let expected = format!("\r\n{expected}");
    let mut seen = Vec::new();
    for kill_at in [1, 200_000, 220_000, 500_000, 800_000] {
        let query = format!("client=one&session={id}&offset={}", seen.len());
        let (mut terminal, _) = Terminal::attach(&server, &id, &query).await;
        if seen.is_empty() {
            terminal.type_in("\n").await;
        }
        while terminal.offset < kill_at {
            assert_ne!(terminal.next().await, Event::Lost);
        }
        server.kill();
        while terminal.next().await != Event::Lost {}
        seen.extend_from_slice(&terminal.screen);
        assert_eq!(seen.len() as u64, terminal.offset, "no picture in it");
        server.restart().await;
    }
    let query = format!("client=one&session={id}&offset={}", seen.len());
    let (mut terminal, _) = Terminal::attach(&server, &id, &query).await;
    while terminal.offset < expected.len() as u64 {
        terminal.next().await;
    }
    seen.extend_from_slice(&terminal.screen);
    assert!(seen == expected.as_bytes(), "what the client saw");
    let cast = recording(&server, &id).await;
    assert!(cast.text("o") == expected, "{} and {}", cast.text("o").len(), expected.len());
    assert_eq!(cast.text("m"), "");
    // Nobody is attached: the recorder alone holds what it lacks.
    terminal.leave().await;
    let (script, more) = flood(20_000);
    let id = recorded(&server, "output", &format!("{script}; sleep 60")).await;
    for _ in 0..3 {
        server.kill_and_restart().await;
    }
    until_printed(&server, &id, more.len()).await;
    let cast = recording(&server, &id).await;
    assert!(cast.text("o") == more, "{} and {}", cast.text("o").len(), more.len());
}

#[actix_web::test]
async fn a_session_that_is_started_again_goes_on_in_its_recording() {
    let mut server = Server::start().await;
    let api = server.api();
    let id = recorded(&server, "output", "echo one life; read").await;
    until_printed(&server, &id, "one life\r\n".len()).await;
    for lives in 2..=4 {
        // Of one that runs, of one that has ended, and of one of an earlier server.
        if lives == 3 {
            api.post(&format!("/api/v1/sessions/{id}/input"), "\n").await.ok(200);
            server.api().ended(&id).await;
        }
        api.post(&format!("/api/v1/sessions/{id}/restart"), "").await.ok(200);
        soon("its next life", async {
            while recording(&server, &id).await.text("o").matches("one life").count() < lives {}
        })
        .await;
        server.kill_and_restart().await;
    }
    let cast = recording(&server, &id).await;
    let printed = api.session(&id).await["offset"].as_u64().unwrap();
    assert_eq!(cast.text("o").len() as u64, printed, "{:?}", cast.text("o"));
    assert_eq!((cast.text("m"), cast.header["stayd"]["file"].clone()), (String::new(), json!(1)));
}

async fn until_printed(server: &Server, id: &str, bytes: usize) {
    let api = server.api();
    soon("all of it", async {
        while api.session(id).await["offset"].as_u64() < Some(bytes as u64) {}
    })
    .await;
}

#[actix_web::test]
async fn what_is_typed_is_recorded_only_where_that_was_asked_for() {
    let server = Server::start().await;
    let api = server.api();
    for what in ["output", "all"] {
        let script = "stty raw -echo; echo ready; head -c 20 | od -An -c -w99; sleep 60";
        let id = recorded(&server, what, script).await;
        let (mut terminal, _) = Terminal::attach(&server, &id, "client=a").await;
        terminal.wait_for("ready").await;
        // A character in two messages of one client, with another's in between.
        terminal.type_in(b"pass-k\xc5").await;
        let input = format!("/api/v1/sessions/{id}/input?client=b");
        terminal.control("input").await;
        api.post(&format!("{input}&offset=0"), "<one").await.ok(200);
        // Sent again, because its answer was lost: not typed again.
        api.post(&format!("{input}&offset=0"), "<one two>").await.ok(200);
        terminal.type_in(b"\xafnow").await;
        terminal.wait_for("o   w").await;
        let cast = recording(&server, &id).await;
        assert!(cast.text("o").contains("ready"), "{}", cast.text("o"));
        let typed = if what == "all" { "pass-k<one two>ůnow" } else { "" };
        assert_eq!(cast.text("i"), typed);
    }
}

/// What a terminal of 80 columns and 24 rows shows after this.
fn shown(text: &str) -> Screen {
    let mut screen = Screen::new(80, 24, Options { scrollback: 0 });
    screen.feed(text.as_bytes(), &mut Vec::new());
    screen
}

#[actix_web::test]
async fn files_follow_one_another_and_each_plays_by_itself() {
    let flags = ["--recording-file-bytes=200000", "--ring-bytes=262144"];
    let server = Server::start_with(&flags).await;
    let (script, expected) = flood(30_000);
    let id = recorded(&server, "output", &script).await;
    server.api().ended(&id).await;
    let whole = recording(&server, &id).await;
    assert!(whole.text("o") == expected);
    let mut parts = Vec::new();
    for number in 1.. {
        let path = format!("/api/v1/sessions/{id}/recording?file={number}");
        let reply = server.api().get(&path).await;
        if reply.status != 200 {
            reply.problem(404, "no_recording");
            break;
        }
        parts.push(Cast::parse(&reply.bytes));
    }
    assert!(parts.len() > 2, "{} files", parts.len());
    for (number, part) in parts.iter().enumerate() {
        let origin = &part.header["stayd"];
        assert_eq!(origin["file"], number + 1);
        assert_eq!(origin["picture"], number > 0, "{origin}");
        let next = parts.get(number + 1).map(|next| &next.header["stayd"]["offset"]);
        let end = next.map_or(expected.len(), |next| next.as_u64().unwrap() as usize);
        let (alone, all) = (shown(&part.text("o")), shown(&expected[..end]));
        assert_eq!(alone.view(0), all.view(0), "file {}", number + 1);
        assert_eq!(alone.cursor(), all.cursor());
    }
}

#[actix_web::test]
async fn the_oldest_files_go_and_what_is_left_plays() {
    let limits = ["--recording-file-bytes=100000", "--recording-total-bytes=800000"];
    let server = Server::start_with(&[&limits[..], &["--ring-bytes=262144"]].concat()).await;
    let (script, expected) = flood(30_000);
    let id = recorded(&server, "output", &script).await;
    server.api().ended(&id).await;
    let dir = server.state().join("recordings").join(&id);
    let length =
        |entry: std::io::Result<std::fs::DirEntry>| entry.unwrap().metadata().unwrap().len();
    let kept: u64 = std::fs::read_dir(&dir).unwrap().map(length).sum();
    // The sidecar is 256 bytes long.
    assert!((100_000..=800_256).contains(&kept), "{kept} bytes");
    let cast = recording(&server, &id).await;
    let first = cast.header["stayd"]["offset"].as_u64().unwrap() as usize;
    assert!(first > 0 && cast.header["stayd"]["file"].as_u64() > Some(1), "{}", cast.header);
    let (_, _, picture) = &cast.events[0];
    assert_eq!(shown(picture).view(0), shown(&expected[..first]).view(0));
    assert!(cast.text("o")[picture.len()..] == expected[first..]);
}

#[actix_web::test]
async fn the_command_line_records_and_prints_recordings() {
    let server = Server::start().await;
    let run = verb(&server, &["run", "-d", "-n", "web", "--record", "--", "echo", "Hello"]);
    let id = String::from_utf8(run.stdout).unwrap().trim().to_owned();
    server.api().ended(&id).await;
    let printed = verb(&server, &["recording", &id]);
    assert_eq!(printed.status.code(), Some(0));
    assert_eq!(Cast::parse(&printed.stdout).text("o"), "Hello\r\n");

    let run = ["run", "-d", "-n", "shy", "--record=all", "--", "cat"];
    assert_eq!(verb(&server, &run).status.code(), Some(0));
    assert_eq!(verb(&server, &["send", "shy", "word"]).status.code(), Some(0));
    let file = server.state().join("shy.cast");
    let path = file.to_str().unwrap();
    soon("what was typed", async {
        loop {
            assert_eq!(verb(&server, &["recording", "shy", "-o", path]).status.code(), Some(0));
            let cast = Cast::parse(&std::fs::read(&file).unwrap());
            if cast.text("o").contains("word") {
                break assert!(cast.text("i").starts_with("word"), "{}", cast.text("i"));
            }
        }
    })
    .await;

    verb(&server, &["run", "-d", "-n", "off", "--", "cat"]);
    let (code, text) = code_and_text(&verb(&server, &["recording", "off", "-o", path]));
    assert_eq!(code, Some(1), "{text}");
    assert!(text.contains("not recorded"), "{text}");
    assert!(!std::fs::read(&file).unwrap().is_empty(), "the file is as it was");
    assert_eq!(verb(&server, &["recording", "nobody"]).status.code(), Some(3));
    assert_eq!(verb(&server, &["recording"]).status.code(), Some(2));
    let (code, text) = code_and_text(&verb(&server, &["run", "-d", "--record=some", "--", "cat"]));
    assert_eq!(code, Some(2), "{text}");
}

#[actix_web::test]
async fn recordings_go_with_their_sessions_and_nothing_else_does() {
    let mut server = Server::start_with(&["--retention-s=1000"]).await;
    let id = recorded(&server, "output", "echo gone").await;
    server.api().ended(&id).await;
    recording(&server, &id).await;
    let recordings = server.state().join("recordings");
    assert!(recordings.join(&id).exists());
    server.api().delete(&format!("/api/v1/sessions/{id}?purge=true")).await.ok(200);
    assert!(!recordings.join(&id).exists());

    // Three that no session has: an old one, a young one, and one with something of somebody's.
    let (old, young, theirs) =
        (orphan(&server).await, orphan(&server).await, orphan(&server).await);
    std::fs::write(recordings.join(&theirs).join("notes"), "mine").unwrap();
    let known = orphan(&server).await;
    for id in [&old, &theirs, &known] {
        make_old(&recordings.join(id));
    }
    let db = server.db();
    for id in [&old, &young, &theirs] {
        db.execute("DELETE FROM sessions WHERE id = ?1", [id]).unwrap();
    }
    drop(db);
    // What its holder holds would get a row again.
    server.kill();
    server.kill_holder();
    server.restart().await;
    let removed = |line: &Value| line["msg"] == "a recording of no session is removed";
    let line = server.wait_for_log("an orphan's end", removed).await;
    assert_eq!(line["session"], json!(old));
    soon("its end", async {
        while recordings.join(&old).exists() {
            actix_web::rt::task::yield_now().await;
        }
    })
    .await;
    for id in [&young, &theirs, &known] {
        assert!(recordings.join(id).join("0001.cast").exists(), "{id}");
    }
}

async fn orphan(server: &Server) -> String {
    let id = recorded(server, "output", "echo orphan").await;
    server.api().ended(&id).await;
    // All of it is written by then.
    recording(server, &id).await;
    id
}

fn make_old(dir: &std::path::Path) {
    let then = SystemTime::now() - Duration::from_secs(2000);
    for entry in std::fs::read_dir(dir).unwrap() {
        let file = std::fs::File::options().write(true).open(entry.unwrap().path()).unwrap();
        file.set_modified(then).unwrap();
    }
    std::fs::File::open(dir).unwrap().set_modified(then).unwrap();
}
