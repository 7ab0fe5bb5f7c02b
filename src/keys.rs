//! Translates names of keys to the bytes that a terminal sends, as xterm does by default.

/// The bits of the modifiers. xterm sends 1 plus their sum as a sequence's second parameter.
const SHIFT: u8 = 1;
const ALT: u8 = 2;
const CTRL: u8 = 4;

/// The names that [`encode`] accepts, for messages.
pub const UNDERSTOOD: &str = "\
    keys are a character, Enter, Tab, Escape, Space, Backspace, Insert, Delete, Up, Down, Left, \
    Right, Home, End, PageUp, PageDown, F1 to F12; before one may stand C- (Ctrl), M- (Alt), S- \
    (Shift) or several, where terminals send something for it: C-c, C-/, C-M-x, C-Left, S-Up, \
    M-Enter, S-Tab, C-S-F5";

/// Keys for which a terminal sends a sequence.
enum Function {
    /// `CSI A`; `SS3 A` if the program has asked for application cursor keys (DECCKM).
    Cursor(u8),
    /// `SS3 P`.
    Pf(u8),
    /// `CSI 5 ~`.
    Tilde(u8),
}

/// The bytes for a key. Names are those of tmux and common ones: `Enter`, `C-c` or `Ctrl-C`, `M-x`
/// or `Alt-x`, `S-Up`, `C-M-Left`, `F5` … `application` says whether the program has enabled
/// application cursor keys, which matters for keys without a modifier. `None` if there is no such
/// key, or terminals send no distinct bytes for it.
#[must_use]
pub fn encode(name: &str, application: bool) -> Option<Vec<u8>> {
    let (modifiers, key) = modifiers(name)?;
    if let Some(key) = function(key) {
        return Some(sequence(&key, modifiers, application));
    }
    let sent = if key.eq_ignore_ascii_case("btab") { shifted_tab(modifiers | SHIFT) } else { None };
    let sent = sent.or_else(|| plain(key, modifiers & !ALT))?;
    let alt = (modifiers & ALT != 0).then_some(0x1b);
    Some(alt.into_iter().chain(sent).collect())
}

/// Whether the bytes depend on the program's cursor key mode.
#[must_use]
pub fn depends_on_mode(name: &str) -> bool {
    encode(name, true) != encode(name, false)
}

/// Splits a name into the modifiers, each at most once, and the key.
fn modifiers(mut name: &str) -> Option<(u8, &str)> {
    let mut all = 0;
    loop {
        let word = name.find(['-', '+']).filter(|&at| at > 0 && at + 1 < name.len());
        let bit = word.and_then(|at| match name[..at].to_ascii_lowercase().as_str() {
            "c" | "ctrl" | "control" => Some(CTRL),
            "m" | "a" | "alt" | "meta" => Some(ALT),
            "s" | "shift" => Some(SHIFT),
            _ => None,
        });
        let (Some(at), Some(bit)) = (word, bit) else { return Some((all, name)) };
        if all & bit != 0 {
            return None;
        }
        all |= bit;
        name = &name[at + 1..];
    }
}

fn function(key: &str) -> Option<Function> {
    Some(match key.to_ascii_lowercase().as_str() {
        "up" => Function::Cursor(b'A'),
        "down" => Function::Cursor(b'B'),
        "right" => Function::Cursor(b'C'),
        "left" => Function::Cursor(b'D'),
        "end" => Function::Cursor(b'F'),
        "home" => Function::Cursor(b'H'),
        "f1" => Function::Pf(b'P'),
        "f2" => Function::Pf(b'Q'),
        "f3" => Function::Pf(b'R'),
        "f4" => Function::Pf(b'S'),
        "insert" | "ins" => Function::Tilde(2),
        "delete" | "del" => Function::Tilde(3),
        "pageup" | "pgup" => Function::Tilde(5),
        "pagedown" | "pgdn" => Function::Tilde(6),
        "f5" => Function::Tilde(15),
        "f6" => Function::Tilde(17),
        "f7" => Function::Tilde(18),
        "f8" => Function::Tilde(19),
        "f9" => Function::Tilde(20),
        "f10" => Function::Tilde(21),
        "f11" => Function::Tilde(23),
        "f12" => Function::Tilde(24),
        _ => return None,
    })
}

fn sequence(key: &Function, modifiers: u8, application: bool) -> Vec<u8> {
    let with = modifiers + 1;
    match (key, modifiers) {
        (Function::Cursor(last), 0) => vec![0x1b, if application { b'O' } else { b'[' }, *last],
        (Function::Pf(last), 0) => vec![0x1b, b'O', *last],
        (Function::Cursor(last) | Function::Pf(last), _) => {
            format!("\x1b[1;{with}{}", char::from(*last)).into_bytes()
        }
        (Function::Tilde(number), 0) => format!("\x1b[{number}~").into_bytes(),
        (Function::Tilde(number), _) => format!("\x1b[{number};{with}~").into_bytes(),
    }
}

/// The bytes of a key that is a character or sends one, with Shift and Ctrl only.
fn plain(key: &str, modifiers: u8) -> Option<Vec<u8>> {
    let bytes: &[u8] = match (key.to_ascii_lowercase().as_str(), modifiers) {
        ("enter" | "return", 0) => b"\r",
        ("escape" | "esc", 0) => b"\x1b",
        ("space", 0) => b" ",
        ("space", CTRL) => b"\0",
        ("backspace" | "bspace", 0) => b"\x7f",
        ("backspace" | "bspace", CTRL) => b"\x08",
        ("tab", 0) => b"\t",
        ("tab", SHIFT) => return shifted_tab(SHIFT),
        _ => return character(key, modifiers),
    };
    Some(bytes.to_vec())
}

fn shifted_tab(modifiers: u8) -> Option<Vec<u8>> {
    (modifiers & !ALT == SHIFT).then(|| b"\x1b[Z".to_vec())
}

fn character(key: &str, modifiers: u8) -> Option<Vec<u8>> {
    let mut chars = key.chars();
    let (Some(mut one), None) = (chars.next(), chars.next()) else { return None };
    if modifiers & SHIFT != 0 {
        // For other keys the keyboard layout decides what Shift does.
        one = one.is_ascii_alphabetic().then(|| one.to_ascii_uppercase())?;
    }
    if modifiers & CTRL != 0 {
        return control(one).map(|byte| vec![byte]);
    }
    Some(one.to_string().into_bytes())
}

/// The control character of a key, as XLookupString(3) has it, and the usual one of `?`.
fn control(key: char) -> Option<u8> {
    let byte = u8::try_from(key).ok()?;
    Some(match byte {
        b'@'..=b'~' => byte & 0x1f,
        b' ' | b'2' => 0,
        b'3'..=b'7' => byte - b'3' + 0x1b,
        b'8' | b'?' => 0x7f,
        b'/' => 0x1f,
        _ => return None,
    })
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
            ("Ctrl+C", b"\x03"),
            ("C-\\", b"\x1c"),
            ("C-/", b"\x1f"),
            ("C-_", b"\x1f"),
            ("C-?", b"\x7f"),
            ("C-3", b"\x1b"),
            ("C-Space", b"\0"),
            ("C-Backspace", b"\x08"),
            ("M-x", b"\x1bx"),
            ("C-M-x", b"\x1b\x18"),
            ("M-C-x", b"\x1b\x18"),
            ("C-S-a", b"\x01"),
            ("S-a", b"A"),
            ("M-é", "\x1bé".as_bytes()),
            ("M--", b"\x1b-"),
            ("Alt-Enter", b"\x1b\r"),
            ("M-Backspace", b"\x1b\x7f"),
            ("S-Tab", b"\x1b[Z"),
            ("BTab", b"\x1b[Z"),
            ("M-S-Tab", b"\x1b\x1b[Z"),
            ("M-Tab", b"\x1b\t"),
            ("Esc", b"\x1b"),
            ("Up", b"\x1b[A"),
            ("S-Up", b"\x1b[1;2A"),
            ("M-Up", b"\x1b[1;3A"),
            ("C-Left", b"\x1b[1;5D"),
            ("C-S-Right", b"\x1b[1;6C"),
            ("C-M-S-Home", b"\x1b[1;8H"),
            ("F1", b"\x1bOP"),
            ("C-F1", b"\x1b[1;5P"),
            ("F12", b"\x1b[24~"),
            ("S-F12", b"\x1b[24;2~"),
            ("C-Delete", b"\x1b[3;5~"),
            ("M-PgDn", b"\x1b[6;3~"),
            ("x", b"x"),
            ("-", b"-"),
            ("+", b"+"),
            ("é", "é".as_bytes()),
        ] {
            assert_eq!(encode(name, false).as_deref(), Some(sent), "{name}");
        }
        for unknown in [
            "", "Entr", "C-", "C-é", "M-", "F13", "F0", "C-Enter", "S-Enter", "C-Tab", "up ",
            "C-C-x", "S-1", "C--", "Hyper-x", "C-M-", "-x",
        ] {
            assert_eq!(encode(unknown, false), None, "{unknown}");
        }
    }

    #[test]
    fn arrows_without_a_modifier_follow_the_program() {
        assert_eq!(encode("Up", true).as_deref(), Some(&b"\x1bOA"[..]));
        assert_eq!(encode("C-Up", true).as_deref(), Some(&b"\x1b[1;5A"[..]));
        for (name, depends) in [("Home", true), ("M-Home", false), ("F1", false), ("nokey", false)]
        {
            assert_eq!(depends_on_mode(name), depends, "{name}");
        }
    }

    #[test]
    fn every_key_that_help_names_is_there() {
        let names = UNDERSTOOD.split([' ', ',', ';', ':']).filter(|word| {
            word.starts_with(|c: char| c.is_ascii_uppercase()) && !word.ends_with(['-', ')'])
        });
        let names: Vec<_> = names.collect();
        assert!(names.len() > 20, "{names:?}");
        for name in names {
            assert!(encode(name, false).is_some(), "{name}");
        }
    }
}
