//! The shop as a user runs it: processes on real Kafka, PostgreSQL and registry, spoken to from outside.

#![allow(clippy::unwrap_used, clippy::expect_used, reason = "a test that can't go on says where")]

mod bad_input;
mod chains;
mod choreography;
mod disk;
mod follow;
mod fulfilment;
mod heal;
mod import;
mod json;
mod kit;
mod loyalty;
mod mails;
mod observe;
mod operating;
mod parking;
mod prices;
mod readme;
mod rebuild;
mod records;
mod rows;
mod trouble;
