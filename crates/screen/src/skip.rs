//! Exact skipping. In a flood of plain lines, most text has left screen and scrollback before
//! anybody can see it. Its bytes are read once for their effect on the pen, and are not emulated.
//!
//! A *plain run* is a stretch of bytes that can only print, return, tabulate, feed lines,
//! ring and select graphic renditions. On the main screen with full margins each of its
//! line feeds moves the cursor down or scrolls, and nothing moves it up. So at a line start
//! `B` inside such a run, behind at least a screenful of line feeds, everything but the cells is
//! known: the cursor is at the start of the bottom row, the modes are those from before the run,
//! and the pen results from the run. And if enough line feeds come after `B`, none of the earlier
//! cells is left. Everything else in a stream is emulated in full.

use std::ops::Range;

/// A step of processing some bytes. Steps are in order.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Step {
    /// These bytes have to be emulated.
    Feed(Range<usize>),
    /// If the terminal is now in a plain state, `bytes` may be skipped after the pen was set by
    /// `pens`, in order. Otherwise `bytes` have to be emulated.
    Pass {
        /// The bytes that may be skipped.
        bytes: Range<usize>,
        /// The sequences in `bytes` on which the pen at their end depends.
        pens: Vec<Range<usize>>,
        /// Whether `bytes` ring the bell.
        bell: bool,
    },
}

/// Divides `bytes` into parts that have to be emulated and parts that may be skipped, on a terminal
/// of `rows` rows with `scrollback` lines.
pub(super) fn plan(bytes: &[u8], rows: usize, scrollback: usize) -> Vec<Step> {
    let mut steps = Vec::new();
    let (mut fed, mut start) = (0, 0);
    while start < bytes.len() {
        let end = start + plain_length(&bytes[start..]);
        if let Some(cut) = line_to_start_from(&bytes[start..end], rows, scrollback) {
            let passed = start..start + cut;
            if fed < start {
                steps.push(Step::Feed(fed..start));
            }
            let pens = pens(bytes, passed.clone());
            let bell = memchr::memchr(b'\x07', &bytes[passed.clone()]).is_some();
            fed = passed.end;
            steps.push(Step::Pass { bytes: passed, pens, bell });
        }
        // The emulator finds the end of the other sequence: if that is not before the next line,
        // the terminal is not in a plain state there.
        start = match memchr::memchr(b'\n', &bytes[end..]) {
            Some(line) => end + line + 1,
            None => bytes.len(),
        };
    }
    if fed < bytes.len() {
        steps.push(Step::Feed(fed..bytes.len()));
    }
    steps
}

/// Bytes that print, or at most feed a line. A byte from 0x80 on is part of a character, or is
/// invalid and printed as such.
const PLAIN: [bool; 256] = {
    let mut plain = [false; 256];
    let mut byte = 0x20;
    while byte < 256 {
        plain[byte] = byte != 0x7f;
        byte += 1;
    }
    plain[b'\x07' as usize] = true;
    plain[b'\t' as usize] = true;
    plain[b'\n' as usize] = true;
    plain[b'\r' as usize] = true;
    // The first byte of the C1 controls, among other characters; `plain_length` checks the second.
    plain[0xc2] = false;
    plain
};

/// The length of the plain run at the beginning.
fn plain_length(bytes: &[u8]) -> usize {
    let mut at = 0;
    loop {
        at += bytes[at..].iter().take_while(|&&byte| PLAIN[usize::from(byte)]).count();
        match bytes[at..] {
            [0xc2, next, ..] if !(0x80..=0x9f).contains(&next) => at += 1,
            [0x1b, b'[', ref rest @ ..] => match rendition_length(rest) {
                Some(length) => at += 2 + length,
                None => return at,
            },
            _ => return at,
        }
    }
}

/// The length of `38;5;1m` and the like.
fn rendition_length(bytes: &[u8]) -> Option<usize> {
    let digits = bytes.iter().take_while(|byte| matches!(byte, b'0'..=b';')).count();
    (bytes.get(digits) == Some(&b'm')).then_some(digits + 1)
}

/// The last line start in a plain run before which nothing is left at the run's end.
fn line_to_start_from(run: &[u8], rows: usize, scrollback: usize) -> Option<usize> {
    if run.len() < 2 * rows + scrollback {
        return None;
    }
    // This many lines after it push out the whole screen and scrollback.
    let feed = memchr::memrchr_iter(b'\n', run)
        .skip(rows + scrollback)
        .find(|&feed| feed > 0 && run[feed - 1] == b'\r')?;
    // This many lines before it bring the cursor to the bottom, wherever it was.
    let before = memchr::memchr_iter(b'\n', &run[..feed]).take(rows).count();
    (before == rows).then_some(feed + 1)
}

/// The renditions of a plain run since the last one that began with a reset.
fn pens(bytes: &[u8], passed: Range<usize>) -> Vec<Range<usize>> {
    let mut pens = Vec::new();
    for escape in memchr::memrchr_iter(b'\x1b', &bytes[passed.clone()]) {
        let start = passed.start + escape;
        // It is whole: a plain run has no other sequences.
        let Some(length) = rendition_length(&bytes[start + 2..]) else { break };
        let pen = start..start + 2 + length;
        let parameters = &bytes[start + 2..pen.end - 1];
        let resets = matches!(parameters, [] | [b'0' | b';'] | [b'0', b';', ..]);
        pens.push(pen);
        if resets {
            break;
        }
    }
    pens.reverse();
    pens
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{Event, Options, Screen};

    fn lines(count: usize) -> Vec<u8> {
        (0..count).flat_map(|line| format!("line {line}\r\n").into_bytes()).collect()
    }

    #[test]
    fn few_lines_are_fed() {
        let bytes = lines(20);
        assert_eq!(plan(&bytes, 10, 5), [Step::Feed(0..bytes.len())]);
    }

    #[test]
    fn of_many_lines_only_the_end_is_fed() {
        let bytes = lines(1000);
        let [Step::Pass { bytes: passed, pens, bell: false }, Step::Feed(fed)] =
            &plan(&bytes, 10, 5)[..]
        else {
            panic!("one pass, one feed")
        };
        assert_eq!((passed.end, fed.end), (fed.start, bytes.len()));
        let fed = &bytes[fed.clone()];
        assert!(fed.starts_with(b"line 985\r\n"), "{}", String::from_utf8_lossy(&fed[..20]));
        assert!(pens.is_empty());
    }

    #[test]
    fn the_pen_is_carried_over_from_its_last_reset() {
        let mut bytes = b"\x1b[1m\x1b[0;31m\x1b[4m".to_vec();
        bytes.extend(lines(100));
        let steps = plan(&bytes, 10, 5);
        let Step::Pass { pens, .. } = &steps[0] else { panic!("{steps:?}") };
        let pens: Vec<_> = pens.iter().map(|pen| &bytes[pen.clone()]).collect();
        assert_eq!(pens, [&b"\x1b[0;31m"[..], b"\x1b[4m"]);
    }

    #[test]
    fn anything_but_plain_bytes_ends_a_run() {
        for odd in
            ["\x1b[H", "\x1b7", "\x08", "\x0e", "\u{9b}1m", "\x1b]0;t\x07", "\x1b[?1m", "\x0b"]
        {
            let mut bytes = lines(12);
            bytes.extend(odd.as_bytes());
            bytes.extend(b"\r\n");
            bytes.extend(lines(12));
            assert_eq!(plan(&bytes, 10, 5), [Step::Feed(0..bytes.len())], "{odd:?}");
        }
        for plain in ["\u{a9}", "\u{e9}\u{4e16}", "\x07", "\t", "\x1b[38:2::1:2:3m"] {
            assert_eq!(plain_length(plain.as_bytes()), plain.len(), "{plain:?}");
        }
    }

    #[test]
    fn what_was_skipped_makes_no_difference() {
        let mut seed = 7u64;
        let mut random = |below: u64| {
            seed = seed
                .wrapping_mul(6_364_136_223_846_793_005)
                .wrapping_add(1_442_695_040_888_963_407);
            (seed >> 33) % below
        };
        for round in 0..60 {
            let options = Options { scrollback: [0, 1, 10, 50][round % 4] };
            let (mut all, mut skipped) = (Screen::new(20, 6, options), Screen::new(20, 6, options));
            let mut passed = false;
            for _ in 0..6 {
                let mut bytes = Vec::new();
                for _ in 0..random(200) {
                    let piece = match random(40) {
                        0 => "\x1b[3;10r".to_owned(),
                        1 => "\x1b[r".to_owned(),
                        2 => "\x1b[?1049h".to_owned(),
                        3..6 => "\x1b[?1049l".to_owned(),
                        6 => "\x1b7".to_owned(),
                        7 => "\x1b8".to_owned(),
                        8 => "\x1b]0;t\x07".to_owned(),
                        9..16 => format!("\x1b[{}m", random(110)),
                        16 => "\x1b[0;1;44m".to_owned(),
                        17 => "\x1b[H".to_owned(),
                        18 => "世界\t\x07".to_owned(),
                        _ => String::new(),
                    };
                    // Long stretches of plain text, because otherwise nothing could be skipped.
                    let piece = if random(8) > 0 { String::new() } else { piece };
                    bytes.extend(piece.bytes());
                    bytes.extend("a word ".repeat(random(6) as usize).bytes());
                    bytes.extend(if random(9) == 0 { b"\n\r".iter() } else { b"\r\n".iter() });
                }
                passed |= plan(&bytes, 6, options.scrollback)
                    .iter()
                    .any(|step| matches!(step, Step::Pass { .. }));
                let (mut of_all, mut of_skipped) = (Vec::new(), Vec::new());
                all.feed(&bytes, &mut of_all);
                let mut at = 0;
                while at < bytes.len() {
                    at += skipped.feed_skipping(&bytes[at..], &mut of_skipped, || round % 2 == 1);
                }
                let whole = |screen: &Screen| screen.snapshot(usize::MAX, usize::MAX).bytes;
                assert_eq!(
                    String::from_utf8_lossy(&whole(&skipped)),
                    String::from_utf8_lossy(&whole(&all)),
                    "round {round}"
                );
                let told = |events: Vec<Event>| {
                    events.into_iter().filter(|event| *event != Event::Bell).collect::<Vec<_>>()
                };
                assert_eq!(told(of_skipped), told(of_all));
            }
            assert!(passed || options.scrollback == 50, "nothing was skipped in round {round}");
        }
    }

    #[test]
    fn lines_without_a_return_are_no_place_to_start_from() {
        let bytes = b"x\n".repeat(1000);
        assert_eq!(plan(&bytes, 10, 5), [Step::Feed(0..bytes.len())]);
    }
}
