//! The user's terminal: raw while attached, and given back as it was, whatever happens.

use super::modes::{ABORT, UNDO};
use crate::cli::sys;
use nix::poll::PollFlags;
use nix::sys::termios::{SetArg, Termios, cfmakeraw, tcgetattr, tcsetattr};
use nix::unistd::write;
use std::io::{self, IsTerminal};
use std::os::fd::{AsFd, BorrowedFd};
use std::sync::atomic::{AtomicU16, Ordering};
use std::sync::{Mutex, MutexGuard, Once, PoisonError};
use std::time::Duration;

/// A terminal that takes nothing for this long (Ctrl-S, a dead line) is left as it is.
const STALLED: Duration = Duration::from_secs(1);

/// What [`restore`] has to do; in a static so that a panic finds it.
static TAKEN: Mutex<Option<Taken>> = Mutex::new(None);
/// The mode that switched to the alternate screen, 0 while it is not shown.
static ALT_SCREEN: AtomicU16 = AtomicU16::new(0);

#[derive(Debug)]
struct Taken {
    /// How standard input was, if it is a terminal.
    input: Option<Termios>,
    /// Whether standard output is a terminal whose modes are to be undone.
    output: bool,
}

/// The terminal, taken over. Dropped, it is as it was.
#[derive(Debug)]
pub(super) struct Terminal {
    /// Whether keys come from a terminal.
    pub(super) input: bool,
    /// Whether output goes to a terminal.
    pub(super) output: bool,
}

impl Terminal {
    /// Makes standard input raw if it is a terminal; a pipe or file is taken as it is.
    pub(super) fn take() -> io::Result<Terminal> {
        static HOOK: Once = Once::new();
        HOOK.call_once(|| {
            let usual = std::panic::take_hook();
            std::panic::set_hook(Box::new(move |info| {
                restore();
                usual(info);
            }));
        });
        let stdin = io::stdin();
        let (input, output) = (stdin.is_terminal(), io::stdout().is_terminal());
        let before = if input { Some(tcgetattr(&stdin)?) } else { None };
        *taken() = Some(Taken { input: before.clone(), output });
        let terminal = Terminal { input, output };
        if let Some(mut raw) = before {
            cfmakeraw(&mut raw);
            tcsetattr(&stdin, SetArg::TCSANOW, &raw)?;
        }
        Ok(terminal)
    }

    /// Columns and rows, if output goes to a terminal that knows.
    pub(super) fn size(&self) -> Option<(u16, u16)> {
        sys::window(io::stdout().as_fd())
    }
}

impl Drop for Terminal {
    fn drop(&mut self) {
        restore();
    }
}

/// Notes that the terminal shows the alternate screen, and by which mode, or not.
pub(super) fn note_alt_screen(mode: Option<u16>) {
    ALT_SCREEN.store(mode.unwrap_or_default(), Ordering::Relaxed);
}

/// Gives the terminal back, once.
fn restore() {
    let Some(taken) = taken().take() else { return };
    if let Some(before) = &taken.input {
        // There is nobody to tell of a failure but the user of that terminal.
        let _ = tcsetattr(io::stdin(), SetArg::TCSANOW, before);
    }
    if taken.output {
        let mut bytes = ABORT.to_vec();
        let mode = ALT_SCREEN.load(Ordering::Relaxed);
        if mode != 0 {
            bytes.extend_from_slice(format!("\x1b[?{mode}l").as_bytes());
        }
        bytes.extend_from_slice(UNDO);
        // Not through the lock of standard output: a thread may hold it in a write.
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
