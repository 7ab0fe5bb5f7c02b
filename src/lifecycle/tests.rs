//! The status table and its rules, one test each.

use super::*;
use chrono::{DateTime, TimeDelta, Utc};

const START: DateTime<Utc> = DateTime::from_timestamp(1_800_000_000, 0).unwrap();
const BOOT_MS: u64 = 5_000_000;
const HALF_AN_HOUR: Timeouts =
    Timeouts { idle_s: Some(1800), first_attach_s: None, idle_when: IdleWhen::Detached };
const NEVER: Timeouts =
    Timeouts { idle_s: None, first_attach_s: None, idle_when: IdleWhen::Detached };
const TEN_SECONDS_TO_ATTACH: Timeouts =
    Timeouts { idle_s: Some(1800), first_attach_s: Some(10), idle_when: IdleWhen::Detached };

fn at(ms: u64) -> Now {
    let wall = START + TimeDelta::milliseconds(i64::try_from(ms).unwrap());
    Now { wall, boot_ms: BOOT_MS + ms }
}

fn deadline(ms: u64) -> Deadline {
    Deadline { boot_ms: at(ms).boot_ms, at: at(ms).wall }
}

fn record(from: Status, to: Status, reason: Reason) -> Effect {
    Effect::Record { from: Some(from), to, reason }
}

/// A life that began at the moment 0, after these events.
fn life(timeouts: Timeouts, events: &[Event]) -> Lifecycle {
    let (mut life, _) = Lifecycle::new(timeouts, at(0));
    for event in events {
        life.apply(*event, at(0)).unwrap();
    }
    life
}

fn idle(timeouts: Timeouts) -> Lifecycle {
    life(timeouts, &[Event::Attached, Event::Detached])
}

fn fire(life: &mut Lifecycle, ms: u64) -> Vec<Effect> {
    let generation = life.generation();
    life.apply(Event::TimerFired { generation }, at(ms)).unwrap()
}

fn ended(life: &Lifecycle) -> (Status, EndReason, Option<Exit>) {
    let end = life.end().expect("ended");
    (life.status(), end.reason, end.exit)
}

#[test]
fn words_are_spelled_alike_everywhere() {
    for status in Status::ALL {
        assert_eq!(status.as_str().parse(), Ok(status));
        assert_eq!(serde_json::to_value(status).unwrap(), status.as_str());
        assert_eq!(status.to_string(), status.as_str());
    }
    for reason in EndReason::ALL {
        assert_eq!(reason.as_str().parse(), Ok(reason));
        assert_eq!(serde_json::to_value(reason).unwrap(), reason.as_str());
        assert_eq!(Reason::End(reason).to_string(), reason.as_str());
    }
    assert_eq!("idle".parse::<Status>().unwrap_err().to_string(), "unknown status \"idle\"");
    assert!("".parse::<EndReason>().is_err());
}

/// REQ-004-001: a new session is recorded as `RUNNING`, with no deadline.
#[test]
fn a_new_session_runs_without_deadline() {
    let (life, effects) = Lifecycle::new(HALF_AN_HOUR, at(0));
    assert_eq!((life.status(), life.connections(), life.deadline()), (Status::Running, 0, None));
    let created = Effect::Record { from: None, to: Status::Running, reason: Reason::Created };
    assert_eq!(effects, [created, Effect::Save]);
}

#[test]
fn a_new_session_can_have_a_deadline_for_its_first_client() {
    let (mut life, effects) = Lifecycle::new(TEN_SECONDS_TO_ATTACH, at(0));
    assert_eq!(life.deadline(), Some(deadline(10_000)));
    let boot_ms = at(10_000).boot_ms;
    assert_eq!(effects[2], Effect::ArmTimer { generation: life.generation(), boot_ms });
    assert_eq!(fire(&mut life, 10_000), [Effect::Save, Effect::CancelTimer, Effect::EndTree]);
    life.apply(Event::TreeEmpty, at(10_050)).unwrap();
    assert_eq!(ended(&life), (Status::Terminated, EndReason::FirstAttachTimeout, None));
}

/// REQ-004-002.
#[test]
fn attaching_makes_it_active_and_counts() {
    let mut life = life(HALF_AN_HOUR, &[]);
    let first = life.apply(Event::Attached, at(1)).unwrap();
    let active = record(Status::Running, Status::Active, Reason::Attached);
    assert_eq!(first, [active, Effect::Save, Effect::Announce]);
    let second = life.apply(Event::Attached, at(2)).unwrap();
    assert_eq!(second, [Effect::Save, Effect::Announce], "no transition: the status is the same");
    assert_eq!((life.status(), life.connections(), life.deadline()), (Status::Active, 2, None));
}

/// REQ-004-002, REQ-004-003.
#[test]
fn the_last_detach_makes_it_idle_with_a_deadline() {
    let mut life = life(HALF_AN_HOUR, &[Event::Attached, Event::Attached]);
    let one_left = life.apply(Event::Detached, at(1000)).unwrap();
    assert_eq!(one_left, [Effect::Save, Effect::Announce]);
    assert_eq!((life.status(), life.connections(), life.deadline()), (Status::Active, 1, None));

    let none_left = life.apply(Event::Detached, at(2000)).unwrap();
    let generation = life.generation();
    let boot_ms = at(1_802_000).boot_ms;
    assert_eq!(
        none_left,
        [
            record(Status::Active, Status::Idle, Reason::Detached),
            Effect::Save,
            Effect::ArmTimer { generation, boot_ms },
            Effect::Announce,
        ]
    );
    assert_eq!((life.status(), life.connections()), (Status::Idle, 0));
    assert_eq!(life.deadline(), Some(deadline(1_802_000)));
}

#[test]
fn attaching_again_clears_the_deadline() {
    let mut life = idle(HALF_AN_HOUR);
    let stale = life.generation();
    let effects = life.apply(Event::Attached, at(5)).unwrap();
    let active = record(Status::Idle, Status::Active, Reason::Attached);
    assert_eq!(effects, [active, Effect::Save, Effect::CancelTimer, Effect::Announce]);
    assert_eq!(life.deadline(), None);
    assert_ne!(life.generation(), stale);
}

#[test]
fn without_a_timeout_idle_has_no_deadline() {
    let mut life = life(NEVER, &[Event::Attached]);
    let effects = life.apply(Event::Detached, at(0)).unwrap();
    let idle = record(Status::Active, Status::Idle, Reason::Detached);
    assert_eq!(effects, [idle, Effect::Save, Effect::Announce]);
    assert_eq!((life.status(), life.deadline()), (Status::Idle, None));
}

#[test]
fn nobody_can_leave_who_has_not_come() {
    let mut life = idle(HALF_AN_HOUR);
    let refused = Refused::Illegal { status: Status::Idle, event: "detached" };
    assert_eq!(life.apply(Event::Detached, at(0)), Err(refused));
    assert_eq!(refused.to_string(), "detached cannot happen to a session that is IDLE");
    assert_eq!((life.status(), life.connections()), (Status::Idle, 0));
}

/// REQ-004-003: the intent is saved before the tree is ended.
#[test]
fn the_timer_destroys_an_idle_session() {
    let mut life = idle(HALF_AN_HOUR);
    let effects = fire(&mut life, 1_800_000);
    assert_eq!(effects, [Effect::Save, Effect::CancelTimer, Effect::EndTree]);
    let ending = Ending { reason: EndReason::IdleTimeout, since: at(1_800_000).wall };
    assert_eq!(life.ending(), Some(&ending));
    assert_eq!((life.status(), life.deadline()), (Status::Idle, None));

    let effects = life.apply(Event::TreeEmpty, at(1_800_100)).unwrap();
    let end = Reason::End(EndReason::IdleTimeout);
    let over = record(Status::Idle, Status::Terminated, end);
    assert_eq!(effects, [over, Effect::Save, Effect::Announce, Effect::Ended]);
    assert_eq!(ended(&life), (Status::Terminated, EndReason::IdleTimeout, None));
    assert_eq!(life.end().unwrap().at, at(1_800_100).wall);
}

#[test]
fn a_timer_that_fires_early_is_armed_again() {
    let mut life = idle(HALF_AN_HOUR);
    let before = life.generation();
    let effects = fire(&mut life, 1_799_999);
    let generation = life.generation();
    assert_ne!(generation, before);
    assert_eq!(effects, [Effect::ArmTimer { generation, boot_ms: at(1_800_000).boot_ms }]);
    assert_eq!(life.ending(), None);
}

/// A client that attaches while the timer fires keeps the session.
#[test]
fn a_stale_timer_does_nothing() {
    let mut life = idle(HALF_AN_HOUR);
    let stale = Event::TimerFired { generation: life.generation() };
    life.apply(Event::Attached, at(1_800_000)).unwrap();
    assert_eq!(life.apply(stale, at(1_800_001)), Ok(vec![]));
    // The timer is also stale once the session is idle again, with a timer of its own.
    life.apply(Event::Detached, at(1_800_002)).unwrap();
    assert_eq!(life.apply(stale, at(9_000_000)), Ok(vec![]));
    assert_eq!((life.status(), life.ending()), (Status::Idle, None));
}

#[test]
fn a_jump_of_the_wall_clock_destroys_nothing_and_corrects_the_display() {
    let mut life = idle(HALF_AN_HOUR);
    let jumped = Now { wall: START + TimeDelta::days(365), ..at(60_000) };
    let generation = life.generation();
    let fired = life.apply(Event::TimerFired { generation }, jumped).unwrap();
    assert!(matches!(fired[..], [Effect::ArmTimer { .. }]), "{fired:?}");

    assert_eq!(life.apply(Event::ClockJumped, jumped), Ok(vec![Effect::Save]));
    let shown = jumped.wall + TimeDelta::seconds(1740);
    let expected = Deadline { boot_ms: at(1_800_000).boot_ms, at: shown };
    assert_eq!(life.deadline(), Some(expected));

    // Less than a second is not worth a write.
    let nudged = Now { wall: jumped.wall + TimeDelta::milliseconds(999), ..jumped };
    assert_eq!(life.apply(Event::ClockJumped, nudged), Ok(vec![]));
    assert_eq!(life.deadline(), Some(expected));
    let second = Now { wall: jumped.wall - TimeDelta::milliseconds(1000), ..jumped };
    assert_eq!(life.apply(Event::ClockJumped, second), Ok(vec![Effect::Save]));
}

#[test]
fn a_jump_without_a_deadline_changes_nothing() {
    let mut life = life(HALF_AN_HOUR, &[Event::Attached]);
    let jumped = Now { wall: START - TimeDelta::days(1), ..at(1) };
    assert_eq!(life.apply(Event::ClockJumped, jumped), Ok(vec![]));
}

#[test]
fn how_the_leader_ends_decides_the_status() {
    let cases: &[(&[Event], Exit, Status, EndReason)] = &[
        (&[], Exit::Code(0), Status::Terminated, EndReason::Exited),
        (&[], Exit::Code(3), Status::Error, EndReason::Exited),
        (&[], Exit::Signal(9), Status::Error, EndReason::Signaled),
        (&[Event::SignalRequested(15)], Exit::Signal(15), Status::Terminated, EndReason::Signaled),
        (&[Event::SignalRequested(2)], Exit::Signal(15), Status::Error, EndReason::Signaled),
        (&[Event::SignalRequested(15)], Exit::Code(1), Status::Error, EndReason::Exited),
    ];
    for (before, exit, status, reason) in cases {
        let mut life = life(HALF_AN_HOUR, before);
        let effects = life.apply(Event::LeaderExited(*exit), at(7)).unwrap();
        let over = record(Status::Running, *status, Reason::End(*reason));
        assert_eq!(effects, [over, Effect::Save, Effect::Announce, Effect::Ended], "{exit:?}");
        assert_eq!(ended(&life), (*status, *reason, Some(*exit)));
    }
}

#[test]
fn the_end_leaves_no_connections_and_no_deadline() {
    let mut watched = life(HALF_AN_HOUR, &[Event::Attached, Event::Attached]);
    watched.apply(Event::LeaderExited(Exit::Code(0)), at(1)).unwrap();
    assert_eq!((watched.connections(), watched.deadline()), (0, None));

    let mut idle = idle(HALF_AN_HOUR);
    let effects = idle.apply(Event::LeaderExited(Exit::Code(0)), at(1)).unwrap();
    assert!(effects.contains(&Effect::CancelTimer));
    assert_eq!(idle.deadline(), None);
}

#[test]
fn a_kill_ends_the_tree_and_then_the_session() {
    let mut life = life(HALF_AN_HOUR, &[Event::Attached]);
    let effects = life.apply(Event::KillRequested, at(1)).unwrap();
    assert_eq!(effects, [Effect::Save, Effect::EndTree]);
    assert_eq!(life.status(), Status::Active, "until the tree is seen empty");
    let ending = Ending { reason: EndReason::Killed, since: at(1).wall };
    assert_eq!(life.ending(), Some(&ending));

    assert_eq!(life.apply(Event::Attached, at(2)), Err(Refused::Ending));
    assert_eq!(life.apply(Event::KillRequested, at(3)), Ok(vec![]), "twice is fine");
    assert_eq!(life.ending(), Some(&ending));
    assert_eq!(life.apply(Event::LeaderExited(Exit::Signal(1)), at(4)), Ok(vec![]));
    // The exit is reported twice, as after a restart. The first report counts.
    assert_eq!(life.apply(Event::LeaderExited(Exit::Signal(9)), at(4)), Ok(vec![]));
    life.apply(Event::TreeEmpty, at(5)).unwrap();
    assert_eq!(ended(&life), (Status::Terminated, EndReason::Killed, Some(Exit::Signal(1))));
}

#[test]
fn a_kill_cancels_the_timer() {
    let mut life = idle(HALF_AN_HOUR);
    let stale = Event::TimerFired { generation: life.generation() };
    let effects = life.apply(Event::KillRequested, at(1)).unwrap();
    assert_eq!(effects, [Effect::Save, Effect::CancelTimer, Effect::EndTree]);
    assert_eq!(life.apply(stale, at(1_800_000)), Ok(vec![]));
    assert_eq!(life.ending().unwrap().reason, EndReason::Killed);
}

#[test]
fn the_last_detach_while_ending_sets_no_deadline() {
    let mut life = life(HALF_AN_HOUR, &[Event::Attached, Event::KillRequested]);
    let effects = life.apply(Event::Detached, at(1)).unwrap();
    let idle = record(Status::Active, Status::Idle, Reason::Detached);
    assert_eq!(effects, [idle, Effect::Save, Effect::Announce]);
    assert_eq!(life.deadline(), None);
}

#[test]
fn an_empty_tree_that_nobody_ended_is_illegal() {
    let mut life = life(HALF_AN_HOUR, &[Event::Attached]);
    let refused = Refused::Illegal { status: Status::Active, event: "tree_empty" };
    assert_eq!(life.apply(Event::TreeEmpty, at(1)), Err(refused));
}

#[test]
fn a_new_idle_timeout_runs_from_now() {
    let mut life = idle(HALF_AN_HOUR);
    let effects = life.apply(Event::IdleTimeoutChanged(Some(5)), at(1000)).unwrap();
    let arm = Effect::ArmTimer { generation: life.generation(), boot_ms: at(6000).boot_ms };
    assert_eq!(effects, [Effect::Save, Effect::CancelTimer, arm, Effect::Announce]);
    assert_eq!(life.deadline(), Some(deadline(6000)));

    let effects = life.apply(Event::IdleTimeoutChanged(None), at(2000)).unwrap();
    assert_eq!(effects, [Effect::Save, Effect::CancelTimer, Effect::Announce]);
    assert_eq!((life.deadline(), life.timeouts()), (None, NEVER));

    let effects = life.apply(Event::IdleTimeoutChanged(Some(7)), at(3000)).unwrap();
    assert!(matches!(effects[..], [Effect::Save, Effect::ArmTimer { .. }, Effect::Announce]));
    assert_eq!(life.deadline(), Some(deadline(10_000)));
}

#[test]
fn a_new_idle_timeout_waits_while_somebody_is_attached() {
    let mut life = life(HALF_AN_HOUR, &[Event::Attached]);
    assert_eq!(life.apply(Event::IdleTimeoutChanged(Some(5)), at(0)), Ok(vec![Effect::Save]));
    assert_eq!(life.deadline(), None);
    life.apply(Event::Detached, at(1000)).unwrap();
    assert_eq!(life.deadline(), Some(deadline(6000)));
}

#[test]
fn a_new_idle_timeout_leaves_the_first_clients_deadline() {
    let mut life = life(TEN_SECONDS_TO_ATTACH, &[]);
    assert_eq!(life.apply(Event::IdleTimeoutChanged(Some(1)), at(5)), Ok(vec![Effect::Save]));
    assert_eq!(life.deadline(), Some(deadline(10_000)));
}

#[test]
fn absurd_timeouts_are_only_long() {
    let eternity =
        Timeouts { idle_s: Some(u64::MAX), first_attach_s: None, idle_when: IdleWhen::Detached };
    let life = idle(eternity);
    assert_eq!(life.deadline().unwrap().boot_ms, u64::MAX);
    let shown = crate::protocol::rfc3339(life.deadline().unwrap().at);
    assert_eq!(shown, "9999-12-31T23:59:59.000Z", "as wide as every other time in the row");
}

/// REQ-004-003.
#[test]
fn who_uses_it_without_being_attached_pushes_the_deadline_ahead() {
    let mut life = idle(HALF_AN_HOUR);
    let stale = life.generation();
    let effects = life.apply(Event::Used, at(1_000_000)).unwrap();
    // The deadline is half a second later, so that the next uses write nothing.
    let (generation, boot_ms) = (life.generation(), at(2_800_500).boot_ms);
    assert_eq!(effects, [Effect::ArmTimer { generation, boot_ms }, Effect::Save]);
    assert_eq!(life.deadline(), Some(deadline(2_800_500)));
    for ms in [1_000_000, 1_000_001, 1_000_500] {
        assert_eq!(life.apply(Event::Used, at(ms)), Ok(Vec::new()));
    }
    assert_eq!(life.apply(Event::Used, at(1_000_501)).unwrap().len(), 2);
    // The timers before it are stale.
    for generation in [stale, generation] {
        assert_eq!(life.apply(Event::TimerFired { generation }, at(9_000_000)), Ok(Vec::new()));
    }
    assert!(fire(&mut life, 2_801_001).contains(&Effect::EndTree));
    assert_eq!(life.apply(Event::Used, at(2_801_002)), Ok(Vec::new()), "its end is decided");
}

#[test]
fn using_it_counts_for_the_first_client_too_and_only_where_a_timer_runs() {
    let mut waiting = life(TEN_SECONDS_TO_ATTACH, &[]);
    waiting.apply(Event::Used, at(9000)).unwrap();
    assert_eq!((waiting.status(), waiting.deadline()), (Status::Running, Some(deadline(19_500))));
    for mut life in [idle(NEVER), life(NEVER, &[]), life(HALF_AN_HOUR, &[Event::Attached])] {
        assert_eq!(life.apply(Event::Used, at(1)), Ok(Vec::new()));
        assert_eq!(life.deadline(), None);
    }
}

#[test]
fn what_could_not_start_is_an_error() {
    let mut life = life(TEN_SECONDS_TO_ATTACH, &[]);
    let effects = life.apply(Event::SpawnFailed, at(1)).unwrap();
    assert!(effects.contains(&Effect::CancelTimer) && effects.contains(&Effect::Ended));
    assert_eq!(ended(&life), (Status::Error, EndReason::SpawnFailed, None));

    let mut started = idle(HALF_AN_HOUR);
    started.apply(Event::Attached, at(1)).unwrap();
    let refused = Refused::Illegal { status: Status::Active, event: "spawn_failed" };
    assert_eq!(started.apply(Event::SpawnFailed, at(1)), Err(refused));
}

#[test]
fn what_could_not_be_restored_is_an_error() {
    let mut life = idle(HALF_AN_HOUR);
    life.apply(Event::RestoreFailed, at(1)).unwrap();
    assert_eq!(ended(&life), (Status::Error, EndReason::RestoreFailed, None));
}

/// REQ-004-006, REQ-004-007.
#[test]
fn what_is_not_held_was_orphaned() {
    let mut life = idle(HALF_AN_HOUR);
    life.apply(Event::Orphaned, at(1)).unwrap();
    assert_eq!(ended(&life), (Status::Terminated, EndReason::Orphaned, None));
}

#[test]
fn what_is_not_held_because_it_was_being_killed_was_killed() {
    let ending = Some(Ending { reason: EndReason::Killed, since: START });
    let saved = LifecycleSnapshot {
        status: Status::Idle,
        deadline: None,
        timeouts: HALF_AN_HOUR,
        ending,
        signals: Signals::default(),
    };
    let (mut life, _) = Lifecycle::from_snapshot(saved, at(0));
    life.apply(Event::Orphaned, at(1)).unwrap();
    assert_eq!(ended(&life), (Status::Terminated, EndReason::Killed, None));
}

/// REQ-004-004, REQ-004-005.
#[test]
fn idle_and_running_keep_their_deadline_over_a_restart() {
    for status in [Status::Idle, Status::Running] {
        let deadline = Some(deadline(4000));
        let timeouts = TEN_SECONDS_TO_ATTACH;
        let saved = LifecycleSnapshot {
            status,
            deadline,
            timeouts,
            ending: None,
            signals: Signals::default(),
        };
        let (life, effects) = Lifecycle::from_snapshot(saved, at(1000));
        let boot_ms = at(4000).boot_ms;
        assert_eq!(effects, [Effect::ArmTimer { generation: life.generation(), boot_ms }]);
        assert_eq!((life.status(), life.deadline()), (status, deadline));
        assert_eq!(life.snapshot(), saved);
    }
}

#[test]
fn a_deadline_that_passed_meanwhile_destroys_at_once() {
    let cases =
        [(Status::Idle, EndReason::IdleTimeout), (Status::Running, EndReason::FirstAttachTimeout)];
    for (status, reason) in cases {
        let timeouts = TEN_SECONDS_TO_ATTACH;
        let saved = LifecycleSnapshot {
            status,
            deadline: Some(deadline(1000)),
            timeouts,
            ending: None,
            signals: Signals::default(),
        };
        let (mut life, effects) = Lifecycle::from_snapshot(saved, at(1000));
        assert!(effects.contains(&Effect::EndTree) && effects.contains(&Effect::Save));
        assert_eq!(life.ending(), Some(&Ending { reason, since: at(1000).wall }));
        assert_eq!(life.deadline(), None);
        assert_eq!(life.apply(Event::Attached, at(1001)), Err(Refused::Ending));
        life.apply(Event::TreeEmpty, at(1002)).unwrap();
        assert_eq!(ended(&life), (Status::Terminated, reason, None));
    }
}

#[test]
fn active_becomes_idle_with_a_fresh_deadline_over_a_restart() {
    let saved = LifecycleSnapshot {
        status: Status::Active,
        deadline: None,
        timeouts: HALF_AN_HOUR,
        ending: None,
        signals: Signals::default(),
    };
    let (life, effects) = Lifecycle::from_snapshot(saved, at(1000));
    let idle = record(Status::Active, Status::Idle, Reason::Detached);
    let boot_ms = at(1_801_000).boot_ms;
    let arm = Effect::ArmTimer { generation: life.generation(), boot_ms };
    assert_eq!(effects, [idle, Effect::Save, arm]);
    assert_eq!((life.status(), life.connections()), (Status::Idle, 0));
    assert_eq!(life.deadline(), Some(deadline(1_801_000)));
}

#[test]
fn an_end_that_was_begun_is_gone_on_with() {
    let ending = Some(Ending { reason: EndReason::Killed, since: START });
    for status in [Status::Running, Status::Active, Status::Idle] {
        let saved = LifecycleSnapshot {
            status,
            deadline: None,
            timeouts: HALF_AN_HOUR,
            ending,
            signals: Signals::default(),
        };
        let (mut life, effects) = Lifecycle::from_snapshot(saved, at(1));
        assert_eq!(effects.last(), Some(&Effect::EndTree));
        assert_eq!((life.ending(), life.deadline()), (ending.as_ref(), None));
        assert_ne!(life.status(), Status::Active, "nobody is attached");
        assert_eq!(life.apply(Event::LeaderExited(Exit::Signal(9)), at(2)), Ok(vec![]));
        life.apply(Event::TreeEmpty, at(3)).unwrap();
        assert_eq!(ended(&life), (Status::Terminated, EndReason::Killed, Some(Exit::Signal(9))));
    }
}

#[test]
fn a_wall_clock_that_was_set_meanwhile_is_seen_at_the_restart() {
    let saved = LifecycleSnapshot {
        status: Status::Idle,
        deadline: Some(Deadline { boot_ms: at(4000).boot_ms, at: START - TimeDelta::days(9) }),
        timeouts: HALF_AN_HOUR,
        ending: None,
        signals: Signals::default(),
    };
    let (life, effects) = Lifecycle::from_snapshot(saved, at(1000));
    assert_eq!(life.deadline(), Some(deadline(4000)));
    assert!(effects.contains(&Effect::Save) && !effects.contains(&Effect::EndTree));
}

#[test]
fn a_row_at_odds_with_its_timeout_is_mended() {
    // "Never" was set last.
    let row = |deadline, timeouts| LifecycleSnapshot {
        status: Status::Idle,
        deadline,
        timeouts,
        ending: None,
        signals: Signals::default(),
    };
    let (life, effects) = Lifecycle::from_snapshot(row(Some(deadline(5)), NEVER), at(9));
    assert_eq!((life.deadline(), life.ending(), effects), (None, None, vec![Effect::Save]));
    // An idle session without a deadline must not be kept for ever.
    let (life, effects) = Lifecycle::from_snapshot(row(None, HALF_AN_HOUR), at(0));
    assert_eq!(life.deadline(), Some(deadline(1_800_000)));
    assert!(effects.contains(&Effect::Save));
}

#[test]
fn a_row_that_had_ended_stays_ended() {
    for status in [Status::Terminated, Status::Error] {
        let saved = LifecycleSnapshot {
            status,
            deadline: None,
            timeouts: NEVER,
            ending: None,
            signals: Signals::default(),
        };
        let (mut life, effects) = Lifecycle::from_snapshot(saved, at(0));
        assert_eq!(effects, []);
        assert_eq!(life.apply(Event::Attached, at(1)), Err(Refused::Ended));
        assert_eq!(life.apply(Event::KillRequested, at(1)), Err(Refused::Ended));
        assert_eq!(life.status(), status);
    }
}

const QUIET: Timeouts =
    Timeouts { idle_s: Some(60), first_attach_s: None, idle_when: IdleWhen::DetachedAndQuiet };

fn left(timeouts: Timeouts) -> Lifecycle {
    let (mut life, _) = Lifecycle::new(timeouts, second(0));
    life.apply(Event::Attached, second(1)).unwrap();
    life.apply(Event::Detached, second(2)).unwrap();
    life
}

fn second(s: u64) -> Now {
    at(s * 1000)
}

fn due(life: &Lifecycle) -> u64 {
    life.deadline().unwrap().boot_ms
}

#[test]
fn work_puts_the_end_off_where_the_session_says_so_and_nobody_is_attached() {
    let mut life = left(QUIET);
    assert!(life.is_kept_by_work());
    let first = due(&life);
    let effects = life.apply(Event::Busy { for_ms: 0 }, second(30)).unwrap();
    assert!(effects.contains(&Effect::Save), "the deadline that is shown is the one that counts");
    assert!((first + 28_000..=first + 29_000).contains(&due(&life)), "{}", due(&life) - first);
    // Not twice a moment, and never back.
    let pushed = due(&life);
    assert_eq!(life.apply(Event::Busy { for_ms: 0 }, second(30)), Ok(Vec::new()));
    life.apply(Event::Busy { for_ms: 10_000 }, second(30)).unwrap();
    assert!(due(&life) >= pushed + 9_500, "the countdown begins when it is looked at again");
    life.apply(Event::TimerFired { generation: life.generation() }, second(40)).unwrap();
    assert_eq!(life.ending(), None);

    life.apply(Event::Attached, second(50)).unwrap();
    assert!(!life.is_kept_by_work());
    assert_eq!(life.apply(Event::Busy { for_ms: 0 }, second(51)), Ok(Vec::new()));
    for other in [HALF_AN_HOUR, NEVER] {
        let mut life = left(other);
        assert!(!life.is_kept_by_work());
        assert_eq!(life.apply(Event::Busy { for_ms: 0 }, second(30)), Ok(Vec::new()));
    }
    // Before anybody has come, another timeout runs.
    let (mut life, _) = Lifecycle::new(Timeouts { first_attach_s: Some(10), ..QUIET }, second(0));
    assert_eq!(life.apply(Event::Busy { for_ms: 0 }, second(5)), Ok(Vec::new()));
}

#[test]
fn the_rule_may_change_while_the_countdown_runs() {
    let mut life = left(Timeouts { idle_when: IdleWhen::Detached, ..QUIET });
    let first = due(&life);
    let quiet = Event::IdleWhenChanged(IdleWhen::DetachedAndQuiet);
    assert_eq!(life.apply(quiet, second(10)), Ok(vec![Effect::Save]));
    assert_eq!(due(&life), first);
    life.apply(Event::Busy { for_ms: 0 }, second(20)).unwrap();
    assert!(due(&life) > first);
    life.apply(Event::IdleWhenChanged(IdleWhen::Detached), second(21)).unwrap();
    assert!(!life.is_kept_by_work());
}

/// A server that was away for longer than the timeout has not seen what the program did.
#[test]
fn a_deadline_that_passed_without_a_server_begins_anew_where_work_counts() {
    let passed = |timeouts| {
        let saved = left(timeouts).snapshot();
        Lifecycle::from_snapshot(saved, second(1000))
    };
    let (life, effects) = passed(QUIET);
    assert_eq!(life.ending(), None);
    assert!(effects.contains(&Effect::Save) && due(&life) >= second(1060).boot_ms);
    let (life, _) = passed(Timeouts { idle_when: IdleWhen::Detached, ..QUIET });
    assert!(life.ending().is_some());
}
