//! Orders as rows.

use farandole::Timestamp;
use schemas::orders::{CancellationReason, OrderLine, RejectionReason};
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
    /// Stock is set aside and the card authorised.
    Confirmed,
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
}

/// One event of an order's life.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Happening {
    /// The event's short name.
    #[serde(rename = "type")]
    pub kind: String,
    /// When.
    pub at: Timestamp,
}

impl State {
    /// The state in one word.
    pub fn name(&self) -> &'static str {
        match self {
            Self::Placed { .. } => "placed",
            Self::Confirmed => "confirmed",
            Self::Rejected { .. } => "rejected",
            Self::Cancelled { .. } => "cancelled",
        }
    }
}
