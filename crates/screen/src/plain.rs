//! Finds how far output is plain, at memory speed: eight bytes in one number, and no jump that
//! depends on where in a line its colours change.

/// The most bytes of an unfinished rendition that may still become a plain one.
const UNFINISHED_MAX: usize = 256;
/// Bytes that are looked at together.
const BLOCK: usize = 64;
/// ESC, `[` and the parameters of a rendition that is looked at as a whole. Longer ones are read
/// byte by byte.
const RENDITION: usize = 18;

/// A plain run at the beginning of some bytes: what can only print, return, tabulate, feed lines and
/// select graphic renditions.
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

/// The number of printable ASCII bytes at the beginning.
pub(super) fn ascii_length(bytes: &[u8]) -> usize {
    let (words, rest) = bytes.as_chunks::<8>();
    for (number, word) in words.iter().enumerate() {
        let word = u64::from_le_bytes(*word);
        let others = (controls(word) | word | equal_bytes(word, 0x7f)) & HIGH;
        if others != 0 {
            return 8 * number + others.trailing_zeros() as usize / 8;
        }
    }
    let others = rest.iter().position(|byte| !(b' '..0x7f).contains(byte));
    8 * words.len() + others.unwrap_or(rest.len())
}

/// The length of `38;5;1m` and the like.
pub(super) fn rendition_length(bytes: &[u8]) -> Option<usize> {
    let digits = bytes.iter().take_while(|byte| matches!(byte, b'0'..=b';')).count();
    (bytes.get(digits) == Some(&b'm')).then_some(digits + 1)
}

/// The length of the plain run at the beginning. A byte from 0x80 on is part of a character, or is
/// invalid and printed as such; only 0xc2 may begin a C1 control.
fn plain_length(bytes: &[u8]) -> usize {
    let mut at = 0;
    loop {
        at += plain_blocks(&bytes[at..]);
        let block_end = at + BLOCK;
        while at < block_end {
            at += match bytes[at..] {
                [b'\t' | b'\n' | b'\r' | b' '..=0x7e | 0x80..=0xc1 | 0xc3.., ..] => 1,
                [0xc2, next, ..] if !(0x80..=0x9f).contains(&next) => 1,
                [0x1b, b'[', ref rest @ ..] => match rendition_length(rest) {
                    Some(length) => 2 + length,
                    None => return at,
                },
                _ => return at,
            };
        }
    }
}

/// The length of the blocks at the beginning that are certainly plain.
fn plain_blocks(bytes: &[u8]) -> usize {
    let mut at = 0;
    // A rendition may begin at the end of the block.
    while let Some(block) = bytes.get(at..at + BLOCK + RENDITION) {
        let (words, _) = block[..BLOCK].as_chunks::<8>();
        let (mut others, mut escapes) = (0, 0);
        for (number, word) in words.iter().enumerate() {
            let word = u64::from_le_bytes(*word);
            others |= other_bytes(word);
            escapes |= bits(equal_bytes(word, 0x1b)) << (8 * number);
        }
        let mut is_plain = others == 0;
        while escapes != 0 {
            let escape = escapes.trailing_zeros() as usize;
            escapes &= escapes - 1;
            is_plain &= block[escape..].first_chunk().is_some_and(is_rendition);
        }
        if !is_plain {
            break;
        }
        at += BLOCK;
    }
    at
}

/// Whether these bytes begin with a whole rendition.
fn is_rendition(bytes: &[u8; RENDITION]) -> bool {
    let (words, _) = bytes[2..].as_chunks::<8>();
    let [first, second] = [words[0], words[1]].map(|word| no_parameters(u64::from_le_bytes(word)));
    let bit = if first != 0 { first.trailing_zeros() } else { u64::BITS + second.trailing_zeros() };
    let end = 2 + bit as usize / 8;
    bytes[1] == b'[' && bytes.get(end) == Some(&b'm')
}

// Numbers of eight bytes: each result has the highest bits of the bytes that it is about. No sum
// carries into the next byte.

const fn each(byte: u8) -> u64 {
    u64::from_ne_bytes([byte; 8])
}

const HIGH: u64 = each(0x80);
const LOW: u64 = each(0x7f);

const fn equal_bytes(word: u64, byte: u8) -> u64 {
    let differ = word ^ each(byte);
    !(((differ & LOW) + LOW) | differ) & HIGH
}

const fn controls(word: u64) -> u64 {
    !(((word & LOW) + each(0x80 - b' ')) | word) & HIGH
}

/// Bytes that are neither ESC nor part of a plain run wherever they stand.
const fn other_bytes(word: u64) -> u64 {
    let plain = equal_bytes(word, b'\t')
        | equal_bytes(word, b'\n')
        | equal_bytes(word, b'\r')
        | equal_bytes(word, 0x1b);
    controls(word) & !plain | equal_bytes(word, 0x7f) | equal_bytes(word, 0xc2)
}

/// Bytes that are not among `0` to `;`.
const fn no_parameters(word: u64) -> u64 {
    let low = word & LOW;
    (!(low + each(0x80 - b'0')) | (low + each(0x7f - b';')) | word) & HIGH
}

/// The highest bits of eight bytes as eight bits.
const fn bits(highest: u64) -> u64 {
    (highest >> 7).wrapping_mul(0x0102_0408_1020_4080) >> 56
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn anything_but_plain_bytes_ends_a_run() {
        let odd = [
            "\x1b[H",
            "\x1b7",
            "\x08",
            "\x0e",
            "\u{9b}1m",
            "\x1b]0;t\x07",
            "\x1b[?1m",
            "\x0b",
            "\x07",
            "\x7f",
            "\0",
            "\x1b[1;2;3;4;5;6;7;8;9;10H",
            "\x1b[1\x1b[1m",
        ];
        for odd in odd {
            for before in 0..200 {
                let text = "x".repeat(before);
                let bytes = [text.as_bytes(), odd.as_bytes(), &[b'y'; 200]].concat();
                let run = PlainRun { length: before, may_go_on: false };
                assert_eq!(PlainRun::of(&bytes), run, "{odd:?}");
            }
        }
        let plain = [
            "\u{a9}",
            "\u{e9}\u{4e16}",
            "\t",
            "\x1b[m",
            "\x1b[38:2::1:2:3m",
            "\u{fffff}~ \r\n",
            "\x1b[38;2;255;255;255;48;2;255;255;255;1m",
            "\x1b[123456789012345m",
            "\x1b[1234567890123456m",
        ];
        for plain in plain {
            for (before, after) in [(0, 0), (3, 100), (60, 30), (63, 0), (64, 64), (100, 0)] {
                let bytes = ["x".repeat(before), plain.to_owned(), "y".repeat(after)].concat();
                let run = PlainRun { length: bytes.len(), may_go_on: true };
                assert_eq!(PlainRun::of(bytes.as_bytes()), run, "{plain:?}");
            }
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
            for text in ["text", &"text".repeat(40)] {
                let bytes = [text.as_bytes(), rest].concat();
                assert_eq!(PlainRun::of(&bytes), PlainRun { length: text.len(), may_go_on });
            }
        }
        let endless = [&b"\x1b["[..], &[b'1'; UNFINISHED_MAX]].concat();
        assert!(!PlainRun::of(&endless).may_go_on);
    }

    #[test]
    fn every_byte_is_told_alone_and_beside_others() {
        for byte in 0..=u8::MAX {
            let prints =
                matches!(byte, b'\t' | b'\n' | b'\r' | b' '..=0x7e | 0x80..) && byte != 0xc2;
            for (before, after) in [(0, 0), (0, 99), (3, 94), (7, 90), (8, 88), (63, 40), (70, 90)]
            {
                for neighbour in [b' ', b'\n', b'~', 0xff, 0x80] {
                    let mut bytes = vec![neighbour; before];
                    bytes.push(byte);
                    bytes.extend(vec![neighbour; after]);
                    let all = if prints || byte == 0xc2 && after > 0 && neighbour != 0x80 {
                        bytes.len()
                    } else {
                        before
                    };
                    let length = PlainRun::of(&bytes).length;
                    assert_eq!(length, all, "{byte:#x} beside {neighbour:#x}");
                    let ascii =
                        bytes.iter().take_while(|byte| (b' '..=b'~').contains(*byte)).count();
                    assert_eq!(ascii_length(&bytes), ascii, "{byte:#x} beside {neighbour:#x}");
                }
            }
        }
    }
}
