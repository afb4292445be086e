//! The business of orders, whole and pure.

#[cfg(test)]
mod tests;

use std::time::Duration;

use farandole::{Answer, Body, Decision, Input, Keys, NoEffect, Participant, Problem, Refusal, Task, Timestamp};
use schemas::inventory::StockShort;
use schemas::orders::{CancellationReason, OrderCancelled, OrderConfirmed, OrderPlaced, OrderRejected, RejectionReason};
use schemas::payments::{PaymentAuthorised, PaymentDeclined};
use serde::{Deserialize, Serialize};
use serde_json::json;
use sqlx::types::Json;
use uuid::Uuid;

use crate::basket::Basket;
use crate::tables::{Happening, Order, State, Tables};

/// The deadline by which an order is settled.
const CONFIRM: &str = "confirm";
/// A rejection's words name so many articles; `skus` names all.
const NAMED: usize = 10;

/// The participant.
#[derive(Debug, Clone, Copy)]
pub struct Orders {
    /// How long stock and card may take.
    pub confirm_within: Duration,
}

farandole::messages! {
    /// What orders publishes.
    pub enum Event {
        OrderPlaced(OrderPlaced), OrderConfirmed(OrderConfirmed), OrderRejected(OrderRejected), OrderCancelled(OrderCancelled)
    }
}

farandole::messages! {
    /// What orders reacts to.
    pub enum Heard {
        StockShort(StockShort), PaymentAuthorised(PaymentAuthorised), PaymentDeclined(PaymentDeclined)
    }
}

/// What callers may ask.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub enum Command {
    /// Take this order.
    Place(Basket),
    /// The customer wants it no more.
    Cancel {
        /// Which.
        order_id: Uuid,
    },
}

impl Participant for Orders {
    const NAME: &'static str = "orders";
    const HEARS: &'static [&'static str] = &["inventory", "payments"];
    const SKIPS: &'static [&'static str] = &[
        "farandole.inventory.StockReceived",
        "farandole.inventory.StockReserved",
        "farandole.inventory.StockReleased",
        "farandole.payments.PaymentExpected",
        "farandole.payments.PaymentRequested",
        "farandole.payments.PaymentAbandoned",
        "farandole.payments.VoidRequested",
        "farandole.payments.PaymentVoided",
    ];
    type Event = Event;
    type Heard = Heard;
    type Command = Command;
    type Effect = NoEffect;
    type Outcome = NoEffect;
    type Tables = Tables;

    fn aggregate(&self, input: &Input<Self>) -> String {
        order_of(input).to_string()
    }

    fn touches(&self, input: &Input<Self>) -> Keys {
        Keys::of::<Order, _>([order_of(input)])
    }

    /// A late or repeated input about a settled order decides nothing and is no error.
    fn decide(&self, tables: &Tables, input: &Input<Self>) -> Result<Decision<Event>, Refusal> {
        let order_id = order_of(input);
        if let Body::Command(Command::Place(basket)) = &input.body {
            return self.place(input, basket);
        }
        let Some(order) = tables.orders.get(&order_id) else {
            return Err(match input.body {
                Body::Command(_) => Problem::not_found(format!("there is no order {order_id}")).into(),
                _ => Refusal::Retry(format!("order {order_id} isn't known here")),
            });
        };
        let at = input.at.micros();
        let cancelled = |reason| Decision::events([Event::from(OrderCancelled { order_id, reason, cancelled_at: at })]);
        let rejected = |reason, detail, skus| Event::from(OrderRejected { order_id, reason, detail, skus, rejected_at: at });
        Ok(match (&order.state.0, &input.body) {
            (State::Placed { .. }, Body::Heard(Heard::PaymentAuthorised(_))) => {
                // Payments asks for the card only once the stock is reserved, so this says both.
                Decision::events([OrderConfirmed { order_id, confirmed_at: at }.into()])
            }
            (State::Placed { .. }, Body::Heard(Heard::StockShort(short))) => {
                let (reason, detail, skus) = shortage(short);
                Decision::events([rejected(reason, detail, skus)])
            }
            (State::Placed { .. }, Body::Heard(Heard::PaymentDeclined(declined))) => {
                Decision::events([rejected(RejectionReason::CardDeclined, declined.reason.clone(), Vec::new())])
            }
            (State::Placed { .. }, Body::Deadline { name, .. }) if name == CONFIRM => {
                cancelled(CancellationReason::NotConfirmedInTime)
            }
            (State::Placed { .. } | State::Confirmed, Body::Command(Command::Cancel { .. })) => {
                cancelled(CancellationReason::CustomerRequest)
            }
            (State::Cancelled { .. }, Body::Command(Command::Cancel { .. })) => Decision::answered(told_cancelled(200, order_id)),
            (State::Rejected { .. }, Body::Command(Command::Cancel { .. })) => {
                let detail = format!("order {order_id} was rejected; there is nothing to cancel");
                return Err(Problem::new(409, "order-rejected", detail).into());
            }
            (_, Body::Heard(_) | Body::Deadline { .. } | Body::Command(Command::Place(_)) | Body::Outcome { .. }) => {
                Decision::nothing()
            }
        })
    }

    fn evolve(&self, tables: &mut Tables, event: &Event) {
        let (order_id, kind, at, state) = match event {
            Event::OrderPlaced(placed) => return tables.orders.put(new_order(placed)),
            Event::OrderConfirmed(e) => (e.order_id, "OrderConfirmed", e.confirmed_at, State::Confirmed),
            Event::OrderRejected(e) => {
                let (detail, skus) = (e.detail.clone(), e.skus.clone());
                (e.order_id, "OrderRejected", e.rejected_at, State::Rejected { reason: e.reason, detail, skus })
            }
            Event::OrderCancelled(e) => (e.order_id, "OrderCancelled", e.cancelled_at, State::Cancelled { reason: e.reason }),
        };
        if let Some(order) = tables.orders.get_mut(&order_id) {
            order.state = Json(state);
            order.history.push(happening(kind, at));
        }
    }

    fn follow_up(&self, event: &Event) -> Vec<Task<NoEffect>> {
        let close = |id: Uuid| vec![Task::Close { name: CONFIRM, key: id.to_string() }];
        match event {
            Event::OrderPlaced(e) => {
                let due = Timestamp::from_micros(e.confirm_by);
                vec![Task::Deadline { name: CONFIRM, key: e.order_id.to_string(), due }]
            }
            Event::OrderConfirmed(e) => close(e.order_id),
            Event::OrderRejected(e) => close(e.order_id),
            Event::OrderCancelled(e) => close(e.order_id),
        }
    }

    fn answer(&self, events: &[Event]) -> Answer {
        match events.first() {
            Some(Event::OrderPlaced(e)) => Answer::new(
                201,
                json!({
                    "order_id": e.order_id, "state": "placed", "total": e.total, "currency": e.currency,
                    "confirm_by": Timestamp::from_micros(e.confirm_by).to_string(),
                }),
            )
            .at(format!("/orders/{}", e.order_id)),
            Some(Event::OrderCancelled(e)) => told_cancelled(202, e.order_id),
            // No command leads to these.
            Some(Event::OrderConfirmed(_) | Event::OrderRejected(_)) | None => Answer::new(200, json!({})),
        }
    }
}

impl Orders {
    fn place(&self, input: &Input<Self>, basket: &Basket) -> Result<Decision<Event>, Refusal> {
        let total = basket.total().map_err(|wrong| Problem::invalid(vec![wrong]))?;
        Ok(Decision::events([OrderPlaced {
            order_id: input.id,
            customer: basket.customer.clone(),
            currency: basket.currency.clone(),
            total,
            lines: basket.lines.clone(),
            card_token: basket.card_token.clone(),
            placed_at: input.at.micros(),
            confirm_by: input.at.plus(self.confirm_within).micros(),
        }
        .into()]))
    }
}

fn order_of(input: &Input<Orders>) -> Uuid {
    match &input.body {
        Body::Heard(Heard::StockShort(e)) => e.order_id,
        Body::Heard(Heard::PaymentAuthorised(e)) => e.order_id,
        Body::Heard(Heard::PaymentDeclined(e)) => e.order_id,
        Body::Command(Command::Place(_)) => input.id,
        Body::Command(Command::Cancel { order_id }) => *order_id,
        // Keys are written by follow_up; another text is an order that nobody knows.
        Body::Deadline { key, .. } | Body::Outcome { key, .. } => key.parse().unwrap_or_default(),
    }
}

fn shortage(short: &StockShort) -> (RejectionReason, String, Vec<String>) {
    let unknown = short.missing.iter().any(|line| !line.known);
    let reason = if unknown { RejectionReason::UnknownSku } else { RejectionReason::OutOfStock };
    let mut words: Vec<String> = short
        .missing
        .iter()
        .take(NAMED)
        .map(|line| match line.known {
            true => format!("{}: {} wanted, {} available", line.sku, line.requested, line.available),
            false => format!("{}: unknown", line.sku),
        })
        .collect();
    if short.missing.len() > NAMED {
        words.push(format!("{} more", short.missing.len() - NAMED));
    }
    (reason, words.join("; "), short.missing.iter().map(|line| line.sku.clone()).collect())
}

fn told_cancelled(status: u16, order_id: Uuid) -> Answer {
    Answer::new(status, json!({ "order_id": order_id, "state": "cancelled" }))
}

fn new_order(e: &OrderPlaced) -> Order {
    Order {
        order_id: e.order_id,
        customer: e.customer.clone(),
        currency: e.currency.clone(),
        total: e.total,
        lines: Json(e.lines.clone()),
        placed_at: e.placed_at,
        state: Json(State::Placed { confirm_by: Timestamp::from_micros(e.confirm_by) }),
        history: Json(vec![happening("OrderPlaced", e.placed_at)]),
    }
}

fn happening(kind: &str, at: i64) -> Happening {
    Happening { kind: kind.to_owned(), at: Timestamp::from_micros(at) }
}
