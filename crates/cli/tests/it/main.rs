//! The operator's tool on real topics and databases.

#![allow(clippy::unwrap_used, clippy::expect_used, reason = "a test that can't go on says where")]

mod advice;
mod graph;
mod new;
mod outbox;
mod replay;
mod schemas;
mod verify;
