//! Orders: takes them, and ends each of them as confirmed, rejected or cancelled.
//!
//! It learns from inventory that stock is short and from payments how the card went; nobody tells it what to do.
//! **Invariant:** an order that was placed is settled within its `confirm_by`, whatever the others do or don't.

pub mod api;
pub mod basket;
pub mod participant;
pub mod tables;

pub use participant::{Command, Deadline, Event, Heard, Orders};
