//! Why an input parks.

/// Why an input can't be processed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Fault {
    /// In words, for the operator.
    pub reason: String,
    /// Whether it isn't the input that is wrong: what it needs may still come, or the system is in trouble. It doesn't count as a failure.
    pub transient: bool,
}
