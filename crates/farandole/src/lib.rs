//! Event choreography for Rust services on Kafka and PostgreSQL.
//!
//! Each service publishes events through a transactional outbox, applies the events of others exactly once, and keeps its own
//! database. What you write is a [`Participant`]: a pure function from rows and an input to events, and another from an event to rows. The
//! kit loads and locks the rows, calls them, and commits rows, events, deadlines and the topic's position in one transaction.
//!
//! # A whole service
//!
//! It subscribes to a shop's orders, credits points, and lets customers redeem them over HTTP:
//!
//! ```no_run
#![doc = include_str!("../doc/loyalty.rs")]
//! ```
//!
//! Its table is made by `migrations/0001_tables.sql`:
//!
//! ```sql
//! create table accounts (customer text primary key, points bigint not null);
//! ```
//!
//! `loyalty serve --migrate`, with `FARANDOLE_DATABASE_URL` and `FARANDOLE_KAFKA_BOOTSTRAP` set, creates tables and topics and serves.
//! A redemption that is sent again under its `Idempotency-Key` receives the first answer. `loyalty --help` lists what else the binary
//! does: `describe`, `parked`, `positions`, `inputs`, `history`, `heal`, `rebuild`.
//!
//! # Test it
//!
//! A [`Story`](testing::Story) runs the participant without Kafka and PostgreSQL, with exactly the rows that it would load in production:
//!
//! ```
//! # mod loyalty { include!(concat!(env!("CARGO_MANIFEST_DIR"), "/doc/loyalty.rs")); }
//! # use loyalty::*;
//! use farandole::{rows, testing::Story};
//!
//! let anna = || "anna".to_owned();
//! let mut story = Story::new(Loyalty, anna(), rows![Tables; accounts: Account[anna()]]);
//! story.hears(OrderPlaced { customer: anna(), total: 1_299 }).then([PointsChanged { customer: anna(), by: 12 }]);
//! story.asked(Redeem { points: 10 }).then([PointsChanged { customer: anna(), by: -10 }]);
//! story.asked(Redeem { points: 10 }).refused("too-few-points");
//! assert_eq!(story.tables.accounts.get(&anna()).map(|account| account.points), Some(2));
//! ```
//!
//! # Three layers
//!
//! | you want to | you write | begin at | in `Cargo.toml` |
//! |---|---|---|---|
//! | publish events from your existing transactions | an `append` in each transaction | the crate `farandole-outbox`: [`outbox`], [`Relay`] | `farandole-outbox` |
//! | apply topics to tables that you have | a [`Handler`] | [`Reader`], [`Mapping`] | `farandole`, `default-features = false` |
//! | write a service that decides | a [`Participant`] | [`prelude`], [`main`], [`Service`] | `farandole` |
//!
//! Each contains the one above. Effects on the outside world are an [`EffectHandler`](agenda::EffectHandler), usually with an
//! [`HttpClient`](agenda::over_http::HttpClient); deadlines and effects are opened by [`Task`]s.
//!
//! # Features
//!
//! | feature | default | adds |
//! |---|---|---|
//! | `avro` | yes | values in Avro, with their schemas in a registry. Without it: JSON |
//! | `http` | with `cli` | [`Service`]: HTTP interface, configuration, metrics |
//! | `cli` | yes | [`main`]: a service's command line |
//! | `otlp` | no | spans to an OpenTelemetry collector |
//! | `jemalloc` | no | the whole program, librdkafka included, allocates with jemalloc: about a fifth less CPU when publishing |
//!
//! # Guides
//!
//! In the repository: `docs/getting-started.md` for each layer, `docs/guarantees.md`, `docs/operating.md`,
//! `docs/mistakes-that-dont-compile.md`, and `ARCHITECTURE.md` for how it works. Every setting is in `crates/farandole/SETTINGS.md`, every
//! metric at [`telemetry`].
//!
//! What isn't listed here is public for the kit's own tools and may change with any version.

#![warn(missing_docs)]
#![cfg_attr(docsrs, feature(doc_cfg))]

// The folders of this crate are its floors; `ARCHITECTURE.md` draws them, and a test sees to it that a floor uses only what is below.
// The names that users write are those below, whatever floor a thing stands on.
pub mod agenda;
#[cfg(feature = "cli")]
#[doc(hidden)]
pub mod cli;
#[cfg(feature = "http")]
pub mod config;
mod consume;
#[doc(hidden)]
pub mod engine;
mod fold;
#[doc(hidden)]
pub mod heal;
#[doc(hidden)]
pub mod parking;
#[doc(hidden)]
pub mod participant;
#[doc(hidden)]
pub mod plans;
#[doc(hidden)]
pub mod rebuild;
#[cfg(feature = "http")]
pub mod service;

/// What the files of a service import: `use farandole::prelude::*`.
///
/// Imports by name take precedence, so axum's `Body`, say, can still be imported beside it.
pub mod prelude {
    #[cfg(feature = "http")]
    pub use crate::config::NoSettings;
    #[cfg(feature = "http")]
    pub use crate::service::http::{Caller, JsonBody};
    #[cfg(feature = "http")]
    pub use crate::service::{Api, Service};

    pub use crate::agenda::{Call, EffectError, EffectHandler};
    pub use crate::participant::problem::{Answer, FieldError, Problem};
    pub use crate::participant::table::{Keys, Row as _};
    pub use crate::participant::task::{IdempotencyKey, Never, Task};
    pub use crate::participant::{Body, Decision, Input, Participant, Refusal, Tasks};
    pub use farandole_outbox::{Message, Timestamp};
}

use farandole_outbox::{database, ground, publish, wire};

pub use consume::{handler, intake};
pub use participant::{table, task, testing};
#[cfg(feature = "http")]
#[doc(inline)]
pub use service::{http, telemetry};

// Of layer a, whose documentation is that of `farandole-outbox`.
#[doc(hidden)]
pub use farandole_outbox::{chain, message, record, running};
pub use farandole_outbox::{codec, mapping, outbox, relay, topics};

#[cfg(feature = "cli")]
pub use cli::main;
#[cfg(feature = "http")]
#[doc(inline)]
pub use config::{Config, NoSettings};
pub use handler::{Handler, Reader};
pub use intake::Config as IntakeConfig;
pub use participant::problem::{Answer, FieldError, Problem};
pub use participant::{Body, Decision, Id, Input, OutcomeOf, Participant, Refusal, Tasks};
#[cfg(feature = "http")]
#[doc(inline)]
pub use service::{Api, Service};
pub use table::{Keys, Table, Tables};
pub use task::{IdempotencyKey, Never, Task};

#[doc(inline)]
pub use farandole_outbox::mapping::Mapping;
#[doc(inline)]
pub use farandole_outbox::{
    Codec, Message, NewEvent, Record, RecordType, Relay, RelayConfig, Running, Signals, Timestamp, Tx, messages, migrate,
    migrations,
};

// For the operator's tool, the shop's demo and the tests; it may change with any version.
#[doc(hidden)]
pub use consume::{again, release, replay, trial};
#[doc(hidden)]
pub use database::{step, surroundings};
#[doc(hidden)]
pub use engine::commands;
#[doc(hidden)]
pub use ground::{time, trouble};
#[doc(hidden)]
pub use participant::problem;
#[doc(hidden)]
pub use wire::{assignment, extent, partitioner};

#[doc(hidden)]
pub use {serde_json, sqlx};

/// Each mistake is tried; `docs/mistakes-that-dont-compile.md` is made of the same text.
#[cfg(doctest)]
#[doc = include_str!("../doc/mistakes.md")]
mod mistakes {}
