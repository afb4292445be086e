//! The operator's tool: what it does, apart from its command line.

pub mod graph;
mod kafka;
pub mod new;
pub mod operate;
pub mod schemas;
pub mod verify;
