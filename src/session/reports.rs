//! What a client's terminal says by itself. Programs' queries have one answerer, the
//! session's screen, so what the terminals of clients answer to the same queries is counted
//! as input and not typed.

use std::ops::Range;

/// The part of some input that a terminal sent as an answer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Report {
    /// Where it stands.
    pub(crate) bytes: Range<usize>,
    /// It may be a key as well: `ESC [ 1 ; 2 R` is Shift-F3, and the cursor's position.
    pub(crate) may_be_key: bool,
}

/// The first report in `input`. Only whole ones are seen: terminals send each at once.
pub(crate) fn first_report(input: &[u8]) -> Option<Report> {
    let mut from = 0;
    loop {
        let start = from + memchr::memchr(b'\x1b', &input[from..])?;
        if let Some((length, may_be_key)) = report_length(&input[start..]) {
            return Some(Report { bytes: start..start + length, may_be_key });
        }
        from = start + 1;
    }
}

fn report_length(bytes: &[u8]) -> Option<(usize, bool)> {
    match bytes.get(1)? {
        b'[' => control_length(bytes),
        b']' => string_length(bytes, is_command_report),
        b'P' => string_length(bytes, is_device_report),
        _ => None,
    }
}

/// Control sequences (ECMA-48, 5.4; xterm's ctlseqs).
fn control_length(bytes: &[u8]) -> Option<(usize, bool)> {
    let rest = &bytes[2..];
    let parameters = rest.iter().take_while(|byte| (0x30..=0x3f).contains(*byte)).count();
    let intermediates =
        rest[parameters..].iter().take_while(|byte| (0x20..=0x2f).contains(*byte)).count();
    let last = *rest.get(parameters + intermediates)?;
    let words = &rest[..parameters];
    let private = words.first().copied().filter(|byte| matches!(byte, b'<'..=b'?'));
    let length = 2 + parameters + intermediates + 1;
    let is_report = match (private, &rest[parameters..parameters + intermediates], last) {
        // Device attributes, status, modes, keyboard flags.
        (Some(b'?' | b'>' | b'='), b"", b'c') => true,
        (Some(b'?'), b"", b'n' | b'u' | b'R') => true,
        (None | Some(b'?'), b"$", b'y') => true,
        (None, b"", b'n') => matches!(words, b"0" | b"3"),
        // The window's state and sizes.
        (None, b"", b't') => {
            matches!(words.first(), Some(b'1' | b'2' | b'3' | b'4' | b'6' | b'8' | b'9'))
        }
        // The cursor's position: row and column.
        (None, b"", b'R') => words.contains(&b';'),
        _ => return None,
    };
    let is_key = last == b'R' && private.is_none() && words.starts_with(b"1;");
    is_report.then_some((length, is_key))
}

/// A string up to BEL or ST, if `is_report` says so of its content.
fn string_length(bytes: &[u8], is_report: fn(&[u8]) -> bool) -> Option<(usize, bool)> {
    let content = &bytes[2..];
    let end = memchr::memchr2(b'\x07', b'\x1b', content)?;
    let terminator = match content[end..] {
        [0x07, ..] => 1,
        [0x1b, b'\\', ..] => 2,
        _ => return None,
    };
    is_report(&content[..end]).then_some((2 + end + terminator, false))
}

/// Colours, the clipboard, titles.
fn is_command_report(content: &[u8]) -> bool {
    let number = content.split(|&byte| byte == b';').next().unwrap_or_default();
    match number {
        b"4" | b"5" | b"52" => true,
        [b'1', b'0'..=b'9'] => true,
        _ => matches!(content.first(), Some(b'l' | b'L')),
    }
}

/// Settings, capabilities, the terminal's name and version, its unit.
fn is_device_report(content: &[u8]) -> bool {
    matches!(content, [b'0' | b'1', b'$' | b'+', b'r', ..] | [b'>' | b'!', b'|', ..])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_terminals_answer_is_recognised() {
        for report in [
            "\x1b[?1;2c",
            "\x1b[>0;276;0c",
            "\x1b[=00000000c",
            "\x1b[0n",
            "\x1b[?2004;1$y",
            "\x1b[24;80R",
            "\x1b[?24;80R",
            "\x1b[8;24;80t",
            "\x1b[?0u",
            "\x1b]11;rgb:0000/0000/0000\x07",
            "\x1b]4;1;rgb:cdcd/0000/0000\x1b\\",
            "\x1bP>|xterm.js(6.0.0)\x1b\\",
            "\x1bP1$r0m\x1b\\",
            "\x1bP!|00000000\x1b\\",
        ] {
            let input = format!("a{report}b");
            let found = first_report(input.as_bytes());
            let whole = Report { bytes: 1..1 + report.len(), may_be_key: false };
            assert_eq!(found, Some(whole), "{report:?}");
        }
    }

    #[test]
    fn what_people_type_is_not() {
        for typed in [
            "text\r",
            "\x1b",
            "\x1b[A",
            "\x1b[1;5C",
            "\x1bOP",
            "\x1b[15~",
            "\x1b[3;5~",
            "\x1b[200~pasted\x1b[201~",
            "\x1b[I",
            "\x1b[<0;3;4M",
            "\x1b[<0;3;4m",
            "\x1b[M !!",
            "\x1b[97;5u",
            "\x1bx",
            "\x1b]half",
            "\x1b[2",
            "\x1b[Z",
            "\x1b[R",
        ] {
            assert_eq!(first_report(typed.as_bytes()), None, "{typed:?}");
        }
        let shift_f3 = first_report(b"\x1b[1;2R");
        assert_eq!(shift_f3, Some(Report { bytes: 0..6, may_be_key: true }));
    }
}
