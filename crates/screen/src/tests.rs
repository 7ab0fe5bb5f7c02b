//! Tests of the screen, its events and its robustness, for properties that `tests/fidelity`, the
//! comparison with xterm.js, does not cover.

use std::time::{Duration, Instant};

use super::*;

const SCROLLBACK: usize = 100;

fn screen(bytes: &[u8]) -> (Screen, Vec<Event>) {
    let mut screen = Screen::new(20, 5, Options { scrollback: SCROLLBACK });
    let mut events = Vec::new();
    screen.feed(bytes, &mut events);
    (screen, events)
}

fn replies(bytes: &[u8]) -> String {
    let replies = screen(bytes).1.into_iter().filter_map(|event| match event {
        Event::Reply(bytes) => Some(String::from_utf8(bytes).unwrap()),
        _ => None,
    });
    replies.collect()
}

fn assert_restores(original: &Screen) {
    let (cols, rows) = original.size();
    let snapshot = original.snapshot(SCROLLBACK, usize::MAX);
    let mut events = Vec::new();
    let mut again = Screen::new(cols, rows, Options { scrollback: SCROLLBACK });
    again.feed(&snapshot.bytes, &mut events);
    assert!(
        !events.iter().any(|event| matches!(event, Event::Reply(_))),
        "a snapshot asks nothing"
    );
    assert_eq!(again.view(SCROLLBACK), original.view(SCROLLBACK));
    assert_eq!(again.cursor(), original.cursor());
    assert_eq!(again.modes(), original.modes());
    assert_eq!(again.title(), original.title());
    assert_eq!(again.is_alternate(), original.is_alternate());
    let second = again.snapshot(SCROLLBACK, usize::MAX);
    assert_eq!(second.bytes.escape_ascii().to_string(), snapshot.bytes.escape_ascii().to_string());
}

#[test]
fn text_wraps_scrolls_and_is_told() {
    let (screen, _) =
        screen(b"one\r\ntwo\r\nthree\r\nfour\r\nfive\r\na line of thirty characters, no");
    assert_eq!(screen.view(0).text(), "three\nfour\nfive\na line of thirty cha\nracters, no\n");
    assert_eq!(screen.view(1).text().lines().next(), Some("two"));
    assert!(screen.view(0).line(4).wrapped);
    assert_eq!((screen.scrollback(), screen.cursor()), (2, Cursor { x: 11, y: 4, wraps: false }));
}

#[test]
fn attributes_are_told_in_ansi_and_json() {
    let (screen, _) = screen(b"\x1b[1;31mred\x1b[0m \x1b[48;2;1;2;3;4mx\x1b[m \x1b]8;;http://h/\x1b\\link\x1b]8;;\x1b\\ \x1b[93;38;5;200my");
    let ansi = screen.view(0).ansi();
    assert!(
        ansi.starts_with(
            "\x1b[1;31mred\x1b[m \x1b[4;48;2;1;2;3mx\x1b[m link \x1b[38;5;200my\x1b[m\n"
        ),
        "{ansi:?}"
    );
    let runs = serde_json::to_value(&screen.view(0).line(0).runs).unwrap();
    let expected = serde_json::json!([
        {"text": "red", "fg": 1, "attrs": ["bold"]}, {"text": " "}, {"text": "x", "bg": "#010203", "attrs": ["underline"]},
        {"text": " "}, {"text": "link", "link": "http://h/"}, {"text": " "}, {"text": "y", "fg": 200},
    ]);
    assert_eq!(runs, expected);
}

#[test]
fn what_lies_beyond_an_edge_that_moved_is_not_in_sight() {
    let paint = b"\x1b[?1049h\x1b[1;1H0123456789abcdefghij\x1b[2;11HSECRET\x1b[4;1Hx";
    let (mut screen, _) = screen(paint);
    let (_, rows) = screen.size();
    screen.resize(10, rows);
    let text = format!("0123456789\n\n\nx\n{}", "\n".repeat(usize::from(rows) - 4));
    assert_eq!((screen.view(0).text(), screen.view(0).ansi()), (text.clone(), text.clone()));
    assert_eq!(screen.view(0).line(0).runs[0].text, "0123456789");
    assert!(screen.view(0).line(1).runs.is_empty());
    for trimmed in [true, false] {
        let written = screen.view(0).written(trimmed);
        assert!(!written.contains("SECRET") && !written.contains("9a"), "{written:?}");
    }
    let snapshot = screen.snapshot(0, usize::MAX).bytes.escape_ascii().to_string();
    assert!(!snapshot.contains("SECRET") && !snapshot.contains("9a"), "{snapshot}");
    // Lines of the primary screen are wrapped again, so none of their text is out of sight.
    let (mut screen, _) = super::tests::screen(b"0123456789abcdefghij\x1b[?1049hother");
    screen.resize(10, rows);
    screen.feed(b"\x1b[?1049l", &mut Vec::new());
    let texts: Vec<String> =
        screen.view(10).lines().flat_map(|line| line.runs).map(|run| run.text).collect();
    assert!(texts.iter().all(|text| text.len() <= 10), "{texts:?}");
}

#[test]
fn wide_and_combining_characters() {
    let (screen, _) = screen("日本e\u{301}😀|\r\n".as_bytes());
    assert_eq!(screen.view(0).line(0).runs[0].text, "日本e\u{301}😀|");
    let (screen, _) = super::tests::screen("123456789012345678日x".as_bytes());
    assert_eq!(
        screen.view(0).text().lines().take(2).collect::<Vec<_>>(),
        ["123456789012345678日", "x"]
    );
}

#[test]
fn everything_comes_back_from_a_snapshot() {
    let streams: [&str; 14] = [
        "",
        "plain\r\ntext",
        "\x1b[1;3;4:3;58:5:9;7;9;53;38;2;1;2;3;48;5;77mattributes\x1b[24;27m less",
        "wrap at the edge....|and on \x1b[44mwith a background\x1b[K\r\nx",
        "12345678901234567890",
        "12345678901234567890\x1b[31m",
        "e\u{301}",
        "日本語日本語日本語1日",
        "a\tb\x1b[3g\x1b[5G\x1bH\x1b[2;4r\x1b[?6h\x1b[2;3Hx",
        "main\x1b[5;5H\x1b7\x1b[?1049h\x1b[32malternate\x1b[3;3H\x1b7\x1b[2;4r",
        "\x1b(0lqk\x0e\x1b)Ax#\x1b7\x1b(B\x0f\x1b8q",
        "\x1b[?1;25l\x1b[?1002;1006;2004;1004;1h\x1b=\x1b[4h\x1b[3 q\x1b[?7lmodes",
        "\x1b]0;a title\x07\x1b[22;0t\x1b]2;b\x07\x1b]4;3;#123\x07\x1b]11;rgb:1/2/3\x07\x1b[20h",
        "\x1b[2Kx\x1b[1\"qprot\x1b[0\"q\x1b[?2K\x1b[3;10H\x1b[45m\x1b[5X\x1b[2D日x",
    ];
    for stream in streams {
        assert_restores(&screen(stream.as_bytes()).0);
    }
}

#[test]
fn a_sequence_may_be_cut_anywhere() {
    let stream = "a\x1b[38;2;1;2;3mb\x1b]2;ti\u{e4}tle\x1b\\日\x1bP$qr\x1b\\c\x1b_apc\x1b\\\x1b[3\n1md\x1b(0q\u{9b}1mx".as_bytes();
    let whole = screen(stream).0.snapshot(SCROLLBACK, usize::MAX);
    for cut in 0..stream.len() {
        let (first, _) = screen(&stream[..cut]);
        assert_restores(&first);
        let snapshot = first.snapshot(SCROLLBACK, usize::MAX);
        assert!(
            snapshot.partial < 4 && snapshot.bytes.ends_with(&stream[cut - snapshot.partial..cut])
        );
        let mut late = Screen::restore(20, 5, Options { scrollback: SCROLLBACK }, &snapshot.bytes);
        late.feed(&stream[cut..], &mut Vec::new());
        assert_eq!(late.snapshot(SCROLLBACK, usize::MAX).bytes, whole.bytes, "cut at {cut}");
    }
}

#[test]
fn a_snapshot_keeps_its_limit_and_the_newest_lines() {
    let mut screen = Screen::new(80, 24, Options { scrollback: 5000 });
    for n in 0..6000 {
        screen.feed(
            format!("\x1b[3{}mline {n}\x1b[m and more of it\r\n", n % 8).as_bytes(),
            &mut Vec::new(),
        );
    }
    let whole = screen.snapshot(5000, usize::MAX);
    assert_eq!(whole.scrollback, 5000);
    for limit in [whole.bytes.len() / 2, 20_000, 3_000] {
        let snapshot = screen.snapshot(5000, limit);
        assert!(
            snapshot.bytes.len() <= limit && snapshot.bytes.len() > limit * 9 / 10 - 200,
            "{} of {limit}",
            snapshot.bytes.len()
        );
        let again = Screen::restore(80, 24, Options { scrollback: 5000 }, &snapshot.bytes);
        assert_eq!(again.scrollback(), snapshot.scrollback);
        assert_eq!(again.view(10).text(), screen.view(10).text());
    }
    assert_eq!(screen.snapshot(7, usize::MAX).scrollback, 7);
}

#[test]
fn a_screen_that_is_too_much_loses_colours_before_text() {
    let mut screen = Screen::new(500, 100, Options { scrollback: 0 });
    let noise: String = (0..50_000)
        .map(|n| format!("\x1b[38;2;{};{};{}mx", n % 255, n / 7 % 255, n % 199))
        .collect();
    screen.feed(noise.as_bytes(), &mut Vec::new());
    let snapshot = screen.snapshot(0, 512 * 1024);
    assert!(snapshot.bytes.len() <= 512 * 1024);
    let again = Screen::restore(500, 100, Options { scrollback: 0 }, &snapshot.bytes);
    assert_eq!(again.view(0).text(), screen.view(0).text());
}

#[test]
fn programs_get_the_answers_of_an_xterm() {
    assert_eq!(replies(b"\x1b[c\x1b[>c\x1b[=c"), "\x1b[?1;2c\x1b[>0;276;0c\x1bP!|00000000\x1b\\");
    assert_eq!(replies(b"ab\r\nc\x1b[5n\x1b[6n\x1b[?6n"), "\x1b[0n\x1b[2;2R\x1b[?2;2R");
    assert_eq!(
        replies(b"\x1b[?2004h\x1b[?2004$p\x1b[?1$p\x1b[?7777$p\x1b[4$p"),
        "\x1b[?2004;1$y\x1b[?1;2$y\x1b[?7777;0$y\x1b[4;2$y"
    );
    assert!(replies(b"\x1b[>q").starts_with("\x1bP>|stayd "));
    assert_eq!(
        replies(b"\x1b[18t\x1bP$qr\x1b\\\x1bP$qz\x1b\\"),
        "\x1b[8;5;20t\x1bP1$r1;5r\x1b\\\x1bP0$r\x1b\\"
    );
    assert_eq!(
        replies(b"\x1b]11;?\x07\x1b]10;#102030\x07\x1b]10;?;?\x1b\\\x1b]4;1;?\x07"),
        "\x1b]11;rgb:0000/0000/0000\x1b\\\x1b]10;rgb:1010/2020/3030\x1b\\\x1b]11;rgb:0000/0000/0000\x1b\\\x1b]4;1;rgb:cccc/0000/0000\x1b\\"
    );
}

#[test]
fn programs_tell_of_themselves() {
    let (_, events) = screen(
        b"\x1b]2;t\x07\x07\x07\x1b]9;done\x07\x1b]9;4;1;50\x07\x1b]777;notify;T;B\x07\x1b]99;i=1;hello\x1b\\\x1b]133;A\x07\x1b]133;C;cmdline_url=a%20%c3%a9\x07\x1b]133;C;k=v\x07\x1b]133;D;3\x07\x1b]133;D\x07\x1b]7;file://h/a%20b/%zz\x07",
    );
    let notification = |title: Option<&str>, body: &str| Event::Notification {
        title: title.map(Into::into),
        body: body.into(),
    };
    let expected = [
        Event::Title(Some("t".into())),
        Event::Bell,
        notification(None, "done"),
        notification(Some("T"), "B"),
        notification(None, "hello"),
        Event::Prompt,
        Event::CommandStart { command: Some("a é".into()) },
        Event::CommandStart { command: None },
        Event::CommandEnd { exit: Some(3) },
        Event::CommandEnd { exit: None },
        Event::Cwd("/a b/%zz".into()),
    ];
    assert_eq!(events, expected);
}

#[test]
fn titles_are_saved_and_brought_back() {
    let (screen, events) = screen(b"\x1b]2;one\x07\x1b[22;0t\x1b]2;two\x07\x1b[23;0t\x1b]2;\x07");
    assert_eq!(events[2..], [Event::Title(Some("one".into())), Event::Title(None)]);
    assert_eq!(screen.title(), "");
}

/// Applies hostile bytes, which must take neither long to apply nor much space in a snapshot.
fn survives(piece: &[u8], count: usize) -> Screen {
    let started = Instant::now();
    let mut screen = Screen::new(80, 24, Options { scrollback: 1000 });
    let mut events = Vec::new();
    for _ in 0..count {
        screen.feed(piece, &mut events);
        events.clear();
    }
    let snapshot = screen.snapshot(1000, 512 * 1024);
    assert!(snapshot.bytes.len() <= 512 * 1024);
    assert!(
        started.elapsed() < Duration::from_secs(60),
        "{} took {:?}",
        piece.escape_ascii(),
        started.elapsed()
    );
    screen
}

#[test]
fn hostile_sequences_take_neither_time_nor_memory() {
    survives(b"\x1b[2147483647;2147483647H\x1b[99999999999999999999b", 5_000);
    survives(
        b"\x1b[2147483647@\x1b[2147483647P\x1b[2147483647X\x1b[2147483647L\x1b[2147483647M",
        2_000,
    );
    survives(
        b"\x1b[2147483647S\x1b[2147483647T\x1b[2147483647I\x1b[2147483647Z\x1b[2147483647'}",
        1_000,
    );
    survives(b"x\x1b[65535b", 2_000);
    survives(b"\x1b[1;2;3;4;5;6;7;8;9;10;11;12;13;14;15;16;17;18;19;20;21;22;23;24;25;26;27;28;29;30;31;32;33;34:1:2:3m", 10_000);
    survives(&[b"\x1b[".as_slice(), &b"0;".repeat(100_000)].concat(), 3);
    survives(b"\x1b[22;0t\x1b]2;some title that is long enough\x07", 20_000);
    survives(b"\x1b[6n\x07", 20_000);
    survives("\u{200b}\x1b[m".as_bytes(), 20_000);
}

#[test]
fn endless_strings_are_given_up() {
    for introducer in [&b"\x1b]0;"[..], b"\x1bPq", b"\x1b_", b"\x1b^", b"\x1b]52;c;"] {
        let mut screen = survives(&[introducer, &b"x".repeat(100_000)].concat(), 20);
        assert!(screen.snapshot(0, usize::MAX).bytes.len() < 70_000);
        let mut again =
            Screen::restore(80, 24, Options::default(), &screen.snapshot(0, usize::MAX).bytes);
        for screen in [&mut screen, &mut again] {
            screen.feed(b"\x1b\\after", &mut Vec::new());
            assert_eq!(screen.view(0).text().trim(), "after", "{}", introducer.escape_ascii());
            assert_eq!(screen.title(), "");
        }
    }
}

#[test]
fn a_million_combining_marks_are_few_in_a_cell() {
    let screen =
        survives(&"a".bytes().chain("\u{301}".repeat(10_000).bytes()).collect::<Vec<_>>(), 100);
    let longest =
        screen.view(0).lines().flat_map(|line| line.runs).map(|run| run.text.chars().count()).max();
    assert!(longest.unwrap() <= 80 * 32);
}

#[test]
fn tables_stay_in_proportion_to_the_screen() {
    let mut screen = Screen::new(80, 24, Options { scrollback: 100 });
    for n in 0..200_000u32 {
        let mark = char::from_u32(0x300 + n % 0x6f).unwrap();
        let text = format!(
            "\x1b[4;58:2::{}:{}:{}m\x1b]8;;http://h/{n}\x1b\\{}{mark}",
            n & 255,
            n >> 8 & 255,
            n >> 16,
            char::from_u32(0x4e00 + n % 20_000).unwrap()
        );
        screen.feed(text.as_bytes(), &mut Vec::new());
    }
    let cells = 124 * 80;
    assert!(
        screen.table_sizes().into_iter().all(|size| size <= cells * 3),
        "{:?}",
        screen.table_sizes()
    );
    let last = screen
        .view(0)
        .lines()
        .flat_map(|line| line.runs)
        .filter(|run| run.link.is_some())
        .last()
        .unwrap();
    assert_eq!(last.link.as_deref(), Some("http://h/199999"));
}

#[test]
fn any_size_and_back() {
    let text: String = (0..300)
        .map(|n| {
            format!("line {n} 日本語 \x1b[3{}mtext\x1b[m that is long enough to wrap\r\n", n % 8)
        })
        .collect();
    for on_alternate in [false, true] {
        let mut screen = Screen::new(80, 24, Options { scrollback: 200 });
        screen.feed(text.as_bytes(), &mut Vec::new());
        if on_alternate {
            screen.feed(b"\x1b[?1049h\x1b[2;20rfull screen", &mut Vec::new());
        }
        for (cols, rows) in [
            (1, 1),
            (2, 1000),
            (1000, 1),
            (1000, 1000),
            (3, 3),
            (80, 24),
            (0, 0),
            (79, 5),
            (200, 50),
        ] {
            screen.resize(cols, rows);
            screen.feed("more 日本語 \x1b[5;70Htext\r\n".as_bytes(), &mut Vec::new());
            let (cols, rows) = screen.size();
            assert!(screen.cursor().x < cols && screen.cursor().y < rows);
            let snapshot = screen.snapshot(200, 512 * 1024);
            let again = Screen::restore(cols, rows, Options { scrollback: 200 }, &snapshot.bytes);
            assert_eq!(again.cursor(), screen.cursor());
        }
    }
}

proptest::proptest! {
    #![proptest_config(proptest::prelude::ProptestConfig::with_cases(256))]

    /// Nothing makes the screen panic, and cutting output into pieces changes nothing.
    #[test]
    fn any_bytes_in_any_pieces(
        pieces in proptest::collection::vec(proptest::collection::vec(proptest::prop_oneof![
            3 => proptest::sample::select(b"\x1b[]();:?0123456789hlmHJKLMPSTXr\\P_^ABCDab\x07\x08\t\r\n\x0e\x0f \xe6\x97\xa5\xcc\x81".to_vec()),
            1 => proptest::num::u8::ANY,
        ], 0..80), 0..12),
        cols in 1u16..30, rows in 1u16..10, resize in (1u16..30, 1u16..10),
    ) {
        let options = Options { scrollback: 20 };
        let (mut by_piece, mut by_byte) = (Screen::new(cols, rows, options), Screen::new(cols, rows, options));
        for piece in &pieces {
            by_piece.feed(piece, &mut Vec::new());
            for byte in piece {
                by_byte.feed(&[*byte], &mut Vec::new());
            }
        }
        let snapshot = by_piece.snapshot(20, usize::MAX);
        proptest::prop_assert_eq!(&snapshot, &by_byte.snapshot(20, usize::MAX));
        by_piece.resize(resize.0, resize.1);
        by_piece.feed(&pieces.concat(), &mut Vec::new());
        by_piece.snapshot(20, 1000);
    }
}
