//! Runs the targets. Each input is a seed of `corpus/`, changed at random; the same
//! `STAYD_FUZZ_SEED` gives the same inputs in the same order. Built with `--cfg fuzzing`, libFuzzer
//! makes the inputs and looks at what they reach.

#![cfg_attr(fuzzing, allow(dead_code))]
// A failed test shows what it has printed.
#![allow(clippy::print_stderr)]

use nix::time::{ClockId, clock_gettime};
use proptest::prelude::*;
use proptest::sample::Index;
use proptest::test_runner::{Config, RngAlgorithm, TestCaseError, TestError, TestRng, TestRunner};
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

/// The longest input, in bytes.
const INPUT_MAX: usize = 16 << 10;
/// The most CPU time for one input, in a debug build on a slow machine.
const TIME_MAX: Duration = Duration::from_secs(10);
/// The duration of a target's run unless `STAYD_FUZZ_SECONDS` says another.
const SECONDS: f64 = 0.5;

/// A test that gives bytes to a function, which panics if it finds something wrong.
macro_rules! target {
    ($name:ident, $target:expr) => {
        #[test]
        fn $name() {
            #[cfg(fuzzing)]
            bolero::check!().for_each(|bytes: &[u8]| $target(bytes));
            #[cfg(not(fuzzing))]
            crate::fuzz::run(stringify!($name), $target);
        }
    };
}
pub(crate) use target;

/// Gives all seeds of a target to it, and then changed ones until the time is over, or until there
/// were as many as `STAYD_FUZZ_INPUTS` says.
pub(crate) fn run(name: &str, target: impl Fn(&[u8])) {
    let variable = |name: &str| std::env::var(name).ok();
    let seed =
        variable("STAYD_FUZZ_SEED").and_then(|seed| seed.parse().ok()).unwrap_or_else(|| {
            SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |now| now.as_nanos() as u64)
        });
    let seconds = variable("STAYD_FUZZ_SECONDS").and_then(|seconds| seconds.parse().ok());
    let limit = Duration::from_secs_f64(seconds.unwrap_or(SECONDS));
    let most = variable("STAYD_FUZZ_INPUTS").and_then(|count| count.parse().ok());
    let most: u64 = most.unwrap_or(u64::MAX);
    let corpus = corpus(name);
    for (path, bytes) in &corpus {
        eprintln!("{}", path.display());
        timed(&target, bytes);
    }
    eprintln!("STAYD_FUZZ_SEED={seed}");
    let mut words = [0; 32];
    words[..8].copy_from_slice(&seed.to_le_bytes());
    let rng = TestRng::from_seed(RngAlgorithm::ChaCha, &words);
    let mut runner = TestRunner::new_with_rng(Config::default(), rng);
    let seeds: Vec<Vec<u8>> = corpus.into_iter().map(|(_, bytes)| bytes).collect();
    let inputs = inputs(seeds);
    let (start, mut count) = (Instant::now(), 0);
    while count < most && start.elapsed() < limit {
        let tree = inputs.new_tree(&mut runner).expect("an input");
        let test = |bytes: Vec<u8>| {
            timed(&target, &bytes);
            Ok::<(), TestCaseError>(())
        };
        // Makes an input that fails smaller, as long as it fails.
        if let Err(TestError::Fail(why, bytes)) = runner.run_one(tree, test) {
            let input = bytes.escape_ascii();
            panic!("{name}, STAYD_FUZZ_SEED={seed}, input {count}: {why}\n{input}");
        }
        count += 1;
    }
    eprintln!("{count} inputs");
}

/// Checks that an input takes little time, whatever else the machine does.
fn timed(target: &impl Fn(&[u8]), bytes: &[u8]) {
    let now = || clock_gettime(ClockId::CLOCK_THREAD_CPUTIME_ID).map_or(Duration::ZERO, Into::into);
    let before: Duration = now();
    target(bytes);
    let took = now().saturating_sub(before);
    assert!(took < TIME_MAX, "{took:?}: {}", bytes.escape_ascii());
}

/// The files of `corpus/NAME`, by name.
fn corpus(name: &str) -> Vec<(PathBuf, Vec<u8>)> {
    let here = Path::new(env!("CARGO_MANIFEST_DIR"));
    let folder = here.ancestors().map(|above| above.join("tests/fuzz/corpus").join(name));
    let folder = folder.into_iter().find(|folder| folder.is_dir()).expect(name);
    let files = std::fs::read_dir(folder).expect(name);
    let mut paths: Vec<PathBuf> = files.map(|file| file.expect(name).path()).collect();
    paths.sort();
    assert!(!paths.is_empty(), "{name} has no seeds");
    paths.into_iter().map(|path| (path.clone(), std::fs::read(path).expect(name))).collect()
}

/// One change of an input. Places are relative, so that a change fits inputs of any length.
#[derive(Clone, Debug)]
enum Change {
    Flip(Index, u8),
    Insert(Index, Vec<u8>),
    Word(Index, &'static str),
    /// Replaces the letters and digits at a place.
    Token(Index, &'static str),
    Number(Index, u64, usize),
    Remove(Index, Index),
    Repeat(Index, Index, usize),
    /// Takes a part of another seed.
    Splice(Index, Index, Index, Index),
    Cut(Index),
}

/// What parsers stumble over.
const WORDS: [&str; 42] = [
    "0",
    "-1",
    "-0",
    "1e400",
    "1.5",
    "65535",
    "65536",
    "+10000",
    "-1000",
    "4294967296",
    "9223372036854775807",
    "9223372036854775808",
    "18446744073709551615",
    "18446744073709551616",
    "null",
    "true",
    "\"\"",
    "\"",
    "\\",
    "\\u0000",
    "\\ud800",
    "{",
    "}",
    "[",
    "]",
    "[[[[[[[[[[[[[[[[",
    ":",
    ",",
    "=",
    "&",
    "%00",
    "%ff",
    ";",
    "\r\n",
    "\n",
    " ",
    "\0",
    "\u{202e}",
    "é",
    "\u{1f469}\u{200d}\u{1f469}",
    "\x1b[",
    "\x1b]",
];

fn inputs(seeds: Vec<Vec<u8>>) -> impl Strategy<Value = Vec<u8>> {
    let index = any::<Index>;
    let change = prop_oneof![
        (index(), 1..=u8::MAX).prop_map(|(at, bits)| Change::Flip(at, bits)),
        (index(), prop::collection::vec(any::<u8>(), 1..8))
            .prop_map(|(at, bytes)| Change::Insert(at, bytes)),
        (index(), prop::sample::select(&WORDS[..])).prop_map(|(at, word)| Change::Word(at, word)),
        (index(), prop::sample::select(&WORDS[..])).prop_map(|(at, word)| Change::Token(at, word)),
        (index(), prop_oneof![Just(0), Just(u64::MAX), Just(1 << 63), any::<u64>()], 0..4usize)
            .prop_map(|(at, number, width)| Change::Number(at, number, 1 << width)),
        (index(), index()).prop_map(|(from, to)| Change::Remove(from, to)),
        (index(), index(), 2..40usize).prop_map(|(from, to, n)| Change::Repeat(from, to, n)),
        (index(), index(), index(), index())
            .prop_map(|(at, seed, from, to)| Change::Splice(at, seed, from, to)),
        index().prop_map(Change::Cut),
    ];
    // Often few changes: after many hardly anything is valid any more.
    let count = prop_oneof![3 => 0..4usize, 1 => 4..12usize];
    let changes = count.prop_flat_map(move |count| prop::collection::vec(change.clone(), count));
    (index(), changes).prop_map(move |(seed, changes)| {
        let mut bytes = seed.get(&seeds).clone();
        for change in changes {
            apply(&mut bytes, change, &seeds);
            bytes.truncate(INPUT_MAX);
        }
        bytes
    })
}

fn apply(bytes: &mut Vec<u8>, change: Change, seeds: &[Vec<u8>]) {
    let place = |at: Index, length: usize| at.index(length + 1);
    let range = |from: Index, to: Index, length: usize| {
        let (from, to) = (place(from, length), place(to, length));
        from.min(to)..from.max(to)
    };
    let length = bytes.len();
    match change {
        Change::Flip(at, bits) => {
            bytes.get_mut(place(at, length)).into_iter().for_each(|byte| *byte ^= bits)
        }
        Change::Insert(at, more) => drop(bytes.splice(place(at, length)..place(at, length), more)),
        Change::Word(at, word) => {
            drop(bytes.splice(place(at, length)..place(at, length), word.bytes()))
        }
        Change::Token(at, word) => {
            let is_part = u8::is_ascii_alphanumeric;
            let begun = bytes[..place(at, length)].iter().rev().take_while(|byte| is_part(byte));
            let start = place(at, length) - begun.count();
            let token = bytes[start..].iter().take_while(|byte| is_part(byte)).count();
            bytes.splice(start..start + token, word.bytes());
        }
        Change::Number(at, number, width) => {
            let number = number.to_le_bytes().into_iter().take(width);
            bytes
                .iter_mut()
                .skip(place(at, length))
                .zip(number)
                .for_each(|(byte, new)| *byte = new);
        }
        Change::Remove(from, to) => drop(bytes.drain(range(from, to, length))),
        Change::Repeat(from, to, times) => {
            let part = range(from, to, length);
            let times = times.min(INPUT_MAX / part.len().max(1));
            let repeated = bytes[part.clone()].repeat(times);
            bytes.splice(part, repeated);
        }
        Change::Splice(at, seed, from, to) => {
            let other = seed.get(seeds);
            let part = other[range(from, to, other.len())].to_vec();
            bytes.splice(place(at, length)..place(at, length), part);
        }
        Change::Cut(at) => bytes.truncate(place(at, length)),
    }
}
