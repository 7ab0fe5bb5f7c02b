//! The holder, attacked. In each test a witness prints numbered lines all through, and must
//! be found whole, byte by byte, under the same holder afterwards.
//!
//! Random attacks print their seed. `STAYD_FUZZ_SEED` repeats one, `STAYD_FUZZ_SECONDS`
//! makes the fuzzing last longer than the moment it takes by default:
//!
//! ```text
//! STAYD_FUZZ_SECONDS=600 cargo test --test integration -- holder_attacks::garbage --nocapture
//! ```

#![allow(clippy::print_stderr, reason = "seeds, and what could not be tried")]

mod accomplice;
mod deaf;
mod deaths;
mod foreign;
mod fork_server;
mod garbage;
mod house;
mod hung;
mod limits;
mod peer;
mod random;
mod ring_page;
mod signals;
mod witness;

use std::time::{Duration, Instant};

/// For what takes milliseconds; only a failure waits for it.
const DEADLINE: Duration = Duration::from_secs(30);

/// Waits for what has no event.
fn poll(what: &str, mut done: impl FnMut() -> bool) {
    let start = Instant::now();
    while !done() {
        assert!(start.elapsed() < DEADLINE, "no {what}");
        std::thread::sleep(Duration::from_millis(1));
    }
}
