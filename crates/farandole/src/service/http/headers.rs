//! What requests and answers say in their headers.

use axum::http::HeaderMap;
use serde_json::Value;
use sha2::{Digest as _, Sha256};

use crate::engine::Idempotency;
use crate::parking;
use crate::participant::problem::Problem;
use crate::wire::traceparent::is_traceparent;

/// Longest `Idempotency-Key`; UUIDs and hashes are far shorter.
const LONGEST_KEY: usize = 255;

/// The request's `Idempotency-Key`, if it has one.
///
/// # Errors
/// 400 when it isn't 1 to 255 visible ASCII characters, or comes more than once.
pub fn idempotency_key(headers: &HeaderMap) -> Result<Option<String>, Problem> {
    let mut values = headers.get_all("idempotency-key").iter();
    let (Some(value), None) = (values.next(), values.next()) else {
        return match headers.contains_key("idempotency-key") {
            true => Err(Problem::new(400, "invalid-idempotency-key", "there is more than one Idempotency-Key")),
            false => Ok(None),
        };
    };
    match value.to_str() {
        Ok(key) if (1..=LONGEST_KEY).contains(&key.len()) && key.bytes().all(|b| b.is_ascii_graphic()) => {
            Ok(Some(key.to_owned()))
        }
        _ => {
            let detail = format!("an Idempotency-Key is 1 to {LONGEST_KEY} visible ASCII characters, without spaces");
            Err(Problem::new(400, "invalid-idempotency-key", detail))
        }
    }
}

/// The request's `Idempotency-Key` with whose it is and what was asked for under it, for [`Commands`](crate::http::Commands); a
/// [`Caller`](crate::http::Caller) does this by itself. `scope` tells callers and routes apart; `asked` is everything that makes the request
/// this one.
///
/// # Errors
/// As [`idempotency_key`].
pub fn idempotency(headers: &HeaderMap, scope: String, asked: &Value) -> Result<Option<Idempotency>, Problem> {
    let key = idempotency_key(headers)?;
    // A scope names callers, whose names may be of any length; an index takes some 2,700 bytes.
    let scope = parking::name(scope.as_bytes()).into_owned();
    Ok(key.map(|key| Idempotency { scope, key, body_hash: Sha256::digest(asked.to_string()).into() }))
}

/// The request's W3C trace context, to be passed on to others. Within a service's routes there always is one: the caller's if that is valid,
/// else a new one.
pub fn traceparent(headers: &HeaderMap) -> Option<String> {
    headers.get("traceparent")?.to_str().ok().filter(|text| is_traceparent(text)).map(str::to_owned)
}
