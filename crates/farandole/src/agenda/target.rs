//! What stands between the agenda and one target: a queue, a bulkhead, a breaker.

use std::collections::VecDeque;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Instant;

use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use uuid::Uuid;

use crate::agenda::Config;
use crate::agenda::breaker::Breaker;
use crate::agenda::claims::Claim;
use crate::agenda::metrics;
use crate::engine::tasks::Id;

/// An effect that may be claimed.
#[derive(Debug)]
pub(super) struct Ready<F> {
    pub id: Id,
    pub claim: Claim,
    pub effect: F,
    pub idempotency_key: Uuid,
    pub correlation: Uuid,
    pub traceparent: Option<String>,
}

/// A breaker that the running calls share.
#[derive(Debug, Clone)]
pub(super) struct Shared {
    breaker: Arc<Mutex<Breaker>>,
    /// It has asked for a longer wait than is kept, and that was logged.
    told: Arc<AtomicBool>,
}

impl Shared {
    fn new(breaker: Breaker) -> Self {
        Self { breaker: Arc::new(Mutex::new(breaker)), told: Arc::default() }
    }

    /// Whether this is the first time.
    pub fn is_news(&self) -> bool {
        !self.told.swap(true, Ordering::Relaxed)
    }

    pub fn get(&self) -> MutexGuard<'_, Breaker> {
        // A breaker is whole between its calls, none of which can panic half way.
        self.breaker.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// One target.
#[derive(Debug)]
pub(super) struct Target<F> {
    name: &'static str,
    queue: VecDeque<Ready<F>>,
    limit: usize,
    bulkhead: Arc<Semaphore>,
    size: usize,
    pub breaker: Shared,
}

impl<F> Target<F> {
    pub fn new(name: &'static str, config: &Config, now: Instant) -> Self {
        Self {
            name,
            queue: VecDeque::new(),
            limit: config.queue,
            bulkhead: Arc::new(Semaphore::new(config.bulkhead)),
            size: config.bulkhead,
            breaker: Shared::new(Breaker::new(config.breaker, now)),
        }
    }

    /// Queues it, unless the queue is full.
    pub fn push(&mut self, ready: Ready<F>) -> Result<(), Id> {
        if self.queue.len() >= self.limit {
            return Err(ready.id);
        }
        self.queue.push_back(ready);
        Ok(())
    }

    /// Whether it is worth reading more for it.
    pub fn has_room(&self) -> bool {
        self.queue.len() <= self.limit / 2
    }

    /// Whether its queue gets shorter soon, as far as is known.
    pub fn is_up(&self) -> bool {
        self.breaker.get().number() == 0.0
    }

    /// What may start now, each with its place in the bulkhead. A retry waits in line like a first attempt: what it may add to the
    /// target's load is bounded by its pauses, and by the breaker, which opens where half of all calls fail.
    pub fn take(&mut self, now: Instant, most: usize) -> Vec<(Ready<F>, OwnedSemaphorePermit)> {
        let mut breaker = self.breaker.get();
        let allowed = breaker.allows(now, self.size - self.bulkhead.available_permits());
        metrics::BREAKER_STATE.set(breaker.number(), [self.name.into()]);
        drop(breaker);
        let most = most.min(allowed);
        let mut taken = Vec::new();
        while taken.len() < most {
            let Ok(place) = Arc::clone(&self.bulkhead).try_acquire_owned() else { break };
            let Some(ready) = self.queue.pop_front() else { break };
            taken.push((ready, place));
        }
        taken
    }

    /// When something queued may start that can't now, other than by the end of a call.
    pub fn next(&self) -> Option<Instant> {
        if self.queue.is_empty() { None } else { self.breaker.get().reopens() }
    }
}
