//! Decides what a program is doing. Three may say something of it, and one of them counts at a time:
//!
//! 1. A **report** from inside the session. It counts until its program has ended. Once somebody has
//!    typed after it, it knows of the answer no more, and the rules count where there are some for
//!    this program.
//! 2. **Signs** in the output: notifications, until somebody types or the program goes on by itself;
//!    and a shell's marks. That a command runs says nothing of a program that has rules.
//! 3. The **rules** for what the program's screen shows. A change counts once it was seen twice, so that
//!    a screen that is half drawn is not believed.

use super::agents::{Agent, Says};
use crate::protocol::{Attention, AttentionSource, AttentionState, message_line};
use crate::screen::Event;
use crate::tree::ProcessId;
use chrono::{DateTime, TimeDelta, Utc};
use serde::{Deserialize, Serialize};

/// A command that has run for so long has done something that is worth a look.
const LONG_COMMAND: TimeDelta = TimeDelta::seconds(10);
/// A reminder does not say which question it means: if somebody has typed so shortly before, that one is
/// answered.
const REMINDER: TimeDelta = TimeDelta::seconds(1);
/// Ages of processes are as exact as this.
const TICK: TimeDelta = TimeDelta::milliseconds(20);
/// A program that changes its screen later than this after a notification has gone on by itself.
const SAME_MOMENT: TimeDelta = TimeDelta::seconds(2);

/// What a program in the session says of itself.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Report {
    /// The state.
    pub state: AttentionState,
    /// What people are told.
    pub message: Option<String>,
    /// Its number: one that is not larger than the last report's comes too late.
    pub seq: Option<u64>,
    /// The program whose state it is; `None`: it counts until the next report.
    pub program: Option<ProcessId>,
    /// How long ago that was so: hooks take a moment to say it.
    pub age: TimeDelta,
}

/// A report that came after a later one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Older {
    /// The number of the last report.
    pub last: u64,
}

/// The result of a look at the session.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Looked {
    /// The name of the rules for the program in the foreground, if there are some.
    pub agent: Option<String>,
    /// The process that is in the foreground, if it is known.
    pub process: Option<i32>,
    /// What they say of its screen; `None`: nothing.
    pub says: Option<Says>,
    /// Whether the program of the last report has ended.
    pub report_over: bool,
}

/// The parts of a judge that are kept for a later server, besides the [`Attention`] itself.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct Kept {
    /// The number of the last report.
    pub seq: Option<u64>,
    /// The program of the report that counts.
    pub program: Option<ProcessId>,
}

#[derive(Clone, Debug, PartialEq)]
struct Sign {
    state: AttentionState,
    message: Option<String>,
    at: DateTime<Utc>,
}

#[derive(Clone, Debug, PartialEq)]
struct Reported {
    sign: Sign,
    program: Option<ProcessId>,
    /// Somebody has typed since …
    typed: bool,
    /// … and what the screen showed after that is known.
    looked: bool,
    /// Its program has ended, and nothing else was heard since.
    over: bool,
}

#[derive(Clone, Debug, Default, PartialEq)]
struct Ruled {
    agent: String,
    process: Option<i32>,
    says: Option<Sign>,
    /// The result of the last look, if it was a new one.
    once: Option<Says>,
}

/// Everything that is known of one session's program.
#[derive(Clone, Debug, Default)]
pub struct Judge {
    seq: Option<u64>,
    report: Option<Reported>,
    notice: Option<Sign>,
    mark: Option<Sign>,
    rules: Option<Ruled>,
    /// The command that runs has said more of itself, or has rules: that it runs is no news any more,
    /// also when it is about to end.
    outdone: bool,
    /// When somebody has typed something.
    typed_at: Option<DateTime<Utc>>,
    /// What a server before this one knew, until something else is heard.
    before: Option<Attention>,
    present: Attention,
}

impl Judge {
    /// The judge of a session of which this is known.
    #[must_use]
    pub fn new(present: Attention, kept: Kept) -> Self {
        let Kept { seq, program } = kept;
        let sign =
            Sign { state: present.state, message: present.message.clone(), at: present.since };
        let is_report = present.source == Some(AttentionSource::Report);
        let report = is_report.then_some(Reported::new(sign, program));
        let before = (!is_report).then(|| present.clone());
        Judge { seq, report, before, present, ..Judge::default() }
    }

    /// The decision.
    #[must_use]
    pub fn present(&self) -> &Attention {
        &self.present
    }

    /// The parts that are kept besides the decision.
    #[must_use]
    pub fn kept(&self) -> Kept {
        Kept { seq: self.seq, program: self.report_program().cloned() }
    }

    /// The program of the report that counts.
    #[must_use]
    pub fn report_program(&self) -> Option<&ProcessId> {
        self.report.as_ref().filter(|report| !report.over)?.program.as_ref()
    }

    /// A program has said what it does.
    ///
    /// # Errors
    /// It comes after a later one, and changes nothing.
    pub fn report(&mut self, report: Report, now: DateTime<Utc>) -> Result<(), Older> {
        let Report { state, message, seq, program, age } = report;
        // Another program has numbers of its own.
        let last_program = self.report.as_ref().and_then(|report| report.program.as_ref());
        if last_program.is_some_and(|last| program.as_ref().is_some_and(|new| new != last)) {
            self.seq = None;
        }
        match (self.seq, seq) {
            (Some(last), Some(seq)) if seq <= last => return Err(Older { last }),
            _ => self.seq = seq.or(self.seq),
        }
        let message = message.as_deref().and_then(message_line);
        let is_reminder = state == AttentionState::Blocked && message.is_none();
        let was_answered = self.typed_at.is_some_and(|typed| typed > now - age - REMINDER);
        if is_reminder && was_answered
            || self.report.as_ref().is_some_and(|last| last.says_as_much(state, message.as_ref()))
        {
            return Ok(());
        }
        let sign = Sign { state, message, at: now };
        // A report of "unknown" leaves the decision to the others.
        let counts = state != AttentionState::Unknown;
        if let Some(rules) = self.rules.as_mut().filter(|_| !counts) {
            // What they have said may be as old as the report; another look tells.
            rules.says = None;
        }
        self.report = counts.then_some(Reported::new(sign, program));
        self.before = None;
        self.outdone = true;
        match self.typed_at {
            // It does not know of that.
            Some(typed) if typed > now - age + TICK => self.typed(typed),
            _ => self.decide(now),
        }
        Ok(())
    }

    /// A shell has marked a prompt or a command (OSC 133). Other events say nothing.
    pub fn marked(&mut self, mark: &Event, now: DateTime<Utc>) {
        let sign = |state, message| Some(Sign { state, message, at: now });
        match mark {
            Event::CommandStart { command } => {
                let message = command.as_deref().and_then(message_line);
                self.mark = sign(AttentionState::Working, message);
                self.notice = None;
            }
            Event::CommandEnd { exit } => {
                // Shells also end the command that was none.
                if let Some(running) = self.running_command() {
                    let state = match now - running.at >= LONG_COMMAND {
                        true => AttentionState::Done,
                        false => AttentionState::Idle,
                    };
                    self.mark = sign(state, ended(running.message.as_deref(), *exit));
                    self.notice.take_if(|notice| notice.state == AttentionState::Blocked);
                }
            }
            Event::Prompt => {
                if self.mark.is_none() || self.running_command().is_some() {
                    self.mark = sign(AttentionState::Idle, None);
                }
            }
            _ => return,
        }
        self.outdone = false;
        self.heard();
        self.decide(now);
    }

    /// The program has sent a notification (OSC 9, 99, 777).
    pub fn notified(&mut self, text: &str, agent: Option<&Agent>, now: DateTime<Utc>) {
        let by_rule = agent.and_then(|agent| agent.notification(text));
        let state = by_rule.unwrap_or(AttentionState::Done);
        self.notice = Some(Sign { state, message: message_line(text), at: now });
        self.heard();
        self.decide(now);
    }

    /// Somebody has answered, or given the program something to do.
    pub fn typed(&mut self, now: DateTime<Utc>) {
        self.typed_at = Some(now);
        let are_rules = self.rules.as_ref().is_some_and(|rules| rules.says.is_some());
        if let Some(report) = &mut self.report {
            report.typed = true;
            if are_rules {
                report.sign.see(now);
            } else {
                report.sign.answer(now);
            }
        }
        self.notice = None;
        if let Some(mark) = &mut self.mark {
            mark.see(now);
        }
        if let Some(says) = self.rules.as_mut().and_then(|rules| rules.says.as_mut()) {
            says.see(now);
        }
        let asks = [AttentionState::Blocked, AttentionState::Done];
        self.before.take_if(|before| asks.contains(&before.state));
        self.decide(now);
    }

    /// Somebody has looked at the foreground program and its screen. True: another look is to follow
    /// soon, which decides.
    pub fn looked(&mut self, looked: Looked, now: DateTime<Utc>) -> bool {
        let Looked { agent, process, says, report_over } = looked;
        if report_over {
            self.end_report();
        }
        let known = self.rules.as_ref().map(|rules| (&rules.agent, rules.process));
        if known != agent.as_ref().map(|agent| (agent, process)) {
            if self.rules.is_some() {
                self.notice = None;
            }
            self.rules = agent.map(|agent| Ruled { agent, process, ..Ruled::default() });
        }
        if self.rules.is_none() {
            let by_rules = |before: &mut Attention| before.source == Some(AttentionSource::Rules);
            self.before.take_if(by_rules);
        }
        let again = says.is_some_and(|says| self.rule(says, now));
        self.decide(now);
        again
    }

    /// The rules say this of the screen. True: for the first time.
    fn rule(&mut self, says: Says, now: DateTime<Utc>) -> bool {
        let Some(rules) = &mut self.rules else { return false };
        let before = rules.says.as_ref().map(|sign| sign.state);
        let is_same = match (before, says.state) {
            (Some(AttentionState::Done), AttentionState::Idle) => true,
            (Some(AttentionState::Blocked), AttentionState::Blocked) => {
                rules.says.as_ref().is_some_and(|sign| sign.message == says.message)
            }
            (before, state) => before == Some(state),
        };
        if is_same {
            rules.once = None;
            self.shown();
            return false;
        }
        if rules.once.as_ref() != Some(&says) {
            rules.once = Some(says);
            return true;
        }
        rules.once = None;
        let worked = matches!(before, Some(AttentionState::Working | AttentionState::Blocked));
        // Somebody has seen what the report told as done before the screen was looked at.
        let is_seen = self.report.as_ref().is_some_and(|report| {
            report.typed && report.sign.state == AttentionState::Idle && !report.looked
        });
        let state = match says.state {
            AttentionState::Idle if worked && !is_seen => AttentionState::Done,
            state => state,
        };
        rules.says = Some(Sign { state, message: says.message, at: now });
        self.notice.take_if(|notice| now - notice.at > SAME_MOMENT);
        self.shown();
        self.heard();
        false
    }

    /// What the rules say is of a screen after what was typed. What they have said before that may be older
    /// than the report.
    fn shown(&mut self) {
        self.outdone = true;
        if let Some(report) = &mut self.report {
            report.looked |= report.typed;
        }
    }

    /// Something was heard that is newer than a report whose program has ended.
    fn heard(&mut self) {
        self.report.take_if(|report| report.over);
        self.before = None;
    }

    /// What has ended neither works nor waits for an answer; that it had done something stays true.
    fn end_report(&mut self) {
        self.seq = None;
        self.report.take_if(|report| report.sign.state.needs_program());
        if let Some(report) = &mut self.report {
            report.over = true;
        }
    }

    fn running_command(&self) -> Option<Sign> {
        self.mark.clone().filter(|mark| mark.state == AttentionState::Working)
    }

    /// The one that counts.
    fn verdict(&self) -> Option<(&Sign, AttentionSource)> {
        let says = self.rules.as_ref().and_then(|rules| rules.says.as_ref());
        let by_rules = says.map(|says| (says, AttentionSource::Rules));
        match &self.report {
            Some(report) if report.looked && by_rules.is_some() => return by_rules,
            Some(report) => return Some((&report.sign, AttentionSource::Report)),
            None => {}
        }
        let osc = |sign| (sign, AttentionSource::Osc);
        let mark = self.mark.as_ref();
        let mark = mark.filter(|mark| !(self.outdone && mark.state == AttentionState::Working));
        self.notice.as_ref().map(osc).or(by_rules).or(mark.map(osc))
    }

    fn decide(&mut self, now: DateTime<Utc>) {
        let Attention { state: was, message: asked, since, source: by } = &self.present;
        let decided = match (self.verdict(), &self.before) {
            (Some((Sign { state, message, at }, source)), _) => {
                let asks_more =
                    *state == AttentionState::Blocked && message != asked && *by == Some(source);
                let since = if state == was && !asks_more { *since } else { *at };
                Attention { state: *state, message: message.clone(), since, source: Some(source) }
            }
            (None, Some(before)) => before.clone(),
            (None, None) if *was == AttentionState::Unknown => Attention::unknown(*since),
            (None, None) => Attention::unknown(now),
        };
        self.present = decided;
    }
}

impl Reported {
    fn new(sign: Sign, program: Option<ProcessId>) -> Self {
        Reported { sign, program, typed: false, looked: false, over: false }
    }

    /// Whether this report says already what comes after it: that a program waits for something to do is
    /// no news after it has told what it has done, and neither is that it asks, where it has told what.
    fn says_as_much(&self, state: AttentionState, message: Option<&String>) -> bool {
        let is_known = match (self.sign.state, state) {
            (AttentionState::Done, AttentionState::Idle) => true,
            (AttentionState::Blocked, AttentionState::Blocked) => message.is_none(),
            _ => false,
        };
        is_known && !self.typed && !self.over
    }
}

impl Sign {
    /// Somebody has seen what was done.
    fn see(&mut self, now: DateTime<Utc>) {
        if self.state == AttentionState::Done {
            *self = Sign { state: AttentionState::Idle, message: None, at: now };
        }
    }

    /// The same, or has answered what was asked.
    fn answer(&mut self, now: DateTime<Utc>) {
        self.see(now);
        if self.state == AttentionState::Blocked {
            *self = Sign { state: AttentionState::Working, message: None, at: now };
        }
    }
}

/// How a command has ended, for people.
fn ended(command: Option<&str>, exit: Option<i32>) -> Option<String> {
    let how = match exit {
        Some(0) => "done".to_owned(),
        Some(code) => format!("exited {code}"),
        None => "ended".to_owned(),
    };
    message_line(&command.map_or_else(|| how.clone(), |command| format!("{how}: {command}")))
}

#[cfg(test)]
#[path = "judge_tests.rs"]
mod tests;
