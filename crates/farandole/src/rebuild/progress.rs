//! How far a rebuild is: a line now and then.

use std::time::{Duration, Instant};

/// Between two lines.
const EVERY: Duration = Duration::from_secs(5);

/// What was folded so far.
#[derive(Debug)]
pub(super) struct Progress {
    topic: String,
    /// Records that there were at the beginning.
    all: u64,
    began: Instant,
    told: Instant,
    records: u64,
    pub events: u64,
}

impl Progress {
    pub fn new(topic: &str, all: i64) -> Self {
        let now = Instant::now();
        Self { topic: topic.to_owned(), all: u64::try_from(all).unwrap_or(0), began: now, told: now, records: 0, events: 0 }
    }

    pub fn folded(&mut self, events: usize, records: u64) {
        self.events += events as u64;
        self.records += records;
        if self.told.elapsed() < EVERY {
            return;
        }
        self.told = Instant::now();
        let rate = self.records as f64 / self.began.elapsed().as_secs_f64();
        let left = self.all.saturating_sub(self.records);
        tracing::info!(
            topic = self.topic,
            records = self.records,
            of = self.all,
            per_second = rate as u64,
            seconds_left = (left as f64 / rate.max(1.0)) as u64,
            "folding"
        );
    }
}
