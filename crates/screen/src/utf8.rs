//! Decodes UTF-8 a byte at a time. Invalid bytes are dropped, and so is U+FEFF, as in xterm.js.

/// The bytes of an unfinished character.
#[derive(Debug, Default)]
pub(super) struct Utf8 {
    bytes: [u8; 4],
    len: usize,
}

/// The result of one byte.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Decoded {
    Char(char),
    /// No character, or none yet.
    More,
    /// The bytes before it were invalid and are dropped. Decode this byte again.
    Again,
}

impl Utf8 {
    pub(super) fn partial(&self) -> &[u8] {
        &self.bytes[..self.len]
    }

    pub(super) fn push(&mut self, byte: u8) -> Decoded {
        if self.len == 0 {
            return match byte {
                0..=0x7f => Decoded::Char(char::from(byte)),
                0xc0..=0xf7 => {
                    self.bytes[0] = byte;
                    self.len = 1;
                    Decoded::More
                }
                _ => Decoded::More,
            };
        }
        if byte & 0xc0 != 0x80 {
            self.len = 0;
            return Decoded::Again;
        }
        self.bytes[self.len] = byte;
        self.len += 1;
        let wanted = match self.bytes[0] {
            0xc0..=0xdf => 2,
            0xe0..=0xef => 3,
            _ => 4,
        };
        if self.len < wanted {
            return Decoded::More;
        }
        self.len = 0;
        // Overlong forms, surrogates and what lies beyond Unicode are not UTF-8.
        match std::str::from_utf8(&self.bytes[..wanted]).ok().and_then(|text| text.chars().next()) {
            Some(c) if c != '\u{feff}' => Decoded::Char(c),
            _ => Decoded::More,
        }
    }
}

/// The printable character beyond ASCII with which `bytes` start, if it is complete, and its
/// length: the fast path for nearly all text.
pub(super) fn whole(bytes: &[u8]) -> Option<(char, usize)> {
    let len = match bytes.first()? {
        0xc2..=0xdf => 2,
        0xe0..=0xef => 3,
        0xf0..=0xf4 => 4,
        _ => return None,
    };
    let c = std::str::from_utf8(bytes.get(..len)?).ok()?.chars().next()?;
    (c >= '\u{a0}' && c != '\u{feff}').then_some((c, len))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn decode(bytes: &[u8]) -> String {
        let mut utf8 = Utf8::default();
        let mut text = String::new();
        for &byte in bytes {
            loop {
                match utf8.push(byte) {
                    Decoded::Char(c) => text.push(c),
                    Decoded::More => {}
                    Decoded::Again => continue,
                }
                break;
            }
        }
        text
    }

    #[test]
    fn whole_and_broken() {
        assert_eq!(decode("aé日😀".as_bytes()), "aé日😀");
        assert_eq!(decode(b"a\xe6\x97b\xffc\x80d\xc3"), "abcd");
        assert_eq!(decode(b"\xc0\x80\xed\xa0\x80\xef\xbb\xbf\xf4\x90\x80\x80x"), "x");
    }
}
