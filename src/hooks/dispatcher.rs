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

/// The parts of the server that hooks use.
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

/// Changes on their way to the database; an error brings them back.
type Writing = Pin<Box<dyn Future<Output = Result<(), Vec<DeliveryChange>>>>>;

/// The task.
pub(super) struct Dispatcher {
    hooks: Vec<Arc<Hook>>,
    pub(super) parts: HooksParts,
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
    pub(super) was_needed: bool,
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
            was_needed: false,
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

    /// Whether there is somebody to tell.
    pub(super) fn is_needed(&self) -> bool {
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
#[path = "dispatcher_tests.rs"]
mod tests;
