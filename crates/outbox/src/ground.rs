//! What every floor stands on: time, trouble, words. Nothing of the kit is used here, and no server is asked.

#[cfg(feature = "jemalloc")]
mod allocator;
pub mod backoff;
pub mod error;
pub mod metric;
pub mod running;
pub mod secret;
pub mod section;
pub mod text;
pub mod time;
pub mod told;
pub mod trouble;
