//! Inventory: sets stock aside for orders, all of an order or nothing, and frees it when the order ends or takes it out when it ships.
//!
//! **Invariant:** per article, received + adjusted = available + reserved + shipped, and none but `adjusted` is negative.

pub mod api;
pub mod overdue;
pub mod participant;
pub mod tables;

pub use participant::{Command, Event, Heard, Id, Inventory};
