//! A stand-in for the outside world: a card acquirer over HTTP. README.md describes its interface and what card tokens do.
//!
//! **Invariant:** it knows nothing of its callers: no broker, no event, no crate in common with the shop but for the one that minds the
//! socket and knows neither.
//!
//! **What survives:** every executed request is in one transaction of an embedded database: the authorisation as it became, and the key
//! with its answer. Nobody is answered, and no read shows a change, before that is on disk; so `kill -9` takes back nothing that was
//! seen. A request that was refused (wrong field, wrong state, unknown id) changed nothing and its key stays free. A decline is an
//! executed request: it leaves a record and its answer is remembered.

pub mod authorisation;
pub mod book;
pub mod faults;
pub mod fields;
pub mod http;
pub mod problem;
pub mod server;
pub mod store;
