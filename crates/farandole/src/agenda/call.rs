//! One attempt at an effect, and what it tells.

use std::collections::HashSet;
use std::panic::AssertUnwindSafe;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use futures_util::FutureExt as _;
use tracing::Instrument as _;

use crate::agenda::claims::Claim;
use crate::agenda::metrics;
use crate::agenda::target::{Asked, Ready};
use crate::agenda::{Call, Config, EffectError, EffectHandler};
use crate::engine::trace;
use crate::participant::{OutcomeOf, Participant};

/// How an attempt ended.
#[derive(Debug)]
pub(super) enum Ended<O> {
    /// The outside world answered.
    Outcome(O),
    /// It is to be tried again.
    Again {
        after: Duration,
        /// Whether this attempt or one before may have happened.
        maybe: bool,
    },
}

/// Makes calls, of all targets.
#[derive(Debug)]
pub(super) struct Caller<E> {
    pub effects: E,
    config: Arc<Config>,
    /// Targets that have asked for a longer wait than is kept, and that was logged.
    told: Mutex<HashSet<&'static str>>,
}

impl<E> Caller<E> {
    pub fn new(effects: E, config: Arc<Config>) -> Self {
        Self { effects, config, told: Mutex::default() }
    }

    /// Runs one attempt under `claim`. Tells also whether it went well, as far as the target is concerned.
    pub async fn attempt<P: Participant>(&self, ready: &Ready<Asked<P>>, claim: Claim) -> (Ended<OutcomeOf<P>>, Option<bool>)
    where
        E: EffectHandler<P>,
    {
        let target = ready.target;
        let (span, context) = trace::effect(target, &ready.id.name, claim.attempt, ready.traceparent.as_deref());
        let call = Call {
            idempotency_key: ready.idempotency_key,
            attempt: claim.attempt,
            first_attempt_at: claim.first.unwrap_or_default(),
            aggregate: ready.id.key.clone(),
            traceparent: context.or_else(|| ready.traceparent.clone()),
        };
        let began = Instant::now();
        let run = async { self.effects.run(&call, &ready.effect.effect).await }.instrument(span);
        let ended = AssertUnwindSafe(tokio::time::timeout(self.config.timeout, run)).catch_unwind().await;
        metrics::EFFECT_SECONDS.record(began.elapsed(), [target.into()]);

        let count = |result: &'static str| metrics::EFFECT_ATTEMPTS.add(1, [target.into(), result.into()]);
        let (result, why, after, happened) = match ended {
            Ok(Ok(Ok(outcome))) => {
                count("outcome");
                return (Ended::Outcome(outcome), Some(true));
            }
            Ok(Ok(Err(EffectError::Retry { reason, after }))) => ("retry", reason, after, false),
            Ok(Ok(Err(EffectError::Unknown { reason }))) => ("unknown", reason, None, true),
            Ok(Err(_)) => ("timeout", format!("no answer within {:?}", self.config.timeout), None, true),
            Err(_) => ("panic", "the effect's code panicked".to_owned(), None, true),
        };
        count(result);
        let wait = self.config.backoff.wait(claim.attempt).max(self.kept(target, after.unwrap_or_default()));
        if is_alarming(claim.attempt) {
            tracing::warn!(
                target_name = target,
                name = ready.id.name,
                key = ready.id.key,
                attempt = claim.attempt,
                why,
                "an effect still has no outcome; retries continue indefinitely"
            );
        } else {
            tracing::debug!(
                target_name = target,
                name = ready.id.name,
                key = ready.id.key,
                attempt = claim.attempt,
                why,
                ?wait,
                result
            );
        }
        // A panic tells of our code, and nothing of the target.
        let well = if result == "panic" { None } else { Some(false) };
        (Ended::Again { after: wait, maybe: claim.maybe || happened }, well)
    }

    /// What is kept of the wait that the other side asked for.
    fn kept(&self, target: &'static str, asked: Duration) -> Duration {
        let longest = self.config.longest_wait;
        if asked > longest {
            metrics::WAITS_CUT.add(1, [target.into()]);
            if self.told.lock().unwrap_or_else(PoisonError::into_inner).insert(target) {
                tracing::warn!(
                    target_name = target,
                    asked_seconds = asked.as_secs(),
                    longest_seconds = longest.as_secs(),
                    "the target asked for a longer wait than `agenda.longest_wait`; retrying after that instead. Further such \
                     answers are only counted"
                );
            }
        }
        asked.min(longest)
    }
}

/// Attempts 10, 20, 40, 80, …
fn is_alarming(attempt: u32) -> bool {
    attempt.is_multiple_of(10) && (attempt / 10).is_power_of_two()
}

#[cfg(test)]
mod tests {
    #[test]
    fn alarms_come_at_doubling_attempts() {
        let alarms: Vec<u32> = (0..=200).filter(|n| super::is_alarming(*n)).collect();
        assert_eq!(alarms, [10, 20, 40, 80, 160]);
    }
}
