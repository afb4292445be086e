//! The relay and the step log on a real broker and a real database.
#![allow(clippy::unwrap_used, clippy::expect_used, missing_docs)]

mod appends;
mod conventions;
mod ends;
mod guards;
mod histories;
mod model;
mod owners;
mod partitions;
mod rounds;
mod sql;
mod step_histories;
mod steps;
mod surroundings;
mod wire;
mod world;
