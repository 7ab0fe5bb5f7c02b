//! Contains an emulator's failures: a panic on what a program has printed costs that screen alone.

use super::compressed::CompressedScreen;
use super::faults::{Fault, strike};
use super::guard::guarded;
use crate::id::SessionId;
use crate::screen::{Options, Screen};
use slog::{Logger, error};
use std::time::{Duration, Instant};

/// The longest time for one batch of output: an emulator that needs longer counts as failed.
const BATCH_LIMIT: Duration = Duration::from_secs(10);
/// A screen is given up after this many failures.
const FAILURES_MAX: u8 = 2;

enum State {
    Open(Box<Screen>),
    Compressed(CompressedScreen),
    /// The emulator has failed too often: the session goes on without a screen.
    GivenUp,
}

/// A session's screen, whose every use is guarded: the first failure empties it, the second gives
/// it up. `offset` parameters say where in the output it is used, for the log.
pub(super) struct ContainedScreen {
    id: SessionId,
    options: Options,
    state: State,
    failures: u8,
    /// Set when compression would lose something that the screen shows: it stays open until
    /// it changes.
    too_large: bool,
    log: Logger,
}

impl ContainedScreen {
    pub(super) fn new(
        id: SessionId,
        options: Options,
        compressed: CompressedScreen,
        log: Logger,
    ) -> Self {
        let state = State::Compressed(compressed);
        ContainedScreen { id, options, state, failures: 0, too_large: false, log }
    }

    /// Whether the screen is open, so that it can be compressed.
    pub(super) fn is_open(&self) -> bool {
        matches!(self.state, State::Open(_)) && !self.too_large
    }

    /// Lets `work` change the screen. `what` names the change in the log if it fails.
    pub(super) fn change(&mut self, what: &str, offset: u64, work: impl FnOnce(&mut Screen)) {
        let started = Instant::now();
        let Some(screen) = self.open(offset) else { return };
        let worked = guarded(|| work(screen));
        self.too_large = false;
        if worked.is_none() {
            self.failed(what, offset);
        } else if started.elapsed() > BATCH_LIMIT {
            self.failed("it took too long", offset);
        }
    }

    /// Lets `work` read the screen, unless it was given up.
    pub(super) fn read(&mut self, offset: u64, work: impl FnOnce(&Screen)) {
        let Some(screen) = self.open(offset) else { return };
        let worked = guarded(|| {
            strike(Fault::Read, screen);
            work(screen);
        });
        if worked.is_none() {
            self.failed("it was read", offset);
        }
    }

    /// Compresses an open screen to save memory. One that is too large stays open.
    pub(super) fn close(&mut self, offset: u64) {
        let State::Open(_) = self.state else { return };
        match self.compressed(offset) {
            Ok(Some(compressed)) if compressed.is_complete() => {
                self.state = State::Compressed(compressed);
            }
            Ok(_) => self.too_large = true,
            Err(Failed) => {}
        }
    }

    /// A compressed copy; `None` if the screen was given up.
    pub(super) fn compressed(&mut self, offset: u64) -> Result<Option<CompressedScreen>, Failed> {
        let screen = match &self.state {
            State::Open(screen) => screen,
            State::Compressed(compressed) => return Ok(Some(compressed.clone())),
            State::GivenUp => return Ok(None),
        };
        let compressed = guarded(|| {
            strike(Fault::Compress, screen);
            CompressedScreen::of(screen)
        });
        if compressed.is_none() {
            self.failed("it was compressed", offset);
        }
        compressed.map(Some).ok_or(Failed)
    }

    /// Panics outside any guard if a test has asked for that.
    pub(super) fn strike_thread(&self) {
        if let State::Open(screen) = &self.state {
            strike(Fault::Thread, screen);
        }
    }

    fn open(&mut self, offset: u64) -> Option<&mut Screen> {
        if let State::Compressed(compressed) = &self.state {
            let restored = guarded(|| {
                let screen = compressed.decompress(self.options);
                screen.iter().for_each(|screen| strike(Fault::Restore, screen));
                screen
            });
            match restored {
                Some(Ok(screen)) => self.state = State::Open(Box::new(screen)),
                Some(Err(unreadable)) => {
                    let (cols, rows) = compressed.size();
                    error!(self.log, "{}", unreadable; "session" => %self.id);
                    let screen = Screen::new(cols, rows, self.options);
                    self.state = State::Open(Box::new(screen));
                }
                None => {
                    self.failed("it was restored", offset);
                    // After the first failure the screen begins anew, empty.
                    return if matches!(self.state, State::GivenUp) {
                        None
                    } else {
                        self.open(offset)
                    };
                }
            }
        }
        match &mut self.state {
            State::Open(screen) => Some(screen),
            State::Compressed(_) | State::GivenUp => None,
        }
    }

    fn failed(&mut self, what: &str, offset: u64) {
        let size = match &self.state {
            State::Open(screen) => screen.size(),
            State::Compressed(compressed) => compressed.size(),
            State::GivenUp => return,
        };
        self.failures += 1;
        let given_up = self.failures >= FAILURES_MAX;
        self.state = if given_up {
            State::GivenUp
        } else {
            State::Compressed(CompressedScreen::blank(size))
        };
        error!(self.log, "a screen has failed"; "session" => %self.id, "when" => what,
            "offset" => offset, "given_up" => given_up);
    }
}

/// The emulator has failed; the screen is now empty or given up.
pub(super) struct Failed;
