//! A complete service: a participant and everything around it, from start to stop. [`Service`] has an example.
//!
//! **Start**: the HTTP listener first, so that liveness and readiness can be asked; then PostgreSQL, the tables, Kafka and the
//! topics, the schemas, and the relay's check that the topics continue what the database knows, which a stand-by makes as well. What
//! is away is waited for as long as it takes; what no waiting mends ([`Error::is_transient`]) is a refusal. Only then agenda, intake and the service's own routes begin:
//! nothing is decided on a history that doesn't fit, nor when the database is set back later; see
//! [`History`](crate::publish::relay::History).
//!
//! **Stop**: HTTP takes nothing new and answers what it has; intake and agenda finish their batches; then commands; the relay
//! goes last and publishes what they left. All within `process.stop_timeout`; what is abandoned then is done after the next
//! start, for nothing rests on an orderly stop.
//!
//! **Invariant:** a refusal, at the start or by a part that runs, stops the service, which then ends with that error, and its process
//! with exit code 1; no part is restarted in place. Trouble that ends by itself (brokers or database away) is waited out by the
//! parts and shows in `/readyz`.

mod acts;
mod alarm;
mod api;
mod builder;
#[doc(hidden)]
pub mod contract;
mod describe;
mod elsewhere;
mod error;
mod frame;
mod from_nothing;
mod history;
pub mod http;
mod inputs;
pub(crate) mod metrics;
mod migrate;
mod own;
mod parked;
mod parts;
mod positions;
mod rights;
mod run;
mod same_fold;
pub mod telemetry;
mod verbs;
mod wait;

pub use acts::By;
pub use api::{Api, Missing};
pub use builder::Service;
pub use describe::{Description, Guarantee, Producer};
pub use error::{Elsewhere, Error};
pub use from_nothing::FromNothing;
pub use history::{Entry, History};
#[cfg(feature = "cli")]
pub(crate) use parts::unfit;
pub use run::Bound;
pub use same_fold::FoldReport;
