//! The agenda on a real PostgreSQL: who claims, what closing does, what commits.
#![allow(missing_docs)]

mod closing;
mod deadlines;
mod effects;
mod world;
