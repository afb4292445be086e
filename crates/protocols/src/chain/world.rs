//! What the world holds.

use crate::chain::record::{Entry, SOURCES, Stands, What};
use crate::explore::guards;

guards! {
    /// What was applied is dropped (`chain.rs`, `Verdict::Drop`).
    repeated,
    /// What is of an older lineage is dropped (`chain.rs`, places are ordered by lineage first).
    older_lineage,
    /// A record whose predecessor is missing isn't applied (`Verdict::Ahead`).
    missing_link,
    /// Nor is a first one that names a predecessor (`Verdict::NoStart`).
    beginning,
    /// A second history stops the partition rather than being dropped (`Verdict::Fork`).
    fork,
    /// What comes after a broken link isn't looked at (`judge.rs`, the batch ends there).
    ends_batch,
    /// Each source has its own head (`position.rs`).
    by_source,
    /// Effects and position are one transaction (`lane.rs`).
    one_transaction,
    /// An operator's place takes the head away, so that the record there is taken for the first (`resume.rs`).
    read_on,
}

/// What each source publishes: before a heal, and after it. Numbers have gaps, since other partitions share them.
pub const HISTORY: [&[(i64, i64)]; SOURCES] = [&[(1, 1), (1, 3), (2, 4), (2, 6)], &[(1, 2), (1, 5)]];

/// Losses, repetitions, ghosts and forgeries in one topic; they are the first source's, and the second goes on beside.
pub const WRONG: u8 = 2;

/// A number that only a relay of the first life gave.
pub const GHOST: i64 = 9;

/// Topic, consumer, and what may yet happen.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct World {
    pub log: Vec<Entry>,
    /// Events published of each source, lost or not.
    pub published: [usize; SOURCES],
    pub lost: Vec<(usize, usize)>,
    pub stands: Stands,
    pub applied: Vec<(usize, What)>,
    /// The record at which the consumer stands, and whether it ever did.
    pub stopped: Option<usize>,
    pub told: bool,
    /// What may yet go wrong in the topic.
    pub left: u8,
    /// Where an operator has had it go on: a second time wouldn't help.
    pub set: Option<usize>,
    /// Nothing is written any more, and the consumer reads.
    pub closed: bool,
}

pub const DROPPED: &str = "a repetition was dropped";
pub const OLDER: &str = "a record of an older lineage was dropped";
pub const AHEAD: &str = "a missing link stopped the consumer";
pub const FORK: &str = "a second history stopped the consumer";
pub const NO_START: &str = "a missing beginning stopped the consumer";
pub const TAKEN_FORGERY: &str = "a forgery that looks like the next was taken";
pub const AGAIN: &str = "records were delivered again";

impl World {
    /// Events of a source in the order in which they were applied.
    pub fn events(&self, source: usize) -> impl Iterator<Item = usize> + '_ {
        let event = move |(of, what): &(usize, What)| match what {
            What::Event(nth) if *of == source => Some(*nth),
            _ => None,
        };
        self.applied.iter().filter_map(event)
    }
}
