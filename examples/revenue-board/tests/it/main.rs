//! The service in Python between services of the kit: orders and payments are published by the kit's outboxes, analytics reads and publishes by
//! `docs/wire.md`, and the board reads that with the kit.

#![allow(clippy::unwrap_used, clippy::expect_used, reason = "a test that can't go on says where")]

mod python;
mod shop;
mod story;
mod trouble;
