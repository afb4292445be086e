//! Drills: an operator gets state back while the shop is under load, with the services' own binaries, and everything that was there
//! before is there afterwards.
//!
//! - **swap**: the tables of each service are rebuilt, compared and swapped beside two replicas of it that work on.
//! - **kill**: rebuilds are killed with -9 in each of their phases; the next one goes on to its end.
//! - **lost, drained**: a service's database is dropped while nothing moves. All of it comes back, row for row.
//! - **lost, undrained**: a database is lost in the middle of the load. What comes back lacks what was never relayed, and nothing else.
//!
//! [`run`] carries them out one after the other, lets everything come to rest and audits it as after faults. Callers come through a
//! [front] that sees each answer: what they were told is what has to be true in the end.
//!
//! **How it fails:** what is found wrong is in the [`Report`]; an error means that the drills could not go on.

mod callers;
mod comparison;
mod databases;
mod effects;
mod front;
mod ground;
mod held;
mod kill;
mod load;
mod lost;
mod mails;
mod operator;
mod report;
mod reports;
mod rest;
mod run;
mod sockets;
mod standins;
mod swap;
mod unrelayed;

pub use ground::{Build, Ground};
pub use load::Orders;
pub use report::{Drill, Report};
pub use run::{Plan, run};
