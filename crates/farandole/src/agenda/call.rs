//! One attempt at an effect, and what it tells.

use std::panic::AssertUnwindSafe;
use std::time::{Duration, Instant};

use futures_util::FutureExt as _;
use tracing::Instrument as _;

use crate::agenda::claims::Claim;
use crate::agenda::metrics;
use crate::agenda::target::{Ready, Shared};
use crate::agenda::{Call, Config, EffectError, Effects};
use crate::engine::trace;
use crate::participant::Participant;

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

/// Runs one attempt under `claim`.
pub(super) async fn attempt<P: Participant, E: Effects<P>>(
    effects: &E,
    config: &Config,
    target: &'static str,
    breaker: &Shared,
    ready: &Ready<P::Effect>,
    claim: Claim,
) -> Ended<P::Outcome> {
    let (span, context) = trace::effect(target, &ready.id.name, claim.attempt, ready.traceparent.as_deref());
    let call = Call {
        idempotency_key: ready.idempotency_key,
        attempt: claim.attempt,
        first_attempt_at: claim.first.unwrap_or_default(),
        aggregate: ready.id.key.clone(),
        traceparent: context.or_else(|| ready.traceparent.clone()),
    };
    let (high, low) = ready.id.cause.as_u64_pair();
    let who = high ^ low;
    let began = Instant::now();
    let run = async { effects.run(&call, &ready.effect).await }.instrument(span);
    let ended = AssertUnwindSafe(tokio::time::timeout(config.timeout, run)).catch_unwind().await;
    metrics::EFFECT_SECONDS.record(began.elapsed(), [target.into()]);

    let (result, why, after, happened) = match ended {
        Ok(Ok(Ok(outcome))) => {
            told(target, breaker, "outcome", who);
            return Ended::Outcome(outcome);
        }
        Ok(Ok(Err(EffectError::Retry { reason, after }))) => ("retry", reason, after, false),
        Ok(Ok(Err(EffectError::Unknown { reason }))) => ("unknown", reason, None, true),
        Ok(Err(_)) => ("timeout", format!("no answer within {:?}", config.timeout), None, true),
        Err(_) => ("panic", "the effect's code panicked".to_owned(), None, true),
    };
    told(target, breaker, result, who);
    let asked = after.unwrap_or_default();
    if asked > config.longest_wait {
        metrics::WAITS_CUT.add(1, [target.into()]);
        if breaker.is_news() {
            tracing::warn!(
                target_name = target,
                asked_seconds = asked.as_secs(),
                longest_seconds = config.longest_wait.as_secs(),
                "the other side asks for a longer wait than is kept; it is asked again after the longest. Further such answers are counted only"
            );
        }
    }
    let wait = config.backoff.wait(claim.attempt).max(asked.min(config.longest_wait));
    if is_alarming(claim.attempt) {
        tracing::warn!(
            target_name = target,
            name = ready.id.name,
            key = ready.id.key,
            attempt = claim.attempt,
            why,
            "an effect still has no outcome; it is tried for ever"
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
    Ended::Again { after: wait, maybe: claim.maybe || happened }
}

fn told(target: &'static str, breaker: &Shared, result: &'static str, who: u64) {
    // A panic tells of our code, and nothing of the target.
    if result != "panic" {
        breaker.get().ended(Instant::now(), result == "outcome", who);
    }
    metrics::EFFECT_ATTEMPTS.add(1, [target.into(), result.into()]);
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
