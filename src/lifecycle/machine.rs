//! The machine itself: the effects of each event in each state.

use super::event::{Effect, Event, LifecycleSnapshot, Refused};
use super::types::{
    Deadline, End, EndReason, Ending, Exit, IdleWhen, Now, Reason, Signals, Status, Timeouts,
};
use chrono::{DateTime, TimeDelta, Utc};

/// The time by which using a session without a client extends its deadline beyond the timeout, in
/// milliseconds. The deadline is then written twice a second at most, however often the session is
/// used, and the deadline that is written and shown is the one that counts. A session is never
/// destroyed too early, and at most this much late.
const PUSH_MS: u64 = 500;

/// The state of a session's life.
#[derive(Clone, Debug)]
pub struct Lifecycle {
    status: Status,
    connections: u32,
    timeouts: Timeouts,
    deadline: Option<Deadline>,
    /// The generation of the last timer armed. A timer of any other generation is stale.
    generation: u64,
    ending: Option<Ending>,
    signals: Signals,
    exit: Option<Exit>,
    end: Option<End>,
}

impl Lifecycle {
    /// Begins the life of a session that is being started.
    #[must_use]
    pub fn new(timeouts: Timeouts, now: Now) -> (Lifecycle, Vec<Effect>) {
        let mut life = Lifecycle::in_status(Status::Running, timeouts);
        let created = Effect::Record { from: None, to: Status::Running, reason: Reason::Created };
        let mut effects = vec![created, Effect::Save];
        life.start_timer(now, &mut effects);
        (life, effects)
    }

    /// Continues the life of a session that an earlier server left behind (REQ-004-004). Its
    /// clients are gone. Its timer is armed again (REQ-004-005), or its begun end is continued.
    ///
    /// With an ended status every event is refused, and [`Lifecycle::end`] is `None`, because the
    /// end is in the row.
    #[must_use]
    pub fn from_snapshot(saved: LifecycleSnapshot, now: Now) -> (Lifecycle, Vec<Effect>) {
        let mut life = Lifecycle::in_status(saved.status, saved.timeouts);
        (life.ending, life.signals) = (saved.ending, saved.signals);
        let mut effects = Vec::new();
        if !saved.status.is_live() {
            return (life, effects);
        }
        if saved.status == Status::Active {
            // The clients will reconnect, and get the whole timeout for it.
            life.record(Status::Idle, Reason::Detached, &mut effects);
            effects.push(Effect::Save);
        }
        if life.ending.is_some() {
            effects.push(Effect::EndTree);
            return (life, effects);
        }
        let kept = saved.deadline.filter(|_| saved.status != Status::Active);
        match (kept, life.timeout()) {
            // If there is both a deadline and "never", "never" was set later.
            (_, None) => {
                if kept.is_some() {
                    effects.push(Effect::Save);
                }
            }
            (None, Some(_)) => {
                life.start_timer(now, &mut effects);
                if saved.status != Status::Active {
                    effects.push(Effect::Save);
                }
            }
            (Some(deadline), Some(_)) => {
                life.deadline = Some(deadline);
                if deadline.boot_ms > now.boot_ms {
                    life.arm(deadline, &mut effects);
                    life.refresh_display(now, &mut effects);
                } else if life.is_kept_by_work() {
                    // Nobody has seen what the program did meanwhile.
                    life.start_timer(now, &mut effects);
                    effects.push(Effect::Save);
                } else {
                    life.destroy(now, &mut effects);
                }
            }
        }
        (life, effects)
    }

    /// Takes one event.
    ///
    /// # Errors
    /// An event that the state does not allow is refused, and nothing changes.
    pub fn apply(&mut self, event: Event, now: Now) -> Result<Vec<Effect>, Refused> {
        if !self.status.is_live() {
            return Err(Refused::Ended);
        }
        let mut effects = Vec::new();
        match event {
            Event::Attached => self.attached(&mut effects)?,
            Event::Detached => self.detached(now, &mut effects)?,
            Event::Used => self.push_deadline(0, now, &mut effects),
            Event::Busy { for_ms } if self.is_kept_by_work() => {
                self.push_deadline(for_ms, now, &mut effects);
            }
            Event::Busy { .. } => {}
            Event::TimerFired { generation } => self.timer_fired(generation, now, &mut effects),
            Event::KillRequested => self.kill(now, &mut effects),
            Event::SignalRequested(signal) => {
                self.signals.add(signal);
                effects.push(Effect::Save);
            }
            Event::LeaderExited(exit) => self.leader_exited(exit, now, &mut effects),
            Event::TreeEmpty => match self.ending {
                Some(ending) => {
                    self.finish(Status::Terminated, ending.reason, now, &mut effects);
                }
                None => return Err(self.illegal(event)),
            },
            Event::IdleTimeoutChanged(idle_s) => {
                self.timeouts.idle_s = idle_s;
                effects.push(Effect::Save);
                if self.status == Status::Idle && self.ending.is_none() {
                    self.stop_timer(&mut effects);
                    self.start_timer(now, &mut effects);
                    effects.push(Effect::Announce);
                }
            }
            Event::IdleWhenChanged(idle_when) => {
                self.timeouts.idle_when = idle_when;
                effects.push(Effect::Save);
            }
            Event::ClockJumped => self.refresh_display(now, &mut effects),
            // A session with a client has been started.
            Event::SpawnFailed if self.status == Status::Active => {
                return Err(self.illegal(event));
            }
            Event::SpawnFailed => {
                self.finish(Status::Error, EndReason::SpawnFailed, now, &mut effects);
            }
            Event::RestoreFailed => {
                self.finish(Status::Error, EndReason::RestoreFailed, now, &mut effects);
            }
            Event::Orphaned => {
                // If an earlier server began a kill, that kill has ended the session.
                let reason = self.ending.map_or(EndReason::Orphaned, |ending| ending.reason);
                self.finish(Status::Terminated, reason, now, &mut effects);
            }
        }
        Ok(effects)
    }

    /// The present status.
    #[must_use]
    pub fn status(&self) -> Status {
        self.status
    }

    /// Attached clients (REQ-004-002).
    #[must_use]
    pub fn connections(&self) -> u32 {
        self.connections
    }

    /// The moment at which the session is destroyed unless somebody attaches or uses it
    /// (REQ-004-003).
    #[must_use]
    pub fn deadline(&self) -> Option<Deadline> {
        self.deadline
    }

    /// The reason and time of an end that was begun; set until the session has ended.
    #[must_use]
    pub fn ending(&self) -> Option<&Ending> {
        self.ending.as_ref()
    }

    /// The end of the session, once it has ended.
    #[must_use]
    pub fn end(&self) -> Option<&End> {
        self.end.as_ref()
    }

    /// The times for which the session waits for clients.
    #[must_use]
    pub fn timeouts(&self) -> Timeouts {
        self.timeouts
    }

    /// Whether a countdown runs that begins anew when the program works.
    #[must_use]
    pub fn is_kept_by_work(&self) -> bool {
        self.status == Status::Idle
            && self.deadline.is_some()
            && self.timeouts.idle_when == IdleWhen::DetachedAndQuiet
    }

    /// The generation of the last timer armed.
    #[must_use]
    pub fn generation(&self) -> u64 {
        self.generation
    }

    /// The snapshot from which [`Lifecycle::from_snapshot`] continues.
    #[must_use]
    pub fn snapshot(&self) -> LifecycleSnapshot {
        LifecycleSnapshot {
            status: self.status,
            deadline: self.deadline,
            timeouts: self.timeouts,
            ending: self.ending,
            signals: self.signals,
        }
    }

    fn in_status(status: Status, timeouts: Timeouts) -> Lifecycle {
        Lifecycle {
            status,
            connections: 0,
            timeouts,
            deadline: None,
            generation: 0,
            ending: None,
            signals: Signals::default(),
            exit: None,
            end: None,
        }
    }

    fn attached(&mut self, effects: &mut Vec<Effect>) -> Result<(), Refused> {
        if self.ending.is_some() {
            return Err(Refused::Ending);
        }
        self.connections = self.connections.saturating_add(1);
        if self.status != Status::Active {
            self.record(Status::Active, Reason::Attached, effects);
        }
        effects.push(Effect::Save);
        self.stop_timer(effects);
        effects.push(Effect::Announce);
        Ok(())
    }

    fn detached(&mut self, now: Now, effects: &mut Vec<Effect>) -> Result<(), Refused> {
        let Some(connections) = self.connections.checked_sub(1) else {
            return Err(self.illegal(Event::Detached));
        };
        self.connections = connections;
        if connections == 0 {
            self.record(Status::Idle, Reason::Detached, effects);
        }
        effects.push(Effect::Save);
        if connections == 0 && self.ending.is_none() {
            self.start_timer(now, effects);
        }
        effects.push(Effect::Announce);
        Ok(())
    }

    /// Extends the deadline, if there is one, as if the countdown began so many milliseconds from now.
    fn push_deadline(&mut self, after_ms: u64, now: Now, effects: &mut Vec<Effect>) {
        let (Some(deadline), Some(seconds)) = (self.deadline, self.timeout()) else { return };
        let begin = now.boot_ms.saturating_add(after_ms);
        let due = begin.saturating_add(seconds.saturating_mul(1000));
        if deadline.boot_ms < due {
            let boot_ms = due.saturating_add(PUSH_MS);
            self.arm(Deadline { boot_ms, at: wall_at(boot_ms, now) }, effects);
            effects.push(Effect::Save);
        }
    }

    fn timer_fired(&mut self, generation: u64, now: Now, effects: &mut Vec<Effect>) {
        // A deadline exists only while nobody is attached and no end is decided.
        let Some(deadline) = self.deadline.filter(|_| generation == self.generation) else {
            return;
        };
        if now.boot_ms < deadline.boot_ms {
            // The timer fired early, because of rounding or a clock that is ahead: arm it again.
            self.arm(deadline, effects);
        } else {
            self.destroy(now, effects);
        }
    }

    fn kill(&mut self, now: Now, effects: &mut Vec<Effect>) {
        if self.ending.is_none() {
            self.begin_end(EndReason::Killed, now, effects);
        }
    }

    fn leader_exited(&mut self, exit: Exit, now: Now, effects: &mut Vec<Effect>) {
        // The first report counts: after a restart the same exit is reported twice.
        let exit = *self.exit.get_or_insert(exit);
        if self.ending.is_some() {
            return;
        }
        let (status, reason) = match exit {
            Exit::Code(0) => (Status::Terminated, EndReason::Exited),
            // Nobody knows that it was a success.
            Exit::Code(_) | Exit::Unknown => (Status::Error, EndReason::Exited),
            Exit::Signal(signal) if self.signals.contains(signal) => {
                (Status::Terminated, EndReason::Signaled)
            }
            Exit::Signal(_) => (Status::Error, EndReason::Signaled),
        };
        self.finish(status, reason, now, effects);
    }

    /// Destroys the session because its timer has fired.
    fn destroy(&mut self, now: Now, effects: &mut Vec<Effect>) {
        let reason = match self.status {
            Status::Running => EndReason::FirstAttachTimeout,
            _ => EndReason::IdleTimeout,
        };
        self.begin_end(reason, now, effects);
    }

    fn begin_end(&mut self, reason: EndReason, now: Now, effects: &mut Vec<Effect>) {
        self.ending = Some(Ending { reason, since: now.wall });
        effects.push(Effect::Save);
        self.stop_timer(effects);
        effects.push(Effect::EndTree);
    }

    fn finish(&mut self, to: Status, reason: EndReason, now: Now, effects: &mut Vec<Effect>) {
        self.connections = 0;
        self.end = Some(End { reason, exit: self.exit, at: now.wall });
        self.record(to, Reason::End(reason), effects);
        effects.push(Effect::Save);
        self.stop_timer(effects);
        effects.extend([Effect::Announce, Effect::Ended]);
    }

    fn record(&mut self, to: Status, reason: Reason, effects: &mut Vec<Effect>) {
        effects.push(Effect::Record { from: Some(self.status), to, reason });
        self.status = to;
    }

    /// The timeout that runs in this status.
    fn timeout(&self) -> Option<u64> {
        match self.status {
            Status::Running => self.timeouts.first_attach_s,
            Status::Idle => self.timeouts.idle_s,
            _ => None,
        }
    }

    fn start_timer(&mut self, now: Now, effects: &mut Vec<Effect>) {
        if let Some(seconds) = self.timeout() {
            let boot_ms = now.boot_ms.saturating_add(seconds.saturating_mul(1000));
            self.arm(Deadline { boot_ms, at: wall_at(boot_ms, now) }, effects);
        }
    }

    fn arm(&mut self, deadline: Deadline, effects: &mut Vec<Effect>) {
        self.generation += 1;
        self.deadline = Some(deadline);
        let boot_ms = deadline.boot_ms;
        effects.push(Effect::ArmTimer { generation: self.generation, boot_ms });
    }

    fn stop_timer(&mut self, effects: &mut Vec<Effect>) {
        if self.deadline.take().is_some() {
            // A timer that still fires has an older generation, and is ignored.
            self.generation += 1;
            effects.push(Effect::CancelTimer);
        }
    }

    fn refresh_display(&mut self, now: Now, effects: &mut Vec<Effect>) {
        let Some(deadline) = &mut self.deadline else { return };
        let at = wall_at(deadline.boot_ms, now);
        // A smaller difference is rounding and drift of the two clocks, and not worth a write.
        if (at - deadline.at).abs() >= TimeDelta::seconds(1) {
            deadline.at = at;
            effects.push(Effect::Save);
        }
    }

    fn illegal(&self, event: Event) -> Refused {
        Refused::Illegal { status: self.status, event: event.as_str() }
    }
}

/// The wall clock's time at a moment of `CLOCK_BOOTTIME`, as computed from now.
fn wall_at(boot_ms: u64, now: Now) -> DateTime<Utc> {
    // RFC 3339 has four digits for the year, and nobody waits longer.
    const LAST: DateTime<Utc> = match DateTime::from_timestamp(253_402_300_799, 0) {
        Some(last) => last,
        None => DateTime::<Utc>::MAX_UTC,
    };
    let ahead = i128::from(boot_ms) - i128::from(now.boot_ms);
    let delta = i64::try_from(ahead).ok().and_then(TimeDelta::try_milliseconds);
    let at = delta.and_then(|delta| now.wall.checked_add_signed(delta)).unwrap_or(LAST);
    at.min(LAST)
}
