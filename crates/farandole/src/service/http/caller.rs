//! Who asks for something, and the place to hand it in.

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

/// The caller of a route that changes something: takes commands, with the request's `Idempotency-Key` and trace context.
///
/// The same key on the same method and path with the same command about the same thing gives the first answer again; with another command it is refused. Who
/// has no key is taken at each request.
///
/// ```ignore
/// async fn cancel(Path(order): Path<Uuid>, caller: Caller<Orders>) -> Result<Answer, Problem> {
///     caller.submit(order, Command::Cancel).await
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
    /// It is this one of many who ask under the same path: their equal keys are different keys. Without it, all callers of a path share
    /// one space of keys.
    #[must_use]
    pub fn named(mut self, who: impl Display) -> Self {
        self.scope = format!("{who} {}", self.scope);
        self
    }

    /// Decides `command` about `id` and gives its answer once that is stored.
    ///
    /// # Errors
    /// The participant's refusal; 400 of an `Idempotency-Key` that is none; 503 when the answer isn't known: then the same request under
    /// the same key is safe.
    pub async fn submit(self, id: P::Id, command: P::Command) -> Result<Answer, Problem> {
        let idempotency = self.idempotency(&json!([id.to_string(), &command]))?;
        self.api.commands.submit(id, command, idempotency, traceparent(&self.headers)).await
    }

    /// Decides `command` about something that it makes, which gets a new id: the input's.
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
