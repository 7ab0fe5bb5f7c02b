//! The parser of escape sequences: bytes in, calls of [`Actions`] out. The states are those
//! of Paul Williams' VT500 parser with xterm.js's changes, C1 controls and UTF-8 included, so
//! that both sides of a session find the same sequences in the same bytes.
//!
//! It also keeps the unfinished sequence, in the shortest form that brings another parser to the
//! same state: controls inside of it have taken effect already.

use crate::params::Params;
use crate::plain::ascii_length;
use crate::utf8::{self, Decoded, Utf8};

/// The most bytes of an unfinished string (OSC, DCS …) that are kept. xterm.js keeps ten million,
/// but no sequence without images is so long.
const STRING_MAX: usize = 64 * 1024;
/// The most bytes of an unfinished CSI sequence that are kept: 32 numbers of ten digits fit.
const SEQUENCE_MAX: usize = 512;
/// Replaces a string that was too long: a string without a meaning.
const FOREIGN_OSC: &[u8] = b"\x1b]x";
const FOREIGN_DCS: &[u8] = b"\x1bPx";

/// The actions of a terminal. An `id` consists of prefix, intermediate and final bytes, in this
/// order, as one big-endian number: `CSI ? 25 h` has the id `0x3f68`.
pub trait Actions {
    /// A run of printable ASCII.
    fn print_ascii(&mut self, text: &[u8]);
    /// A printable character beyond ASCII.
    fn print(&mut self, c: char);
    /// A C0 or C1 control.
    fn execute(&mut self, control: u8);
    /// A control sequence with its numbers.
    fn csi(&mut self, id: u32, params: &Params);
    /// An escape sequence.
    fn esc(&mut self, id: u32);
    /// An operating system command; `data` is what follows the number and its semicolon.
    fn osc(&mut self, number: u32, data: &str);
    /// A device control string; `data` is what follows its final byte.
    fn dcs(&mut self, id: u32, data: &str);
    /// A sequence or string without a meaning here has ended.
    fn ignored(&mut self);
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum State {
    Ground,
    Escape,
    EscapeIntermediate,
    CsiEntry,
    CsiParam,
    CsiIntermediate,
    CsiIgnore,
    /// SOS, PM and APC strings.
    Ignored,
    Osc,
    DcsEntry,
    DcsParam,
    DcsIntermediate,
    DcsIgnore,
    DcsPassthrough,
}

/// The parser's state between two calls.
#[derive(Debug)]
pub struct Parser {
    state: State,
    params: Params,
    collect: u32,
    /// The unfinished sequence; empty in the ground state.
    raw: Vec<u8>,
    /// The index in `raw` at which the payload of a string starts.
    payload: usize,
    too_long: bool,
    dcs: u32,
    utf8: Utf8,
}

impl Default for Parser {
    fn default() -> Parser {
        Parser::new()
    }
}

impl Parser {
    /// A parser in the ground state, with nothing unfinished.
    #[must_use]
    pub fn new() -> Parser {
        Parser {
            state: State::Ground,
            params: Params::new(),
            collect: 0,
            raw: Vec::new(),
            payload: 0,
            too_long: false,
            dcs: 0,
            utf8: Utf8::default(),
        }
    }

    /// The unfinished sequence, without an unfinished character.
    pub(super) fn unfinished(&self) -> &[u8] {
        &self.raw
    }

    /// The first bytes of an unfinished character.
    pub(super) fn partial(&self) -> &[u8] {
        self.utf8.partial()
    }

    /// Parses bytes, and calls the actions. The bytes may be cut anywhere.
    pub fn feed(&mut self, bytes: &[u8], to: &mut impl Actions) {
        let mut rest = bytes;
        while let Some(&byte) = rest.first() {
            if self.utf8.partial().is_empty() {
                let run = match self.state {
                    State::Ground | State::Osc | State::DcsPassthrough => ascii_length(rest),
                    _ => 0,
                };
                if run > 0 {
                    if self.state == State::Ground {
                        to.print_ascii(&rest[..run]);
                    } else {
                        self.put(&rest[..run]);
                    }
                    rest = &rest[run..];
                    continue;
                }
                if self.state == State::Ground
                    && let Some(length) = self.whole(rest, to)
                {
                    rest = &rest[length..];
                    continue;
                }
            }
            match self.utf8.push(byte) {
                Decoded::More => {}
                Decoded::Again => continue,
                Decoded::Char(c) if self.state == State::Ground && c >= '\u{a0}' => to.print(c),
                Decoded::Char(c) => self.step(c, to),
            }
            rest = &rest[1..];
        }
    }

    /// Does at once what begins nearly all of the output, in the ground state: a whole character,
    /// a control, a whole control sequence. Returns its length. What this does is what the steps
    /// below would do.
    fn whole(&mut self, bytes: &[u8], to: &mut impl Actions) -> Option<usize> {
        match bytes {
            [0x1b, b'[', rest @ ..] => self.whole_csi(rest, to).map(|length| 2 + length),
            [control @ (0x07..=0x0f), ..] => {
                to.execute(*control);
                Some(1)
            }
            _ => {
                let (c, length) = utf8::whole(bytes)?;
                to.print(c);
                Some(length)
            }
        }
    }

    /// A control sequence behind its introducer, without intermediate bytes.
    fn whole_csi(&mut self, bytes: &[u8], to: &mut impl Actions) -> Option<usize> {
        let (prefix, start) = match bytes.first()? {
            prefix @ b'<'..=b'?' => (u32::from(*prefix), 1),
            _ => (0, 0),
        };
        self.params.clear();
        for (at, &byte) in bytes.iter().enumerate().skip(start) {
            match byte {
                b'0'..=b'9' => self.params.digit(byte - b'0'),
                b';' => self.params.next(),
                b':' => self.params.next_sub(),
                0x40..=0x7e => {
                    to.csi(prefix << 8 | u32::from(byte), &self.params);
                    return Some(at + 1);
                }
                _ => return None,
            }
        }
        None
    }

    fn step(&mut self, c: char, to: &mut impl Actions) {
        use State::*;
        let code = u32::from(c);
        // The table does not distinguish characters beyond Latin-1's controls.
        let byte = if code < 0xa0 { code as u8 } else { 0xa0 };
        match (self.state, byte) {
            // The end of a string takes precedence over the rules for every state.
            (Osc, 0x07 | 0x18 | 0x1a | 0x1b | 0x9c) => self.end_osc(byte, to),
            (DcsPassthrough, 0x18 | 0x1a | 0x1b | 0x9c) => self.end_dcs(byte, to),

            (_, 0x18 | 0x1a | 0x80..=0x8f | 0x91..=0x97 | 0x99 | 0x9a) => {
                to.execute(byte);
                self.ground();
            }
            (_, 0x9c) => self.ground(),
            (_, 0x1b) => self.begin(Escape, c),
            (_, 0x9d) => self.begin(Osc, c),
            (_, 0x98 | 0x9e | 0x9f) => self.begin(Ignored, c),
            (_, 0x9b) => self.begin(CsiEntry, c),
            (_, 0x90) => self.begin(DcsEntry, c),

            (
                Ground | Escape | EscapeIntermediate | CsiEntry | CsiParam | CsiIntermediate
                | CsiIgnore,
                0..=0x1f,
            ) => to.execute(byte),
            (Osc | Ignored | DcsEntry | DcsParam | DcsIntermediate | DcsIgnore, 0..=0x1f) => {}

            (Escape, b'[') => self.begin_after_escape(CsiEntry, byte),
            (Escape, b']') => self.begin_after_escape(Osc, byte),
            (Escape, b'P') => self.begin_after_escape(DcsEntry, byte),
            (Escape, b'X' | b'^' | b'_') => self.begin_after_escape(Ignored, byte),
            (Escape | EscapeIntermediate, 0x20..=0x2f) => self.collect(byte, EscapeIntermediate),
            (Escape | EscapeIntermediate, 0x30..=0x7e) => {
                let id = self.collect << 8 | u32::from(byte);
                self.ground();
                to.esc(id);
            }
            (Escape | EscapeIntermediate, 0x7f) => {}

            (CsiEntry | CsiParam, b'0'..=b';') => self.param(byte, CsiParam),
            (CsiEntry, b'<'..=b'?') => self.collect(byte, CsiParam),
            (CsiEntry | CsiParam | CsiIntermediate, 0x20..=0x2f) => {
                self.collect(byte, CsiIntermediate)
            }
            (CsiParam | CsiIntermediate, 0x30..=0x3f) => self.ignore(byte, CsiIgnore),
            (CsiEntry | CsiParam | CsiIntermediate, 0x40..=0x7e) => {
                let id = self.collect << 8 | u32::from(byte);
                self.ground();
                to.csi(id, &self.params);
            }
            (CsiEntry | CsiParam | CsiIntermediate, 0x7f) => {}
            (CsiIgnore, 0x40..=0x7e) => self.ground(),
            (CsiIgnore, _) => {}

            (Ignored, 0x20..=0x7f) => {}

            (Osc, _) => self.put(c.encode_utf8(&mut [0; 4]).as_bytes()),

            (DcsEntry | DcsParam, b'0'..=b';') => self.param(byte, DcsParam),
            (DcsEntry, b'<'..=b'?') => self.collect(byte, DcsParam),
            (DcsEntry | DcsParam | DcsIntermediate, 0x20..=0x2f) => {
                self.collect(byte, DcsIntermediate)
            }
            (DcsParam | DcsIntermediate, 0x30..=0x3f) => self.ignore(byte, DcsIgnore),
            (DcsEntry | DcsParam | DcsIntermediate, 0x40..=0x7e) => {
                self.dcs = self.collect << 8 | u32::from(byte);
                self.raw.push(byte);
                self.payload = self.raw.len();
                self.state = DcsPassthrough;
            }
            (DcsEntry | DcsParam | DcsIntermediate, 0x7f) => {}
            (DcsIgnore, _) => {}
            (DcsPassthrough, _) => self.put(c.encode_utf8(&mut [0; 4]).as_bytes()),

            // A character where none is allowed: the sequence is dropped.
            (
                Ground | Escape | EscapeIntermediate | CsiEntry | CsiParam | CsiIntermediate
                | Ignored | DcsEntry | DcsParam | DcsIntermediate,
                _,
            ) => {
                self.ground();
            }
        }
    }

    fn ground(&mut self) {
        self.state = State::Ground;
        self.raw.clear();
        // Free the memory of a long string.
        if self.raw.capacity() > 4096 {
            self.raw = Vec::new();
        }
    }

    fn begin(&mut self, state: State, introducer: char) {
        self.raw.clear();
        self.raw.extend_from_slice(introducer.encode_utf8(&mut [0; 4]).as_bytes());
        self.enter(state);
    }

    fn begin_after_escape(&mut self, state: State, byte: u8) {
        self.raw.truncate(1);
        self.raw.push(byte);
        self.enter(state);
    }

    fn enter(&mut self, state: State) {
        self.state = state;
        self.params.clear();
        self.collect = 0;
        self.payload = self.raw.len();
        self.too_long = false;
    }

    fn collect(&mut self, byte: u8, next: State) {
        self.collect = self.collect << 8 | u32::from(byte);
        self.ignore(byte, next);
    }

    fn param(&mut self, byte: u8, next: State) {
        match byte {
            b';' => self.params.next(),
            b':' => self.params.next_sub(),
            digit => self.params.digit(digit - b'0'),
        }
        self.ignore(byte, next);
    }

    fn ignore(&mut self, byte: u8, next: State) {
        if self.raw.len() < SEQUENCE_MAX {
            self.raw.push(byte);
        }
        self.state = next;
    }

    fn put(&mut self, bytes: &[u8]) {
        if self.too_long {
            return;
        }
        if self.raw.len() + bytes.len() <= STRING_MAX {
            self.raw.extend_from_slice(bytes);
        } else {
            self.too_long = true;
            let foreign = if self.state == State::Osc { FOREIGN_OSC } else { FOREIGN_DCS };
            self.raw = foreign.to_vec();
        }
    }

    fn end_osc(&mut self, by: u8, to: &mut impl Actions) {
        let raw = std::mem::take(&mut self.raw);
        let whole = by != 0x18 && by != 0x1a && !self.too_long;
        match std::str::from_utf8(&raw[self.payload.min(raw.len())..]) {
            Ok(text) if whole => {
                let (number, data) = text.split_once(';').unwrap_or((text, ""));
                match number.parse() {
                    Ok(number) if number_is_plain(text) => to.osc(number, data),
                    _ => to.ignored(),
                }
            }
            _ => to.ignored(),
        }
        self.after_string(by, raw);
    }

    fn end_dcs(&mut self, by: u8, to: &mut impl Actions) {
        let raw = std::mem::take(&mut self.raw);
        let whole = by != 0x18 && by != 0x1a && !self.too_long;
        match std::str::from_utf8(&raw[self.payload.min(raw.len())..]) {
            Ok(data) if whole => to.dcs(self.dcs, data),
            _ => to.ignored(),
        }
        self.after_string(by, raw);
    }

    /// The ESC of a string's terminator begins the next sequence.
    fn after_string(&mut self, by: u8, raw: Vec<u8>) {
        self.raw = raw;
        self.ground();
        if by == 0x1b {
            self.begin(State::Escape, '\x1b');
        }
    }
}

/// Whether the text is digits only: `parse` would accept a sign.
fn number_is_plain(text: &str) -> bool {
    text.starts_with(|c: char| c.is_ascii_digit())
}
