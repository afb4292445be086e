//! A stand-in for the outside world: a card acquirer over HTTP. README.md describes its interface and what card tokens do.
//!
//! **Invariant:** it knows nothing of its callers: no broker, no event, no crate in common with the shop but for the one that minds the
//! socket and knows neither. What it has in common with other stand-ins is in `standin`, which says what survives a crash.
//!
//! A decline is an executed request: it leaves a record and its answer is remembered.

pub mod authorisation;
pub mod book;
pub mod faults;
pub mod http;
pub mod server;
