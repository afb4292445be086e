//! The business of inventory, whole and pure.

#[cfg(test)]
mod tests;

use std::collections::BTreeMap;
use std::convert::Infallible;
use std::fmt::{self, Display, Formatter};
use std::str::FromStr;

use farandole::{Answer, Body, Decision, FieldError, Input, Keys, Never, Participant, Problem, Refusal, Timestamp};
use schemas::inventory::{
    MissingLine, StockAdjusted, StockLine, StockReceived, StockReleased, StockReserved, StockShipped, StockShort,
};
use schemas::orders::{
    OrderCancellationRequested, OrderCancelled, OrderCompleted, OrderConfirmed, OrderPlaced, OrderProgressed, OrderRejected,
};
use schemas::shipping::{
    CancellationRefused, DispatchStarted, RecallEnded, RecallRequested, ShipmentCancelled, ShipmentDelivered, ShipmentDispatched,
    ShipmentFailed, ShipmentFound, ShipmentLost, ShipmentPrepared, TrackingRequested,
};
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
    pub enum Event { StockReceived, StockAdjusted, StockReserved, StockShort, StockReleased, StockShipped }
    ends { StockReceived, StockAdjusted, StockReleased, StockShipped }
}

farandole::messages! {
    /// What inventory subscribes to.
    pub enum Heard { OrderPlaced, OrderRejected, OrderCancelled, ShipmentDispatched }
    ignores {
        OrderConfirmed, OrderCancellationRequested, OrderProgressed, OrderCompleted,
        ShipmentPrepared, DispatchStarted, TrackingRequested, RecallRequested, RecallEnded, ShipmentDelivered, ShipmentLost, ShipmentFound, CancellationRefused,
        ShipmentFailed, ShipmentCancelled, // it is released because the order ended, which orders itself publishes
    }
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
    /// A count was wrong.
    Adjust {
        /// Pieces more, or fewer when negative; not 0, at most 10^9 either way.
        quantity: i64,
        /// Why, in words.
        reason: String,
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

    /// A release and a shipment change the articles that were reserved, which only the reservation knows.
    fn touches_more(&self, tables: &Tables, id: &Id, input: &Input<Self>) -> Keys {
        let (Id::Order(order_id), Body::Heard(heard)) = (id, &input.body) else { return Keys::default() };
        match (heard, tables.reservations.get(order_id).map(|r| &r.state.0)) {
            (
                Heard::OrderRejected(_) | Heard::OrderCancelled(_) | Heard::ShipmentDispatched(_),
                Some(State::Reserved { lines, .. }),
            ) => Keys::of::<Stock>(lines.iter().map(|line| &line.sku)),
            _ => Keys::default(),
        }
    }

    /// An order asks once: a repeated request or a repeated end decides nothing and is no error.
    fn decide(&self, tables: &Tables, id: &Id, input: &Input<Self>) -> Result<Decision<Event>, Refusal> {
        let (order_id, heard) = match (id, &input.body) {
            (Id::Order(order_id), Body::Heard(heard)) => (*order_id, heard),
            (Id::Article(sku), Body::Command(Command::Receive { quantity })) => return receive(tables, input, sku, *quantity),
            (Id::Article(sku), Body::Command(Command::Adjust { quantity, reason })) => {
                return adjust(tables, input, sku, *quantity, reason);
            }
            (id, _) => return Err(Refusal::Park(format!("{id} can't be asked that"))),
        };
        let state = tables.reservations.get(&order_id).map(|r| &r.state.0);
        match (state, heard) {
            (None, Heard::OrderPlaced(placed)) => reserve(tables, input, placed),
            // An order's events come in order, so its end can't come before its beginning unless that one is stuck; nor its parcel.
            (None, Heard::OrderRejected(_) | Heard::OrderCancelled(_) | Heard::ShipmentDispatched(_)) => {
                Err(Refusal::Retry(format!("order {order_id} hasn't been placed yet, as far as is known here")))
            }
            (Some(State::Reserved { lines, .. }), Heard::OrderRejected(_) | Heard::OrderCancelled(_)) => {
                let (lines, released_at) = (lines.clone(), input.at.micros());
                Ok(Decision::event(StockReleased { order_id, lines, released_at }))
            }
            (Some(State::Reserved { lines, .. }), Heard::ShipmentDispatched(_)) => {
                Ok(Decision::event(StockShipped { order_id, lines: lines.clone(), shipped_at: input.at.micros() }))
            }
            (Some(State::Short | State::Released), Heard::OrderRejected(_) | Heard::OrderCancelled(_))
            | (Some(State::Shipped), Heard::ShipmentDispatched(_))
            | (Some(_), Heard::OrderPlaced(_)) => Ok(Decision::nothing()),
            // Neither comes about while the others keep their word: goods left that weren't set aside, or an order ended whose goods left.
            (Some(State::Short | State::Released), Heard::ShipmentDispatched(_)) => {
                Err(Refusal::Park(format!("order {order_id} was dispatched, and nothing is set aside for it")))
            }
            (Some(State::Shipped), Heard::OrderRejected(_) | Heard::OrderCancelled(_)) => {
                Err(Refusal::Park(format!("order {order_id} ended as if its goods were here, and they have left")))
            }
        }
    }

    fn evolve(&self, tables: &mut Tables, event: &Event) {
        let (order_id, state) = match event {
            Event::StockReceived(e) => return change(tables, &e.sku, |stock| stock.received += e.quantity),
            Event::StockAdjusted(e) => return change(tables, &e.sku, |stock| stock.adjusted += e.quantity),
            Event::StockReserved(e) => {
                e.lines.iter().for_each(|line| change(tables, &line.sku, |stock| stock.reserved += line.quantity));
                (e.order_id, State::Reserved { lines: e.lines.clone(), since: Some(Timestamp::from_micros(e.reserved_at)) })
            }
            Event::StockShort(e) => (e.order_id, State::Short),
            Event::StockReleased(e) => {
                e.lines.iter().for_each(|line| change(tables, &line.sku, |stock| stock.reserved -= line.quantity));
                (e.order_id, State::Released)
            }
            Event::StockShipped(e) => {
                for line in &e.lines {
                    change(tables, &line.sku, |stock| {
                        stock.reserved -= line.quantity;
                        stock.shipped += line.quantity;
                    });
                }
                (e.order_id, State::Shipped)
            }
        };
        tables.reservations.put(Reservation { order_id, state: Json(state) });
    }

    fn answer(&self, events: &[Event]) -> Answer {
        match events.first() {
            Some(Event::StockReceived(e)) => {
                Answer::created(json!({ "receipt_id": e.receipt_id, "sku": e.sku, "quantity": e.quantity }))
            }
            Some(Event::StockAdjusted(e)) => Answer::created(json!({
                "adjustment_id": e.adjustment_id, "sku": e.sku, "quantity": e.quantity, "reason": e.reason,
            })),
            // No command leads to these.
            Some(Event::StockReserved(_) | Event::StockShort(_) | Event::StockReleased(_) | Event::StockShipped(_)) | None => {
                Answer::empty()
            }
        }
    }
}

/// Takes goods in, up to what a count can hold.
fn receive(tables: &Tables, input: &Input<Inventory>, sku: &str, quantity: i64) -> Result<Decision<Event>, Refusal> {
    let there = tables.stock.get(&sku.to_owned()).map_or(0, Stock::counted);
    if quantity <= 0 || there.checked_add(quantity).is_none() {
        let reason = format!("must be more than 0, and no more than {} with the {there} counted before", i64::MAX);
        return Err(Problem::invalid(vec![FieldError { field: "quantity".to_owned(), reason }]).into());
    }
    let sku = sku.to_owned();
    Ok(Decision::event(StockReceived { receipt_id: input.id, sku, quantity, received_at: input.at.micros() }))
}

/// Puts a count right, but never below what is set aside: those orders are promised.
fn adjust(tables: &Tables, input: &Input<Inventory>, sku: &str, quantity: i64, reason: &str) -> Result<Decision<Event>, Refusal> {
    let Some(stock) = tables.stock.get(&sku.to_owned()) else {
        return Err(Problem::not_found(format!("article {sku} was never received")).into());
    };
    let (there, available) = (stock.counted(), stock.available());
    if quantity == 0 || there.checked_add(quantity).is_none() {
        let reason = format!("must not be 0, and no more than {} with the {there} counted before", i64::MAX);
        return Err(Problem::invalid(vec![FieldError { field: "quantity".to_owned(), reason }]).into());
    }
    if available + quantity.min(0) < 0 {
        let detail = format!("{available} of {sku} are available, and {} set aside for orders stay so", stock.reserved);
        return Err(Problem::conflict("reserved", detail).into());
    }
    Ok(Decision::event(StockAdjusted {
        adjustment_id: input.id,
        sku: sku.to_owned(),
        quantity,
        reason: reason.to_owned(),
        adjusted_at: input.at.micros(),
    }))
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
fn change(tables: &mut Tables, sku: &String, add: impl FnOnce(&mut Stock)) {
    let none = || Stock { sku: sku.clone(), received: 0, reserved: 0, adjusted: 0, shipped: 0 };
    let mut stock = tables.stock.get(sku).cloned().unwrap_or_else(none);
    add(&mut stock);
    tables.stock.put(stock);
}
