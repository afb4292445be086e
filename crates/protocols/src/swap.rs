//! The swap of a rebuild: writers, the relay, a rebuild that follows the topic beside them, the swap, readers, and a rollback.
//!
//! Two tables; each event is a row in both. A name is looked up by each statement, and who uses a table has its lock until the transaction
//! ends, so that a rename waits. The relay's round is a model of its own ([`relay`](crate::relay)): here a row is published in one step.

use stateright::{Model, Property};

use crate::explore::{self, Found, Protocol, Seen, guards};

/// The kit's lines that the steps stand for.
pub const STANDS_FOR: &[(&str, &str)] = &[
    ("crates/outbox/src/database/gate.rs", "select pg_advisory_xact_lock_shared("),
    ("crates/outbox/src/database/gate.rs", "select pg_advisory_lock("),
    ("crates/farandole/src/engine/transaction.rs", "let mut tx = begin(conn).await.map_err(at(BEGIN))?;"),
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

guards! {
    /// Who decides holds the gate shared (`database/gate.rs`).
    shared_gate,
    /// The rebuild holds it alone from the last stretch to the swap (`rebuild/swap.rs`, `Alone`).
    alone,
    /// The relay publishes what is left first (`rebuild/swap.rs`, `drained`).
    drained,
    /// A record is folded only behind the one that it names (`rebuild/read.rs`, by the chain rule).
    chain,
    /// What was folded ends where the relay says that it has published to (`rebuild/swap.rs`, `complete`). Who didn't fold what is left while
    /// nobody decides would be refused by that as well.
    complete,
    /// Rows and how far the fold is are one transaction (`rebuild/writer.rs`).
    rows_with_marks,
    /// All tables change places in one transaction (`rebuild/swap.rs`, `swap`).
    one_transaction,
    /// A rollback refuses when something was decided since (`rebuild/kept.rs`).
    written_since,
}

/// Transactions that decide an event each.
const WRITERS: usize = 3;

/// Rows of each of the two tables.
type Rows = [Vec<usize>; 2];

#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
enum Writer {
    Waiting,
    Begun,
    /// It has written to these sets of tables.
    Wrote([usize; 2]),
    Committed,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
enum Phase {
    Following,
    /// The gate is its alone.
    Alone,
    /// The relay has published all.
    Drained,
    /// The fold is compared with the relay's account.
    Complete,
    /// The first table has changed places, where they do one by one.
    Half,
    Swapped,
}

/// The tables that are being made.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
struct Shadow {
    set: usize,
    /// The mark: records of the topic that are in it, and the last of them.
    folded: usize,
    last: Option<usize>,
}

/// A reader's transaction: the set that it read the first table from.
type Reader = Option<usize>;

/// Tables, topic, and who is at them.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct World {
    writers: [Writer; WRITERS],
    /// Sets of tables: the first ones, and what a rebuild makes.
    sets: Vec<Rows>,
    live: [usize; 2],
    /// Events in the order of their commits, and how many of them are published.
    outbox: Vec<usize>,
    published: usize,
    topic: Vec<usize>,
    shadow: Option<Shadow>,
    rebuild: Option<Phase>,
    /// The set that was replaced, and how many events there were then.
    replaced: Option<(usize, usize)>,
    reader: Reader,
    torn: bool,
    rebuilds: u8,
    reads: u8,
    crashes: u8,
    losses: u8,
    rollbacks: u8,
}

/// What happens.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Act {
    /// A transaction begins, with the gate: `gate::begin`.
    Begin(usize),
    /// It writes its rows.
    Write(usize),
    /// It commits, with its event in the outbox.
    Commit(usize),
    /// The relay publishes the next event.
    Publish,
    /// The topic loses its last record.
    LoseEnd,
    /// A rebuild begins, or goes on with what another left.
    Rebuild,
    /// It folds the next record: `Fold::round`.
    Fold,
    /// The same, and it ends before it is noted, where these are two transactions.
    HalfFold,
    /// It takes the gate alone: `Alone::take`.
    TakeGate,
    /// It has seen that the relay has published all: `drained`.
    Drain,
    /// It compares what it has folded with the relay's account: `complete`.
    Compare,
    /// The tables change places: `swap`.
    Swap,
    /// The second does, where they do one by one.
    SwapSecond,
    /// It gives the gate back: `Alone::give`.
    GiveGate,
    /// The rebuild ends at any point, with its session and its locks.
    Crash,
    /// An operator has the replaced tables put back: `kept::rollback`.
    RollBack,
    /// A reader's transaction reads the first table.
    Read,
    /// It reads the second, and ends.
    ReadSecond,
}

/// The model.
pub struct Swaps {
    guards: Guards,
    seen: Seen,
}

/// Explores it.
pub fn explore(guards: Guards) -> Found {
    let seen = || Seen::new(&[SWAPPED, RESUMED, REFUSED, BROKEN, ROLLED_BACK, NOT_ROLLED_BACK, BESIDE]);
    explore::explore(|| Swaps { guards, seen: seen() })
}

const SWAPPED: &str = "tables were swapped, and written to afterwards";
const RESUMED: &str = "a rebuild went on with what another had left";
const REFUSED: &str = "a topic that had lost its end was refused";
const BROKEN: &str = "a topic that had lost a record in the middle was refused";
const ROLLED_BACK: &str = "replaced tables were put back";
const NOT_ROLLED_BACK: &str = "a rollback was refused, since something was written";
const BESIDE: &str = "a reader was under way when a swap was due, and was waited for";

impl World {
    fn is_gate_taken(&self) -> bool {
        matches!(self.rebuild, Some(Phase::Alone | Phase::Drained | Phase::Complete | Phase::Half | Phase::Swapped))
    }

    fn is_open(&self) -> bool {
        self.writers.iter().any(|writer| matches!(writer, Writer::Begun | Writer::Wrote(_)))
    }

    /// Whether somebody uses a live table.
    fn is_used(&self) -> bool {
        self.reader.is_some() || self.writers.iter().any(|writer| matches!(writer, Writer::Wrote(_)))
    }

    fn last_folded(&self) -> Option<usize> {
        self.shadow?.last
    }

    /// Whether the next record names the one that was folded last as the one before it.
    fn is_next(&self) -> bool {
        let place = |event: usize| self.outbox.iter().position(|known| *known == event).map(|at| at + 1).unwrap_or(0);
        let next = self.shadow.and_then(|shadow| self.topic.get(shadow.folded)).map(|event| place(*event));
        next == Some(self.last_folded().map_or(0, place) + 1)
    }

    fn fold(&mut self, moves: bool) -> Option<()> {
        let shadow = self.shadow.as_mut()?;
        let event = *self.topic.get(shadow.folded)?;
        self.sets[shadow.set].iter_mut().for_each(|rows| rows.push(event));
        if moves {
            (shadow.folded, shadow.last) = (shadow.folded + 1, Some(event));
        }
        Some(())
    }

    fn swap_in(&mut self) -> Option<usize> {
        let Shadow { set, .. } = self.shadow.take()?;
        self.replaced = Some((self.live[0], self.outbox.len()));
        Some(set)
    }
}

impl Swaps {
    fn rebuilding(&self, world: &mut World, act: &Act) -> Option<()> {
        match act {
            Act::Rebuild => {
                world.rebuilds -= 1;
                world.rebuild = Some(Phase::Following);
                if world.shadow.is_some() {
                    self.seen.note(RESUMED);
                } else {
                    world.shadow = Some(Shadow { set: world.sets.len(), folded: 0, last: None });
                    world.sets.push(Rows::default());
                }
            }
            Act::Fold if self.guards.chain && !world.is_next() => {
                self.seen.note(BROKEN);
                world.rebuild = None;
            }
            Act::Fold => world.fold(true)?,
            Act::HalfFold => {
                world.fold(false)?;
                (world.rebuild, world.crashes) = (None, world.crashes - 1);
            }
            Act::TakeGate => world.rebuild = Some(Phase::Alone),
            Act::Drain => world.rebuild = Some(Phase::Drained),
            Act::Compare => {
                let published = world.outbox[..world.published].last().copied();
                let is_whole = world.last_folded() == published;
                if !is_whole {
                    self.seen.note(REFUSED);
                }
                world.rebuild = (is_whole || !self.guards.complete).then_some(Phase::Complete);
            }
            Act::Swap => {
                if world.is_used() {
                    self.seen.note(BESIDE);
                    return None;
                }
                if self.guards.one_transaction {
                    let set = world.swap_in()?;
                    (world.live, world.rebuild) = ([set; 2], Some(Phase::Swapped));
                } else {
                    world.live[0] = world.shadow?.set;
                    world.rebuild = Some(Phase::Half);
                }
            }
            Act::SwapSecond => {
                if world.is_used() {
                    return None;
                }
                world.live[1] = world.swap_in()?;
                world.rebuild = Some(Phase::Swapped);
            }
            Act::GiveGate => world.rebuild = None,
            Act::Crash => (world.rebuild, world.crashes) = (None, world.crashes - 1),
            _ => return None,
        }
        Some(())
    }

    fn roll_back(&self, world: &mut World) -> Option<()> {
        let (set, before) = world.replaced?;
        if world.outbox.len() > before && self.guards.written_since {
            self.seen.note(NOT_ROLLED_BACK);
            return None;
        }
        if world.is_used() {
            return None;
        }
        self.seen.note(ROLLED_BACK);
        world.rollbacks -= 1;
        (world.live, world.replaced) = ([set; 2], Some((world.live[0], world.outbox.len())));
        Some(())
    }
}

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

/// The live tables hold each event that was committed, once.
pub const WHOLE: &str = "the live tables hold each committed event once";
/// A reader's transaction sees one set of tables.
pub const ONE_GENERATION: &str = "a reader sees tables of one generation";

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
