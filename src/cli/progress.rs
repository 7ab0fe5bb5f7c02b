//! A progress line on standard error while a request takes long, for people only.

use std::io::{self, IsTerminal, Write};
use std::sync::mpsc::{self, RecvTimeoutError, Sender};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

/// The wait before the first report, and the interval at which the line is redrawn.
const AFTER: Duration = Duration::from_secs(1);

/// Shows what is being waited for, and for how long, until it is dropped. It shows nothing if
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
            // The thread cannot fail.
            let _ = thread.join();
        }
    }
}

/// Starts a thread, since the waiting code may block its own.
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
            // Erase the line, since the result may be printed next.
            let _ = write!(io::stderr(), "\r\x1b[K");
        }
    });
    (done, thread)
}
