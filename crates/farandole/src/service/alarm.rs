//! What of a service's tables a person should see: counted every few seconds, shown by `/readyz` and `/metrics`, said once in the log.
//!
//! An alarm decides nothing. It is for what must not last and whose end doesn't lie in this service's hands.

use std::fmt;
use std::sync::atomic::{AtomicI64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use futures_util::future::BoxFuture;
use sqlx::PgPool;

use crate::service::http::Checks;
use crate::service::metrics;

/// Between two counts: soon for a person, and rare for the database.
const EVERY: Duration = Duration::from_secs(5);

/// Counts it.
type Count = Arc<dyn Fn(PgPool) -> BoxFuture<'static, sqlx::Result<i64>> + Send + Sync>;

/// One alarm.
#[derive(Clone)]
pub(super) struct Alarm {
    /// In snake case, for programs.
    pub name: &'static str,
    /// What is counted, and what to do about it.
    pub what: &'static str,
    pub count: Count,
}

impl fmt::Debug for Alarm {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Alarm").field(&self.name).finish()
    }
}

/// What was counted last.
#[derive(Default)]
struct Last {
    count: AtomicI64,
    trouble: Mutex<Option<String>>,
}

impl Alarm {
    /// Counts for ever. Neither what it finds nor that it can't count makes the service unready.
    pub async fn watch(self, pool: PgPool, checks: Checks) {
        let last = Arc::new(Last::default());
        let (shown, what) = (Arc::clone(&last), self.what);
        checks.probe(self.name, false, move || match shown.count.load(Ordering::Relaxed) {
            0 => shown.trouble.lock().unwrap_or_else(PoisonError::into_inner).clone(),
            count => Some(format!("{count}: {what}")),
        });
        loop {
            self.look(&pool, &last).await;
            tokio::time::sleep(EVERY).await;
        }
    }

    async fn look(&self, pool: &PgPool, last: &Last) {
        let counted = (self.count)(pool.clone()).await;
        *last.trouble.lock().unwrap_or_else(PoisonError::into_inner) =
            counted.as_ref().err().map(|error| format!("can't be counted: {error}"));
        // What was known last stands until it is known anew.
        let Ok(count) = counted else { return };
        metrics::ALARMS.set(count as f64, [self.name.into()]);
        let before = last.count.swap(count, Ordering::Relaxed);
        match (before, count) {
            (0, 1..) => tracing::warn!(alarm = self.name, count, "{}", self.what),
            (1.., 0) => tracing::info!(alarm = self.name, "is over"),
            _ => {}
        }
    }
}
