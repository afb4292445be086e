//! From a transaction to a topic: the outbox, and the relay that publishes it.

pub mod metrics;
pub mod migrations;
pub mod outbox;
pub mod relay;
