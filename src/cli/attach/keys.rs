//! The keys that detach: Ctrl-\, then d, unless the user has chosen others.

use crate::keys;
use std::str::FromStr;

/// One or two keys, or none.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(in crate::cli) struct DetachKeys(Vec<Key>);

/// A key as terminals send it: plainly, in the kitty protocol, and with xterm's modifyOtherKeys. The
/// program chooses one of them, and the key must work under each.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Key {
    name: String,
    encodings: [Vec<u8>; 3],
}

impl FromStr for DetachKeys {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        if text == "none" {
            return Ok(DetachKeys(Vec::new()));
        }
        let words = text.split([' ', ',']).filter(|word| !word.is_empty());
        let keys = words.map(Key::named).collect::<Option<Vec<_>>>();
        match keys {
            // A key without Ctrl could not be typed any more.
            Some(keys) if keys.len() <= 2 && keys.first().is_some_and(Key::has_ctrl) => {
                Ok(DetachKeys(keys))
            }
            _ => Err("expected one or two keys, the first of them with Ctrl, such as \"C-a d\", \
                      \"C-p C-q\" or C-]; or none"
                .into()),
        }
    }
}

impl Key {
    /// A character, or one with Ctrl: `d`, `C-a`, `Ctrl-a`.
    fn named(word: &str) -> Option<Key> {
        let ctrl = ["C-", "c-", "^", "Ctrl-", "ctrl-"];
        let with = ctrl
            .iter()
            .find_map(|prefix| word.strip_prefix(prefix).filter(|character| !character.is_empty()));
        let mut characters = with.unwrap_or(word).chars();
        let character = characters.next().filter(|c| c.is_ascii_graphic())?;
        if characters.next().is_some() {
            return None;
        }
        let (base, modifiers) =
            (character.to_ascii_lowercase(), if with.is_some() { 5 } else { 1 });
        let (name, plain) = match with {
            Some(_) => (format!("Ctrl-{base}"), keys::encode(&format!("C-{base}"), false)?),
            None => (character.to_string(), vec![character as u8]),
        };
        let code = if with.is_some() { base } else { character } as u32;
        let kitty =
            if with.is_some() { format!("\x1b[{code};5u") } else { format!("\x1b[{code}u") };
        let xterm = format!("\x1b[27;{modifiers};{code}~");
        Some(Key { name, encodings: [plain, kitty.into_bytes(), xterm.into_bytes()] })
    }

    fn has_ctrl(&self) -> bool {
        self.name.len() > 1
    }

    /// The encoding with which the bytes begin.
    fn starting(&self, bytes: &[u8]) -> Option<&[u8]> {
        self.encodings.iter().map(Vec::as_slice).find(|key| bytes.starts_with(key))
    }
}

/// Finds the keys in typed bytes.
#[derive(Debug)]
pub(super) struct Keys {
    detach: DetachKeys,
    /// The first of two keys, which is held back until the next key.
    held: Option<Vec<u8>>,
}

/// The result of typed bytes.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Typed {
    /// Sends the bytes to the session.
    Input(Vec<u8>),
    /// Sends the bytes to the session, then detaches.
    Detach(Vec<u8>),
}

impl Keys {
    pub(super) fn new(detach: DetachKeys) -> Self {
        Keys { detach, held: None }
    }

    /// The keys' names, for people; `None` if no keys detach.
    pub(super) fn names(&self) -> Option<String> {
        let names: Vec<&str> = self.detach.0.iter().map(|key| key.name.as_str()).collect();
        (!names.is_empty()).then(|| names.join(" "))
    }

    /// Takes the bytes of one read. Terminals write a key in one piece, so a key of several bytes
    /// is not searched for across reads.
    pub(super) fn feed(&mut self, mut bytes: &[u8]) -> Typed {
        let [first, rest @ ..] = &self.detach.0[..] else { return Typed::Input(bytes.to_vec()) };
        let mut input = Vec::with_capacity(bytes.len());
        while !bytes.is_empty() {
            match (self.held.take(), first.starting(bytes), rest.first()) {
                (None, Some(_), None) => return Typed::Detach(input),
                (None, Some(escape), Some(_)) => {
                    self.held = Some(escape.to_vec());
                    bytes = &bytes[escape.len()..];
                }
                (None, None, _) => {
                    input.push(bytes[0]);
                    bytes = &bytes[1..];
                }
                (Some(_), _, Some(second)) if second.starting(bytes).is_some() => {
                    return Typed::Detach(input);
                }
                // The first key twice sends one.
                (Some(_), Some(escape), _) => {
                    input.extend_from_slice(escape);
                    bytes = &bytes[escape.len()..];
                }
                // The first key and another one are both for the program.
                (Some(held), None, _) => input.extend_from_slice(&held),
            }
        }
        Typed::Input(input)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn feed(reads: &[&[u8]]) -> Typed {
        feed_to("C-\\ d", reads)
    }

    /// The result of several reads.
    fn feed_to(detach: &str, reads: &[&[u8]]) -> Typed {
        let mut keys = Keys::new(detach.parse().unwrap());
        let mut all = Vec::new();
        for read in reads {
            match keys.feed(read) {
                Typed::Input(input) => all.extend(input),
                Typed::Detach(input) => {
                    all.extend(input);
                    return Typed::Detach(all);
                }
            }
        }
        Typed::Input(all)
    }

    fn input(bytes: &[u8]) -> Typed {
        Typed::Input(bytes.into())
    }

    #[test]
    fn the_keys_detach_in_one_read_or_two() {
        assert_eq!(feed(&[b"ls\r\x1cd more"]), Typed::Detach(b"ls\r".into()));
        assert_eq!(feed(&[b"\x1c", b"d"]), Typed::Detach(Vec::new()));
    }

    #[test]
    fn twice_sends_one() {
        assert_eq!(feed(&[b"\x1c\x1c"]), input(b"\x1c"));
        assert_eq!(feed(&[b"\x1c", b"\x1c", b"d"]), input(b"\x1cd"));
        assert_eq!(feed(&[b"\x1c\x1c\x1cd"]), Typed::Detach(b"\x1c".into()));
    }

    #[test]
    fn a_lone_one_goes_on_with_what_follows() {
        assert_eq!(feed(&[b"a\x1c"]), input(b"a"));
        assert_eq!(feed(&[b"a\x1c", b"b"]), input(b"a\x1cb"));
        assert_eq!(feed(&[b"\x1c\x1b[A"]), input(b"\x1c\x1b[A"));
    }

    #[test]
    fn other_keyboard_protocols_detach_too() {
        assert_eq!(feed(&[b"\x1b[92;5u", b"d"]), Typed::Detach(Vec::new()));
        assert_eq!(feed(&[b"\x1b[92;5u", b"\x1b[100u"]), Typed::Detach(Vec::new()));
        assert_eq!(feed(&[b"\x1b[27;5;92~", b"x"]), input(b"\x1b[27;5;92~x"));
    }

    #[test]
    fn everything_else_passes() {
        let all: Vec<u8> = (0..=255).filter(|byte| *byte != 0x1c).collect();
        assert_eq!(feed(&[&all]), input(&all));
    }

    #[test]
    fn other_keys_detach_if_the_user_has_chosen_them() {
        assert_eq!(feed_to("C-a d", &[b"x\x01d"]), Typed::Detach(b"x".into()));
        assert_eq!(feed_to("ctrl-A,d", &[b"\x1b[97;5u", b"d"]), Typed::Detach(Vec::new()));
        assert_eq!(feed_to("C-p C-q", &[b"\x10\x10\x10", b"\x11"]), Typed::Detach(b"\x10".into()));
        assert_eq!(feed_to("^]", &[b"a\x1d", b"b"]), Typed::Detach(b"a".into()));
        assert_eq!(feed_to("C-a C-a", &[b"\x01", b"\x01"]), Typed::Detach(Vec::new()));
        assert_eq!(feed_to("C-a d", &[b"\x1cd"]), input(b"\x1cd"), "the usual ones do not");
        assert_eq!(feed_to("none", &[b"\x1cd"]), input(b"\x1cd"));
        let names = |keys: &str| Keys::new(keys.parse().unwrap()).names();
        assert_eq!(names("^P ^Q").as_deref(), Some("Ctrl-p Ctrl-q"));
        assert_eq!(names("none"), None);
    }

    #[test]
    fn keys_that_could_not_be_typed_any_more_are_refused() {
        for wrong in ["", "d", "d C-a", "C-a b c", "C-", "C-F1", "Enter", "C-é", "C-a C-"] {
            let refused = wrong.parse::<DetachKeys>();
            assert!(refused.is_err_and(|why| why.contains("with Ctrl")), "{wrong:?}");
        }
    }
}
