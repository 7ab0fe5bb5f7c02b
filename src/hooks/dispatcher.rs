//! The task of the hooks: listens to the bus, starts attempts, and notes what became of them.

use super::backoff::GIVE_UP_AFTER;
use super::ledger::Ledger;
use super::notice::{Decision, Notice, Whose, body};
use super::post::{Destination, post};
use super::queue::{Delivery, Lane, Queue, Settled, Verdict};
use super::{Outcome, command};
use crate::config::{Hook, HookTarget, HookWord};
use crate::events::{Bus, Event, Kind, Listener};
use crate::id::SessionId;
use crate::metrics::Metrics;
use crate::protocol::{Session, rfc3339};
use crate::push::{Headers, Push, Sent};
use crate::registry::Roster;
use crate::rights::Grants;
use crate::store::{DeliveryChange, DeliveryRow, DeliveryRows, StoreHandle};
use actix_web::rt::task::JoinHandle;
use actix_web::rt::time::{sleep_until, timeout};
use slog::{Logger, debug, error, info, warn};
use std::collections::hash_map::Entry;
use std::collections::{BTreeMap, HashMap, HashSet};
use std::future::{Future, pending};
use std::pin::Pin;
use std::sync::Arc;
use std::time::{Duration, Instant};
use tokio::sync::mpsc::{UnboundedReceiver, UnboundedSender, unbounded_channel};
use uuid::Uuid;

/// Events that are taken from the bus at once.
const EVENTS_AT_ONCE: usize = 256;
/// After what cannot be read or written this long passes.
const STORE_REST: Duration = Duration::from_secs(1);
/// Attempts that run when the server stops have this time to succeed: what is cut off comes again.
const STOP_GRACE: Duration = Duration::from_secs(1);
/// Before a subscription's id in the rows, where hooks have their key.
const PUSH: &str = "push:";
/// For stopping in all.
const STOP_MAX: Duration = Duration::from_secs(5);

/// What the hooks need of the server.
pub struct HooksParts {
    /// Where deliveries outlive the server.
    pub store: StoreHandle,
    /// The events.
    pub events: Bus,
    /// The live sessions.
    pub roster: Roster,
    /// The browsers that have subscribed.
    pub grants: Arc<Grants>,
    /// What sends to them.
    pub push: Arc<Push>,
    /// The counters.
    pub metrics: Arc<Metrics>,
    /// Where failures are logged.
    pub log: Logger,
}

/// The running hooks of a server.
pub struct Hooks(JoinHandle<()>);

impl Hooks {
    /// Goes on where a server before this one has stopped or died. To be called before sessions are
    /// restored, so that nothing that is told then is missed.
    pub async fn start(hooks: Vec<Hook>, parts: HooksParts) -> Hooks {
        let rows = parts.store.deliveries().await.unwrap_or_else(|why| {
            error!(parts.log, "deliveries of hooks cannot be read"; "error" => %why);
            DeliveryRows::default()
        });
        let mut dispatcher = Dispatcher::new(hooks, parts);
        let parts = &dispatcher.parts;
        let listener = parts.events.listen();
        if dispatcher.is_needed() {
            parts.events.keep_sessions();
            dispatcher.was_needed = true;
            dispatcher.restore(rows).await;
        } else if rows != DeliveryRows::default() {
            // Who is to be told later is not told of what was before.
            let _ = parts.store.change_deliveries(vec![DeliveryChange::Clear]).await;
        }
        Hooks(actix_web::rt::spawn(dispatcher.run(listener)))
    }

    /// Waits until the hooks have noted what is left to do, once the bus has ended. The store is to be
    /// flushed later.
    pub async fn stop(self) {
        let mut task = self.0;
        if timeout(STOP_MAX, &mut task).await.is_err() {
            task.abort();
        }
    }
}

/// Changes on their way to the database; an error brings them back.
type Writing = Pin<Box<dyn Future<Output = Result<(), Vec<DeliveryChange>>>>>;

struct Dispatcher {
    hooks: Vec<Arc<Hook>>,
    parts: HooksParts,
    queue: Queue,
    ledger: Ledger,
    next_seq: i64,
    /// The live sessions, with the time of the last state that hooks know of.
    followed: HashMap<SessionId, Option<String>>,
    /// Ends that were found before the bus told of them.
    found_ended: HashSet<(SessionId, String)>,
    /// Deliveries that a server before this one has left, by lane and event.
    restored: HashSet<(Lane, String)>,
    /// There was somebody to tell: a hook, or a browser.
    was_needed: bool,
    /// When the sessions are to be compared with what is known of them.
    compare_at: Option<Instant>,
    attempts: HashMap<Lane, JoinHandle<()>>,
    outcomes: UnboundedSender<(Lane, Outcome)>,
    outcome: UnboundedReceiver<(Lane, Outcome)>,
    has_dropped: bool,
}

impl Dispatcher {
    fn new(hooks: Vec<Hook>, parts: HooksParts) -> Self {
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
            was_needed: false,
            compare_at: None,
            attempts: HashMap::new(),
            outcomes,
            outcome,
            has_dropped: false,
        }
    }

    /// Takes up the deliveries of a server before this one, and what its rows say that it has not told.
    async fn restore(&mut self, rows: DeliveryRows) {
        for row in rows.deliveries {
            self.next_seq = self.next_seq.max(row.seq + 1);
            let hook = self.hooks.iter().position(|hook| hook.key == row.hook);
            let lane = match hook {
                Some(hook) => Some(Lane::Hook(hook, row.session)),
                None => subscription_of(&row.hook)
                    .filter(|id| self.parts.grants.subscription(*id).is_some())
                    .map(Lane::Push),
            };
            let (Some(lane), Some(word)) = (lane, HookWord::named(&row.word)) else {
                // The hook is no longer set, or the browser is no longer to be told.
                self.ledger.remove(row.seq);
                continue;
            };
            self.restored.insert((lane, row.event.clone()));
            self.add(Delivery {
                seq: row.seq,
                lane,
                session: row.session,
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

    async fn run(mut self, mut listener: Listener) {
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

    /// Whether there is somebody to tell.
    fn is_needed(&self) -> bool {
        !self.hooks.is_empty() || self.parts.grants.has_subscriptions()
    }

    fn note(&mut self, event: &Event) {
        if !self.is_needed() {
            self.was_needed = false;
            return;
        }
        if !std::mem::replace(&mut self.was_needed, true) {
            // The sessions that run already are followed from now on.
            self.compare_at = Some(Instant::now());
        }
        match event.kind {
            Kind::Created | Kind::Status => self.follow(event.session),
            Kind::Ended | Kind::Attention => {
                let view = event.view.as_deref().and_then(|view| serde_json::from_str(view).ok());
                let whose = Whose::from(event);
                let notice = view.and_then(|view| Notice::of(view, event.looked_at, whose));
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
            match Notice::of(view, looked_at, Whose::from(session)) {
                Some(notice) => self.consider(&notice),
                None => self.follow(*id),
            }
        }
        for id in gone {
            match self.parts.store.get(id).await {
                Ok(Some(row)) if !row.session.status.is_live() => {
                    let view = serde_json::to_value(&row.session).unwrap_or_default();
                    let whose = Whose::from(&row.session);
                    if let Some(notice) = Notice::of(view, false, whose) {
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
                    self.count(Lane::Hook(index, session), "looked_at");
                    continue;
                }
                Decision::Tell(word) => word,
            };
            let payload = notice.payload(word).into();
            self.make(Lane::Hook(index, session), session, word, &event, payload);
        }
        self.consider_browsers(notice, &event);
        if notice.is_end() {
            self.followed.remove(&session);
            self.ledger.unfollow(session);
        } else {
            self.followed.insert(session, Some(notice.at.clone()));
            self.ledger.follow(session, Some(notice.at.clone()));
        }
    }

    /// Makes the deliveries of a notice to browsers: those that subscribed before it, of people for whom the
    /// session exists, and none while anybody looks at it.
    fn consider_browsers(&mut self, notice: &Notice, event: &str) {
        let Some(word) = notice.push_word() else { return };
        let told = self.parts.grants.subscriptions(|subscription, principal| {
            rfc3339(subscription.created_at) < notice.at && notice.is_for(principal)
        });
        if notice.looked_at {
            told.iter().for_each(|id| self.count(Lane::Push(*id), "looked_at"));
            return;
        }
        let payload: Arc<str> = notice.message(word).into();
        for id in told {
            self.make(Lane::Push(id), notice.session, word, event, payload.clone());
        }
    }

    /// Makes a delivery, unless a server before this one has.
    fn make(
        &mut self,
        lane: Lane,
        session: SessionId,
        word: HookWord,
        event: &str,
        payload: Arc<str>,
    ) {
        if self.restored.contains(&(lane, event.to_owned())) {
            return;
        }
        let (seq, failed, event) = (self.next_seq, 0, event.to_owned());
        let give_up_at = Instant::now() + GIVE_UP_AFTER;
        let delivery = Delivery { seq, lane, session, word, event, payload, failed, give_up_at };
        self.next_seq += 1;
        self.ledger.put(self.row(&delivery));
        self.add(delivery);
    }

    fn add(&mut self, delivery: Delivery) {
        for dropped in self.queue.add(delivery) {
            self.count(dropped.lane, "dropped");
            self.ledger.remove(dropped.seq);
            let Lane::Hook(hook, _) = dropped.lane else { continue };
            if !std::mem::replace(&mut self.has_dropped, true) {
                warn!(self.parts.log, "events for a hook are dropped: too many wait";
                    "hook" => &self.hooks[hook].name, "session" => %dropped.session);
            }
        }
        self.show_length();
    }

    /// Begins the attempts for which there is room.
    fn attempt(&mut self) {
        while let Some(delivery) = self.queue.next(Instant::now()) {
            let (lane, outcomes) = (delivery.lane, self.outcomes.clone());
            let to = match lane {
                Lane::Hook(hook, _) => To::Hook(self.hooks[hook].clone()),
                Lane::Push(id) => {
                    To::Browser(self.parts.grants.clone(), self.parts.push.clone(), id)
                }
            };
            let task = actix_web::rt::spawn(async move {
                let outcome = deliver(&to, &delivery).await;
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
            Outcome::Gone => (Verdict::GiveUp, "there is nobody any more".to_owned()),
        };
        let mut random = [0; 4];
        // Without randomness the time is in the middle.
        let fraction = match getrandom::fill(&mut random) {
            Ok(()) => f64::from(u32::from_ne_bytes(random)) / f64::from(u32::MAX),
            Err(_) => 0.5,
        };
        let log = self.parts.log.clone();
        match self.queue.settle(lane, verdict, Instant::now(), fraction) {
            Some(Settled::Delivered(delivery)) => {
                self.count(lane, "delivered");
                self.ledger.remove(delivery.seq);
                debug!(log, "a hook has taken an event"; "hook" => self.name(lane),
                    "session" => %delivery.session, "event" => &delivery.event);
            }
            Some(Settled::Later(delivery)) => {
                self.count(lane, "retried");
                self.ledger.put(self.row(&delivery));
                if delivery.failed == 1 {
                    warn!(log, "a hook has failed and is tried again"; "hook" => self.name(lane),
                        "session" => %delivery.session, "event" => &delivery.event, "why" => why);
                }
            }
            Some(Settled::GivenUp(delivery)) => {
                self.count(lane, "given_up");
                self.ledger.remove(delivery.seq);
                let (hook, event) = (self.name(lane), &delivery.event);
                let (session, attempts) = (delivery.session, delivery.failed + 1);
                match lane {
                    Lane::Hook(..) => error!(log, "a hook is given up"; "hook" => hook,
                        "session" => %session, "event" => event, "attempts" => attempts, "why" => why),
                    // A browser that is gone is nothing that somebody has to mend.
                    Lane::Push(_) => info!(log, "a notification is given up"; "hook" => hook,
                        "session" => %session, "event" => event, "attempts" => attempts, "why" => why),
                }
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

    fn count(&self, lane: Lane, outcome: &'static str) {
        let metrics = &self.parts.metrics;
        let counted = match lane {
            Lane::Hook(..) => &metrics.hook_deliveries,
            Lane::Push(_) => &metrics.push_deliveries,
        };
        counted.get_or_create_owned(&[("outcome", outcome)]).inc();
    }

    /// The name in the log: never an address.
    fn name(&self, lane: Lane) -> String {
        match lane {
            Lane::Hook(hook, _) => self.hooks[hook].name.clone(),
            Lane::Push(id) => format!("push {id}"),
        }
    }

    fn row(&self, delivery: &Delivery) -> DeliveryRow {
        DeliveryRow {
            seq: delivery.seq,
            hook: match delivery.lane {
                Lane::Hook(hook, _) => self.hooks[hook].key.clone(),
                Lane::Push(id) => format!("{PUSH}{id}"),
            },
            session: delivery.session,
            word: delivery.word.as_str().to_owned(),
            event: delivery.event.clone(),
            payload: delivery.payload.to_string(),
            attempts: delivery.failed,
        }
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

/// To whom a delivery goes.
enum To {
    Hook(Arc<Hook>),
    Browser(Arc<Grants>, Arc<Push>, Uuid),
}

async fn deliver(to: &To, delivery: &Delivery) -> Outcome {
    let hook = match to {
        To::Hook(hook) => hook,
        To::Browser(grants, push, id) => return tell_browser(grants, push, *id, delivery).await,
    };
    let body = body(&delivery.payload, delivery.failed.saturating_add(1));
    match &hook.target {
        HookTarget::Command(command) => command::run(command, body, hook.timeout).await,
        HookTarget::Url { url, secret } => {
            let to = Destination { url, secret: secret.as_deref() };
            post(to, &delivery.event, body, hook.timeout).await
        }
    }
}

async fn tell_browser(grants: &Grants, push: &Push, id: Uuid, delivery: &Delivery) -> Outcome {
    // Its login may have ended since the event.
    let Some(subscription) = grants.subscription(id) else { return Outcome::Gone };
    // What the service sees of the session is this, which tells nothing of it.
    let topic = Uuid::new_v5(&id, delivery.session.to_string().as_bytes()).simple().to_string();
    let headers = Headers { is_urgent: delivery.word == HookWord::Blocked, topic: &topic };
    match push.send(&subscription.subscriber, &delivery.payload, headers).await {
        Sent::Taken => Outcome::Delivered,
        Sent::Later(why) => Outcome::Failed(why),
        Sent::Refused(why) => Outcome::Refused(why),
        Sent::Gone => {
            // If that cannot be written now, it is tried again.
            let _ = grants.forget_subscription(id).await;
            Outcome::Gone
        }
    }
}

/// The subscription that a row names in the place of a hook.
fn subscription_of(key: &str) -> Option<Uuid> {
    key.strip_prefix(PUSH)?.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::PushServices;
    use crate::lifecycle::Status;
    use crate::protocol::AttentionState;
    use crate::store::{Change, Row};
    use chrono::Utc;
    use serde_json::json;

    fn hook() -> Hook {
        Hook {
            name: "test".into(),
            key: "test".into(),
            on: HookWord::ALL.into_iter().collect(),
            // Nothing of this test starts it.
            target: HookTarget::Command(vec!["/nowhere".into()]),
            always: false,
            timeout: Duration::from_secs(1),
            labels: BTreeMap::new(),
            profile: None,
        }
    }

    fn nobody() -> Arc<Grants> {
        Arc::new(Grants::in_memory("secret-secret-secret"))
    }

    fn sender() -> Arc<Push> {
        Arc::new(Push::new("/nowhere".into(), PushServices::default(), None))
    }

    fn blocked() -> Session {
        let mut session = Session::begun(SessionId::generate(), Utc::now());
        session.attention.state = AttentionState::Blocked;
        session
    }

    /// The session and word of each delivery that waits.
    fn queued(dispatcher: &mut Dispatcher) -> Vec<(SessionId, HookWord)> {
        let next = || dispatcher.queue.next(Instant::now());
        std::iter::from_fn(next).map(|delivery| (delivery.session, delivery.word)).collect()
    }

    #[actix_web::test]
    async fn what_the_bus_has_forgotten_is_found_once() {
        let dir = tempfile::tempdir().unwrap();
        let log = Logger::root(slog::Discard, slog::o!());
        let store = StoreHandle::open(&dir.path().join("stayd.db"), log.clone()).unwrap();
        let (events, roster) = (Bus::new(Utc::now()), Roster::default());
        let metrics = Arc::new(Metrics::default());
        events.keep_sessions();
        let mut listener = events.listen();
        let (store, events) = (store.clone(), events.clone());
        let parts = HooksParts {
            store: store.clone(),
            events: events.clone(),
            roster,
            grants: nobody(),
            push: sender(),
            metrics,
            log,
        };
        let mut dispatcher = Dispatcher::new(vec![hook()], parts);

        // One session blocks and one ends, and then so much happens that the bus forgets both.
        let (asks, mut ends) = (blocked(), blocked());
        ends.attention.state = AttentionState::Unknown;
        dispatcher.follow(ends.id);
        (ends.status, ends.ended_at) = (Status::Error, Some(Utc::now()));
        store.save(Change { row: Row::of(ends.clone()), transition: None });
        for _ in 0..5000 {
            events.tell(Kind::Bell, &asks, Utc::now(), json!({}));
        }
        assert!(dispatcher.hear(&mut listener) && dispatcher.compare_at.is_some());
        dispatcher.compare(BTreeMap::from([(asks.id, asks.clone())])).await;
        let mut expected = vec![(asks.id, HookWord::Blocked), (ends.id, HookWord::Error)];
        expected.sort();
        let mut found = queued(&mut dispatcher);
        found.sort();
        assert_eq!(found, expected);

        // The bus tells of both, later than they were found; and of something new.
        events.tell(Kind::Attention, &asks, Utc::now(), json!({}));
        events.tell_seen(Kind::Ended, &ends, Utc::now(), json!({}), false);
        let new = blocked();
        events.tell(Kind::Attention, &new, Utc::now(), json!({}));
        assert!(dispatcher.hear(&mut listener) && !dispatcher.hear(&mut listener));
        assert_eq!(queued(&mut dispatcher), [(new.id, HookWord::Blocked)]);
    }

    #[actix_web::test]
    async fn a_server_goes_on_with_what_one_before_it_has_left_and_makes_nothing_twice() {
        let dir = tempfile::tempdir().unwrap();
        let log = Logger::root(slog::Discard, slog::o!());
        let store = StoreHandle::open(&dir.path().join("stayd.db"), log.clone()).unwrap();
        let parts = || HooksParts {
            store: store.clone(),
            events: Bus::new(Utc::now()),
            roster: Roster::default(),
            grants: nobody(),
            push: sender(),
            metrics: Arc::new(Metrics::default()),
            log: log.clone(),
        };
        let asks = blocked();
        store.save(Change { row: Row::of(asks.clone()), transition: None });
        let mut first = Dispatcher::new(vec![hook()], parts());
        first.restore(DeliveryRows::default()).await;
        assert_eq!(queued(&mut first), [(asks.id, HookWord::Blocked)]);
        // Of its changes, the delivery was written and the rest was not.
        let changes: Vec<_> = first.ledger.take().into_iter().take(1).collect();
        store.change_deliveries(changes).await.unwrap();
        let rows = store.deliveries().await.unwrap();
        assert_eq!((rows.deliveries.len(), rows.followed.len()), (1, 0));
        let mut second = Dispatcher::new(vec![hook()], parts());
        second.restore(rows.clone()).await;
        assert_eq!(queued(&mut second), [(asks.id, HookWord::Blocked)]);
        assert_eq!(second.next_seq, 2);
        // A hook that is no longer set has nothing to deliver.
        let other = Hook { key: "other".into(), on: [HookWord::Done].into(), ..hook() };
        let mut third = Dispatcher::new(vec![other], parts());
        third.restore(rows).await;
        assert_eq!(third.queue.len(), 0);
        assert!(third.ledger.take().contains(&DeliveryChange::Remove(1)));
    }
}
