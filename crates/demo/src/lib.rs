//! The shop as processes on a stage, and what came of its orders: for the demo and for tests.

pub mod choreography;
pub mod report;
pub mod scripted;
pub mod settled;
pub mod shop;
