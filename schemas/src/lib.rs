//! The events that services exchange: a folder a topic, an `.avsc` an event, and the Rust type of each, made at build time.
//!
//! `orders/OrderPlaced.avsc` is [`orders::OrderPlaced`]; its full name, text and topic are `OrderPlaced::NAME`, `OrderPlaced::SCHEMA` and
//! `OrderPlaced::TOPIC`.
//! Amounts are `i64` minor units with an ISO 4217 code beside them, instants `i64` microseconds since the epoch.
//!
//! **Invariant:** every current schema reads and is read by every released version of itself (`released/`, checked by
//! the build); README.md says how to change one. The crate knows neither Kafka nor the kit, and encodes nothing itself.

pub mod sku;

include!(concat!(env!("OUT_DIR"), "/events.rs"));

/// Every event: topic, full name, schema text; by topic, then by name.
pub const fn all() -> &'static [(&'static str, &'static str, &'static str)] {
    EVENTS
}
