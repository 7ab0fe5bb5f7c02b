//! What a program prints, and the screens that a holder or the database has kept.

use super::compressed::CompressedScreen;
use crate::fuzz::target;
use crate::screen::{Line, Options, Run, Screen, View, width};

/// The largest screen here: a debug build takes long for larger ones.
const SIDE_MAX: u16 = 120;
/// Bytes that a snapshot may have beyond its limit: modes, title, colours.
const SLACK: usize = 64 << 10;

// The first bytes are a plan: each pair says how many bytes come next and what happens then.
target!(escape_sequences, |bytes: &[u8]| {
    let Some((&plan, bytes)) = bytes.split_first() else { return };
    let (plan, mut output) = bytes.split_at(bytes.len().min(usize::from(plan % 32)));
    let options = Options { scrollback: 50 };
    let (mut screen, mut events) = (Screen::new(40, 10, options), Vec::new());
    for step in plan.chunks(2) {
        let [length, deed] = *step else { break };
        let (piece, rest) = output.split_at(output.len().min(usize::from(length)));
        output = rest;
        match deed % 4 {
            0 => screen.feed(piece, &mut events),
            1 => drop(screen.feed_skipping(piece, &mut events, || deed >= 128)),
            2 => {
                screen.feed(piece, &mut events);
                screen.resize(u16::from(deed) % SIDE_MAX, u16::from(length) % SIDE_MAX);
            }
            _ => {
                screen.feed(piece, &mut events);
                check(&screen, usize::from(deed) * 16);
            }
        }
    }
    // Skipped or not, in one piece or byte by byte: the screen is the same.
    let mut other = copy(&screen);
    let mut same = copy(&screen);
    other.feed_skipping(output, &mut Vec::new(), || false);
    output.chunks(1).for_each(|byte| same.feed(byte, &mut Vec::new()));
    assert_eq!(other.view(50), same.view(50));
    screen.feed(output, &mut events);
    check(&screen, 1 << 20);
    check(&screen, 0);
});

fn copy(screen: &Screen) -> Screen {
    let (cols, rows) = screen.size();
    Screen::restore(cols, rows, Options { scrollback: 50 }, &screen.snapshot(50, 1 << 20).bytes)
}

/// Takes snapshots and views.
fn check(screen: &Screen, limit: usize) {
    let snapshot = screen.snapshot(50, limit);
    assert!(snapshot.bytes.len() <= limit + SLACK, "{} of {limit}", snapshot.bytes.len());
    let view = screen.view(usize::MAX);
    let (_, rows) = screen.size();
    assert!(view.len() <= usize::from(rows) + 50);
    assert!(view.memory() < 8 << 20, "{} bytes", view.memory());
    // A resize can cut a wide character in two, or leave one without width alone in a cell, which no
    // sequence can. `tests/fidelity` compares those that can be restored.
    let plain = view.text().chars().all(|c| c == '\n' || width(c) == 1);
    if limit >= 1 << 20 && snapshot.complete && plain {
        let (again, screen) = (copy(screen).view(0), screen.view(0));
        assert_eq!(runs(&again), runs(&screen), "a snapshot is the screen");
    }
    read(&view);
}

/// The runs of all lines. A link without an id that a snapshot begins twice is two links, and so two
/// runs, where it was one.
fn runs(view: &View) -> Vec<Vec<Run>> {
    let pen = |run: &Run| Run { text: String::new(), ..run.clone() };
    let joined = |line: Line| {
        let mut runs: Vec<Run> = Vec::new();
        for run in line.runs {
            match runs.last_mut() {
                Some(last) if pen(last) == pen(&run) => last.text += &run.text,
                _ => runs.push(run),
            }
        }
        runs
    };
    view.lines().map(joined).collect()
}

fn read(view: &View) {
    let text = view.text();
    assert!(!text.contains('\x1b'));
}

target!(kept_screens, |bytes: &[u8]| {
    let kept = CompressedScreen::kept(bytes.to_vec(), (40, 10));
    if let Ok(screen) = kept.decompress(Options { scrollback: 50 }) {
        check(&screen, 4 << 10);
    }
});
