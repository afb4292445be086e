//! How far a rebuild is: a bar at a terminal, elsewhere a line now and then.

use std::io::Write as _;
use std::time::{Duration, Instant};

/// Between two lines.
const EVERY: Duration = Duration::from_secs(5);
/// Between two looks of a bar.
const BLINK: Duration = Duration::from_millis(200);
/// Letters of a bar.
const WIDTH: u64 = 30;

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
    bar: bool,
}

impl Progress {
    /// Of a topic with so many records left; as a bar on standard error, or as lines of the log.
    pub fn new(topic: &str, all: i64, bar: bool) -> Self {
        let (now, all) = (Instant::now(), u64::try_from(all).unwrap_or(0));
        Self { topic: topic.to_owned(), all, began: now, told: now, records: 0, events: 0, bar }
    }

    pub fn folded(&mut self, events: usize, records: u64) {
        self.events += events as u64;
        self.records += records;
        if self.told.elapsed() < if self.bar { BLINK } else { EVERY } {
            return;
        }
        self.told = Instant::now();
        let (per_second, seconds_left) = pace(self.records, self.all, self.began.elapsed());
        let Self { topic, records, all, .. } = self;
        if self.bar {
            show(&bar(topic, *records, *all, per_second, seconds_left));
        } else {
            tracing::info!(topic, records, of = *all, per_second, seconds_left, "folding");
        }
    }

    /// What comes next, once records are folded.
    pub fn next(&self, doing: &str) {
        if self.bar {
            show("");
        }
        tracing::info!(topic = self.topic, events = self.events, "{doing}");
    }
}

/// Records a second, and the seconds that the others will take.
fn pace(records: u64, all: u64, took: Duration) -> (u64, u64) {
    let rate = records as f64 / took.as_secs_f64().max(0.001);
    (rate as u64, (all.saturating_sub(records) as f64 / rate.max(1.0)) as u64)
}

fn bar(topic: &str, records: u64, all: u64, per_second: u64, seconds_left: u64) -> String {
    // While it is followed, a topic may get more records than there were.
    let all = all.max(records).max(1);
    let full = usize::try_from(records * WIDTH / all).unwrap_or(0);
    let bar = "#".repeat(full) + &".".repeat(WIDTH as usize - full);
    format!("{topic} [{bar}] {} % of {all}, {per_second}/s, {seconds_left} s left", records * 100 / all)
}

/// Puts `line` in place of what was shown. Nobody is there to be told if that fails.
fn show(line: &str) {
    let _ = write!(std::io::stderr(), "\r\x1b[K{line}");
}

impl Drop for Progress {
    fn drop(&mut self) {
        if self.bar {
            show("");
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_bar_says_how_far_how_fast_and_how_long() {
        let (rate, left) = pace(2_500_000, 10_000_000, Duration::from_secs(20));
        assert_eq!((rate, left), (125_000, 60));
        let shown = bar("orders", 2_500_000, 10_000_000, rate, left);
        assert_eq!(shown, "orders [#######.......................] 25 % of 10000000, 125000/s, 60 s left");
        assert_eq!(pace(0, 7, Duration::ZERO), (0, 7));
        for (records, all) in [(0, 0), (0, 1), (1, 1), (9, 3)] {
            let shown = bar("t", records, all, 0, 0);
            assert_eq!(shown.chars().filter(|c| "#.".contains(*c)).count(), 30, "{shown}");
        }
    }
}
