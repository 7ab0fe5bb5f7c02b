//! Screens against xterm.js, an independent implementation: recorded programs and random
//! sequences are cut at random places, and a terminal that starts from the snapshot there
//! must be the same as one that saw everything, at the cut and at the end.
//!
//! Needs Node.js and `npm ci` in `tests/fidelity`; says so and skips where they are missing,
//! unless `STAYD_REQUIRE_FIDELITY` is set. `STAYD_FIDELITY_CUTS` and `STAYD_FIDELITY_SEED` make it longer
//! or another; the seed is printed.

use std::collections::BTreeMap;
use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use serde::Deserialize;
use stayd::screen::{Options, Screen};

mod generate;
use generate::Random;

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

#[derive(Deserialize)]
struct Answer {
    name: String,
    cut: Option<usize>,
    #[serde(rename = "where")]
    place: Option<String>,
    #[serde(default)]
    differences: Vec<String>,
    ms: Option<u64>,
}

fn home() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fidelity")
}

/// Whether the other side of the comparison is installed.
fn is_installed() -> bool {
    let there = home().join("node_modules/@xterm/headless").exists();
    if !there {
        assert!(
            std::env::var_os("STAYD_REQUIRE_FIDELITY").is_none(),
            "xterm.js is missing: run npm ci in tests/fidelity"
        );
        eprintln!("skipped: xterm.js is not there to compare with (npm ci in tests/fidelity)");
    }
    there
}

fn number(name: &str, default: u64) -> u64 {
    std::env::var(name).ok().and_then(|value| value.parse().ok()).unwrap_or(default)
}

/// The recorded streams: `name.COLSxROWS.raw`.
fn streams() -> Vec<(String, u16, u16, Vec<u8>)> {
    let mut streams: Vec<_> = std::fs::read_dir(home().join("streams"))
        .unwrap()
        .map(|entry| entry.unwrap().path())
        .filter(|path| path.extension().is_some_and(|extension| extension == "raw"))
        .map(|path| {
            let stem = path.file_stem().unwrap().to_str().unwrap().to_owned();
            let (name, size) = stem.rsplit_once('.').unwrap();
            let (cols, rows) = size.split_once('x').unwrap();
            (
                name.to_owned(),
                cols.parse().unwrap(),
                rows.parse().unwrap(),
                std::fs::read(&path).unwrap(),
            )
        })
        .collect();
    streams.sort();
    streams
}

/// Plays every case to a screen, writes it down at each cut, and has the other side compare.
/// Answers the differences of each case, by name.
fn compare(cases: Vec<Case>) -> BTreeMap<String, Vec<Answer>> {
    let mut input = Vec::new();
    for case in &cases {
        add_case(&mut input, case);
    }
    let mut child = Command::new("node")
        .arg("--max-old-space-size=4096")
        .arg(home().join("compare.mjs"))
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .expect("node runs");
    let mut stdin = child.stdin.take().unwrap();
    let writer = std::thread::spawn(move || stdin.write_all(&input));
    let output = child.wait_with_output().unwrap();
    writer.join().unwrap().expect("the comparison reads its cases");
    assert!(output.status.success(), "the comparison itself failed");
    let mut answers: BTreeMap<String, Vec<Answer>> =
        cases.iter().map(|case| (case.name.clone(), Vec::new())).collect();
    let mut done = 0;
    println!("{:<28} {:>8} {:>6} {:>10} {:>8}", "stream", "bytes", "cuts", "identical", "ms");
    for line in String::from_utf8(output.stdout).unwrap().lines() {
        let answer: Answer = serde_json::from_str(line).unwrap();
        let Some(ms) = answer.ms else {
            answers.get_mut(&answer.name).unwrap().push(answer);
            continue;
        };
        let case = cases.iter().find(|case| case.name == answer.name).unwrap();
        let mut different: Vec<_> = answers[&answer.name].iter().map(|answer| answer.cut).collect();
        different.dedup();
        let identical = case.cuts.len() - different.len();
        println!(
            "{:<28} {:>8} {:>6} {identical:>10} {ms:>8}",
            case.name,
            case.stream.len(),
            case.cuts.len()
        );
        done += 1;
    }
    assert_eq!(done, cases.len(), "every case has been compared");
    answers
}

fn add_case(input: &mut Vec<u8>, case: &Case) {
    let mut screen = Screen::new(case.cols, case.rows, Options { scrollback: SCROLLBACK });
    let mut resizes = case.resizes.iter().peekable();
    let mut at = 0;
    let mut cuts = Vec::new();
    let mut snapshots = Vec::new();
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
        let again =
            Screen::restore(cols, rows, Options { scrollback: SCROLLBACK }, &snapshot.bytes);
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
        let text = &snapshot.bytes[..snapshot.bytes.len() - partial];
        cuts.push(serde_json::json!({"at": cut - partial, "cols": cols, "rows": rows, "length": text.len()}));
        snapshots.extend_from_slice(text);
    }
    let header = serde_json::json!({
        "name": case.name, "cols": case.cols, "rows": case.rows, "scrollback": SCROLLBACK,
        "length": case.stream.len(), "resizes": case.resizes, "cuts": cuts,
    });
    input.extend_from_slice(header.to_string().as_bytes());
    input.push(b'\n');
    input.extend_from_slice(&case.stream);
    input.extend_from_slice(&snapshots);
}

fn random_cuts(random: &mut Random, length: usize, count: usize) -> Vec<usize> {
    let mut cuts: Vec<usize> = (0..count).map(|_| random.below(length + 1)).collect();
    cuts.sort_unstable();
    cuts
}

/// The start of a character at or before `at`.
fn boundary(stream: &[u8], mut at: usize) -> usize {
    while at > 0 && at < stream.len() && stream[at] & 0xc0 == 0x80 {
        at -= 1;
    }
    at
}

fn report(answers: &BTreeMap<String, Vec<Answer>>) -> usize {
    let mut cuts = 0;
    for (name, answers) in answers {
        let mut kinds: BTreeMap<String, (usize, String)> = BTreeMap::new();
        let mut different: Vec<_> = answers.iter().map(|answer| answer.cut).collect();
        different.dedup();
        cuts += different.len();
        for answer in answers {
            let kind: String = answer.differences[0]
                .split(':')
                .next()
                .unwrap()
                .chars()
                .filter(|c| !c.is_ascii_digit())
                .collect();
            let place = answer.place.clone().unwrap_or_default();
            let entry = kinds.entry(format!("{place}: {kind}")).or_default();
            entry.0 += 1;
            if entry.1.is_empty() {
                entry.1 =
                    format!("at {}: {}", answer.cut.unwrap_or(0), answer.differences.join("; "));
            }
        }
        for (kind, (count, example)) in kinds {
            println!("{name}: {count} × {kind}, {example}");
        }
    }
    cuts
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
    let cases = streams()
        .into_iter()
        .map(|(name, cols, rows, stream)| {
            let cuts = random_cuts(&mut random, stream.len(), count);
            Case { name, cols, rows, stream, resizes: Vec::new(), cuts, exact: true }
        })
        .collect();
    let differences = report(&compare(cases));
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
        cases.push(Case { name, cols, rows, stream, resizes, cuts, exact: false });
    }
    let differences = report(&compare(cases));
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
    let cases = (0..streams)
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
        .collect();
    let answers = compare(cases);
    let differences = report(&answers);
    let total = streams as usize * 50;
    println!("{differences} of {total} cuts differ");
}
