//! What a case is.

/// What is done while it is counted.
pub type Work = Box<dyn FnOnce() -> anyhow::Result<()>>;

/// So many events, and what is done with them.
pub struct Case {
    pub events: u64,
    pub work: Work,
}

/// Events of a case that takes them one by one: enough that what happens every now and then (a buffer of random bytes is filled) is
/// spread evenly.
pub const EVENTS: u64 = 2_000;
