//! Shipments as rows.

use farandole::Timestamp;
use serde::{Deserialize, Serialize};
use sqlx::types::Json;
use uuid::Uuid;

farandole::tables! {
    /// What shipping keeps.
    pub struct Tables {
        /// One order's parcel.
        shipments: Shipment in "shipments" { order_id: Uuid, recipient: String, state: Json<State> },
    }
}

/// How far a parcel has come.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(tag = "state", rename_all = "snake_case")]
pub enum State {
    /// It is packed, and its order can be cancelled.
    Prepared {
        /// Handed over then.
        dispatch_at: Timestamp,
    },
    /// The carrier is being asked to take it.
    Dispatching,
    /// The carrier has it.
    Dispatched {
        /// The carrier's number of it.
        tracking: String,
        /// The carrier is asked where it is when nothing was heard of it by then.
        deliver_by: Timestamp,
    },
    /// The carrier is being asked where it is.
    Tracking {
        /// The carrier's number of it.
        tracking: String,
    },
    /// The recipient has it.
    Delivered {
        /// The carrier's number of it.
        tracking: String,
    },
    /// It is lost, or taken for lost.
    Lost {
        /// The carrier's number of it.
        tracking: String,
        /// Why.
        reason: String,
    },
    /// The recipient has it, though it was taken for lost.
    Found {
        /// The carrier's number of it.
        tracking: String,
    },
    /// The carrier doesn't take it.
    Failed {
        /// The carrier's code.
        reason: String,
    },
    /// The carrier didn't say in time whether it takes it, so it is called back in case it did.
    Recalling,
    /// What came of that.
    Recalled {
        /// `none` (the carrier has no parcel), `recalled`, `delivered` or `lost`.
        how: String,
    },
    /// Its order was cancelled in time.
    Cancelled,
}

impl State {
    /// The state in one word.
    pub fn name(&self) -> &'static str {
        match self {
            Self::Prepared { .. } => "prepared",
            Self::Dispatching => "dispatching",
            Self::Dispatched { .. } => "dispatched",
            Self::Tracking { .. } => "tracking",
            Self::Delivered { .. } => "delivered",
            Self::Lost { .. } => "lost",
            Self::Found { .. } => "found",
            Self::Failed { .. } => "failed",
            Self::Recalling => "recalling",
            Self::Recalled { .. } => "recalled",
            Self::Cancelled => "cancelled",
        }
    }

    /// The carrier's number of the parcel, once it has it.
    pub fn tracking(&self) -> Option<&str> {
        match self {
            Self::Dispatched { tracking, .. }
            | Self::Tracking { tracking }
            | Self::Delivered { tracking }
            | Self::Lost { tracking, .. }
            | Self::Found { tracking } => Some(tracking),
            Self::Prepared { .. }
            | Self::Dispatching
            | Self::Failed { .. }
            | Self::Recalling
            | Self::Recalled { .. }
            | Self::Cancelled => None,
        }
    }
}
