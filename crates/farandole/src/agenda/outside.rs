//! Calls to the outside world.

use std::future::Future;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use uuid::Uuid;

use crate::ground::time::Timestamp;
use crate::participant::task::NoEffects;
use crate::participant::{OutcomeOf, Participant};

/// Runs the effects of `P`: calls the outside world. Give it to [`Service::effects`](crate::Service::effects).
///
/// An attempt says one of three things: an outcome, "not done", or "unknown". A refusal for good (the card is declined) is an outcome, too.
/// What isn't recognised (a gateway's page, a timeout) is unknown: it may have happened, and is asked again under the same key.
///
/// ```
/// # #[derive(Debug)] pub struct Shipping;
/// # #[derive(Debug, Clone, PartialEq, serde::Serialize, serde::Deserialize)] pub struct Book { pub order: String }
/// # #[derive(Debug, serde::Serialize, serde::Deserialize)] pub enum Outcome { Booked { tracking: String }, Refused { code: String } }
/// # farandole::effects! { pub enum Effect -> Outcome { Book } }
/// # farandole::tables! { pub struct Tables {} }
/// # impl Participant for Shipping {
/// #     const NAME: &'static str = "shipping";
/// #     type Id = String; type Event = Never; type Heard = Never; type Command = Never; type Deadline = Never; type Effect = Effect;
/// #     type Tables = Tables;
/// #     fn decide(&self, _: &Tables, _: &String, _: &Input<Self>) -> Result<Decision<Never>, Refusal> { Ok(Decision::nothing()) }
/// #     fn evolve(&self, _: &mut Tables, event: &Never) { match *event {} }
/// # }
/// use farandole::agenda::over_http::HttpClient;
/// use farandole::prelude::*;
/// use serde::Deserialize;
/// use serde_json::json;
///
/// pub struct Carrier { http: HttpClient }
///
/// #[derive(Deserialize)]
/// struct Parcel { tracking: String, order: String }
/// #[derive(Deserialize)]
/// struct No { code: String }
///
/// impl EffectHandler<Shipping> for Carrier {
///     fn target(&self, _: &Effect) -> &'static str {
///         "carrier"
///     }
///     async fn run(&self, call: &Call, Effect::Book(book): &Effect) -> Result<Outcome, EffectError> {
///         let request = self.http.post("https://carrier.example/parcels").json(&json!({ "order": book.order }));
///         let answer = self.http.send(call, request).await?; // sends the call's `Idempotency-Key`
///         answer
///             .done(201, |parcel: Parcel| (parcel.order == book.order).then_some(Outcome::Booked { tracking: parcel.tracking }))
///             .done(422, |no: No| Some(Outcome::Refused { code: no.code }))
///             .not_done(503, |no: No| (no.code == "busy").then_some(no.code))
///             .or_unknown()
///     }
/// }
/// ```
#[diagnostic::on_unimplemented(
    message = "`{Self}` doesn't run the effects of `{P}`",
    note = "give the service a handler: `Service::new(…).effects(handler)`, where `impl EffectHandler<{P}> for …`"
)]
pub trait EffectHandler<P: Participant>: Send + Sync + 'static {
    /// Names whom `effect` calls. Each target has its own limit of concurrent calls (`agenda.bulkhead`) and its own circuit breaker.
    fn target(&self, effect: &P::Effect) -> &'static str;
    /// Makes one attempt. It is dropped after `agenda.timeout` (10 s), and then counts as unknown.
    ///
    /// # Errors
    /// [`EffectError::Retry`] when nothing happened, [`EffectError::Unknown`] when something may have. Both are attempted again.
    fn run(&self, call: &Call, effect: &P::Effect) -> impl Future<Output = Result<OutcomeOf<P>, EffectError>> + Send;
}

/// One attempt at an effect.
///
/// ```
/// use std::time::Duration;
///
/// use farandole::Timestamp;
/// use farandole::agenda::Call;
///
/// let first_attempt_at = Timestamp::parse("2026-01-31T12:00:00Z").unwrap();
/// let (idempotency_key, aggregate) = (uuid::Uuid::from_u128(1), "order-17".to_owned());
/// let call = Call { idempotency_key, attempt: 3, first_attempt_at, aggregate, traceparent: None };
/// // A provider that keeps keys for a day has forgotten this one: look up what became of the earlier attempts first.
/// assert!(call.may_be_forgotten(Duration::from_secs(24 * 60 * 60)));
/// assert!(!Call { attempt: 1, ..call }.may_be_forgotten(Duration::from_secs(24 * 60 * 60)));
/// ```
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Call {
    /// The same for all attempts; see [`Participant::idempotency`].
    pub idempotency_key: Uuid,
    /// Which attempt this is; 1 is the first.
    pub attempt: u32,
    /// When the first attempt was claimed, by the database's clock. Once the key is older than the other side keeps it, look up
    /// what became of it.
    pub first_attempt_at: Timestamp,
    /// The aggregate's id.
    pub aggregate: String,
    /// W3C trace context to pass on, as the header `traceparent`.
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

/// Why an attempt has no outcome. Either way it is attempted again, with growing pauses, until there is one; "no" is an outcome.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum EffectError {
    /// Nothing happened at the other side.
    #[error("not done: {reason}")]
    Retry {
        /// In words, for the log. Keep secrets out of it.
        reason: String,
        /// How long to wait at least, if the other side said so: its `Retry-After`. Longer waits than `agenda.longest_wait` (5 min) are cut.
        after: Option<Duration>,
    },
    /// It may have happened: it is retried under the same idempotency key.
    #[error("outcome unknown: {reason}")]
    Unknown {
        /// In words, for the log. Keep secrets out of it.
        reason: String,
    },
}

/// Of a participant without effects.
impl<P: Participant<Effect: NoEffects>> EffectHandler<P> for () {
    fn target(&self, effect: &P::Effect) -> &'static str {
        match *effect.never() {}
    }
    async fn run(&self, _call: &Call, effect: &P::Effect) -> Result<OutcomeOf<P>, EffectError> {
        match *effect.never() {}
    }
}
