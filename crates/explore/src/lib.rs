//! The shop's worlds, and bugs that a good engineer could make, to be found in them.

pub mod bugs;
pub mod changed;
pub mod live;
pub mod shop;
