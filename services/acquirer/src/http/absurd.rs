//! Answers that no acquirer should give, and that callers get all the same: from gateways in between, half-finished deployments, and
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

use super::{Acquirer, Problem, view};
use crate::faults::Absurdity;

/// What a proxy says for itself.
const PAGE: &str = "<!doctype html><html><head><title>Something went wrong</title></head><body><h1>Sorry!</h1></body></html>\n";
/// An answer that nobody should read to its end: 64 MiB, all of it JSON, in pieces of 64 KiB.
const PIECES: usize = 1_024;
const PIECE: usize = 64 << 10;
/// How long half an answer stands before the connection breaks.
const LATER: Duration = Duration::from_millis(20);
/// What a gateway answers without having understood anything; the last is the one that ends a long wait.
const STATUSES: [StatusCode; 8] = [
    StatusCode::BAD_REQUEST,
    StatusCode::PAYMENT_REQUIRED,
    StatusCode::FORBIDDEN,
    StatusCode::NOT_FOUND,
    StatusCode::CONFLICT,
    StatusCode::TOO_MANY_REQUESTS,
    StatusCode::BAD_GATEWAY,
    StatusCode::REQUEST_TIMEOUT,
];

/// An answer in place of the true one.
pub async fn answer(absurdity: Absurdity, app: &Acquirer) -> Response {
    match absurdity {
        Absurdity::ComeAgainNever => {
            let refused = Problem::unavailable("come again much later (a fault that was switched on)").into_response();
            let (mut parts, body) = refused.into_parts();
            parts.headers.insert(header::RETRY_AFTER, HeaderValue::from_static("9999999999999999999"));
            Response::from_parts(parts, body)
        }
        Absurdity::Gateway(n) => html(STATUSES[n % STATUSES.len()]),
        Absurdity::Page => html(StatusCode::OK),
        Absurdity::Nonsense => (StatusCode::CREATED, Json(json!({ "id": [], "status": 7, "amount": "much" }))).into_response(),
        Absurdity::Empty => StatusCode::OK.into_response(),
        Absurdity::Redirect => (StatusCode::SEE_OTHER, [(header::LOCATION, "/healthz")]).into_response(),
        // Who follows it finds nobody there, and may take that for a request that was never sent.
        Absurdity::Astray => (StatusCode::TEMPORARY_REDIRECT, [(header::LOCATION, "http://127.0.0.1:1/")]).into_response(),
        Absurdity::Truncated => {
            let piece = stream::iter([Ok(Bytes::from_static(b"{\"id\":\"018f0000-0000-7000-8000-0000"))]);
            // Later than the piece: what breaks at once is no answer at all.
            let broken = stream::once(async {
                tokio::time::sleep(LATER).await;
                Err(io::Error::from(io::ErrorKind::ConnectionReset))
            });
            let body = Body::from_stream(piece.chain(broken));
            (StatusCode::CREATED, [(header::CONTENT_TYPE, "application/json")], body).into_response()
        }
        Absurdity::AnotherOrders => {
            match app.store.page(None, 1).await.ok().flatten().as_ref().and_then(|p| p.authorisations.first()) {
                Some(first) => Json(view::Authorisation::of(first)).into_response(),
                None => html(StatusCode::OK),
            }
        }
        Absurdity::Long => {
            let first = Bytes::from_static(b"{\"status\":\"authorised\",\"note\":\"");
            let piece = Bytes::from(vec![b'x'; PIECE]);
            let pieces = std::iter::once(first).chain(std::iter::repeat_n(piece, PIECES)).map(Ok::<_, Infallible>);
            let body = Body::from_stream(stream::iter(pieces));
            (StatusCode::CREATED, [(header::CONTENT_TYPE, "application/json")], body).into_response()
        }
    }
}

fn html(status: StatusCode) -> Response {
    (status, [(header::CONTENT_TYPE, "text/html; charset=utf-8")], PAGE).into_response()
}
