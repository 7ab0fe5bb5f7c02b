//! A line on standard error while something takes long, for people alone.

use std::io::{self, IsTerminal, Write};
use std::sync::mpsc::{self, RecvTimeoutError, Sender};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

/// What takes less is not worth a word; and the line is written anew as often.
const AFTER: Duration = Duration::from_secs(1);

/// Says what is waited for, and how long already, until it is dropped. Says nothing where
/// standard error is no terminal.
pub(super) struct Progress(Option<(Sender<()>, JoinHandle<()>)>);

impl Progress {
    pub(super) fn on(what: impl Into<String>) -> Progress {
        let terminal = io::stderr().is_terminal();
        Progress(terminal.then(|| tell(what.into())))
    }
}

impl Drop for Progress {
    fn drop(&mut self) {
        if let Some((done, thread)) = self.0.take() {
            drop(done);
            // It has nothing to fail with.
            let _ = thread.join();
        }
    }
}

/// A thread, since those who wait may block theirs.
fn tell(what: String) -> (Sender<()>, JoinHandle<()>) {
    let (done, is_done) = mpsc::channel::<()>();
    let start = Instant::now();
    let thread = thread::spawn(move || {
        let mut told = false;
        while let Err(RecvTimeoutError::Timeout) = is_done.recv_timeout(AFTER) {
            told = true;
            let _ = write!(io::stderr(), "\r{what} ({} s)", start.elapsed().as_secs());
        }
        if told {
            // Erases the line: what comes next may be what was waited for.
            let _ = write!(io::stderr(), "\r\x1b[K");
        }
    });
    (done, thread)
}
