//! From a topic to a transaction: the intake, a handler over tables of one's own, and the release of what is parked.

pub mod handler;
pub mod intake;
pub(crate) mod metrics;
pub mod release;
pub(crate) mod tidy;
