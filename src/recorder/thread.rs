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

/// How often a busy recording is updated: the grain of the times in it.
const TICK: Duration = Duration::from_millis(10);

/// A request to the thread.
pub(super) enum Job {
    /// Record this session.
    Record(Box<SessionRecorder>),
    /// It has output.
    Nudge(SessionId),
    /// A client has typed this at this offset of its input.
    Typed(SessionId, ClientKey, u64, Typed),
    /// So many bytes of input found no room on their way here.
    InputLost(SessionId, u64),
    /// Write all output of now, and say when that is done.
    Flush(SessionId, oneshot::Sender<()>),
    /// It has ended: write the rest.
    Finish(SessionId, u64, oneshot::Sender<()>),
    /// This server no longer knows the session.
    Drop(SessionId, u64),
    /// Remove its recording.
    Remove(SessionId, PathBuf, oneshot::Sender<io::Result<()>>),
}

/// Input on its way to the thread.
pub(super) struct Typed {
    pub(super) bytes: Vec<u8>,
    /// Bytes of this session's input that are on their way; shared with [`super::Recorded`].
    pub(super) waiting: Arc<AtomicUsize>,
}

impl Drop for Typed {
    fn drop(&mut self) {
        self.waiting.fetch_sub(self.bytes.len(), Relaxed);
    }
}

pub(super) struct Thread {
    pub(super) jobs: Receiver<Job>,
    pub(super) recorders: HashMap<SessionId, SessionRecorder>,
    /// Sessions whose recordings are updated at every tick.
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
            Job::Record(recorder) => {
                let id = recorder.config.id;
                // After a restart, what is left of the previous program's output is written first.
                if let Some(mut previous) = self.recorders.remove(&id) {
                    previous.update(true);
                }
                self.recorders.insert(id, *recorder);
                self.update(id, false);
            }
            Job::Nudge(id) => {
                if let Some(recorder) = self.recorders.get_mut(&id) {
                    recorder.nudge();
                    // A busy one is looked at soon; the first output has its time now.
                    if !self.busy.contains(&id) {
                        self.update(id, false);
                    }
                }
            }
            Job::Typed(id, key, offset, typed) => {
                if let Some(recorder) = self.recorders.get_mut(&id) {
                    recorder.typed(key, offset, &typed.bytes);
                    self.watch(id);
                }
            }
            Job::InputLost(id, bytes) => {
                if let Some(recorder) = self.recorders.get_mut(&id) {
                    recorder.missed_input(bytes);
                    self.watch(id);
                }
            }
            Job::Flush(id, tell) => {
                // Where nothing is recorded, `tell` is dropped and the caller does not wait.
                if let Some(recorder) = self.recorders.get_mut(&id) {
                    recorder.flush_for(tell);
                    self.update(id, true);
                }
            }
            Job::Finish(id, generation, tell) => {
                let recorder = self.recorders.get_mut(&id);
                if let Some(recorder) =
                    recorder.filter(|recorder| recorder.config.generation == generation)
                {
                    recorder.finish(tell);
                    self.update(id, true);
                }
            }
            Job::Drop(id, generation) => {
                let recorder = self.recorders.get_mut(&id);
                if let Some(recorder) =
                    recorder.filter(|recorder| recorder.config.generation == generation)
                    && !recorder.is_ending()
                {
                    recorder.update(true);
                    self.recorders.remove(&id);
                }
            }
            Job::Remove(id, dir, tell) => {
                self.recorders.remove(&id);
                let removed = segments::remove(&dir);
                if let Err(error) = &removed {
                    warn!(self.log, "a recording cannot be removed"; "session" => %id,
                        "dir" => %dir.display(), "error" => %error);
                }
                // The caller may have gone.
                let _ = tell.send(removed);
            }
        }
    }

    fn update(&mut self, id: SessionId, all: bool) {
        let Some(recorder) = self.recorders.get_mut(&id) else { return };
        recorder.update(all);
        if recorder.is_over() {
            self.recorders.remove(&id);
        } else {
            self.watch(id);
        }
    }

    fn watch(&mut self, id: SessionId) {
        if !self.busy.contains(&id) {
            self.busy.push(id);
        }
    }

    /// Updates the busy recordings. True: there will be more at once.
    fn tick(&mut self) -> bool {
        let mut more = false;
        let recorders = &mut self.recorders;
        self.busy.retain(|id| {
            let Some(recorder) = recorders.get_mut(id) else { return false };
            more |= recorder.update(false);
            if recorder.is_over() {
                recorders.remove(id);
                return false;
            }
            recorder.is_busy()
        });
        more
    }
}
