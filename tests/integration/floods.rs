//! A flood is looked through and skipped, not emulated. Whoever comes amid it, after a resize, after
//! the server was killed, sees what is seen by emulating every byte.

use crate::support::{Event, Server, Terminal, soon};
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use serde_json::{Value, json};
use stayd::screen::{Options, Screen};
use std::collections::VecDeque;

/// A part of the output, or a new size, that the witness has and has not applied yet.
enum Step {
    Bytes(Vec<u8>),
    Resize(u16, u16),
}

/// A client that gets every byte, and a screen that emulates each.
struct Witness {
    terminal: Terminal,
    screen: Screen,
    steps: VecDeque<Step>,
    /// The offset up to which the screen has come.
    at: u64,
}

impl Witness {
    async fn attach(server: &Server, id: &str, options: Options) -> Witness {
        let (terminal, attached) = Terminal::attach(server, id, "client=witness").await;
        let (cols, rows) = size(&attached);
        Witness {
            terminal,
            screen: Screen::new(cols, rows, options),
            steps: VecDeque::new(),
            at: 0,
        }
    }

    /// Goes on where it was, after the server was killed.
    async fn attach_again(&mut self, server: &Server, id: &str) {
        let query = format!("client=witness&session={id}&offset={}", self.terminal.offset);
        self.terminal = Terminal::attach(server, id, &query).await.0;
    }

    async fn take(&mut self) {
        match self.terminal.next().await {
            Event::Bytes(bytes) => self.steps.push_back(Step::Bytes(bytes.to_vec())),
            Event::Control(control) if control["type"] == "resized" => {
                let (cols, rows) = size(&control);
                self.steps.push_back(Step::Resize(cols, rows));
            }
            Event::Control(control) => {
                assert_ne!(control["type"], "snapshot", "the witness was overtaken");
            }
            end => panic!("{end:?}"),
        }
    }

    async fn take_to(&mut self, offset: u64) {
        while self.terminal.offset < offset {
            self.take().await;
        }
    }

    /// Brings the screen to this offset, and to this size if that was changed right there.
    async fn show(&mut self, offset: u64, size: (u16, u16)) -> &Screen {
        self.take_to(offset).await;
        loop {
            let left = usize::try_from(offset - self.at).expect("it is not past the offset");
            match self.steps.front_mut() {
                Some(Step::Bytes(bytes)) if left > 0 => {
                    let rest = bytes.split_off(left.min(bytes.len()));
                    self.screen.feed(bytes, &mut Vec::new());
                    self.at += bytes.len() as u64;
                    *bytes = rest;
                    if bytes.is_empty() {
                        self.steps.pop_front();
                    }
                }
                Some(Step::Resize(cols, rows)) if left > 0 || self.screen.size() != size => {
                    self.screen.resize(*cols, *rows);
                    self.steps.pop_front();
                }
                _ if left == 0 && self.screen.size() == size => return &self.screen,
                _ => self.take().await,
            }
        }
    }
}

fn size(control: &Value) -> (u16, u16) {
    let word = |name: &str| control[name].as_u64().expect("a size") as u16;
    (word("cols"), word("rows"))
}

/// Compares what a new client is shown with the witness's screen at the same offset.
async fn look(server: &Server, id: &str, options: Options, witness: &mut Witness) -> u64 {
    let query = "mode=ro&scrollback=100000";
    let (mut terminal, attached) = Terminal::attach(server, id, query).await;
    let mut shape = attached;
    let at = loop {
        match terminal.next().await {
            Event::Control(control) if control["type"] == "resized" => shape = control,
            Event::Control(control) if control["type"] == "snapshot" => break control,
            Event::Control(_) => {}
            other => panic!("before the snapshot: {other:?}"),
        }
    };
    let at = at["offset"].as_u64().expect("an offset");
    let (cols, rows) = size(&shape);
    let Event::Bytes(bytes) = terminal.next().await else { panic!("no snapshot") };
    terminal.leave().await;
    let seen = Screen::restore(cols, rows, options, &bytes);
    let whole = witness.show(at, (cols, rows)).await;
    let lines = seen.scrollback();
    // A snapshot for a client is bounded.
    let is_full = bytes.len() > 400 << 10;
    assert!(lines == whole.scrollback() || is_full, "{lines} of {}", whole.scrollback());
    let [seen, whole] = [&seen, whole].map(|screen| screen.snapshot(lines, usize::MAX).bytes);
    if seen != whole {
        let [seen, whole] = [seen, whole].map(|bytes| String::from_utf8_lossy(&bytes).into_owned());
        let differ = seen.lines().zip(whole.lines()).enumerate().find(|(_, (a, b))| a != b);
        panic!("at {at}, {cols} by {rows}, of {lines} lines: {differ:?}");
    }
    at
}

/// Coloured lines of many lengths, some of which wrap, and none with a sequence of another kind. For
/// each line of input there are so many that some are skipped, and not more than the ring holds:
/// however slow the machine is, the witness is not overtaken.
const FLOOD: &str = r#"for my $round (0 .. 9) { my $line = <STDIN>; $| = 0; for my $at (1 .. 30_000) {
    my $n = 30_000 * $round + $at; my $long = $n % 97 ? $n % 60 : 300;
    printf "\e[%dm%06d\e[%s %s é世\n", 30 + $n % 8, $n, $n % 3 ? "m" : "1;4;38;5;$n;48;2;1;2;3m", "x" x $long;
} $| = 1; print "end of $round"; } sleep 1000"#;

async fn witnessed(scrollback: usize) {
    let mut server = Server::start_with(&[&format!("--scrollback-lines={scrollback}")]).await;
    let options = Options { scrollback };
    let session = server.api().create(json!({ "command": ["perl", "-e", FLOOD] })).await;
    let id = session["id"].as_str().expect("an id").to_owned();
    let program = Pid::from_raw(session["pid"].as_i64().expect("a pid") as i32);
    let mut witness = Witness::attach(&server, &id, options).await;
    let mut looks = Vec::new();
    for round in 0..10u16 {
        witness.terminal.type_in("\n").await;
        witness.take_to(witness.terminal.offset + 50_000).await;
        if round % 3 == 1 {
            let size = json!({ "type": "resize", "cols": 60 + round * 9, "rows": 20 + round });
            witness.terminal.say(size).await;
        }
        if round % 3 == 2 {
            server.kill_and_restart().await;
            witness.attach_again(&server, &id).await;
        }
        // Wherever it is now; a flood may be over before a client has come.
        kill(program, Signal::SIGSTOP).expect("stopped");
        looks.push(look(&server, &id, options, &mut witness).await);
        kill(program, Signal::SIGCONT).expect("continued");
        let end = format!("end of {round}");
        while !witness.terminal.screen.ends_with(end.as_bytes()) {
            witness.take().await;
        }
        looks.push(look(&server, &id, options, &mut witness).await);
    }
    eprintln!("scrollback {scrollback}: looked at {looks:?}");
}

#[actix_web::test]
async fn whoever_looks_amid_a_flood_sees_every_byte_without_scrollback() {
    witnessed(0).await;
}

#[actix_web::test]
async fn whoever_looks_amid_a_flood_sees_every_byte_with_some_scrollback() {
    witnessed(100).await;
}

#[actix_web::test]
async fn whoever_looks_amid_a_flood_sees_every_byte_with_much_scrollback() {
    witnessed(10_000).await;
}

/// KiB that a process has mapped of rings.
fn mapped_of_rings(pid: i32) -> u64 {
    let smaps = std::fs::read_to_string(format!("/proc/{pid}/smaps")).expect("its mappings");
    let (mut is_ring, mut total) = (false, 0);
    for line in smaps.lines() {
        if let Some(resident) = line.strip_prefix("Rss:") {
            let kib = resident.trim().trim_end_matches(" kB").parse().unwrap_or(0);
            total += if is_ring { kib } else { 0 };
        } else if line.split_whitespace().next().is_some_and(|first| first.contains('-')) {
            is_ring = line.contains("stayd-ring");
        }
    }
    total
}

/// The holder has a ring's pages anyway, and they would count twice.
#[actix_web::test]
async fn a_flood_that_nobody_watches_maps_little_of_its_ring_into_the_server() {
    const LINES: u64 = 2_500_000;
    let server = Server::start_with(&["--ring-bytes", "16777216"]).await;
    let api = server.api();
    let id = api.run(&format!("seq -f %07.0f {LINES}; sleep 1000")).await;
    let mut most = 0;
    soon("the flood", async {
        while api.session(&id).await["offset"].as_u64() != Some(LINES * 9) {
            most = most.max(mapped_of_rings(server.pid()));
        }
    })
    .await;
    eprintln!("at most {most} KiB of 16 MiB were mapped");
    assert!(most > 0 && most < 2048, "{most} KiB");
}
