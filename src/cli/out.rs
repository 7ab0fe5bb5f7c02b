//! Standard output and error.

use super::failure::Failure;
use super::grid::printable;
use crate::protocol::is_unseen;
use std::io::{self, ErrorKind, Write};

/// Prints to standard output. A reader that has gone away (`stayd ls | head -1`) is fine.
pub(super) fn print(text: &str) -> Result<(), Failure> {
    bytes(text.as_bytes())
}

/// The same with what need not be text.
pub(super) fn bytes(bytes: &[u8]) -> Result<(), Failure> {
    let mut out = io::stdout().lock();
    match out.write_all(bytes).and_then(|()| out.flush()) {
        Err(e) if e.kind() != ErrorKind::BrokenPipe => {
            Err(Failure::Other(format!("standard output: {e}")))
        }
        _ => Ok(()),
    }
}

/// Prints JSON as machines and people can read it: what cannot be seen is escaped, also where
/// JSON itself would allow it.
pub(super) fn json(value: &serde_json::Value) -> Result<(), Failure> {
    let mut text = String::new();
    for c in format!("{value:#}\n").chars() {
        match c {
            '\n' => text.push(c),
            c if is_unseen(c) => {
                text.extend(
                    c.encode_utf16(&mut [0; 2]).iter().map(|unit| format!("\\u{unit:04x}")),
                );
            }
            c => text.push(c),
        }
    }
    print(&text)
}

/// A message for people on standard error, in lines: what others chose of it (names, a server's
/// words) writes no escape sequences. There is nowhere to say that it failed.
pub(super) fn message(text: &str) {
    let line = |line: &str| match line.strip_suffix('\r') {
        Some(line) => printable(line) + "\r",
        None => printable(line),
    };
    let text = text.split('\n').map(line).collect::<Vec<_>>().join("\n");
    let _ = writeln!(io::stderr().lock(), "{text}");
}
