//! Screens against xterm.js, an independent implementation: recorded programs and random
//! sequences are cut at random places, and a terminal that starts from the snapshot there
//! must be the same as one that saw everything, at the cut and at the end.
//!
//! Needs Node.js and `npm ci` in `tests/fidelity`; says so and skips where they are missing,
//! unless `STAYD_REQUIRE_FIDELITY` is set. `STAYD_FIDELITY_CUTS`, `STAYD_FIDELITY_STREAMS` and
//! `STAYD_FIDELITY_SEED` make it longer or another; the seed is printed.
//!
//! Of programs every cut must be identical (`compare` in `terminal.mjs` says what is let pass
//! after resizes, and why). Of random sequences some are not, for want of a sequence that
//! brings about the same:
//!
//! - A character set in use that DECRC brought back and that is neither designated nor saved
//!   any more.
//! - A combining mark after a wide character that was dropped at the edge, autowrap being off.
//! - On a screen of one line, the gap before a wide character that wrapped: the line above is
//!   out of reach.
//! - A whole line of empty cells that have attributes other than a background.
//! - A cursor outside the margins in origin mode, after leaving the alternate screen.
//! - Underline or link that the pen does not use, when the saved cursor has one too.
#![allow(clippy::print_stdout)] // The table is what one runs this for.

use stayd::screen::{Options, Screen};
use std::process::Command;

pub(crate) mod generate;
pub(crate) mod xterm;
use generate::Random;
use xterm::{
    Cut, Played, boundary, compare, home, is_installed, number, random_cuts, report, streams,
};

const SCROLLBACK: usize = 1000;

struct Case {
    name: String,
    cols: u16,
    rows: u16,
    stream: Vec<u8>,
    resizes: Vec<(usize, u16, u16)>,
    cuts: Vec<usize>,
    /// A restored screen must write itself down as the first did.
    exact: bool,
}

/// Plays a case to a screen, and writes it down at each cut.
fn play(case: Case) -> Played {
    let options = Options { scrollback: SCROLLBACK };
    let mut screen = Screen::new(case.cols, case.rows, options);
    let mut resizes = case.resizes.iter().peekable();
    let mut at = 0;
    let mut cuts = Vec::new();
    let events = &mut Vec::new();
    for &cut in &case.cuts {
        while let Some((when, cols, rows)) = resizes.next_if(|(when, ..)| *when < cut) {
            screen.feed(&case.stream[at..*when], events);
            screen.resize(*cols, *rows);
            at = *when;
        }
        screen.feed(&case.stream[at..cut], events);
        at = cut;
        let snapshot = screen.snapshot(SCROLLBACK, usize::MAX);
        let (cols, rows) = screen.size();
        let again = Screen::restore(cols, rows, options, &snapshot.bytes);
        let again = again.snapshot(SCROLLBACK, usize::MAX);
        if case.exact {
            assert!(
                again.bytes == snapshot.bytes,
                "{} at {cut}: a restored screen writes itself down differently",
                case.name
            );
        }
        // A resize lies between whole characters; a cut does not have to.
        let last_resize =
            case.resizes.iter().map(|r| r.0).filter(|when| *when < cut).max().unwrap_or(0);
        let partial = snapshot.partial.min(cut - last_resize);
        let mut snapshot = snapshot.bytes;
        snapshot.truncate(snapshot.len() - partial);
        // The other side takes a cut where a resize is for one before it.
        if cut - partial > last_resize || last_resize == 0 {
            cuts.push(Cut { at: cut - partial, cols, rows, snapshot });
        }
    }
    let Case { name, cols, rows, stream, resizes, .. } = case;
    Played { name, cols, rows, scrollback: SCROLLBACK, stream, resizes, cuts }
}

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
            Case { name, cols, rows, stream, resizes: Vec::new(), cuts, exact: true }
        })
        .map(play)
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
        let mut resizes: Vec<_> = random_cuts(&mut random, stream.len(), 6)
            .into_iter()
            .map(|at| {
                (boundary(&stream, at), 20 + random.below(120) as u16, 5 + random.below(50) as u16)
            })
            .collect();
        resizes.dedup_by_key(|resize| resize.0);
        let cuts = random_cuts(&mut random, stream.len(), count);
        cases.push(play(Case { name, cols, rows, stream, resizes, cuts, exact: false }));
    }
    let differences = report(&compare(&cases));
    assert_eq!(differences, 0, "cuts that differ");
}

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
            let mut random = Random::new(seed.wrapping_mul(1000) + n);
            let (cols, rows) = (2 + random.below(60) as u16, 1 + random.below(20) as u16);
            let stream = generate::stream(&mut random, 4000);
            let cuts = random_cuts(&mut random, stream.len(), 50);
            Case {
                name: format!("random {n} {cols}x{rows}"),
                cols,
                rows,
                stream,
                resizes: Vec::new(),
                cuts,
                exact: false,
            }
        })
        .map(play)
        .collect();
    let answers = compare(&cases);
    let differences = report(&answers);
    let total = streams as usize * 50;
    println!("{differences} of {total} cuts differ");
    // 2 to 6 in a hundred by the seed, for the reasons above; more is a fault.
    assert!(differences * 10 <= total, "too many cuts differ");
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
