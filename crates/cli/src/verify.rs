//! `farandole verify`: a topic's chains, walked from the beginning.

mod read;
mod report;
mod walk;

pub use read::topic;
pub use report::{Chain, Report};
pub use walk::{Seen, Tally, Walk};
