//! The agenda on a real PostgreSQL: who claims, what closing does, what commits. And what is parked, with a real topic.
#![allow(missing_docs, clippy::unwrap_used, clippy::expect_used, reason = "a test that can't go on says where")]

mod absent;
mod again;
mod apart;
mod batches;
mod bounds;
mod closing;
mod deadlines;
mod dropping;
mod effects;
mod expired;
mod handlers;
mod healing;
mod isolation;
mod later;
mod logs;
mod members;
mod parked;
mod plans;
mod positions;
mod published;
mod readers;
mod rows;
mod sessions;
mod strange;
mod strangers;
mod tasks;
mod trouble;
mod vectors;
mod world;
