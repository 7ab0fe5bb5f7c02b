//! The screens' threads, and a session's screen for code on other threads.

use super::compressed::CompressedScreen;
use super::inspection::Inspection;
use super::last::LastScreen;
use super::thread::{Job, Thread};
use super::tracked::{CursorReports, Origin, ScreenKey, TrackedScreen};
use crate::holder::Holder;
use crate::screen::Screen;
use slog::Logger;
use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::mpsc::{Sender, channel};
use tokio::runtime::Handle;
use tokio::sync::oneshot;

/// The most threads. Two serve hundreds of busy sessions; more would take cores from the programs
/// whose output they emulate.
const THREADS_MAX: usize = 2;

/// The prefix of the threads' names, under which tools show their cost.
const THREAD_NAME: &str = "screen-";

/// The threads that track the screens of all sessions.
#[derive(Clone)]
pub struct Screens {
    threads: Arc<[Sender<Job>]>,
    /// The number of screens tracked so far, which is the next one's key.
    tracked: Arc<AtomicU64>,
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
            let mail = (post.clone(), jobs);
            let thread = Thread::new(mail, holder.clone(), Handle::current(), log.clone());
            std::thread::Builder::new()
                .name(format!("{THREAD_NAME}{number}"))
                .spawn(move || thread.run())
                .map(|_| post)
        };
        let threads = (0..count.min(THREADS_MAX)).map(start).collect::<io::Result<_>>()?;
        Ok(Screens { threads, tracked: Arc::default(), log })
    }

    /// Tracks a session's screen from now on, until the handle is dropped.
    #[must_use]
    pub fn track(&self, origin: Origin) -> ScreenHandle {
        // The last bytes of an id are random.
        let thread = usize::from(origin.id.to_bytes()[15]) % self.threads.len();
        let jobs = self.threads[thread].clone();
        let cursor_reports = CursorReports::default();
        let key = ScreenKey(self.tracked.fetch_add(1, Ordering::Relaxed));
        let screen = TrackedScreen::new(key, origin, cursor_reports.clone(), self.log.clone());
        let handle = ScreenHandle { reader: ScreenReader { key, jobs }, cursor_reports };
        handle.reader.ask(Job::Track(Box::new(screen)));
        handle
    }

    /// Inspects the last screen of an ended session. Resolves to `None` if the screen cannot be
    /// restored, or makes the emulator fail.
    pub fn inspect_last<T: Send + 'static>(
        &self,
        last: LastScreen,
        take: impl FnOnce(&Screen) -> T + Send + 'static,
    ) -> impl Future<Output = Option<T>> + 'static {
        let (tell, told) = oneshot::channel();
        let inspect = move || {
            if let Ok(screen) = last.decompress() {
                // The caller may have gone.
                let _ = tell.send(take(&screen));
            }
        };
        // Any thread can do this. The threads end with the server, when nobody inspects screens any
        // more.
        let thread = self.tracked.load(Ordering::Relaxed) as usize % self.threads.len();
        let _ = self.threads[thread].send(Job::InspectLast(Box::new(inspect)));
        async move { told.await.ok() }
    }
}

/// One session's screen.
pub struct ScreenHandle {
    reader: ScreenReader,
    cursor_reports: CursorReports,
}

/// Inspects a session's screen for as long as its [`ScreenHandle`] lives.
#[derive(Clone)]
pub struct ScreenReader {
    key: ScreenKey,
    jobs: Sender<Job>,
}

impl ScreenHandle {
    /// Says that there is output, or a new size.
    pub fn nudge(&self) {
        self.reader.ask(Job::Nudge(self.reader.key));
    }

    /// Whether the screen has recently answered a cursor position query. The terminals of clients
    /// have been shown the same query and answer it, too: their answers have to be dropped then.
    pub fn reported_cursor_lately(&self) -> bool {
        self.cursor_reports.was_lately()
    }

    /// See [`ScreenReader::inspect`].
    pub fn inspect<T: Send + 'static>(
        &self,
        take: impl FnOnce(&Screen) -> T + Send + 'static,
    ) -> impl Future<Output = Option<Inspection<T>>> + Send + 'static {
        self.reader.inspect(take)
    }

    /// The last screen, for the time after the session's end. It resolves as
    /// [`ScreenHandle::inspect`] does.
    pub fn last(&self) -> impl Future<Output = Option<LastScreen>> + 'static {
        let last = self.inspect(CompressedScreen::of);
        async { last.await.map(|last| LastScreen::of(last.offset, last.seen)) }
    }

    /// A reader that does not keep the screen alive.
    #[must_use]
    pub fn reader(&self) -> ScreenReader {
        self.reader.clone()
    }
}

impl ScreenReader {
    /// Reads from the screen once it has applied all output up to now, or after two seconds as much
    /// of it as it could. Resolves to `None` if there is no screen, because it was given up or the
    /// session is gone.
    pub fn inspect<T: Send + 'static>(
        &self,
        take: impl FnOnce(&Screen) -> T + Send + 'static,
    ) -> impl Future<Output = Option<Inspection<T>>> + Send + 'static {
        let (tell, told) = oneshot::channel();
        let inspect = move |Inspection { offset, resizes, seen }: Inspection<&Screen>| {
            // The caller may have gone.
            let _ = tell.send(Inspection { offset, resizes, seen: take(seen) });
        };
        self.ask(Job::Inspect(self.key, Box::new(inspect)));
        async move { told.await.ok() }
    }

    fn ask(&self, job: Job) {
        // The threads end with the server, when nobody inspects screens any more.
        let _ = self.jobs.send(job);
    }
}

impl Drop for ScreenHandle {
    fn drop(&mut self) {
        self.reader.ask(Job::Drop(self.reader.key));
    }
}
