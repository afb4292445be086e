//! The shop as processes on a stage, and the audit of what came of its orders: for the demo and for tests.

pub mod allowed;
pub mod audit;
pub mod check;
pub mod choreography;
pub mod facts;
pub mod ledger;
pub mod report;
pub mod shop;
pub mod tables;
pub mod topics;
