//! Screens against xterm.js, an independent implementation: recorded programs, random sequences
//! and single cases are cut at random places, most with random resizes. Three screens are compared
//! with one that saw everything: a terminal that starts from the snapshot at a cut, there and at
//! the end; the server's own screen; and that screen after it was folded into its snapshot and
//! unfolded at every cut, as after an idle time.
//!
//! Needs Node.js and `npm ci` in `tests/fidelity`; says so and skips where they are missing,
//! unless `STAYD_REQUIRE_FIDELITY` is set. `STAYD_FIDELITY_CUTS`, `STAYD_FIDELITY_STREAMS` and
//! `STAYD_FIDELITY_SEED` make it longer or another; the seed is printed.
//!
//! Everything must be identical but what is listed here and in `terminal.mjs`. A snapshot lacks
//! what no sequence brings about (`adopt` in `terminal.mjs` names each and gives it to the reader,
//! so that what follows is compared too). xterm.js is put right where its outcome is an accident
//! (`putRight` and `resize`). And stayd bounds what a program may ask for:
//!
//! - REP repeats at most 16,384 characters; more only move the cursor along its line.
//! - Titles are cut at 4,096 bytes; links (OSC 8) of more than 4,096 bytes are none, nor are more
//!   than 8,191 at a time; at most 32 code points are in a cell, and 65,535 different such groups.
//! - Strings (OSC, DCS) of more than 64 KiB mean nothing.
//! - A cursor saved more than 4,096 lines below the oldest that a snapshot has is on the last.
#![allow(clippy::print_stdout)] // The table is what one runs this for.

use stayd::screen::{Options, Screen};
use std::process::Command;

pub(crate) mod case;
pub(crate) mod generate;
pub(crate) mod xterm;
use case::{Case, Step};
use generate::Random;
use xterm::{compare, home, is_installed, kind, number, random_cuts, report, streams};

const SCROLLBACK: usize = 1000;

#[test]
fn programs_look_the_same_from_any_moment_on() {
    if !is_installed() {
        return;
    }
    let seed = number("STAYD_FIDELITY_SEED", 1);
    println!("seed {seed}");
    let mut random = Random::new(seed);
    let count = number("STAYD_FIDELITY_CUTS", 200) as usize;
    let cases: Vec<_> = streams()
        .into_iter()
        .map(|(name, cols, rows, stream)| {
            let cuts = random_cuts(&mut random, stream.len(), count);
            let case = Case::new(name, (cols, rows), SCROLLBACK, &stream, &[], &cuts);
            Case { exact: true, ..case }.play()
        })
        .collect();
    let differences = report(&compare(&cases));
    assert_eq!(differences, 0, "cuts that differ");
}

#[test]
fn programs_look_the_same_after_resizes() {
    if !is_installed() {
        return;
    }
    let seed = number("STAYD_FIDELITY_SEED", 1);
    println!("seed {seed}");
    let mut random = Random::new(seed ^ 0x7e57);
    let count = number("STAYD_FIDELITY_CUTS", 200) as usize / 4;
    let mut cases = Vec::new();
    for (name, cols, rows, stream) in streams() {
        let size = (cols, rows);
        let counts = (6, count);
        let case = Case::with_resizes(&mut random, name, size, SCROLLBACK, &stream, counts);
        cases.push(case.play());
    }
    let differences = report(&compare(&cases));
    assert_eq!(differences, 0, "cuts that differ");
}

#[derive(serde::Deserialize)]
struct Recorded {
    why: String,
    cols: u16,
    rows: u16,
    scrollback: usize,
    cuts: Vec<usize>,
    resizes: Vec<(usize, u16, u16)>,
    /// It is in the list above.
    #[serde(default)]
    deviates: bool,
}

/// `tests/fidelity/cases`: output in a `.bin` file, and the rest in a `.json` file.
#[test]
fn every_case_looks_the_same_from_its_cut_on() {
    if !is_installed() {
        return;
    }
    let mut cases = std::collections::BTreeMap::new();
    for entry in std::fs::read_dir(home().join("cases")).unwrap() {
        let path = entry.unwrap().path();
        if path.extension().is_some_and(|extension| extension == "json") {
            let recorded: Recorded =
                serde_json::from_slice(&std::fs::read(&path).unwrap()).unwrap();
            let name = path.file_stem().unwrap().to_str().unwrap().to_owned();
            cases.insert(name, (recorded, std::fs::read(path.with_extension("bin")).unwrap()));
        }
    }
    assert!(!cases.is_empty());
    let played = cases.iter().map(|(name, (case, stream))| {
        let Recorded { cols, rows, scrollback, cuts, resizes, .. } = case;
        Case::new(name.clone(), (*cols, *rows), *scrollback, stream, resizes, cuts).play()
    });
    let answers = compare(&played.collect::<Vec<_>>());
    report(&answers);
    for (name, (case, _)) in &cases {
        let same = !answers[name].iter().any(xterm::Answer::differs);
        assert_eq!(same, !case.deviates, "{name}: {}", case.why);
    }
}

/// Random cases, one in two of them with resizes, compared; the least of each that differs is
/// printed.
#[test]
fn random_sequences_look_the_same_from_any_moment_on() {
    if !is_installed() {
        return;
    }
    let seed = number("STAYD_FIDELITY_SEED", 1);
    println!("seed {seed}");
    let streams = number("STAYD_FIDELITY_STREAMS", 40);
    let cases: Vec<_> = (0..streams)
        .map(|n| {
            let mut random = Random::new(seed.wrapping_mul(1_000_000) + n);
            let (cols, rows) = (2 + random.below(60) as u16, 1 + random.below(20) as u16);
            // Little scrollback is full sooner.
            let scrollback = [SCROLLBACK, 3, 40][random.below(3)];
            let resizes = if n % 2 == 0 { 0 } else { 30 };
            let steps = generate::steps(&mut random, 700, (cols, rows), resizes);
            let name = format!("random {n} {cols}x{rows}");
            Case { name, cols, rows, scrollback, steps, exact: false }
        })
        .collect();
    let count = |wanted: fn(&Step) -> bool| -> usize {
        cases.iter().map(|case| case.steps.iter().filter(|step| wanted(step)).count()).sum()
    };
    let (cuts, resizes) =
        (count(|step| *step == Step::Cut), count(|step| matches!(step, Step::Resize(..))));
    let differences = differing(&cases);
    println!("{streams} streams, {cuts} cuts, {resizes} resizes: {differences} differ");
    assert_eq!(differences, 0, "cuts that differ");
}

/// Compares cases, and shows the least of each that differs. Answers how many cuts differ.
fn differing(cases: &[Case]) -> usize {
    let answers = compare(&cases.iter().cloned().map(Case::play).collect::<Vec<_>>());
    let mut differences = report(&answers);
    for case in cases {
        let Some(answer) = answers[&case.name].iter().find(|answer| answer.differs()) else {
            continue;
        };
        let least = case.clone().shrunk(answer);
        println!("{}, shrunk: {least}", kind(answer));
        let played = least.play();
        for cut in &played.cuts {
            println!("{} at {}: \"{}\"", cut.by, cut.at, cut.snapshot.escape_ascii());
        }
        report(&compare(&[played]));
    }
    let again: Vec<_> =
        cases.iter().filter_map(|case| case.foldable(&answers[&case.name])).collect();
    if differences == 0 && !again.is_empty() {
        println!("without the cuts at which no sequence brings about everything:");
        differences += differing(&again);
    }
    differences
}

#[test]
fn every_character_is_as_wide_as_in_the_browser() {
    if !is_installed() {
        return;
    }
    let output = Command::new("node").arg(home().join("widths.mjs")).output().expect("node runs");
    assert!(output.status.success());
    let runs: Vec<(u32, u16)> = serde_json::from_slice(&output.stdout).unwrap();
    let mut screen = Screen::new(80, 24, Options { scrollback: 0 });
    for (at, (first, width)) in runs.iter().enumerate() {
        let end = runs.get(at + 1).map_or(0x11_0000, |run| run.0);
        for c in (*first..end).filter_map(char::from_u32).filter(|c| *c != '\u{feff}') {
            // After a letter, so that what joins has something to join.
            screen.feed(format!("\ra{c}").as_bytes(), &mut Vec::new());
            assert_eq!(screen.cursor().x, 1 + width, "{c:?}");
        }
    }
}
