//! Waiting for something on a session's screen, without a connection and without polling.

use crate::events::Bus;
use crate::http::shots::{NoShot, Shot, Shots};
use crate::protocol::AttentionState;
use crate::screen::View;
use crate::screens::{Inspection, ScreenSince};
use crate::session::{ReadFrom, SessionHandle};
use actix_web::rt::task::spawn_blocking;
use chrono::{DateTime, Utc};
use regex::Regex;
use std::io;
use std::os::fd::OwnedFd;
use std::time::Duration;
use tokio::io::unix::AsyncFd;
use tokio::sync::OwnedSemaphorePermit;
use tokio::time::{Instant, sleep_until, timeout_at};

/// The pause between two shots. A flood would otherwise be shot as often as there is time for,
/// on the cores that it needs itself.
const REST: Duration = Duration::from_millis(30);
/// The last shot of a wait may wait this long for room.
const ROOM: Duration = Duration::from_secs(5);
/// The memory that the scrollback of a wait which counts only what is new may make its screen take, in
/// bytes: a quarter of that of all such waits.
const NEW_MAX: usize = 16 << 20;
/// Events that are passed over at once.
const BATCH: usize = 64;

/// The condition of a wait.
#[derive(Clone, Debug)]
pub(in crate::http) enum Condition {
    /// The text of the screen, with the scrollback that is asked for, matches. Lines that
    /// the terminal wrapped are one; spaces at the end of a line may be there or not.
    Shows(Regex),
    /// The same, of what was printed from this offset on.
    Prints(Regex, u64),
    /// No output for so long, counted from the beginning of the wait.
    Quiet(Duration),
    /// The program is in one of these states, and came to be so after this time.
    State(Vec<AttentionState>, Option<DateTime<Utc>>),
}

impl Condition {
    /// Whether it holds for a session that has ended, which is quiet, and of which only the last screen
    /// is left: nobody knows what on it is new.
    pub(super) fn holds_at_the_end(&self, look: &Inspection<Shot>) -> bool {
        matches!(self, Condition::Quiet(_)) || self.holds_on(&look.seen.view)
    }

    /// Whether a session's program is in a state that is waited for. Nothing else is told by it.
    fn is_state_of(&self, handle: &SessionHandle) -> bool {
        let Condition::State(states, since) = self else { return false };
        handle.with_view(|view| {
            let attention = &view.attention;
            // Clients know times in milliseconds.
            let entered = attention.since.timestamp_millis();
            states.contains(&attention.state)
                && since.is_none_or(|since| entered > since.timestamp_millis())
        })
    }

    fn holds_on(&self, view: &View) -> bool {
        let Condition::Shows(regex) = self else { return false };
        matches(regex, view)
    }
}

fn matches(regex: &Regex, view: &View) -> bool {
    // One text at a time: that of a large screen is megabytes.
    [true, false].into_iter().any(|trimmed| regex.is_match(&view.written(trimmed)))
}

/// The output that a wait counts, if it does not count what was there before.
struct New {
    since: ScreenSince,
    scrollback: usize,
    regex: Regex,
    /// The room for its screen.
    room: OwnedSemaphorePermit,
    /// The ring keeps what was not looked at yet, unless the program overwrites it.
    needs: ReadFrom,
}

impl New {
    fn of(
        shots: &Shots,
        handle: &SessionHandle,
        condition: &Condition,
        scrollback: usize,
    ) -> Result<Option<Self>, NoShot> {
        let Condition::Prints(regex, offset) = condition else { return Ok(None) };
        let size = handle.with_view(|view| (view.cols, view.rows));
        let scrollback = scrollback.min(ScreenSince::lines_in(NEW_MAX, size));
        let room = shots.room_for_wait(ScreenSince::memory(size, scrollback))?;
        let since = ScreenSince::new(size, scrollback, *offset);
        let needs = handle.read_from(*offset);
        Ok(Some(New { since, scrollback, regex: regex.clone(), room, needs }))
    }

    /// Applies what there is by now, on a thread that may take its time. Returns whether it matches;
    /// `None` if the emulator has failed.
    async fn look(self, shots: &Shots, handle: &SessionHandle) -> Option<(Self, bool)> {
        let New { since, scrollback, regex, mut room, needs } = self;
        let now = handle.with_view(|view| (view.cols, view.rows));
        let needed = ScreenSince::memory(now, scrollback);
        let more = needed.saturating_sub(room.num_permits() << 10);
        // Without room for the new size it keeps the old one.
        let size = match more {
            0 => now,
            more => shots.room_for_wait(more).map_or(since.size(), |more| {
                room.merge(more);
                now
            }),
        };
        let (ring, pattern) = (handle.shared_ring(), regex.clone());
        let looked = spawn_blocking(move || {
            let since = since.advance(&ring, size)?;
            let holds = matches(&pattern, &since.view()?);
            Some((since, holds))
        });
        let (since, holds) = looked.await.ok().flatten()?;
        needs.advance(since.offset());
        Some((New { since, scrollback, regex, room, needs }, holds))
    }
}

/// The outcome of a wait, with the screen as it is now.
#[derive(Debug)]
pub(super) enum Waited {
    /// The condition holds.
    Held(Inspection<Shot>),
    /// The condition did not hold in time.
    TimedOut(Inspection<Shot>),
    /// The condition did not hold, and the session has ended: nothing will change any more.
    Ended(Inspection<Shot>),
    /// The screen is broken, or there was no room for it.
    NoShot(NoShot),
    /// The server stops.
    Stopping,
}

/// Waits until `condition` holds of a session's screen, for at most `limit`. Looks when
/// there is something new, and not again at once. A session that has ended is quiet.
///
/// # Errors
/// When the process has no descriptor left.
pub(super) async fn wait_for(
    shots: &Shots,
    handle: &SessionHandle,
    events: &Bus,
    condition: &Condition,
    scrollback: usize,
    limit: Duration,
) -> io::Result<Waited> {
    let mut news = News::of(handle, condition, events)?;
    let mut new = match New::of(shots, handle, condition, scrollback) {
        Ok(new) => new,
        Err(error) => return Ok(Waited::NoShot(error)),
    };
    let mut quiet_since = Instant::now();
    let deadline = quiet_since + limit;
    loop {
        // In this order: what comes after it is seen by the next look.
        let (over, now) = (news.is_over(), Instant::now());
        let (due, may_hold) = match condition {
            Condition::Shows(_) | Condition::Prints(..) => (deadline, true),
            Condition::Quiet(span) => {
                let due = quiet_since + *span;
                (deadline.min(due), over || now >= due)
            }
            Condition::State(..) => (deadline, condition.is_state_of(handle)),
        };
        let in_time = now < deadline;
        if may_hold || over || !in_time {
            // Before the shot, which then shows what matches.
            let mut prints = false;
            if let Some(before) = new.take() {
                let Some((after, holds)) = before.look(shots, handle).await else {
                    return Ok(Waited::NoShot(NoShot::Broken));
                };
                (new, prints) = (Some(after), holds);
            }
            let look = match shots.take(handle, scrollback, deadline.max(now + ROOM)).await {
                Ok(look) => look,
                Err(error) => return Ok(Waited::NoShot(error)),
            };
            let known = matches!(condition, Condition::Quiet(_) | Condition::State(..));
            if may_hold && known || prints || condition.holds_on(&look.seen.view) {
                return Ok(Waited::Held(look));
            }
            // A screen that is still behind its last output goes on.
            let seen = new.as_ref().map_or(look.offset, |new| look.offset.min(new.since.offset()));
            if over && seen >= handle.ring().head() {
                return Ok(Waited::Ended(look));
            }
            if !in_time {
                return Ok(Waited::TimedOut(look));
            }
            news.seen(seen, look.resizes);
        }
        match timeout_at(due, news.next()).await {
            Ok(true) => {}
            Ok(false) => return Ok(Waited::Stopping),
            Err(_) => continue,
        }
        sleep_until(deadline.min(now + REST)).await;
        if news.came() {
            quiet_since = Instant::now();
        }
    }
}

/// The sources of changes of a session's screen.
struct News<'a> {
    handle: &'a SessionHandle,
    /// A state that is waited for is news, too.
    condition: &'a Condition,
    wake: AsyncFd<OwnedFd>,
    /// Tells of an end that the ring does not know of, and of the server's own.
    listener: crate::events::Listener,
    head: u64,
    resizes: u64,
}

impl<'a> News<'a> {
    fn of(handle: &'a SessionHandle, condition: &'a Condition, events: &Bus) -> io::Result<Self> {
        let (wake, listener) = (handle.wake()?, events.listen());
        let (resizes, head) = (handle.ring().resize_count(), handle.ring().head());
        Ok(News { handle, condition, wake, listener, head, resizes })
    }

    fn is_over(&self) -> bool {
        self.handle.ring().ended().is_some() || !self.handle.view().status.is_live()
    }

    /// The screen was seen after so many bytes and resizes.
    fn seen(&mut self, offset: u64, resizes: u64) {
        (self.head, self.resizes) = (offset, resizes);
    }

    /// Whether there was output since it was asked last; what came is no news any more.
    fn came(&mut self) -> bool {
        let head = self.handle.ring().head();
        self.resizes = self.handle.ring().resize_count();
        std::mem::replace(&mut self.head, head) != head
    }

    fn is_there(&self) -> bool {
        let ring = self.handle.ring();
        let printed = ring.head() > self.head || ring.resize_count() != self.resizes;
        printed || self.is_over() || self.condition.is_state_of(self.handle)
    }

    /// Waits until there is news; false: the server stops. May be dropped and called again.
    async fn next(&mut self) -> bool {
        loop {
            // Register, then look: what is published in between must wake us.
            self.handle.ring().request_wake(self.head + 1);
            if self.is_there() {
                return true;
            }
            tokio::select! {
                ready = self.wake.readable() => match ready {
                    Ok(mut guard) => guard.clear_ready(),
                    Err(_) => return false,
                },
                more = self.listener.wait() => {
                    if !more {
                        return false;
                    }
                    // Whatever it is, of whichever session: the look above tells. Events
                    // that were missed are nothing to us.
                    let _ = self.listener.take(BATCH);
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::screen::{Options, Screen};

    fn shows(output: &str, regex: &str) -> bool {
        let mut screen = Screen::new(10, 4, Options::default());
        screen.feed(output.as_bytes(), &mut Vec::new());
        let regex = regex::RegexBuilder::new(regex).multi_line(true).build().unwrap();
        Condition::Shows(regex).holds_on(&screen.view(100))
    }

    #[test]
    fn what_was_wrapped_is_one_line() {
        assert!(shows("0123456789abcdef\r\nnext", "^0123456789abcdef$"));
        assert!(!shows("0123456789\r\nabcdef", "9abc"), "the program has ended the line");
    }

    #[test]
    fn spaces_at_the_end_of_a_line_may_be_asked_for_or_not() {
        for regex in [r"^\$ $", r"\$$", r"^\$ \n", r"^\$\n"] {
            assert!(shows("$ \r\n", regex), "{regex}");
        }
        assert!(!shows("$ x", r"\$$"));
    }

    #[test]
    fn lines_that_have_scrolled_off_count_where_they_are_asked_for() {
        assert!(shows("first\r\n2\r\n3\r\n4\r\n5\r\n6", "^first$"));
    }
}
