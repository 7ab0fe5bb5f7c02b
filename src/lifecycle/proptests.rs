//! Random walks through the machine, which check the rules that hold in every order of events.

use super::*;
use chrono::{DateTime, TimeDelta, Utc};
use proptest::prelude::*;

/// One step of a random walk.
#[derive(Clone, Copy, Debug)]
enum Step {
    Event(Event),
    /// The timer fires. Its generation is this many behind the present one.
    Timer {
        late: u64,
    },
    /// Milliseconds pass on both clocks.
    Pass(u64),
    /// The wall clock is set by this many seconds. The machine is not always notified.
    SetClock(i64),
    /// The server dies, and the next one restores the session.
    Restart,
}

fn exit() -> impl Strategy<Value = Exit> {
    prop_oneof![(0..3).prop_map(Exit::Code), (1..16).prop_map(Exit::Signal)]
}

fn timeout() -> impl Strategy<Value = Option<u64>> {
    prop_oneof![Just(None), (0..4u64).prop_map(Some), Just(Some(u64::MAX))]
}

fn idle_when() -> impl Strategy<Value = IdleWhen> {
    prop_oneof![Just(IdleWhen::Detached), Just(IdleWhen::DetachedAndQuiet)]
}

fn step() -> impl Strategy<Value = Step> {
    prop_oneof![
        8 => Just(Step::Event(Event::Attached)),
        8 => Just(Step::Event(Event::Detached)),
        8 => Just(Step::Event(Event::Used)),
        8 => (0..3000u64).prop_map(|for_ms| Step::Event(Event::Busy { for_ms })),
        2 => idle_when().prop_map(|when| Step::Event(Event::IdleWhenChanged(when))),
        8 => (0..3u64).prop_map(|late| Step::Timer { late }),
        8 => (0..3000u64).prop_map(Step::Pass),
        2 => (-1_000_000..1_000_000i64).prop_map(Step::SetClock),
        2 => Just(Step::Event(Event::ClockJumped)),
        2 => timeout().prop_map(|idle_s| Step::Event(Event::IdleTimeoutChanged(idle_s))),
        2 => Just(Step::Restart),
        1 => Just(Step::Event(Event::KillRequested)),
        1 => Just(Step::Event(Event::SignalRequested(15))),
        1 => exit().prop_map(|exit| Step::Event(Event::LeaderExited(exit))),
        2 => Just(Step::Event(Event::TreeEmpty)),
        1 => prop_oneof![
            Just(Step::Event(Event::SpawnFailed)),
            Just(Step::Event(Event::RestoreFailed)),
            Just(Step::Event(Event::Orphaned)),
        ],
    ]
}

/// The state of the world around the machine: what an executor and a reader of `transitions` know.
#[derive(Default)]
struct World {
    recorded: Option<Status>,
    /// The generation of the timer that runs.
    armed: Option<u64>,
    generations: Vec<u64>,
    ended: bool,
}

impl World {
    fn execute(&mut self, life: &Lifecycle, effects: &[Effect]) {
        for (at, effect) in effects.iter().enumerate() {
            let after = &effects[at + 1..];
            match *effect {
                Effect::Record { from, to, .. } => {
                    assert_eq!(from, self.recorded, "transitions chain");
                    assert_ne!(from, Some(to), "a transition changes the status");
                    assert!(after.contains(&Effect::Save), "its row is saved");
                    self.recorded = Some(to);
                }
                Effect::ArmTimer { generation, boot_ms } => {
                    assert!(!self.generations.contains(&generation), "used before");
                    assert_eq!(life.deadline().map(|deadline| deadline.boot_ms), Some(boot_ms));
                    self.generations.push(generation);
                    self.armed = Some(generation);
                }
                Effect::CancelTimer => self.armed = None,
                Effect::EndTree => {
                    assert!(life.ending().is_some(), "intent before deed");
                }
                Effect::Ended => {
                    assert!(after.is_empty() && !self.ended, "it is the last, and there is one");
                    self.ended = true;
                }
                Effect::Save | Effect::Announce => {}
            }
        }
    }

    fn check(&self, life: &Lifecycle) {
        let live = life.status().is_live();
        assert_eq!(self.recorded, Some(life.status()), "the history leads to the status");
        assert_eq!(life.status() == Status::Active, life.connections() > 0);
        assert_eq!(life.end().is_none(), live);
        assert_eq!(self.ended, !live);
        if let Some(deadline) = life.deadline() {
            assert!(live && life.connections() == 0 && life.ending().is_none());
            assert!(crate::protocol::rfc3339(deadline.at).len() == 24);
            assert_eq!(self.armed, Some(life.generation()), "the running timer is the current");
        } else {
            assert_eq!(self.armed, None, "no timer runs without a deadline");
            let waits = live && life.ending().is_none();
            let timeouts = life.timeouts();
            assert!(!(waits && life.status() == Status::Idle && timeouts.idle_s.is_some()));
        }
    }
}

fn same(a: &Lifecycle, b: &Lifecycle) -> bool {
    format!("{a:?}") == format!("{b:?}")
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(500))]

    /// REQ-004-001 to REQ-004-005 and REQ-004-008, as invariants.
    #[test]
    fn invariants_hold_on_every_walk(
        idle_s in timeout(),
        first_attach_s in timeout(),
        idle_when in idle_when(),
        steps in prop::collection::vec(step(), 0..60),
    ) {
        let wall: DateTime<Utc> = DateTime::from_timestamp(1_800_000_000, 0).unwrap();
        let mut now = Now { wall, boot_ms: 1_000_000 };
        let mut world = World::default();
        let (mut life, effects) = Lifecycle::new(Timeouts { idle_s, first_attach_s, idle_when }, now);
        world.execute(&life, &effects);
        world.check(&life);
        for step in steps {
            let before = life.clone();
            let event = match step {
                Step::Pass(ms) => {
                    now.boot_ms += ms;
                    now.wall += TimeDelta::milliseconds(ms.cast_signed());
                    continue;
                }
                Step::SetClock(seconds) => {
                    now.wall += TimeDelta::seconds(seconds);
                    continue;
                }
                Step::Restart if before.status().is_live() => {
                    let (restored, effects) = Lifecycle::from_snapshot(before.snapshot(), now);
                    life = restored;
                    // The timers of the dead server are gone.
                    world.armed = None;
                    world.generations.clear();
                    world.execute(&life, &effects);
                    world.check(&life);
                    let going_on = before.ending().is_none() || effects.contains(&Effect::EndTree);
                    prop_assert!(going_on, "a begun end is gone on with");
                    continue;
                }
                Step::Restart => continue,
                Step::Timer { late } => {
                    Event::TimerFired { generation: before.generation().saturating_sub(late) }
                }
                Step::Event(event) => event,
            };
            match life.apply(event, now) {
                Ok(effects) => {
                    prop_assert!(before.status().is_live(), "ended states are final");
                    world.execute(&life, &effects);
                    let kept_by_work = before.is_kept_by_work();
                    if matches!(event, Event::Busy { .. }) && !kept_by_work {
                        prop_assert!(effects.is_empty() && same(&before, &life));
                    }
                    if event == Event::Used || matches!(event, Event::Busy { .. } if kept_by_work) {
                        let due = |life: &Lifecycle| life.deadline().map(|d| d.boot_ms);
                        prop_assert!(due(&life) >= due(&before), "it is only ever pushed ahead");
                        let idle_ms = match life.status() {
                            Status::Idle => life.timeouts().idle_s,
                            _ => life.timeouts().first_attach_s,
                        };
                        let whole = now.boot_ms.saturating_add(
                            idle_ms.unwrap_or_default().saturating_mul(1000));
                        prop_assert!(due(&life).is_none_or(|due| due >= whole));
                        prop_assert_eq!(before.snapshot().ending, life.snapshot().ending);
                        prop_assert_eq!(before.status(), life.status());
                    }
                    if let Event::TimerFired { generation } = event {
                        let stale = generation != before.generation();
                        prop_assert!(!stale || (effects.is_empty() && same(&before, &life)));
                        let due = before.deadline().is_some_and(|d| d.boot_ms <= now.boot_ms);
                        let destroys = effects.contains(&Effect::EndTree);
                        prop_assert_eq!(destroys, due && !stale);
                    }
                }
                Err(refused) => {
                    prop_assert!(same(&before, &life), "what is refused changes nothing");
                    let over = !before.status().is_live();
                    prop_assert_eq!(over, refused == Refused::Ended);
                }
            }
            world.check(&life);
        }
    }
}
