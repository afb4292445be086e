//! Acme, as it uses Farandole from outside: three programs of three teams, in one crate so that it is built once.
//!
//! - `acme-billing` has tables and transactions of its own and publishes events from them: [`billing`].
//! - `acme-statements` applies that topic to tables of its own: [`statements`].
//! - `acme-dunning` is a service that decides: [`dunning`].
//!
//! [`events`] has a type for each schema in `schemas/`.

pub mod billing;
pub mod dunning;
pub mod statements;

/// The Rust types of the schemas, made at build time.
pub mod events {
    include!(concat!(env!("OUT_DIR"), "/events.rs"));
}
