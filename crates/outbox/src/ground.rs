//! What every floor uses: time, error classification, text. Depends on nothing else in the kit, and contacts no server.

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
