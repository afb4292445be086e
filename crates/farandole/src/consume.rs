//! From a topic to a transaction: the intake, a handler over your own tables, and the release of parked inputs.

pub mod again;
#[cfg(feature = "http")]
pub(crate) mod checkpoint;
pub(crate) mod declared;
pub mod handler;
pub mod intake;
pub(crate) mod metrics;
pub mod release;
pub mod replay;
#[cfg(feature = "http")]
pub(crate) mod restore;
pub(crate) mod tidy;
pub mod trial;
