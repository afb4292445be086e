//! The carrier over HTTP, as its callers meet it: the real process, a data directory of its own for each test, and a receiver of webhooks
//! that checks their signatures.

#![allow(clippy::unwrap_used, reason = "a test that can't go on should stop")]

mod api;
mod book;
mod command_line;
mod crash;
mod faults;
mod kit;
mod receiver;
mod webhooks;
