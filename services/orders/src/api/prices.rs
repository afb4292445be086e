//! Routes of the price list.

use axum::Json;
use axum::extract::{Path, State};
use farandole::http::JsonBody;
use farandole::{Problem, Timestamp};
use serde::Serialize;
use serde_json::Value;
use utoipa::ToSchema;

use crate::price_change::Change;
use crate::price_list::PriceList;

/// What articles are to cost from now on; read field by field, so that every wrong one is named.
#[derive(ToSchema)]
#[allow(dead_code, reason = "describes the body")]
pub struct NewPrices {
    #[schema(min_items = 1, max_items = 1000)]
    prices: Vec<NewPrice>,
}

/// What an article is to cost.
#[derive(ToSchema)]
#[allow(dead_code, reason = "describes the body")]
pub struct NewPrice {
    #[schema(min_length = 1, max_length = 64)]
    sku: String,
    /// ISO 4217.
    #[schema(pattern = "^[A-Z]{3}$")]
    currency: String,
    /// Minor units.
    #[schema(minimum = 0, maximum = 100_000_000_000_i64)]
    unit_price: i64,
}

/// How many prices are others than before.
#[derive(Debug, Serialize, ToSchema)]
pub struct Changed {
    changed: u64,
}

/// An article's prices, oldest first.
#[derive(Debug, Serialize, ToSchema)]
pub struct PricesView {
    sku: String,
    prices: Vec<PriceView>,
}

/// A price.
#[derive(Debug, Serialize, ToSchema)]
pub struct PriceView {
    currency: String,
    /// Minor units.
    unit_price: i64,
    valid_from: String,
    /// Orders with this price are taken until then; absent for the one that is valid now.
    #[serde(skip_serializing_if = "Option::is_none")]
    holds_until: Option<String>,
}

/// Sets what articles cost from now on, in the order given. The same request again changes nothing.
#[utoipa::path(post, path = "/prices", request_body = NewPrices,
    responses((status = 200, description = "Set", body = Changed),
        (status = 409, description = "An article has more than 1000 prices in a currency that still hold"),
        (status = 422, description = "Wrong fields, all of them named")))]
pub(super) async fn change(State(list): State<PriceList>, JsonBody(body): JsonBody<Value>) -> Result<Json<Changed>, Problem> {
    let changed = list.change(&Change::read(&body)?).await?;
    Ok(Json(Changed { changed }))
}

/// What an article costs, and what it has cost as long as that holds.
#[utoipa::path(get, path = "/prices/{sku}", params(("sku" = String, Path)),
    responses((status = 200, body = PricesView), (status = 404, description = "It has no price here")))]
pub(super) async fn show(State(list): State<PriceList>, Path(sku): Path<String>) -> Result<Json<PricesView>, Problem> {
    let history = list.of(sku.clone()).await?;
    if history.is_empty() {
        return Err(Problem::not_found(format!("article {sku} has no price here")));
    }
    let replaced = |i: usize| {
        let later = history.iter().skip(i + 1).find(|later| history.get(i).is_some_and(|price| price.currency == later.currency));
        later.map(|later| list.holds_until(later.valid_from))
    };
    let prices = history.iter().enumerate().map(|(i, price)| PriceView {
        currency: price.currency.clone(),
        unit_price: price.unit_price,
        valid_from: price.valid_from.to_string(),
        holds_until: replaced(i).as_ref().map(Timestamp::to_string),
    });
    Ok(Json(PricesView { sku, prices: prices.collect() }))
}
