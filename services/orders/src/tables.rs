//! Orders as rows.

use farandole::Timestamp;
use schemas::orders::{CancellationReason, Completion, OrderLine, OrderStep, RejectionReason};
use serde::{Deserialize, Serialize};
use sqlx::types::Json;
use uuid::Uuid;

farandole::tables! {
    /// What orders keeps.
    pub struct Tables {
        /// One order.
        orders: Order in "orders" {
            order_id: Uuid, customer: String, currency: String, total: i64, lines: Json<Vec<OrderLine>>, placed_at: i64,
            state: Json<State>, history: Json<Vec<Happening>>
        },
    }
}

/// How far an order has come.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(tag = "state", rename_all = "snake_case")]
pub enum State {
    /// Nothing is promised yet.
    Placed {
        /// Cancelled when nothing else has happened by then.
        confirm_by: Timestamp,
    },
    /// Stock is set aside and the card authorised; parcel and money are under way.
    Confirmed(Fulfilment),
    /// It can't be fulfilled.
    Rejected {
        /// Why, as a closed set.
        reason: RejectionReason,
        /// Why, in words.
        detail: String,
        /// The articles that caused it.
        skus: Vec<String>,
    },
    /// It ended before it was fulfilled.
    Cancelled {
        /// Why.
        reason: CancellationReason,
    },
    /// Its parcel left, and its money is settled.
    Completed {
        /// How it ended.
        how: Completion,
    },
}

/// How far a confirmed order has come.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Fulfilment {
    /// Where the goods are.
    pub parcel: Parcel,
    /// What became of the held amount.
    pub money: Money,
    /// Whether somebody wants it no more.
    pub cancellation: Cancellation,
    /// The carrier's number, once there is one.
    pub tracking: Option<String>,
    /// When what comes next is due at the latest, where somebody has said so.
    pub until: Option<Timestamp>,
}

/// Where the goods are, as shipping says.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Parcel {
    /// Shipping hasn't spoken yet.
    #[default]
    Awaited,
    /// Packed; it can still be cancelled.
    Prepared,
    /// The carrier has it.
    Dispatched,
    /// The customer has it.
    Delivered,
    /// Nobody has it.
    Lost,
}

/// What became of the held amount, as payments says.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Money {
    /// It is held on the card.
    #[default]
    Held,
    /// It is taken.
    Captured,
    /// It couldn't be taken.
    Unpaid,
    /// It was taken and is given back.
    Refunded,
}

/// Whether a confirmed order is to be cancelled, which shipping decides.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Cancellation {
    /// Nobody has asked.
    #[default]
    None,
    /// Shipping is asked, for this reason.
    Requested(CancellationReason),
    /// It was too late.
    Refused,
}

/// One event of an order's life.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Happening {
    /// The event's short name.
    #[serde(rename = "type")]
    pub kind: String,
    /// What an `OrderProgressed` says.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub step: Option<OrderStep>,
    /// When.
    pub at: Timestamp,
}

impl State {
    /// The state in one word.
    pub fn name(&self) -> &'static str {
        match self {
            Self::Placed { .. } => "placed",
            Self::Confirmed(_) => "confirmed",
            Self::Rejected { .. } => "rejected",
            Self::Cancelled { .. } => "cancelled",
            Self::Completed { .. } => "completed",
        }
    }

    /// Whether nothing more becomes of it.
    pub fn is_final(&self) -> bool {
        matches!(self, Self::Rejected { .. } | Self::Cancelled { .. } | Self::Completed { .. })
    }
}

impl Fulfilment {
    /// A step further; `tracking` and `until` as the event has them.
    pub fn advance(&mut self, step: OrderStep, tracking: Option<&String>, until: Option<Timestamp>) {
        match step {
            OrderStep::Prepared => self.parcel = Parcel::Prepared,
            OrderStep::Dispatched => self.parcel = Parcel::Dispatched,
            OrderStep::Delivered => self.parcel = Parcel::Delivered,
            OrderStep::Lost => self.parcel = Parcel::Lost,
            OrderStep::Captured => self.money = Money::Captured,
            OrderStep::Unpaid => self.money = Money::Unpaid,
            OrderStep::Refunded => self.money = Money::Refunded,
            OrderStep::CancellationRefused => self.cancellation = Cancellation::Refused,
            OrderStep::Other => {}
        }
        match step {
            OrderStep::Prepared | OrderStep::Dispatched | OrderStep::Delivered | OrderStep::Lost => self.until = until,
            _ => {}
        }
        if let Some(tracking) = tracking {
            self.tracking = Some(tracking.clone());
        }
    }

    /// How the order ends, once parcel and money are both settled.
    pub fn ending(&self) -> Option<Completion> {
        match (self.parcel, self.money) {
            (Parcel::Awaited | Parcel::Prepared | Parcel::Dispatched, _) => None,
            (Parcel::Delivered | Parcel::Lost, Money::Unpaid) => Some(Completion::Unpaid),
            (Parcel::Delivered | Parcel::Lost, Money::Refunded) => Some(Completion::Refunded),
            (Parcel::Delivered, Money::Captured) => Some(Completion::Delivered),
            // What was taken is given back; what is held is about to be taken.
            (Parcel::Lost, Money::Captured) | (Parcel::Delivered | Parcel::Lost, Money::Held) => None,
        }
    }

    /// Whether the parcel is still in the house, as far as shipping has said.
    pub fn is_in_the_house(&self) -> bool {
        matches!(self.parcel, Parcel::Awaited | Parcel::Prepared)
    }

    /// Whether shipping may still hold it back: the money is taken once it has left, and payments may say so first.
    pub fn may_be_cancelled(&self) -> bool {
        self.is_in_the_house() && self.money == Money::Held && self.cancellation == Cancellation::None
    }
}
