//! What the topics say, order by order and SKU by SKU. Pure.

use std::collections::{BTreeMap, HashMap};

use schemas::inventory::StockLine;
use schemas::notifications::NotificationKind;
use schemas::orders::Completion;
use uuid::Uuid;

use crate::topics::{At, Event};

/// An order as the topics tell it.
#[derive(Debug, Default, Clone)]
pub struct Order {
    pub placed: Option<i64>,
    /// The id of who placed it.
    pub customer: String,
    pub confirmed: Option<i64>,
    pub rejected: u32,
    pub cancelled: u32,
    /// How it was completed, as often as it was.
    pub completed: Vec<Completion>,
    /// Pieces set aside and neither given back nor shipped, by SKU.
    pub reserved: BTreeMap<String, i64>,
    /// Pieces that left the house.
    pub shipped: BTreeMap<String, i64>,
    pub money: Money,
    pub parcel: Parcel,
    /// By what they tell.
    pub mails: BTreeMap<String, Mail>,
    /// Every event, in the order in which it was read; sorted by time when shown.
    pub events: Vec<At>,
}

/// What the events say of an order's money, in minor units.
#[derive(Debug, Default, Clone, PartialEq, Eq)]
pub struct Money {
    pub authorised: i64,
    pub authorisations: u32,
    pub voided: i64,
    pub expired: i64,
    pub captured: i64,
    pub captures: u32,
    pub refunded: i64,
    pub written_off: i64,
}

/// What the events say of an order's parcel.
#[derive(Debug, Default, Clone, PartialEq, Eq)]
pub struct Parcel {
    /// The carrier's number, as often as it was dispatched.
    pub dispatched: Vec<String>,
    pub delivered: u32,
    pub lost: u32,
    pub found: u32,
    pub failed: u32,
    pub cancelled: u32,
    /// What came of calling it back.
    pub recalls: Vec<String>,
}

/// What the events say of a mail.
#[derive(Debug, Default, Clone, PartialEq, Eq)]
pub struct Mail {
    /// How often it was requested: once, and once for each time that an operator asked again.
    pub requested: u32,
    /// The `Message-ID`s under which it was taken.
    pub sent: Vec<String>,
    pub failed: u32,
}

/// A kind of mail in a word.
fn name(kind: NotificationKind) -> String {
    format!("{kind:?}").to_lowercase()
}

/// How an order ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum End {
    /// Delivered and paid.
    Delivered,
    /// Its money was given back.
    Refunded,
    /// Its goods left, and it was never paid.
    Unpaid,
    Rejected,
    Cancelled,
    /// It didn't, yet.
    Confirmed,
    /// Nor this one, which isn't confirmed.
    Open,
    /// More ways than one.
    Twice,
}

impl End {
    /// All, in the order in which an account tells them.
    pub const ALL: [Self; 8] = [
        Self::Delivered,
        Self::Refunded,
        Self::Unpaid,
        Self::Rejected,
        Self::Cancelled,
        Self::Confirmed,
        Self::Open,
        Self::Twice,
    ];

    /// In a word, as the table of orders has it.
    pub fn word(self) -> &'static str {
        match self {
            Self::Delivered => "delivered",
            Self::Refunded => "refunded",
            Self::Unpaid => "unpaid",
            Self::Rejected => "rejected",
            Self::Cancelled => "cancelled",
            Self::Confirmed => "confirmed",
            Self::Open => "open",
            Self::Twice => "ended twice",
        }
    }

    /// Whether nothing more becomes of it.
    pub fn is_final(self) -> bool {
        !matches!(self, Self::Confirmed | Self::Open | Self::Twice)
    }
}

impl Order {
    pub fn end(&self) -> End {
        match (self.confirmed.is_some(), self.rejected, self.cancelled, self.completed.as_slice()) {
            (false, 1, 0, []) => End::Rejected,
            (_, 0, 1, []) => End::Cancelled,
            (true, 0, 0, [how]) => match how {
                Completion::Delivered => End::Delivered,
                Completion::Refunded => End::Refunded,
                Completion::Unpaid | Completion::Other => End::Unpaid,
            },
            (true, 0, 0, []) => End::Confirmed,
            (false, 0, 0, []) => End::Open,
            _ => End::Twice,
        }
    }
}

/// A SKU as inventory's topic tells it.
#[derive(Debug, Default, Clone, PartialEq, Eq)]
pub struct Stock {
    pub received: i64,
    pub adjusted: i64,
    pub reserved: i64,
    pub shipped: i64,
}

impl Stock {
    /// Pieces that can still be set aside.
    pub fn available(&self) -> i64 {
        self.received + self.adjusted - self.reserved - self.shipped
    }
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
        match &event {
            Event::StockReceived(e) => return self.stock.entry(e.sku.clone()).or_default().received += e.quantity,
            Event::StockAdjusted(e) => return self.stock.entry(e.sku.clone()).or_default().adjusted += e.quantity,
            _ => {}
        }
        let Some(id) = event.order_id() else { return };
        let order = self.orders.entry(id).or_default();
        order.events.push(at);
        let stock = &mut self.stock;
        let mut change = |lines: Vec<StockLine>, change: fn(&mut Stock, &mut Order, StockLine)| {
            lines.into_iter().for_each(|line| change(stock.entry(line.sku.clone()).or_default(), order, line));
            order.reserved.retain(|_, n| *n != 0);
        };
        match event {
            Event::StockReserved(e) => {
                return change(e.lines, |stock, order, line| {
                    stock.reserved += line.quantity;
                    *order.reserved.entry(line.sku).or_default() += line.quantity;
                });
            }
            Event::StockReleased(e) => {
                return change(e.lines, |stock, order, line| {
                    stock.reserved -= line.quantity;
                    *order.reserved.entry(line.sku).or_default() -= line.quantity;
                });
            }
            Event::StockShipped(e) => {
                return change(e.lines, |stock, order, line| {
                    stock.reserved -= line.quantity;
                    stock.shipped += line.quantity;
                    *order.reserved.entry(line.sku.clone()).or_default() -= line.quantity;
                    *order.shipped.entry(line.sku).or_default() += line.quantity;
                });
            }
            _ => {}
        }
        let (money, parcel, mails) = (&mut order.money, &mut order.parcel, &mut order.mails);
        match event {
            Event::OrderPlaced(e) => {
                order.customer = e.customer;
                if order.placed.replace(time).is_some() {
                    self.faults.push(format!("order {id} was placed twice"));
                }
            }
            Event::OrderConfirmed(_) if order.confirmed.replace(time).is_some() => {
                self.faults.push(format!("order {id} was confirmed twice"));
            }
            Event::OrderRejected(_) => order.rejected += 1,
            Event::OrderCancelled(_) => order.cancelled += 1,
            Event::OrderCompleted(e) => order.completed.push(e.how),
            Event::PaymentAuthorised(e) => {
                money.authorised += e.amount;
                money.authorisations += 1;
            }
            Event::PaymentVoided(e) => money.voided += e.amount,
            Event::AuthorisationExpired(e) => money.expired += e.amount,
            Event::PaymentCaptured(e) => {
                money.captured += e.amount;
                money.captures += 1;
            }
            Event::PaymentRefunded(e) => money.refunded += e.amount,
            Event::PaymentWrittenOff(e) => money.written_off += e.amount,
            Event::ShipmentDispatched(e) => parcel.dispatched.push(e.tracking),
            Event::ShipmentDelivered(_) => parcel.delivered += 1,
            Event::ShipmentLost(_) => parcel.lost += 1,
            Event::ShipmentFound(_) => parcel.found += 1,
            Event::ShipmentFailed(_) => parcel.failed += 1,
            Event::ShipmentCancelled(_) => parcel.cancelled += 1,
            Event::RecallEnded(e) => parcel.recalls.push(e.how),
            Event::NotificationRequested(e) => mails.entry(name(e.kind)).or_default().requested += 1,
            Event::NotificationSent(e) => mails.entry(name(e.kind)).or_default().sent.push(e.message_id),
            Event::NotificationFailed(e) => mails.entry(name(e.kind)).or_default().failed += 1,
            _ => {}
        }
    }

    /// How many mails were sent, and how many couldn't be.
    pub fn mails(&self) -> (u64, u64) {
        let all = || self.orders.values().flat_map(|order| order.mails.values());
        (all().filter(|mail| !mail.sent.is_empty()).count() as u64, all().filter(|mail| mail.sent.is_empty()).count() as u64)
    }

    /// How many orders ended so.
    pub fn ended(&self, end: End) -> u64 {
        self.orders.values().filter(|o| o.end() == end).count() as u64
    }
}
