//! The HTTP interface: reads requests, asks the store, writes answers. It decides nothing.

use std::sync::Arc;

use axum::Router;
use axum::extract::{Path, State};
use axum::http::{HeaderMap, StatusCode};
use axum::response::IntoResponse as _;
use axum::routing::{MethodRouter, post};
use standin::fields::{Fields, Kind, TEXT, plain};
use standin::http::{self, Body, Id, Reply};
use standin::{Problem, Standin};

use crate::authorisation::{Command, Deed, Purchase, Status};
use crate::book::{Asked, Cards};

/// Eight digits, as card networks have it.
const AMOUNT: Kind<u64> = ("an integer from 1 to 99999999", |value| value.as_u64().filter(|n| (1..=99_999_999).contains(n)));
const CURRENCY: Kind<String> = ("three upper-case letters (ISO 4217)", |value| {
    plain::<3>(value.as_str()?).filter(|text| text.len() == 3 && text.bytes().all(|byte| byte.is_ascii_uppercase()))
});

/// What the handlers share.
pub type Acquirer = Standin<Cards>;
type App = http::App<Cards>;

/// The routes, apart from any socket.
pub fn app(acquirer: Arc<Acquirer>) -> Router {
    let commands = Router::new()
        .route("/authorisations", post(authorise))
        .route("/authorisations/{id}/capture", change(|fields| Deed::Capture(fields.must("amount", AMOUNT))))
        .route("/authorisations/{id}/void", change(|_| Deed::Void))
        .route("/authorisations/{id}/refund", change(|fields| Deed::Refund(fields.must("amount", AMOUNT))));
    http::app(acquirer, commands)
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
        execute(&app, &headers, http::fields(&body)?, |fields| Command::Change(id, deed(fields))).await
    })
}

/// 201 for a new authorisation, 402 for a decline, 200 for a change; and whether it is told again.
async fn execute(app: &Acquirer, headers: &HeaderMap, mut fields: Fields, read: impl FnOnce(&mut Fields) -> Command) -> Reply {
    let (key, command) = (fields.key(headers), read(&mut fields));
    fields.finish()?;
    let is_new = matches!(command, Command::Authorise(_));
    let asked = Asked { key, command, decline_all: app.faults.get().decline_all, now: http::now()? };
    let answer = app.store.execute(asked).await?;
    let authorisation = answer.authorisation;
    if authorisation.status == Status::Declined {
        let problem = Problem::of(StatusCode::PAYMENT_REQUIRED, "card_declined", "the card was declined");
        let problem = problem.with("reason", authorisation.reason).with("authorisation", authorisation);
        return Ok((http::told(answer.again), problem).into_response());
    }
    Ok(http::done(authorisation, is_new, answer.again))
}
