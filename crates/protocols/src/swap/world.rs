//! What the world holds.

use crate::explore::guards;

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
pub const WRITERS: usize = 3;

/// Rows of each of the two tables.
pub type Rows = [Vec<usize>; 2];

#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Writer {
    Waiting,
    Begun,
    /// It has written to these sets of tables.
    Wrote([usize; 2]),
    Committed,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Phase {
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
pub struct Shadow {
    pub set: usize,
    /// The mark: records of the topic that are in it, and the last of them.
    pub folded: usize,
    pub last: Option<usize>,
}

/// A reader's transaction: the set that it read the first table from.
pub type Reader = Option<usize>;

/// Tables, topic, and who is at them.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct World {
    pub writers: [Writer; WRITERS],
    /// Sets of tables: the first ones, and what a rebuild makes.
    pub sets: Vec<Rows>,
    pub live: [usize; 2],
    /// Events in the order of their commits, and how many of them are published.
    pub outbox: Vec<usize>,
    pub published: usize,
    pub topic: Vec<usize>,
    pub shadow: Option<Shadow>,
    pub rebuild: Option<Phase>,
    /// The set that was replaced, and how many events there were then.
    pub replaced: Option<(usize, usize)>,
    pub reader: Reader,
    pub torn: bool,
    pub rebuilds: u8,
    pub reads: u8,
    pub crashes: u8,
    pub losses: u8,
    pub rollbacks: u8,
}

pub const SWAPPED: &str = "tables were swapped, and written to afterwards";
pub const RESUMED: &str = "a rebuild went on with what another had left";
pub const REFUSED: &str = "a topic that had lost its end was refused";
pub const BROKEN: &str = "a topic that had lost a record in the middle was refused";
pub const ROLLED_BACK: &str = "replaced tables were put back";
pub const NOT_ROLLED_BACK: &str = "a rollback was refused, since something was written";
pub const BESIDE: &str = "a reader was under way when a swap was due, and was waited for";

impl World {
    pub fn is_gate_taken(&self) -> bool {
        matches!(self.rebuild, Some(Phase::Alone | Phase::Drained | Phase::Complete | Phase::Half | Phase::Swapped))
    }

    pub fn is_open(&self) -> bool {
        self.writers.iter().any(|writer| matches!(writer, Writer::Begun | Writer::Wrote(_)))
    }

    /// Whether somebody uses a live table.
    pub fn is_used(&self) -> bool {
        self.reader.is_some() || self.writers.iter().any(|writer| matches!(writer, Writer::Wrote(_)))
    }

    pub fn last_folded(&self) -> Option<usize> {
        self.shadow?.last
    }

    /// Whether the next record names the one that was folded last as the one before it.
    pub fn is_next(&self) -> bool {
        let place = |event: usize| self.outbox.iter().position(|known| *known == event).map(|at| at + 1).unwrap_or(0);
        let next = self.shadow.and_then(|shadow| self.topic.get(shadow.folded)).map(|event| place(*event));
        next == Some(self.last_folded().map_or(0, place) + 1)
    }

    pub fn fold(&mut self, moves: bool) -> Option<()> {
        let shadow = self.shadow.as_mut()?;
        let event = *self.topic.get(shadow.folded)?;
        self.sets[shadow.set].iter_mut().for_each(|rows| rows.push(event));
        if moves {
            (shadow.folded, shadow.last) = (shadow.folded + 1, Some(event));
        }
        Some(())
    }

    pub fn swap_in(&mut self) -> Option<usize> {
        let Shadow { set, .. } = self.shadow.take()?;
        self.replaced = Some((self.live[0], self.outbox.len()));
        Some(set)
    }
}
