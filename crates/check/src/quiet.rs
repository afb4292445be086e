//! Panics that are part of the work and aren't to be printed: `evolve` is tried on rows of which some aren't loaded yet.

use std::cell::Cell;
use std::sync::Once;

thread_local! {
    static QUIET: Cell<bool> = const { Cell::new(false) };
}

/// Runs this without printing what panics in it on this thread.
pub(crate) fn quietly<T>(code: impl FnOnce() -> T) -> T {
    static ONCE: Once = Once::new();
    ONCE.call_once(|| {
        let hook = std::panic::take_hook();
        std::panic::set_hook(Box::new(move |info| {
            if !QUIET.get() {
                hook(info);
            }
        }));
    });
    let before = QUIET.replace(true);
    let done = code();
    QUIET.set(before);
    done
}
