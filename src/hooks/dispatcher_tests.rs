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
    // The server dies after it has written the delivery and before it writes the rest.
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
