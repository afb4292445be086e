//! The business of inventory, whole and pure.

#[cfg(test)]
mod tests;

use std::collections::BTreeMap;
use std::convert::Infallible;
use std::fmt::{self, Display, Formatter};
use std::str::FromStr;

use farandole::{Answer, Body, Decision, FieldError, Input, Keys, Never, Participant, Problem, Refusal};
use schemas::inventory::{MissingLine, StockLine, StockReceived, StockReleased, StockReserved, StockShort};
use schemas::orders::{OrderCancelled, OrderConfirmed, OrderPlaced, OrderRejected};
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
    pub enum Event { StockReceived, StockReserved, StockShort, StockReleased }
    ends { StockReceived, StockReleased }
}

farandole::messages! {
    /// What inventory subscribes to.
    pub enum Heard { OrderPlaced, OrderRejected, OrderCancelled }
    ignores { OrderConfirmed }
}

/// What an event of inventory is about.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Id {
    /// An order's request for stock, by the order's id.
    Order(Uuid),
    /// An article, by its number. (None is a UUID.)
    Article(String),
}

impl Display for Id {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        match self {
            Self::Order(id) => id.fmt(f),
            Self::Article(sku) => sku.fmt(f),
        }
    }
}

impl FromStr for Id {
    type Err = Infallible;
    fn from_str(key: &str) -> Result<Self, Infallible> {
        Ok(key.parse().map_or_else(|_| Self::Article(key.to_owned()), Self::Order))
    }
}

/// What callers may ask.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum Command {
    /// Goods have arrived.
    Receive {
        /// Pieces, 1 to 10^9.
        quantity: i64,
    },
}

impl Participant for Inventory {
    const NAME: &'static str = "inventory";
    type Id = Id;
    type Event = Event;
    type Heard = Heard;
    type Command = Command;
    type Deadline = Never;
    type Effect = Never;
    type Tables = Tables;

    fn touches(&self, id: &Id, input: &Input<Self>) -> Keys {
        match (id, &input.body) {
            (Id::Order(order_id), Body::Heard(Heard::OrderPlaced(placed))) => {
                Keys::of::<Reservation>([order_id]).and::<Stock>(placed.lines.iter().map(|line| &line.sku))
            }
            (Id::Order(order_id), _) => Keys::of::<Reservation>([order_id]),
            (Id::Article(sku), _) => Keys::of::<Stock>([sku]),
        }
    }

    /// A release changes the articles that were reserved, which only the reservation knows.
    fn touches_more(&self, tables: &Tables, id: &Id, input: &Input<Self>) -> Keys {
        let (Id::Order(order_id), Body::Heard(Heard::OrderRejected(_) | Heard::OrderCancelled(_))) = (id, &input.body) else {
            return Keys::default();
        };
        match tables.reservations.get(order_id).map(|r| &r.state.0) {
            Some(State::Reserved { lines }) => Keys::of::<Stock>(lines.iter().map(|line| &line.sku)),
            Some(State::Short | State::Released) | None => Keys::default(),
        }
    }

    /// An order asks once: a repeated request or a repeated end decides nothing and is no error.
    fn decide(&self, tables: &Tables, id: &Id, input: &Input<Self>) -> Result<Decision<Event>, Refusal> {
        let (order_id, heard) = match (id, &input.body) {
            (Id::Order(order_id), Body::Heard(heard)) => (*order_id, heard),
            (Id::Article(sku), Body::Command(Command::Receive { quantity })) => return receive(tables, input, sku, *quantity),
            (id, _) => return Err(Refusal::Park(format!("{id} can't be asked that"))),
        };
        let state = tables.reservations.get(&order_id).map(|r| &r.state.0);
        match (state, heard) {
            (None, Heard::OrderPlaced(placed)) => reserve(tables, input, placed),
            // An order's events come in order, so its end can't come before its beginning unless that one is stuck.
            (None, Heard::OrderRejected(_) | Heard::OrderCancelled(_)) => {
                Err(Refusal::Retry(format!("order {order_id} hasn't been placed yet, as far as is known here")))
            }
            (Some(State::Reserved { lines }), Heard::OrderRejected(_) | Heard::OrderCancelled(_)) => {
                let (lines, released_at) = (lines.clone(), input.at.micros());
                Ok(Decision::event(StockReleased { order_id, lines, released_at }))
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

    fn answer(&self, events: &[Event]) -> Answer {
        match events.first() {
            Some(Event::StockReceived(e)) => {
                Answer::created(json!({ "receipt_id": e.receipt_id, "sku": e.sku, "quantity": e.quantity }))
            }
            // No command leads to these.
            Some(Event::StockReserved(_) | Event::StockShort(_) | Event::StockReleased(_)) | None => Answer::empty(),
        }
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
    Ok(Decision::event(StockReceived { receipt_id: input.id, sku, quantity, received_at: input.at.micros() }))
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
        return Ok(Decision::event(StockShort { order_id, missing, decided_at: at }));
    }
    let lines = wanted.into_iter().map(|(sku, quantity)| StockLine { sku: sku.clone(), quantity }).collect();
    Ok(Decision::event(StockReserved { order_id, lines, reserved_at: at }))
}

/// Adds to an article's counts. Amounts add up in any order, so a rebuild may fold a reservation before its receipt.
fn change(tables: &mut Tables, sku: &String, received: i64, reserved: i64) {
    let before = tables.stock.get(sku).map_or((0, 0), |stock| (stock.received, stock.reserved));
    tables.stock.put(Stock { sku: sku.clone(), received: before.0 + received, reserved: before.1 + reserved });
}
