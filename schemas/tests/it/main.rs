//! One binary: what the schemas promise to those who hold older or newer ones, and to those who read bytes.
#![allow(clippy::unwrap_used, clippy::expect_used)]

mod bytes;
mod codec;
mod evolution;
mod generator;
mod released;
mod samples;
