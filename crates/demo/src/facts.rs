//! What the topics say, order by order and SKU by SKU. Pure.

use std::collections::{BTreeMap, HashMap};

use uuid::Uuid;

use crate::topics::{At, Event};

/// An order as the three topics tell it.
#[derive(Debug, Default, Clone)]
pub struct Order {
    pub placed: Option<i64>,
    pub confirmed: Option<i64>,
    pub rejected: u32,
    pub cancelled: u32,
    /// Pieces set aside and not given back, by SKU.
    pub reserved: BTreeMap<String, i64>,
    /// Authorised and voided, in minor units.
    pub authorised: i64,
    pub authorisations: u32,
    pub voided: i64,
    /// Every event, in the order in which it was read; sorted by time when shown.
    pub events: Vec<At>,
}

/// How an order ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum End {
    Confirmed,
    Rejected,
    Cancelled,
    /// It didn't.
    Open,
    /// More ways than one.
    Twice,
}

impl Order {
    pub fn end(&self) -> End {
        match (self.confirmed.is_some(), self.rejected, self.cancelled) {
            (true, 0, 0) => End::Confirmed,
            (false, 1, 0) => End::Rejected,
            // A confirmed order may still be cancelled by the customer.
            (_, 0, 1) => End::Cancelled,
            (false, 0, 0) => End::Open,
            _ => End::Twice,
        }
    }
}

/// A SKU as inventory's topic tells it.
#[derive(Debug, Default, Clone, PartialEq, Eq)]
pub struct Stock {
    pub received: i64,
    pub reserved: i64,
}

/// Everything.
#[derive(Debug, Default)]
pub struct Facts {
    pub orders: HashMap<Uuid, Order>,
    pub stock: BTreeMap<String, Stock>,
    pub events: u64,
    /// What can't be, found on the way.
    pub faults: Vec<String>,
}

impl Facts {
    pub fn add(&mut self, at: At, event: Event) {
        self.events += 1;
        let time = at.time;
        let id = match &event {
            Event::StockReceived(e) => {
                self.stock.entry(e.sku.clone()).or_default().received += e.quantity;
                return;
            }
            Event::OrderPlaced(e) => e.order_id,
            Event::OrderConfirmed(e) => e.order_id,
            Event::OrderRejected(e) => e.order_id,
            Event::OrderCancelled(e) => e.order_id,
            Event::StockReserved(e) => e.order_id,
            Event::StockShort(e) => e.order_id,
            Event::StockReleased(e) => e.order_id,
            Event::PaymentExpected(e) => e.order_id,
            Event::PaymentRequested(e) => e.order_id,
            Event::PaymentAuthorised(e) => e.order_id,
            Event::PaymentDeclined(e) => e.order_id,
            Event::PaymentAbandoned(e) => e.order_id,
            Event::VoidRequested(e) => e.order_id,
            Event::PaymentVoided(e) => e.order_id,
        };
        let order = self.orders.entry(id).or_default();
        order.events.push(at);
        match event {
            Event::OrderPlaced(_) if order.placed.replace(time).is_some() => {
                self.faults.push(format!("order {id} was placed twice"))
            }
            Event::OrderConfirmed(_) if order.confirmed.replace(time).is_some() => {
                self.faults.push(format!("order {id} was confirmed twice"));
            }
            Event::OrderRejected(_) => order.rejected += 1,
            Event::OrderCancelled(_) => order.cancelled += 1,
            Event::StockReserved(e) => {
                for line in e.lines {
                    self.stock.entry(line.sku.clone()).or_default().reserved += line.quantity;
                    *order.reserved.entry(line.sku).or_default() += line.quantity;
                }
            }
            Event::StockReleased(e) => {
                for line in e.lines {
                    self.stock.entry(line.sku.clone()).or_default().reserved -= line.quantity;
                    *order.reserved.entry(line.sku).or_default() -= line.quantity;
                }
                order.reserved.retain(|_, n| *n != 0);
            }
            Event::PaymentAuthorised(e) => {
                order.authorised += e.amount;
                order.authorisations += 1;
            }
            Event::PaymentVoided(e) => order.voided += e.amount,
            _ => {}
        }
    }

    /// How many orders ended so.
    pub fn ended(&self, end: End) -> u64 {
        self.orders.values().filter(|o| o.end() == end).count() as u64
    }
}
