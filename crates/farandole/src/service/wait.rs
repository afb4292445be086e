//! Waits for dependencies at the start, and says for what.

use std::time::Duration;

use tokio::time::Instant;

use crate::ground::backoff::Backoff;
use crate::ground::error::chain_of;
use crate::ground::told::Told;
use crate::service::Error;
use crate::service::http::Checks;

/// Says what is waited for, and for how long.
pub(super) struct Patience<'a> {
    pub checks: &'a Checks,
    /// `None`: without end.
    pub limit: Option<Duration>,
}

impl Patience<'_> {
    /// Tries until it works or fails for a reason that doesn't pass.
    ///
    /// `attempt` is a plain closure: with an `AsyncFnMut` the compiler can't see that who waits may change threads.
    pub async fn until<T, F: Future<Output = Result<T, Error>> + Send>(
        &self,
        what: &'static str,
        mut attempt: impl FnMut() -> F + Send,
    ) -> Result<T, Error> {
        let began = Instant::now();
        let (mut waits, mut told) = (Backoff::SERVER.waits(), Told::default());
        loop {
            match attempt().await {
                Ok(value) => {
                    self.checks.ok(what);
                    if waits.tries() > 0 {
                        tracing::info!(what, waited_seconds = began.elapsed().as_secs(), "there now");
                    }
                    return Ok(value);
                }
                Err(error) => self.may_pass(what, began, &mut told, error)?,
            }
            tokio::time::sleep(waits.next_wait()).await;
        }
    }

    /// Says what is waited for; or gives the error back, for which waiting is no use or no longer.
    fn may_pass(&self, what: &'static str, began: Instant, told: &mut Told, error: Error) -> Result<(), Error> {
        let why = chain_of(&error);
        self.checks.failing(what, &why);
        if !error.is_transient() {
            return Err(error);
        }
        if let Some(limit) = self.limit.filter(|limit| began.elapsed() >= *limit) {
            return Err(Error::GaveUp { what, waited: limit, source: Box::new(error) });
        }
        if told.is_due(&why) {
            tracing::warn!(what, why, "waiting");
        }
        Ok(())
    }
}
