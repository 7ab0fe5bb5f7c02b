//! A progress line on standard error while a request takes long, for people only.

use std::io::{self, IsTerminal, Write};
use std::sync::mpsc::{self, RecvTimeoutError, Sender};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

/// Shorter waits are not reported; the line is redrawn at this interval.
const AFTER: Duration = Duration::from_secs(1);

/// Shows what is waited for, and for how long already, until it is dropped. Silent where standard
/// error is no terminal.
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
            // The thread cannot fail.
            let _ = thread.join();
        }
    }
}

/// A thread, since the waiting code may block its own.
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
            // Erases the line: the result may be printed next.
            let _ = write!(io::stderr(), "\r\x1b[K");
        }
    });
    (done, thread)
}
