//! What is asked of the acquirer, and what it answers.

use serde::{Deserialize, Serialize};
use uuid::Uuid;

/// Hold this amount.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Authorise {
    /// The merchant reference.
    pub order_id: Uuid,
    /// Minor units.
    pub amount: i64,
    /// ISO 4217 code.
    pub currency: String,
    /// The acquirer's token of the card.
    pub card_token: String,
}

/// Undo a hold.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Void {
    /// The acquirer's id.
    pub authorisation_id: String,
}

/// Take what is held, whole.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Capture {
    /// The acquirer's id.
    pub authorisation_id: String,
    /// Minor units.
    pub amount: i64,
}

/// Give back what was taken, whole. It is asked for until the acquirer has answered, for ever if need be.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Refund {
    /// The acquirer's id.
    pub authorisation_id: String,
    /// Minor units.
    pub amount: i64,
}

farandole::effects! {
    /// What is asked of the acquirer.
    pub enum Effect -> Outcome { Authorise, Void, Capture, Refund }
}

/// What the acquirer answered.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum Outcome {
    /// The amount is held.
    Authorised {
        /// The acquirer's id.
        authorisation_id: String,
    },
    /// Refused for good.
    Declined {
        /// The acquirer's code.
        reason: String,
    },
    /// The hold is undone.
    Voided,
    /// The hold can't be undone.
    VoidRefused {
        /// The acquirer's code.
        reason: String,
    },
    /// The amount is taken, whole.
    Captured,
    /// The amount can't be taken.
    CaptureRefused {
        /// The acquirer's code.
        reason: String,
    },
    /// The amount is given back, whole.
    Refunded,
    /// The amount can't be given back.
    RefundRefused {
        /// The acquirer's code.
        reason: String,
    },
}
