//! Wrong tokens and cookies are counted by address, slowed down and logged. The right token is
//! checked first and never refused, whatever came from the address before.

use super::problem::{Problem, code};
use crate::connections::subscriber;
use prometheus_client::metrics::counter::Counter;
use slog::{Logger, warn};
use std::cmp::Reverse;
use std::collections::HashMap;
use std::net::IpAddr;
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

/// Wrong attempts in a row from an address before the next are slowed down …
const FAILURES_MAX: f64 = 10.0;
/// … and how many of them are forgiven each second.
const FAILURES_PER_S: f64 = 1.0;
/// The delay of the answer to a slowed-down attempt: a connection guesses no faster.
const SLOWED: Duration = Duration::from_secs(1);
/// The number of addresses that are remembered, in two halves: when one is full, the half that was
/// not used for longer is dropped. Some 100 bytes each.
const HALF: usize = 2048;
/// The least time between two log lines about one address.
const LOG_AGAIN: Duration = Duration::from_secs(60);
/// The most addresses that are logged at once, those with most attempts first.
const LOG_MAX: usize = 5;

/// All failed attempts from all addresses.
#[derive(Default)]
pub(super) struct Guesses {
    table: Mutex<Table>,
    /// Failed attempts since the server started.
    pub(super) failed: Counter,
}

#[derive(Default)]
struct Table {
    recent: HashMap<Source, Guesser>,
    older: HashMap<Source, Guesser>,
    /// Attempts from addresses that were forgotten before they were logged.
    forgotten: u64,
}

/// The source of attempts: an IPv4 address, or an IPv6 network of 64 bits, all of which one
/// subscriber has. `None`: no address is known.
type Source = Option<IpAddr>;

struct Guesser {
    failures: f64,
    since: Instant,
    /// Attempts that were not logged yet.
    unlogged: u64,
    logged: Option<Instant>,
}

/// The answer to a refused attempt, and how long it is delayed.
pub(super) struct Refused {
    pub(super) problem: Problem,
    pub(super) after: Duration,
}

impl From<Problem> for Refused {
    fn from(problem: Problem) -> Refused {
        Refused { problem, after: Duration::ZERO }
    }
}

impl Guesses {
    /// Counts a wrong token or cookie. `detail` tells the client what would be right.
    pub(super) fn refuse(&self, from: Option<IpAddr>, detail: &str) -> Refused {
        self.failed.inc();
        if self.table.lock().unwrap_or_else(PoisonError::into_inner).failed(from, Instant::now()) {
            let detail = "this token is wrong, as were many before from this address; the right \
                          one is accepted at any time";
            let problem = Problem::new(code::TOO_MANY_REQUESTS, detail).retry_after(1);
            return Refused { problem, after: SLOWED };
        }
        Problem::new(code::UNAUTHORIZED, detail).into()
    }

    /// Logs the attempts since the last call, a few lines however many there were. To be called
    /// every second.
    pub(super) fn log(&self, log: &Logger) {
        let mut table = self.table.lock().unwrap_or_else(PoisonError::into_inner);
        let (due, forgotten) = (table.due(Instant::now()), std::mem::take(&mut table.forgotten));
        // The lock is released first: the log may be slow.
        drop(table);
        for (source, attempts) in due {
            warn!(log, "wrong tokens"; "address" => name(source), "attempts" => attempts);
        }
        if forgotten > 0 {
            warn!(log, "wrong tokens"; "address" => "many", "attempts" => forgotten);
        }
    }
}

impl Table {
    /// Counts one more attempt; true: the address has made too many.
    fn failed(&mut self, from: Option<IpAddr>, now: Instant) -> bool {
        let source = from.map(subscriber);
        if self.recent.len() >= HALF && !self.recent.contains_key(&source) {
            let gone = std::mem::replace(&mut self.older, std::mem::take(&mut self.recent));
            self.forgotten += gone.values().map(|guesser| guesser.unlogged).sum::<u64>();
        }
        let known = self.older.remove(&source);
        let guesser = self.recent.entry(source).or_insert_with(|| {
            known.unwrap_or(Guesser { failures: 0.0, since: now, unlogged: 0, logged: None })
        });
        let passed = now.saturating_duration_since(guesser.since).as_secs_f64();
        let failures = (guesser.failures - passed * FAILURES_PER_S).max(0.0) + 1.0;
        // The count is capped, so that a long series is forgiven as fast as a short one.
        guesser.failures = failures.min(FAILURES_MAX);
        guesser.since = now;
        guesser.unlogged += 1;
        failures > FAILURES_MAX
    }

    /// The addresses to log with their attempts, of those whose turn it is the ones with most.
    fn due(&mut self, now: Instant) -> Vec<(Source, u64)> {
        let waits = |guesser: &Guesser| {
            guesser.unlogged == 0 || guesser.logged.is_some_and(|last| now < last + LOG_AGAIN)
        };
        let all = self.recent.iter_mut().chain(self.older.iter_mut());
        let mut due: Vec<_> = all.filter(|(_, guesser)| !waits(guesser)).collect();
        due.sort_by_key(|(_, guesser)| Reverse(guesser.unlogged));
        let told = due.into_iter().take(LOG_MAX).map(|(source, guesser)| {
            guesser.logged = Some(now);
            (*source, std::mem::take(&mut guesser.unlogged))
        });
        told.collect()
    }
}

fn name(source: Source) -> String {
    match source {
        Some(network @ IpAddr::V6(_)) => format!("{network}/64"),
        Some(address) => address.to_string(),
        None => "unknown".to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn v4(n: u32) -> Option<IpAddr> {
        Some(std::net::Ipv4Addr::from_bits(n).into())
    }

    #[test]
    fn failures_are_forgiven_with_time_and_held_against_one_address() {
        let (mut table, start) = (Table::default(), Instant::now());
        for _ in 0..10 {
            assert!(!table.failed(v4(1), start));
        }
        for _ in 0..1000 {
            assert!(table.failed(v4(1), start));
        }
        assert!(!table.failed(v4(2), start) && !table.failed(None, start));
        assert!(table.failed(v4(1), start + Duration::from_millis(900)));
        assert!(!table.failed(v4(1), start + Duration::from_secs(3)));
    }

    #[test]
    fn one_subscriber_is_one_address() {
        let same =
            |a: &str, b: &str| subscriber(a.parse().unwrap()) == subscriber(b.parse().unwrap());
        assert!(same("2001:db8::1", "2001:db8::ffff:1"));
        assert!(!same("2001:db8::1", "2001:db8:0:1::1"));
        assert!(same("::ffff:192.0.2.1", "192.0.2.1"));
        assert!(!same("192.0.2.1", "192.0.2.2"));
        assert_eq!(name(Some(subscriber("2001:db8::7".parse().unwrap()))), "2001:db8::/64");
    }

    #[test]
    fn the_table_is_bounded_and_forgets_who_was_not_seen_for_longest() {
        let (mut table, now) = (Table::default(), Instant::now());
        for _ in 0..11 {
            table.failed(v4(0), now);
        }
        let mut attempts = 11;
        for n in 1..20 * HALF as u32 {
            table.failed(v4(n), now);
            // Whoever goes on is not forgotten for the others.
            if n.is_multiple_of(1000) {
                assert!(table.failed(v4(0), now), "{n}");
                attempts += 1;
            }
            attempts += 1;
            assert!(table.recent.len() + table.older.len() <= 2 * HALF);
        }
        // None is missing in the log.
        let mut logged = table.forgotten;
        loop {
            let due = table.due(now);
            assert!(due.len() <= LOG_MAX);
            let told: u64 = due.iter().map(|(_, attempts)| attempts).sum();
            if told == 0 {
                break;
            }
            logged += told;
        }
        assert_eq!(logged, attempts);
        assert_eq!(table.due(now), []);
        table.failed(v4(0), now);
        assert_eq!(table.due(now), []);
        assert_eq!(table.due(now + LOG_AGAIN), [(v4(0), 1)]);
    }
}
