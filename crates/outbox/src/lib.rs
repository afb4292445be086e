//! A transactional outbox for PostgreSQL and Kafka: append events to the [`outbox`] in your existing transactions, and the
//! [`relay`] publishes them: each at least once, always under the same number, in order per key.
//!
//! This is the lower half of the kit `farandole`, usable alone in existing services. [`migrate`] creates its tables.
//!
//! ```no_run
//! use farandole_outbox::codec::Json;
//! use farandole_outbox::outbox::{self, NewEvent};
//! use farandole_outbox::relay::{self, Relay};
//! use farandole_outbox::topics::{self, Kafka, Topics};
//!
//! # async fn run(pool: sqlx::PgPool) -> Result<(), Box<dyn std::error::Error>> {
//! farandole_outbox::migrate(&pool).await?; // tables in schema `farandole`, beside yours
//! let kafka = Kafka { bootstrap: "127.0.0.1:9092".to_owned(), ..Kafka::default() };
//! topics::ensure(&kafka, &Topics::default(), "billing", true).await?;
//! let config = relay::Config { topics: vec!["billing".to_owned()], ..relay::Config::new("billing", &kafka.bootstrap) };
//! let (relay, wakeup) = Relay::new(pool.clone(), config);
//! let relay = relay.start(); // publishes until it is stopped; `ended()` and `health()` say how it fares
//!
//! let mut tx = pool.begin().await?;
//! // … statements of your own, and in the same transaction what is told of them:
//! let value = br#"{"invoice": 1, "cents": 1200}"#.to_vec();
//! let event = NewEvent::new("billing", "1", "billing.InvoiceIssued", Json::CONTENT_TYPE, value);
//! outbox::append(&mut tx, &event).await?;
//! tx.commit().await?;
//! wakeup.wake();
//! relay.stop().await?;
//! # Ok(())
//! # }
//! ```
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
pub use wire::{extent, partitioner};

#[doc(hidden)]
pub use sqlx;
