//! The recorder's thread, and a recorded session for code on other threads.

use super::playback::Playback;
use super::segments::{self, Limits};
use super::session::{RecorderConfig, SessionRecorder};
use super::tail_gate::TailGate;
use super::thread::{Job, Thread, Typed};
use crate::holder::Holder;
use crate::id::{ClientKey, SessionId};
use crate::metrics::Metrics;
use crate::protocol::Recording;
use crate::ring::Reader;
use crate::screens::ScreenReader;
use slog::Logger;
use std::collections::HashMap;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering::Relaxed};
use std::sync::mpsc::{Sender, channel};
use std::time::{Duration, Instant, SystemTime};
use tokio::sync::oneshot;
use tokio::time::timeout;

/// The thread's name, under which tools show its cost.
const THREAD_NAME: &str = "recorder";
/// Input that may wait for the thread, in bytes per session.
const TYPED_MAX: usize = 1 << 20;
/// The longest that a caller waits for the thread, which may be waiting for a disk.
const ANSWER_LIMIT: Duration = Duration::from_secs(1);

/// Writes all recordings, in one directory.
#[derive(Clone)]
pub struct Recorder {
    jobs: Sender<Job>,
    dir: Arc<Path>,
    limits: Limits,
    /// The number of recorders started so far, which is the next one's generation.
    generations: Arc<AtomicU64>,
    metrics: Arc<Metrics>,
    log: Logger,
}

/// A session to record.
pub struct Subject {
    /// The session's id.
    pub id: SessionId,
    /// The session's name.
    pub name: Option<String>,
    /// What is recorded: output, or input as well. Not [`Recording::Off`].
    pub recording: Recording,
    /// The session's output.
    pub ring: Arc<Reader>,
    /// Releases output, so that the program can go on once the ring has room.
    pub holder: Holder,
    /// The present size, columns and rows.
    pub size: (u16, u16),
    /// Reads the session's screen, for the snapshot at the beginning of a file.
    pub reader: ScreenReader,
}

impl Recorder {
    /// Starts the thread. Directories are made when there is something to be written.
    ///
    /// # Errors
    /// The system refuses a thread.
    pub fn start(
        dir: PathBuf,
        limits: Limits,
        metrics: Arc<Metrics>,
        log: Logger,
    ) -> io::Result<Self> {
        let (jobs, asked) = channel();
        let thread =
            Thread { jobs: asked, recorders: HashMap::new(), busy: Vec::new(), log: log.clone() };
        std::thread::Builder::new().name(THREAD_NAME.to_owned()).spawn(move || thread.run())?;
        Ok(Recorder { jobs, dir: dir.into(), limits, generations: Arc::default(), metrics, log })
    }

    /// Records a session until the handle is dropped, and continues an earlier recording of it.
    #[must_use]
    pub fn record(&self, subject: Subject) -> Recorded {
        let Subject { id, name, recording, ring, holder, size, reader } = subject;
        let gate = Arc::new(TailGate::new(id, ring.clone(), holder));
        let generation = self.generations.fetch_add(1, Relaxed);
        let recorder = SessionRecorder::new(RecorderConfig {
            id,
            generation,
            dir: self.dir_of(id),
            limits: self.limits,
            ring,
            gate: gate.clone(),
            reader,
            size,
            title: name,
            metrics: self.metrics.clone(),
            log: self.log.clone(),
        });
        let jobs = self.jobs.clone();
        let recorded = Recorded { id, generation, recording, jobs, gate, waiting: Arc::default() };
        recorded.ask(Job::Record(Box::new(recorder)));
        recorded
    }

    /// Writes all output of a session up to now, if it is recorded. Waits a second at most, even
    /// for a slow disk.
    pub async fn flush(&self, id: SessionId) {
        let _ = self.ask(|tell| Job::Flush(id, tell)).await;
    }

    /// Removes a session's recording, if there is one.
    ///
    /// # Errors
    /// Some of it could not be removed; `TimedOut`: the disk has not answered in time.
    pub async fn remove(&self, id: SessionId) -> io::Result<()> {
        let removed = self.ask(|tell| Job::Remove(id, self.dir_of(id), tell)).await;
        removed.unwrap_or_else(|| Err(io::ErrorKind::TimedOut.into()))
    }

    /// Opens a session's recording, or one file of it, with or without what was typed; `None` if there
    /// is none. Blocks on the disk.
    ///
    /// # Errors
    /// A file cannot be read.
    pub fn open(
        &self,
        id: SessionId,
        file: Option<u32>,
        with_input: bool,
    ) -> io::Result<Option<Playback>> {
        Playback::open(&self.dir_of(id), file, with_input)
    }

    /// Sessions whose recording was last written before that time. Recordings that cannot be read,
    /// or have files that stayd did not write, are left out. Blocks on the disk.
    pub fn older_than(&self, before: SystemTime) -> Vec<SessionId> {
        // There is no directory before the first recording.
        let Ok(entries) = std::fs::read_dir(&self.dir) else { return Vec::new() };
        let names = entries.filter_map(|entry| entry.ok()?.file_name().into_string().ok());
        let ids = names
            .filter_map(|name| name.parse().ok().filter(|id: &SessionId| id.to_string() == name));
        ids.filter(|id| segments::is_old(&self.dir_of(*id), *id, before)).collect()
    }

    /// `None` if the thread has not answered in time, or the session is not recorded.
    async fn ask<T>(&self, job: impl FnOnce(oneshot::Sender<T>) -> Job) -> Option<T> {
        let (tell, told) = oneshot::channel();
        // The thread ends with the server.
        let _ = self.jobs.send(job(tell));
        timeout(ANSWER_LIMIT, told).await.ok()?.ok()
    }

    fn dir_of(&self, id: SessionId) -> PathBuf {
        self.dir.join(id.to_string())
    }
}

/// One recorded session.
pub struct Recorded {
    id: SessionId,
    generation: u64,
    recording: Recording,
    jobs: Sender<Job>,
    gate: Arc<TailGate>,
    /// Bytes of input on their way to the thread, see [`Typed`].
    waiting: Arc<AtomicUsize>,
}

impl Recorded {
    /// Says that there is output, or a new size.
    pub fn nudge(&self) {
        self.ask(Job::Nudge(self.id));
    }

    /// Records that a client types `bytes`, which begin at `offset` of its input. Bytes sent again
    /// are recorded once.
    pub fn typed(&self, key: ClientKey, offset: u64, bytes: &[u8]) {
        if self.recording != Recording::All {
            return;
        }
        if self.waiting.fetch_add(bytes.len(), Relaxed) > TYPED_MAX {
            self.waiting.fetch_sub(bytes.len(), Relaxed);
            return self.ask(Job::InputLost(self.id, bytes.len() as u64));
        }
        let typed = Typed { bytes: bytes.to_vec(), waiting: self.waiting.clone() };
        self.ask(Job::Typed(self.id, key, offset, typed));
    }

    /// Releases all output before `offset` for the session: the holder may overwrite as much of it
    /// as is recorded.
    pub fn release(&self, offset: u64) {
        self.gate.release(offset);
    }

    /// Sets whether all recorded output counts as released without [`Recorded::release`], which
    /// holds while no client makes the program wait.
    pub fn set_free(&self, free: bool) {
        self.gate.set_free(free);
    }

    /// The offset up to which the session has released its output, recorded or not.
    pub fn released(&self) -> u64 {
        self.gate.released()
    }

    /// Lets the program go on if it has waited for the recorder for longer than `limit`. The
    /// session calls this regularly while the ring is full.
    pub fn check_stall(&self, limit: Duration) {
        self.gate.check_stall(Instant::now(), limit);
    }

    /// Ends the recording because the session has ended. Resolves once all output is written, or
    /// was given up because the disk has failed for seconds.
    pub fn finish(&self) -> impl Future<Output = ()> + 'static {
        let (tell, told) = oneshot::channel();
        self.ask(Job::Finish(self.id, self.generation, tell));
        async move {
            // The sender is dropped if the rest was given up.
            let _ = told.await;
        }
    }

    fn ask(&self, job: Job) {
        // The thread ends with the server.
        let _ = self.jobs.send(job);
    }
}

impl Drop for Recorded {
    fn drop(&mut self) {
        self.ask(Job::Drop(self.id, self.generation));
    }
}
