//! The other side of the comparison: what a terminal that saw everything has, and whether one
//! that starts from a snapshot has the same.

use super::generate::Random;
use serde::Deserialize;
use std::collections::BTreeMap;
use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

/// Output that was played, with snapshots taken on the way.
pub(crate) struct Played {
    pub(crate) name: String,
    /// Columns and rows at the beginning.
    pub(crate) cols: u16,
    pub(crate) rows: u16,
    /// Lines.
    pub(crate) scrollback: usize,
    pub(crate) stream: Vec<u8>,
    /// Offset, columns, rows; in order.
    pub(crate) resizes: Vec<(usize, u16, u16)>,
    /// In order.
    pub(crate) cuts: Vec<Cut>,
}

/// A snapshot of the terminal after `at` bytes, when it was so large.
pub(crate) struct Cut {
    pub(crate) at: usize,
    pub(crate) cols: u16,
    pub(crate) rows: u16,
    pub(crate) snapshot: Vec<u8>,
}

#[derive(Debug, Deserialize)]
pub(crate) struct Answer {
    name: String,
    cut: Option<usize>,
    #[serde(rename = "where")]
    place: Option<String>,
    #[serde(default)]
    differences: Vec<String>,
    ms: Option<u64>,
}

/// By the name of the stream.
pub(crate) type Answers = BTreeMap<String, Vec<Answer>>;

/// Where it is, and the recorded streams.
pub(crate) fn home() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fidelity")
}

/// Whether the other side of the comparison is installed.
pub(crate) fn is_installed() -> bool {
    let there = home().join("node_modules/@xterm/headless").exists();
    if !there {
        assert!(
            std::env::var_os("STAYD_REQUIRE_FIDELITY").is_none(),
            "xterm.js is missing: run npm ci in tests/fidelity"
        );
        println!("skipped: xterm.js is not there to compare with (npm ci in tests/fidelity)");
    }
    there
}

/// From the environment.
pub(crate) fn number(name: &str, default: u64) -> u64 {
    std::env::var(name).ok().and_then(|value| value.parse().ok()).unwrap_or(default)
}

/// The recorded streams: `name.COLSxROWS.raw`.
pub(crate) fn streams() -> Vec<(String, u16, u16, Vec<u8>)> {
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

/// Has the other side compare. Answers the differences of each stream, by name.
pub(crate) fn compare(played: &[Played]) -> Answers {
    let mut input = Vec::new();
    for played in played {
        add(&mut input, played);
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
    let mut answers: Answers = played.iter().map(|case| (case.name.clone(), Vec::new())).collect();
    let mut done = 0;
    println!("{:<28} {:>8} {:>6} {:>10} {:>8}", "stream", "bytes", "cuts", "identical", "ms");
    for line in String::from_utf8(output.stdout).unwrap().lines() {
        let answer: Answer = serde_json::from_str(line).unwrap();
        let Some(ms) = answer.ms else {
            answers.get_mut(&answer.name).unwrap().push(answer);
            continue;
        };
        let case = played.iter().find(|case| case.name == answer.name).unwrap();
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
    assert_eq!(done, played.len(), "every case has been compared");
    answers
}

fn add(input: &mut Vec<u8>, played: &Played) {
    let Played { name, cols, rows, scrollback, stream, resizes, cuts } = played;
    let places: Vec<_> = cuts
        .iter()
        .map(|Cut { at, cols, rows, snapshot }| {
            serde_json::json!({"at": at, "cols": cols, "rows": rows, "length": snapshot.len()})
        })
        .collect();
    let header = serde_json::json!({
        "name": name, "cols": cols, "rows": rows, "scrollback": scrollback,
        "length": stream.len(), "resizes": resizes, "cuts": places,
    });
    input.extend_from_slice(header.to_string().as_bytes());
    input.push(b'\n');
    input.extend_from_slice(stream);
    for cut in cuts {
        input.extend_from_slice(&cut.snapshot);
    }
}

/// Offsets, in order.
pub(crate) fn random_cuts(random: &mut Random, length: usize, count: usize) -> Vec<usize> {
    let mut cuts: Vec<usize> = (0..count).map(|_| random.below(length + 1)).collect();
    cuts.sort_unstable();
    cuts
}

/// The start of a character at or before `at`.
pub(crate) fn boundary(stream: &[u8], mut at: usize) -> usize {
    while at > 0 && at < stream.len() && stream[at] & 0xc0 == 0x80 {
        at -= 1;
    }
    at
}

/// Prints the differences by kind; how many cuts differ.
pub(crate) fn report(answers: &Answers) -> usize {
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
