//! Event choreography on Kafka and PostgreSQL.
//!
//! See `ARCHITECTURE.md` for the whole, and [`participant`] for where to start.

pub mod agenda;
#[cfg(feature = "jemalloc")]
mod allocator;
pub mod chain;
pub mod cli;
pub mod codec;
pub mod commands;
pub mod config;
pub mod engine;
pub mod extent;
pub mod handler;
pub mod heal;
pub mod http;
pub mod intake;
mod locks;
pub mod mapping;
pub mod message;
pub mod outbox;
pub mod parking;
pub mod participant;
pub mod partitioner;
#[doc(hidden)]
pub mod plans;
pub mod problem;
pub mod record;
pub mod relay;
pub mod running;
pub mod service;
pub mod step;
pub mod surroundings;
pub mod table;
pub mod telemetry;
pub mod testing;
mod tidy;
pub mod time;
mod told;
pub mod topics;
mod trace;
pub mod trouble;

pub use cli::main;
pub use codec::Codec;
pub use config::{Config, NoSettings};
pub use handler::{Handler, Reader, Tx};
pub use mapping::Mapping;
pub use message::{Message, RecordType};
pub use participant::{Body, Decision, Input, NoEffect, Participant, Refusal, Task};
pub use problem::{Answer, FieldError, Problem};
pub use record::Record;
pub use running::{Running, Signals};
pub use service::{Api, Service, migrate};
pub use table::{Keys, Table, Tables};
pub use time::Timestamp;

#[doc(hidden)]
pub use sqlx;
