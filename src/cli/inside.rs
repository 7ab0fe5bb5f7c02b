//! Detects the session in which a command itself runs. The command's output is that session's
//! output, so following it would repeat it forever.

use super::failure::Failure;
use crate::id::SessionId;
use crate::tree;
use nix::sys::stat::{SFlag, fstat};
use std::io::{self, IsTerminal};

/// The session whose terminal shows this process's output, as far as that can be known: the one
/// that the environment names, unless standard output is a file. It may belong to another server
/// than the one that the verb talks to; ids are unique everywhere.
pub(super) fn shown_in() -> Option<SessionId> {
    let id = std::env::var(tree::MARK).ok()?.parse().ok()?;
    (!prints_elsewhere()).then_some(id)
}

/// Whether standard output is a file, or a device that is no terminal. A pipe may lead to the
/// terminal.
fn prints_elsewhere() -> bool {
    let stdout = io::stdout();
    let kind = fstat(&stdout)
        .map_or(SFlag::empty(), |found| SFlag::from_bits_truncate(found.st_mode) & SFlag::S_IFMT);
    kind == SFlag::S_IFREG || kind == SFlag::S_IFCHR && !stdout.is_terminal()
}

/// Refuses to follow the output of the session that shows it. The server refuses circles through
/// other sessions.
pub(super) fn refuse_circle(id: SessionId) -> Result<(), Failure> {
    // The environment may have been cleared (`env -i`, `su -`); the limit has not.
    let is_inside = tree::is_marked_by_limit(id) && !prints_elsewhere();
    if shown_in() != Some(id) && !is_inside {
        return Ok(());
    }
    Err(Failure::Other(format!(
        "session {id} is the one that this command runs in: what it prints would be output of the \
         session, and be printed again, for ever. Use another terminal, or send the output to a \
         file; if this terminal is not in that session, unset {}",
        tree::MARK
    )))
}
