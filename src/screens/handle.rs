//! The keeper's threads, and a session's screen for those on other threads.

use super::compressed::CompressedScreen;
use super::last::LastScreen;
use super::thread::{Job, Thread};
use super::tracked::{Origin, TrackedScreen};
use crate::holder::Holder;
use crate::ring::Reader;
use crate::screen::{Screen, Snapshot};
use crate::tree::boottime_ms;
use bytes::BytesMut;
use slog::Logger;
use std::collections::HashMap;
use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::mpsc::{Sender, channel};
use std::time::Instant;
use tokio::runtime::Handle;
use tokio::sync::oneshot;

/// Threads that keep screens. Two serve hundreds of busy sessions; more would take cores
/// from the programs whose output they emulate.
const THREADS_MAX: usize = 2;

/// How long a client's terminal may take to answer a question that it was shown.
const LATELY_MS: u64 = 5000;

/// When the program was last told where the cursor is, on CLOCK_BOOTTIME in milliseconds.
#[derive(Clone, Default)]
pub(super) struct CursorReports(Arc<AtomicU64>);

impl CursorReports {
    pub(super) fn now(&self) {
        self.0.store(boottime_ms(), Ordering::Relaxed);
    }
}

/// So that their cost can be told apart.
const NAME: &str = "screen-";

/// Which screen: a session whose command is started again has another one, and whoever
/// still looks at the first must not meet it.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub(super) struct Place(u64);

/// The threads that keep the screens of all sessions.
#[derive(Clone)]
pub struct Screens {
    threads: Arc<[Sender<Job>]>,
    kept: Arc<AtomicU64>,
    log: Logger,
}

impl Screens {
    /// Starts the threads. Needs the server's runtime, for requests to the holder.
    ///
    /// # Errors
    /// The system refuses a thread.
    pub fn start(holder: &Holder, log: Logger) -> io::Result<Self> {
        let count = std::thread::available_parallelism().map_or(1, |cores| cores.get());
        let start = |number: usize| {
            let (post, jobs) = channel();
            let thread = Thread {
                jobs,
                post: post.clone(),
                holder: holder.clone(),
                runtime: Handle::current(),
                log: log.clone(),
                screens: HashMap::new(),
                busy: Vec::new(),
                fold_at: Instant::now(),
                many: false,
                trim_at: None,
                scratch: BytesMut::new(),
            };
            std::thread::Builder::new()
                .name(format!("{NAME}{number}"))
                .spawn(move || thread.run())
                .map(|_| post)
        };
        let threads = (0..count.min(THREADS_MAX)).map(start).collect::<io::Result<_>>()?;
        Ok(Screens { threads, kept: Arc::default(), log })
    }

    /// Keeps a session's screen from now on, until the handle is dropped.
    #[must_use]
    pub fn keep(&self, origin: Origin) -> ScreenHandle {
        let id = origin.id;
        // The last bytes of an id are random.
        let thread = usize::from(id.to_bytes()[15]) % self.threads.len();
        let jobs = self.threads[thread].clone();
        let told_cursor = CursorReports::default();
        let place = Place(self.kept.fetch_add(1, Ordering::Relaxed));
        let kept = TrackedScreen::new(place, origin, told_cursor.clone(), self.log.clone());
        let handle = ScreenHandle { looker: ScreenReader { place, jobs }, told_cursor };
        handle.looker.ask(Job::Keep(Box::new(kept)));
        handle
    }

    /// Takes something from what an ended session showed last. Resolves to `None` where that
    /// cannot be read, or breaks the emulator.
    pub fn show_last<T: Send + 'static>(
        &self,
        last: LastScreen,
        take: impl FnOnce(&Screen) -> T + Send + 'static,
    ) -> impl Future<Output = Option<T>> + 'static {
        let (tell, told) = oneshot::channel();
        let show = move || {
            if let Ok(screen) = last.restore() {
                // Whoever asked may have gone.
                let _ = tell.send(take(&screen));
            }
        };
        // Any thread can do it. They end with the server, when nobody looks any more.
        let thread = self.kept.load(Ordering::Relaxed) as usize % self.threads.len();
        let _ = self.threads[thread].send(Job::ShowLast(Box::new(show)));
        async move { told.await.ok() }
    }
}

/// One session's screen.
pub struct ScreenHandle {
    looker: ScreenReader,
    told_cursor: CursorReports,
}

/// Who may look at a session's screen, as long as that is kept for somebody else.
#[derive(Clone)]
pub struct ScreenReader {
    place: Place,
    jobs: Sender<Job>,
}

/// What was seen on a screen.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Look<T> {
    /// The screen is that after this many bytes of output.
    pub offset: u64,
    /// And after this many resizes.
    pub resizes: u64,
    /// What was taken from it.
    pub seen: T,
}

impl Look<Snapshot> {
    /// The picture up to the last whole character, with the offset there. Whoever gets it
    /// may write it at once, and a terminal may lose a character whose rest comes later.
    /// Only where the terminal was resized inside that character, the picture has to have
    /// its beginning.
    #[must_use]
    pub fn whole(mut self, ring: &Reader) -> Self {
        let start = self.offset.saturating_sub(self.seen.partial as u64);
        if ring.resizes_since(0).last().is_none_or(|resize| resize.offset <= start) {
            let length = self.seen.bytes.len() - self.seen.partial;
            self.seen.bytes.truncate(length);
            (self.seen.partial, self.offset) = (0, start);
        }
        self
    }
}

impl ScreenHandle {
    /// There is output, or a new size.
    pub fn nudge(&self) {
        self.looker.ask(Job::Nudge(self.looker.place));
    }

    /// Whether the program has been told where the cursor is a moment ago: the terminals of
    /// clients have heard the same question and tell it, too.
    pub fn told_cursor_lately(&self) -> bool {
        let told = self.told_cursor.0.load(Ordering::Relaxed);
        told > 0 && boottime_ms().saturating_sub(told) < LATELY_MS
    }

    /// See [`ScreenReader::look`].
    pub fn look<T: Send + 'static>(
        &self,
        take: impl FnOnce(&Screen) -> T + Send + 'static,
    ) -> impl Future<Output = Option<Look<T>>> + Send + 'static {
        self.looker.look(take)
    }

    /// What is to be kept of the screen after the session's end: as [`ScreenHandle::look`].
    pub fn last(&self) -> impl Future<Output = Option<LastScreen>> + 'static {
        let looked = self.look(CompressedScreen::of);
        async { looked.await.map(|look| LastScreen::of(look.offset, look.seen)) }
    }

    /// For those who only look.
    #[must_use]
    pub fn looker(&self) -> ScreenReader {
        self.looker.clone()
    }
}

impl ScreenReader {
    /// Takes something from the screen as it is after all output of this moment; if it
    /// takes seconds to emulate that, as far as it has come by then. Resolves to `None` where
    /// there is none to be seen: it broke, or the session is gone.
    pub fn look<T: Send + 'static>(
        &self,
        take: impl FnOnce(&Screen) -> T + Send + 'static,
    ) -> impl Future<Output = Option<Look<T>>> + Send + 'static {
        let (tell, told) = oneshot::channel();
        let show = move |Look { offset, resizes, seen }: Look<&Screen>| {
            // Whoever asked may have gone.
            let _ = tell.send(Look { offset, resizes, seen: take(seen) });
        };
        self.ask(Job::Show(self.place, Box::new(show)));
        async move { told.await.ok() }
    }

    fn ask(&self, job: Job) {
        // The threads end with the server, when nobody looks any more.
        let _ = self.jobs.send(job);
    }
}

impl Drop for ScreenHandle {
    fn drop(&mut self) {
        self.looker.ask(Job::Drop(self.looker.place));
    }
}
