//! Colours that programs have changed (OSC 4, 10, 11, 12 and their resets).

use std::collections::BTreeMap;

/// Red, green, blue.
pub(super) type Rgb = [u8; 3];

/// The three colours outside the palette.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Special {
    Foreground,
    Background,
    Cursor,
}

impl Special {
    pub(super) const ALL: [Special; 3] =
        [Special::Foreground, Special::Background, Special::Cursor];
}

/// The colours that differ from the user's own.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub(super) struct Palette {
    pub(super) indexed: BTreeMap<u8, Rgb>,
    special: [Option<Rgb>; 3],
}

impl Palette {
    pub(super) fn special(&self, which: Special) -> Option<Rgb> {
        self.special[which as usize]
    }

    pub(super) fn set_special(&mut self, which: Special, colour: Option<Rgb>) {
        self.special[which as usize] = colour;
    }

    /// The answer to a program's query. The clients' own colours are unknown here, and differ, so
    /// it is xterm's palette on a dark screen.
    pub(super) fn answer(&self, index: u8) -> Rgb {
        self.indexed.get(&index).copied().unwrap_or_else(|| default_colour(index))
    }

    pub(super) fn answer_special(&self, which: Special) -> Rgb {
        self.special(which).unwrap_or(match which {
            Special::Foreground | Special::Cursor => [0xff, 0xff, 0xff],
            Special::Background => [0, 0, 0],
        })
    }
}

fn default_colour(index: u8) -> Rgb {
    const BASE: [Rgb; 16] = [
        [0x2e, 0x34, 0x36],
        [0xcc, 0x00, 0x00],
        [0x4e, 0x9a, 0x06],
        [0xc4, 0xa0, 0x00],
        [0x34, 0x65, 0xa4],
        [0x75, 0x50, 0x7b],
        [0x06, 0x98, 0x9a],
        [0xd3, 0xd7, 0xcf],
        [0x55, 0x57, 0x53],
        [0xef, 0x29, 0x29],
        [0x8a, 0xe2, 0x34],
        [0xfc, 0xe9, 0x4f],
        [0x72, 0x9f, 0xcf],
        [0xad, 0x7f, 0xa8],
        [0x34, 0xe2, 0xe2],
        [0xee, 0xee, 0xec],
    ];
    const STEPS: [u8; 6] = [0, 0x5f, 0x87, 0xaf, 0xd7, 0xff];
    match index {
        0..=15 => BASE[usize::from(index)],
        16..=231 => {
            let cube = usize::from(index - 16);
            [STEPS[cube / 36], STEPS[cube / 6 % 6], STEPS[cube % 6]]
        }
        232..=255 => [8 + (index - 232) * 10; 3],
    }
}

/// Parses `rgb:R/G/B` with one to four hexadecimal digits each, or `#` and 3, 6, 9 or 12 digits.
pub(super) fn parse(text: &str) -> Option<Rgb> {
    let text = text.to_ascii_lowercase();
    if let Some(parts) = text.strip_prefix("rgb:") {
        let parts: Vec<&str> = parts.split('/').collect();
        let [r, g, b] = parts[..] else { return None };
        if r.len() != g.len() || g.len() != b.len() || !(1..=4).contains(&r.len()) {
            return None;
        }
        let max = (1u32 << (4 * r.len())) - 1;
        let scale = |part| hex(part).map(|value| ((value * 255 * 2 + max) / (max * 2)) as u8);
        return Some([scale(r)?, scale(g)?, scale(b)?]);
    }
    let digits = text.strip_prefix('#')?;
    if !matches!(digits.len(), 3 | 6 | 9 | 12) || !digits.is_ascii() {
        return None;
    }
    let n = digits.len() / 3;
    let part = |i: usize| {
        let value = hex(&digits[i * n..(i + 1) * n])?;
        Some(match n {
            1 => value << 4,
            2 => value,
            3 => value >> 4,
            _ => value >> 8,
        } as u8)
    };
    Some([part(0)?, part(1)?, part(2)?])
}

fn hex(text: &str) -> Option<u32> {
    if text.bytes().all(|byte| byte.is_ascii_hexdigit()) {
        u32::from_str_radix(text, 16).ok()
    } else {
        None
    }
}

/// Formats a colour, as queries are answered and colours are set: `rgb:RRRR/GGGG/BBBB`.
pub(super) fn format([r, g, b]: Rgb) -> String {
    format!("rgb:{r:02x}{r:02x}/{g:02x}{g:02x}/{b:02x}{b:02x}")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn colours_are_read_and_written() {
        assert_eq!(parse("rgb:f/0/8"), Some([255, 0, 136]));
        assert_eq!(parse("RGB:ffff/8000/0000"), Some([255, 128, 0]));
        assert_eq!(parse("#fa0"), Some([0xf0, 0xa0, 0]));
        assert_eq!(parse("#123456789abc"), Some([0x12, 0x56, 0x9a]));
        for wrong in ["", "red", "#12", "rgb:1/2", "rgb:1/22/3", "rgb:+1/22/33", "rgb:///"] {
            assert_eq!(parse(wrong), None, "{wrong}");
        }
        assert_eq!(parse(&format([1, 2, 254])), Some([1, 2, 254]));
        assert_eq!(
            (default_colour(16), default_colour(231), default_colour(255)),
            ([0; 3], [255; 3], [238; 3])
        );
    }
}
