//! The HTTP interface of orders.

mod prices;
mod stream;
mod views;

use axum::Router;
use axum::extract::rejection::QueryRejection;
use axum::extract::{FromRef, Path, Query, State};
use axum::http::{HeaderMap, StatusCode};
use axum::response::{IntoResponse as _, Response};
use axum::routing::{get, post};
use farandole::http::{self, Caller, JsonBody};
use farandole::table::Row as _;
use farandole::{Answer, Api, Problem};
use serde::Deserialize;
use serde_json::Value;
use utoipa::OpenApi;
use uuid::Uuid;

use crate::basket::Basket;
use crate::participant::{Command, Orders};
use crate::price_list::PriceList;
use crate::prices::Rules;
use crate::tables::Order;
use stream::Watching;
use views::{CancelledOrder, OrderPage, OrderSummary, OrderView, PlaceOrder, PlacedOrder};

/// Orders a page, unless told, and at most.
const PAGE: i64 = 50;
const MAX_PAGE: i64 = 200;

/// What routes share.
#[derive(Clone)]
struct Shared {
    api: Api<Orders>,
    watching: Watching,
    prices: PriceList,
}

impl FromRef<Shared> for Api<Orders> {
    fn from_ref(shared: &Shared) -> Self {
        shared.api.clone()
    }
}

impl FromRef<Shared> for PriceList {
    fn from_ref(shared: &Shared) -> Self {
        shared.prices.clone()
    }
}

/// The routes, apart from any socket. `rules` are those of prices.
pub fn routes(api: Api<Orders>, rules: Rules) -> Router {
    let prices = PriceList::new(api.pool.clone(), rules);
    let watching = Watching::new(api.pool.clone());
    Router::new()
        .route("/orders", post(place).get(list))
        .route("/orders/{order_id}", get(show))
        .route("/orders/{order_id}/events", get(follow))
        .route("/orders/{order_id}/cancel", post(cancel))
        .route("/prices", post(prices::change))
        .route("/prices/{sku}", get(prices::show))
        .with_state(Shared { api, watching, prices })
}

/// What the routes are, for programs.
pub fn openapi() -> utoipa::openapi::OpenApi {
    #[derive(OpenApi)]
    #[openapi(
        info(title = "orders", description = "Accepts orders and reports their state."),
        paths(place, list, show, follow, cancel, prices::change, prices::show)
    )]
    struct Doc;
    Doc::openapi()
}

/// Takes an order. What becomes of it shows under its address; it is settled by `confirm_by` at the latest.
#[utoipa::path(post, path = "/orders", request_body = PlaceOrder,
    params(("Idempotency-Key" = Option<String>, Header, description = "Recommended. The same key and body give the first answer again.")),
    responses((status = 201, description = "Accepted; Location has its address", body = PlacedOrder),
        (status = 409, description = "Prices hold no more; `prices` has each with `seen` and `now`"),
        (status = 422, description = "Wrong fields, all of them named; or the key was used for another request")))]
async fn place(
    State(prices): State<PriceList>,
    caller: Caller<Orders>,
    JsonBody(body): JsonBody<Value>,
) -> Result<Answer, Problem> {
    let mut basket = Basket::read(&body)?;
    basket.stale = prices.stale(&basket).await?;
    caller.named(&basket.customer).create(Command::Place(basket)).await
}

/// Cancels an order whose parcel hasn't left. A confirmed one is cancelled if shipping can still hold the parcel back: its state tells.
#[utoipa::path(post, path = "/orders/{order_id}/cancel",
    params(("order_id" = Uuid, Path), ("Idempotency-Key" = Option<String>, Header)),
    responses((status = 202, description = "Cancelled now, or asked of shipping", body = CancelledOrder),
        (status = 200, description = "Was cancelled before", body = CancelledOrder),
        (status = 404, description = "No such order"),
        (status = 409, description = "It was rejected, or its dispatch has begun")))]
async fn cancel(Path(id): Path<String>, caller: Caller<Orders>) -> Result<Answer, Problem> {
    caller.submit(http::uuid(&id, "an order's")?, Command::Cancel).await
}

/// One order with its history.
#[utoipa::path(get, path = "/orders/{order_id}", params(("order_id" = Uuid, Path)),
    responses((status = 200, body = OrderView), (status = 404, description = "No such order")))]
async fn show(State(api): State<Api<Orders>>, Path(id): Path<String>) -> Result<axum::Json<OrderView>, Problem> {
    Ok(axum::Json(OrderView::of(one(&api, &id).await?)))
}

/// An order's events as they happen, until it has ended: the last event is `end`. The `id` of an event is its place in the order's history.
#[utoipa::path(get, path = "/orders/{order_id}/events", params(("order_id" = Uuid, Path),
        ("Last-Event-ID" = Option<usize>, Header, description = "Go on after this event; from the first unless said")),
    responses((status = 200, description = "Server-sent events", body = String, content_type = "text/event-stream"),
        (status = 204, description = "The order has ended, and the caller has all of it"),
        (status = 400, description = "Last-Event-ID is no number"), (status = 404, description = "No such order"),
        (status = 503, description = "Too many orders are watched")))]
async fn follow(State(shared): State<Shared>, Path(id): Path<String>, headers: HeaderMap) -> Result<Response, Problem> {
    let seen = match headers.get("last-event-id").map(|value| value.to_str().ok().and_then(|text| text.trim().parse().ok())) {
        None => 0,
        Some(Some(seen)) => seen,
        Some(None) => return Err(Problem::new(400, "invalid-last-event-id", "Last-Event-ID is the id of an event: a number")),
    };
    let order = one(&shared.api, &id).await?;
    if order.state.is_final() && seen >= order.history.len() {
        return Ok(StatusCode::NO_CONTENT.into_response());
    }
    Ok(shared.watching.stream(order, seen)?.into_response())
}

async fn one(api: &Api<Orders>, id: &str) -> Result<Order, Problem> {
    let order_id = http::uuid(id, "an order's")?;
    let row = sqlx::query(
        "select order_id, customer, currency, total, lines, placed_at, state, history from orders where order_id = $1",
    )
    .bind(order_id)
    .fetch_optional(&api.pool)
    .await
    .map_err(http::database)?
    .ok_or_else(|| Problem::not_found(format!("there is no order {order_id}")))?;
    Order::from_row(&row).map_err(http::database)
}

/// Which orders to list.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Wanted {
    customer: String,
    limit: Option<i64>,
    after: Option<Uuid>,
}

/// A customer's orders, newest first.
#[utoipa::path(get, path = "/orders",
    params(("customer" = String, Query), ("limit" = Option<i64>, Query, description = "1 to 200, 50 unless said"),
        ("after" = Option<Uuid>, Query, description = "`next` of the page before")),
    responses((status = 200, body = OrderPage)))]
async fn list(
    State(api): State<Api<Orders>>,
    wanted: Result<Query<Wanted>, QueryRejection>,
) -> Result<axum::Json<OrderPage>, Problem> {
    let wanted = http::query(wanted)?;
    let limit = http::limit(wanted.limit, PAGE, MAX_PAGE)?;
    let rows = sqlx::query(
        "select order_id, customer, currency, total, '[]'::jsonb as lines, placed_at, state, '[]'::jsonb as history
         from orders where customer = $1 and order_id < $2 order by order_id desc limit $3",
    )
    .bind(&wanted.customer)
    .bind(wanted.after.unwrap_or(Uuid::max()))
    .bind(limit + 1)
    .fetch_all(&api.pool)
    .await
    .map_err(http::database)?;
    let mut orders = Vec::with_capacity(rows.len());
    for row in &rows {
        orders.push(OrderSummary::of(Order::from_row(row).map_err(http::database)?));
    }
    Ok(axum::Json(OrderPage::of(orders, usize::try_from(limit).unwrap_or(usize::MAX))))
}

#[cfg(test)]
mod tests {
    #[test]
    fn the_committed_description_is_the_one_that_is_served() {
        let text = serde_json::to_string_pretty(&super::openapi()).unwrap() + "\n";
        farandole::testing::committed(concat!(env!("CARGO_MANIFEST_DIR"), "/openapi.json"), &text);
    }
}
