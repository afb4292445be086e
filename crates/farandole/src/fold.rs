//! Events of the service's own topic, as rows: what `heal` and `rebuild` have in common.
//!
//! **Nothing is published, nobody is called and nothing is sent while events are folded**: what is here holds a participant, a codec and
//! rows. It has neither producer nor effect handler, and nothing below it starts one.
//!
//! **How it would fail without one fold**: a database that was healed and one that was rebuilt from the same topic would differ, and both
//! from what the service itself has written.

mod error;
mod events;
mod folder;
#[cfg(feature = "http")]
mod sample;

pub(crate) use error::Error;
pub(crate) use events::Events;
pub(crate) use folder::{Folder, follow};
#[cfg(feature = "http")]
pub(crate) use sample::Sample;

/// The scope in the step log of what the fold makes of the topic's first events.
pub(crate) const SCOPE: &str = "fold";
