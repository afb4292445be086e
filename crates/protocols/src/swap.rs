//! The swap of a rebuild: writers, the relay, a rebuild that follows the topic beside them, the swap, readers, and a rollback.
//!
//! Two tables; each event is a row in both. A name is looked up by each statement, and who uses a table has its lock until the transaction
//! ends, so that a rename waits. The relay's round is a model of its own ([`relay`](crate::relay)): here a row is published in one step.

mod steps;
mod world;

use stateright::{Model, Property};

use crate::explore;
use crate::explore::{Found, Protocol, Seen};
use world::{BESIDE, BROKEN, NOT_ROLLED_BACK, Phase, REFUSED, RESUMED, ROLLED_BACK, Rows, SWAPPED, WRITERS, Writer};

pub use steps::{Act, Swaps};
pub use world::{Guards, World};

/// The kit's lines that the steps stand for.
pub const STANDS_FOR: &[(&str, &str)] = &[
    ("crates/outbox/src/database/gate.rs", "select pg_advisory_xact_lock_shared("),
    ("crates/outbox/src/database/gate.rs", "select pg_advisory_lock("),
    (
        "crates/farandole/src/engine/transaction.rs",
        "let tx = if source.comes_again() { begin_repeatable(conn).await } else { begin(conn).await };",
    ),
    ("crates/farandole/src/rebuild/read.rs", "walk: Walk,"),
    ("crates/farandole/src/rebuild/writer.rs", "out.write(&mut tx).await?;"),
    ("crates/farandole/src/rebuild/folding.rs", "let alone = swap::Alone::take(&mut self.conn, P::NAME).await?;"),
    ("crates/farandole/src/rebuild/folding.rs", "swap::drained(&mut self.conn, P::NAME, &self.topic).await?;"),
    (
        "crates/farandole/src/rebuild/folding.rs",
        "swap::complete(&mut self.conn, P::NAME, &self.topic, (&self.shadow.marks, None)).await?;",
    ),
    ("crates/farandole/src/rebuild/swap.rs", "if rows == 0 && look.state.in_flight.is_none()"),
    ("crates/farandole/src/rebuild/swap.rs", "alter table {live}.{table} set schema {replaced}"),
    ("crates/farandole/src/rebuild/kept.rs", "if written > 0 && !lose"),
    ("crates/farandole/src/rebuild.rs", "report.paused(alone.give(&mut conn).await?);"),
];

/// Explores it.
pub fn explore(guards: Guards) -> Found {
    let seen = || Seen::new(&[SWAPPED, RESUMED, REFUSED, BROKEN, ROLLED_BACK, NOT_ROLLED_BACK, BESIDE]);
    explore::explore(|| Swaps { guards, seen: seen() })
}

/// The live tables hold each event that was committed, once.
pub const WHOLE: &str = "the live tables hold each committed event once";

/// A reader's transaction sees one set of tables.
pub const ONE_GENERATION: &str = "a reader sees tables of one generation";

impl Model for Swaps {
    type State = World;
    type Action = Act;

    fn init_states(&self) -> Vec<World> {
        vec![World {
            writers: [Writer::Waiting; WRITERS],
            sets: vec![Rows::default()],
            live: [0; 2],
            outbox: Vec::new(),
            published: 0,
            topic: Vec::new(),
            shadow: None,
            rebuild: None,
            replaced: None,
            reader: None,
            torn: false,
            rebuilds: 2,
            reads: 1,
            crashes: 1,
            losses: 1,
            rollbacks: 1,
        }]
    }

    fn actions(&self, world: &World, acts: &mut Vec<Act>) {
        let is_kept_out = self.guards.shared_gate && self.guards.alone && world.is_gate_taken();
        let waits = |gate: bool| self.guards.shared_gate && gate && world.is_open();
        for (at, writer) in world.writers.iter().enumerate() {
            match writer {
                // They are alike: the first that hasn't begun does.
                Writer::Waiting if is_kept_out || world.writers[..at].contains(&Writer::Waiting) => {}
                Writer::Waiting => acts.push(Act::Begin(at)),
                Writer::Begun => acts.push(Act::Write(at)),
                Writer::Wrote(_) => acts.push(Act::Commit(at)),
                Writer::Committed => {}
            }
        }
        if world.published < world.outbox.len() {
            acts.push(Act::Publish);
        }
        if world.losses > 0 && !world.topic.is_empty() {
            acts.push(Act::LoseEnd);
        }
        let is_behind = world.shadow.is_some_and(|shadow| shadow.folded < world.topic.len());
        match world.rebuild {
            None => acts.extend((world.rebuilds > 0).then_some(Act::Rebuild)),
            Some(Phase::Following) => {
                acts.extend((!waits(self.guards.alone)).then_some(Act::TakeGate));
            }
            Some(Phase::Alone) => {
                acts.extend((!self.guards.drained || world.published == world.outbox.len()).then_some(Act::Drain));
            }
            Some(Phase::Drained) => acts.extend((!is_behind).then_some(Act::Compare)),
            Some(Phase::Complete) => acts.push(Act::Swap),
            Some(Phase::Half) => acts.push(Act::SwapSecond),
            Some(Phase::Swapped) => acts.push(Act::GiveGate),
        }
        let folds = matches!(world.rebuild, Some(Phase::Following | Phase::Drained)) && is_behind;
        acts.extend(folds.then_some(Act::Fold));
        if world.crashes > 0 && world.rebuild.is_some() {
            acts.push(Act::Crash);
            acts.extend((folds && !self.guards.rows_with_marks).then_some(Act::HalfFold));
        }
        if world.rollbacks > 0 && world.rebuild.is_none() && world.replaced.is_some() && !waits(true) {
            acts.push(Act::RollBack);
        }
        match world.reader {
            None if world.reads > 0 => acts.push(Act::Read),
            None => {}
            Some(_) => acts.push(Act::ReadSecond),
        }
    }

    fn next_state(&self, last: &World, act: Act) -> Option<World> {
        let mut world = last.clone();
        match act {
            Act::Begin(at) => world.writers[at] = Writer::Begun,
            Act::Write(at) => world.writers[at] = Writer::Wrote(world.live),
            Act::Commit(at) => {
                let Writer::Wrote(sets) = world.writers[at] else { return None };
                for (table, set) in sets.into_iter().enumerate() {
                    world.sets[set][table].push(at);
                }
                world.writers[at] = Writer::Committed;
                world.outbox.push(at);
                if sets != [0; 2] {
                    self.seen.note(SWAPPED);
                }
            }
            Act::Publish => {
                world.topic.push(world.outbox[world.published]);
                world.published += 1;
            }
            Act::LoseEnd => {
                world.losses -= 1;
                world.topic.pop();
            }
            Act::RollBack => self.roll_back(&mut world)?,
            Act::Read => {
                world.reads -= 1;
                world.reader = Some(world.live[0]);
            }
            Act::ReadSecond => {
                world.torn |= world.reader.take() != Some(world.live[1]);
            }
            ref act => self.rebuilding(&mut world, act)?,
        }
        Some(world)
    }

    fn properties(&self) -> Vec<Property<Self>> {
        explore::properties()
    }
}

impl Protocol for Swaps {
    fn invariants() -> Vec<Property<Self>> {
        vec![
            Property::always(WHOLE, |_, world: &World| {
                let mut committed = world.outbox.clone();
                committed.sort_unstable();
                world.live.iter().enumerate().all(|(table, set)| {
                    let mut rows = world.sets[*set][table].clone();
                    rows.sort_unstable();
                    rows == committed
                })
            }),
            Property::always(ONE_GENERATION, |_, world: &World| !world.torn),
        ]
    }

    fn is_finished(&self, world: &World) -> bool {
        let is_done = world.outbox.len() == WRITERS && world.published == WRITERS;
        is_done && world.rebuild.is_none() && world.live[0] == world.live[1]
    }

    fn seen(&self) -> &Seen {
        &self.seen
    }
}
