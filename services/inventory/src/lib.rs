//! Inventory: sets stock aside for orders, all of an order or nothing, and frees it when the order ends.
//!
//! **Invariant:** per article, received = available + reserved, and none of them is negative.

pub mod api;
pub mod participant;
pub mod tables;

pub use participant::{Command, Event, Heard, Id, Inventory};
