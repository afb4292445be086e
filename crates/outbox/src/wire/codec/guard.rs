//! Runs user code on untrusted data, catching panics.

use std::panic::{AssertUnwindSafe, catch_unwind};

/// Runs it; a panic in it is `None`.
pub(super) fn guarded<T>(read: impl FnOnce() -> T) -> Option<T> {
    // Readers and writers keep no state between calls, and what a panic leaves half made is dropped.
    catch_unwind(AssertUnwindSafe(read)).ok()
}
