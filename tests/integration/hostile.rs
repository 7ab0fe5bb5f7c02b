//! Output that is made to break an emulator: it harms no other session, nor the server.
//! `STAYD_FUZZ_ROUNDS` makes the random part longer, `STAYD_FUZZ_SEED` another; the seed is
//! printed.
#![allow(clippy::print_stdout)] // The seed is what one needs after a failure.

use crate::fidelity::generate::{self, Random};
use crate::fidelity::xterm::number;
use crate::support::{Server, Terminal};
use stayd::screen::{Options, Screen};

/// Of each so much is printed, in bytes.
const ATTACK: usize = 256 << 10;
/// Ends whatever was begun.
const END: &str = "\x18\x1b\\\x1bcthe-end";

fn attacks() -> Vec<(&'static str, Vec<u8>)> {
    let repeated = |piece: &[u8]| piece.repeat(ATTACK / piece.len());
    vec![
        ("parameters", repeated(b"\x1b[2147483647;2147483647H\x1b[99999999999999999999b")),
        ("edits", repeated(b"\x1b[2147483647@\x1b[2147483647P\x1b[2147483647L\x1b[2147483647M")),
        ("repeats", repeated(b"x\x1b[65535b")),
        ("endless OSC", [&b"\x1b]0;"[..], &repeated(b"x")].concat()),
        ("endless DCS", [&b"\x1bPq"[..], &repeated(b"x")].concat()),
        ("endless CSI", [&b"\x1b["[..], &repeated(b"0;")].concat()),
        ("combining marks", repeated("\u{301}".as_bytes())),
        ("titles and bells", repeated(b"\x1b]2;a title\x07\x07\x1b[22;0t")),
        ("links", (0..ATTACK / 32).flat_map(link).collect()),
        ("both screens", repeated(b"\x1b[?1049hx\x1b[?1049l\x1b[r\x1bc")),
        ("broken UTF-8", repeated(b"\xf0\x9f\x98\xff\xc0\x80\xed\xa0\x80")),
    ]
}

/// Each another, and never ended.
fn link(n: usize) -> Vec<u8> {
    format!("\x1b]8;;http://a/{n}\x07\x1b[38;5;{}mx", n % 256).into_bytes()
}

#[actix_web::test]
async fn what_one_session_prints_harms_no_other() {
    let server = Server::start().await;
    let api = server.api();
    let echo = api.run("stty raw -echo; printf ready; exec cat").await;
    let (mut typist, _) = Terminal::attach(&server, &echo, "").await;
    typist.wait_for("ready").await;
    let before = server.rss_kib();
    let mut hostile = Vec::new();
    for (name, bytes) in attacks() {
        let path = server.state().join(name);
        std::fs::write(&path, [&bytes, END.as_bytes()].concat()).expect("a file");
        let script = format!("stty raw -echo; cat '{}'; sleep 1000", path.display());
        hostile.push((name, api.run(&script).await));
    }
    for n in 0..200 {
        let word = format!("<{n}>");
        typist.type_in(&word).await;
        typist.wait_for(&word).await;
        typist.screen.clear();
    }
    for (name, id) in &hostile {
        let path = format!("/api/v1/sessions/{id}/screen?wait=text:the-end&timeout_ms=10000");
        let mut status = 408u16;
        while status == 408 {
            status = api.get(&path).await.status.as_u16();
        }
        assert_eq!(status, 200, "{name}");
        // And those who come now see it.
        let (mut late, _) = Terminal::attach(&server, id, "mode=ro").await;
        late.wait_for("the-end").await;
    }
    let after = server.rss_kib();
    println!("server's RSS: {before} KiB, {after} KiB after {} attacks", hostile.len());
    assert!(after - before < 256 << 10, "{before} KiB to {after} KiB");
    typist.type_in("still").await;
    typist.wait_for("still").await;
}

/// As on a real terminal, a program that asks and never reads has to wait at last; it can be
/// looked at and killed all the same.
#[actix_web::test]
async fn a_program_that_asks_and_never_reads_can_be_killed() {
    let server = Server::start_with(&["--ring-bytes=262144"]).await;
    let api = server.api();
    let id = api.run(r"stty raw -echo; yes $'\e[6nasked' | tr -d '\n'").await;
    let (mut terminal, _) = Terminal::attach(&server, &id, "").await;
    terminal.wait_for("asked").await;
    // A ring that nobody may pass: then it is the program that waits.
    let mut offset = 0;
    loop {
        let wait = format!("/api/v1/sessions/{id}/screen?wait=quiet:300&timeout_ms=20000");
        api.get(&wait).await;
        let now = api.session(&id).await["offset"].as_u64().expect("offset");
        if now == offset {
            break;
        }
        offset = now;
    }
    let ended = api.delete(&format!("/api/v1/sessions/{id}")).await.ok(200);
    assert_eq!((&ended["status"], &ended["end_reason"]), (&"TERMINATED".into(), &"killed".into()));
    assert_eq!(terminal.control("exit").await["reason"], "killed");
    assert_eq!(terminal.closed().await.0, 1000);
}

/// Whatever bytes come, at whatever sizes: a screen goes on, and writes itself down in such a
/// way that another can read it.
#[test]
fn random_bytes_break_no_screen() {
    let seed = number("STAYD_FUZZ_SEED", u64::from(std::process::id()));
    let rounds = number("STAYD_FUZZ_ROUNDS", 300);
    println!("seed {seed}");
    for round in 0..rounds {
        let mut random = Random::new(seed.wrapping_mul(1_000_003).wrapping_add(round));
        let options = Options { scrollback: random.below(50) };
        let size = |random: &mut Random| (1 + random.below(90) as u16, 1 + random.below(30) as u16);
        let (cols, rows) = size(&mut random);
        let mut screen = Screen::new(cols, rows, options);
        let mut events = Vec::new();
        for _ in 0..8 {
            let mut bytes = generate::stream(&mut random, 400);
            for _ in 0..random.below(40) {
                let at = random.below(bytes.len());
                bytes[at] = random.below(256) as u8;
            }
            if random.below(2) == 0 {
                screen.feed(&bytes, &mut events);
            } else {
                assert_eq!(screen.feed_skipping(&bytes, &mut events, || false), bytes.len());
            }
            if random.below(3) == 0 {
                let (cols, rows) = size(&mut random);
                screen.resize(cols, rows);
            }
            let limit = [0, 1000, usize::MAX][random.below(3)];
            let snapshot = screen.snapshot(random.below(60), limit);
            let (cols, rows) = screen.size();
            let again = Screen::restore(cols, rows, options, &snapshot.bytes);
            assert_eq!(again.size(), (cols, rows));
            let (cursor, restored) = (screen.cursor(), again.cursor());
            assert!(cursor.x <= cols && cursor.y < rows && restored.y < rows, "round {round}");
            screen.view(10);
            events.clear();
        }
    }
}
