//! From a topic to a transaction: the intake, a handler over your own tables, and the release of parked inputs.

pub mod again;
pub mod handler;
pub mod intake;
pub(crate) mod metrics;
pub mod release;
pub(crate) mod tidy;
