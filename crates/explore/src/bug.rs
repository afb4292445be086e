//! A bug, and where it shows.

use farandole_check::World;

/// A bug.
pub struct Bug {
    /// What was done wrong.
    pub name: &'static str,
    /// What the checker says of it: part of what is violated.
    pub violates: &'static str,
    /// The world with it.
    pub world: fn() -> World,
}
