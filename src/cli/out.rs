//! Standard output and error.

use super::failure::Failure;
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

/// Prints JSON as machines and people can read it.
pub(super) fn json(value: &serde_json::Value) -> Result<(), Failure> {
    print(&format!("{value:#}\n"))
}

/// A line for people on standard error. There is nowhere to say that it failed.
pub(super) fn message(text: &str) {
    let _ = writeln!(io::stderr().lock(), "{text}");
}
