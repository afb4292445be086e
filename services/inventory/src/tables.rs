//! Stock and reservations as rows.

use farandole::Timestamp;
use schemas::inventory::StockLine;
use serde::{Deserialize, Serialize};
use sqlx::types::Json;
use uuid::Uuid;

farandole::tables! {
    /// What inventory keeps.
    pub struct Tables {
        /// What became of an order's request.
        reservations: Reservation in "reservations" { order_id: Uuid, state: Json<State> },
        /// An article, in pieces.
        stock: Stock in "stock" { sku: String, received: i64, reserved: i64, adjusted: i64, shipped: i64 },
    }
}

/// What became of an order's request for stock.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(tag = "state", rename_all = "snake_case")]
pub enum State {
    /// These are set aside.
    Reserved {
        /// An article once, by article.
        lines: Vec<StockLine>,
        /// Since then. A row of an earlier build doesn't say.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        since: Option<Timestamp>,
    },
    /// There was too little, so nothing was set aside.
    Short,
    /// What was set aside is free again.
    Released,
    /// What was set aside has left the house.
    Shipped,
}

impl Stock {
    /// Pieces that ever came in, as they were counted last.
    pub fn counted(&self) -> i64 {
        self.received + self.adjusted
    }

    /// Pieces that can still be set aside.
    pub fn available(&self) -> i64 {
        self.counted() - self.reserved - self.shipped
    }
}
