//! A stand-in for the outside world: a parcel carrier over HTTP, which reports by webhooks how its parcels fare. README.md describes its
//! interface and what recipients do.
//!
//! **Invariant:** it knows nothing of its callers: no broker, no event, no crate in common with the shop but for the one that minds the
//! socket and knows neither. What it has in common with other stand-ins is in `standin`, which says what survives a crash.
//!
//! **What survives besides:** when each parcel changes next, and each webhook until its receiver has taken it. A change and its webhook
//! are in one transaction, so neither is there without the other. A webhook that was taken in the last moment before a crash is sent again.

pub mod book;
pub mod clock;
pub mod faults;
pub mod http;
pub mod parcel;
pub mod sender;
pub mod server;
pub mod tables;
pub mod webhook;
