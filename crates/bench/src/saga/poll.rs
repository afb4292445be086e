//! When an order's page says that it is confirmed: asked every 5 ms, and more rarely the longer it takes, of a few orders a second.
//!
//! Few, whatever the rate is, so that looking doesn't become a load of its own. The stream of an order's events looks at the database
//! five times a second only, so it would measure that.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use anyhow::ensure;
use tokio_util::task::TaskTracker;
use uuid::Uuid;

use super::http::Server;
use super::spread::Spread;

/// Orders a second that are looked at.
const SAMPLED: f64 = 2.0;
/// Between two looks, and as a share of the time that has passed: a slow shop isn't asked hundreds of times.
const LOOK: Duration = Duration::from_millis(5);
const SHARE: u32 = 20;
/// How long an order is looked at.
const PATIENCE: Duration = Duration::from_secs(60);
/// What an answer holds once it is confirmed, or completed.
const CONFIRMED: [&[u8]; 2] = [br#""state":"confirmed""#, br#""state":"completed""#];

/// All looks of a run.
pub struct Polls {
    orders: Arc<Server>,
    every: u64,
    from: Instant,
    tasks: TaskTracker,
    times: Mutex<Vec<Option<Duration>>>,
}

impl Polls {
    /// Of orders that are due from `from` on, at `rate` a second.
    pub fn new(orders: Arc<Server>, rate: f64, from: Instant) -> Arc<Self> {
        let every = (rate / SAMPLED).ceil().max(1.0) as u64;
        Arc::new(Self { orders, every, from, tasks: TaskTracker::new(), times: Mutex::default() })
    }

    /// Looks at order `k` if it is one of the few.
    pub fn offer(self: &Arc<Self>, k: u64, id: Uuid, due: Instant) {
        if !k.is_multiple_of(self.every) || due < self.from {
            return;
        }
        let polls = Arc::clone(self);
        self.tasks.spawn(async move {
            let time = polls.one(id, due).await;
            polls.times.lock().unwrap_or_else(PoisonError::into_inner).push(time);
        });
    }

    async fn one(&self, id: Uuid, due: Instant) -> Option<Duration> {
        let path = format!("/orders/{id}");
        while due.elapsed() < PATIENCE {
            let answer = self.orders.get(&path).await.ok()?;
            if CONFIRMED.iter().any(|state| answer.body.windows(state.len()).any(|part| part == *state)) {
                return Some(due.elapsed());
            }
            tokio::time::sleep(LOOK.max(due.elapsed() / SHARE)).await;
        }
        None
    }

    /// Waits for those that are looked at, and says how long they took.
    ///
    /// # Errors
    /// When one was never confirmed there.
    pub async fn finish(&self) -> anyhow::Result<Spread> {
        self.tasks.close();
        self.tasks.wait().await;
        let times = std::mem::take(&mut *self.times.lock().unwrap_or_else(PoisonError::into_inner));
        let lost = times.iter().filter(|time| time.is_none()).count();
        ensure!(lost == 0, "{lost} of {} orders that were looked at by HTTP didn't become confirmed there", times.len());
        Spread::of(times.into_iter().flatten())
    }
}
