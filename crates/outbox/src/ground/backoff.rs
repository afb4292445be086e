//! How long to wait before the next try: twice as long each time, up to a cap, with one jitter.
//!
//! A wait is drawn evenly from the upper half of what it may be: what failed together comes back spread out, and none of it at once.

use std::time::Duration;

use uuid::Uuid;

/// The bounds of the waits.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Backoff {
    /// The longest first wait; it doubles with each attempt.
    pub base: Duration,
    /// The longest of all waits.
    pub cap: Duration,
}

impl Backoff {
    /// While a server is in trouble: short enough at first for a failover, and at last to go on within seconds of the trouble's end.
    pub const SERVER: Self = Self { base: Duration::from_millis(50), cap: Duration::from_secs(3) };

    /// The longest wait after `attempt` (1 is the first).
    pub fn ceiling(&self, attempt: u32) -> Duration {
        // 2^20 times any base beyond a microsecond is over a second, and any cap ends it long before it could overflow.
        self.base.saturating_mul(1 << attempt.saturating_sub(1).min(20)).min(self.cap)
    }

    /// The wait after `attempt`: between a half of [`Backoff::ceiling`] and all of it.
    pub fn wait(&self, attempt: u32) -> Duration {
        let half = self.ceiling(attempt) / 2;
        half + half.mul_f64(draw())
    }

    /// One wait after the other.
    pub fn waits(self) -> Waits {
        Waits { backoff: self, tries: 0 }
    }
}

/// The waits of something that is tried until it works.
#[derive(Debug)]
pub struct Waits {
    backoff: Backoff,
    tries: u32,
}

impl Waits {
    /// The next wait.
    pub fn next_wait(&mut self) -> Duration {
        self.tries = self.tries.saturating_add(1);
        self.backoff.wait(self.tries)
    }

    /// How many waits there were.
    pub fn tries(&self) -> u32 {
        self.tries
    }
}

/// Evenly drawn from [0, 1). Not for secrets.
fn draw() -> f64 {
    // The first 48 bits of a version 4 UUID are random; f64 holds them exactly.
    (Uuid::new_v4().as_u128() >> 80) as f64 / (1_u64 << 48) as f64
}

#[cfg(test)]
mod tests {
    use super::*;

    const BACKOFF: Backoff = Backoff { base: Duration::from_millis(100), cap: Duration::from_secs(30) };

    #[test]
    fn the_ceiling_doubles_up_to_the_cap() {
        for (attempt, millis) in [(0, 100), (1, 100), (2, 200), (3, 400), (9, 25_600), (10, 30_000), (u32::MAX, 30_000)] {
            assert_eq!(BACKOFF.ceiling(attempt), Duration::from_millis(millis), "attempt {attempt}");
        }
    }

    #[test]
    fn waits_are_spread_over_the_upper_half() {
        let waits: Vec<f64> = (0..1000).map(|_| BACKOFF.wait(3).as_secs_f64() * 1000.0).collect();
        assert!(waits.iter().all(|wait| (200.0..=400.0).contains(wait)));
        let mean = waits.iter().sum::<f64>() / 1000.0;
        assert!((290.0..310.0).contains(&mean), "mean {mean}");
    }

    #[test]
    fn one_wait_is_followed_by_a_longer_one() {
        let mut waits = BACKOFF.waits();
        for (tries, millis) in [(1, 50..=100), (2, 100..=200), (3, 200..=400)] {
            let wait = waits.next_wait().as_millis();
            assert!(millis.contains(&wait) && waits.tries() == tries, "{wait} after {tries}");
        }
    }
}
