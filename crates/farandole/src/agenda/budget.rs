//! The retry budget of a target: retries are a fraction of first attempts, plus a floor.
//!
//! Backoff alone spaces the retries of one task; with enough failing tasks they still add up to a storm that keeps a target
//! down after the cause is gone. A token bucket that fills with first attempts bounds the sum (the idea is Finagle's
//! `RetryBudget`). The floor lets a target that gets little traffic recover too.

use std::time::{Duration, Instant};

/// What fills the bucket.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Config {
    /// Retries that each first attempt pays for.
    pub fraction: f64,
    /// Retries a second that need no first attempts.
    pub floor: f64,
    /// The most that can be saved up, in seconds of the floor.
    pub window: Duration,
}

impl Default for Config {
    fn default() -> Self {
        Self { fraction: 0.1, floor: 10.0, window: Duration::from_secs(10) }
    }
}

/// The bucket.
#[derive(Debug)]
pub(super) struct Budget {
    config: Config,
    tokens: f64,
    filled: Instant,
}

impl Budget {
    /// A bucket with one second of the floor in it.
    pub fn new(config: Config, now: Instant) -> Self {
        Self { config, tokens: config.floor, filled: now }
    }

    /// A first attempt was made.
    pub fn attempted(&mut self) {
        self.add(self.config.fraction);
    }

    /// How many retries may be made now.
    pub fn allows(&mut self, now: Instant) -> usize {
        let since = now.saturating_duration_since(self.filled);
        self.filled = now;
        self.add(since.as_secs_f64() * self.config.floor);
        // A float cast saturates, and tokens are never negative.
        self.tokens as usize
    }

    /// A retry was made.
    pub fn spend(&mut self) {
        self.tokens = (self.tokens - 1.0).max(0.0);
    }

    fn add(&mut self, tokens: f64) {
        let most = (self.config.floor * self.config.window.as_secs_f64()).max(1.0);
        self.tokens = (self.tokens + tokens).min(most);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// (first attempts, then seconds waited) → retries allowed, from an empty bucket.
    #[test]
    fn a_tenth_of_first_attempts_and_the_floor() {
        for (attempts, seconds, allowed) in
            [(0, 0.0, 0), (9, 0.0, 0), (100, 0.0, 10), (0, 1.0, 10), (100, 1.0, 20), (0, 3600.0, 100)]
        {
            let start = Instant::now();
            let mut budget = Budget::new(Config::default(), start);
            while budget.allows(start) > 0 {
                budget.spend();
            }
            (0..attempts).for_each(|_| budget.attempted());
            let later = start + Duration::from_secs_f64(seconds);
            // A hair for 100 additions of a tenth.
            budget.add(1e-9);
            assert_eq!(budget.allows(later), allowed, "{attempts} attempts, {seconds} s");
        }
    }

    #[test]
    fn a_storm_gets_no_more_than_its_share() {
        let start = Instant::now();
        let mut budget = Budget::new(Config::default(), start);
        let mut retries = 0;
        // 1000 first attempts a second for ten seconds; everything wants to be retried all the time.
        for tick in 0..10_000u64 {
            budget.attempted();
            while budget.allows(start + Duration::from_millis(tick)) > 0 {
                budget.spend();
                retries += 1;
            }
        }
        assert!((1_050..=1_115).contains(&retries), "{retries}");
    }
}
