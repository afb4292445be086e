//! What is asked of a subscriber, and what comes of it.

use serde::{Deserialize, Serialize};
use uuid::Uuid;

/// Take this message. The address and the secret aren't in it: they are read when it is sent, so that what was removed gets no more.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Deliver {
    /// The order.
    pub order_id: Uuid,
    /// To whom it goes.
    pub subscription_id: Uuid,
    /// That one's place among the live ones.
    pub slot: i32,
    /// As `webhook-id` says it.
    pub message_id: String,
    /// Its type.
    pub kind: String,
    /// What is sent.
    pub body: String,
    /// 1, and one more each time an operator has it tried again.
    pub attempt: i32,
}

farandole::effects! {
    /// What is asked of subscribers.
    pub enum Effect -> Outcome { Deliver }
}

/// How a delivery ended. Each does: the handler gives up by itself.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum Outcome {
    /// The subscriber has taken it.
    Delivered {
        /// With which status.
        status: u16,
    },
    /// It hasn't, in all the time that there is.
    GivenUp {
        /// How the last attempt ended.
        reason: String,
    },
    /// There is no such subscription any more.
    Removed,
}
