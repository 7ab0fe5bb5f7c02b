//! Tells what a person has typed from what a terminal sends by itself or to move about.

const ESC: u8 = 0x1b;

/// Whether input is more than cursor keys, mouse, focus and answers of a terminal: whoever sends it has
/// seen what was asked, and does something about it. Escape alone is a key.
#[must_use]
pub fn is_answer(mut bytes: &[u8]) -> bool {
    while let [ESC, rest @ ..] = bytes {
        bytes = match rest {
            [] => return true,
            [b'[', rest @ ..] => match after_csi(rest) {
                // Pasted text, which is between two of these.
                Some((b'~', b"200", rest)) => return !rest.is_empty(),
                // Three bytes follow.
                Some((b'M', b"", rest)) => rest.get(3..).unwrap_or_default(),
                Some((_, _, rest)) => rest,
                None => return false,
            },
            [b'O', _, rest @ ..] => rest,
            // Replies: DCS, OSC, APC, PM.
            [b'P' | b']' | b'_' | b'^', ..] => return false,
            _ => return true,
        };
    }
    !bytes.is_empty()
}

/// The final byte of a control sequence, its parameters, and what follows it; `None` if it has no end.
fn after_csi(bytes: &[u8]) -> Option<(u8, &[u8], &[u8])> {
    let end = bytes.iter().position(|byte| (0x40..=0x7e).contains(byte))?;
    let (params, rest) = bytes.split_at(end);
    let (last, rest) = rest.split_first()?;
    Some((*last, params, rest))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys_that_say_something_are_told_from_those_that_move_about() {
        for said in [&b"y"[..], b"\r", b"\x1b", b"\x03", b"\x1bb", b"\x1b[A1", b"\x1b[200~x"] {
            assert!(is_answer(said), "{said:?}");
        }
        let moved = [
            &b""[..],
            b"\x1b[A\x1b[B",
            b"\x1bOA",
            b"\x1b[I",
            b"\x1b[<35;10;2M",
            b"\x1b[M !!",
            b"\x1b[12;3R",
            b"\x1b[",
            b"\x1b]11;rgb:0/0/0\x1b\\",
            b"\x1bP>|xterm\x1b\\",
        ];
        for moved in moved {
            assert!(!is_answer(moved), "{moved:?}");
        }
    }
}
