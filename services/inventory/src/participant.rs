//! The business of inventory, whole and pure.

#[cfg(test)]
mod tests;

use std::collections::BTreeMap;

use farandole::{Answer, Body, Decision, FieldError, Input, Keys, NoEffect, Participant, Problem, Refusal, Task};
use schemas::inventory::{MissingLine, StockLine, StockReceived, StockReleased, StockReserved, StockShort};
use schemas::orders::{OrderCancelled, OrderPlaced, OrderRejected};
use serde::{Deserialize, Serialize};
use serde_json::json;
use sqlx::types::Json;
use uuid::Uuid;

use crate::tables::{Reservation, State, Stock, Tables};

/// The participant.
#[derive(Debug, Clone, Copy)]
pub struct Inventory;

farandole::messages! {
    /// What inventory publishes.
    pub enum Event {
        StockReceived(StockReceived), StockReserved(StockReserved), StockShort(StockShort), StockReleased(StockReleased)
    }
}

farandole::messages! {
    /// What inventory reacts to.
    pub enum Heard { OrderPlaced(OrderPlaced), OrderRejected(OrderRejected), OrderCancelled(OrderCancelled) }
}

/// What callers may ask.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum Command {
    /// Goods have arrived.
    Receive {
        /// The article.
        sku: String,
        /// Pieces, 1 to 10^9.
        quantity: i64,
    },
}

impl Participant for Inventory {
    const NAME: &'static str = "inventory";
    const HEARS: &'static [&'static str] = &["orders"];
    const SKIPS: &'static [&'static str] = &["farandole.orders.OrderConfirmed"];
    type Event = Event;
    type Heard = Heard;
    type Command = Command;
    type Effect = NoEffect;
    type Outcome = NoEffect;
    type Tables = Tables;

    fn aggregate(&self, input: &Input<Self>) -> String {
        match &input.body {
            Body::Heard(heard) => order_of(heard).to_string(),
            Body::Command(Command::Receive { sku, .. }) => sku.clone(),
            Body::Deadline { key, .. } | Body::Outcome { key, .. } => key.clone(),
        }
    }

    fn touches(&self, input: &Input<Self>) -> Keys {
        match &input.body {
            Body::Heard(heard @ Heard::OrderPlaced(placed)) => {
                Keys::of::<Reservation, _>([order_of(heard)]).and::<Stock, _>(placed.lines.iter().map(|line| line.sku.clone()))
            }
            Body::Heard(heard) => Keys::of::<Reservation, _>([order_of(heard)]),
            Body::Command(Command::Receive { sku, .. }) => Keys::of::<Stock, _>([sku.clone()]),
            Body::Deadline { .. } | Body::Outcome { .. } => Keys::default(),
        }
    }

    /// A release changes the articles that were reserved, which only the reservation knows.
    fn touches_more(&self, tables: &Tables, input: &Input<Self>) -> Keys {
        let Body::Heard(heard @ (Heard::OrderRejected(_) | Heard::OrderCancelled(_))) = &input.body else {
            return Keys::default();
        };
        match tables.reservations.get(&order_of(heard)).map(|r| &r.state.0) {
            Some(State::Reserved { lines }) => Keys::of::<Stock, _>(lines.iter().map(|line| line.sku.clone())),
            Some(State::Short | State::Released) | None => Keys::default(),
        }
    }

    /// An order asks once: a repeated request or a repeated end decides nothing and is no error.
    fn decide(&self, tables: &Tables, input: &Input<Self>) -> Result<Decision<Event>, Refusal> {
        let heard = match &input.body {
            Body::Heard(heard) => heard,
            Body::Command(Command::Receive { sku, quantity }) => return receive(tables, input, sku, *quantity),
            Body::Deadline { .. } | Body::Outcome { .. } => return Ok(Decision::nothing()),
        };
        let order_id = order_of(heard);
        let state = tables.reservations.get(&order_id).map(|r| &r.state.0);
        match (state, heard) {
            (None, Heard::OrderPlaced(placed)) => reserve(tables, input, placed),
            // An order's events come in order, so its end can't come before its beginning unless that one is stuck.
            (None, Heard::OrderRejected(_) | Heard::OrderCancelled(_)) => {
                Err(Refusal::Retry(format!("the placing of order {order_id} wasn't heard here")))
            }
            (Some(State::Reserved { lines }), Heard::OrderRejected(_) | Heard::OrderCancelled(_)) => {
                let (lines, released_at) = (lines.clone(), input.at.micros());
                Ok(Decision::events([StockReleased { order_id, lines, released_at }.into()]))
            }
            (Some(State::Short | State::Released), Heard::OrderRejected(_) | Heard::OrderCancelled(_))
            | (Some(_), Heard::OrderPlaced(_)) => Ok(Decision::nothing()),
        }
    }

    fn evolve(&self, tables: &mut Tables, event: &Event) {
        let (order_id, state) = match event {
            Event::StockReceived(e) => return change(tables, &e.sku, e.quantity, 0),
            Event::StockReserved(e) => {
                e.lines.iter().for_each(|line| change(tables, &line.sku, 0, line.quantity));
                (e.order_id, State::Reserved { lines: e.lines.clone() })
            }
            Event::StockShort(e) => (e.order_id, State::Short),
            Event::StockReleased(e) => {
                e.lines.iter().for_each(|line| change(tables, &line.sku, 0, -line.quantity));
                (e.order_id, State::Released)
            }
        };
        tables.reservations.put(Reservation { order_id, state: Json(state) });
    }

    fn follow_up(&self, _event: &Event) -> Vec<Task<NoEffect>> {
        Vec::new()
    }

    fn answer(&self, events: &[Event]) -> Answer {
        match events.first() {
            Some(Event::StockReceived(e)) => {
                Answer::new(201, json!({ "receipt_id": e.receipt_id, "sku": e.sku, "quantity": e.quantity }))
            }
            // No command leads to these.
            Some(Event::StockReserved(_) | Event::StockShort(_) | Event::StockReleased(_)) | None => Answer::new(200, json!({})),
        }
    }
}

fn order_of(heard: &Heard) -> Uuid {
    match heard {
        Heard::OrderPlaced(e) => e.order_id,
        Heard::OrderRejected(e) => e.order_id,
        Heard::OrderCancelled(e) => e.order_id,
    }
}

/// Takes goods in, up to what a count can hold.
fn receive(tables: &Tables, input: &Input<Inventory>, sku: &str, quantity: i64) -> Result<Decision<Event>, Refusal> {
    let received = tables.stock.get(&sku.to_owned()).map_or(0, |stock| stock.received);
    if quantity <= 0 || received.checked_add(quantity).is_none() {
        let reason = format!("must be more than 0, and no more than {} with the {received} received before", i64::MAX);
        return Err(Problem::invalid(vec![FieldError { field: "quantity".to_owned(), reason }]).into());
    }
    let sku = sku.to_owned();
    Ok(Decision::events([StockReceived { receipt_id: input.id, sku, quantity, received_at: input.at.micros() }.into()]))
}

/// All lines or none.
fn reserve(tables: &Tables, input: &Input<Inventory>, placed: &OrderPlaced) -> Result<Decision<Event>, Refusal> {
    let mut wanted = BTreeMap::<&String, i64>::new();
    for line in &placed.lines {
        if line.quantity <= 0 {
            return Err(Refusal::Park(format!("order {}: quantity {} of {}", placed.order_id, line.quantity, line.sku)));
        }
        *wanted.entry(&line.sku).or_default() += i64::from(line.quantity);
    }
    let missing: Vec<MissingLine> = wanted
        .iter()
        .filter_map(|(sku, requested)| {
            let stock = tables.stock.get(*sku);
            let available = stock.map_or(0, Stock::available);
            let line = MissingLine { sku: (*sku).clone(), requested: *requested, available, known: stock.is_some() };
            (available < *requested).then_some(line)
        })
        .collect();
    let (order_id, at) = (placed.order_id, input.at.micros());
    if !missing.is_empty() {
        return Ok(Decision::events([StockShort { order_id, missing, decided_at: at }.into()]));
    }
    let lines = wanted.into_iter().map(|(sku, quantity)| StockLine { sku: sku.clone(), quantity }).collect();
    Ok(Decision::events([StockReserved { order_id, lines, reserved_at: at }.into()]))
}

/// Adds to an article's counts. Amounts add up in any order, so a rebuild may fold a reservation before its receipt.
fn change(tables: &mut Tables, sku: &String, received: i64, reserved: i64) {
    let before = tables.stock.get(sku).map_or((0, 0), |stock| (stock.received, stock.reserved));
    tables.stock.put(Stock { sku: sku.clone(), received: before.0 + received, reserved: before.1 + reserved });
}
