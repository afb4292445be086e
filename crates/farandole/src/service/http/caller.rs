//! Who asks for something, and the place to submit it.

use std::convert::Infallible;
use std::fmt::Display;

use axum::extract::{FromRef, FromRequestParts};
use axum::http::HeaderMap;
use axum::http::request::Parts;
use serde_json::{Value, json};
use uuid::Uuid;

use crate::engine::Idempotency;
use crate::participant::Participant;
use crate::participant::problem::{Answer, Problem};
use crate::service::api::Api;
use crate::service::http::headers::{idempotency, traceparent};

/// An extractor for routes that change something: submits commands, with the request's `Idempotency-Key` and trace context.
///
/// The same key on the same method and path with the same command about the same aggregate receives the first answer again, for
/// `http.idempotency_retention` (7 days); with another command it is refused with 422. A request without a key is a new one each time.
///
/// ```no_run
/// # mod loyalty { include!(concat!(env!("CARGO_MANIFEST_DIR"), "/doc/loyalty.rs")); }
/// # use loyalty::*;
/// use axum::{Router, extract::Path, routing::post};
/// use farandole::prelude::*;
///
/// async fn redeem(
///     Path((shop, customer)): Path<(String, String)>,
///     caller: Caller<Loyalty>,
///     JsonBody(redeem): JsonBody<Redeem>, // comes last, for it reads the body
/// ) -> Result<Answer, Problem> {
///     caller.named(shop).submit(customer, redeem).await // each shop's keys are its own
/// }
///
/// fn routes(api: Api<Loyalty>) -> Router {
///     Router::new().route("/shops/{shop}/customers/{customer}/redeem", post(redeem)).with_state(api)
/// }
/// ```
#[derive(Debug, Clone)]
pub struct Caller<P: Participant> {
    api: Api<P>,
    headers: HeaderMap,
    scope: String,
}

impl<P: Participant, S: Send + Sync> FromRequestParts<S> for Caller<P>
where
    Api<P>: FromRef<S>,
{
    type Rejection = Infallible;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Self, Infallible> {
        let scope = format!("{} {}", parts.method, parts.uri.path());
        Ok(Self { api: Api::from_ref(state), headers: parts.headers.clone(), scope })
    }
}

impl<P: Participant> Caller<P> {
    /// Names the caller, where a path has several (tenants, say): then equal keys of two of them are different keys. Without a name, all
    /// callers of a path share one space of keys.
    #[must_use]
    pub fn named(mut self, who: impl Display) -> Self {
        self.scope = format!("{who} {}", self.scope);
        self
    }

    /// Has `command` decided about the aggregate `id`, and gives its answer once everything is committed.
    ///
    /// # Errors
    /// The participant's refusal; 400 for an invalid `Idempotency-Key`, 422 for one that was used for another request; 503 when the outcome isn't
    /// known, or the aggregate has parked inputs: then the same request under the same key is safe.
    pub async fn submit(self, id: P::Id, command: P::Command) -> Result<Answer, Problem> {
        let idempotency = self.idempotency(&json!([id.to_string(), &command]))?;
        self.api.commands.submit(id, command, idempotency, traceparent(&self.headers)).await
    }

    /// The same for a command that creates an aggregate: its id is new, a UUIDv7, the [input's](crate::Input::id).
    ///
    /// # Errors
    /// As [`Caller::submit`].
    pub async fn create(self, command: P::Command) -> Result<Answer, Problem>
    where
        P::Id: From<Uuid>,
    {
        let idempotency = self.idempotency(&json!(command))?;
        self.api.commands.create(command, idempotency, traceparent(&self.headers)).await
    }

    fn idempotency(&self, asked: &Value) -> Result<Option<Idempotency>, Problem> {
        idempotency(&self.headers, self.scope.clone(), asked)
    }
}
