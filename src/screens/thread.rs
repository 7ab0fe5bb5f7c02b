//! The loop of a thread that tracks screens.

use super::checkpoints::Checkpoint;
use super::guard::guarded;
use super::tracked::{Inspect, ScreenKey, TrackedScreen};
use super::trim::trim;
use crate::holder::Holder;
use crate::id::SessionId;
use bytes::BytesMut;
use slog::{Logger, warn};
use std::collections::HashMap;
use std::sync::mpsc::{Receiver, RecvTimeoutError, Sender};
use std::time::{Duration, Instant};
use tokio::runtime::Handle;

/// The interval between updates of a busy session's screen, and so the longest that a query waits
/// for its answer during a flood. A shorter one would leave less output to skip and cost more
/// wake-ups.
const TICK: Duration = Duration::from_millis(8);
/// The interval between searches for idle open screens to compress.
const COMPRESS_TICK: Duration = Duration::from_millis(250);
/// The time without output after which a screen is compressed. Restoring it takes longer than
/// emulating a line, so a short pause must not compress it.
const COMPRESS_AFTER: Duration = Duration::from_secs(2);
/// The same time while more than [`MANY`] screens are open, to save memory.
const COMPRESS_MANY_AFTER: Duration = Duration::from_millis(300);
/// More open screens than this on one thread are compressed sooner: with a full scrollback each takes
/// more than a megabyte, which one person's few sessions may have.
const MANY: usize = 4;

/// The longest that an inspection waits for a screen that is far behind its output: output made to
/// be slow must not keep clients from attaching.
const SHOW_LIMIT: Duration = Duration::from_secs(2);
/// The delay after compressing screens before their memory is given back, once for all of them.
const TRIM_AFTER: Duration = Duration::from_millis(300);

/// A request to a thread. The key says which screen it is about.
pub(super) enum Job {
    /// Tracks this screen from now on.
    Track(Box<TrackedScreen>),
    /// The screen's session has output, or a new size.
    Nudge(ScreenKey),
    /// Inspects the screen once it has applied all output up to now.
    Inspect(ScreenKey, Inspect),
    /// Goes on with an inspection for which the screen was too far behind its output.
    InspectLater(ScreenKey, Inspect, Goal),
    /// A checkpoint has reached the holder (true), or never will (false).
    CheckpointFinished(ScreenKey, bool),
    /// Inspects the last screen of a session that has ended.
    InspectLast(Box<dyn FnOnce() + Send>),
    /// The session is gone.
    Drop(ScreenKey),
}

/// The point that a screen has to reach before an inspection sees it.
#[derive(Clone, Copy)]
pub(super) struct Goal {
    /// The offset up to which it has to apply the output, and the number of resizes.
    latest: (u64, u64),
    /// From this moment on the inspection sees the screen as far as it has come.
    until: Instant,
}

pub(super) struct Thread {
    jobs: Receiver<Job>,
    /// Sends this thread its own deferred work, and the results of checkpoints.
    post: Sender<Job>,
    holder: Holder,
    /// The runtime on which requests to the holder are awaited.
    runtime: Handle,
    log: Logger,
    screens: HashMap<ScreenKey, TrackedScreen>,
    /// Screens that are updated at every tick.
    busy: Vec<ScreenKey>,
    /// When to search for idle open screens next.
    compress_at: Instant,
    /// Whether more than [`MANY`] screens were open at the last search.
    many: bool,
    /// When to give the memory of compressed screens back; `None` if no memory was freed.
    trim_at: Option<Instant>,
    scratch: BytesMut,
}

impl Thread {
    pub(super) fn new(
        (post, jobs): (Sender<Job>, Receiver<Job>),
        holder: Holder,
        runtime: Handle,
        log: Logger,
    ) -> Self {
        Thread {
            jobs,
            post,
            holder,
            runtime,
            log,
            screens: HashMap::new(),
            busy: Vec::new(),
            compress_at: Instant::now(),
            many: false,
            trim_at: None,
            scratch: BytesMut::new(),
        }
    }

    /// Serves requests until the process ends.
    pub(super) fn run(mut self) {
        let mut next_tick = Instant::now();
        loop {
            let wait = if !self.busy.is_empty() {
                Some(next_tick.saturating_duration_since(Instant::now()))
            } else if self.screens.values().any(TrackedScreen::is_open) {
                Some(self.compress_at.saturating_duration_since(Instant::now()))
            } else {
                self.trim_at.map(|at| at.saturating_duration_since(Instant::now()))
            };
            let job = match wait {
                Some(wait) => self.jobs.recv_timeout(wait),
                None => self.jobs.recv().map_err(|_| RecvTimeoutError::Disconnected),
            };
            match job {
                Ok(job) => {
                    if self.busy.is_empty() {
                        // More output may follow shortly, and waiting for it lets more be skipped.
                        next_tick = Instant::now() + TICK;
                    }
                    self.perform(job);
                    if Instant::now() < next_tick {
                        continue;
                    }
                }
                Err(RecvTimeoutError::Timeout) => {}
                Err(RecvTimeoutError::Disconnected) => return,
            }
            self.tick();
            if self.trim_at.is_some_and(|at| at <= Instant::now()) {
                self.trim_at = None;
                trim();
            }
            next_tick = Instant::now() + TICK;
        }
    }

    fn perform(&mut self, job: Job) {
        match job {
            Job::Track(screen) => {
                let key = screen.key;
                self.screens.insert(key, *screen);
                self.nudge(key);
            }
            Job::Nudge(key) => self.nudge(key),
            Job::Inspect(key, inspect) => {
                let latest = self.screens.get(&key).map_or((0, 0), TrackedScreen::latest);
                self.inspect(key, inspect, Goal { latest, until: Instant::now() + SHOW_LIMIT });
            }
            Job::InspectLater(key, inspect, goal) => self.inspect(key, inspect, goal),
            Job::CheckpointFinished(key, taken) => {
                if let Some(screen) = self.screens.get_mut(&key) {
                    screen.checkpoint_finished(taken);
                    if !taken && !self.busy.contains(&key) {
                        self.busy.push(key);
                    }
                }
            }
            Job::InspectLast(inspect) => {
                // The inspection may panic because of what the screen shows.
                let _ = guarded(inspect);
            }
            Job::Drop(key) => {
                self.screens.remove(&key);
            }
        }
    }

    fn inspect(&mut self, key: ScreenKey, inspect: Inspect, goal: Goal) {
        self.update(key, true);
        let Some(screen) = self.screens.get_mut(&key) else { return };
        if screen.can_reach(goal.latest) && Instant::now() < goal.until {
            // Queue it behind the work that waits for the other screens of this thread.
            let _ = self.post.send(Job::InspectLater(key, inspect, goal));
        } else {
            screen.show(inspect);
        }
    }

    fn nudge(&mut self, key: ScreenKey) {
        let Some(screen) = self.screens.get_mut(&key) else { return };
        screen.nudge(Instant::now());
        if screen.may_ask(&mut self.scratch) {
            self.update(key, false);
        }
        if !self.busy.contains(&key) {
            self.busy.push(key);
        }
    }

    fn tick(&mut self) {
        let busy = std::mem::take(&mut self.busy);
        if self.compress_at <= Instant::now() {
            let open = self.screens.values().filter(|screen| screen.is_open());
            self.many = open.count() > MANY;
            let idle = |screen: &&TrackedScreen| screen.is_open() && !busy.contains(&screen.key);
            let idle: Vec<_> =
                self.screens.values().filter(idle).map(|screen| screen.key).collect();
            for key in idle {
                self.update(key, false);
            }
            self.compress_at = Instant::now() + COMPRESS_TICK;
        }
        for &key in &busy {
            self.update(key, false);
        }
        let now = Instant::now();
        self.busy = busy;
        self.busy.retain(|key| self.screens.get(key).is_some_and(|screen| screen.is_busy(now)));
    }

    fn update(&mut self, key: ScreenKey, somebody_looks: bool) {
        let compress_after = if self.many { COMPRESS_MANY_AFTER } else { COMPRESS_AFTER };
        let Some(screen) = self.screens.get_mut(&key) else { return };
        screen.strike_thread();
        let (was_open, now) = (screen.is_open(), Instant::now());
        let checkpoint =
            screen.update(now, somebody_looks, compress_after, &self.holder, &mut self.scratch);
        if was_open && !screen.is_open() {
            self.trim_at.get_or_insert_with(|| Instant::now() + TRIM_AFTER);
        }
        let id = screen.id;
        if let Some(checkpoint) = checkpoint {
            self.send_checkpoint(key, id, checkpoint);
        }
    }

    fn send_checkpoint(&self, key: ScreenKey, id: SessionId, (meta, bytes): Checkpoint) {
        let (holder, post, log) = (self.holder.clone(), self.post.clone(), self.log.clone());
        self.runtime.spawn(async move {
            let taken = holder.checkpoint(id, &meta, &bytes).await;
            if let Err(error) = &taken {
                warn!(log, "the holder did not keep a checkpoint";
                    "session" => %id, "error" => %error);
            }
            // The thread ends with the server.
            let _ = post.send(Job::CheckpointFinished(key, taken.is_ok()));
        });
    }
}
