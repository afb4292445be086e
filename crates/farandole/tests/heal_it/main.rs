//! Healing on real parts: the outbox alone, and a whole service.
#![allow(clippy::unwrap_used, clippy::expect_used, missing_docs)]

mod outbox;
mod service;
mod till;
#[allow(dead_code, reason = "shared with the relay's tests, which use all of it")]
#[path = "../relay_it/world.rs"]
mod world;
