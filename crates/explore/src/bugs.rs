//! Bugs that a good engineer could make, each a small change to one participant, and the world that shows it.

mod fulfilling;
mod placing;
mod subscribed;
mod telling;

use crate::bug::Bug;

/// All of them.
pub fn bugs() -> impl Iterator<Item = &'static Bug> {
    placing::BUGS.iter().chain(fulfilling::BUGS).chain(telling::BUGS).chain(subscribed::BUGS)
}
