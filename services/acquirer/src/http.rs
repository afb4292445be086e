//! The HTTP interface: reads requests, asks the store, writes answers. It decides nothing.
//!
//! Commands and look-ups under `/authorisations` suffer the faults; `/ledger`, `/totals`, `/faults` and `/healthz` are the operator's
//! side and don't.

mod absurd;
mod faulty;
mod fields;
mod problem;
mod read;
mod shared;
mod view;

use std::sync::Arc;

use axum::body::Bytes;
use axum::extract::rejection::BytesRejection;
use axum::extract::{DefaultBodyLimit, RawQuery, State};
use axum::http::{HeaderMap, StatusCode};
use axum::response::{IntoResponse, Response};
use axum::routing::{get, post};
use axum::{Json, Router, middleware};
use jiff::Timestamp;
use serde_json::json;

use crate::authorisation::Command;

use read::Id;

pub use problem::Problem;
pub use read::faults as read_faults;
pub use shared::Acquirer;

/// The largest request body: thirty times the largest that has only valid fields.
const MAX_BODY: usize = 16 << 10;
type App = State<Arc<Acquirer>>;
type Body = Result<Bytes, BytesRejection>;
type Reply = Result<Response, Problem>;

/// The routes, apart from any socket.
pub fn app(acquirer: Arc<Acquirer>) -> Router {
    let faulty = middleware::from_fn_with_state(Arc::clone(&acquirer), faulty::suffer);
    Router::new()
        .route("/authorisations", post(authorise).get(look_up))
        .route("/authorisations/{id}", get(show))
        .route("/authorisations/{id}/capture", post(capture))
        .route("/authorisations/{id}/void", post(void))
        .route("/authorisations/{id}/refund", post(refund))
        .route_layer(faulty)
        .route("/ledger", get(ledger))
        .route("/totals", get(totals))
        .route("/faults", get(faults).put(set_faults))
        .route("/healthz", get(healthz))
        .fallback(async || Problem::new(StatusCode::NOT_FOUND, "no_such_path", "there is no such path"))
        .method_not_allowed_fallback(async || {
            Problem::new(StatusCode::METHOD_NOT_ALLOWED, "method_not_allowed", "this path has other methods")
        })
        .layer(DefaultBodyLimit::max(MAX_BODY))
        .with_state(acquirer)
}

async fn execute(app: &Acquirer, headers: &HeaderMap, command: Result<Command, Problem>) -> Reply {
    // Both are read before either is complained of, so that the caller hears of every wrong field at once.
    let (key, command) = read::both(read::key(headers), command)?;
    let answer = app.store.execute(&key, &command, app.faults.issuer(), now()).await?;
    Ok(view::answer(&answer))
}

async fn authorise(State(app): App, headers: HeaderMap, body: Body) -> Reply {
    execute(&app, &headers, read::purchase(&body?).map(Command::Authorise)).await
}

async fn capture(State(app): App, Id(id): Id, headers: HeaderMap, body: Body) -> Reply {
    let command = read::amount(&body?).map(|amount| Command::Capture { id, amount });
    execute(&app, &headers, command).await
}

async fn void(State(app): App, Id(id): Id, headers: HeaderMap, body: Body) -> Reply {
    execute(&app, &headers, read::nothing(&body?).map(|()| Command::Void { id })).await
}

async fn refund(State(app): App, Id(id): Id, headers: HeaderMap, body: Body) -> Reply {
    let command = read::amount(&body?).map(|amount| Command::Refund { id, amount });
    execute(&app, &headers, command).await
}

async fn show(State(app): App, Id(id): Id) -> Reply {
    let found = app.store.find(id).await?.ok_or_else(|| Problem::no_authorisation(id))?;
    Ok(Json(view::Authorisation::of(&found)).into_response())
}

async fn look_up(State(app): App, RawQuery(query): RawQuery) -> Reply {
    let reference = read::reference(query.as_deref())?;
    let found = app.store.of_reference(&reference).await?;
    Ok(Json(json!({ "authorisations": view::all(&found) })).into_response())
}

async fn ledger(State(app): App, RawQuery(query): RawQuery) -> Reply {
    let (after, limit) = read::page(query.as_deref())?;
    let page = app.store.page(after, limit).await?;
    let page = page.ok_or_else(|| Problem::field("after", "there is no such authorisation"))?;
    Ok(Json(view::Page::of(&page)).into_response())
}

async fn totals(State(app): App) -> Reply {
    Ok(Json(app.store.totals().await?).into_response())
}

async fn faults(State(app): App) -> Response {
    Json(app.faults.get()).into_response()
}

async fn set_faults(State(app): App, body: Body) -> Reply {
    app.faults.set(read::faults(&body?)?);
    Ok(Json(app.faults.get()).into_response())
}

async fn healthz() -> Response {
    Json(json!({ "status": "ok" })).into_response()
}

/// The wall clock, to the millisecond: what is told, logged and compared is the same.
fn now() -> Timestamp {
    let now = Timestamp::now();
    Timestamp::from_millisecond(now.as_millisecond()).unwrap_or(now)
}
