//! Events out of PostgreSQL transactions to Kafka: append them to the [`outbox`] in the transaction that they are about, and the
//! [`relay`] publishes them, each at least once, under one number, in order for each key.
//!
//! This is the lower half of the kit [`farandole`](https://docs.rs/farandole), which a team with services of its own can take alone.
//! [`migrate`] makes its tables. See `ARCHITECTURE.md` for the whole.

#[doc(hidden)]
pub mod database;
#[doc(hidden)]
pub mod ground;
#[doc(hidden)]
pub mod publish;
#[doc(hidden)]
pub mod wire;

pub use database::{Tx, step, surroundings};
pub use ground::error::chain_of;
pub use ground::{running, time, trouble};
pub use publish::migrations::{self, migrate};
pub use publish::{outbox, relay};
pub use wire::{chain, codec, extent, mapping, message, partitioner, record, topics};

pub use codec::{Codec, RecordType};
pub use message::Message;
pub use record::Record;
pub use running::{Running, Signals};
pub use time::Timestamp;

#[doc(hidden)]
pub use sqlx;
