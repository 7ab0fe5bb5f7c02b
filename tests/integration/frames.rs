//! WebSocket frames, from clients that send too much, or to a program that reads nothing.

use crate::support::{Api, Event, Server, Socket, Terminal, dial, soon};
use awc::ws::{CloseReason, Frame, Message};
use futures_util::{SinkExt, StreamExt};
use serde_json::json;
use std::io::{ErrorKind, Read, Write};
use std::net::{Shutdown, TcpStream};
use std::time::Duration;

/// Bytes that a client tries to send; `STAYD_FLOOD_MIB` says how many for a measurement.
fn flood() -> usize {
    let mib = std::env::var("STAYD_FLOOD_MIB").ok().and_then(|mib| mib.parse().ok());
    mib.unwrap_or(64) << 20
}

/// More memory than this no client may cost, in KiB: its buffers, a ring that was touched, and
/// what the allocator keeps.
const MEMORY_MAX: u64 = 16 << 10;

/// A client's frame, masked with zeros.
fn frame(first: u8, length: u64, payload: &[u8]) -> Vec<u8> {
    let mut frame = vec![first, 0x80 | 127];
    frame.extend(length.to_be_bytes());
    frame.extend([0; 4]);
    frame.extend(payload);
    frame
}

/// Codes of the close frames among the server's frames, whose payloads are short or skipped.
fn close_code(mut bytes: &[u8]) -> Option<u16> {
    while let [first, length, rest @ ..] = bytes {
        let (length, rest) = match length {
            126 => (usize::from(u16::from_be_bytes(*rest.first_chunk()?)), &rest[2..]),
            127 => (u64::from_be_bytes(*rest.first_chunk()?) as usize, &rest[8..]),
            short => (usize::from(*short), rest),
        };
        if *first == 0x88 {
            return rest.first_chunk().map(|code| u16::from_be_bytes(*code));
        }
        bytes = rest.get(length..)?;
    }
    None
}

/// How a flood went.
struct Flood {
    close: Option<u16>,
    /// Most memory of the server above what it had before, in KiB.
    memory: u64,
    sent: usize,
}

/// Sends `head`, then `more` over and over, without waiting for anything, until the server
/// hangs up, reads nothing for two seconds or has been sent enough.
fn send(server: &Server, path: &str, protocol: &str, head: &[u8], more: &[u8]) -> Flood {
    let api = server.api();
    let request = format!(
        "GET {path} HTTP/1.1\r\nHost: {}\r\nAuthorization: Bearer {}\r\nConnection: Upgrade\r\n\
         Upgrade: websocket\r\nSec-WebSocket-Version: 13\r\n\
         Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Protocol: {protocol}\r\n\r\n",
        server.address(),
        api.token(),
    );
    let before = server.rss_kib();
    let mut socket = TcpStream::connect(server.address()).expect("connected");
    socket.set_write_timeout(Some(Duration::from_secs(2))).expect("a timeout");
    socket.set_read_timeout(Some(Duration::from_secs(10))).expect("a timeout");
    let mut reader = socket.try_clone().expect("a socket");
    let (mut sent, mut memory) = (0, 0);
    let told = std::thread::scope(|scope| {
        let told = scope.spawn(move || {
            let mut told = Vec::new();
            let mut piece = [0; 64 << 10];
            while let Ok(length @ 1..) = reader.read(&mut piece) {
                told.extend_from_slice(&piece[..length]);
                if told.len() > 8 << 20 {
                    break;
                }
            }
            told
        });
        let mut write = |bytes: &[u8]| match socket.write_all(bytes) {
            Ok(()) => true,
            Err(error) => {
                let stalled = matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::TimedOut);
                if stalled {
                    let _ = socket.shutdown(Shutdown::Both);
                }
                false
            }
        };
        if write(&[request.as_bytes(), head].concat()) {
            while sent < flood() && write(more) {
                sent += more.len();
                if sent.is_multiple_of(1 << 20) {
                    memory = memory.max(server.rss_kib().saturating_sub(before));
                }
            }
        }
        let _ = socket.shutdown(Shutdown::Write);
        told.join().expect("what the server said")
    });
    memory = memory.max(server.rss_kib().saturating_sub(before));
    let head = told.windows(4).position(|end| end == b"\r\n\r\n").map_or(told.len(), |at| at + 4);
    Flood { close: close_code(&told[head..]), memory, sent }
}

/// Every dialect and state of a connection, and what it is sent. 64 KiB a piece.
#[actix_web::test]
async fn whatever_is_sent_memory_is_bounded_and_the_reason_is_told() {
    const PIECE: usize = 64 << 10;
    let server = Server::start().await;
    let id = server.api().run("stty raw -echo; echo ready; sleep 1000").await;
    Terminal::attach(&server, &id, "").await.0.wait_for("ready").await;
    let zeros = vec![b'x'; PIECE];
    let whole = |opcode: u8| frame(0x80 | opcode, PIECE as u64 - 14, &zeros[14..]);
    let piece = |opcode: u8| frame(opcode, PIECE as u64 - 14, &zeros[14..]);
    let (binary, text) = (whole(2), whole(1));
    let (declared, endless) = (frame(0x82, 1 << 31, &[]), frame(0x82, u64::MAX >> 1, &[]));
    let too_long_a_ping = frame(0x89, 1 << 31, &[]);
    let pings = [0x89, 0xfd, 0, 0, 0, 0].iter().chain(&[b'p'; 125]).copied().collect::<Vec<u8>>();
    let pings = pings.repeat(512);
    let input = format!(r#"{{"type":"input","data":"{}"}}"#, "x".repeat(PIECE - 43));
    let input = frame(0x81, input.len() as u64, input.as_bytes());
    let live = format!("/api/v1/sessions/{id}/attach");
    let (ro, skip) = (format!("{live}?mode=ro"), format!("{live}?lag=skip"));
    let bad = format!("{live}?mode=wrong");
    let refused = "/api/v1/sessions/nobody/attach";
    let mut wrong = Vec::new();
    for protocol in ["stayd.v1", "raw.v1", "json.v1"] {
        let data = if protocol == "json.v1" { &input } else { &binary };
        for (what, path, head, more, codes) in [
            ("declared", &*live, &*declared, &*zeros, &[1009][..]),
            ("endless", &*live, &*endless, &*zeros, &[1009]),
            ("a long ping", &*live, &*too_long_a_ping, &*zeros, &[1009]),
            ("declared, to look", &*ro, &*declared, &*zeros, &[1009]),
            ("declared, to skip", &*skip, &*declared, &*zeros, &[1009]),
            ("declared, unknown", refused, &*declared, &*zeros, &[4404]),
            ("declared, wrong query", &*bad, &*declared, &*zeros, &[1008]),
            ("whole, unknown", refused, data, data, &[4404]),
            ("fragments, unknown", refused, &*piece(1), &*piece(0), &[4404]),
            ("text in fragments", &*live, &*piece(1), &*piece(0), &[1009, 1001, 0]),
            ("bytes in fragments", &*live, &*piece(2), &*piece(0), &[1009, 1001, 0]),
            ("input", &*live, data, data, &[1009, 1001, 0]),
            ("input, to look", &*ro, data, data, &[1009, 1001, 0]),
            ("no message", &*live, &text, &text, &[1009, 1001, 0]),
            ("pings", &*live, &*pings, &*pings, &[1009, 1001, 0]),
        ] {
            let flood = send(&server, path, protocol, head, more);
            let (close, mib) = (flood.close.unwrap_or(0), flood.sent >> 20);
            eprintln!("{protocol}, {what}: {mib} MiB sent, {} KiB, {close}", flood.memory);
            if !codes.contains(&close) || flood.memory >= MEMORY_MAX {
                wrong.push(format!("{protocol}, {what}: {close}, {} KiB", flood.memory));
            }
        }
    }
    assert!(wrong.is_empty(), "{wrong:#?}");
    // Others are served as before.
    let (mut terminal, _) = Terminal::attach(&server, &id, "").await;
    terminal.say(json!({ "type": "resize", "cols": 90, "rows": 20 })).await;
    terminal.resized_to(90, 20).await;
}

/// Reads nothing until it gets SIGUSR1, then as many bytes as it is told, and says which.
const LATE: &str = r#"
$| = 1; my $woken = 0; $SIG{USR1} = sub { $woken = 1 }; print "ready\r\n";
select(undef, undef, undef, 0.02) until $woken;
my ($all, $want) = ("", $ARGV[0]);
while (length $all < $want) { sysread(STDIN, $all, 65536, length $all) or last; }
print "GOT ", length $all, " ", unpack("%32C*", $all), " END\r\n"; sleep 1000;
"#;

async fn late(server: &Server, want: usize) -> String {
    let start = ["sh", "-c", "stty raw -echo && exec perl -e \"$1\" \"$2\"", "sh", LATE];
    let want = want.to_string();
    let command: Vec<&str> = start.into_iter().chain([&*want]).collect();
    let session = server.api().create(json!({ "command": command })).await;
    let id = session["id"].as_str().unwrap().to_owned();
    let (mut terminal, _) = Terminal::attach(server, &id, "mode=ro").await;
    terminal.wait_for("ready").await;
    terminal.leave().await;
    id
}

async fn wake(api: &Api, id: &str) {
    let signal = r#"{"signal":"USR1"}"#;
    api.post(&format!("/api/v1/sessions/{id}/signal"), signal).await.ok(200);
}

/// What the program says that it got of these bytes.
async fn got(server: &Server, id: &str, bytes: &[u8]) {
    let (mut terminal, _) = Terminal::attach(server, id, "mode=ro").await;
    let sum = bytes.iter().map(|&byte| u64::from(byte)).sum::<u64>();
    terminal.wait_for(&format!("GOT {} {sum} END", bytes.len())).await;
}

fn paste(length: usize) -> Vec<u8> {
    (0..length).map(|n| b'a' + (n / 7 % 26) as u8).collect()
}

/// Sends input in messages of the dialect.
async fn type_in(socket: &mut Socket, protocol: &str, bytes: &[u8]) {
    for piece in bytes.chunks(32 << 10) {
        let text = String::from_utf8_lossy(piece);
        let message = match protocol {
            "json.v1" => {
                let input = json!({ "type": "input", "data": text });
                Message::Text(input.to_string().into())
            }
            _ => Message::Binary(piece.to_vec().into()),
        };
        soon("sent", socket.send(message)).await.expect("sent");
    }
}

async fn until(socket: &mut Socket, what: &str, fits: impl Fn(&Frame) -> bool) -> Frame {
    let found = soon(what, async {
        while let Some(frame) = socket.next().await {
            let frame = frame.expect("a frame");
            if fits(&frame) {
                return Some(frame);
            }
        }
        None
    });
    found.await.unwrap_or_else(|| panic!("the connection ended before: {what}"))
}

#[actix_web::test]
async fn a_ping_behind_a_paste_is_answered_while_the_program_reads_nothing() {
    let server = Server::start().await;
    let api = server.api();
    for protocol in ["raw.v1", "json.v1"] {
        let bytes = paste(900 << 10);
        let id = late(&server, bytes.len()).await;
        let path = format!("/api/v1/sessions/{id}/attach");
        let mut socket = dial(&api, &path, Some(protocol)).await.expect("attached");
        type_in(&mut socket, protocol, &bytes).await;
        soon("sent", socket.send(Message::Ping("there?".into()))).await.expect("sent");
        let pong = Frame::Pong("there?".into());
        until(&mut socket, "a pong", |frame| *frame == pong).await;
        wake(&api, &id).await;
        got(&server, &id, &bytes).await;
    }
}

/// A client keeps its input back while the server does, and then all of it arrives.
#[actix_web::test]
async fn more_than_is_kept_waits_at_the_client_and_arrives() {
    let server = Server::start().await;
    let api = server.api();
    for protocol in ["raw.v1", "json.v1"] {
        // More than the server and the sockets' buffers take together.
        let bytes = paste(24 << 20);
        let id = late(&server, bytes.len()).await;
        let path = format!("/api/v1/sessions/{id}/attach");
        let mut socket = dial(&api, &path, Some(protocol)).await.expect("attached");
        let first = type_in(&mut socket, protocol, &bytes[..2 << 20]);
        first.await;
        if protocol == "json.v1" {
            let told = until(
                &mut socket,
                "an error",
                |frame| matches!(frame, Frame::Text(text) if text.starts_with(b"{\"type\":\"error\"")),
            );
            let Frame::Text(error) = told.await else { unreachable!() };
            let error = String::from_utf8_lossy(&error).into_owned();
            assert!(error.contains("does not read its input"), "{error}");
        }
        wake(&api, &id).await;
        type_in(&mut socket, protocol, &bytes[2 << 20..]).await;
        got(&server, &id, &bytes).await;
    }
}

#[actix_web::test]
async fn who_leaves_behind_a_paste_is_told_whether_it_arrived() {
    let server = Server::start().await;
    let api = server.api();
    for protocol in ["raw.v1", "json.v1"] {
        for read in [true, false] {
            let bytes = paste(300 << 10);
            let id = late(&server, bytes.len()).await;
            let path = format!("/api/v1/sessions/{id}/attach");
            let mut socket = dial(&api, &path, Some(protocol)).await.expect("attached");
            type_in(&mut socket, protocol, &bytes).await;
            let bye = CloseReason::from(awc::ws::CloseCode::Normal);
            soon("sent", socket.send(Message::Close(Some(bye)))).await.expect("sent");
            if read {
                wake(&api, &id).await;
            }
            let end = until(&mut socket, "a close", |frame| matches!(frame, Frame::Close(_)));
            let Frame::Close(Some(reason)) = end.await else { panic!("no reason") };
            let (code, text) = (u16::from(reason.code), reason.description.unwrap_or_default());
            if read {
                assert_eq!(code, 1000, "{text}");
                got(&server, &id, &bytes).await;
            } else {
                assert_eq!(code, 1009, "{text}");
                assert!(text.contains("bytes of your input"), "{text}");
            }
        }
    }
}

/// Longer than any client may be silent: run with `STAYD_SLOW=1`, it takes a minute and a half.
#[actix_web::test]
async fn a_client_whose_reading_is_held_back_is_not_dead() {
    if std::env::var_os("STAYD_SLOW").is_none() {
        return;
    }
    let server = Server::start().await;
    let api = server.api();
    let bytes = paste(8 << 20);
    let id = late(&server, bytes.len()).await;
    let path = format!("/api/v1/sessions/{id}/attach");
    let socket = dial(&api, &path, Some("raw.v1")).await.expect("attached");
    let (mut sink, mut stream) = socket.split();
    let pieces: Vec<Vec<u8>> = bytes.chunks(32 << 10).map(<[u8]>::to_vec).collect();
    let sending = actix_web::rt::spawn(async move {
        for piece in pieces {
            sink.send(Message::Binary(piece.into())).await.expect("sent");
        }
        sink
    });
    // The server's own pings are what time is counted by: one every 15 s.
    for _ in 0..6 {
        loop {
            let next = actix_web::rt::time::timeout(Duration::from_secs(30), stream.next());
            if let Frame::Ping(_) = next.await.expect("a ping").expect("there").expect("a frame") {
                break;
            }
        }
    }
    wake(&api, &id).await;
    let _sink = soon("all sent", sending).await.expect("sent");
    got(&server, &id, &bytes).await;
}

#[actix_web::test]
async fn a_viewer_holds_no_program_back_whatever_it_acknowledges() {
    let server = Server::start().await;
    let api = server.api();
    let id = api.run("stty -echo; read -r line; head -c 8000000 /dev/zero; sleep 1000").await;
    for query in ["mode=ro", "mode=ro&lag=follow"] {
        let (viewer, _) = Terminal::attach(&server, &id, query).await;
        let mut viewer = viewer.without_acks();
        viewer.say(json!({ "type": "ack", "offset": 0 })).await;
        std::mem::forget(viewer);
    }
    let (viewer, _) = Terminal::attach(&server, &id, "mode=ro&client=slow").await;
    let mut viewer = viewer.without_acks();
    // It is known to acknowledge before there is anything to acknowledge.
    viewer.say(json!({ "type": "ack", "offset": 0 })).await;
    viewer.say(json!({ "type": "resize", "cols": 10, "rows": 10 })).await;
    assert_eq!(viewer.control("error").await["code"], "read_only");
    api.post(&format!("/api/v1/sessions/{id}/input"), "\n").await.ok(200);
    let mut acknowledged = 0;
    soon("all of the output", async {
        while api.session(&id).await["offset"].as_u64().unwrap() < 8_000_000 {
            // Progress, as slow as it can be.
            acknowledged += 1;
            viewer.say(json!({ "type": "ack", "offset": acknowledged })).await;
            actix_web::rt::time::sleep(Duration::from_millis(500)).await;
        }
    })
    .await;
    // It goes on from a snapshot.
    viewer.say(json!({ "type": "ack", "offset": 1_000_000 })).await;
    viewer.control("snapshot").await;
    assert!(matches!(viewer.next().await, Event::Bytes(_)));
}
