//! asciicast v2 (docs.asciinema.org/manual/asciicast/v2): a line of JSON that is the header,
//! then one event a line, `[seconds, code, data]`.

use crate::id::SessionId;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use std::fs::File;
use std::io::{self, BufRead, BufReader, Read};
use std::path::Path;

/// The media type that the format's documentation suggests.
pub const CONTENT_TYPE: &str = "application/x-asciicast";

/// The longest header: a name has at most 64 characters.
const HEADER_MAX: u64 = 16 << 10;

/// The first line of a file. Players ignore the members that they do not know.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Header {
    /// The format's version, 2.
    pub version: u8,
    /// Columns at the beginning.
    pub width: u16,
    /// Rows at the beginning.
    pub height: u16,
    /// Unix time of the beginning, in seconds.
    pub timestamp: i64,
    /// The session's name.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub title: Option<String>,
    /// `TERM`, and `SHELL` if it is known.
    pub env: BTreeMap<String, String>,
    /// The members that only stayd writes and reads.
    pub stayd: Origin,
}

/// The place of a file in its recording.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Origin {
    /// The session whose output it is.
    pub session: SessionId,
    /// The file's number, from 1.
    pub file: u32,
    /// Bytes that the session had printed before this file.
    pub offset: u64,
    /// Microseconds from the recording's beginning to this file's.
    pub elapsed_us: u64,
    /// Whether the first event is a snapshot of the screen, and not output.
    pub picture: bool,
}

impl Header {
    /// The header as a line of JSON.
    pub fn line(&self) -> Vec<u8> {
        // Strings and numbers: nothing in it can fail to be written.
        let mut line = one_line(serde_json::to_string(self).unwrap_or_default());
        line.push('\n');
        line.into_bytes()
    }

    /// Parses a line; `None` if stayd did not write it.
    pub fn parse(line: &[u8]) -> Option<Self> {
        serde_json::from_slice(line).ok().filter(|header: &Header| header.version == 2)
    }

    /// Reads the header of a file; `None` if stayd did not write it.
    pub(super) fn of(path: &Path) -> Option<Self> {
        let mut file = BufReader::new(File::open(path).ok()?.take(HEADER_MAX));
        Header::parse(&next_line(&mut file).ok()??)
    }
}

/// Whether a line is an event of input.
pub fn is_input(line: &[u8]) -> bool {
    split_time(line).is_some_and(|(_, rest)| rest.starts_with(b", \"i\""))
}

/// JSON on one line whatever the reader: JSON allows U+0085, U+2028 and U+2029 as they are, and yet
/// some readers take them for the end of a line.
fn one_line(json: String) -> String {
    let breaks = [('\u{85}', "\\u0085"), ('\u{2028}', "\\u2028"), ('\u{2029}', "\\u2029")];
    breaks.into_iter().fold(json, |json, (found, escape)| match json.contains(found) {
        true => json.replace(found, escape),
        false => json,
    })
}

/// The next line, if it is whole.
pub(super) fn next_line(file: &mut impl BufRead) -> io::Result<Option<Vec<u8>>> {
    let mut line = Vec::new();
    file.read_until(b'\n', &mut line)?;
    Ok(line.ends_with(b"\n").then_some(line))
}

/// The code of an event.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Code {
    /// The program has printed the data.
    Output,
    /// A client has typed the data.
    Input,
    /// The terminal has a new size, `COLSxROWS`.
    Resize,
    /// A remark about the recording itself, such as a gap.
    Marker,
}

impl Code {
    fn as_str(self) -> &'static str {
        match self {
            Code::Output => "o",
            Code::Input => "i",
            Code::Resize => "r",
            Code::Marker => "m",
        }
    }
}

/// Appends an event, `time_us` microseconds after the file's beginning.
pub fn push_event(lines: &mut Vec<u8>, time_us: u64, code: Code, data: &str) {
    // A string can always be written.
    let data = one_line(serde_json::to_string(data).unwrap_or_default());
    let event = format!(", \"{}\", {data}]\n", code.as_str());
    lines.extend(at_time(time_us, event.as_bytes()));
}

/// Splits an event's line into its time, in microseconds, and the rest.
pub fn split_time(line: &[u8]) -> Option<(u64, &[u8])> {
    let comma = memchr::memchr(b',', line)?;
    let (time, rest) = line.split_at(comma);
    let time = std::str::from_utf8(time.strip_prefix(b"[")?).ok()?;
    let (seconds, micros) = time.split_once('.')?;
    let is_number = |text: &str| text.bytes().all(|byte| byte.is_ascii_digit());
    if micros.len() != 6 || !is_number(seconds) || !is_number(micros) {
        return None;
    }
    let seconds: u64 = seconds.parse().ok()?;
    Some((seconds.checked_mul(1_000_000)?.checked_add(micros.parse().ok()?)?, rest))
}

/// An event's line at another time.
pub fn at_time(time_us: u64, rest: &[u8]) -> Vec<u8> {
    let (seconds, micros) = (time_us / 1_000_000, time_us % 1_000_000);
    [format!("[{seconds}.{micros:06}").as_bytes(), rest].concat()
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn events_are_the_documented_ones() {
        let mut lines = Vec::new();
        push_event(&mut lines, 1_000_376, Code::Output, "\x1b[1mHi \"you\"\r\n");
        push_event(&mut lines, 61_000_000, Code::Resize, "80x24");
        push_event(&mut lines, 61_000_001, Code::Marker, "gap: 7 bytes");
        push_event(&mut lines, 61_000_002, Code::Input, "a\u{2028}\u{85}");
        let text = String::from_utf8(lines).unwrap();
        let expected = [
            r#"[1.000376, "o", "\u001b[1mHi \"you\"\r\n"]"#,
            r#"[61.000000, "r", "80x24"]"#,
            r#"[61.000001, "m", "gap: 7 bytes"]"#,
            r#"[61.000002, "i", "a\u2028\u0085"]"#,
        ];
        assert_eq!(text.lines().collect::<Vec<_>>(), expected);
    }

    #[test]
    fn a_header_survives_its_line() {
        let header = Header {
            version: 2,
            width: 80,
            height: 24,
            timestamp: 1_504_467_315,
            title: Some("a\u{2028}\"b".into()),
            env: BTreeMap::from([("TERM".into(), "xterm-256color".into())]),
            stayd: Origin {
                session: SessionId::generate(),
                file: 3,
                offset: u64::MAX,
                elapsed_us: 7,
                picture: true,
            },
        };
        let line = header.line();
        assert_eq!(line.iter().filter(|&&byte| byte == b'\n').count(), 1);
        assert!(!String::from_utf8(line.clone()).unwrap().contains('\u{2028}'));
        assert_eq!(Header::parse(&line), Some(header));
        assert_eq!(Header::parse(b"{\"version\": 2}"), None);
    }

    proptest! {
        #[test]
        fn a_line_can_be_moved_in_time(time in 0..u64::MAX / 2, later in 0..u64::MAX / 2, data in ".*") {
            let (mut line, mut moved) = (Vec::new(), Vec::new());
            push_event(&mut line, time, Code::Output, &data);
            push_event(&mut moved, time + later, Code::Output, &data);
            let (read, rest) = split_time(&line).unwrap();
            prop_assert_eq!(read, time);
            prop_assert_eq!(at_time(time + later, rest), moved);
            let value: (f64, String, String) = serde_json::from_slice(&line).unwrap();
            prop_assert_eq!(value.2, data);
        }

        #[test]
        fn what_is_no_event_has_no_time(line in prop::collection::vec(any::<u8>(), 0..40)) {
            let _ = split_time(&line);
        }
    }
}
