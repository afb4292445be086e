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

use crate::ground::error::chain_of;
use crate::ground::trouble::{self, Trouble};
use crate::participant::problem::Problem;

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
