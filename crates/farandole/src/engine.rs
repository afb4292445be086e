//! One batch of inputs, one transaction: load and lock, decide, evolve, store, outbox, agenda, position, commit.
//!
//! **Guarantees.** All of a batch's effects on the database happen, or none; each decision sees what those before it in the
//! batch changed; a source that has lost its position or claim commits nothing.
//!
//! **Locks** are taken in one order everywhere: [the one that a heal wants alone](crate::database::gate), idempotency keys, aggregates and shared rows table by table, tasks, position;
//! sorted within each. Two batches can still wait for each other in a ring when a row appears between a look and the second
//! look; PostgreSQL then ends one, whose owner runs it again. Callers never see that.
//!
//! **How it would fail without**: with one order of locks dropped, two batches of strangers deadlock under load; with the
//! claim read before the rows are locked, a batch and the closing of its task wait for each other; with the position moved
//! in a transaction of its own, a crash between the two applies an input twice or never.

mod any;
pub mod commands;
mod error;
mod idempotency;
pub(crate) mod metrics;
pub(crate) mod ops;
mod plan;
pub(crate) mod read;
mod source;
pub(crate) mod tasks;
pub(crate) mod trace;
mod transaction;
mod work;

pub(crate) use any::{AnyProcessor, AnyWork};
pub use error::Error;
pub(crate) use error::{COMMIT, CONNECT};
#[doc(hidden)]
pub use idempotency::{CachedAnswer, IdempotencyCache};
#[doc(hidden)]
pub use ops::{Net, Opening, net as net_of_tasks};
#[doc(hidden)]
pub use plan::guarded;
#[doc(hidden)]
pub use plan::{DecisionContext, Plan, follow_up, fresh_id};
pub(crate) use plan::{KEYED, guarded_async, op};
#[doc(hidden)]
pub use read::{heard as read_heard, in_chain as read_in_chain};
pub use source::{NoSource, Processor, Source};
pub use transaction::{Engine, Wake};
pub(crate) use transaction::{given_up, note};
pub use work::{Decoded, Idempotency, Origin, Verdict, Work};

pub use crate::database::session;
pub use crate::database::sessions::Sessions;
pub use crate::ground::error::chain_of;
pub use crate::parking::Fault;
pub use crate::wire::per_topic::Unknown;
