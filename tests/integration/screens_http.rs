//! Reading and driving a session without a terminal: the screen over HTTP, waiting for
//! something on it, and the verbs `send`, `screen`, `wait` and `logs`.

use crate::cli::{code_and_text, stayd, verb};
use crate::support::{Api, Reply, Server, soon};
use awc::http::Method;
use nix::sys::signal::{Signal, kill};
use nix::sys::socket::{setsockopt, sockopt};
use nix::unistd::Pid;
use serde_json::{Value, json};
use std::io::{Read, Write};
use std::process::{Child, Stdio};
use std::time::{Duration, Instant};

/// Prints what is typed as a `printf` format, a line at a time; ends with `end`.
const PRINTER: &str = "stty -echo; printf 'ready\\n'; while read -r line && [ \"$line\" != end ]; do printf \"$line\"; done; exit 5";

/// A text that a query carries.
fn escaped(text: &str) -> String {
    text.bytes().map(|byte| format!("%{byte:02x}")).collect()
}

async fn look(api: &Api, id: &str, query: &str) -> Reply {
    api.get(&format!("/api/v1/sessions/{id}/screen?{query}")).await
}

/// Waits for a text, which must come; the screen.
async fn shows(api: &Api, id: &str, text: &str, query: &str) -> Reply {
    let wait = escaped(&format!("text:{text}"));
    let reply = look(api, id, &format!("wait={wait}&timeout_ms=15000&{query}")).await;
    assert_eq!(reply.status, 200, "{text}: {}", text_of(&reply));
    reply
}

fn text_of(reply: &Reply) -> String {
    String::from_utf8_lossy(&reply.bytes).into_owned()
}

fn offset(reply: &Reply) -> u64 {
    reply.headers.get("x-stayd-offset").unwrap().to_str().unwrap().parse().unwrap()
}

/// A session that prints what it is told to.
async fn printer(api: &Api) -> String {
    let id = api.run(PRINTER).await;
    shows(api, &id, "ready", "").await;
    id
}

async fn print(api: &Api, id: &str, line: &str) {
    api.post(&format!("/api/v1/sessions/{id}/input"), format!("{line}\n")).await.ok(200);
}

#[actix_web::test]
async fn a_screen_is_text_or_text_with_colours_or_json() {
    let server = Server::start().await;
    let api = server.api();
    let id = printer(&api).await;
    print(
        &api,
        &id,
        r"\e]2;a title\a\e[1;31mred\e[m 日本 \e[4 q\e[?2004h\e[?25l\e[48;2;1;2;3mx\e[m$",
    )
    .await;
    let text = shows(&api, &id, "x$", "").await;
    assert_eq!(text.headers.get("content-type").unwrap(), "text/plain; charset=utf-8");
    assert_eq!(text_of(&text), format!("ready\nred 日本 x$\n{}", "\n".repeat(22)));
    let end = api.session(&id).await["offset"].as_u64().unwrap();
    assert_eq!(offset(&text), end);

    let ansi = look(&api, &id, "format=ansi").await;
    let coloured = "\u{1b}[1;31mred\u{1b}[m 日本 \u{1b}[48;2;1;2;3mx\u{1b}[m$\n";
    assert!(text_of(&ansi).contains(coloured), "{:?}", text_of(&ansi));

    let reply = look(&api, &id, "format=json").await;
    assert_eq!(reply.headers.get("content-type").unwrap(), "application/json");
    assert_eq!(offset(&reply), end);
    let mut screen = reply.ok(200);
    let lines = screen["lines"].take();
    let modes = screen["modes"].take();
    let cursor = json!({ "x": 11, "y": 1, "visible": false, "style": "underline" });
    let expected = json!({
        "offset": end, "cols": 80, "rows": 24, "cursor": cursor, "title": "a title",
        "alternate": false, "scrollback": 0, "modes": null, "lines": null,
    });
    assert_eq!(screen, expected);
    assert_eq!((&modes["bracketed_paste"], &modes["mouse"]), (&json!(true), &json!("off")));
    assert_eq!(lines.as_array().unwrap().len(), 24);
    let runs = json!([
        { "text": "red", "fg": 1, "attrs": ["bold"] },
        { "text": " 日本 " },
        { "text": "x", "bg": "#010203" },
        { "text": "$" },
    ]);
    assert_eq!(lines[1], runs);
}

#[actix_web::test]
async fn what_has_scrolled_off_is_shown_where_it_is_asked_for() {
    let server = Server::start().await;
    let api = server.api();
    let id = api.run("seq -f 'line %g' 1 100; printf 'the-end\\e[?1049hother'; sleep 1000").await;
    let other = shows(&api, &id, "other", "format=json&scrollback=1000").await.ok(200);
    assert_eq!((&other["alternate"], &other["scrollback"]), (&json!(true), &json!(0)));
    let id = api.run("seq -f 'line %g' 1 100; printf the-end; sleep 1000").await;
    let screen = text_of(&shows(&api, &id, "the-end", "").await);
    assert!(screen.starts_with("line 78\n") && screen.ends_with("line 100\nthe-end\n"), "{screen}");
    let five = look(&api, &id, "scrollback=5").await;
    assert!(text_of(&five).starts_with("line 73\n"), "{}", text_of(&five));
    let all = shows(&api, &id, "line 1\nline 2\n", "scrollback=1000&format=json").await.ok(200);
    assert_eq!(all["scrollback"], 77);
    // It is not on the screen itself.
    let wait = escaped("text:line 1\nline 2\n");
    assert_eq!(look(&api, &id, &format!("wait={wait}&timeout_ms=0")).await.status, 408);
}

/// Paints every cell in colours of its own, then says so in its title.
const PAINTER: &str = r#"$| = 1; my ($cols, $rows) = @ARGV;
    for my $y (1..$rows) { print "\e[$y;1H"; for my $x (1..$cols) { printf
        "\e[38;2;%d;%d;1;48;2;%d;%d;2m%d", $x % 256, $y % 256, $y % 256, $x % 256, $x % 10 } }
    print "\e[m\e[H\e]2;painted\a"; <STDIN>"#;

/// A session of this size that is painted.
async fn painted(api: &Api, cols: u16, rows: u16) -> String {
    let (width, height) = (cols.to_string(), rows.to_string());
    let command = ["perl", "-e", PAINTER, &width, &height];
    let session = api.create(json!({ "command": command, "cols": cols, "rows": rows })).await;
    let id = session["id"].as_str().expect("an id").to_owned();
    soon("painted", async { while api.session(&id).await["title"] != "painted" {} }).await;
    id
}

#[actix_web::test]
async fn large_screens_are_told_in_pieces_and_take_no_memory() {
    let server = Server::start().await;
    let api = server.api();
    let id = painted(&api, 400, 200).await;
    let text = look(&api, &id, "").await;
    let lines = text_of(&text);
    assert_eq!(lines.lines().count(), 200);
    assert!(lines.lines().all(|line| line == "1234567890".repeat(40)));
    let ansi = text_of(&look(&api, &id, "format=ansi").await);
    assert_eq!(ansi.lines().count(), 200);
    assert!(ansi.lines().all(|line| line.matches("\u{1b}[m").count() == 400));
    let before = server.rss_kib();
    let asked: Vec<_> = (0..10).map(|_| look(&api, &id, "format=json")).collect();
    let told = futures_util::future::join_all(asked).await;
    let after = server.rss_kib();
    eprintln!("ten large screens at once: RSS {before} KiB, {after} KiB after them");
    // One had taken 50 MiB, and the server kept them.
    assert!(after.saturating_sub(before) < 64 << 10, "{before} KiB to {after} KiB");
    let first = told[0].ok(200);
    assert_eq!((&first["cols"], &first["lines"][199][399]["bg"]), (&json!(400), &json!("#c89002")));
    assert_eq!(first["lines"].as_array().unwrap().len(), 200);
    assert!(told.iter().all(|reply| reply.bytes == told[0].bytes));

    // Its last screen is told in the same way, also within a problem.
    api.post(&format!("/api/v1/sessions/{id}/input"), "\n").await.ok(200);
    soon("the end", async { while api.session(&id).await["status"] != "TERMINATED" {} }).await;
    let last = look(&api, &id, "format=json").await.ok(200);
    assert!(last["lines"] == first["lines"], "the last screen is another");
    assert!(look(&api, &id, "").await.bytes == text.bytes);
    let over = |format: &str| format!("wait=text:never&timeout_ms=0&format={format}");
    let problem = look(&api, &id, &over("json")).await.problem(410, "ended");
    assert!(problem["screen"]["lines"] == first["lines"], "the problem's screen is another");
    assert_eq!(problem["screen"]["offset"], problem["offset"]);
    let problem = look(&api, &id, &over("text")).await.problem(410, "ended");
    assert!(problem["screen"] == lines);
    let problem = look(&api, &id, &over("ansi")).await.problem(410, "ended");
    assert!(problem["screen"] == ansi);
}

/// Whoever takes nothing of a large screen keeps others from theirs for a while, and no
/// longer than the connection lasts; small ones need no room.
#[actix_web::test]
async fn large_screens_wait_for_each_other() {
    let server = Server::start().await;
    let api = server.api();
    // A line of 250 runs, a thousand times.
    let script = r"$| = 1; my $line = qq(\e[1mxxxx\e[mxxxx) x 125;
        print qq(\r\n$line) for 1..1000; print qq(\e]2;painted\a); sleep 1000";
    let command = json!({ "command": ["perl", "-e", script], "cols": 1000, "rows": 1000 });
    let id = api.create(command).await["id"].as_str().expect("an id").to_owned();
    soon("painted", async { while api.session(&id).await["title"] != "painted" {} }).await;
    let unread = || {
        let mut socket = std::net::TcpStream::connect(server.address()).expect("a connection");
        // What it sends is not to disappear in buffers.
        setsockopt(&socket, sockopt::RcvBuf, &4096).expect("a small buffer");
        let request = format!(
            "GET /api/v1/sessions/{id}/screen?format=json HTTP/1.1\r\nHost: {}\r\n\
             Authorization: Bearer {}\r\n\r\n",
            server.address(),
            server.token()
        );
        socket.write_all(request.as_bytes()).expect("sent");
        // It is under way.
        let mut first = [0; 12];
        socket.read_exact(&mut first).expect("an answer");
        assert_eq!(&first, b"HTTP/1.1 200");
        socket
    };
    let mut sockets: Vec<_> = (0..4).map(|_| unread()).collect();
    let refused = look(&api, &id, "format=json").await;
    let problem = refused.problem(503, "unavailable");
    assert!(problem["detail"].as_str().unwrap().contains("large screens"), "{problem}");
    assert!(refused.headers.get("retry-after").is_some());
    let small = printer(&api).await;
    assert_eq!(look(&api, &small, "format=json").await.status, 200);
    sockets.pop();
    let text = look(&api, &id, "").await;
    assert_eq!((text.status.as_u16(), text.bytes.len()), (200, 1001 * 1000));
}

/// Once a size is answered the screen has it.
#[actix_web::test]
async fn a_size_that_is_answered_is_the_screens() {
    let server = Server::start().await;
    let api = server.api();
    let id = printer(&api).await;
    let path = format!("/api/v1/sessions/{id}");
    for n in 0..40u16 {
        let size = json!({ "cols": 60 + n, "rows": 20 + n % 7 });
        let said = api.post(&format!("{path}/resize"), size.to_string()).await.ok(200);
        let screen = look(&api, &id, "format=json").await.ok(200);
        for seen in [&said, &screen] {
            assert_eq!((&seen["cols"], &seen["rows"]), (&size["cols"], &size["rows"]));
        }
    }
    // Another policy gives it the size of the client that is there.
    let patch = async |policy: &str| {
        let body = json!({ "size_policy": policy }).to_string();
        api.send(Method::PATCH, &path, body).await.ok(200);
        let screen = look(&api, &id, "format=json").await.ok(200);
        (screen["cols"].clone(), screen["rows"].clone())
    };
    let by_hand = patch("fixed").await;
    let (_terminal, _) = crate::support::Terminal::attach(&server, &id, "cols=44&rows=11").await;
    assert_eq!(patch("fixed").await, by_hand);
    assert_eq!(patch("latest").await, (json!(44), json!(11)));
}

#[actix_web::test]
async fn a_wait_is_over_when_it_holds() {
    let server = Server::start().await;
    let api = server.api();
    let id = printer(&api).await;
    // The condition comes about after the wait has begun, with other output before it.
    for (wait, line) in [
        ("text:a: [b].*", r"x a: [b].* y\n"),
        ("regex:^done in \\d+ ms$", r"done in 12 ms\n"),
        // A line that is longer than the screen is one line, a prompt ends with a space.
        ("regex:^={100}$", &"=".repeat(100)),
        ("text:\nprompt> ", r"\nprompt>\x20"),
    ] {
        let query = format!("wait={}&timeout_ms=15000", escaped(wait));
        let zero = format!("wait={}&timeout_ms=0", escaped(wait));
        assert_eq!(look(&api, &id, &zero).await.status, 408, "{wait}");
        let (reply, ()) = futures_util::future::join(look(&api, &id, &query), async {
            print(&api, &id, r"not yet\n").await;
            print(&api, &id, line).await;
        })
        .await;
        assert_eq!(reply.status, 200, "{wait}: {}", text_of(&reply));
        assert!(text_of(&reply).contains("not yet"));
        assert_eq!(look(&api, &id, &zero).await.status, 200, "{wait}");
    }
}

#[actix_web::test]
async fn a_wait_that_takes_too_long_answers_with_the_screen_as_it_is() {
    let server = Server::start().await;
    let api = server.api();
    let id = printer(&api).await;
    let start = Instant::now();
    let reply = look(&api, &id, "wait=text:never&timeout_ms=400&format=json").await;
    assert!(start.elapsed() >= Duration::from_millis(400));
    let screen = reply.ok(408);
    assert_eq!(screen["lines"][0], json!([{ "text": "ready" }]));
    assert_eq!(offset(&reply), screen["offset"].as_u64().unwrap());
    let reply = look(&api, &id, "wait=text:never&timeout_ms=0").await;
    assert_eq!((reply.status.as_u16(), &*text_of(&reply).replace('\n', "")), (408, "ready"));
    assert_eq!(reply.headers.get("content-type").unwrap(), "text/plain; charset=utf-8");
    let reply = look(&api, &id, "wait=regex:^r.*y$&timeout_ms=0").await;
    assert_eq!(reply.status, 200);
}

#[actix_web::test]
async fn quiet_is_no_output_for_so_long() {
    let server = Server::start().await;
    let api = server.api();
    let script = "read -r line; for i in {1..40}; do echo $i; sleep 0.03; done; printf the-end; \
                  read -r line; while :; do echo $((n++)); sleep 0.03; done";
    let id = api.run(script).await;
    let (start, query) = (Instant::now(), "wait=quiet:700&timeout_ms=15000");
    assert_eq!(look(&api, &id, query).await.status, 200);
    assert!(start.elapsed() >= Duration::from_millis(700), "counted from the request");
    let (reply, ()) =
        futures_util::future::join(look(&api, &id, query), print(&api, &id, "")).await;
    assert_eq!(reply.status, 200);
    assert!(text_of(&reply).contains("the-end"), "{}", text_of(&reply));
    print(&api, &id, "").await;
    let reply = look(&api, &id, "wait=quiet:1500&timeout_ms=2500").await;
    assert_eq!(reply.status, 408, "{}", text_of(&reply));
    api.delete(&format!("/api/v1/sessions/{id}")).await.ok(200);
}

/// What was there before does not count, however it is moved about on the screen.
#[actix_web::test]
async fn a_wait_may_count_only_what_comes_after_an_offset() {
    let server = Server::start().await;
    let api = server.api();
    let id = printer(&api).await;
    print(&api, &id, "done\\n").await;
    let before = offset(&shows(&api, &id, "done", "").await);
    let after = |offset: u64, more: &str| format!("wait=text:done&after={offset}&{more}");
    assert_eq!(look(&api, &id, &after(before, "timeout_ms=0")).await.status, 408);
    assert_eq!(look(&api, &id, &after(0, "timeout_ms=0")).await.status, 200);
    // Lines scroll, and what stays on the screen is no news.
    let waits = after(before, "timeout_ms=15000&format=json");
    let waits = look(&api, &id, &waits);
    let prints = async {
        print(&api, &id, "more\\r\\n").await;
        shows(&api, &id, "more", "").await;
        print(&api, &id, "\\033[2Jdo\\033[31mne\\n").await;
    };
    let (reply, ()) = futures_util::future::join(waits, prints).await;
    let screen = reply.ok(200);
    assert!(screen["offset"].as_u64().unwrap() > before + 10, "{screen}");
    // In one piece across the edge of the terminal, like on the screen.
    let start = screen["offset"].as_u64().unwrap();
    print(&api, &id, &format!("{}\\n", "0123456789".repeat(12))).await;
    let wrapped = format!("wait=regex:90123456789%24&after={start}&timeout_ms=15000");
    assert_eq!(look(&api, &id, &wrapped).await.status, 200);
    // Output that nobody has printed yet is a mistake, and what has ended prints nothing more.
    let beyond = look(&api, &id, &after(start + 10_000, "timeout_ms=0")).await;
    assert!(beyond.problem(416, "offset_gone")["head"].as_u64().unwrap() > start);
    let last = offset(&look(&api, &id, "").await);
    let (reply, ()) = futures_util::future::join(
        look(&api, &id, &after(last, "timeout_ms=15000")),
        print(&api, &id, "end"),
    )
    .await;
    reply.problem(410, "ended");
}

/// A waiting client's ring is overwritten many times.
#[actix_web::test]
async fn a_wait_for_what_is_new_sees_the_end_of_a_flood() {
    let server = Server::start_with(&["--ring-bytes", "262144"]).await;
    let api = server.api();
    let id = printer(&api).await;
    let before = offset(&look(&api, &id, "").await);
    let flood =
        "read -r _; yes 0123456789012345678901234567890123456789 | head -c 4000000; echo; echo end";
    let flooder = api.run(flood).await;
    assert_eq!(
        look(&api, &id, &format!("wait=text:ready&after={before}&timeout_ms=0")).await.status,
        408
    );
    let query = "wait=regex:^end$&after=0&timeout_ms=60000";
    let (reply, ()) =
        futures_util::future::join(look(&api, &flooder, query), print(&api, &flooder, "")).await;
    assert_eq!(reply.status, 200, "{}", text_of(&reply));
}

/// The first line stays while the rest of the screen is flooded.
#[actix_web::test]
async fn a_wait_amid_a_flood_is_answered_while_it_goes_on() {
    let server = Server::start().await;
    let api = server.api();
    let script = "stty -echo; printf '\\e[2;24r\\e[24;1H'; yes & read -r line; \
                  printf '\\e7\\e[1;1Hneedle\\e8'; wait";
    let id = api.run(script).await;
    let flooding = shows(&api, &id, "\ny\ny\ny", "").await;
    let timed_out = look(&api, &id, "wait=text:needle&timeout_ms=500").await;
    assert_eq!(timed_out.status, 408);
    assert!(offset(&timed_out) > offset(&flooding) + 100_000, "no flood");
    let (reply, ()) = futures_util::future::join(
        look(&api, &id, "wait=text:needle&timeout_ms=15000"),
        print(&api, &id, ""),
    )
    .await;
    assert_eq!(reply.status, 200);
    assert!(text_of(&reply).starts_with("needle\ny\n"), "{}", text_of(&reply));
    let later = look(&api, &id, "").await;
    assert!(offset(&later) > offset(&reply), "the flood goes on");
    // An endless flood is never quiet.
    assert_eq!(look(&api, &id, "wait=quiet:3000&timeout_ms=3100").await.status, 408);
}

#[actix_web::test]
async fn the_screen_is_the_same_after_the_server_was_killed() {
    let mut server = Server::start().await;
    let api = server.api();
    let id = printer(&api).await;
    let json = "format=json&scrollback=1000";
    let lines: String = (1..=60).map(|n| format!("{n}\\r\\n")).collect();
    for (line, seen) in [
        (lines + r"\e[35mpurple\e[m\e]2;title\a", "purple"),
        (r"\e[?1049h\e[3;5r\e[?1;2004h\e[2;2Halternate\e[7m".to_owned(), "alternate"),
    ] {
        print(&api, &id, &line).await;
        let before = shows(&api, &id, seen, json).await;
        server.kill_and_restart().await;
        let after = look(&api, &id, json).await;
        assert_eq!(after.ok(200), before.json());
        assert_eq!(offset(&after), offset(&before));
    }
    print(&api, &id, "still here").await;
    shows(&api, &id, "still here", "").await;
}

#[actix_web::test]
async fn a_wait_ends_with_its_session() {
    let server = Server::start().await;
    let api = server.api();
    let id = printer(&api).await;
    let query = "wait=text:never&timeout_ms=600000";
    let (reply, ()) = soon("the end of the wait", async {
        futures_util::future::join(look(&api, &id, query), async {
            print(&api, &id, "last words").await;
            print(&api, &id, "end").await;
        })
        .await
    })
    .await;
    let problem = reply.problem(410, "ended");
    assert!(problem["screen"].as_str().unwrap().starts_with("ready\nlast words\n"), "{problem}");
    assert!(problem["offset"].as_u64().unwrap() >= 17, "{problem}");

    // Killed, and with the screen in the format that was asked for.
    let id = printer(&api).await;
    let (reply, _) = futures_util::future::join(
        look(&api, &id, "wait=text:never&timeout_ms=600000&format=json"),
        api.delete(&format!("/api/v1/sessions/{id}")),
    )
    .await;
    let problem = reply.problem(410, "ended");
    assert!(problem.get("screen").is_none_or(|s| s["lines"][0] == json!([{ "text": "ready" }])));

    // What has ended is quiet.
    let id = printer(&api).await;
    let (reply, ()) =
        futures_util::future::join(look(&api, &id, "wait=quiet:600000&timeout_ms=600000"), async {
            print(&api, &id, "end").await
        })
        .await;
    assert!(matches!(reply.status.as_u16(), 200 | 410), "{}", text_of(&reply));
    // One that ends before anybody can ask is shown for a moment all the same.
    let id = api.run("echo $((6*7))-gone").await;
    let reply = look(&api, &id, "wait=text:42-gone").await;
    assert_eq!(reply.status, 200, "{}", text_of(&reply));
}

#[actix_web::test]
async fn a_server_that_stops_keeps_nobody_waiting() {
    let mut server = Server::start().await;
    let api = server.api();
    let id = printer(&api).await;
    let pid = Pid::from_raw(server.pid());
    // A second wait that is answered says that the first has begun before it.
    let (reply, ()) =
        futures_util::future::join(look(&api, &id, "wait=text:never&timeout_ms=600000"), async {
            look(&api, &id, "wait=quiet:200").await;
            kill(pid, Signal::SIGTERM).expect("SIGTERM");
        })
        .await;
    reply.problem(503, "unavailable");
    assert!(server.stop_waiting().success());
}

#[actix_web::test]
async fn what_makes_no_sense_is_refused() {
    let server = Server::start().await;
    let api = server.api();
    let id = printer(&api).await;
    let long = format!("wait=text:{}", "x".repeat(1025));
    for query in [
        "format=html",
        "format=",
        "scrollback=-1",
        "scrollback=all",
        "lines=5",
        "timeout_ms=5",
        "after=5",
        "wait=quiet:5&after=5",
        "wait=text:x&after=-1",
        "wait=",
        "wait=text:",
        "wait=exit",
        "wait=regex:(",
        "wait=regex:((%5Cw{100}){100}){100}",
        "wait=quiet:soon",
        "wait=quiet:0",
        "wait=quiet:-5",
        "wait=quiet:2000&timeout_ms=1000",
        "wait=text:x&timeout_ms=600001",
        "wait=text:x&timeout_ms=-1",
        "wait=text:x&timeout_ms=99999999999999999999",
        &long,
    ] {
        let problem = look(&api, &id, query).await.problem(400, "invalid_request");
        assert!(problem["detail"].as_str().unwrap().len() > 10, "{query}: {problem}");
    }
    let path = format!("/api/v1/sessions/{id}/screen");
    api.send(Method::POST, &path, "").await.problem(405, "method_not_allowed");
    look(&api, "nobody", "").await.problem(404, "not_found");
    let stranger = Api::new(server.address(), "wrong-token-of-some-length");
    look(&stranger, &id, "").await.problem(401, "unauthorized");
    // More scrollback than there can be is all that there is.
    let all = look(&api, &id, "scrollback=18446744073709551615").await;
    assert!(text_of(&all).starts_with("ready\n"));
    // Somebody was attached: then nothing is kept after the end.
    crate::support::Terminal::attach(&server, &id, "").await.0.leave().await;
    api.delete(&format!("/api/v1/sessions/{id}")).await.ok(200);
    assert!(text_of(&look(&api, &id, "").await).starts_with("ready\n"), "its last screen");
    look(&api, &id, "wait=text:x").await.problem(410, "ended");
}

async fn named(server: &Server, name: &str, script: &str) -> String {
    let command = ["bash", "-c", script];
    let session = server.api().create(json!({ "name": name, "command": command })).await;
    session["id"].as_str().unwrap().to_owned()
}

#[track_caller]
fn ok(server: &Server, args: &[&str]) -> String {
    let (code, text) = code_and_text(&verb(server, args));
    assert_eq!(code, Some(0), "{args:?}: {text}");
    text
}

#[actix_web::test]
async fn verbs_type_wait_and_show() {
    let server = Server::start().await;
    named(&server, "raw", "stty raw -echo; printf 'ready\r\n'; cat -v").await;
    ok(&server, &["wait", "raw", "--text", "ready", "--timeout", "15"]);
    ok(&server, &["send", "raw", "a b", "--key", "C-c", "-k", "Up", "-k", "F5", "--enter"]);
    ok(&server, &["wait", "raw", "--regex", r"^a b\^C\^\[\[A\^\[\[15~\^M$", "--timeout", "15"]);
    let screen = ok(&server, &["screen", "raw"]);
    assert!(screen.starts_with("ready\na b^C^[[A^[[15~^M\n"), "{screen}");
    let json: Value = serde_json::from_str(&ok(&server, &["screen", "raw", "-f", "json"])).unwrap();
    assert_eq!(json["lines"][0], json!([{ "text": "ready" }]));

    // Arrows are those that the program has asked for.
    named(&server, "app", "stty raw -echo; printf '\\e[?1hready\r\n'; cat -v").await;
    ok(&server, &["wait", "app", "--text", "ready", "--timeout", "15"]);
    ok(&server, &["send", "app", "-k", "Up", "-k", "M-x"]);
    ok(&server, &["wait", "app", "--text", "^[OA^[x", "--timeout", "15"]);

    // More than any queue holds, through standard input.
    named(
        &server,
        "sum",
        "stty raw -echo; printf 'ready\r\n'; head -c 300000 | sha256sum; exec cat",
    )
    .await;
    ok(&server, &["wait", "sum", "--text", "ready", "--timeout", "15"]);
    let bytes: Vec<u8> = (0..300_000).map(|n: u32| (n * 7 % 251) as u8).collect();
    let mut child = stayd(&server, &["send", "sum", "--stdin"])
        .stdin(Stdio::piped())
        .spawn()
        .expect("stayd starts");
    child.stdin.take().expect("piped").write_all(&bytes).expect("written");
    assert!(child.wait().expect("wait").success());
    ok(&server, &["wait", "sum", "--regex", "^[0-9a-f]{64}  -$", "--timeout", "15"]);
    assert!(ok(&server, &["screen", "sum"]).contains(&sha256(&bytes)));
    ok(&server, &["wait", "sum", "--quiet", "100", "--timeout", "15"]);
}

fn sha256(bytes: &[u8]) -> String {
    let mut child = std::process::Command::new("sha256sum")
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .expect("sha256sum");
    child.stdin.take().expect("piped").write_all(bytes).expect("written");
    let output = child.wait_with_output().expect("wait");
    String::from_utf8_lossy(&output.stdout[..64]).into_owned()
}

#[actix_web::test]
async fn wait_has_an_exit_code_for_each_outcome() {
    let mut server = Server::start().await;
    let id = named(&server, "web", PRINTER).await;
    ok(&server, &["wait", "web", "--text", "ready", "--timeout", "15"]);
    let code = |server: &Server, args: &[&str]| code_and_text(&verb(server, args));
    for never in [&["--text", "never"][..], &["--regex", "ne+ver"], &["--exit"]] {
        let args = [&["wait", "web", "--timeout", "0.3"], never].concat();
        let (code, text) = code(&server, &args);
        assert_eq!(code, Some(124), "{never:?}: {text}");
        assert!(text.starts_with("stayd: "), "{text}");
    }
    for (usage, args) in [
        (2, &["wait", "web"][..]),
        (2, &["wait", "web", "--text", "a", "--exit"]),
        (2, &["wait", "web", "--quiet", "500", "--timeout", "0.5"]),
        (2, &["wait", "web", "--text", "a", "--timeout", "-1"]),
        (2, &["wait", "web", "--regex", "("]),
        (3, &["wait", "nobody", "--text", "a"]),
        (2, &["send", "web"]),
        (2, &["send", "web", "text", "--stdin"]),
        (2, &["send", "web", "--key", "Entr"]),
        (3, &["send", "nobody", "text"]),
        (2, &["screen", "web", "--format", "html"]),
        (3, &["screen", "nobody"]),
        (3, &["logs", "nobody"]),
        (1, &["logs", "web", "--offset", "1000000"]),
    ] {
        let (code, text) = code(&server, args);
        assert_eq!(code, Some(usage), "{args:?}: {text}");
    }
    // The server is killed meanwhile: those who wait go on.
    let before = server.established();
    // By id: nothing else is asked before.
    let (url, token) = (format!("http://{}", server.address()), server.token());
    let asked = ["wait", &id, "--url", &url, "--token", &token];
    let wait = |args: &[&str]| Started::verb(&server, &[&asked[..], args].concat());
    let mut exit = wait(&["--exit", "--timeout", "18"]);
    let mut text = wait(&["--text", "back", "--timeout", "18"]);
    let mut over = wait(&["--text", "never"]);
    soon("three that wait", async {
        while server.established() < before + 3 {
            actix_web::rt::task::yield_now().await;
        }
    })
    .await;
    server.kill_and_restart().await;
    print(&server.api(), "web", "back").await;
    assert_eq!(text.end(), (Some(0), String::new()));
    ok(&server, &["send", "web", "end", "--enter"]);
    assert_eq!(exit.end(), (Some(5), String::new()));
    let (code, said) = over.end();
    assert_eq!(code, Some(1));
    assert!(said.contains("ended"), "{said}");
    server.kill();
    let nobody = code_and_text(&verb(&server, &["wait", &id, "--text", "a"]));
    assert!(nobody.0 == Some(1) && nobody.1.contains("no server answers"), "{nobody:?}");
    let nobody = code_and_text(&verb(&server, &["send", &id, "a"]));
    assert!(nobody.0 == Some(1) && nobody.1.contains("no server answers"), "{nobody:?}");
}

/// A verb that runs beside the test.
struct Started(Child);

impl Started {
    fn verb(server: &Server, args: &[&str]) -> Self {
        let mut command = stayd(server, args);
        Started(command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().expect("starts"))
    }

    /// Exit code, and what it has said on standard error.
    fn end(&mut self) -> (Option<i32>, String) {
        let mut text = String::new();
        self.0.stderr.take().expect("piped").read_to_string(&mut text).expect("UTF-8");
        (self.0.wait().expect("wait").code(), text)
    }
}

impl Drop for Started {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

#[actix_web::test]
async fn logs_are_the_output_byte_for_byte_also_over_a_restart() {
    let mut server = Server::start().await;
    named(&server, "web", PRINTER).await;
    ok(&server, &["wait", "web", "--text", "ready", "--timeout", "15"]);
    print(&server.api(), "web", r"\e[31mone\e[m\n").await;
    ok(&server, &["wait", "web", "--text", "one", "--timeout", "15"]);
    assert_eq!(ok(&server, &["logs", "web"]), "ready\r\n\u{1b}[31mone\u{1b}[m\r\n");
    assert_eq!(ok(&server, &["logs", "web", "--offset", "12"]), "one\u{1b}[m\r\n");

    let mut child = stayd(&server, &["logs", "web", "-f", "--offset", "12"])
        .stdout(Stdio::piped())
        .spawn()
        .expect("stayd starts");
    let mut stdout = child.stdout.take().expect("piped");
    let mut first = [0; 8];
    stdout.read_exact(&mut first).expect("what is kept");
    assert_eq!(&first, b"one\x1b[m\r\n");
    let seen = |stdout: &mut std::process::ChildStdout, text: &str| {
        let mut bytes = vec![0; text.len()];
        stdout.read_exact(&mut bytes).expect("more");
        assert_eq!(String::from_utf8_lossy(&bytes), text);
    };
    print(&server.api(), "web", "two-").await;
    seen(&mut stdout, "two-");
    server.kill();
    server.restart().await;
    print(&server.api(), "web", "three-").await;
    seen(&mut stdout, "three-");
    print(&server.api(), "web", "four").await;
    ok(&server, &["send", "web", "end", "--enter"]);
    let mut rest = String::new();
    stdout.read_to_string(&mut rest).expect("the end");
    assert_eq!(rest, "four");
    assert!(child.wait().expect("wait").success());
}

/// A flood of many rings: whoever follows is waited for, and misses nothing.
#[actix_web::test]
async fn logs_that_follow_print_every_byte_of_a_flood() {
    let server = Server::start().await;
    let script = "stty -echo; echo ready; read -r _; seq 1 600000";
    let body = json!({ "name": "flood", "command": ["bash", "-c", script] });
    server.api().create(body).await;
    ok(&server, &["wait", "flood", "--text", "ready", "--timeout", "15"]);
    let child = stayd(&server, &["logs", "flood", "-f"])
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .expect("stayd starts");
    let attached = "SELECT active_connections FROM sessions WHERE name = 'flood'";
    server.wait_for_sql(attached, "1").await;
    ok(&server, &["send", "flood", "go", "--enter"]);
    let output = child.wait_with_output().expect("the end");
    assert_eq!(String::from_utf8_lossy(&output.stderr), "");
    let text = String::from_utf8_lossy(&output.stdout);
    let numbers = text.lines().skip(1).map(|line| line.parse::<u32>().expect("a number"));
    assert!(numbers.eq(1..=600_000), "every line once, in order");
}
