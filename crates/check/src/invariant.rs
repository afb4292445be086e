//! What has to hold.

use std::sync::atomic::AtomicBool;

use crate::seen::Seen;

/// When something has to hold.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum When {
    Always,
    AtEnd,
    Sometimes,
}

type Check = Box<dyn Fn(&Seen<'_>) -> Result<(), String> + Send + Sync>;

pub(crate) struct Invariant {
    pub name: String,
    pub when: When,
    pub holds: Check,
    /// Whether it ever looked at something that was there.
    pub spoke: AtomicBool,
    /// Whether it was ever true.
    pub met: AtomicBool,
}

/// What an invariant says: whether it holds, or why it doesn't.
pub trait Holds {
    /// As a result.
    ///
    /// # Errors
    /// Why it doesn't.
    fn holds(self) -> Result<(), String>;
}

impl Holds for bool {
    fn holds(self) -> Result<(), String> {
        if self { Ok(()) } else { Err(String::new()) }
    }
}

impl Holds for Result<(), String> {
    fn holds(self) -> Result<(), String> {
        self
    }
}
