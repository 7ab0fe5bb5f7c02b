//! The user's terminal: raw while attached, and restored in every case.

use super::modes::{self, ABORT, Changes};
use crate::cli::sys;
use nix::poll::PollFlags;
use nix::sys::termios::{SetArg, Termios, cfmakeraw, tcgetattr, tcsetattr};
use nix::unistd::write;
use std::io::{self, IsTerminal};
use std::os::fd::{AsFd, BorrowedFd};
use std::sync::{Mutex, MutexGuard, Once, PoisonError};
use std::time::Duration;

/// A terminal that takes nothing for this long (Ctrl-S, a dead line) is not restored.
const STALLED: Duration = Duration::from_secs(1);

/// The state that [`restore_terminal`] needs. It is a static so that a panic hook can use it.
static TAKEN: Mutex<Option<Taken>> = Mutex::new(None);
/// The changes that the output has made so far.
static CHANGES: Mutex<Option<Changes>> = Mutex::new(None);
/// The width that is assumed for a terminal that does not report its own, in columns.
const COLUMNS: u16 = 80;

#[derive(Debug)]
struct Taken {
    /// The earlier settings of standard input, if it is a terminal.
    input: Option<Termios>,
    /// Whether standard output is a terminal whose modes have to be undone.
    output: bool,
}

/// The terminal while it is taken over. Dropping it restores the terminal.
#[derive(Debug)]
pub(super) struct Terminal {
    /// Whether keys come from a terminal.
    pub(super) input: bool,
    /// Whether output goes to a terminal.
    pub(super) output: bool,
}

impl Terminal {
    /// Makes standard input raw if it is a terminal; a pipe or file needs nothing.
    pub(super) fn take() -> io::Result<Terminal> {
        static HOOK: Once = Once::new();
        HOOK.call_once(|| {
            let usual = std::panic::take_hook();
            std::panic::set_hook(Box::new(move |info| {
                restore_terminal();
                usual(info);
            }));
        });
        let terminal =
            Terminal { input: io::stdin().is_terminal(), output: io::stdout().is_terminal() };
        terminal.retake()?;
        Ok(terminal)
    }

    /// Takes over the terminal again: after [`Terminal::release`], or after another process (a
    /// shell, while we were stopped) may have changed its settings.
    pub(super) fn retake(&self) -> io::Result<()> {
        let before = match taken().as_ref() {
            Some(taken) => taken.input.clone(),
            None if self.input => Some(tcgetattr(io::stdin())?),
            None => None,
        };
        let is_new =
            taken().replace(Taken { input: before.clone(), output: self.output }).is_none();
        if let Some(mut raw) = before {
            cfmakeraw(&mut raw);
            tcsetattr(io::stdin(), SetArg::TCSANOW, &raw)?;
        }
        if is_new && self.output {
            write_all(io::stdout().as_fd(), &modes::enter());
        }
        Ok(())
    }

    /// Restores the terminal until it is taken over again.
    pub(super) fn release(&self) {
        restore_terminal();
    }

    /// Columns and rows, if output goes to a terminal that reports them.
    pub(super) fn size(&self) -> Option<(u16, u16)> {
        sys::window(io::stdout().as_fd())
    }
}

impl Drop for Terminal {
    fn drop(&mut self) {
        restore_terminal();
    }
}

/// Columns of the terminal on standard output.
pub(super) fn columns() -> u16 {
    sys::window(io::stdout().as_fd()).map_or(COLUMNS, |(cols, _)| cols)
}

/// Notes the changes of the output, so that they can be undone.
pub(super) fn note_changes(changes: Changes) {
    *CHANGES.lock().unwrap_or_else(PoisonError::into_inner) = Some(changes);
}

/// Restores the terminal. Later calls do nothing.
fn restore_terminal() {
    let Some(taken) = taken().take() else { return };
    if let Some(before) = &taken.input {
        // Nobody but the user of that terminal could be told of a failure.
        let _ = tcsetattr(io::stdin(), SetArg::TCSANOW, before);
    }
    if taken.output {
        let changes = CHANGES.lock().unwrap_or_else(PoisonError::into_inner).take();
        let undo = changes.unwrap_or_default().undo(columns());
        let bytes = [ABORT, &undo, &modes::leave()].concat();
        // Write past the lock of standard output: a thread may hold it in a blocked write.
        write_all(io::stdout().as_fd(), &bytes);
    }
}

fn taken() -> MutexGuard<'static, Option<Taken>> {
    TAKEN.lock().unwrap_or_else(PoisonError::into_inner)
}

fn write_all(fd: BorrowedFd<'_>, mut bytes: &[u8]) {
    while !bytes.is_empty() {
        if !matches!(sys::readable(fd, PollFlags::POLLOUT, STALLED), Ok(true)) {
            return;
        }
        match write(fd, bytes) {
            Ok(written) => bytes = &bytes[written..],
            Err(nix::errno::Errno::EINTR | nix::errno::Errno::EAGAIN) => {}
            Err(_) => return,
        }
    }
}
