//! What the stand-ins for the outside world have in common: a durable book with one writer, idempotency keys, an HTTP interface with
//! problems, ledger and totals, faults that can be switched on, and the life of the process. A stand-in is a [`Trade`]: its records, its
//! commands and what becomes of them.
//!
//! **Invariant:** nothing here knows the shop: no broker, no event, no crate in common with it but for the one that minds the socket and
//! knows neither.
//!
//! **What survives:** every executed request is in one transaction of an embedded database: the record as it became, and the key with its
//! answer. Nobody is answered, and no read shows a change, before that is on disk; so `kill -9` takes back nothing that was seen. A request
//! that was refused (wrong field, wrong state, unknown id) changed nothing and its key stays free.

pub mod book;
pub mod faults;
pub mod fields;
pub mod http;
mod keys;
pub mod problem;
pub mod record;
pub mod server;
pub mod store;
pub mod writing;

pub use book::{Book, Trade};
pub use http::Standin;
pub use problem::Problem;
pub use record::Record;
pub use writing::Writing;
