//! Answers that nobody should give, and that callers get all the same: from gateways in between, half-finished deployments, and
//! bugs. Whether the command was done can't be seen from them.

use std::convert::Infallible;
use std::io;
use std::time::Duration;

use axum::Json;
use axum::body::{Body, Bytes};
use axum::http::{HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use futures_util::stream::{self, StreamExt as _};
use serde_json::json;

use crate::problem::Problem;
use crate::record::Record;

/// What a proxy says for itself.
const PAGE: &str = "<!doctype html><html><head><title>Something went wrong</title></head><body><h1>Sorry!</h1></body></html>\n";
/// How long half an answer stands before the connection breaks.
const LATER: Duration = Duration::from_millis(20);
/// What a gateway answers without having understood anything; the last is the one that ends a long wait.
const STATUSES: [u16; 8] = [400, 402, 403, 404, 409, 429, 502, 408];

/// So many kinds: a gateway's ways to say no are as likely as all others together.
pub const KINDS: f64 = 18.0;

/// An answer in place of the true one. `other` is somebody else's record, if there is one.
pub fn answer<R: Record>(kind: usize, other: Option<R>) -> Response {
    let json = [(header::CONTENT_TYPE, "application/json")];
    match kind {
        // To come again in more years than there are.
        0 => {
            let mut refused = Problem::new("unavailable", "come again much later (a fault that was switched on)").into_response();
            refused.headers_mut().insert(header::RETRY_AFTER, HeaderValue::from_static("9999999999999999999"));
            refused
        }
        1 => page(StatusCode::OK),
        2 => (StatusCode::CREATED, Json(json!({ "id": [], "status": 7, "amount": "much" }))).into_response(),
        3 => StatusCode::OK.into_response(),
        // To another path of this server, which answers 200.
        4 => (StatusCode::SEE_OTHER, [(header::LOCATION, "/healthz")]).into_response(),
        // To nobody: who follows it may take that for a request that was never sent.
        5 => (StatusCode::TEMPORARY_REDIRECT, [(header::LOCATION, "http://127.0.0.1:1/")]).into_response(),
        6 => {
            let piece = stream::iter([Ok(Bytes::from_static(b"{\"id\":\"018f0000-0000-7000-8000-0000"))]);
            // Later than the piece: what breaks at once is no answer at all.
            let broken = stream::once(async {
                tokio::time::sleep(LATER).await;
                Err(io::Error::from(io::ErrorKind::ConnectionReset))
            });
            (StatusCode::CREATED, json, Body::from_stream(piece.chain(broken))).into_response()
        }
        7 => other.map_or_else(|| page(StatusCode::OK), |other| Json(other).into_response()),
        // 64 MiB, all of it JSON: nobody should read it to its end.
        8 => {
            let first = Bytes::from(format!("{{\"status\":\"{}\",\"note\":\"", R::FINE));
            let pieces = std::iter::once(first).chain(std::iter::repeat_n(Bytes::from(vec![b'x'; 64 << 10]), 1_024));
            (StatusCode::CREATED, json, Body::from_stream(stream::iter(pieces.map(Ok::<_, Infallible>)))).into_response()
        }
        n => page(StatusCode::from_u16(STATUSES[n % STATUSES.len()]).unwrap_or(StatusCode::BAD_GATEWAY)),
    }
}

fn page(status: StatusCode) -> Response {
    (status, [(header::CONTENT_TYPE, "text/html; charset=utf-8")], PAGE).into_response()
}
