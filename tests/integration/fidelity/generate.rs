//! Random terminal output: text, controls and sequences as programs write them, and as they
//! should not.

use super::case::Step;

/// Numbers from a seed (SplitMix64): the same on every machine.
pub(crate) struct Random(u64);

impl Random {
    pub(crate) fn new(seed: u64) -> Random {
        Random(seed)
    }

    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    pub(crate) fn below(&mut self, n: usize) -> usize {
        (self.next() % n as u64) as usize
    }

    fn pick<'a, T: ?Sized>(&mut self, from: &[&'a T]) -> &'a T {
        from[self.below(from.len())]
    }
}

/// At least `length` bytes.
pub(crate) fn stream(random: &mut Random, length: usize) -> Vec<u8> {
    let mut out = Vec::new();
    while out.len() < length {
        piece(random, &mut out);
    }
    out
}

/// So many pieces of output, some of them halves; one in `resizes` steps is a resize, if that is
/// not 0, and one in twenty a cut.
pub(crate) fn steps(
    random: &mut Random,
    count: usize,
    (mut cols, mut rows): (u16, u16),
    resizes: usize,
) -> Vec<Step> {
    let mut steps = Vec::new();
    let mut between = true;
    for _ in 0..count {
        let mut output = Vec::new();
        piece(random, &mut output);
        if random.below(20) == 0 {
            let (before, after) = output.split_at(random.below(output.len() + 1));
            steps.extend([Step::Output(before.to_vec()), Step::Cut]);
            output = after.to_vec();
        }
        between = output.last().map_or(between, u8::is_ascii);
        steps.push(Step::Output(output));
        // It lies between whole characters.
        if resizes > 0 && between && random.below(resizes) == 0 {
            match random.below(4) {
                0 => (cols, rows) = (2 + random.below(60) as u16, 1 + random.below(20) as u16),
                1 => cols = 2 + random.below(60) as u16,
                2 => rows = 1 + random.below(20) as u16,
                _ => {
                    cols = (cols + random.below(5) as u16).saturating_sub(2).max(2);
                    rows = (rows + random.below(5) as u16).saturating_sub(2).max(1);
                }
            }
            steps.push(Step::Resize(cols, rows));
        }
    }
    steps
}

fn piece(random: &mut Random, out: &mut Vec<u8>) {
    const WORDS: &[&str] = &[
        "word ",
        "日本語",
        "e\u{301}",
        "😀",
        "한",
        "   ",
        "│─┐",
        "a",
        "\u{200b}",
        "👩\u{200d}👧",
        "x\u{308}\u{323}",
        "long text that fills the line ",
    ];
    const CONTROLS: &[&str] =
        &["\r\n", "\n", "\r", "\x08", "\t", "\x0e", "\x0f", "\x0b", "\x7f", "\x07"];
    const ESCAPES: &[&str] = &[
        "\x1b7", "\x1b8", "\x1bD", "\x1bE", "\x1bM", "\x1bH", "\x1b(0", "\x1b(B", "\x1b)0",
        "\x1bn", "\x1b=", "\x1b>", "\x1b#8", "\x1bc", "\x1b(A", "\x1b[!p",
    ];
    const MODES: &[&str] = &[
        "1", "6", "7", "25", "45", "47", "1047", "1048", "1049", "1000", "1002", "1006", "1004",
        "2004", "2026", "12",
    ];
    const STRINGS: &[&str] = &[
        "\x1b]2;title\x07",
        "\x1b]8;;http://example.org/\x1b\\",
        "\x1b]8;id=a;http://example.org/a\x1b\\",
        "\x1b]8;;\x1b\\",
        "\x1b]4;1;#123456\x07",
        "\x1b]11;rgb:00/11/22\x1b\\",
        "\x1b]104\x07",
        "\x1b[22;0t",
        "\x1b[23;0t",
        "\x1bP1;2qabc\x1b\\",
        "\x1b_payload\x1b\\",
        "\x1b]9;hello\x07",
    ];
    match random.below(100) {
        0..=39 => out.extend_from_slice(random.pick(WORDS).as_bytes()),
        40..=54 => out.extend_from_slice(random.pick(CONTROLS).as_bytes()),
        55..=69 => sgr(random, out),
        70..=87 => {
            let last = random.pick(&[
                "A", "B", "C", "D", "E", "F", "G", "H", "J", "K", "L", "M", "P", "S", "T", "X",
                "Z", "I", "@", "d", "b", "g", "s", "u", " @", " A", "?J", "?K", "'}", "'~",
            ]);
            let (a, b) = (random.below(12), random.below(30));
            let text = match last {
                "H" => format!("\x1b[{a};{b}H"),
                "?J" | "?K" => format!("\x1b[?{}{}", a % 4, &last[1..]),
                "J" | "K" => format!("\x1b[{}{last}", a % 4),
                "s" | "u" => format!("\x1b[{last}"),
                "g" => format!("\x1b[{}g", if a == 0 { 3 } else { 0 }),
                _ => format!("\x1b[{a}{last}"),
            };
            out.extend_from_slice(text.as_bytes());
        }
        88..=90 => out.extend_from_slice(random.pick(ESCAPES).as_bytes()),
        91..=94 => {
            let (mode, on) = (random.pick(MODES), random.pick(&["h", "l"]));
            out.extend_from_slice(format!("\x1b[?{mode}{on}").as_bytes());
        }
        95 => out.extend_from_slice(
            format!("\x1b[{}{}", random.pick(&["4", "20"]), random.pick(&["h", "l", "l"]))
                .as_bytes(),
        ),
        96 => {
            let (top, bottom) = (random.below(8), random.below(20));
            out.extend_from_slice(format!("\x1b[{top};{bottom}r").as_bytes());
        }
        97 => out.extend_from_slice(
            random.pick(&["\x1b[1\"q", "\x1b[0\"q", "\x1b[3 q", "\x1b[0 q", "\x1b[r"]).as_bytes(),
        ),
        98 => out.extend_from_slice(random.pick(STRINGS).as_bytes()),
        _ => {
            let byte = random.below(256) as u8;
            out.extend_from_slice(&[byte, b'\x1b', b'[', byte | 0x40]);
        }
    }
}

fn sgr(random: &mut Random, out: &mut Vec<u8>) {
    let n = 1 + random.below(3);
    let numbers: Vec<String> = (0..n)
        .map(|_| match random.below(8) {
            0 => "0".to_owned(),
            1 => format!("{}", 30 + random.below(78)),
            2 => format!("{}8;5;{}", 3 + random.below(2), random.below(256)),
            3 => format!(
                "{}8;2;{};{};{}",
                3 + random.below(2),
                random.below(256),
                random.below(256),
                random.below(256)
            ),
            4 => format!("4:{}", random.below(6)),
            5 => format!("58:5:{}", random.below(256)),
            6 => format!("{}", random.below(10)),
            _ => format!("{}", 20 + random.below(40)),
        })
        .collect();
    out.extend_from_slice(format!("\x1b[{}m", numbers.join(";")).as_bytes());
}
