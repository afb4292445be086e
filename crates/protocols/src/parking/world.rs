//! What the world holds.

use std::collections::BTreeSet;

use crate::explore::guards;
use crate::parking::table::{PARTITIONS, Row};

guards! {
    /// What comes later for a parked aggregate parks behind it (`parking.rs`).
    diverts,
    /// The key's name counts as well as the aggregate's (`parking.rs`, two names).
    second_name,
    /// What is parked is asked once the rows are locked (`engine/transaction.rs`).
    asks_under_lock,
    /// Whoever parks or releases locks the names (`parking/queue.rs`).
    name_locks,
    /// Who takes rows out leaves the oldest that is left under each name as a head (`parking/queue.rs`, `take`).
    marks_heads,
    /// A release runs rows with all that is older under their names (`release.rs`, `in_order`).
    in_order,
    /// A release looks again under the locks whether its rows are there (`release.rs`, `claim`).
    still_there,
    /// A row is written in the transaction that moves the position (`lane.rs`, `settle`).
    one_transaction,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub enum Phase {
    Begun,
    /// It has the aggregate's row.
    Locked,
    /// What is parked under its names, as of a look.
    Asked(BTreeSet<&'static str>),
    /// It will take effect, or its row is written.
    Done(Option<Row>),
}

/// An intake's transaction over the next input of its partition.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Intake {
    pub input: usize,
    pub phase: Phase,
    pub has_row: bool,
    pub has_names: bool,
}

/// A release of rows that were read.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Release {
    pub rows: Vec<Row>,
    /// It has the rows of their aggregates.
    pub has_rows: bool,
    /// It has the names, and knows which of the rows take effect, and which of those that are left become heads.
    pub ran: Option<(Vec<usize>, Vec<usize>)>,
}

/// The database, and who is at it.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct World {
    /// Inputs that can't be processed.
    pub faulty: Vec<usize>,
    pub parked: Vec<Row>,
    pub next_seq: i64,
    /// Inputs of each partition that the position is behind.
    pub positions: [usize; PARTITIONS.len()],
    pub intakes: [Option<Intake>; PARTITIONS.len()],
    pub releases: [Option<Release>; 2],
    /// Inputs in the order in which they came, and in which they took effect.
    pub came: Vec<usize>,
    pub effects: Vec<usize>,
    pub crashes: u8,
}

pub const BEHIND: &str = "an input of another partition parked behind a fault";
pub const KEY: &str = "an input of another aggregate parked behind a key";
pub const EMPTIED: &str = "an input joined a queue whose last had just gone";
pub const TWICE: &str = "two replicas were at the same rows, and one found them gone";
pub const PARTLY: &str = "a release ran some of its rows and left a fault";
