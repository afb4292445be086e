//! Bounds of the agenda.

use std::time::Duration;

use crate::agenda::breaker;
use crate::ground::backoff::Backoff;
use crate::parking::Limits;

/// Bounds and times. The defaults suit most services.
#[derive(Debug, Clone, PartialEq)]
pub struct Config {
    /// Tasks read, claimed or committed at once.
    pub batch: usize,
    /// How long a claim lasts. Longer than `timeout` by what a commit may take.
    pub lease: Duration,
    /// How long an attempt may take.
    pub timeout: Duration,
    /// The longest wait that the other side may ask for before the next attempt; what is beyond is cut to it and counted. An answer
    /// of a moment's trouble shall not put a payment off for hours: asked again too early, the other side says so once more.
    pub longest_wait: Duration,
    /// Calls to one target at a time.
    pub bulkhead: usize,
    /// Claims held at a time: running, or ended and not yet committed.
    pub held: usize,
    /// Effects that wait in line for one target; and in all, retries whose time hasn't come.
    pub queue: usize,
    /// Tasks remembered at a time; no more are read beyond it.
    pub known: usize,
    /// Waits between attempts.
    pub backoff: Backoff,
    /// How much may be parked.
    pub parked: Limits,
    /// Waits of tasks that can neither be decided nor parked, and of effects that can't be read.
    pub undecided: Backoff,
    /// When a target's breaker opens and closes.
    pub breaker: breaker::Config,
    /// Between looks when nothing is going on.
    pub idle: Duration,
    /// Between counts of what is open.
    pub sample: Duration,
    /// After the last call ended, how long a shutdown waits for its outcome's commit.
    pub grace: Duration,
}

impl Default for Config {
    fn default() -> Self {
        let (millis, secs) = (Duration::from_millis, Duration::from_secs);
        Self {
            batch: 500,
            lease: secs(30),
            timeout: secs(10),
            longest_wait: secs(300),
            bulkhead: 64,
            held: 2_000,
            queue: 2_000,
            known: 10_000,
            backoff: Backoff { base: millis(100), cap: secs(30) },
            parked: Limits::default(),
            undecided: Backoff { base: secs(1), cap: secs(60) },
            breaker: breaker::Config::default(),
            idle: secs(1),
            sample: secs(15),
            grace: secs(5),
        }
    }
}
