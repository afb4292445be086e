//! State machine of the effects that this worker holds, and what it does next with each. No clock, no database, no runtime: news
//! goes in with the time, what to claim and start comes out, and tables test it.
//!
//! ```text
//! found ─► lined up ─► called ─► written ─► gone
//!              ▲          │         │
//!              │          ▼         ▼
//!              │        gone     waiting
//!              └────────────────────┘
//! ```
//!
//! *Called*: its claim is asked for, or its call runs; it has a place in the target's bulkhead and one among the claims held. If it
//! wasn't claimed, or nobody knows whether it was, it is gone. *Written*: its call has ended, and what came of it is being written; its
//! place in the bulkhead is free, its claim still held. *Gone*: forgotten, and looked at anew if a page shows it again. So is what is
//! beyond the bounds of a line or of what waits.
//!
//! **Which counts, the rows or this?** The rows. Between workers and after a restart there is nothing else, and what is here calls
//! nobody without a claim and decides nothing without one: a claim follows the newest step of a task that is there, or isn't had.
//! So what was closed, or went to another worker, while it was lined up or waited here, is gone at its next attempt, and has cost
//! a place in line until then. In one thing this counts: a page's row that is in hand is passed over. By the row it may be claimed,
//! since a lease or a wait is over by the database's clock; but here its call still runs, its outcome is being written, or its turn
//! comes. They can't disagree for long, since every stage ends: a line when its target takes calls, a call at its timeout, writing
//! with the commit or when that is given up, a wait at its time. And nothing is in hand but in a stage.
//!
//! **How it would fail without**
//! - *The end of a call is told before what came of it is written.* Otherwise a target that answers waits for our database; or, if that
//!   freed the claim's place as well, outcomes that can't be written would pile up without bound.
//! - *News of what wasn't started changes nothing.* Otherwise an end that is told twice frees another call's place, and the target gets
//!   more calls than its bulkhead lets through.

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;
use std::time::{Duration, Instant};

use crate::agenda::Config;
use crate::agenda::target::{Ready, Target};
use crate::engine::tasks::Id;
use crate::ground::time::LONGEST;

#[cfg(test)]
mod properties;
#[cfg(test)]
mod tests;

/// How far an effect is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Stage {
    /// It is in its target's line.
    LinedUp,
    /// Its claim is asked for, or its call runs, at this target.
    Called(&'static str),
    /// What came of the call is being written.
    Written,
    /// For its next attempt.
    Waiting,
}

/// Reading goes no further while a line is full, or what has no room would wait for the next sweep. But not for long, since
/// behind it may be something for another target.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Stall {
    /// Nothing was too much since the beginning of this pass through the tasks.
    No,
    /// Until there is room, or until then.
    Until(Instant),
    /// It was long enough for this pass.
    Over,
}

/// The longest stall of a pass.
const STALL: Duration = Duration::from_secs(1);

/// The machine.
#[derive(Debug)]
pub(super) struct Schedule<F> {
    config: Arc<Config>,
    /// All that is in hand.
    stages: HashMap<Id, Stage>,
    /// With what is lined up.
    targets: BTreeMap<&'static str, Target<F>>,
    /// What waits, by when it is lined up again. The number tells apart what is at once.
    waiting: BTreeMap<(Instant, u64), Ready<F>>,
    number: u64,
    /// How many are called or written.
    held: usize,
    stall: Stall,
}

impl<F> Schedule<F> {
    pub fn new(config: Arc<Config>) -> Self {
        let (stages, targets, waiting) = (HashMap::new(), BTreeMap::new(), BTreeMap::new());
        Self { config, stages, targets, waiting, number: 0, held: 0, stall: Stall::No }
    }

    /// Whether it is in hand.
    pub fn knows(&self, id: &Id) -> bool {
        self.stages.contains_key(id)
    }

    /// Whether a page may be read.
    pub fn may_look(&mut self, now: Instant) -> bool {
        if let Stall::Until(end) = self.stall {
            if self.targets.values().all(|target| target.has_room() || !target.is_up()) {
                self.stall = Stall::No;
            } else if now >= end {
                self.stall = Stall::Over;
            } else {
                return false;
            }
        }
        self.stages.len() < self.config.known
    }

    /// A page was read; it is `full` if there may be more behind. Says whether it is to be read once more, since for some of it there
    /// will soon be room.
    pub fn found(&mut self, now: Instant, page: Vec<Ready<F>>, full: bool) -> bool {
        self.ripen(now);
        let mut too_much = false;
        for ready in page {
            too_much |= !self.knows(&ready.id) && !self.line_up(now, ready);
        }
        if too_much && self.stall == Stall::No {
            self.stall = Stall::Until(now + STALL);
            return true;
        }
        if !full {
            self.stall = Stall::No;
        }
        false
    }

    /// What is to be claimed and started now, at most `most`: as far as places among the claims held, bulkheads and breakers go.
    pub fn start(&mut self, now: Instant, most: usize) -> Vec<Ready<F>> {
        self.ripen(now);
        let mut most = most.min(self.config.held.saturating_sub(self.held));
        let mut started = Vec::new();
        for target in self.targets.values_mut() {
            let before = started.len();
            started.extend(target.start(now, most));
            most -= started.len() - before;
        }
        for ready in &started {
            self.stages.insert(ready.id.clone(), Stage::Called(ready.target));
        }
        self.held += started.len();
        started
    }

    /// A call ended, well or not; or in a way that says nothing of its target, and that its breaker isn't told.
    pub fn ended(&mut self, now: Instant, id: &Id, well: Option<bool>) {
        let Some(stage) = self.stages.get_mut(id) else { return };
        if let Stage::Called(target) = *stage
            && let Some(target) = self.targets.get_mut(target)
        {
            *stage = Stage::Written;
            target.running -= 1;
            if let Some(well) = well {
                let (high, low) = id.cause.as_u64_pair();
                target.breaker.ended(now, well, high ^ low);
            }
        }
    }

    /// What was started isn't this worker's any more, or never was, or nobody knows.
    pub fn gone(&mut self, id: &Id) {
        self.let_go(id);
    }

    /// What came of a call is written: it is made again after this wait.
    pub fn again(&mut self, now: Instant, ready: Ready<F>, after: Duration) {
        if self.let_go(&ready.id) && self.waiting.len() < self.config.queue {
            self.number += 1;
            self.stages.insert(ready.id.clone(), Stage::Waiting);
            self.waiting.insert((now + after.min(LONGEST), self.number), ready);
        }
    }

    /// When something may start that couldn't at the last [`Self::start`], other than by news.
    pub fn wake_at(&self) -> Option<Instant> {
        let retry = self.waiting.keys().next().map(|(at, _)| *at);
        self.targets.values().filter_map(Target::reopens).chain(retry).min()
    }

    /// For the gauge: each target's breaker.
    pub fn breakers(&self) -> impl Iterator<Item = (&'static str, f64)> {
        self.targets.iter().map(|(name, target)| (*name, target.breaker.number()))
    }

    /// Lines up those whose wait is over, before what is found later.
    fn ripen(&mut self, now: Instant) {
        let rest = self.waiting.split_off(&(now, u64::MAX));
        for ready in std::mem::replace(&mut self.waiting, rest).into_values() {
            self.line_up(now, ready);
        }
    }

    /// Whether it was lined up, or will be found by the next sweep in good time: its target takes no calls now. Beyond a line's
    /// bound it is forgotten.
    fn line_up(&mut self, now: Instant, ready: Ready<F>) -> bool {
        let target = self.targets.entry(ready.target).or_insert_with(|| Target::new(&self.config, now));
        // Of a target that takes no calls a few are enough to probe it with: more would fill what is remembered, and leave no room to
        // find what is for the others.
        let room = if target.is_up() { self.config.queue } else { self.config.bulkhead.min(self.config.queue) };
        if target.line.len() >= room {
            self.stages.remove(&ready.id);
            return !target.is_up();
        }
        self.stages.insert(ready.id.clone(), Stage::LinedUp);
        target.line.push_back(ready);
        true
    }

    /// Gives its places back; says whether it had any.
    fn let_go(&mut self, id: &Id) -> bool {
        match self.stages.get(id) {
            Some(Stage::Called(target)) => {
                if let Some(target) = self.targets.get_mut(target) {
                    target.running -= 1;
                }
            }
            Some(Stage::Written) => {}
            Some(Stage::LinedUp | Stage::Waiting) | None => return false,
        }
        self.stages.remove(id);
        self.held -= 1;
        true
    }
}
