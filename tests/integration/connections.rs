//! Connections that want nothing but to be in the way: whoever has no token costs little, and
//! shuts nobody out.

use crate::support::{self, DEADLINE, Server, Terminal, soon};
use awc::http::Method;
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use serde_json::json;
use std::io::{ErrorKind, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::time::{Duration, Instant};

/// Sends what may be no whole request.
fn dial(server: &Server, text: &str) -> TcpStream {
    let mut stream = TcpStream::connect(server.address()).expect("a connection");
    stream.set_read_timeout(Some(DEADLINE)).expect("a timeout");
    // Whoever is not let in may find out already here.
    let _ = stream.write_all(text.as_bytes());
    stream
}

/// Everything that comes until the server hangs up.
async fn answer(stream: &TcpStream) -> String {
    let mut stream = stream.try_clone().expect("a descriptor");
    let read = actix_web::web::block(move || {
        let mut all = Vec::new();
        match stream.read_to_end(&mut all) {
            Err(error) if error.kind() == ErrorKind::WouldBlock => panic!("never hung up"),
            _ => String::from_utf8_lossy(&all).into_owned(),
        }
    });
    read.await.expect("a thread")
}

fn head(server: &Server, method: &str, path: &str, more: &str) -> String {
    format!("{method} {path} HTTP/1.1\r\nHost: {}\r\n{more}\r\n", server.address())
}

fn bearer(server: &Server) -> String {
    format!("Authorization: Bearer {}\r\n", server.token())
}

const SIZED: &str = "Content-Type: application/json\r\nContent-Length: 100\r\n";
const CHUNKED: &str = "Content-Type: application/json\r\nTransfer-Encoding: chunked\r\n";

/// The path of the page's script, which is large and needs no token.
async fn script(server: &Server) -> String {
    let page = String::from_utf8(server.api().get("/").await.bytes).expect("text");
    let script = page.split('"').find(|part| part.ends_with(".js")).expect("a script");
    format!("/{}", script.trim_start_matches("./").trim_start_matches('/'))
}

async fn metric(server: &Server, line: &str) -> u64 {
    let text = server.api().get("/metrics").await.bytes;
    let text = String::from_utf8(text).expect("text");
    let found = text.lines().find_map(|found| found.strip_prefix(line));
    found.map_or(0, |value| value.trim().parse().expect("a number"))
}

/// Whatever it asks for, who has no token is answered at once and then hung up on, and who
/// has one must send what was announced.
#[actix_web::test]
async fn a_body_that_never_comes_keeps_no_connection() {
    let server = Server::start_with(&["--body-timeout-s=1"]).await;
    let id = server.api().create(json!({ "command": ["cat"] })).await;
    let id = id["id"].as_str().expect("an id");
    let session = format!("/api/v1/sessions/{id}");
    for kind in [SIZED, CHUNKED] {
        for (method, path) in [
            ("POST", "/api/v1/sessions".to_owned()),
            ("GET", "/api/v1/sessions".to_owned()),
            ("POST", "/nowhere".to_owned()),
            ("DELETE", session.clone()),
            ("GET", format!("{session}/attach")),
        ] {
            let stream = dial(&server, &head(&server, method, &path, kind));
            let answered = answer(&stream).await;
            assert!(answered.starts_with("HTTP/1.1 401"), "{method} {path} {kind}: {answered}");
            assert!(answered.to_lowercase().contains("connection: close"), "{answered}");
        }
        let stream = dial(&server, &head(&server, "GET", "/", kind));
        assert!(answer(&stream).await.starts_with("HTTP/1.1 200"));
        let evil = format!("Origin: http://evil.example\r\n{kind}");
        let stream = dial(&server, &head(&server, "POST", "/api/v1/sessions", &evil));
        assert!(answer(&stream).await.starts_with("HTTP/1.1 403"));
        // The login reads its body, whoever it is; a part of it is no reason to wait longer.
        let stream = dial(&server, &(head(&server, "POST", "/api/v1/login", kind) + "4\r\n{"));
        let answered = answer(&stream).await;
        assert!(answered.starts_with("HTTP/1.1 408"), "{answered}");
        assert!(answered.contains("body_timeout"), "{answered}");
        let rights = bearer(&server) + kind;
        for (method, path, status) in [
            ("POST", "/api/v1/sessions".to_owned(), "408"),
            ("POST", format!("{session}/input"), "408"),
            ("POST", format!("{session}/resize"), "408"),
            ("PATCH", session.clone(), "408"),
            // These have no use for a body.
            ("POST", "/api/v1/reconcile".to_owned(), "200"),
            ("GET", session.clone(), "200"),
            ("GET", format!("{session}/output"), "200"),
            ("POST", "/nowhere".to_owned(), "404"),
        ] {
            let stream = dial(&server, &head(&server, method, &path, &rights));
            let answered = answer(&stream).await;
            let expected = format!("HTTP/1.1 {status}");
            assert!(answered.starts_with(&expected), "{method} {path} {kind}: {answered}");
        }
    }
    // A body that comes slowly, but in time, is taken.
    let body = r#"{"cols":90,"rows":20}"#;
    let size = format!(
        "{}Content-Type: application/json\r\nContent-Length: {}\r\nConnection: close\r\n",
        bearer(&server),
        body.len()
    );
    let mut slow = dial(&server, &head(&server, "POST", &format!("{session}/resize"), &size));
    for byte in body.bytes() {
        slow.write_all(&[byte]).expect("a byte");
    }
    assert!(answer(&slow).await.starts_with("HTTP/1.1 200"));
    soon("no connection is left", async {
        while server.established() > 1 {
            actix_web::rt::task::yield_now().await;
        }
    })
    .await;
}

#[actix_web::test]
async fn strangers_in_every_place_shut_nobody_out() {
    let server = Server::start_limited(200).await;
    let (mut before, _) = Terminal::attach(&server, "x", "create=bash").await;
    let mut stuck = Vec::new();
    for n in 0..220 {
        let text = match n % 4 {
            // A body, a head, or nothing at all that never comes; a login that begins.
            0 => head(&server, "POST", "/api/v1/sessions", SIZED),
            1 => head(&server, "POST", "/api/v1/login", SIZED),
            2 => "GET / HT".to_owned(),
            _ => String::new(),
        };
        stuck.push(dial(&server, &text));
    }
    let start = Instant::now();
    let api = server.api();
    api.create(json!({ "name": "y", "command": ["cat"] })).await;
    let (mut terminal, _) = Terminal::attach(&server, "y", "").await;
    terminal.type_in("in\n").await;
    terminal.wait_for("in").await;
    before.type_in("echo $((40+2))\n").await;
    before.wait_for("42").await;
    assert!(start.elapsed() < Duration::from_secs(10), "{:?}", start.elapsed());
    assert!(
        metric(&server, r#"stayd_http_connections_closed_total{reason="strangers"}"#).await >= 100
    );
    assert!(metric(&server, r#"stayd_http_connections{rights="none"}"#).await <= 50);
    assert!(metric(&server, r#"stayd_http_connections{rights="some"}"#).await >= 2);
    let fds = std::fs::read_dir(format!("/proc/{}/fd", server.pid())).expect("fd").count();
    eprintln!("{} descriptors of 200 with 220 strangers, {} KiB", fds, server.rss_kib());
    drop(stuck);
}

/// As many as the settings say, and no more: of connections with rights too.
#[actix_web::test]
async fn connections_with_rights_are_bounded_and_kept() {
    let flags = ["--max-connections=8", "--max-connections-per-principal=8"];
    let server = Server::start_with(&flags).await;
    let mut terminals = Vec::new();
    for _ in 0..7 {
        terminals.push(Terminal::attach(&server, "x", "create=bash").await.0);
    }
    // The last place is for newcomers: who asks over it and leaves is served each time.
    // Their connections end a moment after their answers.
    let (api, close) = (server.api(), [("Connection", "close")]);
    for _ in 0..3 {
        let path = "/api/v1/sessions";
        let asked = async || api.try_send_with(Method::GET, path, &close, "").await;
        soon("a place", async { while asked().await.is_err() {} }).await;
    }
    let path = "/api/v1/sessions/x/attach";
    let last = soon("a place", async {
        loop {
            if let Ok(socket) = support::dial(&api, path, None).await {
                return socket;
            }
        }
    });
    let last = last.await;
    let refused = answer(&dial(&server, "")).await;
    assert!(refused.starts_with("HTTP/1.1 503"), "{refused}");
    terminals[0].type_in("echo $((40+2))\n").await;
    for terminal in &mut terminals {
        terminal.wait_for("42").await;
    }
    drop(last);
}

/// A token takes its own places and nobody else's, by whatever it comes: itself or its logins.
#[actix_web::test]
async fn a_token_takes_no_more_than_its_places() {
    let server = Server::start_with(&["--max-connections-per-principal=3"]).await;
    let owner = server.api();
    let token = async |name: &str| {
        let made = owner.post("/api/v1/tokens", json!({ "name": name }).to_string()).await.ok(201);
        owner.with_token(made["token"].as_str().expect("a token"))
    };
    let (anna, ben) = (token("anna").await, token("ben").await);
    let id = owner.create(json!({ "command": ["cat"] })).await["id"].clone();
    let path = format!("/api/v1/sessions/{}/attach", id.as_str().expect("an id"));
    let mut annas = Vec::new();
    for _ in 0..3 {
        let dialled = soon("a place", async {
            loop {
                // Connections of the requests before end a moment after their answers.
                if let Ok(socket) = support::dial(&anna, &path, None).await {
                    return socket;
                }
            }
        });
        annas.push(dialled.await);
    }
    let ask = |shown: &str| {
        let shown = format!("{shown}\r\nOrigin: {}\r\n", owner.base());
        dial(&server, &head(&server, "GET", "/api/v1/sessions", &shown))
    };
    let bearer = |token: &str| format!("Authorization: Bearer {token}");
    let login = json!({ "token": anna.token() }).to_string();
    let login = ben.post("/api/v1/login", login).await;
    let cookie = login.headers.get("set-cookie").expect("a cookie").to_str().expect("text");
    let cookie = format!("Cookie: {}", cookie.split(';').next().expect("one"));
    for shown in [bearer(anna.token()), cookie] {
        // It is hung up on: whoever is refused keeps no place.
        let refused = answer(&ask(&shown)).await.to_lowercase();
        assert!(refused.starts_with("http/1.1 429"), "{refused}");
        assert!(refused.contains("connection: close"), "{refused}");
        assert!(refused.contains("too_many_connections"), "{refused}");
        assert!(refused.contains("max_connections_per_principal"), "{refused}");
    }
    let refused = support::dial(&anna, &path, None).await;
    assert!(format!("{:?}", refused.err()).contains("429"));
    // Others are as they were, and the owner on the unix socket has no limit.
    ben.get("/api/v1/sessions").await.ok(200);
    let local: Vec<_> = (0..5)
        .map(|_| {
            let socket = server.state().join("server.sock");
            let mut stream = std::os::unix::net::UnixStream::connect(socket).expect("connected");
            stream.set_read_timeout(Some(DEADLINE)).expect("a timeout");
            let request = b"GET /api/v1/events HTTP/1.1\r\nHost: x\r\n\r\n";
            stream.write_all(request).expect("sent");
            let mut status = [0; 12];
            stream.read_exact(&mut status).expect("an answer");
            assert_eq!(&status, b"HTTP/1.1 200");
            stream
        })
        .collect();
    let counted = r#"stayd_http_connections_closed_total{reason="principal"}"#;
    assert!(metric(&server, counted).await >= 3);
    // A client that leaves makes room.
    drop(annas.pop());
    let asked = async || anna.try_send(Method::GET, "/api/v1/sessions", "").await;
    soon("a place", async {
        while !asked().await.is_ok_and(|reply| reply.status.as_u16() == 200) {}
    })
    .await;
    drop(local);
}

/// Reads an answer of the API, and leaves the connection open.
fn read_answer(mut stream: &TcpStream) -> String {
    let mut answer = Vec::new();
    loop {
        let text = String::from_utf8_lossy(&answer).to_lowercase();
        let length = text.split_once("content-length: ").and_then(|(_, rest)| {
            rest.split_once("\r\n").map(|(length, _)| length.parse::<usize>().expect("a length"))
        });
        if let (Some(length), Some((_, body))) = (length, text.split_once("\r\n\r\n"))
            && body.len() >= length
        {
            return text;
        }
        let mut piece = [0; 4096];
        let count = stream.read(&mut piece).expect("more of an answer");
        assert!(count > 0, "hung up on after {text}");
        answer.extend(&piece[..count]);
    }
}

/// The connections of a token that is gone take no place of anybody who has rights.
#[actix_web::test]
async fn a_connection_whose_token_is_removed_is_a_strangers_and_counts_for_no_later_one() {
    let flags = ["--max-connections-per-principal=3", "--max-connections-without-token=2"];
    let server = Server::start_with(&flags).await;
    let owner = server.api();
    let made = json!({ "name": "anna" }).to_string();
    let token = async || {
        let made = owner.post("/api/v1/tokens", made.clone()).await.ok(201);
        format!("Authorization: Bearer {}\r\n", made["token"].as_str().expect("a token"))
    };
    let ask = |shown: &str| {
        let stream = dial(&server, &head(&server, "GET", "/api/v1/sessions", shown));
        let answer = read_answer(&stream);
        assert!(answer.starts_with("http/1.1 200"), "{answer}");
        stream
    };
    let annas = token().await;
    let kept: Vec<_> = (0..3).map(|_| ask(&annas)).collect();
    assert_eq!(owner.delete("/api/v1/tokens/anna").await.status.as_u16(), 204);
    let later = token().await;
    let hers = ask(&later);
    // One of the three is one stranger too many. The others are kept open for long.
    let counted = r#"stayd_http_connections_closed_total{reason="strangers"}"#;
    soon("strangers", async {
        while metric(&server, counted).await == 0 {
            for stream in &kept {
                let mut stream = stream.try_clone().expect("a descriptor");
                // One of them is closed.
                let _ = stream.write_all(head(&server, "GET", "/healthz", "").as_bytes());
            }
        }
    })
    .await;
    assert!(metric(&server, r#"stayd_http_connections{rights="none"}"#).await <= 2);
    drop((kept, hers));
}

/// A maker of links gets no more places by them, and those who have them do not shut the maker out.
#[actix_web::test]
async fn the_links_of_a_token_share_their_places() {
    let server = Server::start_with(&["--max-connections-per-principal=3"]).await;
    let owner = server.api();
    let made = owner.post("/api/v1/tokens", json!({ "name": "anna" }).to_string()).await.ok(201);
    let anna = owner.with_token(made["token"].as_str().expect("a token"));
    let id = owner.create(json!({ "command": ["cat"] })).await["id"].clone();
    let shares = format!("/api/v1/sessions/{}/shares", id.as_str().expect("an id"));
    let link = async |by: &support::Api| {
        let made = by.post(&shares, "{}").await.ok(201);
        format!("Authorization: Bearer {}\r\n", made["token"].as_str().expect("a secret"))
    };
    let ask = |shown: &str| {
        let stream = dial(&server, &head(&server, "GET", "/api/v1/sessions", shown));
        let answer = read_answer(&stream);
        (stream, answer)
    };
    let (one, two, owners) = (link(&anna).await, link(&anna).await, link(&owner).await);
    let kept: Vec<_> = [&one, &two, &two].map(|link| ask(link)).into();
    assert!(kept.iter().all(|(_, answer)| answer.starts_with("http/1.1 200")), "{kept:?}");
    for link in [&one, &two] {
        let (_, refused) = ask(link);
        assert!(refused.starts_with("http/1.1 429"), "{refused}");
    }
    anna.get("/api/v1/sessions").await.ok(200);
    assert!(ask(&owners).1.starts_with("http/1.1 200"));
}

/// Answers that nobody reads: a little of each lies in memory, and then the connection goes;
/// who reads slowly is served to the end, and who is sent nothing stays.
#[actix_web::test]
async fn unread_answers_are_bounded_and_end() {
    let flags = ["--unread-timeout-s=2", "--max-connections-without-token=300"];
    let server = Server::start_with(&flags).await;
    let api = server.api();
    let (mut idle, _) = Terminal::attach(&server, "x", "create=bash").await;
    let events = dial(&server, &head(&server, "GET", "/api/v1/events", &bearer(&server)));
    let script = script(&server).await;
    let length = api.get(&script).await.bytes.len();
    let before = server.rss_kib();
    let requests = head(&server, "GET", &script, "").repeat(16);
    let hogs: Vec<TcpStream> = (0..200).map(|_| dial(&server, &requests)).collect();
    // Takes a little now and then, for longer than a peer may take nothing.
    let mut slow = dial(&server, &head(&server, "GET", &script, "Connection: close\r\n"));
    let slow = std::thread::spawn(move || {
        let (mut piece, mut total) = (vec![0; length.div_ceil(100)], 0);
        loop {
            std::thread::sleep(Duration::from_millis(40));
            match slow.read(&mut piece).expect("more") {
                0 => return total,
                count => total += count,
            }
        }
    });
    // All have been served as far as they go once somebody later is.
    api.get("/api/v1/sessions").await.ok(200);
    let during = server.rss_kib();
    eprintln!("{before} KiB, {during} KiB with {} x 16 unread answers of {length}", hogs.len());
    assert!(during - before < 200 * 300, "{before} KiB, then {during} KiB");
    soon("all are given up", async {
        while metric(&server, r#"stayd_http_connections_closed_total{reason="unread"}"#).await < 200
        {
            actix_web::rt::time::sleep(Duration::from_millis(50)).await;
        }
    })
    .await;
    let read = actix_web::web::block(move || slow.join().expect("read to its end"));
    assert!(read.await.expect("a thread") > length);
    idle.type_in("echo $((40+2))\n").await;
    idle.wait_for("42").await;
    events.set_nonblocking(true).expect("nonblocking");
    let mut greeting = [0; 64];
    assert!((&events).read(&mut greeting).is_ok_and(|count| count > 0), "the events go on");
    drop(hogs);
}

/// What the kernel keeps for peers that read nothing is bounded for each connection, and what
/// it keeps for those that had to go is freed at once.
#[actix_web::test]
async fn little_that_is_unread_lies_in_the_kernel() {
    const STRANGERS: usize = 50;
    let server = Server::start_limited(4 * STRANGERS as u64).await;
    let requests = head(&server, "GET", &script(&server).await, "").repeat(16);
    let hogs: Vec<TcpStream> = (0..3 * STRANGERS).map(|_| dial(&server, &requests)).collect();
    soon("those that had to go are gone, and those that stay have been sent something", async {
        loop {
            let queues = server.send_queues();
            let sent = queues.iter().filter(|(state, bytes)| state == "01" && *bytes > 0).count();
            let closed = queues.iter().filter(|(state, _)| state != "01").count();
            if (STRANGERS / 2..=STRANGERS).contains(&sent) && closed == 0 {
                break;
            }
            actix_web::rt::time::sleep(Duration::from_millis(20)).await;
        }
    })
    .await;
    server.api().get("/api/v1/sessions").await.ok(200);
    let total: u64 = server.send_queues().iter().map(|(_, bytes)| bytes).sum();
    eprintln!("{} KiB lie in the kernel for {} connections", total >> 10, hogs.len());
    assert!(total < STRANGERS as u64 * (512 << 10), "{total} bytes");
}

/// The server does nothing during `meanwhile`, and then finds all of it at once.
pub(crate) fn stopped<T>(server: &Server, meanwhile: impl FnOnce() -> T) -> T {
    let signal = |signal| kill(Pid::from_raw(server.pid()), signal).expect("a signal");
    signal(Signal::SIGSTOP);
    let done = meanwhile();
    signal(Signal::SIGCONT);
    done
}

#[actix_web::test]
async fn a_burst_of_connections_waits_to_be_accepted() {
    const BURST: usize = 300;
    let most = std::fs::read_to_string("/proc/sys/net/core/somaxconn").expect("somaxconn");
    if most.trim().parse::<usize>().expect("a number") < BURST {
        eprintln!("skipped: the kernel lets only {} connections wait", most.trim());
        return;
    }
    let server = Server::start().await;
    let address: SocketAddr = server.address().parse().expect("an address");
    let burst: Vec<_> = stopped(&server, || {
        // The kernel drops what has no place; the peer tries again after a second.
        let connect = |_| TcpStream::connect_timeout(&address, Duration::from_millis(900)).ok();
        (0..BURST).map_while(connect).collect()
    });
    assert_eq!(burst.len(), BURST);
    server.api().get("/api/v1/sessions").await.ok(200);
}

/// Who sends a token with the first request is answered, however many come at the same time.
#[actix_web::test]
async fn a_burst_of_strangers_does_not_close_who_shows_a_token() {
    let server = Server::start_limited(200).await;
    let asks = bearer(&server) + "Connection: close\r\n";
    let asks = head(&server, "GET", "/api/v1/sessions", &asks);
    let stranger = head(&server, "GET", &script(&server).await, "").repeat(16);
    for round in 0..10 {
        let (mut owners, mut strangers) = (Vec::new(), Vec::new());
        stopped(&server, || {
            for n in 0..100 {
                if n % 25 == 0 {
                    owners.push(dial(&server, &asks));
                }
                strangers.push(dial(&server, &stranger));
            }
        });
        for owner in &owners {
            let answered = answer(owner).await;
            assert!(answered.starts_with("HTTP/1.1 200"), "round {round}: {answered:?}");
        }
        drop(strangers);
    }
}

/// The library of HTTP/2 is in the binary, because the client's library needs it. Nothing speaks it.
#[actix_web::test]
async fn http_2_is_not_spoken() {
    let server = Server::start().await;
    // The preface of a client that knows (RFC 9113, section 3.4), and an empty SETTINGS frame.
    let preface = "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\0\0\0\x04\0\0\0\0\0";
    let said = answer(&dial(&server, preface)).await;
    assert!(said.is_empty() || said.starts_with("HTTP/1.1 4"), "{said:?}");
    // A polite client asks for it in a request of HTTP/1.1 (RFC 7540, section 3.2).
    let upgrade = "Connection: Upgrade, HTTP2-Settings, close\r\nUpgrade: h2c\r\n\
                   HTTP2-Settings: AAMAAABkAAQAAP__\r\n";
    let said = answer(&dial(&server, &head(&server, "GET", "/healthz", upgrade))).await;
    assert!(said.starts_with("HTTP/1.1 200"), "{said:?}");
}
