//! One binary: what the schemas promise to those who hold older or newer ones. What each event's bytes are is tested in the crate, by
//! what `farandole-build` generates.
#![allow(clippy::unwrap_used, clippy::expect_used)]

mod bytes;
mod codec;
mod evolution;
mod sample;
