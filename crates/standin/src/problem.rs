//! Errors as RFC 9457 problem details. A 5xx never says why: the cause is in the process's own log.
//!
//! A problem doesn't know whose it is: [`write`], the outermost layer of the routes, gives it its type. Without that layer it has no body.

use axum::Extension;
use axum::extract::rejection::{BytesRejection, PathRejection};
use axum::http::{StatusCode, header};
use axum::response::{IntoResponse, Response};
use serde::Serialize;
use serde_json::{Value, json};

/// What a caller is told when the request was not done.
#[derive(Clone, Debug, thiserror::Error)]
#[error("{}", .1["detail"].as_str().unwrap_or_default())]
pub struct Problem(StatusCode, Value);

impl Problem {
    /// `code` is the stable word that callers branch on. One that isn't known here says which state forbids the request: 409.
    pub fn new(code: &str, detail: impl Into<String>) -> Self {
        let status = match code {
            "invalid_request" => StatusCode::BAD_REQUEST,
            "not_found" | "no_such_path" => StatusCode::NOT_FOUND,
            "method_not_allowed" => StatusCode::METHOD_NOT_ALLOWED,
            "too_large" => StatusCode::PAYLOAD_TOO_LARGE,
            "idempotency_key_reused" => StatusCode::UNPROCESSABLE_ENTITY,
            "internal_error" => StatusCode::INTERNAL_SERVER_ERROR,
            "unavailable" => StatusCode::SERVICE_UNAVAILABLE,
            "timeout" => StatusCode::GATEWAY_TIMEOUT,
            _ => StatusCode::CONFLICT,
        };
        Self::of(status, code, detail)
    }

    /// With a status of its own.
    pub fn of(status: StatusCode, code: &str, detail: impl Into<String>) -> Self {
        let (title, detail) = (status.canonical_reason(), detail.into());
        Self(status, json!({ "type": null, "title": title, "status": status.as_u16(), "code": code, "detail": detail }))
    }

    /// Complaints: fields, and what is wrong with each.
    pub fn wrong(complaints: &[(String, String)]) -> Self {
        let detail: Vec<_> = complaints.iter().map(|(field, message)| format!("{field} {message}")).collect();
        let errors: Vec<_> = complaints.iter().map(|(field, message)| json!({ "field": field, "message": message })).collect();
        Self::new("invalid_request", detail.join("; ")).with("errors", errors)
    }

    /// With a member more.
    pub fn with(mut self, name: &str, value: impl Serialize) -> Self {
        self.1[name] = json!(value);
        self
    }

    /// Something may have been done.
    pub fn internal() -> Self {
        Self::new("internal_error", "something went wrong")
    }
}

impl IntoResponse for Problem {
    fn into_response(self) -> Response {
        let kind = [(header::CONTENT_TYPE, "application/problem+json")];
        let later = (self.0 == StatusCode::SERVICE_UNAVAILABLE).then_some([(header::RETRY_AFTER, "1")]);
        (self.0, kind, later, Extension(self)).into_response()
    }
}

/// Writes the problem of a response, if it is one, as that stand-in's.
pub fn write(of: &str, mut response: Response) -> Response {
    if let Some(Problem(_, mut body)) = response.extensions_mut().remove() {
        body["type"] = json!(format!("urn:{of}:problem:{}", body["code"].as_str().unwrap_or_default()));
        *response.body_mut() = body.to_string().into();
    }
    response
}

impl From<BytesRejection> for Problem {
    fn from(rejection: BytesRejection) -> Self {
        match rejection.status() {
            StatusCode::PAYLOAD_TOO_LARGE => Self::new("too_large", "a body has at most 16 KiB"),
            _ => Self::new("invalid_request", "the body can't be read"),
        }
    }
}

impl From<PathRejection> for Problem {
    fn from(_: PathRejection) -> Self {
        Self::new("not_found", "there is no such record: this can't be an id")
    }
}

/// Anything else than a problem is the database's trouble.
impl From<anyhow::Error> for Problem {
    fn from(error: anyhow::Error) -> Self {
        error.downcast().unwrap_or_else(|error| {
            tracing::error!(error = format!("{error:#}"), "the database failed");
            Self::internal()
        })
    }
}
