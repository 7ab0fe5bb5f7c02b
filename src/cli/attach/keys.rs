//! The keys that detach: Ctrl-\, then d.

/// Ctrl-\ as terminals send it: plainly, in the kitty protocol, and with xterm's modifyOtherKeys.
/// The program chooses one of them, and the key must work under each.
const ESCAPES: [&[u8]; 3] = [b"\x1c", b"\x1b[92;5u", b"\x1b[27;5;92~"];
/// d in the same three encodings.
const DETACHES: [&[u8]; 3] = [b"d", b"\x1b[100u", b"\x1b[27;1;100~"];

/// Finds the keys in typed bytes.
#[derive(Debug, Default)]
pub(super) struct Keys {
    /// A Ctrl-\ that is held back until the next key.
    held: Option<&'static [u8]>,
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
    /// Takes the bytes of one read. Terminals write a key in one piece, so a key of several bytes
    /// is not searched for across reads.
    pub(super) fn feed(&mut self, mut bytes: &[u8]) -> Typed {
        let mut input = Vec::with_capacity(bytes.len());
        while !bytes.is_empty() {
            let escape = starting(&ESCAPES, bytes);
            match (self.held.take(), escape) {
                (None, Some(escape)) => {
                    self.held = Some(escape);
                    bytes = &bytes[escape.len()..];
                }
                (None, None) => {
                    input.push(bytes[0]);
                    bytes = &bytes[1..];
                }
                // Ctrl-\ twice sends one.
                (Some(_), Some(escape)) => {
                    input.extend_from_slice(escape);
                    bytes = &bytes[escape.len()..];
                }
                (Some(_), None) if starting(&DETACHES, bytes).is_some() => {
                    return Typed::Detach(input);
                }
                // Ctrl-\ and another key are both for the program.
                (Some(held), None) => input.extend_from_slice(held),
            }
        }
        Typed::Input(input)
    }
}

fn starting(keys: &[&'static [u8]], bytes: &[u8]) -> Option<&'static [u8]> {
    keys.iter().copied().find(|key| bytes.starts_with(key))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The result of several reads.
    fn feed(reads: &[&[u8]]) -> Typed {
        let mut keys = Keys::default();
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
}
