//! A stand-in for the outside world: a card acquirer over HTTP.
//!
//! It authorises, captures, voids and refunds card payments, remembers idempotency keys for a stated time, and can be told to be
//! slow, to fail, or to do the work and never say so. It is used by whoever calls an acquirer, by fault tests and by audits.
//!
//! **Invariant:** it knows nothing of its callers: no broker, no event, no crate in common with the shop but for
//! the one that minds the socket and knows neither.
//!
//! # What a card token does
//!
//! | card token starts with | answer | reason |
//! |---|---|---|
//! | `tok_decline` | declined | `insufficient_funds` |
//! | `tok_lost` | declined | `lost_card` |
//! | `tok_expired` | declined | `expired_card` |
//! | `tok_limit_N` | declined over N minor units | `limit_exceeded` |
//! | anything else | authorised | |
//! | any, while the fault `decline_all` is on | declined | `do_not_honour` |
//!
//! # What survives
//!
//! Every executed request is one line of an append-only log: the authorisation as it became, and the key with its answer. Nobody is
//! answered, and no read shows a change, before that line is on disk; so `kill -9` takes back nothing that was seen. One thread
//! writes: it takes what waits, writes it, syncs once, and all who waited are answered ([`log`]).
//!
//! A request that was refused (wrong field, wrong state, unknown id) changed nothing and its key stays free. A decline is an
//! executed request: it leaves a record and its answer is remembered.
//!
//! # Where things are
//!
//! [`rules`] and [`authorisation`] decide (pure), [`book`] holds the state, [`log`] the file, [`store`] joins the two, [`faults`]
//! draws each request's fate, [`http`] speaks, [`server`] owns the life-cycle. The HTTP interface is written down in README.md.

#![cfg_attr(test, allow(clippy::unwrap_used, reason = "a test that can't go on should stop"))]

pub mod authorisation;
pub mod book;
pub mod cli;
pub mod faults;
pub mod http;
pub mod log;
pub mod rules;
pub mod server;
pub mod store;
