//! The HTTP interface that all stand-ins have: reads requests, asks the store, writes answers. It decides nothing.
//!
//! Commands and look-ups of records suffer the faults; `/ledger`, `/totals`, `/faults` and `/healthz` are the operator's side and don't.

mod absurd;

use std::sync::Arc;
use std::time::Duration;

use anyhow::Context as _;
use axum::body::Bytes;
use axum::extract::rejection::{BytesRejection, PathRejection};
use axum::extract::{DefaultBodyLimit, Path, Query, Request, State};
use axum::http::{Method, StatusCode, header};
use axum::middleware::{Next, from_fn_with_state, map_response};
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use axum::{Json, Router};
use jiff::{Timestamp, Unit};
use serde_json::json;
use tokio::sync::Semaphore;
use tokio_util::sync::CancellationToken;
use uuid::Uuid;

use crate::book::{Book, Trade};
use crate::faults::{Faults as _, Switchboard};
use crate::fields::{Fields, ID, LIMIT, TEXT};
use crate::problem::{self, Problem};
use crate::record::Record;
use crate::store::Store;

/// The largest request body: thirty times the largest that has only valid fields.
const MAX_BODY: usize = 16 << 10;
/// Requests for records at a time, hanging ones included; more get a 503.
const MAX_IN_FLIGHT: usize = 2_048;
/// A page of the ledger, unless told.
const PAGE: usize = 100;

pub type App<T> = State<Arc<Standin<T>>>;
pub type Body = Result<Bytes, BytesRejection>;
pub type Id = Result<Path<Uuid>, PathRejection>;
pub type Reply = Result<Response, Problem>;

/// What the handlers share.
pub struct Standin<T: Trade> {
    pub store: Store<T>,
    pub faults: Switchboard<T::Faults>,
    /// Ends hanging answers, and what else goes on, when the server stops.
    pub closing: CancellationToken,
    slots: Semaphore,
}

impl<T: Trade> Standin<T> {
    pub fn new(book: Book<T>, faults: T::Faults) -> anyhow::Result<Self> {
        let (faults, slots) = (Switchboard::new(faults), Semaphore::new(MAX_IN_FLIGHT));
        Ok(Self { store: Store::new(book)?, faults, closing: CancellationToken::new(), slots })
    }
}

/// The routes, apart from any socket: those of `commands`, and those that every stand-in has.
pub fn app<T: Trade>(standin: Arc<Standin<T>>, commands: Router<Arc<Standin<T>>>) -> Router {
    let many = format!("/{}", T::Record::MANY);
    commands
        .route(&many, get(look_up::<T>))
        .route(&format!("{many}/{{id}}"), get(show::<T>))
        .route_layer(from_fn_with_state(Arc::clone(&standin), suffer::<T>))
        .route("/ledger", get(ledger::<T>))
        .route("/totals", get(async |State(app): App<T>| app.store.read(Book::totals).await.map(Json)))
        .route("/faults", get(async |State(app): App<T>| Json(app.faults.get())).put(set_faults::<T>))
        .route("/healthz", get(async || Json(json!({ "status": "ok" }))))
        .fallback(async || Problem::new("no_such_path", "there is no such path"))
        .method_not_allowed_fallback(async || Problem::new("method_not_allowed", "this path has other methods"))
        .layer(DefaultBodyLimit::max(MAX_BODY))
        .layer(map_response(async |response: Response| problem::write(T::Record::OF, response)))
        .with_state(standin)
}

/// To the millisecond: what is told, kept and compared is the same.
pub fn now() -> anyhow::Result<Timestamp> {
    Timestamp::now().round(Unit::Millisecond).context("rounding the time")
}

/// The fields of a body that may be left out: nothing is as good as an empty object, and what is missing is named.
pub fn fields(body: &[u8]) -> Result<Fields, Problem> {
    Fields::of_json(if body.is_empty() { b"{}" } else { body })
}

/// The answer to a command: 201 with its place for what is new; and whether it is told again.
pub fn done<R: Record>(record: R, is_new: bool, again: bool) -> Response {
    let place = is_new.then(|| [(header::LOCATION, format!("/{}/{}", R::MANY, record.id()))]);
    let status = if is_new { StatusCode::CREATED } else { StatusCode::OK };
    (status, told(again), place, Json(record)).into_response()
}

/// The header of an answer that is told again.
pub fn told(again: bool) -> Option<[(&'static str, &'static str); 1]> {
    again.then_some([("idempotent-replayed", "true")])
}

async fn show<T: Trade>(State(app): App<T>, id: Id) -> Reply {
    let Path(id) = id?;
    let found = app.store.read(move |book| book.find(id)).await?;
    Ok(Json(found).into_response())
}

// No query is malformed: whatever it is, it is read as pairs.
async fn look_up<T: Trade>(State(app): App<T>, Query(mut fields): Query<Fields>) -> Reply {
    let reference = fields.must(T::Record::REFERENCE, TEXT);
    fields.finish()?;
    let found = app.store.read(move |book| book.of_reference(&reference)).await?;
    Ok(Json(json!({ T::Record::MANY: found })).into_response())
}

async fn ledger<T: Trade>(State(app): App<T>, Query(mut fields): Query<Fields>) -> Reply {
    let (after, limit) = (fields.may("after", ID), fields.may("limit", LIMIT).unwrap_or(PAGE));
    fields.finish()?;
    let (page, more) = app.store.read(move |book| book.page(after, limit)).await?;
    let next = page.last().filter(|_| more).map(Record::id);
    Ok(Json(json!({ T::Record::MANY: page, "next": next })).into_response())
}

async fn set_faults<T: Trade>(State(app): App<T>, body: Body) -> Reply {
    app.faults.set(T::Faults::read(&body?)?);
    Ok(Json(app.faults.get()).into_response())
}

/// Lets a request suffer its fate: delays, refuses, fails, answers absurdly; and after a command is done, keeps silent or says that it
/// failed. A look-up that is answered wrongly changes nothing, so what comes after the deed befalls commands only.
async fn suffer<T: Trade>(State(app): App<T>, request: Request, next: Next) -> Response {
    let Ok(_slot) = app.slots.try_acquire() else {
        return Problem::new("unavailable", "too many requests are in flight").into_response();
    };
    let (faults, [jitter, fail, fail_after, hang, absurd, which, done]) = app.faults.draw();
    let (faults, is_command) = (faults.common(), request.method() == Method::POST);
    let delay = Duration::from_millis(faults.latency_ms) + Duration::from_millis(faults.jitter_ms).mul_f64(jitter);
    if !delay.is_zero() {
        tokio::time::sleep(delay).await;
    }
    if faults.refuse {
        let detail = format!("the {} refuses requests (a fault that was switched on)", T::Record::OF);
        return Problem::new("unavailable", detail).into_response();
    }
    if fail < faults.fail_rate {
        return Problem::internal().into_response();
    }
    if is_command && absurd < faults.absurd_rate {
        let kind = (which * absurd::KINDS) as usize;
        // The first is a 503 of our own, which says that nothing was done.
        if kind > 0 && done < 0.5 {
            next.run(request).await;
        }
        let first = app.store.read(|book| book.page(None, 1)).await;
        return absurd::answer(kind, first.ok().and_then(|(mut page, _)| page.pop()));
    }
    let response = next.run(request).await;
    if is_command && hang < faults.timeout_rate {
        let time = Duration::from_millis(faults.hang_ms);
        // Until then, or until the server stops.
        let _ = tokio::time::timeout(time, app.closing.cancelled()).await;
        return Problem::new("timeout", "no answer in time").into_response();
    }
    // The same as before the deed: the caller can't tell.
    if is_command && fail_after < faults.fail_after_rate { Problem::internal().into_response() } else { response }
}
