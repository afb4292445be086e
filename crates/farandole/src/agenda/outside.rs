//! Calls to the outside world.

use std::future::Future;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use uuid::Uuid;

use crate::ground::time::Timestamp;
use crate::participant::task::Never;
use crate::participant::{OutcomeOf, Participant};

/// Calls to the outside world, by user code.
pub trait EffectHandler<P: Participant>: Send + Sync + 'static {
    /// Names whom `effect` calls. Bulkhead and breaker are one a target.
    fn target(&self, effect: &P::Effect) -> &'static str;
    /// Makes one attempt. It is dropped at the timeout ([`Config::timeout`](crate::agenda::Config::timeout)), and then counts as unknown.
    fn run(&self, call: &Call, effect: &P::Effect) -> impl Future<Output = Result<OutcomeOf<P>, EffectError>> + Send;
}

/// One attempt.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Call {
    /// The same for all attempts; see [`Participant::idempotency`].
    pub idempotency_key: Uuid,
    /// 1 is the first.
    pub attempt: u32,
    /// When the first attempt was claimed, by the database's clock. Once the key is older than the other side keeps it, look up
    /// what became of it.
    pub first_attempt_at: Timestamp,
    /// The aggregate's id.
    pub aggregate: String,
    /// W3C trace context to pass on.
    pub traceparent: Option<String>,
}

impl Call {
    /// Whether an attempt was made before, and so long ago that a key which the other side keeps for `retention` may be forgotten there:
    /// asking again could do it twice, so look up first what became of it.
    #[expect(clippy::disallowed_methods, reason = "the age of a key in hours; nothing is decided or remembered by it")]
    pub fn may_be_forgotten(&self, retention: Duration) -> bool {
        let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        let now = Timestamp::from_micros(i64::try_from(now.as_micros()).unwrap_or(i64::MAX));
        self.attempt > 1 && now > self.first_attempt_at.plus(retention)
    }
}

/// Why an attempt has no outcome. Both are tried again, for ever; "no" is an outcome.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum EffectError {
    /// It didn't happen.
    #[error("not done: {reason}")]
    Retry {
        /// In words.
        reason: String,
        /// Not before, if the other side said so.
        after: Option<Duration>,
    },
    /// It may have happened: it will be asked again under the same key.
    #[error("outcome unknown: {reason}")]
    Unknown {
        /// In words.
        reason: String,
    },
}

/// Of a participant that asks nothing of the outside world.
impl<P: Participant<Effect = Never>> EffectHandler<P> for () {
    fn target(&self, effect: &Never) -> &'static str {
        match *effect {}
    }
    async fn run(&self, _call: &Call, effect: &Never) -> Result<Never, EffectError> {
        match *effect {}
    }
}
