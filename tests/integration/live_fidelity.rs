//! Screens against xterm.js through the whole server: recorded programs play on a real PTY,
//! and fresh clients come at random places, also after a SIGKILL of the server, after resizes,
//! after they were overtaken and where output was skipped. What each of them is shown is what
//! it would see had it been there all the time (`fidelity` says how that is compared, and
//! which variables make it longer).
#![allow(clippy::print_stdout)] // The table is what one runs this for.

use crate::fidelity::generate::Random;
use crate::fidelity::xterm::{
    Cut, Played, boundary, compare, is_installed, number, report, streams,
};
use crate::support::{Event, Server, Terminal};
use serde_json::json;
use std::collections::BTreeSet;
use std::fs::File;
use std::io::Write as _;

/// A program that prints what it is given.
struct Program {
    id: String,
    pipe: File,
    /// A client that has been there all the time.
    witness: Terminal,
    played: Played,
    /// How much of the stream the program was given.
    given: usize,
}

impl Program {
    async fn start(server: &Server, name: &str, size: (u16, u16), stream: Vec<u8>) -> Self {
        let path = server.state().join(format!("{name}.pipe"));
        nix::unistd::mkfifo(&path, nix::sys::stat::Mode::S_IRWXU).expect("a pipe");
        let script = "stty raw -echo; exec cat \"$0\"";
        let command = json!(["sh", "-c", script, path]);
        let body = json!({ "command": command, "cols": size.0, "rows": size.1 });
        let id = server.api().create(body).await["id"].as_str().unwrap().to_owned();
        // For reading too, or opening would wait for the program.
        let pipe = File::options().read(true).write(true).open(&path).expect("the pipe");
        let (witness, _) = Terminal::attach(server, &id, "client=witness").await;
        let played = Played {
            name: name.to_owned(),
            cols: size.0,
            rows: size.1,
            scrollback: 0,
            stream,
            resizes: Vec::new(),
            cuts: Vec::new(),
        };
        Program { id, pipe, witness, played, given: 0 }
    }

    fn give(&mut self, to: usize) {
        self.pipe.write_all(&self.played.stream[self.given..to]).expect("given");
        self.given = to;
    }

    /// Until the witness has all that was given, and it is what was given.
    async fn settle(&mut self) {
        let from = self.witness.offset as usize;
        self.witness.screen.clear();
        while self.witness.offset < self.given as u64 {
            match self.witness.next().await {
                Event::Bytes(_) => {}
                Event::Control(control)
                    if !matches!(control["type"].as_str(), Some("snapshot" | "resized")) => {}
                other => panic!("{}: {other:?}", self.played.name),
            }
        }
        assert!(self.witness.screen == self.played.stream[from..self.given], "lost or doubled");
    }

    async fn resize(&mut self, (cols, rows): (u16, u16)) {
        self.witness.say(json!({ "type": "resize", "cols": cols, "rows": rows })).await;
        let resized = self.witness.control("resized").await;
        assert_eq!((&resized["cols"], &resized["rows"]), (&json!(cols), &json!(rows)));
        assert_eq!(resized["offset"], self.given, "nothing is under way");
        self.played.resizes.push((self.given, cols, rows));
    }

    /// Reads what a client has been sent until it has all that was given; what it was shown
    /// is to be compared. Returns how often it was shown a picture.
    async fn watch(&mut self, viewer: &mut Viewer) -> usize {
        let mut pictures = 0;
        while viewer.terminal.offset < self.given as u64 || viewer.lacks_picture {
            match viewer.terminal.next().await {
                Event::Bytes(bytes) => {
                    let from = viewer.terminal.offset as usize - bytes.len();
                    let there = &self.played.stream[from..from + bytes.len()];
                    assert!(bytes == there, "{} at {from}: other output", self.played.name);
                }
                Event::Control(control) if control["type"] == "resized" => {
                    viewer.size = size_in(&control);
                }
                Event::Control(control) if control["type"] == "snapshot" => {
                    viewer.lacks_picture = false;
                    let Event::Bytes(snapshot) = viewer.terminal.next().await else {
                        panic!("no picture")
                    };
                    let at = viewer.terminal.offset as usize;
                    let (cols, rows) = viewer.size;
                    // Where a resize is, the snapshot may be from before it.
                    if self.played.resizes.last().is_none_or(|resize| resize.0 < at) {
                        let resized = self.played.resizes.len();
                        let by = "late";
                        self.played.cuts.push(Cut { at, resized, cols, rows, snapshot, by });
                    }
                    pictures += 1;
                }
                Event::Control(_) => {}
                other => panic!("{}: {other:?}", self.played.name),
            }
        }
        pictures
    }

    /// A client that has nothing is shown what there is.
    async fn look(&mut self, server: &Server) {
        let mut viewer = Viewer::attach(server, &self.id, "mode=ro", None).await;
        assert_eq!(self.watch(&mut viewer).await, 1);
        viewer.terminal.leave().await;
    }

    /// After a restart, a client goes on where it was.
    async fn resume(&mut self, server: &Server) {
        let query = format!("client=witness&session={}&offset={}", self.id, self.witness.offset);
        self.witness = Terminal::attach(server, &self.id, &query).await.0;
    }
}

/// A client that only looks, and the size of its terminal.
struct Viewer {
    terminal: Terminal,
    size: (u16, u16),
    /// Its output begins elsewhere than it wanted.
    lacks_picture: bool,
}

impl Viewer {
    /// With what it has already, or nothing.
    async fn attach(server: &Server, id: &str, query: &str, has: Option<usize>) -> Self {
        let has_query =
            has.map_or_else(String::new, |offset| format!("&session={id}&offset={offset}"));
        let (terminal, attached) =
            Terminal::attach(server, id, &(query.to_owned() + &has_query)).await;
        let lacks_picture = terminal.offset != has.unwrap_or(0) as u64;
        Viewer { terminal, size: size_in(&attached), lacks_picture }
    }
}

fn size_in(control: &serde_json::Value) -> (u16, u16) {
    let word = |name: &str| control[name].as_u64().unwrap() as u16;
    (word("cols"), word("rows"))
}

/// Offsets at which clients come, without the beginning, each once, in order.
fn places(random: &mut Random, length: usize, count: usize) -> Vec<usize> {
    let mut cuts = BTreeSet::new();
    while cuts.len() < count.min(length) {
        cuts.insert(1 + random.below(length));
    }
    cuts.into_iter().collect()
}

fn check(programs: Vec<Program>, scrollback: usize) {
    let played: Vec<_> = programs
        .into_iter()
        .map(|program| {
            let mut played = program.played;
            played.scrollback = scrollback;
            played.cuts.sort_by_key(|cut| cut.at);
            played
        })
        .collect();
    for played in played.iter().filter(|played| !played.resizes.is_empty()) {
        println!("{}: offset, columns, rows of resizes: {:?}", played.name, played.resizes);
    }
    let differences = report(&compare(&played));
    assert_eq!(differences, 0, "pictures that differ");
}

#[actix_web::test]
async fn a_client_that_comes_late_sees_the_same() {
    if !is_installed() {
        return;
    }
    let seed = number("STAYD_FIDELITY_SEED", 1);
    let count = number("STAYD_FIDELITY_CUTS", 200) as usize;
    println!("seed {seed}");
    let mut random = Random::new(seed ^ 0x11fe);
    let mut server = Server::start().await;
    let (mut programs, mut cuts) = (Vec::new(), Vec::new());
    for (name, cols, rows, stream) in streams() {
        cuts.push(places(&mut random, stream.len(), count));
        programs.push(Program::start(&server, &name, (cols, rows), stream).await);
    }
    let mut kills = 0;
    for round in 0..count {
        let dies = round % 10 == 4;
        for (program, cuts) in programs.iter_mut().zip(&cuts) {
            let Some(&cut) = cuts.get(round) else { continue };
            program.give(if dies { program.given.midpoint(cut) } else { cut });
        }
        if dies {
            // Wherever the server is with it; the rest comes while there is none.
            server.kill();
            for (program, cuts) in programs.iter_mut().zip(&cuts) {
                let Some(&cut) = cuts.get(round) else { continue };
                program.give(cut);
            }
            server.restart().await;
            kills += 1;
        }
        for (program, cuts) in programs.iter_mut().zip(&cuts) {
            if dies {
                program.resume(&server).await;
            }
            if cuts.get(round).is_none() {
                continue;
            }
            program.settle().await;
            program.look(&server).await;
            // Between two characters, as where the fidelity of resizes is compared.
            let between = boundary(&program.played.stream, program.given) == program.given;
            if between && random.below(20) == 0 {
                let size = (20 + random.below(120) as u16, 5 + random.below(50) as u16);
                if program.played.resizes.last().is_none_or(|&(_, c, r)| (c, r) != size) {
                    program.resize(size).await;
                }
            }
        }
    }
    println!("{kills} kills");
    check(programs, 1000);
}

/// All programs with this size, one after the other, and a log in colour several times: long
/// enough to be overtaken, with stretches of which nothing is left on the screen.
fn long_stream() -> Vec<u8> {
    let streams: Vec<_> = streams().into_iter().filter(|(_, cols, ..)| *cols == 80).collect();
    let mut long = Vec::new();
    for (name, .., stream) in &streams {
        long.extend(stream);
        // What a program leaves behind when it is killed is not what this is about.
        long.extend(b"\x18\x1b\\\x1bc");
        if name == "colorlog" {
            long.extend(stream.repeat(8));
        }
    }
    long
}

#[actix_web::test]
async fn a_client_that_was_overtaken_sees_the_same() {
    if !is_installed() {
        return;
    }
    let seed = number("STAYD_FIDELITY_SEED", 1);
    let count = number("STAYD_FIDELITY_CUTS", 200) as usize;
    println!("seed {seed}");
    let mut random = Random::new(seed ^ 0x51ac);
    let flags = ["--scrollback-lines=100", "--ring-bytes=262144"];
    let mut server = Server::start_with(&flags).await;
    let stream = long_stream();
    let cuts = places(&mut random, stream.len(), count);
    let mut program = Program::start(&server, "overtaken", (80, 24), stream).await;
    // One reads now and then and skips what it missed; the other comes back with an offset
    // that nobody has any more.
    let skipping = "mode=ro&lag=skip";
    let mut slow = Viewer::attach(&server, &program.id, skipping, None).await;
    let (mut overtaken, mut too_late, mut last) = (0, 0, 0);
    for (round, &cut) in cuts.iter().enumerate() {
        let dies = round % 10 == 4;
        if dies {
            // Several batches of output for one look, so that much of it is skipped; the ring
            // takes no more than that while nobody reads.
            let to = cut.min(program.given + 150_000);
            server.kill();
            program.give(to);
            server.restart().await;
            program.resume(&server).await;
            program.settle().await;
            program.look(&server).await;
            slow = Viewer::attach(&server, &program.id, skipping, None).await;
        }
        while program.given < cut {
            // Less than what holds the program back.
            program.give(cut.min(program.given + 65_536));
            program.settle().await;
        }
        if round % 3 == 2 {
            overtaken += program.watch(&mut slow).await;
        }
        let mut back = Viewer::attach(&server, &program.id, "mode=ro", Some(last)).await;
        too_late += program.watch(&mut back).await;
        last = cut.saturating_sub(400_000);
    }
    program.watch(&mut slow).await;
    println!("{overtaken} overtaken, {too_late} came back too late");
    assert!(overtaken > 0 && too_late > 0, "nobody was overtaken");
    check(vec![program], 100);
}
