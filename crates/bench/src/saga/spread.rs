//! Times, as a histogram of high dynamic range: three digits, from a microsecond to an hour.

use std::time::Duration;

use anyhow::Context as _;
use hdrhistogram::Histogram;
use serde_json::{Value, json};

/// The longest that is told apart.
const LONGEST_US: u64 = 3_600_000_000;

/// Many times of one kind.
#[derive(Debug, Clone)]
pub struct Spread(Histogram<u64>);

impl Spread {
    /// None yet.
    ///
    /// # Errors
    /// Never, with these bounds.
    pub fn new() -> anyhow::Result<Self> {
        Ok(Self(Histogram::new_with_bounds(1, LONGEST_US, 3).context("making a histogram")?))
    }

    /// Of all of them.
    ///
    /// # Errors
    /// As [`new`](Self::new).
    pub fn of(times: impl IntoIterator<Item = Duration>) -> anyhow::Result<Self> {
        let mut spread = Self::new()?;
        times.into_iter().for_each(|time| spread.add(time));
        Ok(spread)
    }

    /// One more.
    pub fn add(&mut self, time: Duration) {
        self.0.saturating_record(u64::try_from(time.as_micros()).unwrap_or(LONGEST_US).max(1));
    }

    /// One more, of microseconds. What comes out below 0 is the clocks' grain, and counts as none.
    pub fn add_micros(&mut self, micros: i64) {
        self.0.saturating_record(u64::try_from(micros).unwrap_or(0).max(1));
    }

    /// How many there are.
    pub fn count(&self) -> u64 {
        self.0.len()
    }

    /// Milliseconds below which `share` of them lie.
    pub fn ms(&self, share: f64) -> f64 {
        self.0.value_at_quantile(share) as f64 / 1e3
    }

    /// Their mean, in milliseconds.
    pub fn mean_ms(&self) -> f64 {
        self.0.mean() / 1e3
    }

    /// p50, p90, p99, p99.9 and the most, in milliseconds.
    pub fn five(&self) -> [f64; 5] {
        [self.ms(0.5), self.ms(0.9), self.ms(0.99), self.ms(0.999), self.0.max() as f64 / 1e3]
    }

    /// The same by name.
    pub fn json(&self) -> Value {
        let [p50, p90, p99, p999, max] = self.five();
        let mean = self.mean_ms();
        json!({ "n": self.count(), "mean_ms": mean, "p50_ms": p50, "p90_ms": p90, "p99_ms": p99, "p99.9_ms": p999, "max_ms": max })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn quantiles_of_a_hundred_times() {
        let spread = Spread::of((1..=100).map(Duration::from_millis)).unwrap();
        let [p50, p90, p99, _, max] = spread.five();
        for (is, due) in [(p50, 50.0), (p90, 90.0), (p99, 99.0), (max, 100.0), (spread.mean_ms(), 50.5)] {
            assert!((is - due).abs() / due < 0.002, "{is} for {due}");
        }
    }
}
