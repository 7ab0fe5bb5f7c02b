//! The task of the hooks: listens to the bus, starts attempts, and notes what became of them.

use super::backoff::GIVE_UP_AFTER;
use super::ledger::Ledger;
use super::notice::{Decision, Notice, body};
use super::post::{Destination, post};
use super::queue::{Delivery, Lane, Queue, Settled, Verdict};
use super::{Outcome, command};
use crate::config::{Hook, HookTarget, HookWord};
use crate::events::{Bus, Event, Kind, Listener};
use crate::id::SessionId;
use crate::metrics::Metrics;
use crate::protocol::{Session, rfc3339};
use crate::registry::Roster;
use crate::store::{DeliveryChange, DeliveryRow, DeliveryRows, StoreHandle};
use actix_web::rt::task::JoinHandle;
use actix_web::rt::time::{sleep_until, timeout};
use slog::{Logger, debug, error, warn};
use std::collections::hash_map::Entry;
use std::collections::{BTreeMap, HashMap, HashSet};
use std::future::{Future, pending};
use std::pin::Pin;
use std::sync::Arc;
use std::time::{Duration, Instant};
use tokio::sync::mpsc::{UnboundedReceiver, UnboundedSender, unbounded_channel};

/// Events that are taken from the bus at once.
const EVENTS_AT_ONCE: usize = 256;
/// After what cannot be read or written this long passes.
const STORE_REST: Duration = Duration::from_secs(1);
/// Attempts that run when the server stops have this time to succeed: what is cut off comes again.
const STOP_GRACE: Duration = Duration::from_secs(1);

/// What the hooks need of the server.
pub struct HooksParts {
    /// Where deliveries outlive the server.
    pub store: StoreHandle,
    /// The events.
    pub events: Bus,
    /// The live sessions.
    pub roster: Roster,
    /// The counters.
    pub metrics: Arc<Metrics>,
    /// Where failures are logged.
    pub log: Logger,
}

/// Changes on their way to the database; an error brings them back.
type Writing = Pin<Box<dyn Future<Output = Result<(), Vec<DeliveryChange>>>>>;

/// The task.
pub(super) struct Dispatcher {
    hooks: Vec<Arc<Hook>>,
    parts: HooksParts,
    queue: Queue,
    ledger: Ledger,
    next_seq: i64,
    /// The live sessions, with the time of the last state that hooks know of.
    followed: HashMap<SessionId, Option<String>>,
    /// Ends that were found before the bus told of them.
    found_ended: HashSet<(SessionId, String)>,
    /// Deliveries that a server before this one has left, by hook and event.
    restored: HashSet<(usize, String)>,
    /// When the sessions are to be compared with what is known of them.
    compare_at: Option<Instant>,
    attempts: HashMap<Lane, JoinHandle<()>>,
    outcomes: UnboundedSender<(Lane, Outcome)>,
    outcome: UnboundedReceiver<(Lane, Outcome)>,
    has_dropped: bool,
}

impl Dispatcher {
    pub(super) fn new(hooks: Vec<Hook>, parts: HooksParts) -> Self {
        let (outcomes, outcome) = unbounded_channel();
        Dispatcher {
            queue: Queue::new(hooks.len()),
            hooks: hooks.into_iter().map(Arc::new).collect(),
            parts,
            ledger: Ledger::default(),
            next_seq: 1,
            followed: HashMap::new(),
            found_ended: HashSet::new(),
            restored: HashSet::new(),
            compare_at: None,
            attempts: HashMap::new(),
            outcomes,
            outcome,
            has_dropped: false,
        }
    }

    /// Takes up the deliveries of a server before this one, and what its rows say that it has not told.
    pub(super) async fn restore(&mut self, rows: DeliveryRows) {
        for row in rows.deliveries {
            self.next_seq = self.next_seq.max(row.seq + 1);
            let hook = self.hooks.iter().position(|hook| hook.key == row.hook);
            let (Some(hook), Some(word)) = (hook, HookWord::named(&row.word)) else {
                // The hook is no longer set.
                self.ledger.remove(row.seq);
                continue;
            };
            self.restored.insert((hook, row.event.clone()));
            self.add(Delivery {
                seq: row.seq,
                lane: (hook, row.session),
                word,
                event: row.event,
                payload: row.payload.into(),
                failed: row.attempts,
                give_up_at: Instant::now() + GIVE_UP_AFTER,
            });
        }
        self.followed = rows.followed.into_iter().map(|row| (row.session, row.since)).collect();
        let live = self.parts.store.load_live().await.map(|live| live.rows).unwrap_or_default();
        let views = live.into_iter().map(|row| (row.session.id, row.session)).collect();
        self.compare(views).await;
        self.restored.clear();
    }

    /// Serves until the bus ends.
    pub(super) async fn run(mut self, mut listener: Listener) {
        let mut writing: Option<Writing> = None;
        let mut write_after = Instant::now();
        loop {
            self.attempt();
            if writing.is_none() && write_after <= Instant::now() {
                writing = self.write();
            }
            let retry = Some(write_after).filter(|at| writing.is_none() && *at > Instant::now());
            let wake = [self.queue.wake_at(), self.compare_at, retry].into_iter().flatten().min();
            tokio::select! {
                goes_on = listener.wait() => {
                    self.hear(&mut listener);
                    if !goes_on {
                        break;
                    }
                }
                Some((lane, outcome)) = self.outcome.recv() => self.settle(lane, outcome),
                written = finished(&mut writing) => {
                    writing = None;
                    if let Err(changes) = written {
                        self.ledger.put_back(changes);
                        write_after = Instant::now() + STORE_REST;
                    }
                }
                () = sleep_until(wake.unwrap_or_else(Instant::now).into()), if wake.is_some() => {}
            }
            if self.compare_at.is_some_and(|at| at <= Instant::now()) {
                self.compare_at = None;
                let views = self.parts.roster.ids().into_iter();
                let views =
                    views.filter_map(|id| Some((id, self.parts.roster.present(id)?.view())));
                self.compare(views.collect()).await;
            }
        }
        self.stop(listener, writing).await;
    }

    /// Writes down what is left to do.
    async fn stop(mut self, mut listener: Listener, writing: Option<Writing>) {
        // It is missing nothing only once there is nothing to take.
        while self.hear(&mut listener) {}
        let grace = Instant::now() + STOP_GRACE;
        while self.queue.running() > 0
            && let Ok(Some((lane, outcome))) =
                timeout(grace.saturating_duration_since(Instant::now()), self.outcome.recv()).await
        {
            self.settle(lane, outcome);
        }
        self.attempts.values().for_each(JoinHandle::abort);
        if let Some(writing) = writing
            && let Err(changes) = writing.await
        {
            self.ledger.put_back(changes);
        }
        while let Some(writing) = self.write() {
            if let Err(changes) = writing.await {
                error!(self.parts.log, "deliveries of hooks are lost: the database is unavailable";
                    "changes" => changes.len(), "deliveries" => self.queue.len());
                return;
            }
        }
    }

    /// Takes some events from the bus. False: there were none.
    fn hear(&mut self, listener: &mut Listener) -> bool {
        match listener.take(EVENTS_AT_ONCE) {
            Ok(events) => {
                events.iter().for_each(|event| self.note(event));
                !events.is_empty()
            }
            Err(_) => {
                debug!(self.parts.log, "events were missed, the sessions are looked at");
                self.compare_at = Some(Instant::now());
                true
            }
        }
    }

    fn note(&mut self, event: &Event) {
        match event.kind {
            Kind::Created | Kind::Status => self.follow(event.session),
            Kind::Ended | Kind::Attention => {
                let view = event.view.as_deref().and_then(|view| serde_json::from_str(view).ok());
                let notice = view.and_then(|view| Notice::of(view, event.looked_at));
                let Some(mut notice) = notice else { return self.follow(event.session) };
                if !notice.is_end()
                    && let Some(session) = self.parts.roster.present(event.session)
                {
                    let now = session.view();
                    notice.update(now.offset, &rfc3339(now.last_activity_at));
                }
                self.consider(&notice);
            }
            _ => {}
        }
    }

    fn follow(&mut self, session: SessionId) {
        if let Entry::Vacant(unknown) = self.followed.entry(session) {
            unknown.insert(None);
            self.ledger.follow(session, None);
        }
    }

    /// Compares the live sessions with what is known of them, and finds what nobody has told.
    async fn compare(&mut self, views: BTreeMap<SessionId, Session>) {
        self.found_ended.clear();
        let is_live =
            |id: &SessionId| views.get(id).is_some_and(|session| session.status.is_live());
        let gone: Vec<SessionId> =
            self.followed.keys().filter(|id| !is_live(id)).copied().collect();
        for (id, session) in views.iter().filter(|(_, session)| session.status.is_live()) {
            let looked_at = session.clients.iter().any(|client| client.looking);
            let view = serde_json::to_value(session).unwrap_or_default();
            match Notice::of(view, looked_at) {
                Some(notice) => self.consider(&notice),
                None => self.follow(*id),
            }
        }
        for id in gone {
            match self.parts.store.get(id).await {
                Ok(Some(row)) if !row.session.status.is_live() => {
                    let view = serde_json::to_value(&row.session).unwrap_or_default();
                    if let Some(notice) = Notice::of(view, false) {
                        self.consider(&notice);
                        self.found_ended.insert((id, notice.at));
                    }
                }
                // It is being started, or its end is not written yet.
                Ok(Some(_)) => {}
                Ok(None) => {
                    self.followed.remove(&id);
                    self.ledger.unfollow(id);
                }
                Err(_) => self.compare_at = Some(Instant::now() + STORE_REST),
            }
        }
    }

    /// Makes the deliveries of a notice, unless it is known.
    fn consider(&mut self, notice: &Notice) {
        let session = notice.session;
        let is_known = match notice.is_end() {
            true => self.found_ended.remove(&(session, notice.at.clone())),
            false => self.followed.get(&session).is_some_and(|at| at.as_ref() == Some(&notice.at)),
        };
        if is_known {
            return;
        }
        let event = notice.id().to_string();
        for (index, hook) in self.hooks.clone().iter().enumerate() {
            let word = match notice.decide(hook) {
                Decision::Other => continue,
                Decision::LookedAt => {
                    self.count("looked_at");
                    continue;
                }
                Decision::Tell(word) => word,
            };
            if self.restored.contains(&(index, event.clone())) {
                continue;
            }
            let delivery = Delivery {
                seq: self.next_seq,
                lane: (index, session),
                word,
                event: event.clone(),
                payload: notice.payload(word).into(),
                failed: 0,
                give_up_at: Instant::now() + GIVE_UP_AFTER,
            };
            self.next_seq += 1;
            self.ledger.put(row(hook, &delivery));
            self.add(delivery);
        }
        if notice.is_end() {
            self.followed.remove(&session);
            self.ledger.unfollow(session);
        } else {
            self.followed.insert(session, Some(notice.at.clone()));
            self.ledger.follow(session, Some(notice.at.clone()));
        }
    }

    fn add(&mut self, delivery: Delivery) {
        for dropped in self.queue.add(delivery) {
            self.count("dropped");
            self.ledger.remove(dropped.seq);
            if !std::mem::replace(&mut self.has_dropped, true) {
                warn!(self.parts.log, "events for a hook are dropped: too many wait";
                    "hook" => &self.hooks[dropped.lane.0].name, "session" => %dropped.lane.1);
            }
        }
        self.show_length();
    }

    /// Begins the attempts for which there is room.
    fn attempt(&mut self) {
        while let Some(delivery) = self.queue.next(Instant::now()) {
            let (lane, hook) = (delivery.lane, self.hooks[delivery.lane.0].clone());
            let outcomes = self.outcomes.clone();
            let task = actix_web::rt::spawn(async move {
                let outcome = deliver(&hook, &delivery).await;
                // Nobody listens any more once the server stops.
                let _ = outcomes.send((lane, outcome));
            });
            self.attempts.insert(lane, task);
        }
    }

    /// An attempt is over.
    fn settle(&mut self, lane: Lane, outcome: Outcome) {
        self.attempts.remove(&lane);
        let (verdict, why) = match outcome {
            Outcome::Delivered => (Verdict::Done, String::new()),
            Outcome::Failed(why) => (Verdict::Again, why),
            Outcome::Refused(why) => (Verdict::GiveUp, why),
        };
        let mut random = [0; 4];
        // Without randomness the time is in the middle.
        let fraction = match getrandom::fill(&mut random) {
            Ok(()) => f64::from(u32::from_ne_bytes(random)) / f64::from(u32::MAX),
            Err(_) => 0.5,
        };
        let (hook, log) = (self.hooks[lane.0].clone(), self.parts.log.clone());
        match self.queue.settle(lane, verdict, Instant::now(), fraction) {
            Some(Settled::Delivered(delivery)) => {
                self.count("delivered");
                self.ledger.remove(delivery.seq);
                debug!(log, "a hook has taken an event"; "hook" => &hook.name,
                    "session" => %lane.1, "event" => &delivery.event);
            }
            Some(Settled::Later(delivery)) => {
                self.count("retried");
                self.ledger.put(row(&hook, &delivery));
                if delivery.failed == 1 {
                    warn!(log, "a hook has failed and is tried again"; "hook" => &hook.name,
                        "session" => %lane.1, "event" => &delivery.event, "why" => why);
                }
            }
            Some(Settled::GivenUp(delivery)) => {
                self.count("given_up");
                self.ledger.remove(delivery.seq);
                error!(log, "a hook is given up"; "hook" => &hook.name, "session" => %lane.1,
                    "event" => &delivery.event, "attempts" => delivery.failed + 1, "why" => why);
            }
            None => {}
        }
        self.show_length();
    }

    /// Begins to write what is not written; `None`: everything is.
    fn write(&mut self) -> Option<Writing> {
        let changes = self.ledger.take();
        if changes.is_empty() {
            return None;
        }
        let store = self.parts.store.clone();
        Some(Box::pin(async move {
            store.change_deliveries(changes.clone()).await.map_err(|_| changes)
        }))
    }

    fn count(&self, outcome: &'static str) {
        self.parts.metrics.hook_deliveries.get_or_create_owned(&[("outcome", outcome)]).inc();
    }

    fn show_length(&self) {
        self.parts.metrics.hook_queue.set(i64::try_from(self.queue.len()).unwrap_or(i64::MAX));
    }
}

async fn finished(writing: &mut Option<Writing>) -> Result<(), Vec<DeliveryChange>> {
    match writing {
        Some(writing) => writing.await,
        None => pending().await,
    }
}

async fn deliver(hook: &Hook, delivery: &Delivery) -> Outcome {
    let body = body(&delivery.payload, delivery.failed.saturating_add(1));
    match &hook.target {
        HookTarget::Command(command) => command::run(command, body, hook.timeout).await,
        HookTarget::Url { url, secret } => {
            let to = Destination { url, secret: secret.as_deref() };
            post(to, &delivery.event, body, hook.timeout).await
        }
    }
}

fn row(hook: &Hook, delivery: &Delivery) -> DeliveryRow {
    DeliveryRow {
        seq: delivery.seq,
        hook: hook.key.clone(),
        session: delivery.lane.1,
        word: delivery.word.as_str().to_owned(),
        event: delivery.event.clone(),
        payload: delivery.payload.to_string(),
        attempts: delivery.failed,
    }
}

#[cfg(test)]
#[path = "dispatcher_tests.rs"]
mod tests;
