//! National replacement sets and line drawing (ISO 2022): the characters of the bytes below 127.

/// A character set, by the final byte that selects it; `B` is US ASCII.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Charset(u8);

impl Default for Charset {
    fn default() -> Charset {
        Charset(b'B')
    }
}

impl Charset {
    /// The set selected by this final byte, if there is one. Of sets with two names, the first name
    /// is used.
    pub(super) fn by_final(byte: u8) -> Option<Charset> {
        match byte {
            b'0' | b'A' | b'B' | b'4' | b'C' | b'R' | b'Q' | b'K' | b'Y' | b'E' | b'Z' | b'H'
            | b'=' => Some(Charset(byte)),
            b'5' => Some(Charset(b'C')),
            b'6' => Some(Charset(b'E')),
            b'7' => Some(Charset(b'H')),
            _ => None,
        }
    }

    pub(super) fn final_byte(self) -> u8 {
        self.0
    }

    pub(super) fn is_ascii(self) -> bool {
        self.0 == b'B'
    }

    /// The character of `byte` in this set.
    pub(super) fn map(self, byte: u8) -> char {
        let (from, to) = match self.0 {
            b'0' => ("`abcdefghijklmnopqrstuvwxyz{|}~", "◆▒␉␌␍␊°±␤␋┘┐┌└┼⎺⎻─⎼⎽├┤┴┬│≤≥π≠£·"),
            b'A' => ("#", "£"),
            b'4' => ("#@[\\]{|}~", "£¾i½|¨f¼´"),
            b'C' => ("[\\]^`{|}~", "ÄÖÅÜéäöåü"),
            b'R' => ("#@[\\]{|}~", "£à°ç§éùè¨"),
            b'Q' => ("@[\\]^`{|}~", "àâçêîôéùèû"),
            b'K' => ("@[\\]{|}~", "§ÄÖÜäöüß"),
            b'Y' => ("#@[\\]`{|}~", "£§°çéùàòèì"),
            b'E' => ("@[\\]^`{|}~", "ÄÆØÅÜäæøåü"),
            b'Z' => ("#@[\\]{|}", "£§¡Ñ¿°ñç"),
            b'H' => ("@[\\]^`{|}~", "ÉÄÖÅÜéäöåü"),
            b'=' => ("#@[\\]^_`{|}~", "ùàéçêîèôäöüû"),
            _ => return char::from(byte),
        };
        match from.bytes().position(|b| b == byte) {
            Some(at) => to.chars().nth(at).unwrap_or(char::from(byte)),
            None => char::from(byte),
        }
    }
}

impl Charset {
    /// The character that has to be printed so that this set shows `c`; `None` if there is none.
    pub(super) fn unmap(self, c: char) -> Option<char> {
        let shows = |byte: &u8| self.map(*byte) == c;
        if !c.is_ascii() || shows(&(c as u8)) {
            return Some(c);
        }
        (0x20..0x7f).find(shows).map(char::from)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn line_drawing_and_national_sets() {
        let lines = Charset::by_final(b'0').unwrap();
        assert_eq!(
            [lines.map(b'q'), lines.map(b'x'), lines.map(b'A'), lines.map(b'~')],
            ['─', '│', 'A', '·']
        );
        assert_eq!(Charset::by_final(b'5'), Charset::by_final(b'C'));
        assert_eq!(Charset::by_final(b'=').unwrap().map(b'~'), 'û');
        assert_eq!(Charset::default().map(b'q'), 'q');
        assert_eq!(Charset::by_final(b'!'), None);
        assert_eq!(
            (lines.unmap('A'), lines.unmap('q'), lines.unmap('─')),
            (Some('A'), None, Some('─'))
        );
        let dutch = Charset::by_final(b'4').unwrap();
        assert_eq!((dutch.unmap('|'), dutch.unmap('f')), (Some(']'), Some('f')));
    }
}
