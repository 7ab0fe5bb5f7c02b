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

/// The interval between updates of a busy recording, and so the resolution of its times.
const TICK: Duration = Duration::from_millis(10);

/// A request to the thread.
pub(super) enum Job {
    /// Records this session.
    Record(Box<SessionRecorder>),
    /// The session has output.
    Nudge(SessionId),
    /// A client has typed this, at this offset of its input.
    Typed(SessionId, ClientKey, u64, Typed),
    /// This many bytes of input were dropped because too much was waiting for the thread.
    InputLost(SessionId, u64),
    /// Writes all output up to now, then answers.
    Flush(SessionId, oneshot::Sender<()>),
    /// The session of this generation has ended: writes the rest, then answers.
    Finish(SessionId, u64, oneshot::Sender<()>),
    /// This server no longer knows the session of this generation.
    Drop(SessionId, u64),
    /// Removes the session's recording.
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
    /// Serves requests until the process ends.
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
                // After a restart, write the rest of the previous program's output first.
                if let Some(mut previous) = self.recorders.remove(&id) {
                    previous.update(true);
                }
                self.recorders.insert(id, *recorder);
                self.update(id, false);
            }
            Job::Nudge(id) => {
                if let Some(recorder) = self.recorders.get_mut(&id) {
                    recorder.nudge();
                    // Busy recordings are updated at the next tick. The first output gets its time
                    // now.
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
                // If the session is not recorded, `tell` is dropped and the caller does not wait.
                if let Some(recorder) = self.recorders.get_mut(&id) {
                    recorder.flush_for(tell);
                    self.update(id, true);
                }
            }
            Job::Finish(id, generation, tell) => {
                if let Some(recorder) = self.of_generation(id, generation) {
                    recorder.finish(tell);
                    self.update(id, true);
                }
            }
            Job::Drop(id, generation) => {
                if let Some(recorder) = self.of_generation(id, generation)
                    && !recorder.has_ended()
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

    /// The recorder of a session, unless a later one has followed it.
    fn of_generation(&mut self, id: SessionId, generation: u64) -> Option<&mut SessionRecorder> {
        let recorder = self.recorders.get_mut(&id);
        recorder.filter(|recorder| recorder.config.generation == generation)
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

    /// Updates the busy recordings. Returns true if one has more to record at once.
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
