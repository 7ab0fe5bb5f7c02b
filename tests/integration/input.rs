//! Keystrokes: none lost, none twice.

use crate::support::{Server, Terminal};
use serde_json::json;

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
