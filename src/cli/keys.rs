//! From the names of keys to what a terminal sends for them.

/// What is sent for a key. Names are those of tmux and of people: `Enter`, `C-c` or
/// `Ctrl-C`, `M-x` or `Alt-x`, `Up`, `F5` … `application`: the program has asked for
/// application cursor keys (DECCKM). `None`: no such key.
pub(super) fn encode(name: &str, application: bool) -> Option<Vec<u8>> {
    let mut chars = name.chars();
    if let (Some(one), None) = (chars.next(), chars.next()) {
        return Some(one.to_string().into_bytes());
    }
    let lower = name.to_ascii_lowercase();
    let after = |long: &str, short: &str| {
        let length = [long, short].into_iter().find(|part| lower.starts_with(part))?.len();
        name.get(length..).filter(|rest| !rest.is_empty())
    };
    if let Some(rest) = after("ctrl-", "c-") {
        return control(rest).map(|byte| vec![byte]);
    }
    if let Some(rest) = after("alt-", "m-") {
        return Some([b"\x1b", &encode(rest, application)?[..]].concat());
    }
    let sent: &[u8] = match &*lower {
        "enter" | "return" => b"\r",
        "tab" => b"\t",
        "s-tab" | "shift-tab" | "btab" => b"\x1b[Z",
        "escape" | "esc" => b"\x1b",
        "space" => b" ",
        "backspace" | "bspace" => b"\x7f",
        "insert" => b"\x1b[2~",
        "delete" => b"\x1b[3~",
        "pageup" | "pgup" => b"\x1b[5~",
        "pagedown" | "pgdn" => b"\x1b[6~",
        "f1" => b"\x1bOP",
        "f2" => b"\x1bOQ",
        "f3" => b"\x1bOR",
        "f4" => b"\x1bOS",
        "f5" => b"\x1b[15~",
        "f6" => b"\x1b[17~",
        "f7" => b"\x1b[18~",
        "f8" => b"\x1b[19~",
        "f9" => b"\x1b[20~",
        "f10" => b"\x1b[21~",
        "f11" => b"\x1b[23~",
        "f12" => b"\x1b[24~",
        _ => {
            let last = cursor(&lower)?;
            return Some(vec![0x1b, if application { b'O' } else { b'[' }, last]);
        }
    };
    Some(sent.to_vec())
}

/// Whether what is sent depends on the program's mode.
pub(super) fn depends_on_mode(name: &str) -> bool {
    encode(name, true) != encode(name, false)
}

fn cursor(name: &str) -> Option<u8> {
    Some(match name {
        "up" => b'A',
        "down" => b'B',
        "right" => b'C',
        "left" => b'D',
        "home" => b'H',
        "end" => b'F',
        _ => return None,
    })
}

/// The control character of a key: its code without the upper bits.
fn control(key: &str) -> Option<u8> {
    match key.as_bytes() {
        [b'?'] => Some(0x7f),
        [byte @ (b'@'..=b'_' | b'a'..=b'z')] => Some(byte & 0x1f),
        _ if key.eq_ignore_ascii_case("space") => Some(0),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys_have_the_names_that_people_use() {
        for (name, sent) in [
            ("Enter", &b"\r"[..]),
            ("C-c", b"\x03"),
            ("ctrl-C", b"\x03"),
            ("C-\\", b"\x1c"),
            ("C-Space", b"\0"),
            ("M-x", b"\x1bx"),
            ("Alt-Enter", b"\x1b\r"),
            ("Esc", b"\x1b"),
            ("F12", b"\x1b[24~"),
            ("Up", b"\x1b[A"),
            ("x", b"x"),
            ("é", "é".as_bytes()),
        ] {
            assert_eq!(encode(name, false).as_deref(), Some(sent), "{name}");
        }
        for unknown in ["", "Entr", "C-", "C-é", "M-", "F13", "C-Enter", "up "] {
            assert_eq!(encode(unknown, false), None, "{unknown}");
        }
    }

    #[test]
    fn arrows_follow_the_program() {
        assert_eq!(encode("Up", true).as_deref(), Some(&b"\x1bOA"[..]));
        assert!(depends_on_mode("M-Home") && !depends_on_mode("F1") && !depends_on_mode("nokey"));
    }
}
