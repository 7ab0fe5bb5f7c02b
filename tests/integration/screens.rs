//! What a fresh client is shown is what it would see had it been there all the time.

use crate::support::{Event, Server, Terminal};
use serde_json::json;
use stayd::screen::{Options, Screen};

/// A client that has been there from the first byte, and the screen it would have.
struct Witness {
    terminal: Terminal,
    screen: Screen,
}

impl Witness {
    async fn step(&mut self) {
        match self.terminal.next().await {
            Event::Bytes(bytes) => self.screen.feed(&bytes, &mut Vec::new()),
            Event::Control(control) => resize(&mut self.screen, &control),
            end => panic!("{end:?}"),
        }
    }

    async fn until(&mut self, offset: u64) {
        while self.terminal.offset < offset {
            self.step().await;
        }
    }
}

fn resize(screen: &mut Screen, control: &serde_json::Value) {
    assert_ne!(control["type"], "snapshot", "the witness was overtaken");
    if matches!(control["type"].as_str(), Some("attached" | "resized")) {
        let word = |name: &str| control[name].as_u64().unwrap() as u16;
        screen.resize(word("cols"), word("rows"));
    }
}

fn shown(screen: &Screen) -> Vec<u8> {
    screen.snapshot(usize::MAX, usize::MAX).bytes
}

/// A fresh client's screen, from its first messages to `offset`.
async fn fresh(server: &Server, id: &str, query: &str, offset: u64) -> (Screen, u64) {
    let (mut terminal, attached) = Terminal::attach(server, id, query).await;
    let mut screen = Screen::new(80, 24, Options::default());
    resize(&mut screen, &attached);
    let cut = terminal.offset;
    // Where there has been output, a picture of it comes first.
    let mut seen = cut == 0;
    while terminal.offset < offset || !seen {
        match terminal.next().await {
            Event::Bytes(bytes) => screen.feed(&bytes, &mut Vec::new()),
            Event::Control(control) if control["type"] == "snapshot" => {
                let Event::Bytes(bytes) = terminal.next().await else { panic!("no snapshot") };
                let (cols, rows) = screen.size();
                screen = Screen::restore(cols, rows, Options::default(), &bytes);
                seen = true;
            }
            Event::Control(control) => resize(&mut screen, &control),
            end => panic!("{end:?}"),
        }
    }
    (screen, cut)
}

/// Lines of many lengths and colours, moves, both screens, a little at a time.
const PAINTER: &str = r#"for i in $(seq 1 400); do
    printf '\e[%dm%0*d\e[m %s\r\n' $((30 + i % 8)) $((1 + i * 7 % 130)) $i '日本語 e\u0301'
    ((i % 50 == 20)) && printf '\e7\e[?1049h\e[2;5r\e[3;3Halt\e[1;44m'
    ((i % 50 == 30)) && printf '\e[r\e[m\e[?1049l\e8'
    ((i % 10 == 0)) && sleep 0.03
done; printf '\e[mTHE-END'; sleep 1000"#;

#[actix_web::test]
async fn a_fresh_client_sees_what_a_witness_sees() {
    let mut server = Server::start().await;
    let command = ["bash", "-c", &format!("stty -echo; read -r line; {PAINTER}")];
    let id = server.api().create(json!({ "command": command })).await["id"].clone();
    let id = id.as_str().unwrap();
    let (terminal, attached) = Terminal::attach(&server, id, "client=witness").await;
    let screen = Screen::new(80, 24, Options::default());
    let mut witness = Witness { terminal, screen };
    resize(&mut witness.screen, &attached);
    witness.terminal.type_in("\n").await;
    let mut cuts = Vec::new();
    for round in 0..12u16 {
        for _ in 0..3 {
            witness.step().await;
        }
        if round % 3 == 1 {
            let size = json!({ "type": "resize", "cols": 60 + round * 5, "rows": 20 + round % 7 });
            witness.terminal.say(size).await;
        }
        if round == 7 {
            server.kill_and_restart().await;
            let query = format!("client=witness&session={id}&offset={}", witness.terminal.offset);
            witness.terminal = Terminal::attach(&server, id, &query).await.0;
        }
        let to = witness.terminal.offset;
        let (mut seen, cut) = fresh(&server, id, "mode=ro", to).await;
        cuts.push(cut);
        // Both go on to the same place.
        witness.until(cut.max(to)).await;
        if witness.terminal.offset == cut.max(to) {
            let size = witness.screen.size();
            if seen.size() == size {
                let (seen, witnessed) = (shown(&seen), shown(&witness.screen));
                let texts = (seen.escape_ascii(), witnessed.escape_ascii());
                assert!(seen == witnessed, "at {cut}, round {round}: {} | {}", texts.0, texts.1);
            } else {
                seen.resize(size.0, size.1);
            }
        }
    }
    while !witness.terminal.text().ends_with("THE-END") {
        witness.step().await;
    }
    let end = witness.terminal.offset;
    let (seen, cut) = fresh(&server, id, "mode=ro", end + u64::from(cuts.is_empty())).await;
    assert!(cut <= end);
    // On a busy machine the last change of size comes after all output.
    while witness.screen.size() != seen.size() {
        witness.step().await;
    }
    eprintln!("fresh clients came at {cuts:?} of {end}");
}

/// A client that may skip and does not read: the program runs on, the server does not
/// grow, and at last it sees the end, with no further output to wake anybody.
#[actix_web::test]
async fn a_stalled_client_costs_nothing_and_sees_the_end() {
    let server = Server::start().await;
    let api = server.api();
    let script = "stty -echo; read -r line; seq 1 8000000; printf the-end; sleep 1000";
    let id = api.run(script).await;
    let (mut terminal, _) = Terminal::attach(&server, &id, "lag=skip").await;
    let before = server.rss_kib();
    terminal.type_in("\n").await;
    let mut most = before;
    let start = std::time::Instant::now();
    while api.session(&id).await["offset"].as_u64().unwrap() < 64 << 20 {
        most = most.max(server.rss_kib());
        assert!(start.elapsed().as_secs() < 120, "the program was held back");
        actix_web::rt::time::sleep(std::time::Duration::from_millis(50)).await;
    }
    eprintln!("64 MiB beside a stalled client: RSS {before} KiB, at most {most} KiB");
    assert!(most - before < 32 << 10, "{before} KiB to {most} KiB");
    terminal.wait_for("the-end").await;
    assert!(terminal.screen.len() < 16 << 20, "{} bytes", terminal.screen.len());
}

/// xterm.js loses characters that come in two pieces, one of them in a picture.
#[actix_web::test]
async fn a_picture_ends_with_a_whole_character() {
    let server = Server::start().await;
    let script = r"stty raw -echo; printf 'a\346\227'; read -r; printf '\245 b'; sleep 1000";
    let id = server.api().run(script).await;
    let (mut first, _) = Terminal::attach(&server, &id, "").await;
    while first.offset < 3 {
        first.next().await;
    }
    let (mut second, attached) = Terminal::attach(&server, &id, "mode=ro").await;
    assert_eq!(attached["offset"], 1, "the whole character is still to come");
    assert_eq!(second.control("snapshot").await["offset"], 1);
    let Event::Bytes(picture) = second.next().await else { panic!("no picture") };
    assert!(picture.ends_with(b"a"), "{}", picture.escape_ascii());
    second.screen.clear();
    first.type_in("\n").await;
    second.wait_for("日 b").await;
    assert_eq!(second.text(), "日 b");
}

/// Every cell of the screen has colours of its own: 80 by 24 of them are longer than a picture
/// for a client that skips may be.
#[actix_web::test]
async fn a_picture_that_lacks_something_says_so() {
    let server = Server::start().await;
    let paint = r#"$| = 1; for my $y (1..24) { print "\e[$y;1H"; for my $x (1..80) {
        printf "\e[38;2;%d;%d;100;48;2;%d;%d;200m%d", 100+$x, 100+$y, 100+$y, 100+$x, $x % 10 } }
        print "\e[m\e[20;1Hpainted"; sleep 1000"#;
    let session = server.api().create(json!({ "command": ["perl", "-e", paint] })).await;
    let id = session["id"].as_str().unwrap();
    let shown = format!("/api/v1/sessions/{id}/screen?wait=text:painted&format=json");
    let whole = server.api().get(&shown).await.ok(200);
    for (query, limit, complete) in [("", 512 << 10, true), ("lag=skip", 64 << 10, false)] {
        let (mut terminal, _) = Terminal::attach(&server, id, query).await;
        let snapshot = terminal.control("snapshot").await;
        assert_eq!(snapshot["complete"], complete, "{query}: {snapshot}");
        let Event::Bytes(bytes) = terminal.next().await else { panic!("no picture") };
        assert!(bytes.len() == snapshot["length"] && bytes.len() <= limit, "{}", bytes.len());
        let screen = Screen::restore(80, 24, Options::default(), &bytes);
        let lines: Vec<_> = screen.view(0).lines().map(|line| json!(line.runs)).collect();
        let same = |y: usize| lines[y] == whole["lines"][y];
        assert!(same(19) && same(18) && same(23), "{query}: what is near the cursor is whole");
        assert_eq!(same(0), complete, "{query}: what is far from it may lack its colours");
        assert!(screen.view(0).text().starts_with("1234567890"), "{query}: and has its text");
    }
}
