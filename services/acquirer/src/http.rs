//! The HTTP interface: reads requests, asks the store, writes answers. It decides nothing.
//!
//! Commands and look-ups under `/authorisations` suffer the faults; `/ledger`, `/totals`, `/faults` and `/healthz` are the operator's
//! side and don't.

mod absurd;

use std::sync::Arc;
use std::time::Duration;

use anyhow::Context as _;
use axum::body::Bytes;
use axum::extract::rejection::{BytesRejection, PathRejection};
use axum::extract::{DefaultBodyLimit, Path, Query, Request, State};
use axum::http::{HeaderMap, Method, StatusCode, header};
use axum::middleware::{Next, from_fn_with_state};
use axum::response::{IntoResponse, Response};
use axum::routing::{MethodRouter, get, post};
use axum::{Json, Router};
use jiff::{Timestamp, Unit};
use serde_json::json;
use tokio::sync::Semaphore;
use tokio_util::sync::CancellationToken;
use uuid::Uuid;

use crate::authorisation::{Command, Deed, Purchase, Status};
use crate::book::{Asked, Book};
use crate::faults::{Faults, Switchboard};
use crate::fields::{AMOUNT, CURRENCY, Fields, ID, LIMIT, TEXT};
use crate::problem::Problem;
use crate::store::Store;

/// The largest request body: thirty times the largest that has only valid fields.
const MAX_BODY: usize = 16 << 10;
/// Requests under `/authorisations` at a time, hanging ones included; more get a 503.
const MAX_IN_FLIGHT: usize = 2_048;
/// A page of the ledger, unless told.
const PAGE: usize = 100;

type App = State<Arc<Acquirer>>;
type Body = Result<Bytes, BytesRejection>;
type Id = Result<Path<Uuid>, PathRejection>;
type Reply = Result<Response, Problem>;

/// What the handlers share.
pub struct Acquirer {
    pub store: Store,
    faults: Switchboard,
    /// Ends hanging answers when the server stops.
    pub closing: CancellationToken,
    slots: Semaphore,
}

impl Acquirer {
    pub fn new(store: Store, faults: Faults) -> Self {
        let (faults, slots) = (Switchboard::new(faults), Semaphore::new(MAX_IN_FLIGHT));
        Self { store, faults, closing: CancellationToken::new(), slots }
    }
}

/// The routes, apart from any socket.
pub fn app(acquirer: Arc<Acquirer>) -> Router {
    Router::new()
        .route("/authorisations", post(authorise).get(look_up))
        .route("/authorisations/{id}", get(show))
        .route("/authorisations/{id}/capture", change(|fields| Deed::Capture(fields.must("amount", AMOUNT))))
        .route("/authorisations/{id}/void", change(|_| Deed::Void))
        .route("/authorisations/{id}/refund", change(|fields| Deed::Refund(fields.must("amount", AMOUNT))))
        .route_layer(from_fn_with_state(Arc::clone(&acquirer), suffer))
        .route("/ledger", get(ledger))
        .route("/totals", get(async |State(app): App| app.store.read(Book::totals).await.map(Json)))
        .route("/faults", get(async |State(app): App| Json(app.faults.get())).put(set_faults))
        .route("/healthz", get(async || Json(json!({ "status": "ok" }))))
        .fallback(async || Problem::new("no_such_path", "there is no such path"))
        .method_not_allowed_fallback(async || Problem::new("method_not_allowed", "this path has other methods"))
        .layer(DefaultBodyLimit::max(MAX_BODY))
        .with_state(acquirer)
}

async fn authorise(State(app): App, headers: HeaderMap, body: Body) -> Reply {
    let purchase = |fields: &mut Fields| Purchase {
        merchant_reference: fields.must("merchant_reference", TEXT),
        amount: fields.must("amount", AMOUNT),
        currency: fields.must("currency", CURRENCY),
        card_token: fields.must("card_token", TEXT),
    };
    execute(&app, &headers, Fields::of_json(&body?)?, |fields| Command::Authorise(purchase(fields))).await
}

fn change(deed: fn(&mut Fields) -> Deed) -> MethodRouter<Arc<Acquirer>> {
    post(move |State(app): App, id: Id, headers: HeaderMap, body: Body| async move {
        let (Path(id), body) = (id?, body?);
        // Nothing is as good as an empty object: what is missing is named.
        let fields = Fields::of_json(if body.is_empty() { b"{}" } else { &body })?;
        execute(&app, &headers, fields, |fields| Command::Change(id, deed(fields))).await
    })
}

/// 201 for a new authorisation, 402 for a decline, 200 for a change; and whether it is told again.
async fn execute(app: &Acquirer, headers: &HeaderMap, mut fields: Fields, read: impl FnOnce(&mut Fields) -> Command) -> Reply {
    let (key, command) = (fields.key(headers), read(&mut fields));
    fields.finish()?;
    let is_new = matches!(command, Command::Authorise(_));
    // To the millisecond: what is told, kept and compared is the same.
    let now = Timestamp::now().round(Unit::Millisecond).context("rounding the time")?;
    let asked = Asked { key, command, decline_all: app.faults.get().decline_all, now };
    let answer = app.store.execute(asked).await?;
    let (authorisation, again) = (answer.authorisation, answer.again.then_some([("idempotent-replayed", "true")]));
    Ok(match authorisation.status {
        Status::Declined => {
            let problem = Problem::new("card_declined", "the card was declined");
            (again, problem.with("reason", authorisation.reason).with("authorisation", authorisation)).into_response()
        }
        _ if is_new => {
            let place = [(header::LOCATION, format!("/authorisations/{}", authorisation.id))];
            (StatusCode::CREATED, again, place, Json(authorisation)).into_response()
        }
        _ => (again, Json(authorisation)).into_response(),
    })
}

async fn show(State(app): App, id: Id) -> Reply {
    let Path(id) = id?;
    let found = app.store.read(move |book| book.find(id)).await?;
    Ok(Json(found).into_response())
}

// No query is malformed: whatever it is, it is read as pairs.
async fn look_up(State(app): App, Query(mut fields): Query<Fields>) -> Reply {
    let reference = fields.must("merchant_reference", TEXT);
    fields.finish()?;
    let found = app.store.read(move |book| book.of_reference(&reference)).await?;
    Ok(Json(json!({ "authorisations": found })).into_response())
}

async fn ledger(State(app): App, Query(mut fields): Query<Fields>) -> Reply {
    let (after, limit) = (fields.may("after", ID), fields.may("limit", LIMIT).unwrap_or(PAGE));
    fields.finish()?;
    let (page, more) = app.store.read(move |book| book.page(after, limit)).await?;
    let next = page.last().filter(|_| more).map(|last| last.id);
    Ok(Json(json!({ "authorisations": page, "next": next })).into_response())
}

async fn set_faults(State(app): App, body: Body) -> Reply {
    app.faults.set(Faults::read(&body?)?);
    Ok(Json(app.faults.get()).into_response())
}

/// Lets a request suffer its fate: delays, refuses, fails, answers absurdly; and after a command is done, keeps silent or says that it
/// failed. A look-up that is answered wrongly changes nothing, so what comes after the deed befalls commands only.
async fn suffer(State(app): App, request: Request, next: Next) -> Response {
    let Ok(_slot) = app.slots.try_acquire() else {
        return Problem::new("unavailable", "too many requests are in flight").into_response();
    };
    let (faults, [jitter, fail, fail_after, hang, absurd, which, done]) = app.faults.draw();
    let is_command = request.method() == Method::POST;
    let delay = Duration::from_millis(faults.latency_ms) + Duration::from_millis(faults.jitter_ms).mul_f64(jitter);
    if !delay.is_zero() {
        tokio::time::sleep(delay).await;
    }
    if faults.refuse {
        return Problem::new("unavailable", "the acquirer refuses requests (a fault that was switched on)").into_response();
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
