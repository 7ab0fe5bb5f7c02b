//! The deliveries that wait, and whose turn it is. Pure: time and chance are given.

use super::backoff::delay;
use crate::config::HookWord;
use crate::id::SessionId;
use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::sync::Arc;
use std::time::Instant;

/// Attempts at a time: enough for a hundred sessions that need somebody at once, and few beside the
/// sessions that are served.
const RUNNING_MAX: usize = 16;
/// Deliveries of one session that wait for one hook. Beyond it, older states make room for newer ones.
const OF_A_SESSION_MAX: usize = 64;
/// Deliveries in all, and the bytes of their JSON.
const ALL_MAX: usize = 10_000;
const BYTES_MAX: usize = 32 << 20;

/// The hook, by its place in the settings, and the session: what is in one lane is delivered in order.
pub(super) type Lane = (usize, SessionId);

/// An event on its way to one hook.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Delivery {
    /// Its place among all deliveries.
    pub(super) seq: i64,
    pub(super) lane: Lane,
    pub(super) word: HookWord,
    /// The id of the event.
    pub(super) event: String,
    pub(super) payload: Arc<str>,
    /// Attempts that have failed.
    pub(super) failed: u32,
    /// The last attempt begins no later.
    pub(super) give_up_at: Instant,
}

/// What is to be done with a delivery after an attempt.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Verdict {
    /// It is over.
    Done,
    /// Try again.
    Again,
    /// It is over, since it will never arrive.
    GiveUp,
}

/// What has become of a delivery.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Settled {
    Delivered(Delivery),
    Later(Delivery),
    GivenUp(Delivery),
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum State {
    Ready,
    Running,
    Waiting(Instant),
}

#[derive(Debug)]
struct Waiting {
    state: State,
    deliveries: VecDeque<Delivery>,
}

/// The queue of all hooks.
#[derive(Debug)]
pub(super) struct Queue {
    lanes: BTreeMap<Lane, Waiting>,
    /// Sessions whose turn it is, of each hook. One whose lane is not ready is passed over.
    ready: Vec<VecDeque<SessionId>>,
    waiting: BTreeSet<(Instant, Lane)>,
    running: Vec<usize>,
    /// Hooks whose last attempt has failed: one at a time shows when that is over.
    failing: Vec<bool>,
    /// The hook that is looked at first.
    turn: usize,
    len: usize,
    bytes: usize,
}

impl Queue {
    /// The empty queue of so many hooks.
    pub(super) fn new(hooks: usize) -> Self {
        Queue {
            lanes: BTreeMap::new(),
            ready: vec![VecDeque::new(); hooks],
            waiting: BTreeSet::new(),
            running: vec![0; hooks],
            failing: vec![false; hooks],
            turn: 0,
            len: 0,
            bytes: 0,
        }
    }

    /// How many deliveries wait or run.
    pub(super) fn len(&self) -> usize {
        self.len
    }

    /// How many run.
    pub(super) fn running(&self) -> usize {
        self.running.iter().sum()
    }

    /// Adds a delivery behind all others of its lane. Returns those that had to make room: never an end,
    /// nor what is on its way.
    pub(super) fn add(&mut self, delivery: Delivery) -> Vec<Delivery> {
        let lane = delivery.lane;
        self.len += 1;
        self.bytes += delivery.payload.len();
        let is_new = !self.lanes.contains_key(&lane);
        let waiting = self.lanes.entry(lane);
        let waiting =
            waiting.or_insert_with(|| Waiting { state: State::Ready, deliveries: VecDeque::new() });
        waiting.deliveries.push_back(delivery);
        let are_many = waiting.deliveries.len() > OF_A_SESSION_MAX;
        if is_new {
            self.ready[lane.0].push_back(lane.1);
        }
        let mut dropped = Vec::new();
        if are_many {
            dropped.extend(overtaken(&self.lanes[&lane]).map(|index| self.remove(lane, index)));
        }
        while self.len > ALL_MAX || self.bytes > BYTES_MAX {
            let Some((lane, index)) = self.oldest_to_drop() else { break };
            dropped.push(self.remove(lane, index));
        }
        dropped
    }

    /// The next delivery to attempt, if there is room for one more.
    pub(super) fn next(&mut self, now: Instant) -> Option<Delivery> {
        while let Some(&(at, lane)) = self.waiting.first().filter(|(at, _)| *at <= now) {
            self.waiting.pop_first();
            if let Some(waiting) = self.lanes.get_mut(&lane)
                && waiting.state == State::Waiting(at)
            {
                waiting.state = State::Ready;
                self.ready[lane.0].push_back(lane.1);
            }
        }
        if self.running() >= RUNNING_MAX {
            return None;
        }
        let hooks = self.ready.len();
        // So that hooks that hang leave room for the others.
        let share = (RUNNING_MAX / hooks.max(1)).max(1);
        for hook in (0..hooks).map(|step| (self.turn + step) % hooks) {
            let most = if self.failing[hook] && hooks > 1 { 1 } else { share };
            if self.running[hook] >= most {
                continue;
            }
            while let Some(session) = self.ready[hook].pop_front() {
                if let Some(waiting) = self.lanes.get_mut(&(hook, session))
                    && waiting.state == State::Ready
                    && let Some(delivery) = waiting.deliveries.front()
                {
                    waiting.state = State::Running;
                    self.running[hook] += 1;
                    self.turn = (hook + 1) % hooks;
                    return Some(delivery.clone());
                }
            }
        }
        None
    }

    /// When something is to be tried again.
    pub(super) fn wake_at(&self) -> Option<Instant> {
        self.waiting.first().map(|(at, _)| *at)
    }

    /// An attempt is over. `None`: there was none.
    pub(super) fn settle(
        &mut self,
        lane: Lane,
        verdict: Verdict,
        now: Instant,
        fraction: f64,
    ) -> Option<Settled> {
        let waiting = self.lanes.get_mut(&lane)?;
        if waiting.state != State::Running {
            return None;
        }
        self.running[lane.0] -= 1;
        self.failing[lane.0] = verdict == Verdict::Again;
        let head = waiting.deliveries.front_mut()?;
        if verdict == Verdict::Again && now < head.give_up_at {
            head.failed += 1;
            let at = now + delay(head.failed, fraction);
            let head = head.clone();
            waiting.state = State::Waiting(at);
            self.waiting.insert((at, lane));
            return Some(Settled::Later(head));
        }
        waiting.state = State::Ready;
        let over = self.remove(lane, 0);
        if self.lanes.contains_key(&lane) {
            self.ready[lane.0].push_back(lane.1);
        }
        Some(if verdict == Verdict::Done {
            Settled::Delivered(over)
        } else {
            Settled::GivenUp(over)
        })
    }

    fn remove(&mut self, lane: Lane, index: usize) -> Delivery {
        let waiting = self.lanes.get_mut(&lane).expect("a lane that was found");
        let removed = waiting.deliveries.remove(index).expect("a delivery that was found");
        if let State::Waiting(at) = waiting.state
            && index == 0
        {
            // The next one has not failed.
            self.waiting.remove(&(at, lane));
            waiting.state = State::Ready;
            self.ready[lane.0].push_back(lane.1);
        }
        if waiting.deliveries.is_empty() {
            self.lanes.remove(&lane);
        }
        self.len -= 1;
        self.bytes -= removed.payload.len();
        removed
    }

    /// The oldest delivery that may be dropped: first of those that are overtaken.
    fn oldest_to_drop(&self) -> Option<(Lane, usize)> {
        let oldest = |find: fn(&Waiting) -> Option<usize>| {
            let found = self.lanes.iter().filter_map(|(lane, waiting)| {
                let index = find(waiting)?;
                Some((waiting.deliveries[index].seq, *lane, index))
            });
            found.min().map(|(_, lane, index)| (lane, index))
        };
        oldest(overtaken).or_else(|| oldest(droppable))
    }
}

/// The first delivery that is neither an end nor on its way.
fn droppable(waiting: &Waiting) -> Option<usize> {
    let first = usize::from(waiting.state == State::Running);
    let mut all = waiting.deliveries.iter().enumerate().skip(first);
    all.find(|(_, delivery)| !delivery.word.is_end()).map(|(index, _)| index)
}

/// The same, if something newer of the session comes behind it.
fn overtaken(waiting: &Waiting) -> Option<usize> {
    droppable(waiting).filter(|index| index + 1 < waiting.deliveries.len())
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use std::time::Duration;

    fn delivery(seq: i64, lane: Lane, word: HookWord, start: Instant) -> Delivery {
        let give_up_at = start + Duration::from_secs(600);
        let (event, payload) = (String::new(), "{}".into());
        Delivery { seq, lane, word, event, payload, failed: 0, give_up_at }
    }

    #[test]
    fn one_that_hangs_holds_up_its_own_session_alone() {
        let (start, mut queue) = (Instant::now(), Queue::new(1));
        let (a, b) = ((0, SessionId::generate()), (0, SessionId::generate()));
        for (seq, lane) in [(1, a), (2, a), (3, b)] {
            assert!(queue.add(delivery(seq, lane, HookWord::Done, start)).is_empty());
        }
        assert_eq!(queue.next(start).unwrap().seq, 1);
        assert_eq!(queue.next(start).unwrap().seq, 3);
        assert_eq!(queue.next(start), None);
        queue.settle(b, Verdict::Done, start, 0.5).unwrap();
        assert_eq!(queue.next(start), None);
        let Some(Settled::Later(later)) = queue.settle(a, Verdict::Again, start, 0.5) else {
            panic!("not tried again")
        };
        assert_eq!((later.seq, later.failed), (1, 1));
        assert_eq!(queue.next(start), None);
        assert_eq!(queue.wake_at(), Some(start + Duration::from_secs(1)));
        assert_eq!(queue.next(start + Duration::from_secs(1)).unwrap().seq, 1);
    }

    #[test]
    fn one_hook_leaves_room_for_another() {
        let (start, mut queue) = (Instant::now(), Queue::new(2));
        for seq in 0..50 {
            queue.add(delivery(seq, (0, SessionId::generate()), HookWord::Done, start));
        }
        let first = std::iter::from_fn(|| queue.next(start)).count();
        assert_eq!(first, RUNNING_MAX / 2);
        queue.add(delivery(99, (1, SessionId::generate()), HookWord::Done, start));
        assert_eq!(queue.next(start).unwrap().seq, 99);
    }

    #[test]
    fn what_is_tried_for_too_long_is_given_up() {
        let (start, mut queue) = (Instant::now(), Queue::new(1));
        let lane = (0, SessionId::generate());
        queue.add(delivery(1, lane, HookWord::Ended, start));
        let late = start + Duration::from_secs(600);
        queue.next(late).unwrap();
        let given_up = queue.settle(lane, Verdict::Again, late, 0.0);
        assert!(matches!(given_up, Some(Settled::GivenUp(_))));
        assert_eq!((queue.len(), queue.bytes, queue.wake_at()), (0, 0, None));
    }

    #[test]
    fn too_many_states_of_a_session_make_room_and_ends_stay() {
        let (start, mut queue) = (Instant::now(), Queue::new(1));
        let lane = (0, SessionId::generate());
        assert!(queue.add(delivery(0, lane, HookWord::Ended, start)).is_empty());
        let mut dropped = Vec::new();
        for seq in 1..=100 {
            dropped.extend(queue.add(delivery(seq, lane, HookWord::Blocked, start)));
        }
        assert_eq!(queue.len(), OF_A_SESSION_MAX);
        assert_eq!(dropped.first().unwrap().seq, 1);
        assert_eq!(queue.next(start).unwrap().seq, 0, "the end");
    }

    #[derive(Clone, Debug)]
    enum Step {
        Add { hook: usize, session: usize, word: usize },
        Next,
        Settle { which: usize, verdict: usize },
        Pass { ms: u64 },
    }

    fn step() -> impl Strategy<Value = Step> {
        prop_oneof![
            4 => (0..3usize, 0..5usize, 0..4usize)
                .prop_map(|(hook, session, word)| Step::Add { hook, session, word }),
            3 => Just(Step::Next),
            3 => (0..16usize, 0..3usize).prop_map(|(which, verdict)| Step::Settle { which, verdict }),
            1 => (0..90_000u64).prop_map(|ms| Step::Pass { ms }),
        ]
    }

    proptest! {
        #[test]
        fn nothing_is_lost_doubled_or_out_of_order(steps in prop::collection::vec(step(), 1..600)) {
            let (mut now, mut queue) = (Instant::now(), Queue::new(3));
            let sessions: Vec<_> = (0..5).map(|_| SessionId::generate()).collect();
            let mut running: Vec<Delivery> = Vec::new();
            let mut last: BTreeMap<Lane, i64> = BTreeMap::new();
            let (mut seq, mut added, mut over) = (0, 0, 0);
            let mut settle = |queue: &mut Queue, delivery: Delivery, verdict, now, over: &mut usize| {
                match queue.settle(delivery.lane, verdict, now, 0.5).unwrap() {
                    Settled::Delivered(done) | Settled::GivenUp(done) => {
                        assert_eq!(done.seq, delivery.seq);
                        assert!(last.insert(done.lane, done.seq).is_none_or(|before| before < done.seq));
                        *over += 1;
                    }
                    Settled::Later(later) => assert_eq!(later.failed, delivery.failed + 1),
                }
            };
            for step in steps {
                match step {
                    Step::Add { hook, session, word } => {
                        seq += 1;
                        added += 1;
                        let lane = (hook, sessions[session]);
                        let dropped = queue.add(delivery(seq, lane, HookWord::ALL[word], now));
                        prop_assert!(dropped.iter().all(|delivery| !delivery.word.is_end()));
                        prop_assert!(dropped.iter().all(|delivery| !running.contains(delivery)));
                        over += dropped.len();
                    }
                    Step::Next => running.extend(queue.next(now)),
                    Step::Settle { which, verdict } if which < running.len() => {
                        let verdict = [Verdict::Done, Verdict::Again, Verdict::GiveUp][verdict];
                        settle(&mut queue, running.swap_remove(which), verdict, now, &mut over);
                    }
                    Step::Settle { .. } => {}
                    Step::Pass { ms } => now += Duration::from_millis(ms),
                }
                let lanes: BTreeSet<Lane> = running.iter().map(|delivery| delivery.lane).collect();
                prop_assert_eq!(lanes.len(), running.len(), "one at a time of each lane");
                prop_assert!(running.len() <= RUNNING_MAX);
                prop_assert_eq!(queue.running(), running.len());
                prop_assert_eq!(queue.len() + over, added);
            }
            // All of the rest arrive.
            while queue.len() > 0 {
                now += Duration::from_secs(100);
                running.extend(std::iter::from_fn(|| queue.next(now)));
                prop_assert!(!running.is_empty(), "something is stuck");
                for delivery in running.drain(..) {
                    settle(&mut queue, delivery, Verdict::Done, now, &mut over);
                }
            }
            prop_assert_eq!((over, queue.bytes), (added, 0));
        }
    }
}
