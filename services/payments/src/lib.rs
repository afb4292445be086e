//! Payments: has the card authorised once order and reservation are both seen, and voids what an ended order no longer needs.
//!
//! **Invariant:** an order that ended without goods ends here as abandoned, declined or voided: nothing stays held on the card.

pub mod api;
pub mod effects;
pub mod participant;
pub mod tables;

pub use participant::{Authorise, Effect, Event, Heard, Outcome, Payments, Void};
