//! Standard output and error.

use super::failure::Failure;
use super::grid::printable;
use crate::protocol::is_unseen;
use std::io::{self, BufRead, ErrorKind, Write};

/// Prints to standard output. It is no error if the reader has gone away (`stayd ls | head -1`).
pub(super) fn print(text: &str) -> Result<(), Failure> {
    bytes(text.as_bytes()).map(drop)
}

/// The same for bytes. Returns false where nobody reads standard output any more.
pub(super) fn bytes(bytes: &[u8]) -> Result<bool, Failure> {
    let mut out = io::stdout().lock();
    match out.write_all(bytes).and_then(|()| out.flush()) {
        Ok(()) => Ok(true),
        Err(e) if e.kind() == ErrorKind::BrokenPipe => Ok(false),
        Err(e) => Err(Failure::doing("standard output")(e)),
    }
}

/// Prints JSON for programs and people: invisible characters are escaped, even where JSON does not
/// require it.
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

/// Prints a message to standard error, line by line. Foreign text in it (names, a server's
/// messages) cannot write escape sequences. Errors are ignored, because there is nowhere to report
/// them.
pub(super) fn message(text: &str) {
    let line = |line: &str| match line.strip_suffix('\r') {
        Some(line) => printable(line) + "\r",
        None => printable(line),
    };
    let text = text.split('\n').map(line).collect::<Vec<_>>().join("\n");
    let _ = writeln!(io::stderr().lock(), "{text}");
}

/// Asks a question on standard error, and returns whether the answer on standard input is yes.
pub(super) fn confirm(question: &str) -> Result<bool, Failure> {
    let _ = write!(io::stderr().lock(), "{} [y/N] ", printable(question));
    let mut answer = String::new();
    io::stdin().lock().read_line(&mut answer).map_err(Failure::doing("standard input"))?;
    Ok(["y", "yes"].contains(&answer.trim().to_ascii_lowercase().as_str()))
}
