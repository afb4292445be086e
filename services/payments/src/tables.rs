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
        }
    }
}
