//! Finds out what a session's program is doing: looks at it when there was output, and never while there
//! is none. Pure but for what it reads of processes; the actor has the screen looked at.

use crate::attention::{Agent, Agents, Judge, Looked, Older, Report, Says};
use crate::events::Kind;
use crate::protocol::{Attention, rfc3339};
use crate::screen::Event;
use crate::store::Row;
use crate::tree::{self, ProcessId};
use chrono::{DateTime, TimeDelta, Utc};
use nix::unistd::{Pid, SysconfVar, getpgid, sysconf};
use serde_json::{Value, json};
use std::sync::Arc;
use std::time::{Duration, Instant};

/// Looks come this long after output, which has a moment to become complete.
const LOOK_AFTER: Duration = Duration::from_millis(100);
/// What is seen for the first time is looked at again after this time.
const CONFIRM_AFTER: Duration = Duration::from_millis(120);
/// The least time between two looks while there is output.
const REST: Duration = Duration::from_millis(250);
/// Whether the program of a report still runs is checked so often, while it works or asks something.
const CHECK_PROGRAM: Duration = Duration::from_secs(2);
/// The least time between two events: of changes that come faster the last is told.
const SPACING: Duration = Duration::from_millis(50);

/// What is known of the program of one session.
#[derive(Debug)]
pub(super) struct Attending {
    judge: Judge,
    agents: Agents,
    /// The rules for the program in the foreground, and its process.
    agent: Option<Arc<Agent>>,
    process: Option<i32>,
    /// A look is due or under way.
    looking: bool,
    /// There was output since the last look began.
    more: bool,
    told: Attention,
    told_at: Option<Instant>,
}

/// What others are to be told.
#[derive(Debug, Default)]
pub(super) struct Change {
    /// The session's row and view change.
    pub(super) save: bool,
    pub(super) event: Option<(Kind, Value)>,
    /// When to tell what is not told yet.
    pub(super) later: Option<Duration>,
}

impl Attending {
    pub(super) fn new(row: &Row, agents: Agents) -> Self {
        let present = row.session.attention.clone();
        let judge = Judge::new(present.clone(), row.report.clone());
        let (looking, more) = (false, false);
        let (agent, process) = (None, None);
        Attending { judge, agents, agent, process, looking, more, told: present, told_at: None }
    }

    /// There was output. Returns when to look, unless that is known already.
    pub(super) fn heard_output(&mut self) -> Option<Duration> {
        self.more = true;
        (!std::mem::replace(&mut self.looking, true)).then_some(LOOK_AFTER)
    }

    /// A look begins: finds the program in the foreground. Returns the rules for it, if there are some,
    /// by which its screen is to be read.
    pub(super) fn look(
        &mut self,
        process: Option<&ProcessId>,
        command: &[String],
    ) -> Option<Arc<Agent>> {
        self.more = false;
        self.process = process.and_then(ProcessId::foreground);
        let mut names = self.process.map(tree::names_of).unwrap_or_default();
        if names.is_empty() {
            // Processes may be hidden.
            let program = command.first().and_then(|program| program.rsplit('/').next());
            names.extend(program.map(str::to_owned));
        }
        self.agent = self.agents.of(&names);
        self.agent.clone()
    }

    /// A look is over. Returns when to look again.
    pub(super) fn looked(&mut self, says: Option<Says>) -> Option<Duration> {
        let agent = self.agent.as_ref().map(|agent| agent.name().to_owned());
        let report_over = self.is_program_over();
        let confirm = self
            .judge
            .looked(Looked { agent, process: self.process, says, report_over }, Utc::now());
        let again = if confirm { Some(CONFIRM_AFTER) } else { self.more.then_some(REST) };
        self.looking = again.is_some();
        again
    }

    /// When to check next whether the program of the report still runs, which nobody tells; `None`: it does
    /// not matter.
    pub(super) fn check_program_after(&self) -> Option<Duration> {
        let matters = self.judge.present().state.needs_program();
        self.judge.report_program().filter(|_| matters).map(|_| CHECK_PROGRAM)
    }

    /// Whether the program of the report has ended.
    pub(super) fn is_program_over(&self) -> bool {
        self.judge.report_program().is_some_and(|program| !program.is_alive())
    }

    /// Somebody has typed something.
    pub(super) fn typed(&mut self, at: DateTime<Utc>) {
        self.judge.typed(at);
    }

    /// The screen has reported something.
    pub(super) fn seen(&mut self, event: &Event) {
        match event {
            Event::Notification { title, body } => {
                let title = title.as_deref().filter(|_| !body.is_empty());
                let text = title.map_or_else(|| body.clone(), |title| format!("{title}: {body}"));
                self.judge.notified(&text, self.agent.as_deref(), Utc::now());
            }
            mark => self.judge.marked(mark, Utc::now()),
        }
    }

    /// A program in the session has reported. `reporter`: the process that did, if it is known.
    ///
    /// # Errors
    /// It comes after a later report.
    pub(super) fn report(
        &mut self,
        report: Report,
        process: Option<&ProcessId>,
        reporter: Option<i32>,
    ) -> Result<(), Older> {
        // The program in the foreground, unless it is the session's own, or nothing but the report.
        let group = process.and_then(|process| {
            let group = process.foreground()?;
            (group != process.pid && Some(group) != reporter).then_some(group)
        });
        let is_over = || reporter.is_some_and(|reporter| is_left_over(reporter, process));
        if report.state.needs_program() && is_over() {
            return Ok(());
        }
        let program = group.and_then(|group| ProcessId::of(group).ok());
        let age = reporter.and_then(age).unwrap_or_default();
        self.judge.report(Report { program, age, ..report }, Utc::now())
    }

    /// Writes the decision into the row, and says what is to be told of it.
    pub(super) fn conclude(&mut self, row: &mut Row, now: Instant) -> Change {
        let present = self.judge.present();
        let kept = self.judge.kept();
        let save = *present != row.session.attention || kept != row.report;
        if save {
            row.session.attention.clone_from(present);
            row.report = kept;
        }
        let news = (present.state, &present.message, present.since);
        if news == (self.told.state, &self.told.message, self.told.since) {
            return Change { save, ..Change::default() };
        }
        let rest = self.told_at.and_then(|told| (told + SPACING).checked_duration_since(now));
        if let Some(rest) = rest.filter(|rest| !rest.is_zero()) {
            return Change { save, event: None, later: Some(rest) };
        }
        let before = std::mem::replace(&mut self.told, present.clone());
        self.told_at = Some(now);
        let told = json!({
            "state": present.state, "message": present.message, "since": rfc3339(present.since),
            "source": present.source, "before": before.state,
        });
        Change { save, event: Some((Kind::Attention, told)), later: None }
    }
}

/// How long a process has run.
fn age(pid: i32) -> Option<TimeDelta> {
    let ticks = tree::start_time(pid).ok()?;
    let ticks_per_s = u64::try_from(sysconf(SysconfVar::CLK_TCK).ok()??).ok()?;
    let started_ms = ticks.saturating_mul(1_000).checked_div(ticks_per_s)?;
    let age_ms = tree::boottime_ms().saturating_sub(started_ms);
    TimeDelta::try_milliseconds(i64::try_from(age_ms).ok()?)
}

/// Whether a process is what is left of a job that was in the foreground: a hook that its agent has
/// started just before it was killed.
fn is_left_over(reporter: i32, process: Option<&ProcessId>) -> bool {
    let Ok(job) = getpgid(Some(Pid::from_raw(reporter))) else { return false };
    let job = job.as_raw();
    let foreground = process.and_then(ProcessId::foreground);
    job != reporter
        && foreground.is_some_and(|foreground| foreground != job)
        && ProcessId::of(job).is_err()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::attention::Kept;
    use crate::id::SessionId;
    use crate::protocol::{AttentionState, Session};

    fn row() -> Row {
        Row::of(Session::begun(SessionId::generate(), Utc::now()))
    }

    #[test]
    fn a_look_follows_output_and_nothing_else() {
        let mut attending = Attending::new(&row(), Agents::default());
        assert_eq!(attending.heard_output(), Some(LOOK_AFTER));
        assert_eq!(attending.heard_output(), None, "one look at a time");
        assert!(attending.look(None, &["/usr/bin/claude".into()]).is_some());
        assert!(attending.heard_output().is_none());
        let says = |state| Some(Says { state, message: None });
        assert_eq!(attending.looked(says(AttentionState::Working)), Some(CONFIRM_AFTER));
        assert!(attending.look(None, &["claude".into()]).is_some());
        assert!(attending.heard_output().is_none());
        assert_eq!(attending.looked(says(AttentionState::Working)), Some(REST), "there was more");
        attending.look(None, &["bash".into()]);
        assert_eq!(attending.looked(None), None);
        assert_eq!(attending.heard_output(), Some(LOOK_AFTER));
    }

    #[test]
    fn of_changes_in_a_moment_the_first_and_the_last_are_told() {
        let (mut row, start) = (row(), Instant::now());
        let mut attending = Attending::new(&row, Agents::default());
        let mut say = |attending: &mut Attending, state, at| {
            let report = Report { state, ..Report::default() };
            attending.report(report, None, None).unwrap();
            attending.conclude(&mut row, start + Duration::from_millis(at))
        };
        let first = say(&mut attending, AttentionState::Working, 0);
        assert!(first.save && first.event.is_some() && first.later.is_none());
        let second = say(&mut attending, AttentionState::Blocked, 10);
        assert!(second.save && second.event.is_none());
        assert_eq!(second.later, Some(Duration::from_millis(40)));
        say(&mut attending, AttentionState::Done, 20);
        let last = attending.conclude(&mut row, start + SPACING);
        assert!(!last.save);
        let (_, told) = last.event.unwrap();
        assert_eq!((&told["state"], &told["before"]), (&json!("done"), &json!("working")));
        let nothing = attending.conclude(&mut row, start + SPACING * 3);
        assert!(!nothing.save && nothing.event.is_none() && nothing.later.is_none());
        assert_eq!(row.session.attention.state, AttentionState::Done);
        assert_eq!(row.report, Kept::default());
    }
}
