//! Errors as RFC 9457 problem details. A 5xx never says why: the cause is in the process's own log.

use axum::extract::rejection::BytesRejection;
use axum::http::header::{CONTENT_TYPE, RETRY_AFTER};
use axum::http::{HeaderValue, StatusCode};
use axum::response::{IntoResponse, Response};
use serde::Serialize;

use crate::{log, store};

/// One complaint.
#[derive(Debug, Serialize)]
pub struct Wrong {
    pub field: String,
    pub message: String,
}

/// What a caller is told when the request was not done.
#[derive(Debug, Serialize)]
pub struct Problem {
    #[serde(rename = "type")]
    kind: String,
    title: &'static str,
    status: u16,
    /// The stable word that callers branch on.
    code: &'static str,
    detail: String,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    errors: Vec<Wrong>,
}

// === impl Problem ===

impl Problem {
    pub fn new(status: StatusCode, code: &'static str, detail: impl Into<String>) -> Self {
        Self {
            kind: kind(code),
            title: status.canonical_reason().unwrap_or("Error"),
            status: status.as_u16(),
            code,
            detail: detail.into(),
            errors: Vec::new(),
        }
    }

    pub fn malformed(detail: String) -> Self {
        Self::new(StatusCode::BAD_REQUEST, "invalid_request", detail)
    }

    pub fn wrong(errors: Vec<Wrong>) -> Self {
        let names: Vec<&str> = errors.iter().map(|wrong| wrong.field.as_str()).collect();
        let mut problem = Self::malformed(format!("wrong: {}", names.join(", ")));
        problem.errors = errors;
        problem
    }

    pub fn field(field: &str, message: &str) -> Self {
        Self::wrong(vec![Wrong { field: field.to_owned(), message: message.to_owned() }])
    }

    pub fn no_authorisation(id: impl std::fmt::Display) -> Self {
        Self::new(StatusCode::NOT_FOUND, "not_found", format!("there is no authorisation {id}"))
    }

    /// Nothing was done; worth another try soon.
    pub fn unavailable(detail: &str) -> Self {
        Self::new(StatusCode::SERVICE_UNAVAILABLE, "unavailable", detail)
    }

    /// Both complaints as one.
    pub fn and(mut self, other: Self) -> Self {
        if self.errors.is_empty() || other.errors.is_empty() {
            return if self.errors.is_empty() { self } else { other };
        }
        self.errors.extend(other.errors);
        Self::wrong(self.errors)
    }
}

/// A problem's type: a name, not an address.
pub fn kind(code: &str) -> String {
    format!("urn:acquirer:problem:{code}")
}

/// A JSON body of the problem type, whoever made it.
pub fn response(status: StatusCode, body: &impl Serialize) -> Response {
    let mut response = (status, axum::Json(body)).into_response();
    response.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static("application/problem+json"));
    if status == StatusCode::SERVICE_UNAVAILABLE {
        response.headers_mut().insert(RETRY_AFTER, HeaderValue::from_static("1"));
    }
    response
}

impl IntoResponse for Problem {
    fn into_response(self) -> Response {
        let status = StatusCode::from_u16(self.status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
        response(status, &self)
    }
}

impl From<BytesRejection> for Problem {
    fn from(rejection: BytesRejection) -> Self {
        match rejection.status() {
            StatusCode::PAYLOAD_TOO_LARGE => Self::new(StatusCode::PAYLOAD_TOO_LARGE, "too_large", "a body has at most 16 KiB"),
            _ => Self::malformed("the body can't be read".to_owned()),
        }
    }
}

impl From<log::Error> for Problem {
    fn from(error: log::Error) -> Self {
        match error {
            log::Error::Full => Self::unavailable("too many requests wait for the disk"),
            _ => Self::new(StatusCode::INTERNAL_SERVER_ERROR, "internal_error", "something went wrong"),
        }
    }
}

impl From<store::Error> for Problem {
    fn from(error: store::Error) -> Self {
        match error {
            store::Error::KeyReused => Self::new(
                StatusCode::UNPROCESSABLE_ENTITY,
                "idempotency_key_reused",
                "this Idempotency-Key was used for another request",
            ),
            store::Error::NotFound(id) => Self::no_authorisation(id),
            store::Error::Refused(refusal) => Self::new(StatusCode::CONFLICT, refusal.code(), refusal.to_string()),
            store::Error::Log(error) => error.into(),
        }
    }
}

impl std::fmt::Display for Problem {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(&self.detail)?;
        self.errors.iter().try_for_each(|wrong| write!(f, "; {} {}", wrong.field, wrong.message))
    }
}
