//! Reports: what a client's terminal sends by itself. Programs' queries have one answerer, the
//! session's screen, so what the terminals of clients answer to the same queries is counted
//! as input and not typed.
//!
//! A terminal's answer may come in pieces, cut anywhere. Whatever can be a key, ESC and
//! ESC with one more sign included, is passed on at once; what can only be the beginning of
//! an answer waits for its rest for [`HOLD`]. In a bracketed paste everything is the user's.

use std::time::{Duration, Instant};

/// The beginning of an answer waits this long for its rest before it counts as typed; and bytes
/// that were passed on at once may turn out to have been such a beginning for this long.
pub(super) const HOLD: Duration = Duration::from_millis(100);
/// A long answer (a clipboard) may pause for this long.
const PAUSE: Duration = Duration::from_secs(1);
/// The longest control sequence that may be an answer, in bytes.
const SEQUENCE_MAX: usize = 256;
/// Bytes of a string that wait for its end. Of a longer one that can only be an answer the
/// rest is counted as it comes.
const STRING_MAX: usize = 4 << 10;
/// ESC and one sign more are a key with Alt.
const KEY: usize = 2;

const ESC: u8 = 0x1b;
const BEL: u8 = 0x07;
const PASTE_BEGINS: &[u8] = b"\x1b[200~";
const PASTE_ENDS: &[u8] = b"\x1b[201~";

/// A part of some input.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Part<'a> {
    /// For the program.
    Typed(&'a [u8]),
    /// An answer of the terminal.
    Report(&'a [u8]),
    /// It is the cursor's position, or Shift-F3 (`ESC [ 1 ; 2 R`).
    ReportOrKey(&'a [u8]),
}

/// Tells answers from what was typed, over the borders of messages.
#[derive(Debug, Default)]
pub(super) struct Reports {
    /// The end of the input, whose meaning depends on what follows.
    tail: Vec<u8>,
    /// Bytes of `tail` that were passed on already.
    passed: usize,
    inside: Inside,
    /// When the last input came; `None`: nothing is open.
    since: Option<Instant>,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
enum Inside {
    #[default]
    Nothing,
    /// A long answer, counted up to here.
    Report,
    /// A bracketed paste.
    Paste,
}

impl Reports {
    /// Takes input and gives it on in parts, in order. What it keeps comes with the next
    /// input, or by [`Reports::expire`].
    pub(super) fn feed(&mut self, bytes: &[u8], now: Instant, mut part: impl FnMut(Part<'_>)) {
        let idle = self.since.map_or(Duration::ZERO, |since| now.saturating_duration_since(since));
        // Only `expire` gives up held bytes, however late it runs; the rest of the state ends here.
        if idle >= HOLD && self.passed == self.tail.len() && self.inside != Inside::Paste {
            self.forget();
        }
        if idle >= PAUSE && self.inside == Inside::Report {
            self.inside = Inside::Nothing;
        }
        let (mut all, from) = (std::mem::take(&mut self.tail), std::mem::take(&mut self.passed));
        all.extend_from_slice(bytes);
        let mut input = Input { bytes: all, from, at: 0 };
        loop {
            let over = match self.inside {
                Inside::Nothing => self.outside(&mut input, &mut part),
                Inside::Report => self.report(&mut input, &mut part),
                Inside::Paste => self.paste(&mut input, &mut part),
            };
            if over {
                break;
            }
        }
        let open = !self.tail.is_empty() || self.inside == Inside::Report;
        self.since = open.then_some(now);
    }

    /// Gives up waiting: what is held was typed. For when nothing has come for [`HOLD`].
    pub(super) fn expire(&mut self, mut part: impl FnMut(Part<'_>)) {
        let held = self.tail.split_off(self.passed);
        if !held.is_empty() {
            part(Part::Typed(&held));
            // In a long answer an ESC was held that could have ended it, and did not.
            self.inside = Inside::Nothing;
        }
        self.forget();
    }

    /// Whether something waits for its rest.
    pub(super) fn holds(&self) -> bool {
        self.tail.len() > self.passed
    }

    fn forget(&mut self) {
        self.tail.clear();
        self.passed = 0;
    }

    /// Keeps the input from where it stands, and passes on what of it can be a key.
    fn keep(&mut self, input: &mut Input, hold: bool, part: &mut impl FnMut(Part<'_>)) -> bool {
        let start = input.at;
        if !hold {
            input.typed_to(input.bytes.len(), part);
        }
        self.tail = input.bytes.split_off(start);
        self.passed = input.from.max(start) - start;
        true
    }

    /// Goes on to the next sequence that matters; true at the end of the input.
    fn outside(&mut self, input: &mut Input, part: &mut impl FnMut(Part<'_>)) -> bool {
        loop {
            let Some(ahead) = memchr::memchr(ESC, &input.bytes[input.at..]) else {
                input.typed_to(input.bytes.len(), part);
                return true;
            };
            input.typed_to(input.at + ahead, part);
            let rest = &input.bytes[input.at..];
            match sequence(rest) {
                Sequence::Other => {
                    input.typed_to(input.at + 1, part);
                }
                Sequence::Paste => {
                    input.typed_to(input.at + PASTE_BEGINS.len(), part);
                    self.inside = Inside::Paste;
                    return false;
                }
                Sequence::Report { length, may_be_key } => {
                    input.report_to(input.at + length, may_be_key, part);
                }
                Sequence::Begun { report } => {
                    let (length, most) = (rest.len(), limit(rest));
                    if length <= KEY {
                        return self.keep(input, false, part);
                    } else if length <= most {
                        return self.keep(input, true, part);
                    } else if report {
                        input.report_to(input.at + KEY, false, part);
                        self.inside = Inside::Report;
                        return false;
                    }
                    input.typed_to(input.at + 1, part);
                }
            }
        }
    }

    /// Counts a long answer up to its end.
    fn report(&mut self, input: &mut Input, part: &mut impl FnMut(Part<'_>)) -> bool {
        let at = input.at;
        match string_end(&input.bytes[at..]) {
            StringEnd::Open { length } => {
                input.report_to(at + length, false, part);
                self.keep(input, true, part)
            }
            StringEnd::Terminated { length } | StringEnd::Broken { length } => {
                self.inside = Inside::Nothing;
                input.report_to(at + length, false, part);
                false
            }
        }
    }

    /// Passes a paste on up to its end.
    fn paste(&mut self, input: &mut Input, part: &mut impl FnMut(Part<'_>)) -> bool {
        let rest = &input.bytes[input.at..];
        if let Some(ahead) = memchr::memmem::find(rest, PASTE_ENDS) {
            self.inside = Inside::Nothing;
            input.typed_to(input.at + ahead + PASTE_ENDS.len(), part);
            return false;
        }
        let open =
            (1..PASTE_ENDS.len()).rev().find(|&length| rest.ends_with(&PASTE_ENDS[..length]));
        input.typed_to(input.bytes.len() - open.unwrap_or(0), part);
        self.keep(input, false, part)
    }
}

/// Input, of which some was given on.
struct Input {
    bytes: Vec<u8>,
    /// Everything before was given on.
    from: usize,
    /// Everything before is understood.
    at: usize,
}

impl Input {
    fn typed_to(&mut self, to: usize, part: &mut impl FnMut(Part<'_>)) {
        let typed = self.take_to(to);
        if !typed.is_empty() {
            part(Part::Typed(typed));
        }
    }

    fn report_to(&mut self, to: usize, may_be_key: bool, part: &mut impl FnMut(Part<'_>)) {
        // A key of which a part was passed on is no whole key any more.
        let whole = self.from <= self.at;
        let report = self.take_to(to);
        if !report.is_empty() {
            part(if may_be_key && whole {
                Part::ReportOrKey(report)
            } else {
                Part::Report(report)
            });
        }
    }

    /// The bytes before `to` that were not passed on.
    fn take_to(&mut self, to: usize) -> &[u8] {
        self.at = to;
        let from = self.from;
        self.from = from.max(to);
        &self.bytes[from.min(to)..to]
    }
}

/// The kind of sequence that begins with an ESC.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Sequence {
    /// Nothing that matters here.
    Other,
    /// A bracketed paste.
    Paste,
    /// An answer of so many bytes.
    Report { length: usize, may_be_key: bool },
    /// The input ends before it can be told; with `report` it can be nothing but an answer.
    Begun { report: bool },
}

fn sequence(bytes: &[u8]) -> Sequence {
    match bytes.get(1) {
        None => Sequence::Begun { report: false },
        Some(b'[') => control_sequence(bytes),
        Some(_) if introducer(bytes) => string(bytes),
        Some(_) => Sequence::Other,
    }
}

/// Whether a string begins here: OSC, DCS, APC.
fn introducer(bytes: &[u8]) -> bool {
    matches!(bytes, [ESC, b']' | b'P' | b'_', ..])
}

/// Bytes of a sequence that has begun which may wait.
fn limit(bytes: &[u8]) -> usize {
    if introducer(bytes) { STRING_MAX } else { SEQUENCE_MAX }
}

/// Control sequences (ECMA-48, 5.4; xterm's ctlseqs).
fn control_sequence(bytes: &[u8]) -> Sequence {
    if bytes.starts_with(PASTE_BEGINS) {
        return Sequence::Paste;
    }
    let rest = &bytes[2..];
    let parameters = rest.iter().take_while(|byte| (0x30..=0x3f).contains(*byte)).count();
    let words = &rest[..parameters];
    let private = words.first().copied().filter(|byte| matches!(byte, b'<'..=b'?'));
    if private == Some(b'<') {
        return Sequence::Other;
    }
    let intermediates =
        rest[parameters..].iter().take_while(|byte| (0x20..=0x2f).contains(*byte)).count();
    let Some(&last) = rest.get(parameters + intermediates) else {
        return Sequence::Begun { report: false };
    };
    let is_report = match (private, &rest[parameters..parameters + intermediates], last) {
        // Device attributes, status, modes, keyboard flags, graphics, modified keys.
        (Some(b'?' | b'>' | b'='), b"", b'c') => true,
        (Some(b'?'), b"", b'n' | b'u' | b'R' | b'S') => true,
        (Some(b'>'), b"", b'm') => true,
        // `ESC [ 3 $` alone is Shift-Delete of rxvt, whatever is typed after it.
        (None | Some(b'?'), b"$", b'y') => words.contains(&b';'),
        (None, b"", b'n') => matches!(words, b"0" | b"3"),
        // The window's state and sizes, the displayed part of a page.
        (None, b"", b't') => matches!(words.first(), Some(b'1'..=b'6' | b'8' | b'9')),
        (None, b"\"", b'w') => true,
        // The space that is left for macros.
        (None, b"*", b'{') => true,
        // The cursor's position: row and column.
        (None, b"", b'R') => words.contains(&b';'),
        // Terminal parameters.
        (None, b"", b'x') => matches!(words, [b'2' | b'3', b';', ..]),
        _ => return Sequence::Other,
    };
    if !is_report {
        return Sequence::Other;
    }
    let may_be_key = last == b'R' && private.is_none() && words.starts_with(b"1;");
    Sequence::Report { length: 2 + parameters + intermediates + 1, may_be_key }
}

/// Where the content of a string ends.
enum StringEnd {
    /// With BEL or ST, after so many bytes.
    Terminated { length: usize },
    /// With something else, which stands behind so many bytes.
    Broken { length: usize },
    /// Not yet. Behind so many bytes there is nothing, or an ESC.
    Open { length: usize },
}

fn string_end(content: &[u8]) -> StringEnd {
    let Some(length) = content.iter().position(|&byte| byte < 0x20) else {
        return StringEnd::Open { length: content.len() };
    };
    match content[length..] {
        [BEL, ..] => StringEnd::Terminated { length: length + 1 },
        [ESC, b'\\', ..] => StringEnd::Terminated { length: length + 2 },
        [ESC] => StringEnd::Open { length },
        _ => StringEnd::Broken { length },
    }
}

/// A string up to BEL or ST, if its content is an answer's.
fn string(bytes: &[u8]) -> Sequence {
    let content = &bytes[2..];
    let (text, length) = match string_end(content) {
        StringEnd::Terminated { length } => (content, Some(length)),
        StringEnd::Open { length } => (&content[..length], None),
        StringEnd::Broken { .. } => return Sequence::Other,
    };
    let known = match bytes[1] {
        b']' => command_report(text),
        b'P' => device_report(text),
        _ => text.first().map(|&first| first == b'G'),
    };
    match (known, length) {
        (Some(true), Some(length)) => Sequence::Report { length: 2 + length, may_be_key: false },
        (Some(true), None) => Sequence::Begun { report: true },
        // An ESC would end it, and it says too little for an answer.
        (None, None) if text.len() == content.len() => Sequence::Begun { report: false },
        (Some(false), _) | (None, _) => Sequence::Other,
    }
}

/// Whether an operating system command is an answer: colours, the pointer's shape, fonts, the
/// clipboard, what is allowed, notifications, the application's id, the cell's size, titles.
/// `None`: its beginning does not tell.
fn command_report(content: &[u8]) -> Option<bool> {
    const NUMBERS: [&str; 21] = [
        "4", "5", "10", "11", "12", "13", "14", "15", "16", "17", "18", "19", "21", "22", "50",
        "52", "60", "61", "99", "176", "1337",
    ];
    if matches!(content.first(), Some(b'l' | b'L')) {
        return Some(true);
    }
    let digits = content.iter().take_while(|byte| byte.is_ascii_digit()).count();
    let number = &content[..digits];
    match content.get(digits) {
        Some(b';') => Some(NUMBERS.iter().any(|known| known.as_bytes() == number)),
        Some(_) => Some(false),
        None if NUMBERS.iter().any(|known| known.as_bytes().starts_with(number)) => None,
        None => Some(false),
    }
}

/// Whether a device control string is an answer: settings, the cursor and the tab stops,
/// capabilities, checksums, the terminal's name and version, its unit. `None`: its beginning
/// does not tell.
fn device_report(content: &[u8]) -> Option<bool> {
    if content.first() == Some(&b'>') {
        return content.get(1).map(|&sign| sign == b'|');
    }
    let parameters =
        content.iter().take_while(|byte| byte.is_ascii_digit() || **byte == b';').count();
    match content[parameters..] {
        [] | [b'$' | b'+' | b'!'] => None,
        [b'$', b'r' | b's' | b'u', ..] | [b'+', b'r', ..] | [b'!', b'|' | b'~' | b'u', ..] => {
            Some(true)
        }
        _ => Some(false),
    }
}

#[cfg(test)]
#[path = "reports_tests.rs"]
mod tests;
