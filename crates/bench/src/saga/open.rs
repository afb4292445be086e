//! Arrivals at a fixed rate that wait for nobody: request `k` is due at `k / rate` whatever became of those before it, and its time
//! counts from when it was due. So a system that stands still for a second isn't spared the requests of that second.
//!
//! What is outstanding has a bound, below what the services take at once; a request that meets it waits, and is counted: its time runs.

use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use anyhow::Context as _;
use tokio::runtime::Handle;
use tokio::sync::Semaphore;
use tokio_util::task::TaskTracker;

/// Requests at once. A service takes 1,024 unless told otherwise; the rest is for looking at orders meanwhile.
pub const MOST: usize = 960;

/// What was sent.
#[derive(Debug, Clone)]
pub struct Sent<T> {
    pub due: Instant,
    pub answered: Instant,
    /// What was answered; or why nothing was.
    pub answer: Result<T, String>,
}

/// What is known of a load while it runs.
#[derive(Debug, Default)]
pub struct Progress {
    pub answered: AtomicU64,
    pub refused: AtomicU64,
    /// Those that were due while as many as there may be were outstanding.
    pub held_back: AtomicU64,
    /// Once set, nothing more is sent.
    pub stopped: std::sync::atomic::AtomicBool,
}

/// When it begins, and how fast it is.
#[derive(Debug, Clone, Copy)]
pub struct Schedule {
    pub start: Instant,
    /// Requests a second.
    pub rate: f64,
    pub count: u64,
}

impl Schedule {
    /// `count` requests, the first of them in a moment.
    pub fn new(rate: f64, count: u64) -> Self {
        Self { start: Instant::now() + Duration::from_millis(20), rate, count }
    }

    /// When request `k` is due.
    pub fn due(&self, k: u64) -> Instant {
        self.start + Duration::from_secs_f64(k as f64 / self.rate)
    }
}

/// Sends what `one` makes of each number, when it is due, and returns all of it once the last is answered.
///
/// # Errors
/// When the thread that keeps the time ends early.
pub async fn run<T, F>(
    schedule: Schedule,
    progress: Arc<Progress>,
    one: impl Fn(u64) -> F + Send + Sync + 'static,
) -> anyhow::Result<Vec<Sent<T>>>
where
    T: Send + 'static,
    F: Future<Output = anyhow::Result<T>> + Send + 'static,
{
    let all: Arc<Mutex<Vec<Sent<T>>>> = Arc::default();
    let (places, tasks, runtime) = (Arc::new(Semaphore::new(MOST)), TaskTracker::new(), Handle::current());
    let (gathered, tracked) = (Arc::clone(&all), tasks.clone());
    // A thread's sleep is exact to some tens of microseconds, a timer of the runtime only to a millisecond.
    let sent = tokio::task::spawn_blocking(move || {
        for k in 0..schedule.count {
            let due = schedule.due(k);
            std::thread::sleep(due.saturating_duration_since(Instant::now()));
            if progress.stopped.load(Relaxed) {
                break;
            }
            let (places, progress, gathered) = (Arc::clone(&places), Arc::clone(&progress), Arc::clone(&gathered));
            let request = one(k);
            let task = async move {
                if places.available_permits() == 0 {
                    progress.held_back.fetch_add(1, Relaxed);
                }
                // It is never closed.
                let _place = places.acquire().await;
                let answer = request.await.map_err(|error| format!("{error:#}"));
                let answered = Instant::now();
                let counter = if answer.is_ok() { &progress.answered } else { &progress.refused };
                counter.fetch_add(1, Relaxed);
                gathered.lock().unwrap_or_else(PoisonError::into_inner).push(Sent { due, answered, answer });
            };
            runtime.spawn(tracked.track_future(task));
        }
    });
    sent.await.context("the thread that keeps the time")?;
    tasks.close();
    tasks.wait().await;
    let all = std::mem::take(&mut *all.lock().unwrap_or_else(PoisonError::into_inner));
    Ok(all)
}
