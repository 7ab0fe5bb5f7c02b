//! The record of one session: its row, its life, and the causes of what happens to it.
//! Every transition is made here, and so is the decision whether a command is started again.
//! Pure: an event and the time go in, what is to be written and done comes out. A session's
//! actor holds the record of what runs; the registry makes one for what has no actor.

use super::causes::Causes;
use crate::attention::Kept;
use crate::lifecycle::{
    self, Effect, Event, Exit, Lifecycle, LifecycleSnapshot, Now, Reason, Refused, Signals, Status,
    Timeouts,
};
use crate::protocol::{self, Attention, Cause, Viewer};
use crate::store::{Change, NewTransition, Row};
use crate::tree::ProcessId;
use chrono::{DateTime, TimeDelta, Utc};
use std::time::Duration;

/// One session, as its row and its life have it.
#[derive(Clone, Debug)]
pub struct Record {
    /// As it was written last, and what was changed since.
    pub(crate) row: Row,
    life: Lifecycle,
    causes: Causes,
    /// The effects of its life that wait for its actor to run.
    first: Vec<Effect>,
    /// The lifecycle just before the end.
    before_end: Option<LifecycleSnapshot>,
}

/// The parts of a row that only the session's actor knows.
#[derive(Clone, Debug, Default)]
pub(crate) struct Observed {
    /// The attached clients.
    pub(crate) clients: Vec<Viewer>,
    /// When there was input or output last.
    pub(crate) last_activity_at: DateTime<Utc>,
    /// Bytes of output.
    pub(crate) offset: u64,
}

/// The result of an event.
#[derive(Clone, Debug, Default, PartialEq)]
pub(crate) struct Applied {
    /// The change to write, if there is one.
    pub(crate) change: Option<Change>,
    /// The other effects, in the order in which they are to be executed.
    pub(crate) effects: Vec<Effect>,
}

impl Record {
    /// The record of a session that is about to be started, and what is to be written first.
    pub(crate) fn create(
        row: Row,
        timeouts: Timeouts,
        cause: Option<Cause>,
        now: Now,
    ) -> (Record, Change) {
        let mut record = Record::of(row, Lifecycle::new(timeouts, now));
        let begun = record.begin(None, Reason::Created, cause, now);
        (record, begun)
    }

    /// The record of a session that a server before this one left behind. Its row stays as it
    /// is until an event is applied, or [`Record::start`].
    pub(crate) fn restore(row: Row, saved: LifecycleSnapshot, now: Now) -> Record {
        Record::of(row, Lifecycle::from_snapshot(saved, now))
    }

    /// The record of a session that has ended: it refuses every event.
    pub(crate) fn ended(row: Row, now: Now) -> Record {
        let saved = fresh_snapshot(&row, row.session.status);
        Record::restore(row, saved, now)
    }

    /// The record of a session whose command is about to be started again, with output from
    /// `base` on, and what is to be written first.
    pub(crate) fn start_again(
        Revival { mut row, saved }: Revival,
        base: u64,
        cause: Option<Cause>,
        now: Now,
    ) -> (Record, Change) {
        let life = match saved {
            Some(saved) => Lifecycle::from_snapshot(saved, now),
            None => Lifecycle::new(timeouts(&row.session), now),
        };
        let session = &mut row.session;
        let from = session.status;
        (session.ended_at, session.end_reason) = (None, None);
        (session.exit_code, session.exit_signal, session.pid) = (None, None, None);
        // A server that dies before the command runs finds that it has to begin anew.
        session.restart_at = Some(now.wall);
        session.restarts = session.restarts.saturating_add(1);
        session.started_at = Some(now.wall);
        session.last_activity_at = now.wall;
        session.offset = base;
        row.process = None;
        let mut record = Record::of(row, life);
        let begun = record.begin(Some(from), Reason::Restarted, cause, now);
        (record, begun)
    }

    /// The server before this one died when it was about to start the session again: nothing
    /// runs, and the start does not count.
    pub(crate) fn undo_start(row: Row, saved: LifecycleSnapshot, now: Now) -> (Revival, Change) {
        let (again, streak) = (row.session.restart_at, row.restart_streak);
        let mut record = Record::restore(row, saved, now);
        // Nobody can have attached, so that it is not refused.
        let mut failed = record.end(Event::SpawnFailed, now);
        let session = &mut failed.row.session;
        session.restarts = session.restarts.saturating_sub(1);
        session.restart_at = again;
        failed.row.restart_streak = streak;
        (Revival { row: failed.row.clone(), saved: Some(saved) }, failed)
    }

    fn of(row: Row, (life, first): (Lifecycle, Vec<Effect>)) -> Record {
        Record { row, life, causes: Causes::default(), first, before_end: None }
    }

    /// The first row of a life, written before there is a process.
    fn begin(
        &mut self,
        from: Option<Status>,
        reason: Reason,
        cause: Option<Cause>,
        now: Now,
    ) -> Change {
        self.first.retain(|effect| !matches!(effect, Effect::Record { .. } | Effect::Save));
        self.refresh(None, now);
        let begun = transition(from, self.life.status(), reason, 0, cause, now);
        Change { row: self.row.clone(), transition: Some(begun) }
    }

    /// The same with who asked for its end, as the holder has kept it.
    #[must_use]
    pub(crate) fn with_causes(self, causes: Causes) -> Record {
        Record { causes, ..self }
    }

    /// The process that was to be started runs.
    pub(crate) fn started(&mut self, process: ProcessId) {
        self.row.session.pid = Some(process.pid);
        self.row.process = Some(process);
    }

    /// Returns the effects of its life, now that its actor runs.
    pub(crate) fn start(&mut self, observed: Observed, now: Now) -> Applied {
        let effects = std::mem::take(&mut self.first);
        self.conclude(effects, None, Some(observed), now)
    }

    /// Takes an event of a session that has no actor.
    ///
    /// # Errors
    /// An event that the state does not allow is refused, and nothing changes.
    pub(crate) fn apply(&mut self, event: Event, now: Now) -> Result<Applied, Refused> {
        self.apply_by(event, None, None, now)
    }

    /// Takes an event that somebody may have asked for.
    ///
    /// # Errors
    /// An event that the state does not allow is refused, and nothing changes.
    pub(crate) fn apply_by(
        &mut self,
        event: Event,
        cause: Option<Cause>,
        observed: Option<Observed>,
        now: Now,
    ) -> Result<Applied, Refused> {
        let before = self.life.snapshot();
        let effects = self.life.apply(event, now)?;
        match event {
            Event::KillRequested if before.ending.is_none() => self.causes.killed(cause.clone()),
            Event::SignalRequested(signal) => self.causes.signalled(signal, cause.clone()),
            _ => {}
        }
        if self.life.end().is_some() {
            self.before_end = Some(before);
        }
        Ok(self.conclude(effects, cause, observed, now))
    }

    fn conclude(
        &mut self,
        effects: Vec<Effect>,
        cause: Option<Cause>,
        observed: Option<Observed>,
        now: Now,
    ) -> Applied {
        let (mut recorded, mut writes, mut left) = (None, false, Vec::new());
        for effect in effects {
            match effect {
                Effect::Record { from, to, reason } => recorded = Some((from, to, reason)),
                Effect::Save => writes = true,
                effect => {
                    writes |= matches!(effect, Effect::EndTree | Effect::Ended);
                    left.push(effect);
                }
            }
        }
        if !writes && recorded.is_none() {
            return Applied { change: None, effects: left };
        }
        self.refresh(observed, now);
        if left.contains(&Effect::Ended) {
            decide_restart(&mut self.row);
        }
        let transition = recorded.map(|(from, to, reason)| {
            let cause = self.causes.of(reason, self.row.session.exit_signal, cause.as_ref());
            transition(from, to, reason, self.life.connections(), cause.cloned(), now)
        });
        Applied { change: Some(Change { row: self.row.clone(), transition }), effects: left }
    }

    /// Brings the row up to date.
    pub(crate) fn refresh(&mut self, observed: Option<Observed>, now: Now) {
        write_life(&mut self.row, &self.life, now);
        let session = &mut self.row.session;
        if let Some(Observed { clients, last_activity_at, offset }) = observed {
            session.clients = clients;
            session.last_activity_at = last_activity_at;
            session.offset = offset;
        }
        // Clients that hear of the end are still connected, but no longer count as attached.
        if self.life.end().is_some() {
            session.clients.clear();
        }
    }

    /// The row as it is, to be written without a change of status.
    pub(crate) fn unchanged(&self) -> Change {
        Change { row: self.row.clone(), transition: None }
    }

    /// The session as it will be shown once its actor runs.
    pub(crate) fn shown(&self, now: Now) -> protocol::Session {
        let mut row = self.row.clone();
        write_life(&mut row, &self.life, now);
        row.session
    }

    /// Ends what has no actor, and says how. A session that cannot end in this way could not be
    /// restored.
    pub(crate) fn end(&mut self, event: Event, now: Now) -> Change {
        let ended = self.apply(event, now).or_else(|_| self.apply(Event::RestoreFailed, now));
        ended.ok().and_then(|ended| ended.change).unwrap_or_else(|| self.unchanged())
    }

    /// Notes another size of the terminal. False: the session has ended, or has this size: the row says
    /// what was asked for last, `has` what the terminal has. Both are asked, since a request must
    /// not be dropped because the row alone says that it is done.
    pub(crate) fn resize(&mut self, size: (u16, u16), has: Option<(u16, u16)>) -> bool {
        let is_so = (self.row.session.cols, self.row.session.rows) == size && has == Some(size);
        let changes = !is_so && !self.has_ended();
        if changes {
            (self.row.session.cols, self.row.session.rows) = size;
        }
        changes
    }

    /// Where it is in its life.
    pub(crate) fn life(&self) -> &Lifecycle {
        &self.life
    }

    /// The causes of its end and of its signals.
    pub(crate) fn causes(&self) -> &Causes {
        &self.causes
    }

    /// True once the end was decided.
    pub(crate) fn is_ending(&self) -> bool {
        self.life.ending().is_some() || self.has_ended()
    }

    /// True once the end has come, be it before this server's start.
    pub(crate) fn has_ended(&self) -> bool {
        !self.life.status().is_live()
    }

    /// Why nobody is counted as attached any more.
    pub(crate) fn too_late(&self) -> Option<Refused> {
        if self.has_ended() {
            return Some(Refused::Ended);
        }
        self.life.ending().map(|_| Refused::Ending)
    }

    /// The last request decides whether the session stays ended: its command is to be started
    /// again. False if its end has come already, which the registry decides about.
    pub(crate) fn ask_restart(&mut self, now: Now) -> bool {
        let in_time = !self.has_ended();
        if in_time {
            self.row.session.restart_at = Some(now.wall);
        }
        in_time
    }

    /// Cancels a restart: a session that somebody ends stays ended. False if none was to come.
    pub(crate) fn cancel_restart(&mut self) -> bool {
        self.row.session.restart_at.take().is_some()
    }

    /// Returns what the registry needs to start an ended session's command again, if that is wanted.
    pub(crate) fn revival(&self) -> Option<Revival> {
        Revival::of(&self.row, self.before_end)
    }
}

/// The registry needs this to start a session's command again, under the same id.
#[derive(Clone, Debug)]
pub struct Revival {
    /// The final row of what has ended; its `restart_at` says when.
    pub row: Row,
    /// The lifecycle just before the end, which goes on: a session that crashes while nobody is
    /// attached is still destroyed in time. `None` begins a new one.
    pub saved: Option<LifecycleSnapshot>,
}

impl Revival {
    /// `before`: its life just before the end.
    pub(crate) fn of(row: &Row, before: Option<LifecycleSnapshot>) -> Option<Self> {
        row.session.restart_at?;
        let asked = row.restart_streak == 0;
        let saved = before.filter(|_| !asked);
        let saved = saved.map(|saved| LifecycleSnapshot {
            ending: None,
            signals: Signals::default(),
            ..saved
        });
        Some(Revival { row: row.clone(), saved })
    }

    /// The revival of a session that ended before this server was started, in this status.
    pub(crate) fn found(row: Row, ended_in: Option<Status>) -> Self {
        let saved = ended_in.filter(|_| row.restart_streak > 0);
        let saved = saved.map(|status| fresh_snapshot(&row, status));
        Revival { row, saved }
    }

    /// Somebody asks for it after the end.
    pub(crate) fn asked(mut row: Row, now: Now) -> Self {
        row.session.restart_at = Some(now.wall);
        row.restart_streak = 0;
        Revival { row, saved: None }
    }

    /// Tries it again later. False: somebody asked for it, who has been told that it cannot be.
    pub(crate) fn postpone(&mut self, after: Duration, now: Now) -> bool {
        let by_policy = self.row.restart_streak > 0;
        if by_policy {
            let after = TimeDelta::from_std(after).unwrap_or_default();
            self.row.session.restart_at = Some(now.wall + after);
        }
        by_policy
    }

    /// True if the session's countdown ended while its command was down.
    pub(crate) fn is_overdue(&self, now: Now) -> bool {
        let idle = |saved: &LifecycleSnapshot| saved.status != Status::Active;
        let deadline = self.saved.filter(idle).and_then(|saved| saved.deadline);
        deadline.is_some_and(|deadline| deadline.boot_ms <= now.boot_ms)
    }
}

/// The times for which a session waits for clients, as its row has them.
pub(crate) fn timeouts(session: &protocol::Session) -> Timeouts {
    Timeouts {
        idle_s: session.idle_timeout_s,
        first_attach_s: session.first_attach_timeout_s,
        idle_when: session.idle_when,
    }
}

/// The transition that begins the history of a row which was made of what the holder keeps.
pub(crate) fn adopted(row: &Row, now: Now) -> NewTransition {
    transition(None, row.session.status, Reason::Created, 0, None, now)
}

/// The transition that a server before this one could not write: its row stayed `behind`.
pub(crate) fn missed(row: &Row, behind: Status, now: Now) -> NewTransition {
    let to = row.session.status;
    let reason = if to == Status::Active { Reason::Attached } else { Reason::Detached };
    transition(Some(behind), to, reason, 0, None, now)
}

fn transition(
    from: Option<Status>,
    to: Status,
    reason: Reason,
    active_connections: u32,
    cause: Option<Cause>,
    now: Now,
) -> NewTransition {
    let reason = reason.as_str().to_owned();
    NewTransition { at: now.wall, from, to, reason, active_connections, cause }
}

/// A life of which only this is known.
fn fresh_snapshot(row: &Row, status: Status) -> LifecycleSnapshot {
    LifecycleSnapshot {
        status,
        deadline: None,
        timeouts: timeouts(&row.session),
        ending: None,
        signals: Signals::default(),
    }
}

/// Writes into a row what the state machine says.
fn write_life(row: &mut Row, life: &Lifecycle, now: Now) {
    let session = &mut row.session;
    session.status = life.status();
    session.active_connections = life.connections();
    session.destroy_at = life.deadline().map(|deadline| deadline.at);
    session.updated_at = now.wall;
    if let Some(end) = life.end() {
        session.ended_at = Some(end.at);
        session.end_reason = Some(end.reason);
        (session.exit_code, session.exit_signal) = match end.exit {
            Some(Exit::Code(code)) => (Some(code), None),
            Some(Exit::Signal(signal)) => (None, Some(signal)),
            Some(Exit::Unknown) | None => (None, None),
        };
        // What has ended does nothing any more.
        (session.attention, row.report) = (Attention::unknown(end.at), Kept::default());
    }
    // An end that is decided, before and after it has come.
    row.ending = life.ending().copied();
    row.session.ending = row.ending.is_some() && row.session.status.is_live();
}

/// Decides, once its end is in the row, whether and when a session's command is started
/// again. Where somebody has asked for it, that is decided already.
fn decide_restart(row: &mut Row) {
    let session = &mut row.session;
    let (Some(ended_at), Some(reason)) = (session.ended_at, session.end_reason) else { return };
    if session.restart_at.is_some() {
        row.restart_streak = 0;
        return;
    }
    let started_at = session.started_at.unwrap_or(session.created_at);
    let ran = (ended_at - started_at).to_std().unwrap_or(Duration::ZERO);
    let streak = row.restart_streak;
    if let Some(again) = lifecycle::again(session.restart, session.status, reason, ran, streak) {
        let after = TimeDelta::from_std(again.after).unwrap_or_default();
        session.restart_at = Some(ended_at + after);
        row.restart_streak = again.streak;
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::id::SessionId;
    use crate::lifecycle::{EndReason, RestartPolicy};

    fn at(second: i64) -> Now {
        let wall = DateTime::from_timestamp(1_800_000_000 + second, 0).unwrap();
        Now { wall, boot_ms: 1_000_000 + second.unsigned_abs() * 1000 }
    }

    fn cause(token: &str) -> Option<Cause> {
        Some(Cause { token: token.to_owned(), token_id: None, address: None })
    }

    fn row(restart: RestartPolicy) -> Row {
        let session = protocol::Session::begun(SessionId::generate(), at(0).wall);
        Row::of(protocol::Session { restart, idle_timeout_s: Some(60), ..session })
    }

    fn created(restart: RestartPolicy) -> Record {
        let timeouts = Timeouts { idle_s: Some(60), ..Timeouts::default() };
        Record::create(row(restart), timeouts, None, at(0)).0
    }

    fn told(change: &Change) -> (Option<Status>, Status, &str) {
        let transition = change.transition.as_ref().unwrap();
        (transition.from, transition.to, &transition.reason)
    }

    #[test]
    fn a_transition_and_its_row_are_one_change() {
        let (mut record, begun) =
            Record::create(row(RestartPolicy::Never), Timeouts::default(), cause("maker"), at(0));
        assert_eq!(told(&begun), (None, Status::Running, "created"));
        assert_eq!(begun.transition.unwrap().cause, cause("maker"));
        assert_eq!(record.start(Observed::default(), at(1)), Applied::default(), "it is written");
        let viewer = Viewer {
            client: "a".to_owned(),
            mode: protocol::Mode::Rw,
            cols: None,
            rows: None,
            controller: true,
            looking: true,
        };
        let observed = Observed { clients: vec![viewer], last_activity_at: at(2).wall, offset: 7 };
        let came = record.apply_by(Event::Attached, cause("guest"), Some(observed), at(2)).unwrap();
        let change = came.change.unwrap();
        assert_eq!(told(&change), (Some(Status::Running), Status::Active, "attached"));
        assert_eq!(change.transition.as_ref().unwrap().cause, cause("guest"));
        assert_eq!((change.row.session.status, change.row.session.offset), (Status::Active, 7));
        assert_eq!(change.row.session.clients.len(), 1);
        assert_eq!(change.row, record.row);
        assert!(came.effects.contains(&Effect::Announce));
        // An event that changes nothing is not written.
        assert_eq!(record.apply(Event::ClockJumped, at(2)).unwrap(), Applied::default());
    }

    #[test]
    fn a_kill_has_the_cause_of_who_asked_first_and_nobody_is_attached_to_what_has_ended() {
        let mut record = created(RestartPolicy::Always);
        let killed = record.apply_by(Event::KillRequested, cause("a"), None, at(1)).unwrap();
        assert!(killed.effects.contains(&Effect::EndTree));
        assert!(killed.change.unwrap().row.ending.is_some(), "intent before deed");
        assert_eq!(record.too_late(), Some(Refused::Ending));
        record.apply_by(Event::KillRequested, cause("b"), None, at(2)).unwrap();
        let ended = record.apply(Event::TreeEmpty, at(3)).unwrap().change.unwrap();
        assert_eq!(told(&ended), (Some(Status::Running), Status::Terminated, "killed"));
        assert_eq!(ended.transition.unwrap().cause, cause("a"));
        assert!(record.revival().is_none(), "what was asked for stays ended");
        assert_eq!(record.apply(Event::Used, at(4)), Err(Refused::Ended));
    }

    #[test]
    fn a_crash_goes_on_with_its_life_and_a_restart_that_was_asked_for_begins_a_new_one() {
        let mut record = created(RestartPolicy::OnFailure);
        record.apply(Event::Attached, at(1)).unwrap();
        record.apply(Event::Detached, at(2)).unwrap();
        record.apply(Event::LeaderExited(Exit::Code(1)), at(3)).unwrap();
        let revival = record.revival().unwrap();
        assert_eq!(revival.row.session.restart_at, Some(at(4).wall));
        assert_eq!(revival.saved.unwrap().status, Status::Idle);
        assert!(!revival.is_overdue(at(61)) && revival.is_overdue(at(62)));
        let mut later = revival.clone();
        assert!(later.postpone(Duration::from_secs(5), at(9)));
        assert_eq!(later.row.session.restart_at, Some(at(14).wall));
        let (again, begun) = Record::start_again(revival, 100, None, at(5));
        assert_eq!(told(&begun), (Some(Status::Error), Status::Idle, "restarted"));
        assert_eq!((begun.row.session.exit_code, begun.row.session.restarts), (None, 1));
        assert_eq!((again.row.session.offset, again.row.restart_streak), (100, 1));

        assert!(record.cancel_restart() && record.revival().is_none());
        let mut asked = Revival::asked(record.row.clone(), at(6));
        assert!(asked.saved.is_none() && !asked.postpone(Duration::ZERO, at(7)));
        let mut asked = created(RestartPolicy::Never);
        assert!(asked.ask_restart(at(1)));
        asked.apply(Event::KillRequested, at(1)).unwrap();
        asked.apply(Event::TreeEmpty, at(2)).unwrap();
        assert!(asked.revival().unwrap().saved.is_none());
        assert!(!asked.ask_restart(at(3)), "the registry decides now");
    }

    #[test]
    fn a_start_that_did_not_happen_does_not_count() {
        let mut record = created(RestartPolicy::Always);
        record.apply(Event::LeaderExited(Exit::Code(0)), at(1)).unwrap();
        let (record, begun) = Record::start_again(record.revival().unwrap(), 0, None, at(2));
        let saved = record.life().snapshot();
        let (revival, failed) = Record::undo_start(begun.row, saved, at(3));
        assert_eq!(told(&failed).2, EndReason::SpawnFailed.as_str());
        assert_eq!(revival.row.session.restarts, 0);
        assert_eq!(revival.row.session.restart_at, Some(at(2).wall));
        assert_eq!(revival.row.restart_streak, 1);
    }

    #[test]
    fn a_restored_record_leaves_its_row_alone_until_it_is_started() {
        let mut row = row(RestartPolicy::Never);
        row.session.status = Status::Active;
        let saved = fresh_snapshot(&row, Status::Active);
        let mut record = Record::restore(row.clone(), saved, at(1));
        assert_eq!((&record.unchanged().row, record.shown(at(1)).status), (&row, Status::Idle));
        let started = record.start(Observed::default(), at(2));
        assert_eq!(
            told(&started.change.unwrap()),
            (Some(Status::Active), Status::Idle, "detached")
        );
        let mut swept = Record::restore(row.clone(), saved, at(1));
        let ended = swept.end(Event::Orphaned, at(3));
        assert_eq!(told(&ended), (Some(Status::Idle), Status::Terminated, "orphaned"));
        assert!(Record::ended(ended.row, at(4)).has_ended());
    }
}
