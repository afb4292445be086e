//! Webhooks as it runs: on real Kafka, PostgreSQL and registry, with subscribers that listen, fail and come back.

#![allow(clippy::unwrap_used, clippy::expect_used, reason = "a test that can't go on says where")]

mod delivery;
mod guide;
mod settings;
mod subscriber;
mod world;
