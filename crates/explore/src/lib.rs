//! The shop's worlds, and bugs that a good engineer could make, to be found in them.

pub mod bug;
pub mod bugs;
pub mod cases;
pub mod changed;
pub mod fulfilling;
pub mod invariants;
pub mod like;
pub mod live;
pub mod placing;
pub mod ran;
pub mod shop;
pub mod subscribed;
pub mod telling;
pub mod worlds;
