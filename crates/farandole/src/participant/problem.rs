//! Answers to callers: what was done, or an RFC 9457 problem that names every wrong field.

use serde::{Deserialize, Serialize};
use serde_json::Value;

/// What a command's caller receives when it was accepted; a route returns it as it is.
///
/// ```
/// use farandole::{Answer, FieldError, Problem};
/// use serde_json::json;
///
/// let created = Answer::created(json!({ "order_id": "o-1" })).at("/orders/o-1");
/// assert_eq!((created.status(), created.location.as_deref()), (201, Some("/orders/o-1")));
/// assert_eq!([Answer::ok(json!({})).status(), Answer::accepted(json!({})).status(), Answer::empty().status()], [200, 202, 204]);
///
/// let problem = Problem::conflict("already-shipped", "order o-1 was shipped on 3 May; return it instead");
/// assert_eq!(problem.to_string(), "409 already shipped: order o-1 was shipped on 3 May; return it instead");
/// assert_eq!(problem.kind, "/problems/already-shipped");
/// let field = FieldError { field: "lines[3].quantity".to_owned(), reason: "is 0; it has to be at least 1".to_owned() };
/// assert_eq!(Problem::invalid(vec![field]).status, 422);
/// assert_eq!(Problem::unavailable("the catalogue can't be read", 5).retry_after, Some(5));
/// ```
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Answer {
    /// Stored as the status of HTTP that says it.
    #[serde(rename = "status", with = "status")]
    kind: Kind,
    /// The body, sent as JSON.
    pub body: Value,
    /// The `Location` header: where what was created can be read.
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
    /// 200: it is so, now or already.
    pub fn ok(body: Value) -> Self {
        Self { kind: Kind::Ok, body, location: None }
    }

    /// 201: something was created; [`at`](Self::at) says where.
    pub fn created(body: Value) -> Self {
        Self { kind: Kind::Created, body, location: None }
    }

    /// 202: it is accepted; what comes of it shows later.
    pub fn accepted(body: Value) -> Self {
        Self { kind: Kind::Accepted, body, location: None }
    }

    /// 204: it is done, and there is nothing to say about it.
    pub fn empty() -> Self {
        Self { kind: Kind::Empty, body: Value::Null, location: None }
    }

    /// Adds a `Location` header: where what was created can be read.
    #[must_use]
    pub fn at(mut self, location: impl Into<String>) -> Self {
        self.location = Some(location.into());
        self
    }

    /// The HTTP status.
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

/// RFC 9457 problem details: what a caller receives who can't have what was asked for. As a route's error it becomes a response of type
/// `application/problem+json`. Don't put the cause of a 5xx into it; log that. [`Answer`] has an example.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, thiserror::Error)]
#[error("{status} {title}: {detail}")]
pub struct Problem {
    /// A stable name of the kind of problem, as a relative reference: `/problems/not-found`.
    #[serde(rename = "type")]
    pub kind: String,
    /// The kind in words: `not found`.
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
    pub retry_after: Option<u32>,
    /// What else programs can read, by name: members of its own kind. [`Problem::with`] adds one.
    #[serde(flatten)]
    pub members: Box<serde_json::Map<String, Value>>,
}

impl Problem {
    /// A problem of this HTTP status (4xx or 5xx). `kind` is a word for programs, in kebab case: `not-found` becomes the type
    /// `/problems/not-found`. `detail` says what happened this time, and what to do.
    pub fn new(status: u16, kind: &str, detail: impl Into<String>) -> Self {
        let title = kind.replace('-', " ");
        Self {
            kind: format!("/problems/{kind}"),
            title,
            status,
            detail: detail.into(),
            errors: Vec::new(),
            retry_after: None,
            members: Box::default(),
        }
    }

    /// 422: these fields are wrong. Name all of them, not only the first.
    pub fn invalid(errors: Vec<FieldError>) -> Self {
        let mut problem = Self::new(422, "invalid-request", format!("{} field(s) are wrong; see errors", errors.len()));
        problem.errors = errors;
        problem
    }

    /// Adds a member that programs can read, beside the words: `problem.with("balance", json!(30))`. Not for the names that every problem has.
    #[must_use]
    pub fn with(mut self, name: &str, value: Value) -> Self {
        self.members.insert(name.to_owned(), value);
        self
    }

    /// 404, in words: `no order has this id`.
    pub fn not_found(detail: impl Into<String>) -> Self {
        Self::new(404, "not-found", detail)
    }

    /// 409: not in its present state. `kind` is as in [`Problem::new`].
    pub fn conflict(kind: &str, detail: impl Into<String>) -> Self {
        Self::new(409, kind, detail)
    }

    /// 403: not for this caller.
    pub fn forbidden(detail: impl Into<String>) -> Self {
        Self::new(403, "forbidden", detail)
    }

    /// 503: trouble on our side that passes; the caller may try again after `retry_after` seconds.
    pub fn unavailable(detail: impl Into<String>, retry_after: u32) -> Self {
        let mut problem = Self::new(503, "unavailable", detail);
        problem.retry_after = Some(retry_after);
        problem
    }
}
