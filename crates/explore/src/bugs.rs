//! Bugs that a good engineer could make, each a small change to one participant, and the world that shows it.

mod fulfilling;
mod placing;
mod telling;

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

/// All of them.
pub fn bugs() -> impl Iterator<Item = &'static Bug> {
    placing::BUGS.iter().chain(fulfilling::BUGS).chain(telling::BUGS)
}
