//! Payments as rows.

use schemas::payments::PaymentTerms;
use serde::{Deserialize, Serialize};
use sqlx::types::Json;
use uuid::Uuid;

farandole::tables! {
    /// What payments keeps.
    pub struct Tables {
        /// One order's payment.
        payments: Payment in "payments" { order_id: Uuid, state: Json<State> },
    }
}

/// How far a payment has come.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(tag = "state", rename_all = "snake_case")]
pub enum State {
    /// The order is seen, its reservation isn't.
    AwaitingStock {
        /// What is to be paid.
        terms: PaymentTerms,
    },
    /// The reservation is seen, the order isn't.
    AwaitingOrder,
    /// The acquirer is being asked.
    Requested {
        /// Minor units.
        amount: i64,
        /// ISO 4217 code.
        currency: String,
    },
    /// The amount is held.
    Authorised(Hold),
    /// The card was refused for good.
    Declined {
        /// The acquirer's code.
        reason: String,
    },
    /// The order ended before the card was authorised.
    Abandoned {
        /// The acquirer may have been asked, and its answer may still come.
        in_flight: bool,
    },
    /// The hold is being undone.
    VoidRequested(Hold),
    /// The hold is undone.
    Voided(Hold),
    /// The hold has ended by itself.
    Expired(Hold),
    /// The parcel has left, and the amount is being taken.
    CaptureRequested {
        /// What is to be taken.
        hold: Hold,
        /// The parcel is lost: once taken, it is given back.
        refund_expected: bool,
    },
    /// The amount is taken.
    Captured(Hold),
    /// The amount is given up.
    WrittenOff {
        /// What wasn't taken.
        hold: Hold,
        /// The acquirer may still take it, and its answer may still come.
        in_flight: bool,
    },
    /// The amount is being given back.
    RefundRequested(Hold),
    /// The amount is given back.
    Refunded(Hold),
}

/// An amount held on a card.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Hold {
    /// The acquirer's id.
    pub authorisation_id: String,
    /// Minor units.
    pub amount: i64,
    /// ISO 4217 code.
    pub currency: String,
}

impl State {
    /// The state in one word.
    pub fn name(&self) -> &'static str {
        match self {
            Self::AwaitingStock { .. } | Self::AwaitingOrder => "expected",
            Self::Requested { .. } => "requested",
            Self::Authorised(_) => "authorised",
            Self::Declined { .. } => "declined",
            Self::Abandoned { .. } => "abandoned",
            Self::VoidRequested(_) => "void_requested",
            Self::Voided(_) => "voided",
            Self::Expired(_) => "expired",
            Self::CaptureRequested { .. } => "capture_requested",
            Self::Captured(_) => "captured",
            Self::WrittenOff { .. } => "written_off",
            Self::RefundRequested(_) => "refund_requested",
            Self::Refunded(_) => "refunded",
        }
    }

    /// What was authorised, whatever became of it.
    pub fn hold(&self) -> Option<&Hold> {
        match self {
            Self::AwaitingStock { .. }
            | Self::AwaitingOrder
            | Self::Requested { .. }
            | Self::Declined { .. }
            | Self::Abandoned { .. } => None,
            Self::Authorised(hold)
            | Self::VoidRequested(hold)
            | Self::Voided(hold)
            | Self::Expired(hold)
            | Self::CaptureRequested { hold, .. }
            | Self::Captured(hold)
            | Self::WrittenOff { hold, .. }
            | Self::RefundRequested(hold)
            | Self::Refunded(hold) => Some(hold),
        }
    }
}
