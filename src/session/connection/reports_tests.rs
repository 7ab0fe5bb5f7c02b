//! Every kind of answer and of key, cut at every place.

use super::*;

/// All kinds of answers, from the manuals of xterm, the VT510, kitty and iTerm2.
const REPORTS: [&str; 45] = [
    "\x1b[?1;2c",
    "\x1b[?61;4;22c",
    "\x1b[>0;276;0c",
    "\x1b[=00000000c",
    "\x1b[0n",
    "\x1b[3n",
    "\x1b[?997;1n",
    "\x1b[?2004;1$y",
    "\x1b[4;2$y",
    "\x1b[24;80R",
    "\x1b[?24;80R",
    "\x1b[?24;80;1R",
    "\x1b[8;24;80t",
    "\x1b[4;480;640t",
    "\x1b[5;480;640t",
    "\x1b[6;16;8t",
    "\x1b[1t",
    "\x1b[?0u",
    "\x1b[?1;0;256S",
    "\x1b[>4;2m",
    "\x1b[2;1;1;112;112;1;0x",
    "\x1b[24;80;1;1;1\"w",
    "\x1b[512*{",
    "\x1b]11;rgb:0000/0000/0000\x07",
    "\x1b]4;1;rgb:cdcd/0000/0000\x1b\\",
    "\x1b]21;foreground=rgb:ff/ff/ff\x1b\\",
    "\x1b]22;pointer\x1b\\",
    "\x1b]50;fixed\x07",
    "\x1b]52;c;aGVsbG8=\x07",
    "\x1b]60;allowTitleOps\x1b\\",
    "\x1b]99;i=1:p=?;a=report\x1b\\",
    "\x1b]176;foot\x1b\\",
    "\x1b]1337;ReportCellSize=16;8\x1b\\",
    "\x1b]lstayd\x1b\\",
    "\x1bP>|xterm.js(6.0.0)\x1b\\",
    "\x1bP1$r0m\x1b\\",
    "\x1bP0$r\x1b\\",
    "\x1bP1+r544e=787465726d\x1b\\",
    "\x1bP!|00000000\x1b\\",
    "\x1bP1$u1;1;1;@;@;@;0;2;@;BBBB\x1b\\",
    "\x1bP2$u9/17/25\x1b\\",
    "\x1bP2$s0;2;0;0;0\x1b\\",
    "\x1bP1!~B0A3\x1b\\",
    "\x1bP0!uA\x1b\\",
    "\x1b_Gi=31;OK\x1b\\",
];

/// Keys, the mouse and focus: each comes from a terminal at once.
const KEYS: [&str; 34] = [
    "text\r",
    "é",
    "\x1b",
    "\x1bx",
    "\x1b\x1b",
    "\x1b[",
    "\x1b]",
    "\x1bP",
    "\x1b_",
    "\x1bO",
    "\x1b[A",
    "\x1bOA",
    "\x1bOP",
    "\x1b\x1b[A",
    "\x1b[1;5C",
    "\x1b[1;2P",
    "\x1b[1;3Q",
    "\x1b[1;2S",
    "\x1b[15~",
    "\x1b[15;5~",
    "\x1b[3;5~",
    "\x1b[27;5;13~",
    "\x1b[Z",
    "\x1b[R",
    "\x1b[I",
    "\x1b[O",
    "\x1b[<0;3;4M",
    "\x1b[<0;3;4m",
    "\x1b[M !!",
    "\x1b[32;3;4M",
    "\x1b[97;5u",
    "\x1b[97;5:3u",
    "\x1b]half",
    "\x1b]0;title\x07",
];

/// Feeds pieces. Answers the bytes that were typed, those that were counted, and how many came
/// late.
fn fed(pieces: &[&[u8]]) -> (Vec<u8>, Vec<u8>, usize) {
    let (mut reports, mut typed, mut counted) = (Reports::default(), Vec::new(), Vec::new());
    let mut part = |part: Part<'_>| match part {
        Part::Typed(bytes) => typed.extend(bytes),
        Part::Report(bytes) | Part::ReportOrKey(bytes) => counted.extend(bytes),
    };
    let now = Instant::now();
    for piece in pieces {
        reports.feed(piece, now, &mut part);
    }
    let late = reports.tail.len() - reports.passed;
    reports.expire(&mut part);
    (typed, counted, late)
}

fn whole(text: &str) -> (Vec<u8>, Vec<u8>, usize) {
    fed(&[text.as_bytes()])
}

#[test]
fn every_answer_is_counted_wherever_it_is_cut() {
    for report in REPORTS {
        let bytes = report.as_bytes();
        assert_eq!(whole(report), (vec![], bytes.to_vec(), 0), "{report:?}");
        for cut in 1..bytes.len() {
            for second in cut..bytes.len() {
                let pieces = [&bytes[..cut], &bytes[cut..second], &bytes[second..]];
                let (typed, counted, late) = fed(&pieces);
                // Bytes that can be a key have been passed on at once.
                let key = [second, cut].into_iter().find(|&at| at <= KEY).unwrap_or(0);
                let expected = (&bytes[..key], &bytes[key..], 0);
                assert_eq!((&typed[..], &counted[..], late), expected, "{pieces:?}");
            }
        }
        let around = format!("a\x1b[A{report}b{report}\x1b");
        let (typed, counted, late) = whole(&around);
        assert_eq!(typed, b"a\x1b[Ab\x1b", "{around:?}");
        assert_eq!((counted.len(), late), (2 * report.len(), 0));
    }
}

#[test]
fn keys_pass_at_once_and_unchanged_also_one_after_the_other() {
    for key in KEYS {
        assert_eq!(whole(key), (key.as_bytes().to_vec(), vec![], 0), "{key:?}");
        for next in KEYS {
            let (typed, counted, late) = fed(&[key.as_bytes(), next.as_bytes()]);
            assert_eq!(typed, [key, next].concat().as_bytes(), "{key:?} {next:?}");
            assert_eq!((counted.len(), late), (0, 0), "{key:?} {next:?}");
        }
        let bytes = key.as_bytes();
        for cut in 1..bytes.len() {
            let (typed, counted, _) = fed(&[&bytes[..cut], &bytes[cut..]]);
            assert_eq!((&typed[..], counted.len()), (bytes, 0), "{key:?} cut at {cut}");
        }
    }
}

#[test]
fn a_y_after_rxvts_shift_delete_makes_no_report_of_it() {
    let (typed, counted, _) = fed(&[b"\x1b[3$", b"y"]);
    assert_eq!((&typed[..], counted.len()), (&b"\x1b[3$y"[..], 0));
}

#[test]
fn shift_f3_and_the_cursors_position_are_told_from_one_another_elsewhere() {
    for pieces in [&[&b"\x1b[1;2R"[..]][..], &[b"\x1b[1", b";2R"]] {
        let mut parts = Vec::new();
        let mut reports = Reports::default();
        for piece in pieces {
            reports.feed(piece, Instant::now(), |part| parts.push(format!("{part:?}")));
        }
        assert_eq!(parts, [format!("{:?}", Part::ReportOrKey(b"\x1b[1;2R"))]);
    }
}

#[test]
fn what_is_pasted_is_typed_wherever_it_is_cut() {
    for report in REPORTS {
        let paste = format!("\x1b[200~a{report}b\x1b[20{report}\x1b[201~");
        let all = format!("{paste}{report}");
        for cut in 1..paste.len() {
            let (typed, counted, late) = fed(&[&all.as_bytes()[..cut], &all.as_bytes()[cut..]]);
            assert_eq!(typed, paste.as_bytes(), "{all:?} cut at {cut}");
            assert_eq!((&counted[..], late), (report.as_bytes(), 0), "{all:?} cut at {cut}");
        }
    }
}

#[test]
fn what_stays_half_was_typed() {
    for half in ["\x1b[?61;4", "\x1b[20", "\x1b]11;rgb:00", "\x1bP1$r0m\x1b", "\x1b_Gi"] {
        let (typed, counted, late) = whole(half);
        assert_eq!((&typed[..], counted.len(), late), (half.as_bytes(), 0, half.len()));
    }
    // Input that comes after the limit begins a new sequence.
    let (mut reports, mut typed) = (Reports::default(), Vec::<u8>::new());
    let mut part = |part: Part<'_>| match part {
        Part::Typed(bytes) => typed.extend(bytes),
        part => panic!("{part:?}"),
    };
    let start = Instant::now();
    reports.feed(b"\x1b", start, &mut part);
    assert!(!reports.holds());
    reports.feed(b"[?1;2c", start + HOLD, &mut part);
    reports.feed(b"\x1b]11;x", start + HOLD, &mut part);
    assert!(reports.holds());
    reports.expire(&mut part);
    reports.feed(b"y\x07", start + HOLD, &mut part);
    assert_eq!(typed, b"\x1b[?1;2c\x1b]11;xy\x07");
}

#[test]
fn a_long_answer_is_counted_as_it_comes_and_little_is_kept() {
    let (mut reports, mut typed, mut counted) = (Reports::default(), 0, 0);
    let start = Instant::now();
    let mut part = |part: Part<'_>| match part {
        Part::Typed(bytes) => typed += bytes.len(),
        Part::Report(bytes) | Part::ReportOrKey(bytes) => counted += bytes.len(),
    };
    reports.feed(b"\x1b]52;c;", start, &mut part);
    for _ in 0..1000 {
        reports.feed(&[b'A'; 1000], start, &mut part);
        assert!(reports.tail.len() <= STRING_MAX);
    }
    reports.feed(b"\x1b", start, &mut part);
    reports.feed(b"\\x", start, &mut part);
    assert_eq!((counted, typed), (7 + 1_000_000 + 2, 1));
}

#[test]
fn a_long_answer_that_breaks_off_swallows_nothing_that_is_typed_later() {
    let long = [b"\x1b]52;c;".as_slice(), &[b'A'; STRING_MAX]].concat();
    let start = Instant::now();
    for (later, typed) in [
        (&[(b"\x1b[A".as_slice(), Duration::ZERO)][..], &b"\x1b[A"[..]),
        (&[(b"\r", Duration::ZERO)], b"\r"),
        (&[(b"ls\r", PAUSE)], b"ls\r"),
    ] {
        let (mut reports, mut seen) = (Reports::default(), Vec::<u8>::new());
        reports.feed(&long, start, |_| {});
        for (bytes, after) in later {
            reports.feed(bytes, start + *after, |part| {
                if let Part::Typed(bytes) = part {
                    seen.extend(bytes);
                }
            });
        }
        assert_eq!(seen, typed);
    }
}

#[test]
fn a_sequence_without_an_end_is_kept_for_no_longer_than_one_can_be() {
    let long = format!("\x1b[{}", "1;".repeat(SEQUENCE_MAX));
    assert_eq!(whole(&long), (long.clone().into_bytes(), vec![], 0));
}
