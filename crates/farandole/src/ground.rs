//! What every floor stands on: time, trouble, words. Nothing of the kit is used here, and no server is asked.

#[cfg(feature = "jemalloc")]
mod allocator;
pub(crate) mod error;
pub mod running;
pub(crate) mod secret;
pub(crate) mod section;
pub(crate) mod text;
pub mod time;
pub(crate) mod told;
pub mod trouble;
pub mod units;
