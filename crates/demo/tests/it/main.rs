//! The shop as a user runs it: processes on real Kafka, PostgreSQL and registry, spoken to from outside.

mod bad_input;
mod kit;
mod readme;
mod trouble;
