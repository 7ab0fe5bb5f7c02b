//! Who sits at the terminals: each compares all that it sees with what must be there.

use super::chance::Chance;
use super::client::{Client, Got};
use super::stream::{BLOCK, Stream, locate};
use super::world::World;

/// Output of the present ring that a client can certainly go on in, in bytes.
const RESUMABLE: u64 = (2 << 20) - (64 << 10);
/// More than any message of output: one of them does not bring the straggler to the front.
const MESSAGE_MAX: u64 = 64 << 10;
/// Blocks of lines that are asked for at once: they fit into the ring, however long somebody is away.
const BLOCKS: u64 = 16;
/// Typed bytes that may be on their way at once.
const UNECHOED: u64 = 24 << 10;

/// What somebody has seen.
#[derive(Debug, Default)]
pub(super) struct Seen {
    pub(super) bytes: u64,
    pub(super) reconnects: u64,
    pub(super) skipped: u64,
}

/// Output that is compared with the stream, and with the line that ends it.
struct Comparison {
    who: &'static str,
    stream: Stream,
    end: Vec<u8>,
}

impl Comparison {
    fn new(who: &'static str) -> Self {
        Comparison { who, stream: Stream::new(), end: Vec::new() }
    }

    fn add(&mut self, bytes: &[u8]) {
        if !self.end.is_empty() {
            return self.end.extend(bytes);
        }
        if let Err(difference) = self.stream.matches(bytes) {
            let rest = difference.rest(bytes);
            assert!(
                b"END ".starts_with(&rest[..rest.len().min(4)]),
                "{}: {}",
                self.who,
                difference.explain(bytes)
            );
            self.end.extend(rest);
        }
    }

    /// The stream ended here, and the program says the same.
    fn finish(&self, count: impl Fn(u64) -> u64) {
        let end = format!("END {}\n", count(self.stream.offset()));
        assert_eq!(String::from_utf8_lossy(&self.end), end, "{}", self.who);
    }
}

fn lines(offset: u64) -> u64 {
    let (line, rest) = locate(offset);
    assert_eq!(rest, 0, "the stream ended within line {line}");
    line
}

/// Takes what happens next where nothing may be missing. Returns whether the program has ended, which it may
/// once it was told to stop.
async fn takes_all(
    world: &World,
    client: &mut Client,
    comparison: &mut Comparison,
    stopped: bool,
) -> bool {
    match client.next().await {
        Got::Output(bytes) => {
            comparison.add(&bytes);
            world.leads(client.offset);
        }
        Got::Skipped { from, to } => panic!("lost: {} bytes from {from} on", to - from),
        Got::Exit(exit) => {
            assert_eq!((&exit["code"], stopped), (&0.into(), true), "{exit}");
            return true;
        }
        Got::News => {}
    }
    false
}

/// Always sees the printer's output first. Nothing may be kept from it.
pub(super) async fn leader(world: &World, mut client: Client) -> Seen {
    let mut comparison = Comparison::new("leader");
    client.type_in(b"go\n").await;
    let mut stopped = false;
    loop {
        if world.over.get() && !stopped {
            stopped = true;
            client.type_in(b"stop\n").await;
        }
        if let Some((cols, rows)) = world.resize.take() {
            client.resize(cols, rows).await;
        }
        if takes_all(world, &mut client, &mut comparison, stopped).await {
            break;
        }
    }
    comparison.finish(lines);
    world.leads(u64::MAX);
    Seen { bytes: client.offset, reconnects: client.reconnects(), skipped: 0 }
}

/// Asks for more whenever it has seen what it asked for. Nothing may be kept from it, however long it is away.
pub(super) async fn asker(world: &World, mut client: Client) -> Seen {
    let mut comparison = Comparison::new("asker");
    let (mut asked, mut stopped) = (0, false);
    loop {
        if world.over.get() && !stopped {
            stopped = true;
            client.type_in(b"stop\n").await;
        }
        let (line, _) = locate(comparison.stream.offset());
        while !stopped && asked - line / BLOCK < BLOCKS {
            asked += 1;
            client.type_in(b"more\n").await;
        }
        if takes_all(world, &mut client, &mut comparison, stopped).await {
            break;
        }
    }
    comparison.finish(lines);
    assert_eq!(lines(comparison.stream.offset()), asked * BLOCK, "each was typed once");
    world.leads(u64::MAX);
    Seen { bytes: client.offset, reconnects: client.reconnects(), skipped: 0 }
}

/// Acknowledges too, but never comes before the leader, and falls asleep now and then. It
/// may be passed over, but only if the ring has certainly run over what it wants.
pub(super) async fn straggler(world: &World, mut client: Client, mut chance: Chance) -> Seen {
    let mut comparison = Comparison::new("straggler");
    let mut seen = Seen::default();
    loop {
        let behind = if chance.one_in(2000) { 3 << 20 } else { chance.below(64 << 10) };
        world.lead_passes(client.offset + MESSAGE_MAX + behind).await;
        match client.next().await {
            Got::Output(bytes) => {
                seen.bytes += bytes.len() as u64;
                comparison.add(&bytes);
            }
            Got::Skipped { from, to } => {
                assert!(to - from > RESUMABLE, "skipped from {from} to {to} without need");
                seen.skipped += 1;
                // The program does not end before its last line is within the ring.
                comparison.stream.seek(to);
            }
            Got::Exit(_) => break,
            Got::News => {}
        }
    }
    comparison.finish(lines);
    Seen { reconnects: client.reconnects(), ..seen }
}

/// Types the stream into a program that gives it back.
pub(super) async fn typist(world: &World, mut client: Client, mut chance: Chance) -> Seen {
    let mut greeting = Vec::from(*b"ready\n");
    let mut typed = Stream::new();
    let mut comparison = Comparison::new("typist");
    let mut stopped = false;
    loop {
        if world.over.get() && !stopped {
            stopped = true;
            client.type_in(b"\0").await;
        }
        let under_way = typed.offset() - comparison.stream.offset();
        if greeting.is_empty() && !stopped && under_way < UNECHOED {
            let length = chance.pick(&[1, 1, 3, 80, 80, 1000, 5000, 20_000]);
            client.type_in(typed.take(length)).await;
            world.typed.notify_waiters();
            if chance.one_in(3) {
                continue;
            }
        }
        match client.next().await {
            Got::Output(bytes) => {
                let greeted = greeting.len().min(bytes.len());
                assert_eq!(bytes[..greeted], greeting[..greeted]);
                greeting.drain(..greeted);
                comparison.add(&bytes[greeted..]);
            }
            Got::Skipped { from, to } => panic!("lost: {} bytes of echo from {from} on", to - from),
            Got::Exit(exit) => {
                assert_eq!((&exit["code"], stopped), (&0.into(), true), "{exit}");
                break;
            }
            Got::News => {}
        }
    }
    assert_eq!(comparison.stream.offset(), typed.offset());
    comparison.finish(|offset| offset);
    Seen { bytes: typed.offset(), reconnects: client.reconnects(), skipped: 0 }
}
