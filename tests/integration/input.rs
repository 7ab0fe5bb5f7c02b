//! Keystrokes: none lost, none twice.

use crate::support::{Api, Server, Terminal, soon};
use serde_json::json;
use std::io::Write;
use std::path::Path;

#[actix_web::test]
async fn input_is_counted_and_resent_input_is_typed_once() {
    let server = Server::start().await;
    let api = server.api();
    let id = api.run("stty raw -echo; echo ready; exec cat").await;
    let (mut terminal, attached) = Terminal::attach(&server, &id, "client=typist").await;
    assert_eq!(attached["input"], 0);
    terminal.wait_for("ready").await;
    terminal.type_in("abcdef").await;
    while terminal.control("input").await["received"] != 6 {}
    terminal.wait_for("abcdef").await;
    drop(terminal);
    let (mut terminal, attached) = Terminal::attach(&server, &id, "client=typist").await;
    assert_eq!(attached["input"], 6);
    terminal.wait_for("abcdef").await;
    terminal.type_in("ghi").await;
    terminal.wait_for("ghi").await;
    // Another client has a count of its own.
    let (_other, attached) = Terminal::attach(&server, &id, "client=other").await;
    assert_eq!(attached["input"], 0);
}

#[actix_web::test]
async fn input_over_http_is_exactly_once_with_an_offset() {
    let server = Server::start().await;
    let api = server.api();
    let id = api.run("stty raw -echo; printf 'ready '; exec cat").await;
    let (mut terminal, _) = Terminal::attach(&server, &id, "").await;
    terminal.wait_for("ready ").await;
    terminal.screen.clear();
    let path = format!("/api/v1/sessions/{id}/input");
    let typed = |offset: u64| format!("{path}?client=script&offset={offset}");
    assert_eq!(api.post(&typed(0), "hello ").await.ok(200)["received"], 6);
    assert_eq!(api.post(&typed(0), "hello ").await.ok(200)["received"], 6, "again: nothing new");
    assert_eq!(api.post(&typed(3), "lo world").await.ok(200)["received"], 11);
    let gap = api.post(&typed(20), "x").await.problem(409, "input_gap");
    assert_eq!(gap["received"], 11);
    assert_eq!(api.post(&path, "!").await.ok(200)["received"], 1);
    terminal.wait_for("hello world!").await;
    assert_eq!(terminal.text(), "hello world!");
    api.post(&format!("{path}?offset=3"), "x").await.problem(400, "invalid_request");
}

#[actix_web::test]
async fn a_large_paste_arrives_whole_and_in_order() {
    let server = Server::start().await;
    let api = server.api();
    let count = 400_000;
    let id = api
        .run(&format!("stty raw -echo; echo ready; head -c {count} | sha256sum; sleep 1000"))
        .await;
    let path = "client=paste";
    let (mut terminal, _) = Terminal::attach(&server, &id, path).await;
    terminal.wait_for("ready").await;
    let paste: Vec<u8> = (0..count).map(|n: usize| b'a' + (n * 7 % 23) as u8).collect();
    let (mut sent, mut received) = (0, 0);
    while received < count {
        while sent < count && sent < received + 65536 {
            let end = count.min(received + 65536).min(sent + 20000);
            terminal.type_in(&paste[sent..end]).await;
            sent = end;
        }
        received = terminal.control("input").await["received"].as_u64().unwrap() as usize;
    }
    let sum = std::process::Command::new("sha256sum")
        .stdin(std::process::Stdio::piped())
        .stdout(std::process::Stdio::piped())
        .spawn()
        .and_then(|mut child| {
            std::io::Write::write_all(&mut child.stdin.take().unwrap(), &paste)?;
            child.wait_with_output()
        })
        .unwrap();
    let sum = String::from_utf8(sum.stdout).unwrap();
    terminal.wait_for(&sum[..64]).await;
}

#[actix_web::test]
async fn more_than_the_window_is_too_much() {
    let server = Server::start().await;
    let id = server.api().run("stty raw -echo; echo ready; exec sleep 1000").await;
    let (mut terminal, _) = Terminal::attach(&server, &id, "client=greedy").await;
    terminal.wait_for("ready").await;
    // The program reads nothing: the kernel's buffer and the holder's queue fill up.
    loop {
        terminal.type_in(vec![b'x'; 60_000]).await;
        let (code, reason) = match terminal.next().await {
            crate::support::Event::Closed(code, reason) => (code, reason),
            _ => continue,
        };
        assert_eq!(code, 1009, "{reason}");
        break;
    }
}

#[actix_web::test]
async fn a_raw_client_is_paused_while_the_program_does_not_read() {
    let server = Server::start().await;
    let api = server.api();
    let script =
        "stty raw -echo; echo ready; read -rn1 < <(sleep 2; echo x); exec head -c 600000 | wc -c";
    let id = api.run(script).await;
    let mut terminal = Terminal::open(&api, &format!("/api/v1/sessions/{id}/attach"), None).await;
    terminal.wait_for("ready").await;
    for _ in 0..30 {
        terminal.type_in(vec![b'x'; 20_000]).await;
    }
    terminal.wait_for("600000").await;
}

#[actix_web::test]
async fn input_that_a_program_does_not_read_is_reported_over_http() {
    let server = Server::start().await;
    let api = server.api();
    let id = api.run("stty raw -echo; echo ready; exec sleep 1000").await;
    let (mut terminal, _) = Terminal::attach(&server, &id, "").await;
    terminal.wait_for("ready").await;
    let path = format!("/api/v1/sessions/{id}/input?client=script&offset=0");
    let full = api.post(&path, vec![b'x'; 300_000]).await.problem(503, "input_full");
    let received = full["received"].as_u64().unwrap();
    assert!((65_536..300_000).contains(&received), "{received}");
    let (_, attached) = Terminal::attach(&server, &id, "client=script").await;
    assert_eq!(attached["input"], json!(received));
}

/// A session whose program keeps what it is typed in a file, once the file `go` is there.
async fn screens(api: &Api, dir: &Path) -> String {
    let script =
        "stty raw -echo; echo ready; until [ -e go ]; do sleep 0.02; done; exec cat >typed";
    let body = json!({ "command": ["bash", "-c", script], "cwd": dir });
    let id = api.create(body).await["id"].as_str().unwrap().to_owned();
    let shown = api.get(&format!("/api/v1/sessions/{id}/screen?wait=text:ready")).await;
    assert_eq!(shown.status, 200);
    id
}

fn go(dir: &Path) {
    std::fs::write(dir.join("go"), "").unwrap();
}

/// What was typed, once it is so many bytes, as letters and how often each stands in a row.
async fn runs(dir: &Path, length: usize) -> Vec<(char, usize)> {
    let path = dir.join("typed");
    let read = || std::fs::read(&path).unwrap_or_default();
    let kept = soon("all that was typed", async {
        while read().len() < length {
            actix_web::rt::time::sleep(std::time::Duration::from_millis(5)).await;
        }
        read()
    });
    let kept = kept.await;
    let runs = kept.chunk_by(|a, b| a == b);
    runs.map(|run| (char::from(run[0]), run.len())).collect()
}

/// Each was typed whole.
fn assert_whole(runs: &[(char, usize)], lengths: &[(char, usize)]) {
    let (mut runs, mut lengths) = (runs.to_vec(), lengths.to_vec());
    runs.sort_unstable();
    lengths.sort_unstable();
    assert_eq!(runs, lengths);
}

#[actix_web::test]
async fn requests_at_once_are_typed_whole_whoever_they_are_from() {
    let (server, dir) = (Server::start().await, tempfile::tempdir().unwrap());
    let api = server.api();
    go(dir.path());
    let id = screens(&api, dir.path()).await;
    let path = format!("/api/v1/sessions/{id}/input");
    // Some go into one message to the holder, others do not fit its queue.
    let lengths: Vec<(char, usize)> =
        ('a'..='z').zip([250, 70_000, 1, 17_000, 250, 250].into_iter().cycle()).collect();
    let mut total = 0;
    for who in ["?client=x", ""] {
        let posts = lengths.iter().map(|(letter, length)| {
            let (api, path) = (api.clone(), format!("{path}{who}"));
            async move { api.post(&path, letter.to_string().repeat(*length)).await.ok(200) }
        });
        futures_util::future::join_all(posts).await;
        total += lengths.iter().map(|(_, length)| length).sum::<usize>();
        let all = runs(dir.path(), total).await;
        assert_whole(&all[all.len() - lengths.len()..], &lengths);
    }
    let received = api.post(&format!("{path}?client=x"), "").await.ok(200)["received"].clone();
    assert_eq!(received, total / 2, "each byte of this client was counted once");
}

#[actix_web::test]
async fn a_request_whose_client_is_gone_takes_nothing_from_the_next() {
    let (server, dir) = (Server::start().await, tempfile::tempdir().unwrap());
    let api = server.api();
    let id = screens(&api, dir.path()).await;
    let path = format!("/api/v1/sessions/{id}/input?client=x");
    let head = format!(
        "POST {path} HTTP/1.1\r\nHost: {}\r\nAuthorization: Bearer {}\r\nContent-Length: 200000\r\n\r\n",
        server.address(),
        server.token()
    );
    let mut gone = std::net::TcpStream::connect(server.address()).unwrap();
    gone.write_all(&[head.as_bytes(), &[b'a'; 200_000]].concat()).unwrap();
    soon("some of it is typed", async {
        let typed = |metrics: &[u8]| {
            let text = String::from_utf8_lossy(metrics).into_owned();
            let bytes = text.lines().find_map(|line| line.strip_prefix("stayd_input_bytes_total "));
            bytes.is_some_and(|bytes| bytes != "0")
        };
        while !typed(&api.get("/metrics").await.bytes) {}
    })
    .await;
    drop(gone);
    let next = async { api.post(&path, "b".repeat(250)).await.ok(200) };
    let read = async { go(dir.path()) };
    let (next, ()) = futures_util::future::join(next, read).await;
    let total = next["received"].as_u64().unwrap() as usize;
    assert_eq!(runs(dir.path(), total).await, [('a', total - 250), ('b', 250)]);
}

#[actix_web::test]
async fn a_websocket_counts_its_clients_input_alone() {
    let (server, dir) = (Server::start().await, tempfile::tempdir().unwrap());
    let api = server.api();
    let id = screens(&api, dir.path()).await;
    let path = format!("/api/v1/sessions/{id}/input?client=x");
    // The program does not read yet: the request is still at it when the terminal comes.
    let posting = actix_web::rt::spawn({
        let (api, path) = (api.clone(), path.clone());
        async move { api.post(&path, vec![b'a'; 300_000]).await }
    });
    let full = soon("a full queue", async {
        loop {
            let (_watcher, _) = Terminal::attach(&server, &id, "client=x&mode=ro").await;
            if posting.is_finished() {
                return false;
            }
            let text = String::from_utf8(api.get("/metrics").await.bytes).unwrap();
            let line = text.lines().find(|line| line.starts_with("stayd_input_bytes_total "));
            let sent: u64 = line.unwrap().rsplit_once(' ').unwrap().1.parse().unwrap();
            if sent > 65_536 {
                return true;
            }
        }
    });
    assert!(full.await, "who may only look is in nobody's way");
    let (mut terminal, attached) = Terminal::attach(&server, &id, "client=x").await;
    let refused = posting.await.unwrap().problem(409, "client_attached");
    assert_eq!(refused["received"], attached["input"]);
    assert_eq!(refused["typed"], attached["input"]);
    let typed = attached["input"].as_u64().unwrap() as usize;
    assert!((1..300_000).contains(&typed), "{typed}");

    for offset in ["", "&offset=0"] {
        let refused = api.post(&format!("{path}{offset}"), "b").await;
        assert_eq!(refused.problem(409, "client_attached")["typed"], 0);
    }
    go(dir.path());
    let other = format!("/api/v1/sessions/{id}/input?client=other");
    api.post(&other, "o").await.ok(200);
    terminal.type_in("ccc").await;
    while terminal.control("input").await["received"] != typed + 3 {}
    assert_eq!(runs(dir.path(), typed + 4).await, [('a', typed), ('o', 1), ('c', 3)]);
    terminal.leave().await;
    soon("the client is free again", async { while api.post(&path, "d").await.status != 200 {} })
        .await;
    runs(dir.path(), typed + 5).await;
}

/// A client of `raw.v1` does not say where its bytes begin: what an older connection has sent
/// must have been counted, and the older one must send no more.
#[actix_web::test]
async fn a_raw_client_that_is_replaced_and_the_one_that_replaces_it_lose_nothing() {
    let (server, dir) = (Server::start().await, tempfile::tempdir().unwrap());
    let api = server.api();
    go(dir.path());
    let id = screens(&api, dir.path()).await;
    let path = format!("/api/v1/sessions/{id}/attach?client=x");
    let mut typed = 0;
    for letter in 'a'..='z' {
        let mut terminal = Terminal::open(&api, &path, Some("raw.v1")).await;
        for _ in 0..5 {
            terminal.type_in(letter.to_string().repeat(50)).await;
        }
        // It has looked at all of it, and answers before it goes.
        terminal.leave().await;
        typed += 250;
    }
    let letters: Vec<_> = ('a'..='z').map(|letter| (letter, 250)).collect();
    assert_eq!(runs(dir.path(), typed).await, letters);
}
