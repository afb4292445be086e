//! The acquirer over HTTP, as its callers meet it: port 0, a data directory of its own for each test.

#![allow(clippy::unwrap_used, reason = "a test that can't go on should stop")]

mod api;
mod book;
mod command_line;
mod crash;
mod damage;
mod expiry;
mod faults;
mod kit;
mod load;
mod rules;
