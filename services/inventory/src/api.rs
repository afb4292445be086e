//! The HTTP interface of inventory.

use std::time::Duration;

use axum::extract::rejection::QueryRejection;
use axum::extract::{Path, Query, State};
use axum::routing::{get, post};
use axum::{Json, Router};
use farandole::http::{self, Caller, JsonBody};
use farandole::table::Row as _;
use farandole::{Answer, Api, FieldError, Problem, Timestamp};
use schemas::sku;
use serde::{Deserialize, Serialize};
use serde_json::Value;
use utoipa::{OpenApi, ToSchema};
use uuid::Uuid;

use crate::overdue;
use crate::participant::{Command, Id, Inventory};
use crate::tables::Stock;

/// Articles a page, unless told, and at most.
const PAGE: i64 = 100;
const MAX_PAGE: i64 = 1_000;
/// Pieces of one receipt or adjustment.
const MAX_QUANTITY: i64 = 1_000_000_000;
/// Characters of a reason.
const MAX_REASON: usize = 200;

/// The routes, apart from any socket.
pub fn routes(api: Api<Inventory>, overdue_after: Duration) -> Router {
    Router::new()
        .route("/reservations/overdue", get(move |State(api): State<Api<Inventory>>| overdue(api, overdue_after)))
        .route("/receipts", post(receive))
        .route("/adjustments", post(adjust))
        .route("/stock", get(list))
        .route("/stock/{sku}", get(show))
        .with_state(api)
}

/// What the routes are, for programs.
pub fn openapi() -> utoipa::openapi::OpenApi {
    #[derive(OpenApi)]
    #[openapi(
        info(title = "inventory", description = "Receives goods, puts counts right and reports stock."),
        paths(receive, adjust, list, show, overdue)
    )]
    struct Doc;
    Doc::openapi()
}

/// Goods that have arrived; read field by field, so that every wrong one is named.
#[derive(ToSchema)]
#[allow(dead_code, reason = "describes the body")]
struct NewReceipt {
    #[schema(min_length = 1, max_length = 64)]
    sku: String,
    #[schema(minimum = 1, maximum = 1_000_000_000)]
    quantity: i64,
}

/// Goods that were taken in.
#[derive(ToSchema)]
#[allow(dead_code, reason = "the participant answers; this describes it")]
struct Receipt {
    receipt_id: Uuid,
    sku: String,
    quantity: i64,
}

/// A count that was wrong.
#[derive(ToSchema)]
#[allow(dead_code, reason = "describes the body")]
struct NewAdjustment {
    #[schema(min_length = 1, max_length = 64)]
    sku: String,
    /// Pieces more, or fewer when negative; not 0.
    #[schema(minimum = -1_000_000_000, maximum = 1_000_000_000)]
    quantity: i64,
    /// Why, in words.
    #[schema(min_length = 1, max_length = 200)]
    reason: String,
}

/// A count that was put right.
#[derive(ToSchema)]
#[allow(dead_code, reason = "the participant answers; this describes it")]
struct Adjustment {
    adjustment_id: Uuid,
    sku: String,
    quantity: i64,
    reason: String,
}

/// An article, in pieces: received + adjusted = available + reserved + shipped.
#[derive(Debug, Serialize, ToSchema)]
struct StockView {
    sku: String,
    received: i64,
    /// The sum of what counts were put right by; may be negative.
    adjusted: i64,
    /// Set aside for orders.
    reserved: i64,
    /// Left the house.
    shipped: i64,
    available: i64,
}

/// A page of articles, by name.
#[derive(Debug, Serialize, ToSchema)]
struct StockPage {
    stock: Vec<StockView>,
    /// What to ask `after` for the next page; null on the last one.
    next: Option<String>,
}

/// Goods that are set aside for longer than any order takes.
#[derive(Debug, Serialize, ToSchema)]
struct Overdue {
    reservations: Vec<OverdueReservation>,
}

/// An order's goods.
#[derive(Debug, Serialize, ToSchema)]
struct OverdueReservation {
    order_id: Uuid,
    /// RFC 3339.
    since: String,
}

/// Which articles to list.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Wanted {
    after: Option<String>,
    limit: Option<i64>,
}

/// Takes goods in.
#[utoipa::path(post, path = "/receipts", request_body = NewReceipt,
    params(("Idempotency-Key" = Option<String>, Header, description = "Recommended. The same key and body give the first answer again.")),
    responses((status = 201, description = "Taken in", body = Receipt),
        (status = 422, description = "Wrong fields, all of them named; or the key was used for another request")))]
async fn receive(caller: Caller<Inventory>, JsonBody(body): JsonBody<Value>) -> Result<Answer, Problem> {
    let (sku, quantity) = read(&body)?;
    caller.submit(Id::Article(sku), Command::Receive { quantity }).await
}

/// Puts a count right.
#[utoipa::path(post, path = "/adjustments", request_body = NewAdjustment,
    params(("Idempotency-Key" = Option<String>, Header, description = "Recommended. The same key and body give the first answer again.")),
    responses((status = 201, description = "Put right", body = Adjustment),
        (status = 404, description = "Never received"), (status = 409, description = "So many aren't available: the rest is set aside"),
        (status = 422, description = "Wrong fields, all of them named; or the key was used for another request")))]
async fn adjust(caller: Caller<Inventory>, JsonBody(body): JsonBody<Value>) -> Result<Answer, Problem> {
    let (sku, quantity, reason) = read_adjustment(&body)?;
    caller.submit(Id::Article(sku), Command::Adjust { quantity, reason }).await
}

/// One article.
#[utoipa::path(get, path = "/stock/{sku}", params(("sku" = String, Path)),
    responses((status = 200, body = StockView), (status = 404, description = "Never received")))]
async fn show(State(api): State<Api<Inventory>>, Path(sku): Path<String>) -> Result<Json<StockView>, Problem> {
    let row = sqlx::query("select sku, received, reserved, adjusted, shipped from stock where sku = $1")
        .bind(&sku)
        .fetch_optional(&api.pool)
        .await;
    let row = row.map_err(http::database)?.ok_or_else(|| Problem::not_found(format!("article {sku} was never received")))?;
    Ok(Json(StockView::of(Stock::from_row(&row).map_err(http::database)?)))
}

/// All articles, by name.
#[utoipa::path(get, path = "/stock",
    params(("after" = Option<String>, Query, description = "`next` of the page before"),
        ("limit" = Option<i64>, Query, description = "1 to 1000, 100 unless said")),
    responses((status = 200, body = StockPage)))]
async fn list(
    State(api): State<Api<Inventory>>,
    wanted: Result<Query<Wanted>, QueryRejection>,
) -> Result<Json<StockPage>, Problem> {
    let wanted = http::query(wanted)?;
    let limit = http::limit(wanted.limit, PAGE, MAX_PAGE)?;
    let rows = sqlx::query("select sku, received, reserved, adjusted, shipped from stock where sku > $1 order by sku limit $2")
        .bind(wanted.after.unwrap_or_default())
        .bind(limit + 1)
        .fetch_all(&api.pool)
        .await
        .map_err(http::database)?;
    let mut stock = Vec::with_capacity(rows.len());
    for row in &rows {
        stock.push(StockView::of(Stock::from_row(row).map_err(http::database)?));
    }
    let limit = usize::try_from(limit).unwrap_or(usize::MAX);
    let more = stock.len() > limit;
    stock.truncate(limit);
    let next = stock.last().filter(|_| more).map(|view| view.sku.clone());
    Ok(Json(StockPage { stock, next }))
}

/// Goods that are set aside for longer than any order takes, oldest first.
#[utoipa::path(get, path = "/reservations/overdue", responses((status = 200, description = "At most 1000", body = Overdue)))]
async fn overdue(api: Api<Inventory>, after: Duration) -> Result<Json<Overdue>, Problem> {
    let list = overdue::list(&api.pool, after, MAX_PAGE).await.map_err(http::database)?;
    let of = |(order_id, since)| OverdueReservation { order_id, since: Timestamp::from_micros(since).to_string() };
    Ok(Json(Overdue { reservations: list.into_iter().map(of).collect() }))
}

impl StockView {
    fn of(stock: Stock) -> Self {
        let available = stock.available();
        let Stock { sku, received, reserved, adjusted, shipped } = stock;
        Self { sku, received, adjusted, reserved, shipped, available }
    }
}

/// Reads a receipt's article and pieces, or names every wrong field.
fn read(body: &Value) -> Result<(String, i64), Problem> {
    let mut errors = unknown(body, &["sku", "quantity"]);
    let sku = sku_of(body, &mut errors);
    let quantity = quantity_of(body, 1, &mut errors);
    match (sku, quantity) {
        (Some(sku), Some(quantity)) if errors.is_empty() => Ok((sku, quantity)),
        _ => Err(Problem::invalid(errors)),
    }
}

/// Reads an adjustment's article, pieces and reason, or names every wrong field.
fn read_adjustment(body: &Value) -> Result<(String, i64, String), Problem> {
    let mut errors = unknown(body, &["sku", "quantity", "reason"]);
    let sku = sku_of(body, &mut errors);
    let quantity = quantity_of(body, -MAX_QUANTITY, &mut errors);
    let is_fine = |text: &&str| (1..=MAX_REASON).contains(&text.chars().count()) && !text.chars().any(char::is_control);
    let reason = body.get("reason").and_then(Value::as_str).filter(is_fine).map(ToOwned::to_owned);
    if reason.is_none() {
        errors.push(wrong("reason", format!("must be a text of 1 to {MAX_REASON} characters without control characters")));
    }
    match (sku, quantity, reason) {
        (Some(sku), Some(quantity), Some(reason)) if errors.is_empty() => Ok((sku, quantity, reason)),
        _ => Err(Problem::invalid(errors)),
    }
}

/// An error for each of the first fields that aren't known.
fn unknown(body: &Value, known: &[&str]) -> Vec<FieldError> {
    let names = body.as_object().into_iter().flat_map(|fields| fields.keys());
    let unknown = names.filter(|name| !known.contains(&name.as_str())).take(2);
    unknown.map(|name| wrong(&name.chars().take(64).collect::<String>(), "is unknown".to_owned())).collect()
}

fn sku_of(body: &Value, errors: &mut Vec<FieldError>) -> Option<String> {
    let sku = body.get("sku").and_then(Value::as_str).filter(|text| sku::is_one(text));
    if sku.is_none() {
        errors.push(wrong("sku", format!("must be a text of {}", sku::RULE)));
    }
    sku.map(ToOwned::to_owned)
}

/// Pieces, not 0.
fn quantity_of(body: &Value, least: i64, errors: &mut Vec<FieldError>) -> Option<i64> {
    let is_fine = |n: &i64| (least..=MAX_QUANTITY).contains(n) && *n != 0;
    let quantity = body.get("quantity").and_then(Value::as_i64).filter(is_fine);
    if quantity.is_none() {
        let but = if least < 0 { ", not 0" } else { "" };
        errors.push(wrong("quantity", format!("must be an integer from {least} to {MAX_QUANTITY}{but}")));
    }
    quantity
}

fn wrong(field: &str, reason: String) -> FieldError {
    FieldError { field: field.to_owned(), reason }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn a_receipt_names_every_wrong_field() {
        let fields = |body| read(&body).map(|_| vec![]).unwrap_or_else(|p| p.errors.into_iter().map(|e| e.field).collect());
        assert_eq!(fields(json!({"sku": "tea", "quantity": MAX_QUANTITY})), Vec::<String>::new());
        assert_eq!(fields(json!({"sku": "tea", "quantity": 1, "note": "x"})), ["note"]);
        assert_eq!(fields(json!({"sku": "te\u{200b}a", "quantity": 1})), ["sku"]);
        for body in [json!({}), json!([]), json!({"sku": "", "quantity": 0}), json!({"sku": "a\nb", "quantity": 1.5})] {
            assert_eq!(fields(body), ["sku", "quantity"]);
        }
    }

    #[test]
    fn an_adjustment_names_every_wrong_field() {
        let fields =
            |body| read_adjustment(&body).map(|_| vec![]).unwrap_or_else(|p| p.errors.into_iter().map(|e| e.field).collect());
        assert_eq!(fields(json!({"sku": "tea", "quantity": -5, "reason": "broken"})), Vec::<String>::new());
        assert_eq!(fields(json!({"sku": "tea", "quantity": 0, "reason": "a\nb"})), ["quantity", "reason"]);
        assert_eq!(
            fields(json!({"sku": "", "quantity": -1_000_000_001, "reason": "x".repeat(201), "by": 1})),
            ["by", "sku", "quantity", "reason"]
        );
    }

    #[test]
    fn the_committed_description_is_the_one_that_is_served() {
        let text = serde_json::to_string_pretty(&openapi()).unwrap() + "\n";
        farandole::testing::committed(concat!(env!("CARGO_MANIFEST_DIR"), "/openapi.json"), &text);
    }
}
