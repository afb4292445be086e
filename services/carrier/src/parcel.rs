//! A parcel, what can be asked of it, and what becomes of it. Pure: no clock, no file, no socket.
//!
//! **Invariant:** a recalled or delivered parcel never changes again.

use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use standin::{Problem, Record};
use uuid::Uuid;

/// What a caller asks for; each is executed at most once per idempotency key.
#[derive(Clone, Debug, Serialize)]
pub enum Command {
    Book(Order),
    Recall(Uuid),
}

/// What is to be carried, and to whom.
#[derive(Clone, Debug, Serialize)]
pub struct Order {
    pub reference: String,
    pub recipient: String,
}

/// A parcel under way: as it is kept, and as callers see it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Parcel {
    pub tracking: Uuid,
    pub reference: String,
    pub recipient: String,
    pub status: Status,
    pub created_at: Timestamp,
    pub updated_at: Timestamp,
}

/// How far a parcel has come.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Status {
    Booked,
    Delivered,
    Lost,
    Recalled,
}

impl Order {
    /// Fails when nothing can ever be carried there.
    pub fn check(&self) -> Result<(), Problem> {
        let refused = || Problem::new("address_refused", "nothing is carried to this recipient; no parcel was booked");
        if self.recipient.starts_with("nowhere") { Err(refused()) } else { Ok(()) }
    }
}

impl Parcel {
    pub fn new(tracking: Uuid, order: &Order, now: Timestamp) -> Self {
        Self {
            tracking,
            reference: order.reference.clone(),
            recipient: order.recipient.clone(),
            status: Status::Booked,
            created_at: now,
            updated_at: now,
        }
    }

    /// What it becomes after one more transit, if anything.
    pub fn next(&self) -> Option<Status> {
        let is = |word| self.recipient.starts_with(word);
        match self.status {
            Status::Booked if is("slow") => None,
            Status::Booked if is("lost") || is("found") => Some(Status::Lost),
            Status::Booked => Some(Status::Delivered),
            Status::Lost if is("found") => Some(Status::Delivered),
            Status::Lost | Status::Delivered | Status::Recalled => None,
        }
    }

    /// Calls it back, while it is still under way. Whether that is a change.
    pub fn recall(&mut self, now: Timestamp) -> Result<bool, Problem> {
        match self.status {
            Status::Delivered => Err(Problem::new("delivered", "the parcel is delivered")),
            Status::Lost => Err(Problem::new("lost", "the parcel is lost")),
            // Recalling twice is no error, and no change.
            Status::Recalled => Ok(false),
            Status::Booked => {
                (self.status, self.updated_at) = (Status::Recalled, now);
                Ok(true)
            }
        }
    }

    /// Whether the recipient gets it, or has it.
    pub fn is_live(&self) -> bool {
        matches!(self.status, Status::Booked | Status::Delivered)
    }
}

impl Record for Parcel {
    const OF: &'static str = "carrier";
    const ONE: &'static str = "parcel";
    const MANY: &'static str = "parcels";
    const REFERENCE: &'static str = "reference";
    const FINE: &'static str = "booked";

    fn id(&self) -> Uuid {
        self.tracking
    }

    fn reference(&self) -> &str {
        &self.reference
    }
}
