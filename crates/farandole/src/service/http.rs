//! HTTP: what every service's interface has in common, so that your routes are left with their own matter. A route that changes something
//! takes a [`Caller`], and its body as a [`JsonBody`]; one that reads takes the [`Api`](crate::Api).
//!
//! Beside the service's routes there are `/healthz` (the process runs), `/readyz` (it can do its work, or why not), `/metrics`
//! and, if described, `/openapi.json`. Around the routes stand, from outside: metrics, a limit of concurrent requests
//! (further ones receive 503 at once), a time limit, a size limit, and a net for panics. Every error is an RFC 9457
//! problem, also those of axum's own extractors; a 5xx never carries its cause. `[http]` in the settings has all limits.
//!
//! **Invariant:** `/healthz` and `/readyz` don't stand in that queue: a service with too much to do is still seen to live.

mod address;
mod answers;
mod body;
mod caller;
mod checks;
mod headers;
mod plain;
mod shell;

use axum::extract::Query;
use axum::extract::rejection::QueryRejection;
use uuid::Uuid;

use crate::ground::error::chain_of;
use crate::ground::trouble::{self, Trouble};
use crate::participant::problem::{FieldError, Problem};

pub use crate::agenda::over_http::retry_after;
pub use body::JsonBody;
pub use caller::Caller;
#[doc(hidden)]
pub use checks::{Check, Checks};
pub use headers::{idempotency, idempotency_key, traceparent};
pub use shell::Traceparent;
pub(crate) use shell::limits;
#[doc(hidden)]
pub use shell::{around, service};

pub use crate::engine::Idempotency;
pub use crate::engine::commands::Commands;

/// An id that stands in a path as text. `whose` begins the answer to one that is none: "an order's".
///
/// # Errors
/// 400 when it is no UUID.
///
/// ```
/// use farandole::http;
///
/// assert!(http::uuid("018f0000-0000-7000-8000-000000000001", "an order's").is_ok());
/// assert_eq!(http::uuid("7", "an order's").unwrap_err().detail, "an order's id is a UUID");
/// ```
pub fn uuid(text: &str, whose: &str) -> Result<Uuid, Problem> {
    text.parse().map_err(|_| Problem::new(400, "invalid-id", format!("{whose} id is a UUID")))
}

/// What stands behind the `?` of an address.
///
/// # Errors
/// 400 with the reason when it can't be read.
///
/// ```
/// use axum::extract::Query;
/// use axum::extract::rejection::QueryRejection;
/// use farandole::{Problem, http};
///
/// #[derive(serde::Deserialize)]
/// struct Wanted {
///     limit: Option<i64>,
/// }
///
/// async fn list(wanted: Result<Query<Wanted>, QueryRejection>) -> Result<(), Problem> {
///     let wanted = http::query(wanted)?;
///     let limit = http::limit(wanted.limit, 50, 200)?;
///     # let _ = limit;
///     Ok(())
/// }
/// ```
pub fn query<T>(read: Result<Query<T>, QueryRejection>) -> Result<T, Problem> {
    read.map(|Query(query)| query).map_err(|error| Problem::new(400, "invalid-query", error.body_text()))
}

/// How many of a list a caller wants on a page: `usual` unless told.
///
/// # Errors
/// 422 when it isn't from 1 to `most`.
///
/// ```
/// use farandole::http;
///
/// assert_eq!(http::limit(None, 50, 200), Ok(50));
/// assert_eq!(http::limit(Some(201), 50, 200).unwrap_err().errors[0].reason, "must be from 1 to 200");
/// ```
pub fn limit(wanted: Option<i64>, usual: i64, most: i64) -> Result<i64, Problem> {
    let limit = wanted.unwrap_or(usual);
    if (1..=most).contains(&limit) {
        return Ok(limit);
    }
    Err(Problem::invalid(vec![FieldError { field: "limit".to_owned(), reason: format!("must be from 1 to {most}") }]))
}

/// What a caller receives when a route's query failed: 503 if the database is away, 400 if the request can't be stored, 500 otherwise. The
/// cause goes to the log. [`Api`](crate::Api) has an example.
pub fn database(error: sqlx::Error) -> Problem {
    match trouble::for_caller(&error) {
        // Addresses and bodies are looked at before, so this is for what a route made of them.
        Trouble::Caller => {
            tracing::debug!(error = chain_of(&error), "a request that the database refuses");
            let detail = "something in this request is too long, too large, or has characters that can't be stored";
            Problem::new(400, "cannot-be-stored", detail)
        }
        Trouble::Person => {
            tracing::error!(error = chain_of(&error), "what is stored can't be read");
            Problem::new(500, "internal", "stored data can't be read; an operator has been notified")
        }
        _ => {
            tracing::warn!(error = chain_of(&error), "reading from the database");
            Problem::unavailable("can't read this at the moment; try again", 1)
        }
    }
}
