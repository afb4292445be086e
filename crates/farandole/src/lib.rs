//! Event choreography on Kafka and PostgreSQL.
//!
//! See `ARCHITECTURE.md` for the whole, and [`participant`] for where to start.
//!
//! The folders of this crate are its floors; `ARCHITECTURE.md` draws them, and a test sees to it that a floor uses only what is
//! below. The names that users write are those below, whatever floor a thing stands on.

pub mod agenda;
#[cfg(feature = "cli")]
pub mod cli;
#[cfg(feature = "http")]
pub mod config;
mod consume;
pub mod engine;
pub mod heal;
pub mod parking;
pub mod participant;
#[doc(hidden)]
pub mod plans;
#[cfg(feature = "http")]
pub mod service;

use farandole_outbox::{database, ground, publish, wire};

pub use consume::{handler, intake};
pub use engine::commands;
pub use ground::running;
pub use participant::{problem, table, task, testing};
pub use publish::{outbox, relay};
#[cfg(feature = "http")]
pub use service::{http, telemetry};
pub use wire::{chain, codec, mapping, message, record, topics};

#[cfg(feature = "cli")]
pub use cli::main;
pub use codec::{Codec, RecordType};
#[cfg(feature = "http")]
pub use config::{Config, NoSettings};
pub use database::Tx;
pub use ground::time::Timestamp;
pub use handler::{Handler, Reader};
pub use intake::Config as IntakeConfig;
pub use mapping::Mapping;
pub use message::Message;
pub use outbox::NewEvent;
pub use participant::{Body, Decision, Id, Input, Participant, Refusal, Tasks};
pub use problem::{Answer, FieldError, Problem};
pub use record::Record;
pub use relay::{Config as RelayConfig, Relay};
pub use running::{Running, Signals};
#[cfg(feature = "http")]
pub use service::{Api, Service};
pub use table::{Keys, Table, Tables};
pub use task::{IdempotencyKey, Never, Task};

pub use publish::migrations::migrate;

// For the operator's tool, the shop's demo and the tests; it may change with any version.
#[doc(hidden)]
pub use consume::release;
#[doc(hidden)]
pub use database::{step, surroundings};
#[doc(hidden)]
pub use ground::{time, trouble};
#[doc(hidden)]
pub use wire::{extent, partitioner};

#[doc(hidden)]
pub use {serde_json, sqlx};

pub use farandole_outbox::{messages, migrations};
