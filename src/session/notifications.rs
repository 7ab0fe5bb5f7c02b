//! A session's events on the bus, limited in number, so that no program can drown the events of
//! other sessions.

use crate::events::{Bus, Kind};
use crate::protocol::{Notification, Session, Shell, ShellState, rfc3339};
use crate::screen::Event;
use crate::screens::ScreenEvents;
use crate::store::NewTransition;
use chrono::{DateTime, Utc};
use serde_json::{Value, json};
use std::time::{Duration, Instant};

/// At most one bell, one title and one directory in this time.
const SPACING: Duration = Duration::from_secs(1);
/// At most so many notifications and commands in that time; of what is beyond only the
/// session's JSON knows. A person cannot type more.
const BURST: u32 = 20;

/// The events to tell of a session now, and when to check it again.
#[derive(Debug, Default, PartialEq)]
pub(super) struct News {
    /// The session's view changes, before anything is told: whoever hears of it and looks must
    /// find it.
    pub(super) publish: bool,
    /// The events, in the order in which they are told.
    pub(super) events: Vec<(Kind, Value)>,
    /// `None`: not because of this.
    pub(super) check_after: Option<Duration>,
}

/// The notifications that were sent lately.
#[derive(Debug, Default)]
pub(super) struct Notifications {
    bell: Option<Instant>,
    burst: Option<(Instant, u32)>,
    /// The title and directory that were told last.
    title: Option<String>,
    cwd: Option<String>,
    /// Later titles and directories wait.
    spacing: bool,
    /// After how long without output that is told; `None`: never.
    quiet_after: Option<Duration>,
    /// When output was seen last.
    output: Option<Instant>,
    /// A check for more output is under way.
    listening: bool,
}

impl Notifications {
    /// The notifications of a session that may have had some before.
    pub(super) fn new(session: &Session, quiet_after: Option<Duration>) -> Self {
        Notifications { title: session.title.clone(), quiet_after, ..Notifications::default() }
    }

    /// Keeps what the screen reported, and answers what is new. [`Notifications::spaced`] is to be
    /// called later.
    pub(super) fn seen(&mut self, session: &mut Session, told: ScreenEvents) -> News {
        let ScreenEvents { events, again } = told;
        let events = events.into_iter().filter_map(|event| self.see(session, event)).collect();
        if again {
            self.title.clone_from(&session.title);
            self.cwd.clone_from(&session.signs.cwd_now);
        }
        let mut news = News { publish: true, events, check_after: None };
        if !self.spacing {
            self.add_lasting(session, &mut news);
        }
        news
    }

    /// The title and the directory may be told again.
    pub(super) fn spaced(&mut self, session: &Session) -> News {
        let mut news = News::default();
        self.add_lasting(session, &mut news);
        news
    }

    /// Tells the title and the directory, where others were told last.
    fn add_lasting(&mut self, session: &Session, news: &mut News) {
        let (title, cwd) = (&session.title, &session.signs.cwd_now);
        let (new_title, new_cwd) = (*title != self.title, *cwd != self.cwd);
        if new_title {
            news.events.push((Kind::Title, json!({ "title": title })));
        }
        if new_cwd {
            news.events.push((Kind::Cwd, json!({ "cwd_now": cwd })));
        }
        (self.title, self.cwd) = (title.clone(), cwd.clone());
        self.spacing = new_title || new_cwd;
        news.check_after = self.spacing.then_some(SPACING);
    }

    /// Keeps it in the session; what is to be told of it at once.
    fn see(&mut self, session: &mut Session, event: Event) -> Option<(Kind, Value)> {
        let (at, now) = (Utc::now(), Instant::now());
        let signs = &mut session.signs;
        let (kind, more) = match event {
            // Told by `add_lasting`. Written with the next change of state: they are for
            // people who look now.
            Event::Title(title) => {
                session.title = title;
                return None;
            }
            Event::Cwd(cwd) => {
                signs.cwd_now = Some(cwd);
                return None;
            }
            // The thread that tracks the screen types the replies.
            Event::Reply(_) => return None,
            Event::Bell => {
                signs.bell_at = Some(at);
                (Kind::Bell, json!({}))
            }
            Event::Notification { title, body } => {
                let more = json!({ "title": title, "body": body });
                signs.notification = Some(Notification { title, body, at });
                (Kind::Notification, more)
            }
            mark @ (Event::Prompt | Event::CommandStart { .. } | Event::CommandEnd { .. }) => {
                // The first mark says that there are marks.
                let first = signs.shell.is_none();
                let shell = signs.shell.get_or_insert_default();
                if !mark_shell(shell, &mark, at) && !first {
                    return None;
                }
                (Kind::Command, json!(shell))
            }
        };
        let may = match kind {
            Kind::Bell => self.may_ring(now),
            _ => self.may_speak(now),
        };
        may.then_some((kind, more))
    }

    /// There was output: the session is not quiet, and may become so, which
    /// [`Notifications::quiet`] is to check.
    pub(super) fn heard_output(&mut self, session: &mut Session, now: Instant) -> News {
        let Some(after) = self.quiet_after else { return News::default() };
        self.output = Some(now);
        let publish = session.signs.quiet_since.take().is_some();
        // One check at a time, and none once the session is quiet.
        let check_after = (!std::mem::replace(&mut self.listening, true)).then_some(after);
        News { publish, events: Vec::new(), check_after }
    }

    /// Tells that there was no output for long enough, if so.
    pub(super) fn quiet(&mut self, session: &mut Session, now: Instant, at: DateTime<Utc>) -> News {
        self.listening = false;
        let (Some(after), Some(output)) = (self.quiet_after, self.output) else {
            return News::default();
        };
        let silence = now.duration_since(output);
        if silence < after {
            self.listening = true;
            return News { check_after: Some(after - silence), ..News::default() };
        }
        self.output = None;
        let since = at - chrono::Duration::from_std(silence).unwrap_or_default();
        session.signs.quiet_since = Some(since);
        let quiet = json!({ "quiet_since": rfc3339(since) });
        News { publish: true, events: vec![(Kind::Quiet, quiet)], check_after: None }
    }

    fn may_ring(&mut self, now: Instant) -> bool {
        let may = self.bell.is_none_or(|last| now.duration_since(last) >= SPACING);
        if may {
            self.bell = Some(now);
        }
        may
    }

    fn may_speak(&mut self, now: Instant) -> bool {
        let (since, count) = match self.burst {
            Some((since, count)) if now.duration_since(since) < SPACING => (since, count),
            _ => (now, 0),
        };
        self.burst = Some((since, count.saturating_add(1)));
        count < BURST
    }
}

/// The events of a change that a client has made.
pub(super) fn changes(old: &Session, new: &Session) -> Vec<(Kind, Value)> {
    let decided = |session: &Session| {
        json!({
            "labels": session.labels,
            "idle_timeout_s": session.idle_timeout_s,
            "idle_timeout_before_s": session.idle_timeout_before_s,
            "idle_when": session.idle_when,
            "size_policy": session.size_policy,
            "restart": session.restart,
        })
    };
    let mut events = Vec::new();
    if new.name != old.name {
        events.push((Kind::Renamed, json!({ "old_name": old.name })));
    }
    let decided_now = decided(new);
    if decided_now != decided(old) {
        events.push((Kind::Changed, decided_now));
    }
    events
}

/// The event of a transition.
pub(super) fn status(transition: &NewTransition) -> (Kind, Value) {
    let NewTransition { from, to, reason, active_connections, .. } = transition;
    let more = json!({ "from": from, "status": to, "reason": reason,
        "active_connections": active_connections });
    (Kind::Status, more)
}

/// Tells that a session is over, by its final record. `looked_at`: somebody saw it end.
pub(crate) fn tell_end(events: &Bus, session: &Session, looked_at: bool) {
    let more = json!({
        "status": session.status,
        "end_reason": session.end_reason,
        "exit_code": session.exit_code,
        "exit_signal": session.exit_signal,
        "restart_at": session.restart_at.map(rfc3339),
    });
    let at = session.ended_at.unwrap_or_else(Utc::now);
    events.tell_seen(Kind::Ended, session, at, more, looked_at);
}

/// Notes a shell's mark; false if it says nothing new.
fn mark_shell(shell: &mut Shell, mark: &Event, at: DateTime<Utc>) -> bool {
    let before = shell.clone();
    match mark {
        Event::CommandStart { command } => {
            shell.state = ShellState::Running;
            shell.command.clone_from(command);
            (shell.started_at, shell.ended_at) = (Some(at), None);
        }
        Event::CommandEnd { exit } => {
            // Shells also end the command that was none, before each prompt.
            if shell.state == ShellState::Running {
                (shell.last_exit, shell.ended_at) = (*exit, Some(at));
            }
            shell.state = ShellState::Prompt;
        }
        _ => shell.state = ShellState::Prompt,
    }
    *shell != before
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_bell_a_second_and_no_more() {
        let (mut told, start) = (Notifications::default(), Instant::now());
        assert!(told.may_ring(start));
        assert!(!told.may_ring(start + Duration::from_millis(999)));
        assert!(told.may_ring(start + Duration::from_secs(1)));
    }

    #[test]
    fn a_flood_of_notifications_is_cut_off_until_the_next_second() {
        let (mut told, start) = (Notifications::default(), Instant::now());
        let heard = (0..1000).filter(|_| told.may_speak(start)).count();
        assert_eq!(heard, 20);
        assert!(told.may_speak(start + SPACING));
    }

    #[test]
    fn only_a_command_that_began_ends_with_a_code() {
        let at = Utc::now();
        let mut shell = Shell::default();
        assert!(!mark_shell(&mut shell, &Event::CommandEnd { exit: Some(0) }, at));
        assert_eq!(shell, Shell::default());
        assert!(mark_shell(&mut shell, &Event::CommandStart { command: None }, at));
        assert_eq!(shell.state, ShellState::Running);
        assert!(mark_shell(&mut shell, &Event::CommandEnd { exit: Some(3) }, at));
        assert_eq!((shell.state, shell.last_exit), (ShellState::Prompt, Some(3)));
        assert!(!mark_shell(&mut shell, &Event::Prompt, at), "the end has said it");
    }

    fn session() -> Session {
        Session::begun(crate::id::SessionId::generate(), Utc::now())
    }

    #[test]
    fn of_titles_in_one_second_the_first_and_the_last_are_told() {
        let (mut session, mut told) = (session(), Notifications::default());
        let mut show = |told: &mut Notifications, title: &str| {
            let events = vec![Event::Title(Some(title.to_owned()))];
            told.seen(&mut session, ScreenEvents { events, again: false })
        };
        let first = show(&mut told, "a");
        assert_eq!(first.events, [(Kind::Title, json!({ "title": "a" }))]);
        assert_eq!(first.check_after, Some(SPACING));
        for title in ["b", "c"] {
            let later = show(&mut told, title);
            assert!(later.publish && later.events.is_empty() && later.check_after.is_none());
        }
        let last = told.spaced(&session);
        assert_eq!(last.events, [(Kind::Title, json!({ "title": "c" }))]);
        assert_eq!(told.spaced(&session), News::default(), "nothing is new");
    }

    #[test]
    fn quiet_is_told_once_after_the_last_output() {
        let (mut session, start) = (session(), Instant::now());
        let after = Duration::from_secs(10);
        let mut told = Notifications::new(&session, Some(after));
        assert_eq!(told.heard_output(&mut session, start).check_after, Some(after));
        let later = start + Duration::from_secs(4);
        assert_eq!(told.heard_output(&mut session, later), News::default(), "a check is under way");
        let check = told.quiet(&mut session, start + after, Utc::now());
        assert_eq!(check.check_after, Some(Duration::from_secs(4)));
        let quiet = told.quiet(&mut session, later + after, Utc::now());
        assert_eq!((quiet.events.len(), quiet.check_after), (1, None));
        assert!(session.signs.quiet_since.is_some());
        let loud = told.heard_output(&mut session, later + after);
        assert!(loud.publish && session.signs.quiet_since.is_none());
        assert_eq!(loud.check_after, Some(after));
    }
}
