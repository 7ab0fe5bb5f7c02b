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

/// A snapshot of the terminal after `at` bytes and so many resizes, when it was so large.
pub(crate) struct Cut {
    pub(crate) at: usize,
    pub(crate) resized: usize,
    pub(crate) cols: u16,
    pub(crate) rows: u16,
    pub(crate) snapshot: Vec<u8>,
    /// The screen that wrote it: `late` (one that saw everything; the reader gets the rest),
    /// `fed` (the same at the end), `folded` (one that was folded at each cut, at the end).
    pub(crate) by: &'static str,
}

#[derive(Debug, Deserialize)]
pub(crate) struct Answer {
    pub(crate) name: String,
    pub(crate) cut: Option<usize>,
    by: Option<String>,
    #[serde(rename = "where")]
    place: Option<String>,
    #[serde(default)]
    pub(crate) differences: Vec<String>,
    /// What the reader had to be given, since no sequence brings it about.
    #[serde(default)]
    pub(crate) adopted: Vec<String>,
    /// xterm.js itself threw this error.
    pub(crate) failed: Option<String>,
    ms: Option<u64>,
}

impl Answer {
    /// Whether it tells of a difference.
    pub(crate) fn differs(&self) -> bool {
        self.failed.is_none() && self.adopted.is_empty()
    }
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
    println!("{:<28} {:>8} {:>6} {:>10} {:>8}", "stream", "bytes", "cuts", "identical", "ms");
    let (answers, times) = ask(played, true);
    for case in played {
        let mut different: Vec<_> = answers[&case.name]
            .iter()
            .filter(|answer| answer.differs())
            .map(|answer| (answer.cut, &answer.by))
            .collect();
        different.dedup();
        println!(
            "{:<28} {:>8} {:>6} {:>10} {:>8}",
            case.name,
            case.stream.len(),
            case.cuts.len(),
            case.cuts.len() - different.len(),
            times[&case.name]
        );
    }
    answers
}

/// The same without a word.
pub(crate) fn compare_quietly(played: Vec<Played>) -> Answers {
    ask(&played, false).0
}

/// The answers, and how many milliseconds each stream took.
fn ask(played: &[Played], print: bool) -> (Answers, BTreeMap<String, u64>) {
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
    let mut times = BTreeMap::new();
    let mut adopted: BTreeMap<String, usize> = BTreeMap::new();
    for line in String::from_utf8(output.stdout).unwrap().lines() {
        let answer: Answer = serde_json::from_str(line).unwrap();
        match answer.ms {
            Some(ms) => assert!(times.insert(answer.name, ms).is_none(), "two streams of a name"),
            None => {
                for what in &answer.adopted {
                    *adopted.entry(what.clone()).or_default() += 1;
                }
                answers.get_mut(&answer.name).unwrap().push(answer);
            }
        }
    }
    if !adopted.is_empty() && print {
        println!("cuts at which no sequence brings about everything: {adopted:?}");
    }
    assert_eq!(times.len(), played.len(), "every case has been compared");
    (answers, times)
}

fn add(input: &mut Vec<u8>, played: &Played) {
    let Played { name, cols, rows, scrollback, stream, resizes, cuts } = played;
    let places: Vec<_> = cuts
        .iter()
        .map(|Cut { at, resized, cols, rows, snapshot, by }| {
            serde_json::json!({
                "at": at, "resized": resized, "cols": cols, "rows": rows,
                "length": snapshot.len(), "by": by,
            })
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

/// In which way a snapshot differs, without numbers.
pub(crate) fn kind(answer: &Answer) -> String {
    let what: String = match (&answer.failed, answer.differences.first()) {
        (Some(_), _) => "xterm.js failed".to_owned(),
        (None, first) => first.map_or("", |first| first.split(':').next().unwrap()).to_owned(),
    };
    let word = |word: &Option<String>| word.clone().unwrap_or_default();
    let what: String = what.chars().filter(|c| !c.is_ascii_digit()).collect();
    format!("{} {}: {what}", word(&answer.by), word(&answer.place))
}

/// Prints the differences by kind; how many cuts differ. Where xterm.js itself failed there is
/// nothing to compare with.
pub(crate) fn report(answers: &Answers) -> usize {
    let mut cuts = 0;
    for (name, answers) in answers {
        let mut kinds: BTreeMap<String, (usize, String)> = BTreeMap::new();
        let differs = answers.iter().filter(|answer| answer.differs());
        let mut different: Vec<_> = differs.map(|answer| (answer.cut, &answer.by)).collect();
        different.dedup();
        cuts += different.len();
        for answer in answers.iter().filter(|answer| answer.adopted.is_empty()) {
            let entry = kinds.entry(kind(answer)).or_default();
            entry.0 += 1;
            if entry.1.is_empty() {
                let what = answer.failed.clone().unwrap_or_else(|| answer.differences.join("; "));
                entry.1 = format!("at {}: {what}", answer.cut.unwrap_or(0));
            }
        }
        for (kind, (count, example)) in kinds {
            println!("{name}: {count} × {kind}, {example}");
        }
    }
    cuts
}
