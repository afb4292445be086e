//! Waiting for what isn't there yet, and saying why.

use std::time::Duration;

use tokio::time::Instant;
use uuid::Uuid;

use crate::ground::error::chain_of;
use crate::service::Error;
use crate::service::http::Checks;

/// The first and the longest wait between two tries. The longest keeps a start within seconds of the end of the trouble.
const WAITS: (Duration, Duration) = (Duration::from_millis(100), Duration::from_secs(3));
/// The same reason is logged again after so long.
const REMIND: Duration = Duration::from_secs(60);

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
        let (mut ceiling, mut told) = (WAITS.0, None::<(String, Instant)>);
        loop {
            let error = match attempt().await {
                Ok(value) => {
                    self.checks.well(what);
                    if told.is_some() {
                        tracing::info!(what, waited_seconds = began.elapsed().as_secs(), "there now");
                    }
                    return Ok(value);
                }
                Err(error) => error,
            };
            let why = chain_of(&error);
            self.checks.wrong(what, &why);
            if !error.is_passing() {
                return Err(error);
            }
            if let Some(limit) = self.limit.filter(|limit| began.elapsed() >= *limit) {
                return Err(Error::GaveUp { what, waited: limit, source: Box::new(error) });
            }
            if told.as_ref().is_none_or(|(last, at)| *last != why || at.elapsed() >= REMIND) {
                tracing::warn!(what, why, "waiting");
                told = Some((why, Instant::now()));
            }
            tokio::time::sleep(jittered(ceiling)).await;
            ceiling = (ceiling * 2).min(WAITS.1);
        }
    }
}

/// Between half of `ceiling` and all of it, so that many services don't come back at once.
fn jittered(ceiling: Duration) -> Duration {
    let draw = (Uuid::new_v4().as_u128() & 0xffff) as u32; // the lowest bits of a UUIDv4 are random
    ceiling / 2 + ceiling / 2 * draw / 0xffff
}
