//! What the world holds.

use crate::explore::guards;

guards! {
    /// Two steps of one number can't both be there (`step.rs`, the primary key).
    primary_key,
    /// A step is taken only behind the one that is expected (`step.rs`, the comparison).
    comparison,
    /// The newest step is never trimmed (`step.rs`, `TRIM`).
    newest_stays,
    /// Nor one that a session may still be about to collide with (`step.rs`, `TRIM`).
    trim_waits,
    /// What is applied and the step are one transaction (`engine/transaction.rs`).
    one_transaction,
    /// Who is refused a step doesn't commit (`step.rs`, the invariant).
    refused_rolls_back,
    /// After a commit of unknown result the batch is tried again behind the same step (`worker.rs`, `part`).
    same_step,
    /// In a database that was set back, what a worker remembers is compared with what is there (`lane.rs`, `still`). A service has it; a `Reader`,
    /// which knows of no comparison, doesn't.
    still,
}

/// Records of the partition.
pub const RECORDS: u8 = 3;

#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Step {
    pub number: u64,
    pub next: u8,
    /// After how many commits it was there.
    pub written: u8,
}

#[derive(Debug, Clone, Default, PartialEq, Eq, Hash)]
pub struct Db {
    pub steps: Vec<Step>,
    pub applied: Vec<u8>,
}

impl Db {
    pub fn newest(&self) -> Option<&Step> {
        self.steps.iter().max_by_key(|step| step.number)
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Phase {
    /// Nothing is under way.
    Standing,
    /// A batch of so many records is.
    Begun(u8),
    /// The step's statement has its snapshot, taken after so many commits, and the comparison held.
    Compared(u8, u8),
    /// The step is inserted.
    Inserted(u8),
    /// A commit was answered by an error.
    Unknown(u8),
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Worker {
    pub step: Option<u64>,
    pub next: u8,
    /// Which life of the database it knows this from.
    pub life: u8,
    pub phase: Phase,
}

/// The database, its backup, and the workers.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct World {
    pub db: Db,
    pub backup: Option<Db>,
    pub life: u8,
    pub commits: u8,
    pub workers: [Option<Worker>; 2],
    pub ends: u8,
    pub unknown: u8,
    pub trims: u8,
}

pub const BOTH: &str = "two workers had a batch in flight at once";
pub const FENCED: &str = "a comparison didn't hold";
pub const CONFLICT: &str = "an insert found the number taken";
pub const UNKNOWN_DONE: &str = "a commit of unknown result had happened";
pub const UNKNOWN_LOST: &str = "a commit of unknown result hadn't happened";
pub const TRIMMED: &str = "a step was trimmed";
pub const SET_BACK: &str = "a worker from before met a database that was set back";
