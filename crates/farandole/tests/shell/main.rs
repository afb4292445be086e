//! The shell around a service: configuration, HTTP, start and stop. Needs no server.

// In a test a panic is the report.
#![allow(clippy::unwrap_used, clippy::expect_used)]

mod clock;
mod configuration;
mod failures;
mod http;
mod mistakes;
mod service;
mod settings;
