//! Decodes text that arrives in pieces.

/// Decodes UTF-8 that arrives in pieces. A character that is cut is held back until it is complete,
/// and invalid bytes become U+FFFD.
#[derive(Debug, Default)]
pub struct TextCarry {
    /// The beginning of a cut character, at most three bytes.
    cut: Vec<u8>,
}

impl TextCarry {
    /// The text up to the last whole character.
    pub fn feed(&mut self, bytes: &[u8]) -> String {
        let mut whole = std::mem::take(&mut self.cut);
        whole.extend_from_slice(bytes);
        let mut text = String::with_capacity(whole.len());
        let mut rest = &whole[..];
        while let Err(error) = std::str::from_utf8(rest) {
            let (valid, after) = rest.split_at(error.valid_up_to());
            text.push_str(&String::from_utf8_lossy(valid));
            let Some(length) = error.error_len() else {
                self.cut = after.to_vec();
                return text;
            };
            text.push(char::REPLACEMENT_CHARACTER);
            rest = &after[length..];
        }
        text.push_str(&String::from_utf8_lossy(rest));
        text
    }
    /// The number of bytes held back, at most three.
    #[must_use]
    pub fn held(&self) -> usize {
        self.cut.len()
    }

    /// Ends the text: returns the replacement of an incomplete character, if one is held back.
    pub fn finish(&mut self) -> Option<char> {
        (!std::mem::take(&mut self.cut).is_empty()).then_some(char::REPLACEMENT_CHARACTER)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn a_cut_character_waits_and_garbage_is_replaced() {
        let mut carry = TextCarry::default();
        assert_eq!(carry.feed(b"a\xe2\x82"), "a");
        assert_eq!(carry.feed(b"\xac!"), "€!");
        assert_eq!(carry.feed(b"\xff"), "\u{fffd}");
        assert_eq!(carry.feed(b"\xffb\xf0\x9f"), "\u{fffd}b");
        assert_eq!(carry.held(), 2);
        assert_eq!(carry.feed(b"x"), "\u{fffd}x");
        assert_eq!((carry.feed(b"\xe2"), carry.finish()), (String::new(), Some('\u{fffd}')));
        assert_eq!((carry.held(), carry.finish()), (0, None));
    }

    proptest! {
        #[test]
        fn any_split_gives_the_same_text(text in ".{0,60}", cut in 0usize..200) {
            let bytes = text.as_bytes();
            let (a, b) = bytes.split_at(cut.min(bytes.len()));
            let mut carry = TextCarry::default();
            prop_assert_eq!(carry.feed(a) + &carry.feed(b), text);
        }

        #[test]
        fn garbage_split_anywhere_never_panics(bytes in prop::collection::vec(any::<u8>(), 0..60), cut in 0usize..60) {
            let (a, b) = bytes.split_at(cut.min(bytes.len()));
            let mut carry = TextCarry::default();
            let split = carry.feed(a) + &carry.feed(b);
            let whole = TextCarry::default().feed(&bytes);
            prop_assert_eq!(split, whole);
        }
    }
}
