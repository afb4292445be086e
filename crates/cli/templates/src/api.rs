//! The HTTP interface. Commands change state; everything else only reads.

use axum::extract::{Path, State};
use axum::routing::{get, post};
use axum::{Json, Router};
use farandole::http;
use farandole::prelude::*;
use serde::Deserialize;
use serde_json::{Value, json};
use uuid::Uuid;

use crate::participant::{Command, Items};

/// The routes.
pub fn routes(api: Api<Items>) -> Router {
    Router::new()
        .route("/items", post(add))
        .route("/items/{item_id}", get(show))
        .with_state(api)
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct NewItem {
    label: String,
}

/// Takes an item. With an `Idempotency-Key`, a repeated request gets the first answer again.
async fn add(caller: Caller<Items>, JsonBody(new): JsonBody<NewItem>) -> Result<Answer, Problem> {
    caller.create(Command::Add { label: new.label }).await
}

/// Shows an item.
async fn show(
    State(api): State<Api<Items>>,
    Path(item_id): Path<String>,
) -> Result<Json<Value>, Problem> {
    let item_id: Uuid = item_id
        .parse()
        .map_err(|_| Problem::not_found("an item's id is a UUID"))?;
    let query =
        sqlx::query_as::<_, (String, bool)>("select label, expired from items where item_id = $1");
    let item = query
        .bind(item_id)
        .fetch_optional(&api.pool)
        .await
        .map_err(http::database)?;
    let (label, expired) =
        item.ok_or_else(|| Problem::not_found(format!("there is no item {item_id}")))?;
    Ok(Json(
        json!({ "item_id": item_id, "label": label, "expired": expired }),
    ))
}
