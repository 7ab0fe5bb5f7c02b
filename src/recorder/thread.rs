//! The loop of the thread that writes all recordings.

use super::segments;
use super::session::SessionRecorder;
use crate::id::{ClientKey, SessionId};
use slog::{Logger, warn};
use std::collections::HashMap;
use std::io;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering::Relaxed};
use std::sync::mpsc::{Receiver, RecvTimeoutError};
use std::time::{Duration, Instant};
use tokio::sync::oneshot;

/// How often a busy session is looked at: the grain of the times in a recording.
const TICK: Duration = Duration::from_millis(10);

/// What the thread is asked.
pub(super) enum Job {
    /// Record this session.
    Keep(Box<SessionRecorder>),
    /// It has output.
    Nudge(SessionId),
    /// Somebody types into it.
    Typed(SessionId, ClientKey, u64, Typed),
    /// So much was typed that was not told.
    InputLost(SessionId, u64),
    /// Write what there is, and say when it is done.
    Flush(SessionId, oneshot::Sender<()>),
    /// It has ended: write the rest.
    Finish(SessionId, u64, oneshot::Sender<()>),
    /// This server does not know it any more.
    Drop(SessionId, u64),
    /// Remove its recording.
    Remove(SessionId, PathBuf, oneshot::Sender<io::Result<()>>),
}

/// Input on its way.
pub(super) struct Typed {
    pub(super) bytes: Vec<u8>,
    /// Bytes that are on their way.
    pub(super) waiting: Arc<AtomicUsize>,
}

impl Drop for Typed {
    fn drop(&mut self) {
        self.waiting.fetch_sub(self.bytes.len(), Relaxed);
    }
}

pub(super) struct Thread {
    pub(super) jobs: Receiver<Job>,
    pub(super) tapes: HashMap<SessionId, SessionRecorder>,
    /// Those that are looked at at every tick.
    pub(super) busy: Vec<SessionId>,
    pub(super) log: Logger,
}

impl Thread {
    /// Runs as long as the process.
    pub(super) fn run(mut self) {
        let mut next_tick = Instant::now();
        loop {
            let job = if self.busy.is_empty() {
                self.jobs.recv().map_err(|_| RecvTimeoutError::Disconnected)
            } else {
                self.jobs.recv_timeout(next_tick.saturating_duration_since(Instant::now()))
            };
            match job {
                Ok(job) => {
                    self.perform(job);
                    if Instant::now() < next_tick {
                        continue;
                    }
                }
                Err(RecvTimeoutError::Timeout) => {}
                Err(RecvTimeoutError::Disconnected) => return,
            }
            next_tick = Instant::now();
            if !self.tick() {
                next_tick += TICK;
            }
        }
    }

    fn perform(&mut self, job: Job) {
        match job {
            Job::Keep(tape) => {
                let id = tape.of.id;
                // A session that was started again: what is left of its last life goes first.
                if let Some(mut last) = self.tapes.remove(&id) {
                    last.look(true);
                }
                self.tapes.insert(id, *tape);
                self.look(id, false);
            }
            Job::Nudge(id) => {
                if let Some(tape) = self.tapes.get_mut(&id) {
                    tape.nudge();
                    // A busy one is looked at soon; the first output has its time now.
                    if !self.busy.contains(&id) {
                        self.look(id, false);
                    }
                }
            }
            Job::Typed(id, key, offset, typed) => {
                if let Some(tape) = self.tapes.get_mut(&id) {
                    tape.typed(key, offset, &typed.bytes);
                    self.watch(id);
                }
            }
            Job::InputLost(id, bytes) => {
                if let Some(tape) = self.tapes.get_mut(&id) {
                    tape.missed_input(bytes);
                    self.watch(id);
                }
            }
            Job::Flush(id, tell) => {
                // Dropped where nothing is recorded, whoever asked waits for nothing.
                if let Some(tape) = self.tapes.get_mut(&id) {
                    tape.flush_for(tell);
                    self.look(id, true);
                }
            }
            Job::Finish(id, generation, tell) => {
                let tape = self.tapes.get_mut(&id);
                if let Some(tape) = tape.filter(|tape| tape.of.generation == generation) {
                    tape.finish(tell);
                    self.look(id, true);
                }
            }
            Job::Drop(id, generation) => {
                let tape = self.tapes.get_mut(&id);
                if let Some(tape) = tape.filter(|tape| tape.of.generation == generation)
                    && !tape.is_ending()
                {
                    tape.look(true);
                    self.tapes.remove(&id);
                }
            }
            Job::Remove(id, dir, tell) => {
                self.tapes.remove(&id);
                let removed = segments::remove(&dir);
                if let Err(error) = &removed {
                    warn!(self.log, "a recording cannot be removed"; "session" => %id,
                        "dir" => %dir.display(), "error" => %error);
                }
                // Whoever asked may have gone.
                let _ = tell.send(removed);
            }
        }
    }

    fn look(&mut self, id: SessionId, all: bool) {
        let Some(tape) = self.tapes.get_mut(&id) else { return };
        tape.look(all);
        if tape.is_over() {
            self.tapes.remove(&id);
        } else {
            self.watch(id);
        }
    }

    fn watch(&mut self, id: SessionId) {
        if !self.busy.contains(&id) {
            self.busy.push(id);
        }
    }

    /// Looks at the busy ones. True: there will be more at once.
    fn tick(&mut self) -> bool {
        let mut more = false;
        let tapes = &mut self.tapes;
        self.busy.retain(|id| {
            let Some(tape) = tapes.get_mut(id) else { return false };
            more |= tape.look(false);
            if tape.is_over() {
                tapes.remove(id);
                return false;
            }
            tape.is_busy()
        });
        more
    }
}
