//! Answers to callers: what was done, or an RFC 9457 problem that names every wrong field.

use serde::{Deserialize, Serialize};
use serde_json::Value;

/// What a command's caller gets when it was taken.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Answer {
    /// Stored as the status of HTTP that says it.
    #[serde(rename = "status", with = "status")]
    kind: Kind,
    /// The body, sent as JSON.
    pub body: Value,
    /// Where the thing that was made can be read, if one was.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub location: Option<String>,
}

/// What an answer says.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Kind {
    Ok,
    Created,
    Accepted,
    Empty,
}

impl Answer {
    /// It is so, now or already.
    pub fn ok(body: Value) -> Self {
        Self { kind: Kind::Ok, body, location: None }
    }

    /// Something was made.
    pub fn created(body: Value) -> Self {
        Self { kind: Kind::Created, body, location: None }
    }

    /// It is taken; what comes of it shows later.
    pub fn accepted(body: Value) -> Self {
        Self { kind: Kind::Accepted, body, location: None }
    }

    /// It is done, and there is nothing to say about it.
    pub fn empty() -> Self {
        Self { kind: Kind::Empty, body: Value::Null, location: None }
    }

    /// Adds where the thing can be read.
    #[must_use]
    pub fn at(mut self, location: impl Into<String>) -> Self {
        self.location = Some(location.into());
        self
    }

    /// The status of HTTP that says it.
    pub fn status(&self) -> u16 {
        self.kind.status()
    }
}

impl Kind {
    fn status(self) -> u16 {
        match self {
            Self::Ok => 200,
            Self::Created => 201,
            Self::Accepted => 202,
            Self::Empty => 204,
        }
    }
}

/// Answers that are kept for who asks again, as earlier builds wrote them.
mod status {
    use serde::{Deserialize as _, Deserializer, Serializer};

    use super::Kind;

    pub fn serialize<S: Serializer>(kind: &Kind, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_u16(kind.status())
    }

    pub fn deserialize<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Kind, D::Error> {
        Ok(match u16::deserialize(deserializer)? {
            201 => Kind::Created,
            202 => Kind::Accepted,
            204 => Kind::Empty,
            _ => Kind::Ok,
        })
    }
}

/// One wrong field of a request.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct FieldError {
    /// Where, as a path: `lines[3].quantity`.
    pub field: String,
    /// What is wrong with it and what would be right.
    pub reason: String,
}

/// RFC 9457 problem details. A 5xx never carries its cause; that is in the log.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, thiserror::Error)]
#[error("{status} {title}: {detail}")]
pub struct Problem {
    /// A stable name of the kind of problem, as a relative reference.
    #[serde(rename = "type")]
    pub kind: String,
    /// The kind in words.
    pub title: String,
    /// HTTP status, 4xx or 5xx.
    pub status: u16,
    /// What happened this time and what to do.
    pub detail: String,
    /// Every wrong field.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub errors: Vec<FieldError>,
    /// Seconds to wait before asking again; sent as `Retry-After`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub retry_after: Option<u64>,
}

impl Problem {
    /// A problem of `kind`, for example `"/problems/not-found"`'s last part `not-found`.
    pub fn new(status: u16, kind: &str, detail: impl Into<String>) -> Self {
        let title = kind.replace('-', " ");
        Self { kind: format!("/problems/{kind}"), title, status, detail: detail.into(), errors: Vec::new(), retry_after: None }
    }

    /// 422: these fields are wrong.
    pub fn invalid(errors: Vec<FieldError>) -> Self {
        let mut problem = Self::new(422, "invalid-request", format!("{} field(s) are wrong; see errors", errors.len()));
        problem.errors = errors;
        problem
    }

    /// 404: there is no such `what`.
    pub fn not_found(what: impl Into<String>) -> Self {
        Self::new(404, "not-found", what)
    }

    /// 409: not in the state that it is in. `kind` names it as in [`Problem::new`].
    pub fn conflict(kind: &str, detail: impl Into<String>) -> Self {
        Self::new(409, kind, detail)
    }

    /// 403: not for this caller.
    pub fn forbidden(detail: impl Into<String>) -> Self {
        Self::new(403, "forbidden", detail)
    }

    /// 503: trouble on our side that ends by itself.
    pub fn unavailable(detail: impl Into<String>, retry_after: u64) -> Self {
        let mut problem = Self::new(503, "unavailable", detail);
        problem.retry_after = Some(retry_after);
        problem
    }
}
