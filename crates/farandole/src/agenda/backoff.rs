//! How long to wait before the next attempt: exponential, with full jitter.
//!
//! Full jitter (a uniform draw from nothing to the ceiling) spreads the retries of tasks that failed together evenly; without
//! it they come back together and fail together. The formula is that of "Exponential Backoff And Jitter", AWS Architecture
//! Blog, 2015.

use std::time::Duration;

use uuid::Uuid;

/// The bounds of the wait.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Backoff {
    /// Ceiling of the first wait; it doubles with each attempt.
    pub base: Duration,
    /// Ceiling of all waits.
    pub cap: Duration,
}

impl Backoff {
    /// The longest wait after `attempt` (1 is the first).
    pub fn ceiling(&self, attempt: u32) -> Duration {
        // 2^20 times any base beyond a microsecond is over a second, and any cap ends it long before it could overflow.
        self.base.saturating_mul(1 << attempt.saturating_sub(1).min(20)).min(self.cap)
    }

    /// The wait after `attempt`, for a `draw` from [0, 1).
    pub fn wait(&self, attempt: u32, draw: f64) -> Duration {
        self.ceiling(attempt).mul_f64(draw.clamp(0.0, 1.0))
    }
}

/// A draw from [0, 1).
pub(crate) fn draw() -> f64 {
    // The first 48 bits of a version 4 UUID are random; f64 holds them exactly.
    (Uuid::new_v4().as_u128() >> 80) as f64 / (1u64 << 48) as f64
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_ceiling_doubles_up_to_the_cap() {
        let backoff = Backoff { base: Duration::from_millis(100), cap: Duration::from_secs(30) };
        for (attempt, millis) in [(0, 100), (1, 100), (2, 200), (3, 400), (9, 25_600), (10, 30_000), (u32::MAX, 30_000)] {
            assert_eq!(backoff.ceiling(attempt), Duration::from_millis(millis), "attempt {attempt}");
        }
    }

    #[test]
    fn the_wait_is_drawn_from_all_of_it() {
        let backoff = Backoff { base: Duration::from_millis(100), cap: Duration::from_secs(30) };
        for (draw, millis) in [(0.0, 0), (0.5, 200), (1.0, 400), (7.0, 400)] {
            assert_eq!(backoff.wait(3, draw), Duration::from_millis(millis), "draw {draw}");
        }
        let draws: Vec<f64> = (0..1000).map(|_| draw()).collect();
        assert!(draws.iter().all(|d| (0.0..1.0).contains(d)));
        let mean = draws.iter().sum::<f64>() / 1000.0;
        assert!((0.4..0.6).contains(&mean), "mean {mean}");
    }
}
