//! The business of orders, whole and pure.

mod fulfilment;
#[cfg(test)]
mod tests;

use std::time::Duration;

use farandole::{Answer, Body, Decision, Input, Message as _, Never, Participant, Problem, Refusal, Task, Tasks, Timestamp};
use schemas::inventory::StockShort;
use schemas::orders::{CancellationReason, OrderCancelled, OrderConfirmed, OrderPlaced, OrderRejected, RejectionReason};
use serde::{Deserialize, Serialize};
use serde_json::json;
use sqlx::types::Json;
use uuid::Uuid;

use crate::basket::Basket;
use crate::messages::{Event, Heard};
use crate::prices;
use crate::tables::{Cancellation, Fulfilment, Happening, Order, State, Tables};

/// A rejection's words name so many articles; `skus` names all.
const NAMED: usize = 10;

/// The participant.
#[derive(Debug, Clone, Copy)]
pub struct Orders {
    /// How long stock and card may take.
    pub confirm_within: Duration,
}

farandole::deadlines! {
    /// When orders looks again.
    pub enum Deadline {
        /// An order is settled by then.
        Confirm,
    }
}

/// What callers may ask.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub enum Command {
    /// Take this order.
    Place(Basket),
    /// The customer wants it no more.
    Cancel,
}

impl Participant for Orders {
    const NAME: &'static str = "orders";
    type Id = Uuid;
    type Event = Event;
    type Heard = Heard;
    type Command = Command;
    type Deadline = Deadline;
    type Effect = Never;
    type Tables = Tables;

    /// A late or repeated input about a settled order decides nothing and is no error.
    fn decide(&self, tables: &Tables, &order_id: &Uuid, input: &Input<Self>) -> Result<Decision<Event>, Refusal> {
        if let Body::Command(Command::Place(basket)) = &input.body {
            return self.place(order_id, input, basket);
        }
        let Some(order) = tables.orders.get(&order_id) else {
            return Err(match input.body {
                Body::Command(_) => Problem::not_found(format!("there is no order {order_id}")).into(),
                _ => Refusal::Retry(format!("order {order_id} isn't known here")),
            });
        };
        let at = input.at.micros();
        let cancelled = |reason| Decision::event(OrderCancelled { order_id, reason, cancelled_at: at });
        let rejected = |reason, detail, skus| Decision::event(OrderRejected { order_id, reason, detail, skus, rejected_at: at });
        Ok(match (&order.state.0, &input.body) {
            (State::Placed { .. }, Body::Heard(Heard::PaymentAuthorised(_))) => {
                // Payments asks for the card only once the stock is reserved, so this says both.
                Decision::event(OrderConfirmed { order_id, customer: order.customer.clone(), confirmed_at: at })
            }
            (State::Placed { .. }, Body::Heard(Heard::StockShort(short))) => {
                let (reason, detail, skus) = shortage(short);
                rejected(reason, detail, skus)
            }
            (State::Placed { .. }, Body::Heard(Heard::PaymentDeclined(declined))) => {
                rejected(RejectionReason::CardDeclined, declined.reason.clone(), Vec::new())
            }
            (State::Placed { .. }, Body::Deadline(Deadline::Confirm)) => cancelled(CancellationReason::NotConfirmedInTime),
            (State::Placed { .. }, Body::Command(Command::Cancel)) => cancelled(CancellationReason::CustomerRequest),
            (State::Confirmed(now), Body::Command(Command::Cancel)) => return fulfilment::cancel(order_id, now, at),
            (State::Confirmed(now), Body::Heard(heard)) => fulfilment::heard(order_id, now, heard, at),
            (State::Cancelled { .. }, Body::Command(Command::Cancel)) => Decision::answered(Answer::ok(is_cancelled(order_id))),
            (State::Rejected { .. }, Body::Command(Command::Cancel)) => {
                let detail = format!("order {order_id} was rejected; there is nothing to cancel");
                return Err(Problem::conflict("order-rejected", detail).into());
            }
            (State::Completed { .. }, Body::Command(Command::Cancel)) => return Err(fulfilment::too_late(order_id)),
            (_, Body::Heard(_) | Body::Deadline(_) | Body::Command(Command::Place(_)) | Body::Outcome { .. }) => {
                Decision::nothing()
            }
        })
    }

    fn evolve(&self, tables: &mut Tables, event: &Event) {
        if let Event::OrderPlaced(placed) = event {
            return tables.orders.put(new_order(placed, happening(event, placed.placed_at)));
        }
        let Some(order) = tables.orders.get_mut(&id(event)) else { return };
        let (at, state) = match event {
            Event::OrderPlaced(e) => (e.placed_at, None),
            Event::OrderConfirmed(e) => (e.confirmed_at, Some(State::Confirmed(Fulfilment::default()))),
            Event::OrderRejected(e) => {
                let (detail, skus) = (e.detail.clone(), e.skus.clone());
                (e.rejected_at, Some(State::Rejected { reason: e.reason, detail, skus }))
            }
            Event::OrderCancelled(e) => (e.cancelled_at, Some(State::Cancelled { reason: e.reason })),
            Event::OrderCompleted(e) => (e.completed_at, Some(State::Completed { how: e.how })),
            Event::OrderCancellationRequested(e) => {
                if let State::Confirmed(now) = &mut order.state.0 {
                    now.cancellation = Cancellation::Requested(e.reason);
                }
                (e.requested_at, None)
            }
            Event::OrderProgressed(e) => {
                if let State::Confirmed(now) = &mut order.state.0 {
                    now.advance(e.step, e.tracking.as_ref(), e.until.map(Timestamp::from_micros));
                }
                (e.progressed_at, None)
            }
        };
        if let Some(state) = state {
            order.state = Json(state);
        }
        order.history.push(happening(event, at));
    }

    fn follow_up(&self, event: &Event) -> Tasks<Self> {
        match event {
            Event::OrderPlaced(e) => vec![Task::deadline(Deadline::Confirm, Timestamp::from_micros(e.confirm_by))],
            Event::OrderConfirmed(_) | Event::OrderRejected(_) | Event::OrderCancelled(_) => vec![Task::close(Deadline::Confirm)],
            Event::OrderCancellationRequested(_) | Event::OrderProgressed(_) | Event::OrderCompleted(_) => Vec::new(),
        }
    }

    fn answer(&self, events: &[Event]) -> Answer {
        match events.first() {
            Some(Event::OrderPlaced(e)) => Answer::created(json!({
                "order_id": e.order_id, "state": "placed", "total": e.total, "currency": e.currency,
                "confirm_by": Timestamp::from_micros(e.confirm_by).to_string(),
            }))
            .at(format!("/orders/{}", e.order_id)),
            Some(Event::OrderCancelled(e)) => Answer::accepted(is_cancelled(e.order_id)),
            Some(Event::OrderCancellationRequested(e)) => Answer::accepted(fulfilment::is_asked(e.order_id)),
            // No command leads to these.
            Some(Event::OrderConfirmed(_) | Event::OrderRejected(_) | Event::OrderProgressed(_) | Event::OrderCompleted(_))
            | None => Answer::empty(),
        }
    }
}

impl Orders {
    fn place(&self, order_id: Uuid, input: &Input<Self>, basket: &Basket) -> Result<Decision<Event>, Refusal> {
        prices::hold(&basket.stale)?;
        let total = basket.total().map_err(|wrong| Problem::invalid(vec![wrong]))?;
        Ok(Decision::event(OrderPlaced {
            order_id,
            customer: basket.customer.clone(),
            currency: basket.currency.clone(),
            total,
            lines: basket.lines.clone(),
            card_token: basket.card_token.clone(),
            placed_at: input.at.micros(),
            confirm_by: input.at.plus(self.confirm_within).micros(),
        }))
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

fn is_cancelled(order_id: Uuid) -> serde_json::Value {
    json!({ "order_id": order_id, "state": "cancelled" })
}

/// The order that an event is about.
fn id(event: &Event) -> Uuid {
    match event {
        Event::OrderPlaced(e) => e.order_id,
        Event::OrderConfirmed(e) => e.order_id,
        Event::OrderRejected(e) => e.order_id,
        Event::OrderCancellationRequested(e) => e.order_id,
        Event::OrderCancelled(e) => e.order_id,
        Event::OrderProgressed(e) => e.order_id,
        Event::OrderCompleted(e) => e.order_id,
    }
}

fn new_order(e: &OrderPlaced, placed: Happening) -> Order {
    Order {
        order_id: e.order_id,
        customer: e.customer.clone(),
        currency: e.currency.clone(),
        total: e.total,
        lines: Json(e.lines.clone()),
        placed_at: e.placed_at,
        state: Json(State::Placed { confirm_by: Timestamp::from_micros(e.confirm_by) }),
        history: Json(vec![placed]),
    }
}

fn happening(event: &Event, at: i64) -> Happening {
    let step = match event {
        Event::OrderProgressed(e) => Some(e.step),
        _ => None,
    };
    Happening { kind: event.short_name().to_owned(), step, at: Timestamp::from_micros(at) }
}
