//! Shipping: hands the parcel of a confirmed order to the carrier, and follows it until it is delivered or lost.
//!
//! Until then it also decides whether an order can still be cancelled: it can as long as the carrier hasn't been asked.
//! **Invariant:** an order has one parcel at most, and one that the carrier has ends as delivered or lost, whatever the carrier reports
//! of itself: when it reports nothing, it is asked, and when it doesn't answer either, the parcel is taken for lost. A carrier that doesn't say in
//! time whether it takes a parcel doesn't get it: the parcel fails, and is called back in case it was taken.

pub mod api;
pub mod carrier;
pub mod effects;
pub mod participant;
pub mod tables;
pub mod tracking;
pub mod webhook;

pub use carrier::{Book, Effect, Fate, Outcome, Recall, Report, Track};
pub use participant::{Deadline, Event, Heard, Shipping};
