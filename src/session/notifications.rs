//! What a session tells of itself on the bus, and how often: no program can make it tell
//! so much that others are not heard.

use super::actor::Session;
use crate::events::{Bus, Kind};
use crate::protocol::{self, Notification, Shell, ShellState};
use crate::screen::Event;
use crate::screens::ScreenEvents;
use actix::prelude::*;
use chrono::Utc;
use serde_json::{Value, json};
use std::time::{Duration, Instant};

/// At most one bell, one title and one directory in this time.
const SPACING: Duration = Duration::from_secs(1);
/// At most so many notifications and commands in that time; of what is beyond only the
/// session's JSON knows. A person cannot type more.
const BURST: u32 = 20;

/// What was told lately.
#[derive(Default)]
pub(super) struct Telling {
    bell: Option<Instant>,
    burst: Option<(Instant, u32)>,
    /// The title and directory that were told last.
    title: Option<String>,
    cwd: Option<String>,
    /// Until when later titles and directories wait.
    spacing: Option<SpawnHandle>,
    /// When output was seen last, and the look whether there was more.
    output: Option<Instant>,
    quiet: Option<SpawnHandle>,
}

impl Telling {
    /// Of a session that may have been told of before.
    pub(super) fn new(session: &protocol::Session) -> Self {
        Telling { title: session.title.clone(), ..Telling::default() }
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

impl Session {
    pub(super) fn tell(&self, kind: Kind, more: Value) {
        self.context.events.tell(kind, &self.record.row.session, Utc::now(), more);
    }

    /// Keeps what was seen on the screen, and tells what is new.
    pub(super) fn seen(&mut self, told: ScreenEvents, ctx: &mut Context<Self>) {
        let ScreenEvents { events, again } = told;
        let tidings: Vec<_> = events.into_iter().filter_map(|event| self.see(event)).collect();
        if again {
            self.telling.title.clone_from(&self.record.row.session.title);
            self.telling.cwd.clone_from(&self.record.row.session.signs.cwd_now);
        }
        // Whoever hears of it and looks must find it.
        self.link.publish(&self.record.row.session);
        for (kind, more) in tidings {
            self.tell(kind, more);
        }
        if self.telling.spacing.is_none() {
            self.tell_lasting(ctx);
        }
    }

    /// Keeps it in the row; what is to be told of it at once.
    fn see(&mut self, event: Event) -> Option<(Kind, Value)> {
        let (at, now) = (Utc::now(), Instant::now());
        let signs = &mut self.record.row.session.signs;
        let (kind, more) = match event {
            // Told by `tell_lasting`. Written with the next change of state: they are for
            // people who look now.
            Event::Title(title) => {
                self.record.row.session.title = title;
                return None;
            }
            Event::Cwd(cwd) => {
                signs.cwd_now = Some(cwd);
                return None;
            }
            // The keeper types them.
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
            mark @ (Event::Prompt | Event::CommandStart | Event::CommandEnd { .. }) => {
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
            Kind::Bell => self.telling.may_ring(now),
            _ => self.telling.may_speak(now),
        };
        may.then_some((kind, more))
    }

    /// Tells the title and the directory, where others were told last.
    fn tell_lasting(&mut self, ctx: &mut Context<Self>) {
        let session = &self.record.row.session;
        let (title, cwd) = (session.title.clone(), session.signs.cwd_now.clone());
        let (new_title, new_cwd) = (title != self.telling.title, cwd != self.telling.cwd);
        if new_title {
            self.tell(Kind::Title, json!({ "title": title }));
        }
        if new_cwd {
            self.tell(Kind::Cwd, json!({ "cwd_now": cwd }));
        }
        (self.telling.title, self.telling.cwd) = (title, cwd);
        self.telling.spacing = (new_title || new_cwd).then(|| {
            ctx.run_later(SPACING, |session, ctx| {
                session.telling.spacing = None;
                session.tell_lasting(ctx);
            })
        });
    }

    /// There was output: the session is not quiet, and may become it.
    pub(super) fn heard_output(&mut self, ctx: &mut Context<Self>) {
        let Some(after) = self.context.quiet_after else { return };
        self.telling.output = Some(Instant::now());
        if self.record.row.session.signs.quiet_since.take().is_some() {
            self.link.publish(&self.record.row.session);
        }
        if self.telling.quiet.is_none() {
            self.await_quiet(after, ctx);
        }
    }

    /// One look at a time, and none once the session is quiet.
    fn await_quiet(&mut self, after: Duration, ctx: &mut Context<Self>) {
        self.telling.quiet = Some(ctx.run_later(after, |session, ctx| {
            // Whatever came since the last look counts.
            session.tend(ctx);
            session.telling.quiet = None;
            session.tell_quiet(ctx);
        }));
    }

    fn tell_quiet(&mut self, ctx: &mut Context<Self>) {
        let (Some(after), Some(output)) = (self.context.quiet_after, self.telling.output) else {
            return;
        };
        // Whoever ends needs no looking after.
        if self.record.is_ending() {
            return;
        }
        let silence = output.elapsed();
        if silence < after {
            return self.await_quiet(after - silence, ctx);
        }
        self.telling.output = None;
        let silence = chrono::Duration::from_std(silence).unwrap_or_default();
        let since = Utc::now() - silence;
        self.record.row.session.signs.quiet_since = Some(since);
        self.link.publish(&self.record.row.session);
        self.tell(Kind::Quiet, json!({ "quiet_since": protocol::rfc3339(since) }));
    }
}

/// Tells that a session is over, by its final record.
pub(crate) fn tell_end(events: &Bus, session: &protocol::Session) {
    let more = json!({
        "status": session.status,
        "end_reason": session.end_reason,
        "exit_code": session.exit_code,
        "exit_signal": session.exit_signal,
        "restart_at": session.restart_at.map(protocol::rfc3339),
    });
    events.tell(Kind::Ended, session, session.ended_at.unwrap_or_else(Utc::now), more);
}

/// Notes a shell's mark; false if it says nothing new.
fn mark_shell(shell: &mut Shell, mark: &Event, at: chrono::DateTime<Utc>) -> bool {
    let before = shell.clone();
    match mark {
        Event::CommandStart => {
            shell.state = ShellState::Running;
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
        let (mut telling, start) = (Telling::default(), Instant::now());
        assert!(telling.may_ring(start));
        assert!(!telling.may_ring(start + Duration::from_millis(999)));
        assert!(telling.may_ring(start + Duration::from_secs(1)));
    }

    #[test]
    fn a_flood_of_notifications_is_cut_off_until_the_next_second() {
        let (mut telling, start) = (Telling::default(), Instant::now());
        let told = (0..1000).filter(|_| telling.may_speak(start)).count();
        assert_eq!(told, 20);
        assert!(telling.may_speak(start + SPACING));
    }

    #[test]
    fn only_a_command_that_began_ends_with_a_code() {
        let at = Utc::now();
        let mut shell = Shell::default();
        assert!(!mark_shell(&mut shell, &Event::CommandEnd { exit: Some(0) }, at));
        assert_eq!(shell, Shell::default());
        assert!(mark_shell(&mut shell, &Event::CommandStart, at));
        assert_eq!(shell.state, ShellState::Running);
        assert!(mark_shell(&mut shell, &Event::CommandEnd { exit: Some(3) }, at));
        assert_eq!((shell.state, shell.last_exit), (ShellState::Prompt, Some(3)));
        assert!(!mark_shell(&mut shell, &Event::Prompt, at), "the end has said it");
    }
}
