//! One target: who is in line for it, the bulkhead and the breaker before it.

use std::collections::VecDeque;
use std::time::Instant;

use uuid::Uuid;

use crate::agenda::Config;
use crate::agenda::breaker::Breaker;
use crate::agenda::claims::Claim;
use crate::engine::tasks::Id;
use crate::participant::Participant;

/// An effect that may be claimed.
#[derive(Debug)]
pub(super) struct Ready<F> {
    pub id: Id,
    /// Whom it calls.
    pub target: &'static str,
    pub claim: Claim,
    pub effect: F,
    pub idempotency_key: Uuid,
    pub correlation: Uuid,
    pub traceparent: Option<String>,
}

/// An effect, and what it is about.
#[derive(Debug)]
pub(super) struct Asked<P: Participant> {
    pub about: P::Id,
    pub effect: P::Effect,
}

/// One target.
#[derive(Debug)]
pub(super) struct Target<F> {
    pub line: VecDeque<Ready<F>>,
    /// How long the line may be.
    queue: usize,
    /// Calls that run, or are being claimed.
    pub running: usize,
    /// How many may.
    bulkhead: usize,
    pub breaker: Breaker,
}

impl<F> Target<F> {
    pub fn new(config: &Config, now: Instant) -> Self {
        let Config { queue, bulkhead, breaker, .. } = *config;
        Self { line: VecDeque::new(), queue, running: 0, bulkhead, breaker: Breaker::new(breaker, now) }
    }

    /// Whether it is worth reading more for it.
    pub fn has_room(&self) -> bool {
        self.line.len() <= self.queue / 2
    }

    /// Whether its line gets shorter soon, as far as is known.
    pub fn is_up(&self) -> bool {
        self.breaker.number() == 0.0
    }

    /// What may start now, at most `most`. A retry waits in line like a first attempt: what it may add to the target's load is
    /// bounded by its pauses, and by the breaker, which opens where half of all calls fail.
    pub fn start(&mut self, now: Instant, most: usize) -> impl Iterator<Item = Ready<F>> {
        let allowed = self.breaker.allows(now, self.running).min(self.bulkhead - self.running);
        let some = most.min(allowed).min(self.line.len());
        self.running += some;
        self.line.drain(..some)
    }

    /// When something in line may start that can't now, other than by the end of a call.
    pub fn reopens(&self) -> Option<Instant> {
        if self.line.is_empty() { None } else { self.breaker.reopens() }
    }
}
