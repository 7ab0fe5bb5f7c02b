//! The loop of a thread that keeps screens.

use super::guard::guarded;
use super::handle::Place;
use super::tracked::{Left, Show, TrackedScreen};
use super::trim::trim;
use crate::holder::Holder;
use crate::id::SessionId;
use bytes::BytesMut;
use slog::{Logger, warn};
use std::collections::HashMap;
use std::sync::mpsc::{Receiver, RecvTimeoutError, Sender};
use std::time::{Duration, Instant};
use tokio::runtime::Handle;

/// How often a busy session is looked at: the longest that a query waits for its answer amid
/// a flood. Shorter would leave less to skip and cost more wake-ups.
const TICK: Duration = Duration::from_millis(8);
/// How often open screens are looked at, whether they can be folded.
const FOLD_TICK: Duration = Duration::from_millis(250);
/// After how long without output a screen is folded: opening it again takes longer than to
/// emulate a line.
const FOLD_AFTER: Duration = Duration::from_secs(2);
/// The same where many are open, for the sake of memory.
const FOLD_MANY_AFTER: Duration = Duration::from_millis(300);
/// More open screens than this on a thread are many.
const MANY: usize = 16;

/// How long a look may wait for a screen that has too much to catch up with: output made to
/// be slow must not keep clients from attaching.
const SHOW_LIMIT: Duration = Duration::from_secs(2);
/// How long after screens were folded their memory is given back, once for all of them.
const TRIM_AFTER: Duration = Duration::from_millis(300);

/// What a thread is asked.
pub(super) enum Job {
    /// Keep this session's screen.
    Keep(Box<TrackedScreen>),
    /// It has output.
    Nudge(Place),
    /// Show it as it is after all output of now.
    Show(Place, Show),
    /// The same, for a screen that had too much to catch up with.
    ShowLater(Place, Show, Goal),
    /// A checkpoint has reached the holder (true), or never will.
    CheckpointOver(Place, bool),
    /// Show what is left of one that has ended.
    ShowLast(Box<dyn FnOnce() + Send>),
    /// The session is gone.
    Drop(Place),
}

/// What a screen is to have seen before it is shown.
#[derive(Clone, Copy)]
pub(super) struct Goal {
    /// All output before an offset, and so many resizes.
    latest: (u64, u64),
    /// When it is shown as far as it has come.
    until: Instant,
}

pub(super) struct Thread {
    pub(super) jobs: Receiver<Job>,
    /// For those who tell this thread of checkpoints.
    pub(super) post: Sender<Job>,
    pub(super) holder: Holder,
    /// Where requests to the holder are awaited.
    pub(super) runtime: Handle,
    pub(super) log: Logger,
    pub(super) screens: HashMap<Place, TrackedScreen>,
    /// Those that are looked at at every tick.
    pub(super) busy: Vec<Place>,
    /// When open screens are looked at next, whether they can be folded.
    pub(super) fold_at: Instant,
    /// Many screens were open then.
    pub(super) many: bool,
    /// When memory of folded screens is to be given back.
    pub(super) trim_at: Option<Instant>,
    pub(super) scratch: BytesMut,
}

impl Thread {
    /// Runs as long as the process.
    pub(super) fn run(mut self) {
        let mut next_tick = Instant::now();
        loop {
            let wait = if !self.busy.is_empty() {
                Some(next_tick.saturating_duration_since(Instant::now()))
            } else if self.screens.values().any(TrackedScreen::is_open) {
                Some(self.fold_at.saturating_duration_since(Instant::now()))
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
                        // What has begun may go on for a moment: the more can be skipped.
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
            Job::Keep(kept) => {
                let place = kept.place;
                self.screens.insert(place, *kept);
                self.nudge(place);
            }
            Job::Nudge(place) => self.nudge(place),
            Job::Show(place, show) => {
                let latest = self.screens.get(&place).map_or((0, 0), TrackedScreen::latest);
                self.show(place, show, Goal { latest, until: Instant::now() + SHOW_LIMIT });
            }
            Job::ShowLater(place, show, goal) => self.show(place, show, goal),
            Job::CheckpointOver(place, taken) => {
                if let Some(kept) = self.screens.get_mut(&place) {
                    kept.checkpoint_over(taken);
                    if !taken && !self.busy.contains(&place) {
                        self.busy.push(place);
                    }
                }
            }
            Job::ShowLast(show) => {
                // It may have been given up because of what it shows.
                let _ = guarded(show);
            }
            Job::Drop(place) => {
                self.screens.remove(&place);
            }
        }
    }

    fn show(&mut self, place: Place, show: Show, goal: Goal) {
        self.look(place);
        let Some(kept) = self.screens.get_mut(&place) else { return };
        if kept.can_reach(goal.latest) && Instant::now() < goal.until {
            // After whatever the other screens of this thread have to do.
            let _ = self.post.send(Job::ShowLater(place, show, goal));
        } else {
            kept.show(show);
        }
    }

    fn nudge(&mut self, place: Place) {
        let Some(kept) = self.screens.get_mut(&place) else { return };
        kept.nudge(Instant::now());
        if kept.may_ask(&mut self.scratch) {
            self.look(place);
        }
        if !self.busy.contains(&place) {
            self.busy.push(place);
        }
    }

    fn tick(&mut self) {
        let busy = std::mem::take(&mut self.busy);
        if self.fold_at <= Instant::now() {
            let open = self.screens.values().filter(|kept| kept.is_open());
            self.many = open.count() > MANY;
            let idle = |kept: &&TrackedScreen| kept.is_open() && !busy.contains(&kept.place);
            let idle: Vec<_> = self.screens.values().filter(idle).map(|kept| kept.place).collect();
            for place in idle {
                self.look(place);
            }
            self.fold_at = Instant::now() + FOLD_TICK;
        }
        for &place in &busy {
            self.look(place);
        }
        let now = Instant::now();
        self.busy = busy;
        self.busy.retain(|place| self.screens.get(place).is_some_and(|kept| kept.is_busy(now)));
    }

    fn look(&mut self, place: Place) {
        let fold_after = if self.many { FOLD_MANY_AFTER } else { FOLD_AFTER };
        let Some(kept) = self.screens.get_mut(&place) else { return };
        kept.strike_thread();
        let was_open = kept.is_open();
        let left = kept.look(Instant::now(), fold_after, &self.holder, &mut self.scratch);
        if was_open && !kept.is_open() {
            self.trim_at.get_or_insert_with(|| Instant::now() + TRIM_AFTER);
        }
        let id = kept.id;
        if let Some(left) = left {
            self.leave(place, id, left);
        }
    }

    /// Leaves a checkpoint with the holder.
    fn leave(&self, place: Place, id: SessionId, (meta, bytes): Left) {
        let (holder, post, log) = (self.holder.clone(), self.post.clone(), self.log.clone());
        self.runtime.spawn(async move {
            let kept = holder.checkpoint(id, &meta, &bytes).await;
            if let Err(error) = &kept {
                warn!(log, "the holder did not keep a checkpoint";
                    "session" => %id, "error" => %error);
            }
            // The thread ends with the server.
            let _ = post.send(Job::CheckpointOver(place, kept.is_ok()));
        });
    }
}
