//! Wakes the agenda of this process when a commit opened tasks. Without it they are found by polling.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::Instant;

use tokio::sync::Notify;

use crate::engine::tasks::Opened;
use crate::ground::time::later;

/// Wakes what looks for effects, and what looks for deadlines unless it looks in time by itself: most are due in minutes, and a look at all
/// that is due for each order that opens one costs more than deciding about it.
#[doc(hidden)]
#[derive(Debug, Clone, Default)]
pub struct Poke(Arc<Inner>);

#[derive(Debug, Default)]
struct Inner {
    effects: Notify,
    deadlines: Notify,
    /// When deadlines are looked at next; none while they are.
    next: Mutex<Option<Instant>>,
}

impl Poke {
    /// This was opened. Calls that come before the agenda looks are one.
    pub fn wake(&self, opened: Opened) {
        if opened.effect {
            self.0.effects.notify_one();
        }
        // While a look is under way it may have missed this.
        if opened.deadline_in.is_some_and(|due| self.next().is_none_or(|next| later(due) < next)) {
            self.0.deadlines.notify_one();
        }
    }

    pub(super) async fn effects(&self) {
        self.0.effects.notified().await;
    }

    /// Waits for a deadline that is due before `next`, when they are looked at anyway.
    pub(super) async fn deadlines(&self, next: Instant) {
        self.set_next(Some(next));
        self.0.deadlines.notified().await;
    }

    /// Deadlines are looked at.
    pub(super) fn looks(&self) {
        self.set_next(None);
    }

    fn next(&self) -> Option<Instant> {
        *self.0.next.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn set_next(&self, next: Option<Instant>) {
        *self.0.next.lock().unwrap_or_else(PoisonError::into_inner) = next;
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use futures_util::FutureExt as _;

    use super::*;

    fn deadline(seconds: u64) -> Opened {
        Opened { effect: false, deadline_in: Some(Duration::from_secs(seconds)) }
    }

    #[test]
    fn deadlines_are_looked_at_for_what_is_due_before_the_next_look() {
        let (poke, next) = (Poke::default(), Instant::now() + Duration::from_secs(30));
        let woken = || poke.deadlines(next).now_or_never().is_some();
        assert!(!woken());
        poke.wake(deadline(60));
        assert!(!woken(), "it is looked at before that anyway");
        poke.wake(deadline(10));
        assert!(woken() && !woken());
        poke.looks();
        poke.wake(deadline(60));
        assert!(woken(), "while a look is under way nobody knows when the next is");
        poke.wake(Opened { effect: true, deadline_in: None });
        assert!(!woken() && poke.effects().now_or_never().is_some());
    }
}
