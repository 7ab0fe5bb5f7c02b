//! Standard input and output, each on a thread of its own: they may block, and readiness says
//! nothing about files.

use super::modes::{ABORT, CLEAR, Changes};
use super::terminal::{self, note_changes};
use crate::screen::Parser;
use bytes::Bytes;
use nix::errno::Errno;
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use nix::unistd::{read, write};
use std::io;
use std::os::fd::AsFd;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::Duration;
use tokio::sync::mpsc;
use tokio::time::timeout;

/// The most bytes in one read of standard input; a paste takes several reads.
const READ_MAX: usize = 16 << 10;
/// Bytes that are written between two checks of whether to stop, and then reported.
const WRITE_MAX: usize = 16 << 10;
/// The longest that a thread may take to stop.
const STOP_TIMEOUT: Duration = Duration::from_millis(500);

/// Standard input. It is read only on request: bytes that are typed later are left to the program
/// that reads the terminal next.
pub(super) struct Input {
    /// Receives one request for each wanted piece.
    wanted: std::sync::mpsc::Sender<()>,
    pieces: mpsc::UnboundedReceiver<Vec<u8>>,
    /// Whether a request is unanswered.
    is_waiting: bool,
    /// Closed to end a wait for input.
    stop: io::PipeWriter,
}

impl Input {
    pub(super) fn start() -> io::Result<Input> {
        let (wanted, requests) = std::sync::mpsc::channel();
        let (sender, pieces) = mpsc::unbounded_channel();
        let (stopped, stop) = io::pipe()?;
        let read_all = move || {
            let mut buffer = vec![0; READ_MAX];
            for () in requests {
                match read_piece(&stopped, &mut buffer) {
                    Some(n) if sender.send(buffer[..n].to_vec()).is_ok() => {}
                    _ => return,
                }
            }
        };
        thread::Builder::new().name("stdin".into()).spawn(read_all)?;
        Ok(Input { wanted, pieces, is_waiting: false, stop })
    }

    /// The next piece; `None` at the end. Cancel-safe.
    pub(super) async fn next(&mut self) -> Option<Vec<u8>> {
        if !self.is_waiting {
            // The thread is gone once input has ended.
            let _ = self.wanted.send(());
            self.is_waiting = true;
        }
        let piece = self.pieces.recv().await;
        self.is_waiting = false;
        piece
    }

    /// Stops reading and waits for the thread, unless it is in a read that never returns (of a
    /// terminal that another process has emptied).
    pub(super) async fn stop(self) {
        let Input { wanted, mut pieces, stop, .. } = self;
        drop((wanted, stop));
        let ended = async { while pieces.recv().await.is_some() {} };
        let _ = timeout(STOP_TIMEOUT, ended).await;
    }
}

/// Reads the next piece; `None` at the end, and once the reader is stopped.
fn read_piece(stopped: &io::PipeReader, buffer: &mut [u8]) -> Option<usize> {
    let stdin = io::stdin();
    loop {
        let either = [stdin.as_fd(), stopped.as_fd()];
        let mut fds = either.map(|fd| PollFd::new(fd, PollFlags::POLLIN));
        // The read below reports a failure.
        let _ = poll(&mut fds, PollTimeout::NONE);
        if fds[1].any() == Some(true) {
            return None;
        }
        match read(stdin.as_fd(), buffer) {
            Err(Errno::EINTR | Errno::EAGAIN) => {}
            // A terminal that is gone (EIO) counts as an end.
            Ok(0) | Err(_) => return None,
            Ok(n) => return Some(n),
        }
    }
}

/// Standard output: bytes are written by a thread and then reported. The server's window for
/// unacknowledged output bounds what waits here.
pub(super) struct Output {
    pieces: std::sync::mpsc::Sender<Piece>,
    /// Reports of the thread: how many bytes were written, or that standard output has failed.
    /// Closed once the thread has ended.
    pub(super) written: mpsc::UnboundedReceiver<Result<usize, Errno>>,
    stop: Arc<AtomicBool>,
}

/// A request to the thread.
enum Piece {
    /// Output of the session. Its length is reported once it is written.
    Session(Bytes),
    /// Text of stayd's own.
    Own(Bytes),
    /// Undo the changes that the output has made, and clear the screen.
    Clear,
}

/// Tracks the changes that output makes to the terminal.
struct Follower {
    parser: Parser,
    changes: Changes,
    /// The changes as they were last noted for the code that restores the terminal.
    noted: Changes,
}

impl Follower {
    fn new() -> Follower {
        Follower { parser: Parser::new(), changes: Changes::default(), noted: Changes::default() }
    }

    fn feed(&mut self, bytes: &[u8]) {
        self.parser.feed(bytes, &mut self.changes);
        if self.changes != self.noted {
            self.noted.clone_from(&self.changes);
            note_changes(self.noted.clone());
        }
    }

    /// Undoes the changes on a terminal that is about to be redrawn.
    fn clear(&mut self) -> Result<(), Errno> {
        write_chunk(&[ABORT, &self.changes.undo(terminal::columns()), CLEAR].concat())?;
        *self = Follower::new();
        note_changes(Changes::default());
        Ok(())
    }
}

impl Output {
    pub(super) fn start() -> io::Result<Output> {
        let (pieces, receiver) = std::sync::mpsc::channel::<Piece>();
        let (reports, written) = mpsc::unbounded_channel();
        let stop = Arc::new(AtomicBool::new(false));
        let stopped = Arc::clone(&stop);
        let write_all = move || {
            let mut follower = Follower::new();
            for piece in receiver {
                let bytes = match &piece {
                    Piece::Session(bytes) | Piece::Own(bytes) => bytes,
                    Piece::Clear if stopped.load(Ordering::Relaxed) => return,
                    Piece::Clear => {
                        if let Err(e) = follower.clear() {
                            let _ = reports.send(Err(e));
                            return;
                        }
                        continue;
                    }
                };
                for chunk in bytes.chunks(WRITE_MAX) {
                    if stopped.load(Ordering::Relaxed) {
                        return;
                    }
                    // Note the changes before the bytes are written, so that a restoration never
                    // misses one.
                    follower.feed(chunk);
                    let report = write_chunk(chunk).map(|()| chunk.len());
                    if report.is_ok() && !matches!(piece, Piece::Session(_)) {
                        continue;
                    }
                    if reports.send(report).is_err() || report.is_err() {
                        return;
                    }
                }
            }
        };
        thread::Builder::new().name("stdout".into()).spawn(write_all)?;
        Ok(Output { pieces, written, stop })
    }

    /// Writes output of the session, and reports its length.
    pub(super) fn write(&self, bytes: Bytes) {
        // If the thread is gone, it has reported why.
        let _ = self.pieces.send(Piece::Session(bytes));
    }

    /// Writes text of stayd's own, which is not reported.
    pub(super) fn draw(&self, bytes: impl Into<Bytes>) {
        let _ = self.pieces.send(Piece::Own(bytes.into()));
    }

    /// Undoes the changes that the output has made, and clears the screen for the next output.
    pub(super) fn clear(&self) {
        let _ = self.pieces.send(Piece::Clear);
    }

    /// Discards what is not written yet and waits for the thread, because other programs write to
    /// the terminal next. It does not wait for a stalled terminal.
    pub(super) async fn stop(self) {
        let Output { pieces, mut written, stop } = self;
        stop.store(true, Ordering::Relaxed);
        drop(pieces);
        let ended = async { while written.recv().await.is_some() {} };
        let _ = timeout(STOP_TIMEOUT, ended).await;
    }
}

fn write_chunk(mut bytes: &[u8]) -> Result<(), Errno> {
    let stdout = io::stdout();
    while !bytes.is_empty() {
        match write(stdout.as_fd(), bytes) {
            Ok(written) => bytes = &bytes[written..],
            Err(Errno::EINTR) => {}
            Err(Errno::EAGAIN) => {
                // Another process, which shares the descriptor, has made it non-blocking. A failure
                // shows at the next write.
                let _ =
                    poll(&mut [PollFd::new(stdout.as_fd(), PollFlags::POLLOUT)], PollTimeout::NONE);
            }
            Err(e) => return Err(e),
        }
    }
    Ok(())
}
