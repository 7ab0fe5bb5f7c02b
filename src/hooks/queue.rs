//! The deliveries that wait, and whose turn it is. Pure: time and chance are given.

use super::backoff::delay;
use crate::config::HookWord;
use crate::id::SessionId;
use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::sync::Arc;
use std::time::Instant;
use uuid::Uuid;

/// Attempts at a time: enough for a hundred sessions that need somebody at once, and few beside the
/// sessions that are served.
const RUNNING_MAX: usize = 16;
/// Messages that are sent to push services at a time, apart from the hooks' attempts: more than one
/// person's browsers, each of which is sent one after the other, so that a service that hangs for them
/// leaves room for others.
const PUSHES_RUNNING_MAX: usize = 32;
/// Deliveries of one session that wait for one hook. Beyond it, older states make room for newer ones.
const OF_A_SESSION_MAX: usize = 64;
/// Deliveries in all, and the bytes of their JSON.
const ALL_MAX: usize = 10_000;
const BYTES_MAX: usize = 32 << 20;

/// A line of deliveries that are made one after the other.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(super) enum Lane {
    /// The events of a session for a hook, by its place in the settings.
    Hook(usize, SessionId),
    /// What a browser is told, by its subscription. Of each session only the newest waits.
    Push(Uuid),
}

/// An event on its way to one hook.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Delivery {
    /// Its place among all deliveries.
    pub(super) seq: i64,
    pub(super) lane: Lane,
    pub(super) session: SessionId,
    pub(super) word: HookWord,
    /// The id of the event.
    pub(super) event: String,
    pub(super) payload: Arc<str>,
    /// Attempts that have failed.
    pub(super) failed: u32,
    /// The last attempt begins no later.
    pub(super) give_up_at: Instant,
}

impl Delivery {
    /// Whether it may be dropped where too many wait. A browser shows the newest alone, and somebody looks
    /// at the list some time.
    fn may_be_dropped(&self) -> bool {
        !self.word.is_end() || matches!(self.lane, Lane::Push(_))
    }
}

/// The next step for a delivery after an attempt.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Verdict {
    /// It is over.
    Done,
    /// Try again.
    Again,
    /// It is over, since it will never arrive.
    GiveUp,
}

/// The fate of a delivery after an attempt.
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
    /// Lanes whose turn it is, of each hook, and then those of all browsers. One that is not ready is
    /// passed over.
    ready: Vec<VecDeque<Lane>>,
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
    /// The empty queue of so many hooks, and of browsers.
    pub(super) fn new(hooks: usize) -> Self {
        Queue {
            lanes: BTreeMap::new(),
            ready: vec![VecDeque::new(); hooks + 1],
            waiting: BTreeSet::new(),
            running: vec![0; hooks + 1],
            failing: vec![false; hooks + 1],
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

    /// The number of hooks, which is also the place of the browsers behind them.
    fn hooks(&self) -> usize {
        self.ready.len() - 1
    }

    fn place(&self, lane: Lane) -> usize {
        match lane {
            Lane::Hook(hook, _) => hook,
            Lane::Push(_) => self.hooks(),
        }
    }

    /// Makes a lane wait for its turn.
    fn is_ready(&mut self, lane: Lane) {
        let place = self.place(lane);
        self.ready[place].push_back(lane);
    }

    /// Adds a delivery behind all others of its lane. Returns those that had to make room: never an end
    /// for a hook, nor what is on its way.
    pub(super) fn add(&mut self, delivery: Delivery) -> Vec<Delivery> {
        let lane = delivery.lane;
        let delivery = match self.replace(delivery) {
            Ok(before) => return vec![before],
            Err(delivery) => delivery,
        };
        self.len += 1;
        self.bytes += delivery.payload.len();
        let is_new = !self.lanes.contains_key(&lane);
        let waiting = self.lanes.entry(lane);
        let waiting =
            waiting.or_insert_with(|| Waiting { state: State::Ready, deliveries: VecDeque::new() });
        waiting.deliveries.push_back(delivery);
        let are_many = waiting.deliveries.len() > OF_A_SESSION_MAX;
        if is_new {
            self.is_ready(lane);
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

    /// Puts a message in the place of one about the same session that waits for the same browser, with what
    /// is known of its failures. `Err`: there is none.
    fn replace(&mut self, mut delivery: Delivery) -> Result<Delivery, Delivery> {
        let (lane, session) = (delivery.lane, delivery.session);
        let Some(waiting) = self.lanes.get_mut(&lane).filter(|_| matches!(lane, Lane::Push(_)))
        else {
            return Err(delivery);
        };
        let first = usize::from(waiting.state == State::Running);
        let Some(same) = waiting.deliveries.iter_mut().skip(first).find(|it| it.session == session)
        else {
            return Err(delivery);
        };
        delivery.failed = same.failed;
        self.bytes = self.bytes + delivery.payload.len() - same.payload.len();
        Ok(std::mem::replace(same, delivery))
    }

    /// The next delivery to attempt, if there is room for one more.
    pub(super) fn next(&mut self, now: Instant) -> Option<Delivery> {
        while let Some(&(at, lane)) = self.waiting.first().filter(|(at, _)| *at <= now) {
            self.waiting.pop_first();
            if let Some(waiting) = self.lanes.get_mut(&lane)
                && waiting.state == State::Waiting(at)
            {
                waiting.state = State::Ready;
                self.is_ready(lane);
            }
        }
        let (hooks, places) = (self.hooks(), self.ready.len());
        let of_hooks: usize = self.running[..hooks].iter().sum();
        // Hooks that hang must leave room for the others.
        let share = (RUNNING_MAX / hooks.max(1)).max(1);
        for place in (0..places).map(|step| (self.turn + step) % places) {
            let most = if self.failing[place] && hooks > 1 { 1 } else { share };
            let is_full = match place == hooks {
                true => self.running[place] >= PUSHES_RUNNING_MAX,
                false => of_hooks >= RUNNING_MAX || self.running[place] >= most,
            };
            if is_full {
                continue;
            }
            while let Some(lane) = self.ready[place].pop_front() {
                if let Some(waiting) = self.lanes.get_mut(&lane)
                    && waiting.state == State::Ready
                    && let Some(delivery) = waiting.deliveries.front()
                {
                    waiting.state = State::Running;
                    self.running[place] += 1;
                    self.turn = (place + 1) % places;
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
        let place = self.place(lane);
        let waiting = self.lanes.get_mut(&lane)?;
        if waiting.state != State::Running {
            return None;
        }
        self.running[place] -= 1;
        self.failing[place] = verdict == Verdict::Again;
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
            self.is_ready(lane);
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
        let mut has_turn = false;
        if let State::Waiting(at) = waiting.state
            && index == 0
        {
            // The next one has not failed.
            self.waiting.remove(&(at, lane));
            waiting.state = State::Ready;
            has_turn = true;
        }
        if waiting.deliveries.is_empty() {
            self.lanes.remove(&lane);
        }
        if has_turn {
            self.is_ready(lane);
        }
        self.len -= 1;
        self.bytes -= removed.payload.len();
        removed
    }

    /// The oldest delivery that may be dropped: first of those for browsers, so that these push out none of
    /// a hook, and then of those that are overtaken.
    fn oldest_to_drop(&self) -> Option<(Lane, usize)> {
        let oldest = |of_push: bool, find: fn(&Waiting) -> Option<usize>| {
            let of = self.lanes.iter().filter(|(lane, _)| matches!(lane, Lane::Push(_)) == of_push);
            let found = of.filter_map(|(lane, waiting)| {
                let index = find(waiting)?;
                Some((waiting.deliveries[index].seq, *lane, index))
            });
            found.min().map(|(_, lane, index)| (lane, index))
        };
        let of_push = oldest(true, droppable);
        of_push.or_else(|| oldest(false, overtaken)).or_else(|| oldest(false, droppable))
    }
}

/// The first delivery that may be dropped and is not on its way.
fn droppable(waiting: &Waiting) -> Option<usize> {
    let first = usize::from(waiting.state == State::Running);
    let mut all = waiting.deliveries.iter().enumerate().skip(first);
    all.find(|(_, delivery)| delivery.may_be_dropped()).map(|(index, _)| index)
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
        let session = match lane {
            Lane::Hook(_, session) => session,
            Lane::Push(_) => SessionId::generate(),
        };
        Delivery { seq, lane, session, word, event, payload, failed: 0, give_up_at }
    }

    /// A lane of a session of its own.
    fn lane(hook: usize) -> Lane {
        Lane::Hook(hook, SessionId::generate())
    }

    #[test]
    fn one_that_hangs_holds_up_its_own_session_alone() {
        let (start, mut queue) = (Instant::now(), Queue::new(1));
        let (a, b) = (lane(0), lane(0));
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
            queue.add(delivery(seq, lane(0), HookWord::Done, start));
        }
        let first = std::iter::from_fn(|| queue.next(start)).count();
        assert_eq!(first, (RUNNING_MAX / 2));
        queue.add(delivery(99, lane(1), HookWord::Done, start));
        assert_eq!(queue.next(start).unwrap().seq, 99);
    }

    #[test]
    fn what_is_tried_for_too_long_is_given_up() {
        let (start, mut queue) = (Instant::now(), Queue::new(1));
        let lane = lane(0);
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
        let lane = lane(0);
        assert!(queue.add(delivery(0, lane, HookWord::Ended, start)).is_empty());
        let mut dropped = Vec::new();
        for seq in 1..=100 {
            dropped.extend(queue.add(delivery(seq, lane, HookWord::Blocked, start)));
        }
        assert_eq!(queue.len(), OF_A_SESSION_MAX);
        assert_eq!(dropped.first().unwrap().seq, 1);
        assert_eq!(queue.next(start).unwrap().seq, 0, "the end");
    }

    #[test]
    fn browsers_are_told_the_newest_and_take_no_room_of_hooks() {
        let (start, mut queue) = (Instant::now(), Queue::new(1));
        let (browser, session) = (Lane::Push(Uuid::now_v7()), SessionId::generate());
        let about = |seq, session| Delivery {
            session,
            payload: "x".repeat(seq as usize).into(),
            ..delivery(seq, browser, HookWord::Error, start)
        };
        assert!(queue.add(about(1, session)).is_empty());
        assert_eq!(queue.next(start).unwrap().seq, 1);
        // What is on its way stays; what waits is replaced, and keeps its place and its failures.
        assert!(queue.add(about(2, session)).is_empty());
        assert!(queue.add(about(3, SessionId::generate())).is_empty());
        assert_eq!(queue.add(about(4, session))[0].seq, 2);
        assert_eq!((queue.len(), queue.bytes), (3, 8));
        queue.settle(browser, Verdict::Done, start, 0.5).unwrap();
        assert_eq!(queue.next(start).unwrap().seq, 4);
        queue.settle(browser, Verdict::Again, start, 0.5).unwrap();
        assert_eq!(queue.add(about(5, session))[0].seq, 4);
        assert_eq!(queue.next(start), None, "the service has asked for time");
        let later = queue.next(start + Duration::from_secs(1)).unwrap();
        assert_eq!((later.seq, later.failed), (5, 1));

        for seq in 100..200 {
            queue.add(delivery(seq, Lane::Push(Uuid::now_v7()), HookWord::Done, start));
        }
        let running = std::iter::from_fn(|| queue.next(start)).count();
        assert_eq!(running, PUSHES_RUNNING_MAX - 1);
        queue.add(delivery(200, lane(0), HookWord::Blocked, start));
        assert_eq!(queue.next(start).unwrap().seq, 200);
        // Where there are too many, those of browsers go, even ends.
        let hooks: Vec<_> =
            (0..20_000).map(|seq| delivery(1000 + seq, lane(0), HookWord::Done, start)).collect();
        let dropped: Vec<_> = hooks.into_iter().flat_map(|delivery| queue.add(delivery)).collect();
        assert!(dropped[..69].iter().all(|delivery| matches!(delivery.lane, Lane::Push(_))));
        assert!(dropped[70..].iter().all(|delivery| matches!(delivery.lane, Lane::Hook(..))));
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
                        let lane = Lane::Hook(hook, sessions[session]);
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
