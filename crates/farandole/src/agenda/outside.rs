//! Calls to the outside world.

use std::future::Future;
use std::time::Duration;

use uuid::Uuid;

use crate::ground::time::Timestamp;
use crate::participant::{NoEffect, Participant};

/// Calls to the outside world, by user code.
pub trait Effects<P: Participant>: Send + Sync + 'static {
    /// Names whom `effect` calls. Bulkhead and breaker are one a target.
    fn target(&self, effect: &P::Effect) -> &'static str;
    /// Makes one attempt. It is dropped at the timeout ([`Config::timeout`](crate::agenda::Config::timeout)), and then counts as unknown.
    fn run(&self, call: &Call, effect: &P::Effect) -> impl Future<Output = Result<P::Outcome, EffectError>> + Send;
}

/// One attempt.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Call {
    /// The same for all attempts, and no other effect's.
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

/// For participants that ask nothing of the outside world.
#[derive(Debug, Clone, Copy, Default)]
pub struct NoEffects;

impl<P: Participant<Effect = NoEffect>> Effects<P> for NoEffects {
    fn target(&self, effect: &NoEffect) -> &'static str {
        match *effect {}
    }
    async fn run(&self, _call: &Call, effect: &NoEffect) -> Result<P::Outcome, EffectError> {
        match *effect {}
    }
}
