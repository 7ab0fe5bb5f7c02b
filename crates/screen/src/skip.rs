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

use crate::plain::rendition_length;
use std::ops::Range;

/// The place in a plain run from which it has to be emulated.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Cut {
    /// The bytes before it, which may be skipped.
    pub(super) length: usize,
    /// The sequences among them on which the pen depends, in order.
    pub(super) pens: Vec<Range<usize>>,
}

impl Cut {
    /// `run` is a plain run, or its end unless it `is_whole`. `None`: that is too short for anything
    /// to have left a screen of `rows` rows with `scrollback` lines, or to tell the pen.
    pub(super) fn of(run: &[u8], is_whole: bool, rows: usize, scrollback: usize) -> Option<Cut> {
        let length = line_to_start_from(run, rows, scrollback)?;
        let (pens, begin_with_reset) = pens(&run[..length]);
        (is_whole || begin_with_reset).then_some(Cut { length, pens })
    }
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

/// The renditions of a plain run since the last one that began with a reset, and whether there is
/// one that did.
fn pens(run: &[u8]) -> (Vec<Range<usize>>, bool) {
    let (mut pens, mut resets) = (Vec::new(), false);
    for start in memchr::memrchr_iter(b'\x1b', run) {
        // It is whole: a plain run has no other sequences.
        let Some(length) = rendition_length(&run[start + 2..]) else { break };
        let pen = start..start + 2 + length;
        let parameters = &run[start + 2..pen.end - 1];
        resets = matches!(parameters, [] | [b'0' | b';'] | [b'0', b';', ..]);
        pens.push(pen);
        if resets {
            break;
        }
    }
    pens.reverse();
    (pens, resets)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{Options, PlainRun, Screen};

    fn lines(count: usize) -> Vec<u8> {
        (0..count).flat_map(|line| format!("line {line}\r\n").into_bytes()).collect()
    }

    fn cut(bytes: &[u8]) -> Option<Cut> {
        assert_eq!(PlainRun::of(bytes), PlainRun { length: bytes.len(), may_go_on: true });
        Cut::of(bytes, true, 10, 5)
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
                    let run = &bytes[fed..][..PlainRun::of(&bytes[fed..]).length];
                    // Some runs are shown with their end only.
                    let start = random(3) as usize * run.len() / 4;
                    if let Some(cut) = some.skip(&run[start..], start == 0, 2000) {
                        fed += start + cut;
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
        let skipped = screen.skip(&bytes, true, usize::MAX).unwrap_or(0);
        assert!(bytes[skipped..].starts_with(b"line 84\r\n"));
        let snapshot = screen.snapshot(usize::MAX, usize::MAX).bytes;
        let mut longer = Screen::restore(20, 6, Options { scrollback: 50 }, &snapshot);
        longer.feed(&bytes[skipped..], &mut Vec::new());
        assert_eq!(longer.scrollback(), 10);
        assert!(longer.view(50).text().starts_with("line 85\n"), "{}", longer.view(50).text());
    }

    #[test]
    fn a_scrollback_that_lacks_lines_shows_what_was_skipped() {
        let options = Options { scrollback: 10 };
        let (bytes, (mut screen, mut whole)) =
            (lines(100), (Screen::new(20, 6, options), Screen::new(20, 6, options)));
        let skipped = screen.skip(&bytes, true, usize::MAX).expect("a cut");
        whole.feed(&bytes[..skipped], &mut Vec::new());
        for line in bytes[skipped..].split_inclusive(|&byte| byte == b'\n') {
            assert!(screen.shows_skipped());
            let snapshot = screen.snapshot(usize::MAX, usize::MAX).bytes;
            screen = Screen::restore(20, 6, options, &snapshot);
            screen.feed(line, &mut Vec::new());
            whole.feed(line, &mut Vec::new());
            if !screen.shows_skipped() {
                assert_eq!(screen.view(10).text(), whole.view(10).text());
            }
        }
        assert!(!screen.shows_skipped());
    }

    #[test]
    fn a_program_cannot_say_that_anything_was_skipped() {
        let mut screen = Screen::new(20, 6, Options { scrollback: 10 });
        screen.feed(b"\x1b[=6;10$z\x1b[=6$z", &mut Vec::new());
        assert!(!screen.shows_skipped());
    }

    #[test]
    fn the_end_of_a_run_has_to_tell_the_pen() {
        let at = |bytes: &[u8]| Cut::of(bytes, false, 10, 5).map(|cut| cut.pens.len());
        assert_eq!(at(&lines(100)), None);
        assert_eq!(at(&[b"\x1b[1m".to_vec(), lines(100)].concat()), None);
        assert_eq!(at(&[b"\x1b[m\x1b[1m".to_vec(), lines(100)].concat()), Some(2));
    }

    #[test]
    fn lines_without_a_return_are_no_place_to_start_from() {
        assert_eq!(cut(&b"x\n".repeat(1000)), None);
    }
}
