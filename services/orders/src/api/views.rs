//! Bodies as callers send and see them. Amounts are minor units, times RFC 3339.

use farandole::Timestamp;
use serde::Serialize;
use serde_json::{Value, json};
use utoipa::ToSchema;
use uuid::Uuid;

use crate::tables::{Cancellation, Fulfilment, Money, Order, Parcel, State};

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

/// An order that is cancelled, or will be if its parcel is still in the house.
#[derive(Debug, ToSchema)]
#[allow(dead_code, reason = "the participant answers; this describes it")]
pub struct CancelledOrder {
    order_id: Uuid,
    /// `cancelled`; or `confirmed` while shipping decides.
    state: String,
    /// `requested` while shipping decides; absent otherwise.
    cancellation: Option<String>,
}

/// An order and how it went.
#[derive(Debug, Serialize, ToSchema)]
pub struct OrderView {
    order_id: Uuid,
    customer: String,
    /// `placed`, `confirmed`, `rejected`, `cancelled` or `completed`.
    state: &'static str,
    /// Why it was rejected or cancelled: `OUT_OF_STOCK`, `UNKNOWN_SKU`, `CARD_DECLINED`, `CUSTOMER_REQUEST`, `NOT_CONFIRMED_IN_TIME`,
    /// `SHIPMENT_FAILED`, `AUTHORISATION_EXPIRED`; or how it was completed: `DELIVERED` (and paid), `REFUNDED`, `UNPAID`.
    reason: Option<String>,
    /// The same in words.
    detail: Option<String>,
    /// The articles that caused it.
    skus: Vec<String>,
    total: i64,
    currency: String,
    lines: Vec<Line>,
    placed_at: String,
    /// Of a confirmed order: where its goods and its money are.
    fulfilment: Option<FulfilmentView>,
    /// What comes next; null once the order has ended.
    awaits: Option<Awaited>,
    /// What has happened, in order.
    events: Vec<Happened>,
}

/// Where a confirmed order's goods and money are.
#[derive(Debug, Serialize, ToSchema)]
pub struct FulfilmentView {
    /// `awaited`, `prepared`, `dispatched`, `delivered` or `lost`.
    #[schema(value_type = String)]
    parcel: Parcel,
    /// `held`, `captured`, `unpaid` or `refunded`.
    #[schema(value_type = String)]
    money: Money,
    /// `none`, `requested` or `refused`.
    cancellation: &'static str,
    /// The carrier's number, once there is one.
    tracking: Option<String>,
}

/// What an order waits for.
#[derive(Debug, PartialEq, Serialize, ToSchema)]
pub struct Awaited {
    /// `confirmation`, `shipment`, `dispatch`, `delivery`, `payment`, `refund`, or `cancellation` while shipping decides on one.
    what: &'static str,
    /// When it is due at the latest; null where nobody has said.
    until: Option<String>,
}

/// One event of an order's life.
#[derive(Debug, Serialize, ToSchema)]
pub struct Happened {
    /// `OrderPlaced`, …
    #[serde(rename = "type")]
    kind: String,
    /// What an `OrderProgressed` says: `PREPARED`, `DISPATCHED`, `DELIVERED`, `LOST`, `CAPTURED`, `UNPAID`, `REFUNDED`,
    /// `CANCELLATION_REFUSED`; null otherwise.
    step: Option<String>,
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
    /// State and reason.
    pub fn ending(state: &State) -> (&'static str, Option<String>) {
        (state.name(), why(state).0)
    }

    pub fn of(order: Order) -> Self {
        let (reason, detail, skus) = why(&order.state.0);
        let (fulfilment, awaits) = (FulfilmentView::of(&order.state.0), Awaited::of(&order.state.0));
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
            fulfilment,
            awaits,
            events: order.history.0.into_iter().map(Happened::of).collect(),
        }
    }
}

// === impl Happened ===

impl Happened {
    pub fn of(happening: crate::tables::Happening) -> Self {
        let step = happening.step.and_then(|step| symbol(json!(step)));
        Self { kind: happening.kind, step, at: happening.at.to_string() }
    }

    pub fn kind(&self) -> &str {
        &self.kind
    }
}

// === impl FulfilmentView ===

impl FulfilmentView {
    fn of(state: &State) -> Option<Self> {
        let State::Confirmed(Fulfilment { parcel, money, cancellation, tracking, .. }) = state else { return None };
        let cancellation = match cancellation {
            Cancellation::None => "none",
            Cancellation::Requested(_) => "requested",
            Cancellation::Refused => "refused",
        };
        Some(Self { parcel: *parcel, money: *money, cancellation, tracking: tracking.clone() })
    }
}

// === impl Awaited ===

impl Awaited {
    fn of(state: &State) -> Option<Self> {
        let (what, until) = match state {
            State::Placed { confirm_by } => ("confirmation", Some(*confirm_by)),
            State::Confirmed(now) if matches!(now.cancellation, Cancellation::Requested(_)) => ("cancellation", None),
            State::Confirmed(now) => match (now.parcel, now.money) {
                (Parcel::Awaited, _) => ("shipment", None),
                (Parcel::Prepared, _) => ("dispatch", now.until),
                (Parcel::Dispatched, _) => ("delivery", now.until),
                (Parcel::Lost, Money::Captured) => ("refund", None),
                (Parcel::Delivered | Parcel::Lost, _) => ("payment", None),
            },
            State::Rejected { .. } | State::Cancelled { .. } | State::Completed { .. } => return None,
        };
        Some(Self { what, until: until.map(|until| until.to_string()) })
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
        State::Placed { .. } | State::Confirmed(_) => (None, None, Vec::new()),
        State::Rejected { reason, detail, skus } => (symbol(json!(reason)), Some(detail.clone()), skus.clone()),
        State::Cancelled { reason } => (symbol(json!(reason)), None, Vec::new()),
        State::Completed { how } => (symbol(json!(how)), None, Vec::new()),
    }
}

/// The symbol that the wire has for it.
fn symbol(reason: Value) -> Option<String> {
    reason.as_str().map(ToOwned::to_owned)
}
