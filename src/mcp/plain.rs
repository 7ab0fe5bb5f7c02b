//! A program's output as plain text: what a terminal would take for more than text is left out.

/// The place within an escape sequence.
#[derive(Clone, Copy, PartialEq, Eq)]
enum At {
    Text,
    /// Behind ESC, or ESC and intermediate bytes.
    Escape,
    /// Behind ESC `[`.
    Control,
    /// In a string that BEL or ESC `\` ends: OSC, DCS, SOS, PM, APC.
    String,
    /// Behind an ESC in such a string.
    StringEscape,
}

/// The text of some output. Escape sequences and other controls than tabs are left out; lines end in LF;
/// a line that was printed over after a carriage return has its last text, as progress bars do.
#[must_use]
pub fn plain(output: &[u8]) -> String {
    let mut kept: Vec<u8> = Vec::with_capacity(output.len());
    let (mut at, mut line, mut returned) = (At::Text, 0, false);
    for &byte in output {
        at = match (at, byte) {
            (At::Text | At::Escape | At::Control | At::StringEscape, 0x1b) => At::Escape,
            (At::Text, b'\n') => {
                kept.push(b'\n');
                (line, returned) = (kept.len(), false);
                At::Text
            }
            (At::Text, b'\r') => {
                returned = true;
                At::Text
            }
            (At::Text, 0x08) => {
                let shorter = kept.len().saturating_sub(1).max(line);
                kept.truncate(shorter);
                At::Text
            }
            (At::Text, b'\t' | 0x20..=0x7e | 0x80..) => {
                if std::mem::take(&mut returned) {
                    kept.truncate(line);
                }
                kept.push(byte);
                At::Text
            }
            (At::Text, _) => At::Text,
            (At::Escape, b'[') => At::Control,
            (At::Escape, b']' | b'P' | b'X' | b'^' | b'_') => At::String,
            (At::Escape, 0x20..=0x2f) => At::Escape,
            (At::Escape, _) => At::Text,
            (At::Control, 0x40..=0x7e) => At::Text,
            (At::Control, _) => At::Control,
            (At::String, 0x07 | 0x18 | 0x1a) => At::Text,
            (At::String, 0x1b) => At::StringEscape,
            (At::String, _) => At::String,
            (At::StringEscape, b'\\') => At::Text,
            (At::StringEscape, _) => At::String,
        };
    }
    String::from_utf8_lossy(&kept).into_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_terminal_would_show_is_left() {
        for (output, text) in [
            ("a\r\nb\r\n", "a\nb\n"),
            ("\x1b[1;31mred\x1b[0m", "red"),
            ("\x1b]0;title\x07x\x1b]8;;u\x1b\\y", "xy"),
            ("\x1b(Bx\x1b=y\x1bMz", "xyz"),
            ("10%\r50%\r100%\r\n", "100%\n"),
            ("ab\x08c", "ac"),
            ("\x08\x08x", "x"),
            ("a\tb\x07\0c", "a\tbc"),
            ("é€\u{1f600}", "é€\u{1f600}"),
            ("\x1bP+q\x1b\\x", "x"),
            ("cut\x1b[3", "cut"),
        ] {
            assert_eq!(plain(output.as_bytes()), text, "{output:?}");
        }
        assert_eq!(plain(b"\xffx"), "\u{fffd}x");
    }
}
