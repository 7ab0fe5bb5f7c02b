//! The bus: the last events, and listeners with their positions.

use super::event::{Event, Kind};
use super::id::EventId;
use crate::protocol::{Session, rfc3339};
use chrono::{DateTime, Utc};
use serde_json::{Value, json};
use std::collections::VecDeque;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use tokio::sync::watch;

/// The most events that are kept.
const EVENTS_MAX: usize = 4096;
/// The most bytes of event data that are kept: enough for a thousand of the longest notifications.
const BYTES_MAX: usize = 8 << 20;

/// The bus on which events are published. Clones share it.
#[derive(Clone)]
pub struct Bus {
    shared: Arc<Shared>,
}

struct Shared {
    epoch: u64,
    with_sessions: AtomicBool,
    kept: Mutex<Kept>,
    /// The number of the last event; `None` once the server stops.
    news: watch::Sender<Option<u64>>,
}

#[derive(Default)]
struct Kept {
    events: VecDeque<Arc<Event>>,
    bytes: usize,
    last: u64,
}

impl Kept {
    /// The number of the oldest event that is kept, or of the next if none is.
    fn oldest(&self) -> u64 {
        self.last + 1 - self.events.len() as u64
    }
}

impl Bus {
    /// The bus of a server that starts at this time.
    #[must_use]
    pub fn new(start: DateTime<Utc>) -> Self {
        // With a clock before 1970 ids are still unique while this server runs.
        let epoch = u64::try_from(start.timestamp_millis()).unwrap_or_default();
        let news = watch::Sender::new(Some(0));
        let (with_sessions, kept) = (AtomicBool::default(), Mutex::default());
        Bus { shared: Arc::new(Shared { epoch, with_sessions, kept, news }) }
    }

    /// From now on, events that hooks are about have the session's JSON with them.
    pub fn keep_sessions(&self) {
        self.shared.with_sessions.store(true, Ordering::Relaxed);
    }

    /// Publishes an event of a session. `more` is an object with the members of its kind. Never
    /// waits for a listener.
    pub fn tell(&self, kind: Kind, session: &Session, at: DateTime<Utc>, more: Value) {
        let looked_at = session.clients.iter().any(|client| client.looking);
        self.tell_seen(kind, session, at, more, looked_at);
    }

    /// As [`Bus::tell`] of a session whose clients are no longer listed. `looked_at`: somebody was
    /// looking at one of them.
    pub fn tell_seen(
        &self,
        kind: Kind,
        session: &Session,
        at: DateTime<Utc>,
        more: Value,
        looked_at: bool,
    ) {
        let has_view = matches!(kind, Kind::Ended | Kind::Attention)
            && self.shared.with_sessions.load(Ordering::Relaxed);
        // Strings, numbers and sorted maps of them cannot fail to be written.
        let view = has_view.then(|| serde_json::to_string(session).unwrap_or_default());
        let mut data = json!({ "session": session.id, "name": session.name, "at": rfc3339(at) });
        if let (Value::Object(data), Value::Object(more)) = (&mut data, more) {
            data.extend(more);
        }
        let data = data.to_string();
        let number = {
            let mut kept = self.kept();
            kept.last += 1;
            let id = EventId { epoch: self.shared.epoch, number: kept.last };
            let (owner, owner_token) = (session.owner.clone(), session.owner_token);
            let (session, labels) = (session.id, session.labels.clone());
            let event =
                Event { id, kind, session, owner, owner_token, labels, looked_at, view, data };
            kept.bytes += event.size();
            kept.events.push_back(Arc::new(event));
            while kept.events.len() > EVENTS_MAX || kept.bytes > BYTES_MAX {
                let Some(old) = kept.events.pop_front() else { break };
                kept.bytes -= old.size();
            }
            kept.last
        };
        self.shared.news.send_if_modified(|news| match news {
            Some(last) if *last < number => {
                *last = number;
                true
            }
            _ => false,
        });
    }

    /// Ends all listeners, because the server stops.
    pub fn end(&self) {
        self.shared.news.send_replace(None);
    }

    /// Listens from now on.
    #[must_use]
    pub fn listen(&self) -> Listener {
        let news = self.shared.news.subscribe();
        Listener { bus: self.clone(), next: self.kept().last + 1, news }
    }

    /// Listens from the event after this one.
    ///
    /// # Errors
    /// Some of these events are no longer kept, or the id is another server's.
    pub fn listen_after(&self, id: EventId) -> Result<Listener, Gone> {
        let next = id.number.saturating_add(1);
        let there = {
            let kept = self.kept();
            (kept.oldest()..=kept.last + 1).contains(&next)
        };
        if id.epoch != self.shared.epoch || !there {
            return Err(Gone);
        }
        // If events are dropped meanwhile, `take` reports it.
        Ok(Listener { next, ..self.listen() })
    }

    fn kept(&self) -> MutexGuard<'_, Kept> {
        self.shared.kept.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// A position among the events.
pub struct Listener {
    bus: Bus,
    next: u64,
    news: watch::Receiver<Option<u64>>,
}

/// Events were missed. A client that follows the sessions has to list them again.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Gone;

impl Listener {
    /// The id of the event before the next one, from which a listener can continue.
    #[must_use]
    pub fn place(&self) -> EventId {
        EventId { epoch: self.bus.shared.epoch, number: self.next - 1 }
    }

    /// The next events, at most `most` of them. Does not wait.
    ///
    /// # Errors
    /// Some are no longer kept. The position is now behind the last event.
    pub fn take(&mut self, most: usize) -> Result<Vec<Arc<Event>>, Gone> {
        let kept = self.bus.kept();
        let oldest = kept.oldest();
        if self.next < oldest {
            self.next = kept.last + 1;
            return Err(Gone);
        }
        // There are at most as many as are kept, so the cast is safe.
        let passed = (self.next - oldest) as usize;
        let events: Vec<_> = kept.events.iter().skip(passed).take(most).cloned().collect();
        self.next += events.len() as u64;
        Ok(events)
    }

    /// Waits until there is an event to take; false once the server stops.
    pub async fn wait(&mut self) -> bool {
        let next = self.next;
        let there = self.news.wait_for(|last| last.is_none_or(|last| last >= next)).await;
        there.is_ok_and(|last| last.is_some())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cli::samples;

    fn session() -> Session {
        samples::session("01890a5d-ac96-774b-bcce-b302099a8057", None)
    }

    fn bus() -> Bus {
        Bus::new(DateTime::from_timestamp_millis(1000).unwrap())
    }

    fn tell(bus: &Bus, count: usize) {
        for n in 0..count {
            bus.tell(Kind::Bell, &session(), Utc::now(), json!({ "n": n }));
        }
    }

    fn numbers(events: &[Arc<Event>]) -> Vec<u64> {
        events.iter().map(|event| event.id.number).collect()
    }

    #[test]
    fn a_listener_gets_every_event_once_and_goes_on_where_it_was() {
        let bus = bus();
        tell(&bus, 2);
        let mut listener = bus.listen();
        assert_eq!(listener.take(10), Ok(Vec::new()));
        tell(&bus, 3);
        assert_eq!(numbers(&listener.take(2).unwrap()), [3, 4]);
        assert_eq!(listener.place().to_string(), "1000-4");
        let mut back = bus.listen_after(listener.place()).unwrap();
        assert_eq!(numbers(&back.take(10).unwrap()), [5]);
    }

    #[test]
    fn what_is_too_old_or_of_another_server_is_gone() {
        let bus = bus();
        let mut slow = bus.listen();
        tell(&bus, EVENTS_MAX + 1);
        assert_eq!(bus.kept().events.len(), EVENTS_MAX);
        assert_eq!(bus.listen_after(EventId { epoch: 1000, number: 0 }).err(), Some(Gone));
        assert!(bus.listen_after(EventId { epoch: 1000, number: 1 }).is_ok());
        let last = EVENTS_MAX as u64 + 1;
        assert!(bus.listen_after(EventId { epoch: 1000, number: last }).is_ok());
        for number in [last + 1, u64::MAX] {
            assert_eq!(bus.listen_after(EventId { epoch: 1000, number }).err(), Some(Gone));
        }
        assert_eq!(bus.listen_after(EventId { epoch: 999, number: 1 }).err(), Some(Gone));
        assert_eq!(slow.take(10), Err(Gone));
        assert_eq!(slow.place().number, last);
        tell(&bus, 1);
        assert_eq!(numbers(&slow.take(10).unwrap()), [last + 1]);
    }

    #[test]
    fn long_events_do_not_make_the_memory_grow() {
        let bus = bus();
        for _ in 0..100 {
            let body = "x".repeat(BYTES_MAX / 10);
            bus.tell(Kind::Notification, &session(), Utc::now(), json!({ "body": body }));
        }
        assert!(bus.kept().bytes <= BYTES_MAX);
        assert!(bus.kept().events.len() < 10);
    }

    #[actix_web::test]
    async fn the_end_ends_every_wait() {
        let bus = bus();
        let mut listener = bus.listen();
        tell(&bus, 1);
        assert!(listener.wait().await);
        bus.end();
        assert!(!listener.wait().await);
        tell(&bus, 1);
        assert!(!listener.wait().await, "nothing brings it back");
    }
}
