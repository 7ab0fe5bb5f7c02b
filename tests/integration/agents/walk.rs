//! One walk: keys are typed, the agent changes its state, and what the server says is compared.

use super::fake::{Agent, Bench, IDLE_S, Mode};
use crate::events::Events;
use chrono::{DateTime, Utc};
use serde_json::Value;
use std::fmt;
use std::time::Duration;

/// What is done in a walk, before its end.
const STEPS: usize = 7;

/// How late the server may be.
#[derive(Clone, Copy)]
pub(super) struct Patience {
    /// It knows a new state within this time.
    settle_ms: u64,
    /// So long may the end of work be on the screen, in seconds, before it is looked at.
    unseen_s: f64,
    /// So late may an event be told, in seconds: what it says was true then.
    late_s: f64,
    /// It has seen on the screen that there was work, however short that was.
    sees_all: bool,
}

impl Patience {
    /// On a machine that does little else.
    pub(super) const STRICT: Patience =
        Patience { settle_ms: 3_000, unseen_s: 0.5, late_s: 1.5, sees_all: true };
    /// Beside all other tests, which may keep the server and the agent from running for seconds.
    pub(super) const BESIDE_OTHERS: Patience =
        Patience { settle_ms: 30_000, unseen_s: 5.0, late_s: 10.0, sees_all: false };
}

/// What many walks have found.
#[derive(Default)]
pub(super) struct Tally {
    walks: u64,
    /// Changes of the agent's state after which the server's was compared.
    pub(super) changes: u64,
    events: u64,
    pub(super) wrong: Vec<String>,
    /// From a change to its event, in milliseconds, of each mode.
    taken: [Vec<f64>; 3],
}

impl Tally {
    pub(super) fn add(&mut self, other: Tally) {
        self.walks += other.walks;
        self.changes += other.changes;
        self.events += other.events;
        self.wrong.extend(other.wrong);
        self.taken.iter_mut().zip(other.taken).for_each(|(all, more)| all.extend(more));
    }
}

impl fmt::Display for Tally {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Tally { walks, changes, events, wrong, taken } = self;
        let wrong = wrong.len();
        write!(f, "{walks} walks, {changes} changes, {events} events, {wrong} wrong")?;
        for (mode, taken) in Mode::ALL.iter().zip(taken) {
            let mut taken = taken.clone();
            taken.sort_by(f64::total_cmp);
            let part = |part: usize| taken.get(taken.len() * part / 100).unwrap_or(&f64::NAN);
            let most = taken.last().unwrap_or(&f64::NAN);
            let (half, most_of) = (part(50), part(95));
            write!(
                f,
                "\n{mode:?}: ms to the event: p50 {half:.0}, p95 {most_of:.0}, max {most:.0}"
            )?;
        }
        Ok(())
    }
}

/// Numbers that look random (xorshift64*).
struct Dice(u64);

impl Dice {
    fn roll(&mut self, sides: usize) -> usize {
        self.0 ^= self.0 >> 12;
        self.0 ^= self.0 << 25;
        self.0 ^= self.0 >> 27;
        (self.0.wrapping_mul(0x2545_F491_4F6C_DD1D) >> 33) as usize % sides
    }

    fn of<'a>(&mut self, choices: &[&'a str]) -> &'a str {
        choices[self.roll(choices.len())]
    }
}

/// What may be said while this is true.
fn allowed(truth: &str, agent: &Agent, before: &str) -> &'static str {
    match truth {
        "idle" => "idle",
        "working" => "working",
        "blocked" => "blocked",
        "done" => "done",
        // Hooks tell of an interruption when the prompt has waited for a while.
        "interrupted" if agent.mode == Mode::Hooks => "idle|working",
        "interrupted" => "idle|done",
        "starting" => "unknown|working|idle|done",
        // What it had done stays true; a shell's marks say that a command has ended.
        "gone" if agent.marks || ["done", "idle", "interrupted"].contains(&before) => {
            "unknown|idle|done"
        }
        _ => "unknown",
    }
}

struct Walk<'a> {
    agent: &'a Agent,
    dice: Dice,
    /// What was true when, also what the agent cannot log: (seconds since 1970, state, what may be said).
    true_at: Vec<(f64, String, &'static str)>,
    /// The agent's own lines that are in there.
    known: usize,
    tally: Tally,
    name: String,
    patience: Patience,
}

fn seconds_now() -> f64 {
    seconds(Utc::now())
}

fn seconds(time: DateTime<Utc>) -> f64 {
    time.timestamp_micros() as f64 / 1e6
}

pub(super) async fn walk(
    bench: &Bench,
    mode: Mode,
    (number, seed): (u64, u64),
    patience: Patience,
) -> Tally {
    let dice = Dice(seed.wrapping_mul(0x9E37_79B9_7F4A_7C15) ^ (number + 1) << 20 | 1);
    let marks = number / 3 % 2 == 1;
    let agent = bench.shell(mode, number, marks).await;
    let query = format!("session={}&type=attention,ended", agent.id);
    let mut events = Events::listen(&agent.api, &query, None).await;
    let name = format!("walk {number}, {mode:?}{}", if marks { ", marks" } else { "" });
    let (true_at, tally) = (Vec::new(), Tally { walks: 1, ..Tally::default() });
    let mut walk = Walk { agent: &agent, dice, true_at, known: 0, tally, name, patience };
    walk.begins().await;
    for _ in 0..STEPS {
        walk.step().await;
    }
    walk.ends().await;
    let over = seconds_now();
    agent.api.delete(&format!("/api/v1/sessions/{}", agent.id)).await;
    let mut told = Vec::new();
    loop {
        let event = events.next().await;
        if event.kind == "session.ended" {
            break;
        }
        told.push(event.data);
    }
    walk.compare(&told, over);
    walk.tally
}

impl Walk<'_> {
    fn now(&self) -> &str {
        &self.true_at.last().expect("it has begun").1
    }

    /// Something is true from now on that the agent does not log.
    fn note(&mut self, state: &str) {
        let before = self.true_at.last().map_or("", |(_, state, _)| state);
        let allowed = allowed(state, self.agent, before);
        self.true_at.push((seconds_now(), state.to_owned(), allowed));
    }

    /// Takes over what the agent has logged.
    fn read(&mut self) {
        for truth in self.agent.truth().into_iter().skip(self.known) {
            self.known += 1;
            let mut allowed = allowed(&truth.state, self.agent, "");
            // What is typed before the screen was looked at may have been typed before the end.
            let is_early = |(since, state, _): &(f64, String, _)| {
                state == "done" && truth.wall - since < self.patience.unseen_s
            };
            if truth.state == "idle"
                && self.agent.mode == Mode::Rules
                && self.true_at.last().is_some_and(is_early)
            {
                allowed = "idle|done";
            }
            let rules = self.agent.mode == Mode::Rules;
            if truth.state == "done" && rules && !self.patience.sees_all {
                allowed = "idle|done";
            }
            self.true_at.push((truth.wall, truth.state, allowed));
        }
    }

    async fn begins(&mut self) {
        self.note("starting");
        self.agent.starts().await;
        self.settles().await;
    }

    /// Types something, after which the agent says that it is in one of these states.
    async fn types(&mut self, keys: &str, then: &[&str]) {
        let known = self.agent.truth().len();
        self.agent.types(keys).await;
        self.agent.truth_becomes(known, then).await;
        self.settles().await;
    }

    /// The agent goes on by itself.
    async fn waits_for(&mut self, states: &[&str]) {
        self.agent.truth_becomes(self.known, states).await;
        self.settles().await;
    }

    /// The server comes to say what is true now, and says it for a while.
    async fn settles(&mut self) {
        self.read();
        loop {
            let known = self.known;
            self.settles_once().await;
            if self.known == known {
                return;
            }
        }
    }

    async fn settles_once(&mut self) {
        let (since, truth, may) = self.true_at.last().expect("it has begun").clone();
        let (may, more_ms) = match (truth.as_str(), self.agent.mode) {
            ("interrupted", Mode::Hooks) => ("idle", (IDLE_S * 1e3) as u64),
            _ => (may, 0),
        };
        let known = self.known;
        let settled = self.agent.settles_within(may, self.patience.settle_ms + more_ms).await;
        let pause = self.dice.roll(300) as u64;
        if settled {
            actix_web::rt::time::sleep(Duration::from_millis(pause)).await;
        }
        let says = self.agent.state().await;
        self.read();
        if self.known != known {
            return;
        }
        self.tally.changes += 1;
        if !(settled && may.split('|').any(|may| may == says)) {
            let path = format!("/api/v1/sessions/{}/screen", self.agent.id);
            let screen = self.agent.api.get(&path).await.bytes;
            let screen = String::from_utf8_lossy(&screen);
            let late = seconds_now() - since;
            let attention = self.agent.api.session(&self.agent.id).await["attention"].clone();
            let last = &self.true_at[self.true_at.len().saturating_sub(4)..];
            self.wrong(format!(
                "{truth} for {late:.1} s, and it says {says}: {attention} after {last:?}\n{screen}"
            ));
        }
    }

    fn wrong(&mut self, what: String) {
        self.tally.wrong.push(format!("{}: {what}", self.name));
    }

    async fn step(&mut self) {
        let step = self.dice.roll(12);
        match (self.now(), step) {
            (_, 0) => self.is_killed().await,
            ("working", 1 | 2) => {
                self.agent.types("a draft").await;
                self.waits_for(&["done", "blocked"]).await;
            }
            ("working", 3 | 4) => self.types("\x1b", &["interrupted", "done"]).await,
            ("working", _) => self.waits_for(&["done", "blocked"]).await,
            ("blocked", 1..=5) => {
                for _ in 0..=self.dice.roll(3) {
                    let arrow = self.dice.of(&["\x1b[A", "\x1b[B"]);
                    self.agent.types(arrow).await;
                }
                self.settles().await;
            }
            ("blocked", 6..=9) => {
                let answer = self.dice.of(&["1", "2", "\x1b[A\x1b[A\x1b[A\r", "1"]);
                self.types(answer, &["working"]).await;
            }
            ("blocked", _) => {
                let answer = self.dice.of(&["3", "\x1b"]);
                self.types(answer, &["interrupted"]).await;
            }
            (_, 1 | 2) if self.now() != "idle" => self.types("n", &["idle"]).await,
            _ => {
                let task =
                    self.dice.of(&["work 1.5", "work 2.5", "ask build 3", "ask x 2.5", "say"]);
                let clear = "\x7f".repeat(10);
                self.types(&format!("{clear}{task}\r"), &["working"]).await;
            }
        }
    }

    /// The agent is killed, and started again in the same shell.
    async fn is_killed(&mut self) {
        self.agent.is_killed();
        self.read();
        self.note("gone");
        self.settles().await;
        self.begins().await;
    }

    async fn ends(&mut self) {
        match self.now() {
            state @ ("idle" | "done" | "interrupted") => {
                let clear = "\x7f".repeat(10);
                if state == "idle" {
                    self.agent.types(&clear).await;
                } else {
                    self.types(&clear, &["idle"]).await;
                }
                self.agent.types("exit\r").await;
            }
            _ => self.agent.is_killed(),
        }
        // Once the shell shows its prompt again.
        self.read();
        self.note("gone");
        self.settles().await;
    }

    /// Each event says what was true when it was told, or just before, and they come in the order of what
    /// was true.
    fn compare(&mut self, told: &[Value], over: f64) {
        let mut place = 0;
        for event in told {
            let says = event["state"].as_str().expect("a state");
            let at = event["at"].as_str().expect("a time").parse().expect("a time");
            let at = seconds(at);
            if at > over {
                continue;
            }
            self.tally.events += 1;
            let end = |index: usize| self.true_at.get(index + 1).map_or(over, |(end, ..)| *end);
            let fits = |&index: &usize| {
                let (start, _, may) = &self.true_at[index];
                // The log is written after the screen, and a typed key is known before either.
                let in_time = start - 0.3 <= at && at <= end(index) + self.patience.late_s;
                in_time && may.split('|').any(|may| may == says)
            };
            match (place..self.true_at.len()).find(fits) {
                Some(found) => {
                    if found > place {
                        let taken = (at - self.true_at[found].0).max(0.0) * 1e3;
                        self.tally.taken[self.agent.mode as usize].push(taken);
                    }
                    place = found;
                }
                None => self.wrong(format!("an event says {event}, but {:?}", self.true_at)),
            }
        }
    }
}
