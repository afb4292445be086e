//! Payments: has the card authorised once order and reservation are both seen, voids what an ended order no longer needs, takes the money
//! when the parcel has left, and gives it back when the parcel is lost.
//!
//! **Invariant:** an order that ended without goods ends here as abandoned, declined, voided, expired or refunded: nothing stays held on the
//! card, and nothing is kept. There is one capture an order, and one refund, each of the whole amount.

pub mod api;
pub mod effects;
pub mod messages;
pub mod participant;
pub mod tables;

pub use messages::{Event, Heard};
pub use participant::{Authorise, Capture, Deadline, Effect, Outcome, Payments, Refund, Void};
