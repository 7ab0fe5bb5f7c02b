//! Chance that can be repeated: the same seed makes the same choices.

use std::time::Duration;

/// SplitMix64 (Steele, Lea, Flood: Fast Splittable Pseudorandom Number Generators, 2014).
pub(super) struct Chance(u64);

impl Chance {
    /// The seed of `STAYD_TORTURE_SEED`, or one that nobody chose. It is printed.
    pub(super) fn from_environment() -> Self {
        let seed = match std::env::var("STAYD_TORTURE_SEED") {
            Ok(text) => text.parse().expect("STAYD_TORTURE_SEED is a number"),
            Err(_) => std::time::UNIX_EPOCH.elapsed().expect("after 1970").as_micros() as u64,
        };
        println!("torture: STAYD_TORTURE_SEED={seed}");
        Chance(seed)
    }

    /// Chance of its own for another actor, so that their turns do not depend on each other.
    pub(super) fn fork(&mut self) -> Self {
        Chance(self.next())
    }

    pub(super) fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    /// Less than `bound`.
    pub(super) fn below(&mut self, bound: u64) -> u64 {
        self.next() % bound
    }

    pub(super) fn one_in(&mut self, count: u64) -> bool {
        self.below(count) == 0
    }

    pub(super) fn pick<T: Copy>(&mut self, from: &[T]) -> T {
        from[self.below(from.len() as u64) as usize]
    }

    /// A moment: shorter than `longest`.
    pub(super) fn moment(&mut self, longest: Duration) -> Duration {
        Duration::from_micros(self.below(longest.as_micros() as u64))
    }
}
