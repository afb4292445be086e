//! HTTP: what every service's interface has in common, so that a handler is left with its own matter.
//!
//! Beside the service's routes there are `/healthz` (the process runs), `/readyz` (it can do its work, or why not), `/metrics`
//! and, if described, `/openapi.json`. Around the routes stand, from outside: metrics, a bound on requests under way
//! (further ones are told at once to come back), a time limit, a size limit, and a net for panics. Every error is an RFC 9457
//! problem, also those of axum's own extractors; a 5xx never carries its cause.
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
pub use checks::{Check, Checks};
pub use headers::{idempotency, idempotency_key, traceparent};
pub(crate) use shell::limits;
pub use shell::{Traceparent, around, service};

/// What a caller is told of trouble with the database, which goes to the log.
pub fn database(error: sqlx::Error) -> Problem {
    match trouble::for_caller(&error) {
        // Addresses and bodies are looked at before, so this is for what a route made of them.
        Trouble::Caller => {
            tracing::debug!(error = chain_of(&error), "a request that the database refuses");
            let detail = "something in this request is longer, larger or of other characters than can be stored";
            Problem::new(400, "cannot-be-stored", detail)
        }
        Trouble::Person => {
            tracing::error!(error = chain_of(&error), "what is stored can't be read");
            Problem::new(500, "internal", "what is stored can't be read; the operator has been told")
        }
        _ => {
            tracing::warn!(error = chain_of(&error), "reading from the database");
            Problem::unavailable("this can't be read now; try again", 1)
        }
    }
}
