//! The HTTP interface: reads requests, asks the store, writes answers. It decides nothing.

use std::sync::Arc;

use axum::Router;
use axum::extract::{Path, State};
use axum::http::HeaderMap;
use axum::routing::post;
use standin::fields::{Fields, Kind, TEXT};
use standin::http::{self, Body, Id, Reply};
use standin::{Problem, Standin};

use crate::book::{Answer, Asked, Carriage, What};
use crate::parcel::{Command, Order};

const RECIPIENT: Kind<String> = ("a text of 1 to 200 characters without control characters", |value| {
    let text = value.as_str()?;
    let is_fine = (1..=200).contains(&text.chars().count()) && !text.chars().any(char::is_control);
    is_fine.then(|| text.to_owned())
});

/// What the handlers share.
pub type Carrier = Standin<Carriage>;
type App = http::App<Carriage>;

/// The routes, apart from any socket.
pub fn app(carrier: Arc<Carrier>) -> Router {
    http::app(carrier, Router::new().route("/parcels", post(book)).route("/parcels/{id}/recall", post(recall)))
}

async fn book(State(app): App, headers: HeaderMap, body: Body) -> Reply {
    let order =
        |fields: &mut Fields| Order { reference: fields.must("reference", TEXT), recipient: fields.must("recipient", RECIPIENT) };
    execute(&app, &headers, Fields::of_json(&body?)?, |fields| Command::Book(order(fields))).await
}

async fn recall(State(app): App, id: Id, headers: HeaderMap, body: Body) -> Reply {
    let (Path(tracking), body) = (id?, body?);
    execute(&app, &headers, http::fields(&body)?, |_| Command::Recall(tracking)).await
}

/// 201 for a new parcel, 200 for a recall; and whether it is told again.
async fn execute(app: &Carrier, headers: &HeaderMap, mut fields: Fields, read: impl FnOnce(&mut Fields) -> Command) -> Reply {
    let (key, command) = (fields.key(headers), read(&mut fields));
    fields.finish()?;
    let is_new = matches!(command, Command::Book(_));
    let asked = Asked { what: What::Request(key, command), faults: app.faults.get(), now: http::now()? };
    match app.store.execute(asked).await? {
        Answer::Parcel { parcel, again } => Ok(http::done(parcel, is_new, again)),
        // No request is answered so.
        Answer::Due(_) | Answer::Sent => Err(Problem::internal()),
    }
}
