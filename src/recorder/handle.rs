//! The recorder's thread, and a recorded session for those on other threads.

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

/// So that its cost can be told apart.
const NAME: &str = "recorder";
/// Input that may wait for the thread, in bytes for each session.
const TYPED_MAX: usize = 1 << 20;
/// How long anybody waits for the thread: it may wait for a disk.
const PATIENCE: Duration = Duration::from_secs(1);

/// Who writes all recordings, below one directory.
#[derive(Clone)]
pub struct Recorder {
    jobs: Sender<Job>,
    dir: Arc<Path>,
    limits: Limits,
    generations: Arc<AtomicU64>,
    metrics: Arc<Metrics>,
    log: Logger,
}

/// A session that is to be recorded.
pub struct Subject {
    /// Which.
    pub id: SessionId,
    /// Its name.
    pub name: Option<String>,
    /// What of it; with [`Recording::Off`] there is nothing to be recorded.
    pub what: Recording,
    /// Its output.
    pub ring: Arc<Reader>,
    /// Who lets the program run on once there is room.
    pub holder: Holder,
    /// Columns and rows.
    pub size: (u16, u16),
    /// What it shows.
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
            Thread { jobs: asked, tapes: HashMap::new(), busy: Vec::new(), log: log.clone() };
        std::thread::Builder::new().name(NAME.to_owned()).spawn(move || thread.run())?;
        Ok(Recorder { jobs, dir: dir.into(), limits, generations: Arc::default(), metrics, log })
    }

    /// Records a session from where its recording has come to, until the handle is dropped.
    #[must_use]
    pub fn record(&self, subject: Subject) -> Recorded {
        let Subject { id, name, what, ring, holder, size, reader } = subject;
        let hold = Arc::new(TailGate::new(id, ring.clone(), holder));
        let generation = self.generations.fetch_add(1, Relaxed);
        let tape = SessionRecorder::new(RecorderConfig {
            id,
            generation,
            dir: self.place(id),
            limits: self.limits,
            ring,
            hold: hold.clone(),
            reader,
            size,
            title: name,
            metrics: self.metrics.clone(),
            log: self.log.clone(),
        });
        let jobs = self.jobs.clone();
        let recorded = Recorded { id, generation, what, jobs, hold, waiting: Arc::default() };
        recorded.ask(Job::Keep(Box::new(tape)));
        recorded
    }

    /// Writes what there is of a session, if it is recorded and the disk takes it soon.
    pub async fn flush(&self, id: SessionId) {
        let _ = self.ask(|tell| Job::Flush(id, tell)).await;
    }

    /// Removes a session's recording, if there is one.
    ///
    /// # Errors
    /// Something of it is left; `TimedOut`: the disk has not answered yet.
    pub async fn remove(&self, id: SessionId) -> io::Result<()> {
        let removed = self.ask(|tell| Job::Remove(id, self.place(id), tell)).await;
        removed.unwrap_or_else(|| Err(io::ErrorKind::TimedOut.into()))
    }

    /// A session's recording, or one file of it; `None`: there is none. Waits for the disk.
    ///
    /// # Errors
    /// What the file system says.
    pub fn open(&self, id: SessionId, file: Option<u32>) -> io::Result<Option<Playback>> {
        Playback::open(&self.place(id), file)
    }

    /// Sessions whose recording was written before that time for the last time, and is
    /// certainly one of ours. Waits for the disk. What cannot be looked at is not among them.
    #[must_use]
    pub fn older_than(&self, before: SystemTime) -> Vec<SessionId> {
        // Where nothing was recorded there is no directory.
        let Ok(entries) = std::fs::read_dir(&self.dir) else { return Vec::new() };
        let names = entries.filter_map(|entry| entry.ok()?.file_name().into_string().ok());
        let ids = names.filter_map(|name| name.parse().ok().filter(|id| is_name(*id, &name)));
        ids.filter(|id| segments::is_old(&self.place(*id), *id, before)).collect()
    }

    /// `None`: there is no answer yet, or nothing to say.
    async fn ask<T>(&self, job: impl FnOnce(oneshot::Sender<T>) -> Job) -> Option<T> {
        let (tell, told) = oneshot::channel();
        // The thread ends with the server.
        let _ = self.jobs.send(job(tell));
        timeout(PATIENCE, told).await.ok()?.ok()
    }

    fn place(&self, id: SessionId) -> PathBuf {
        self.dir.join(id.to_string())
    }
}

fn is_name(id: SessionId, name: &str) -> bool {
    id.to_string() == name
}

/// One session that is recorded.
pub struct Recorded {
    id: SessionId,
    generation: u64,
    what: Recording,
    jobs: Sender<Job>,
    hold: Arc<TailGate>,
    /// Bytes of input on their way to the thread.
    waiting: Arc<AtomicUsize>,
}

impl Recorded {
    /// There is output, or a new size.
    pub fn nudge(&self) {
        self.ask(Job::Nudge(self.id));
    }

    /// A client types: `bytes` begin at `offset` of its input. They are recorded once.
    pub fn typed(&self, key: ClientKey, offset: u64, bytes: &[u8]) {
        if self.what != Recording::All {
            return;
        }
        if self.waiting.fetch_add(bytes.len(), Relaxed) > TYPED_MAX {
            self.waiting.fetch_sub(bytes.len(), Relaxed);
            return self.ask(Job::InputLost(self.id, bytes.len() as u64));
        }
        let typed = Typed { bytes: bytes.to_vec(), waiting: self.waiting.clone() };
        self.ask(Job::Typed(self.id, key, offset, typed));
    }

    /// Lets the holder overwrite all output before `offset`, as far as it is written.
    pub fn release(&self, offset: u64) {
        self.hold.release(offset);
    }

    /// Whether nobody else holds the program back: then it need not wait for [`Recorded::release`].
    pub fn let_run(&self, free: bool) {
        self.hold.let_run(free);
    }

    /// How far the output has been let go, by all but the recorder.
    #[must_use]
    pub fn released(&self) -> u64 {
        self.hold.wanted()
    }

    /// Looks whether the program has waited for the recorder for longer than `limit`, and
    /// lets it run then. To be called now and then while the ring is blocked.
    pub fn mind(&self, limit: Duration) {
        self.hold.mind(Instant::now(), limit);
    }

    /// The session has ended: done once all of its output is written, or given up because
    /// the disk does not take it for seconds.
    pub fn finish(&self) -> impl Future<Output = ()> + 'static {
        let (tell, told) = oneshot::channel();
        self.ask(Job::Finish(self.id, self.generation, tell));
        async move {
            // Dropped where it is given up.
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
