// With `avro`, as the documentation is built: the examples there use it.
#![cfg_attr(feature = "avro", doc = include_str!("../README.md"))]
#![cfg_attr(
    not(feature = "avro"),
    doc = "A transactional outbox for PostgreSQL and Kafka: the outbox, and the relay that publishes it. See README.md."
)]
//!
//! # In this crate
//!
//! - [`outbox`], [`NewEvent`], [`Tx`]: appending, from Rust and in SQL.
//! - [`Relay`], [`RelayConfig`]: publishing. [`topics`]: topics to publish to.
//! - [`Codec`], [`messages!`], [`Message`], [`RecordType`]: values in Avro or JSON, and sets of event types.
//! - [`running`], [`Running`], [`Signals`]: the handle of what runs beside a program, and the signals that stop it.
//! - [`chain`], [`Record`], [`Timestamp`]: what consumers read.
//! - [`migrate`]: the tables.
//!
//! Items that aren't listed here are public for the kit only and may change in any version.

#![warn(missing_docs)]

// The floors, from the top; what they hold is named below.
#[cfg_attr(doc, doc(hidden))]
pub mod database;
#[cfg_attr(doc, doc(hidden))]
pub mod ground;
#[cfg_attr(doc, doc(hidden))]
pub mod publish;
#[cfg_attr(doc, doc(hidden))]
pub mod wire;

pub use ground::error::chain_of;
pub use ground::running;
pub use publish::migrations::{self, migrate};
pub use publish::{outbox, relay};
pub use wire::{chain, codec, mapping, message, record, topics};

pub use codec::{Codec, RecordType};
pub use database::Tx;
pub use ground::time::Timestamp;
pub use message::Message;
pub use outbox::NewEvent;
pub use record::Record;
pub use relay::{Config as RelayConfig, Relay};
pub use running::{Running, Signals};

// For the operator's tool and the tests.
#[doc(hidden)]
pub use database::{step, surroundings};
#[doc(hidden)]
pub use ground::{time, trouble};
#[doc(hidden)]
pub use wire::{assignment, extent, partitioner};

#[doc(hidden)]
pub use sqlx;
