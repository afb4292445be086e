//! Bodies as callers send and see them. Amounts are minor units, times RFC 3339.

use farandole::Timestamp;
use serde::Serialize;
use serde_json::{Value, json};
use utoipa::ToSchema;
use uuid::Uuid;

use crate::tables::{Order, State};

/// A request for an order; read by [`Basket::read`](crate::basket::Basket::read).
#[derive(Debug, ToSchema)]
#[allow(dead_code, reason = "read field by field, so that every wrong one is named; this describes it")]
pub struct PlaceOrder {
    /// The customer's id.
    #[schema(min_length = 1, max_length = 64)]
    customer: String,
    /// The card provider's token; never a card number.
    #[schema(min_length = 1, max_length = 128)]
    card_token: String,
    /// ISO 4217 code of every price.
    #[schema(pattern = "^[A-Z]{3}$")]
    currency: String,
    /// What is wanted; the same article may stand in several lines.
    #[schema(min_items = 1, max_items = 5000)]
    lines: Vec<Line>,
}

/// An article, how many, and the price of a piece as the caller saw it.
#[derive(Debug, Serialize, ToSchema)]
pub struct Line {
    /// The article.
    #[schema(min_length = 1, max_length = 64)]
    sku: String,
    /// Pieces.
    #[schema(minimum = 1, maximum = 1_000_000)]
    quantity: i32,
    /// Minor units.
    #[schema(minimum = 0, maximum = 100_000_000_000_i64)]
    unit_price: i64,
}

/// An order that was taken.
#[derive(Debug, ToSchema)]
#[allow(dead_code, reason = "the participant answers; this describes it")]
pub struct PlacedOrder {
    order_id: Uuid,
    /// `placed`.
    state: String,
    total: i64,
    currency: String,
    /// Settled by then at the latest.
    confirm_by: String,
}

/// An order that is cancelled.
#[derive(Debug, ToSchema)]
#[allow(dead_code, reason = "the participant answers; this describes it")]
pub struct CancelledOrder {
    order_id: Uuid,
    /// `cancelled`.
    state: String,
}

/// An order and how it went.
#[derive(Debug, Serialize, ToSchema)]
pub struct OrderView {
    order_id: Uuid,
    customer: String,
    /// `placed`, `confirmed`, `rejected` or `cancelled`.
    state: &'static str,
    /// Why it was rejected or cancelled: `OUT_OF_STOCK`, `UNKNOWN_SKU`, `CARD_DECLINED`, `CUSTOMER_REQUEST`, `NOT_CONFIRMED_IN_TIME`.
    reason: Option<String>,
    /// The same in words.
    detail: Option<String>,
    /// The articles that caused it.
    skus: Vec<String>,
    total: i64,
    currency: String,
    lines: Vec<Line>,
    placed_at: String,
    /// What has happened, in order.
    events: Vec<Happened>,
}

/// One event of an order's life.
#[derive(Debug, Serialize, ToSchema)]
pub struct Happened {
    /// `OrderPlaced`, …
    #[serde(rename = "type")]
    kind: String,
    at: String,
}

/// An order in a list.
#[derive(Debug, Serialize, ToSchema)]
pub struct OrderSummary {
    order_id: Uuid,
    state: &'static str,
    reason: Option<String>,
    total: i64,
    currency: String,
    placed_at: String,
}

/// A page of orders, newest first.
#[derive(Debug, Serialize, ToSchema)]
pub struct OrderPage {
    orders: Vec<OrderSummary>,
    /// What to ask `after` for the next page; null on the last one.
    next: Option<Uuid>,
}

// === impl OrderView ===

impl OrderView {
    pub fn of(order: Order) -> Self {
        let (reason, detail, skus) = why(&order.state.0);
        let line = |l: schemas::orders::OrderLine| Line { sku: l.sku, quantity: l.quantity, unit_price: l.unit_price };
        Self {
            order_id: order.order_id,
            customer: order.customer,
            state: order.state.name(),
            reason,
            detail,
            skus,
            total: order.total,
            currency: order.currency,
            lines: order.lines.0.into_iter().map(line).collect(),
            placed_at: Timestamp::from_micros(order.placed_at).to_string(),
            events: order.history.0.into_iter().map(|h| Happened { kind: h.kind, at: h.at.to_string() }).collect(),
        }
    }
}

// === impl OrderSummary ===

impl OrderSummary {
    pub fn of(order: Order) -> Self {
        let placed_at = Timestamp::from_micros(order.placed_at).to_string();
        let (state, (reason, ..)) = (order.state.name(), why(&order.state.0));
        Self { order_id: order.order_id, state, reason, total: order.total, currency: order.currency, placed_at }
    }
}

// === impl OrderPage ===

impl OrderPage {
    /// The first `limit` of `orders`; one more says that there is a next page.
    pub fn of(mut orders: Vec<OrderSummary>, limit: usize) -> Self {
        let more = orders.len() > limit;
        orders.truncate(limit);
        let next = orders.last().filter(|_| more).map(|order| order.order_id);
        Self { orders, next }
    }
}

/// Reason, words and articles of a state.
fn why(state: &State) -> (Option<String>, Option<String>, Vec<String>) {
    match state {
        State::Placed { .. } | State::Confirmed => (None, None, Vec::new()),
        State::Rejected { reason, detail, skus } => (symbol(json!(reason)), Some(detail.clone()), skus.clone()),
        State::Cancelled { reason } => (symbol(json!(reason)), None, Vec::new()),
    }
}

/// The symbol that the wire has for it.
fn symbol(reason: Value) -> Option<String> {
    reason.as_str().map(ToOwned::to_owned)
}
