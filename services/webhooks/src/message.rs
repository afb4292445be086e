//! What subscribers receive: a JSON document a message, `{"type": …, "timestamp": …, "data": {…}}`.
//!
//! **This is a contract with strangers**, described in `docs/webhooks.md`. Fields may be added; none is renamed, retyped or taken away, and a
//! word of a closed set may be joined by others. **Invariant:** nothing is in it but what is written here, so no card's token is.

#[cfg(test)]
mod tests;

use farandole::Timestamp;
use schemas::orders::{CancellationReason, Completion, OrderLine, OrderStep, RejectionReason};
use serde::Serialize;
use uuid::Uuid;

use crate::kinds;
use crate::messages::Heard;

/// A message, the same to every subscriber.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Message {
    /// As `webhook-id` says it. The same event gives the same id, whenever and however often it is heard.
    pub id: String,
    /// Its type.
    pub kind: &'static str,
    /// When it happened, in microseconds.
    pub at: i64,
    /// What is sent.
    pub body: String,
}

/// The document.
#[derive(Serialize)]
struct Document<'a> {
    #[serde(rename = "type")]
    kind: &'static str,
    timestamp: String,
    data: Data<'a>,
}

/// What a message tells. The order of fields is that in which they are written.
#[derive(Serialize)]
#[serde(untagged)]
enum Data<'a> {
    Placed { order_id: Uuid, customer: &'a str, currency: &'a str, total: i64, lines: Vec<Line<'a>>, confirm_by: String },
    Confirmed { order_id: Uuid, customer: &'a str },
    Rejected { order_id: Uuid, reason: &'static str, skus: &'a [String] },
    Cancelled { order_id: Uuid, reason: &'static str },
    Progressed { order_id: Uuid, step: &'static str, tracking: Option<&'a str>, until: Option<String> },
    Completed { order_id: Uuid, how: &'static str },
}

#[derive(Serialize)]
struct Line<'a> {
    sku: &'a str,
    quantity: i32,
    unit_price: i64,
}

impl<'a> Line<'a> {
    fn of(OrderLine { sku, quantity, unit_price }: &'a OrderLine) -> Self {
        Self { sku, quantity: *quantity, unit_price: *unit_price }
    }
}

impl Message {
    /// The message that tells of an order's event.
    ///
    /// # Errors
    /// When it can't be written as JSON.
    pub fn of(order_id: Uuid, heard: &Heard) -> serde_json::Result<Self> {
        let instant = |micros: i64| Timestamp::from_micros(micros).to_string();
        let (at, data) = match heard {
            Heard::OrderPlaced(e) => {
                let (customer, currency, total) = (e.customer.as_str(), e.currency.as_str(), e.total);
                let (lines, confirm_by) = (e.lines.iter().map(Line::of).collect(), instant(e.confirm_by));
                (e.placed_at, Data::Placed { order_id, customer, currency, total, lines, confirm_by })
            }
            Heard::OrderConfirmed(e) => (e.confirmed_at, Data::Confirmed { order_id, customer: &e.customer }),
            Heard::OrderRejected(e) => (e.rejected_at, Data::Rejected { order_id, reason: rejection(e.reason), skus: &e.skus }),
            Heard::OrderCancellationRequested(e) => {
                (e.requested_at, Data::Cancelled { order_id, reason: cancellation(e.reason) })
            }
            Heard::OrderCancelled(e) => (e.cancelled_at, Data::Cancelled { order_id, reason: cancellation(e.reason) }),
            Heard::OrderProgressed(e) => {
                let (tracking, until) = (e.tracking.as_deref(), e.until.map(instant));
                (e.progressed_at, Data::Progressed { order_id, step: step(e.step), tracking, until })
            }
            Heard::OrderCompleted(e) => (e.completed_at, Data::Completed { order_id, how: completion(e.how) }),
        };
        let kind = kinds::of(heard);
        let body = serde_json::to_string(&Document { kind, timestamp: instant(at), data })?;
        // Of what never changes, so that a build with another field gives the same id. An order takes no step twice at one instant.
        let which = if let Heard::OrderProgressed(e) = heard { step(e.step) } else { "" };
        let id = format!("msg_{}", Uuid::new_v5(&order_id, format!("{kind}/{which}/{at}").as_bytes()).simple());
        Ok(Self { id, kind, at, body })
    }
}

fn rejection(reason: RejectionReason) -> &'static str {
    match reason {
        RejectionReason::OutOfStock => "out_of_stock",
        RejectionReason::UnknownSku => "unknown_sku",
        RejectionReason::CardDeclined => "card_declined",
        RejectionReason::Other => "other",
    }
}

fn cancellation(reason: CancellationReason) -> &'static str {
    match reason {
        CancellationReason::CustomerRequest => "customer_request",
        CancellationReason::NotConfirmedInTime => "not_confirmed_in_time",
        CancellationReason::ShipmentFailed => "shipment_failed",
        CancellationReason::AuthorisationExpired => "authorisation_expired",
        CancellationReason::Other => "other",
    }
}

fn step(step: OrderStep) -> &'static str {
    match step {
        OrderStep::Prepared => "prepared",
        OrderStep::Dispatched => "dispatched",
        OrderStep::Delivered => "delivered",
        OrderStep::Lost => "lost",
        OrderStep::Captured => "captured",
        OrderStep::Unpaid => "unpaid",
        OrderStep::Refunded => "refunded",
        OrderStep::CancellationRefused => "cancellation_refused",
        OrderStep::Other => "other",
    }
}

fn completion(how: Completion) -> &'static str {
    match how {
        Completion::Delivered => "delivered",
        Completion::Refunded => "refunded",
        Completion::Unpaid => "unpaid",
        Completion::Other => "other",
    }
}
