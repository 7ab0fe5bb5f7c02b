//! Exact skipping. In a flood of plain lines, most text has left screen and scrollback before
//! anybody can see it. Its bytes are read once for their effect on the pen, and are not emulated.
//!
//! A *plain run* is a stretch of bytes that can only print, return, tabulate, feed lines and select
//! graphic renditions. On the main screen with full margins each of its line feeds moves the cursor
//! down or scrolls, and nothing moves it up. So at a line start `B` inside such a run, behind at
//! least a screenful of line feeds, everything but the cells is known: the cursor is at the start
//! of the bottom row, the modes are those from before the run, and the pen results from the run.
//! And if enough line feeds come after `B`, none of the earlier cells is left. Everything else in a
//! stream is emulated in full.

use std::ops::Range;

/// The most bytes of an unfinished rendition that may still become a plain one.
const UNFINISHED_MAX: usize = 256;

/// A plain run at the beginning of some bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct PlainRun {
    /// Its length in bytes.
    pub length: usize,
    /// Whether it may go on with the bytes that come next: nothing follows it, or the beginning of
    /// a rendition.
    pub may_go_on: bool,
}

impl PlainRun {
    /// The plain run with which `bytes` begin.
    #[must_use]
    pub fn of(bytes: &[u8]) -> PlainRun {
        let length = plain_length(bytes);
        let may_go_on = match &bytes[length..] {
            [] | [0xc2] | [0x1b] => true,
            [0x1b, b'[', rest @ ..] => {
                rest.len() < UNFINISHED_MAX && rest.iter().all(|byte| matches!(byte, b'0'..=b';'))
            }
            _ => false,
        };
        PlainRun { length, may_go_on }
    }
}

/// The place in a plain run from which it has to be emulated.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Cut {
    /// The bytes before it, which may be skipped.
    pub(super) length: usize,
    /// The sequences among them on which the pen depends, in order.
    pub(super) pens: Vec<Range<usize>>,
}

impl Cut {
    /// `None`: the run is too short for anything to have left a screen of `rows` rows with
    /// `scrollback` lines.
    pub(super) fn of(run: &[u8], rows: usize, scrollback: usize) -> Option<Cut> {
        let length = line_to_start_from(run, rows, scrollback)?;
        Some(Cut { length, pens: pens(&run[..length]) })
    }
}

/// The length of the plain run at the beginning.
fn plain_length(bytes: &[u8]) -> usize {
    let mut at = 0;
    loop {
        at += printed(&bytes[at..]);
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

/// The number of bytes at the beginning that print, or at most feed a line. A byte from 0x80 on is
/// part of a character, or is invalid and printed as such; only 0xc2 may begin a C1 control.
fn printed(bytes: &[u8]) -> usize {
    let (words, rest) = bytes.as_chunks::<8>();
    for (number, word) in words.iter().enumerate() {
        let others = others(u64::from_le_bytes(*word));
        if others != 0 {
            return 8 * number + others.trailing_zeros() as usize / 8;
        }
    }
    let is_other = |&byte: &u8| others(u64::from(byte) | PRINTED << 8) != 0;
    8 * words.len() + rest.iter().position(is_other).unwrap_or(rest.len())
}

/// Eight bytes that print.
const PRINTED: u64 = each(b' ');

const fn each(byte: u8) -> u64 {
    u64::from_ne_bytes([byte; 8])
}

/// The highest bit of each of eight bytes that is none of those which [`printed`] counts. No sum
/// carries into the next byte.
const fn others(word: u64) -> u64 {
    const fn are_not(word: u64, byte: u8) -> u64 {
        let differ = word ^ each(byte);
        (differ & each(0x7f)) + each(0x7f) | differ
    }
    let from_space_on = (word & each(0x7f)) + each(0x80 - b' ') | word;
    let controls = are_not(word, b'\t') & are_not(word, b'\n') & are_not(word, b'\r');
    let found = !from_space_on & controls | !are_not(word, 0x7f) | !are_not(word, 0xc2);
    found & each(0x80)
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
fn pens(run: &[u8]) -> Vec<Range<usize>> {
    let mut pens = Vec::new();
    for start in memchr::memrchr_iter(b'\x1b', run) {
        // It is whole: a plain run has no other sequences.
        let Some(length) = rendition_length(&run[start + 2..]) else { break };
        let pen = start..start + 2 + length;
        let parameters = &run[start + 2..pen.end - 1];
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
    use crate::{Options, Screen};

    fn lines(count: usize) -> Vec<u8> {
        (0..count).flat_map(|line| format!("line {line}\r\n").into_bytes()).collect()
    }

    fn cut(bytes: &[u8]) -> Option<Cut> {
        assert_eq!(PlainRun::of(bytes), PlainRun { length: bytes.len(), may_go_on: true });
        Cut::of(bytes, 10, 5)
    }

    #[test]
    fn few_lines_are_fed() {
        assert_eq!(cut(&lines(20)), None);
    }

    #[test]
    fn of_many_lines_only_the_end_is_fed() {
        let bytes = lines(1000);
        let Some(Cut { length, pens }) = cut(&bytes) else { panic!("no cut") };
        let fed = String::from_utf8_lossy(&bytes[length..]);
        assert!(fed.starts_with("line 985\r\n"), "{fed}");
        assert!(pens.is_empty());
    }

    #[test]
    fn the_pen_is_carried_over_from_its_last_reset() {
        let mut bytes = b"\x1b[1m\x1b[0;31m\x1b[4m".to_vec();
        bytes.extend(lines(100));
        let Some(Cut { pens, .. }) = cut(&bytes) else { panic!("no cut") };
        let pens: Vec<_> = pens.iter().map(|pen| &bytes[pen.clone()]).collect();
        assert_eq!(pens, [&b"\x1b[0;31m"[..], b"\x1b[4m"]);
    }

    #[test]
    fn anything_but_plain_bytes_ends_a_run() {
        for odd in [
            "\x1b[H", "\x1b7", "\x08", "\x0e", "\u{9b}1m", "\x1b]0;t\x07", "\x1b[?1m", "\x0b", "\x07",
            "\x7f", "\0",
        ] {
            for before in 0..20 {
                let bytes = ["x".repeat(before).as_bytes(), odd.as_bytes(), b"1234567\r\n"].concat();
                let run = PlainRun { length: before, may_go_on: false };
                assert_eq!(PlainRun::of(&bytes), run, "{odd:?}");
            }
        }
        for plain in ["\u{a9}", "\u{e9}\u{4e16}", "\t", "\x1b[38:2::1:2:3m", "\u{fffff}~ \r\n"] {
            let run = PlainRun { length: plain.len(), may_go_on: true };
            assert_eq!(PlainRun::of(plain.as_bytes()), run, "{plain:?}");
        }
    }

    #[test]
    fn a_run_may_go_on_behind_the_beginning_of_something_plain() {
        for (rest, may_go_on) in [
            (&b"\x1b"[..], true),
            (b"\x1b[", true),
            (b"\x1b[38;5", true),
            (b"\xc2", true),
            (b"\x1b[?", false),
            (b"\x1b[38;5H", false),
            (b"\x1b]", false),
        ] {
            let bytes = [b"text", rest].concat();
            assert_eq!(PlainRun::of(&bytes), PlainRun { length: 4, may_go_on });
        }
        let endless = [&b"\x1b["[..], &[b'1'; UNFINISHED_MAX]].concat();
        assert!(!PlainRun::of(&endless).may_go_on);
    }

    #[test]
    fn every_byte_is_told_alone_and_beside_others() {
        for byte in 0..=u8::MAX {
            let prints = matches!(byte, b'\t' | b'\n' | b'\r' | b' '..=0x7e | 0x80..) && byte != 0xc2;
            for (before, after) in [(0, 0), (0, 9), (3, 4), (7, 0), (8, 8)] {
                for neighbour in [b' ', b'\n', b'~', 0xff, 0x80] {
                    let mut bytes = vec![neighbour; before];
                    bytes.push(byte);
                    bytes.extend(vec![neighbour; after]);
                    let all = if prints { bytes.len() } else { before };
                    assert_eq!(printed(&bytes), all, "{byte:#x} beside {neighbour:#x}");
                }
            }
        }
    }

    /// Long stretches of plain lines, among which something else stands at times.
    fn stream(random: &mut impl FnMut(u64) -> u64) -> Vec<u8> {
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
        bytes
    }

    fn random(mut seed: u64) -> impl FnMut(u64) -> u64 {
        move |below| {
            seed = seed
                .wrapping_mul(6_364_136_223_846_793_005)
                .wrapping_add(1_442_695_040_888_963_407);
            (seed >> 33) % below
        }
    }

    fn whole(screen: &Screen) -> String {
        let bytes = screen.snapshot(usize::MAX, usize::MAX).bytes;
        String::from_utf8_lossy(&bytes).into_owned()
    }

    #[test]
    fn what_was_skipped_makes_no_difference() {
        let mut random = random(7);
        for round in 0..60 {
            let options = Options { scrollback: [0, 1, 10, 50][round % 4] };
            let (mut all, mut skipped) = (Screen::new(20, 6, options), Screen::new(20, 6, options));
            for _ in 0..6 {
                let bytes = stream(&mut random);
                let (mut of_all, mut of_skipped) = (Vec::new(), Vec::new());
                all.feed(&bytes, &mut of_all);
                let mut at = 0;
                while at < bytes.len() {
                    at += skipped.feed_skipping(&bytes[at..], &mut of_skipped, || round % 2 == 1);
                }
                assert_eq!(whole(&skipped), whole(&all), "round {round}");
                assert_eq!(of_skipped, of_all);
            }
        }
    }

    /// As a server does it: runs are left alone as long as they may go on, a part of them is skipped
    /// now and then, and the screen is restored from a snapshot right there, with more scrollback
    /// at times.
    #[test]
    fn what_is_left_and_skipped_in_part_makes_no_difference() {
        let mut random = random(8);
        let mut skips = 0;
        for round in 0..200 {
            let options = Options { scrollback: [0, 1, 10, 50][round % 4] };
            let (mut all, mut some) = (Screen::new(20, 6, options), Screen::new(20, 6, options));
            let (mut fed, mut bytes) = (0, Vec::new());
            for _ in 0..12 {
                bytes.extend(stream(&mut random));
                if random(3) > 0 {
                    fed += some.feed_to_run(&bytes[fed..], &mut Vec::new(), || false).bytes;
                    let run = PlainRun::of(&bytes[fed..]);
                    let skipped = some.skip(&bytes[fed..][..run.length], 2000);
                    fed += skipped;
                    if skipped > 0 {
                        skips += 1;
                        let snapshot = some.snapshot(usize::MAX, usize::MAX).bytes;
                        some = Screen::restore(20, 6, options, &snapshot);
                    }
                }
                if random(3) == 0 {
                    some.feed_skipping(&bytes[fed..], &mut Vec::new(), || false);
                    all.feed(&bytes, &mut Vec::new());
                    (bytes, fed) = (Vec::new(), 0);
                    assert_eq!(whole(&some), whole(&all), "round {round}");
                }
            }
        }
        assert!(skips > 100, "{skips}");
    }

    #[test]
    fn a_longer_scrollback_begins_where_the_skipped_text_ends() {
        let bytes = lines(100);
        let mut screen = Screen::new(20, 6, Options { scrollback: 10 });
        let skipped = screen.skip(&bytes, usize::MAX);
        assert!(bytes[skipped..].starts_with(b"line 84\r\n"));
        let snapshot = screen.snapshot(usize::MAX, usize::MAX).bytes;
        let mut longer = Screen::restore(20, 6, Options { scrollback: 50 }, &snapshot);
        longer.feed(&bytes[skipped..], &mut Vec::new());
        assert_eq!(longer.scrollback(), 10);
        assert!(longer.view(50).text().starts_with("line 85\n"), "{}", longer.view(50).text());
    }

    #[test]
    fn lines_without_a_return_are_no_place_to_start_from() {
        assert_eq!(cut(&b"x\n".repeat(1000)), None);
    }
}
