//! Messages from running calls, and from the writer of outcomes, to the claiming task.

use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use tokio::sync::Notify;

use crate::agenda::target::Ready;
use crate::engine::tasks::Id;

/// What became of an effect that was started.
#[derive(Debug)]
pub(super) enum News<F> {
    /// Its call ended, well or not; or in a way that says nothing of its target. What came of it isn't written yet.
    Ended { id: Id, well: Option<bool> },
    /// It is no longer this worker's.
    Gone(Id),
    /// It waits for its next attempt, which the rows say, too.
    Again(Ready<F>, Duration),
}

/// The news since it was looked at last. Bounded by the claims held.
#[derive(Debug)]
pub(super) struct Inbox<F> {
    news: Mutex<Vec<News<F>>>,
    /// Told when there is some.
    pub changed: Notify,
}

impl<F> Inbox<F> {
    pub fn new() -> Self {
        Self { news: Mutex::new(Vec::new()), changed: Notify::new() }
    }

    pub fn take(&self) -> Vec<News<F>> {
        std::mem::take(&mut *self.news.lock().unwrap_or_else(PoisonError::into_inner))
    }

    pub fn tell(&self, news: impl IntoIterator<Item = News<F>>) {
        self.news.lock().unwrap_or_else(PoisonError::into_inner).extend(news);
        self.changed.notify_one();
    }
}
