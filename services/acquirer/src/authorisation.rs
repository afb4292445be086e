//! An authorisation, what can be asked of it, and what becomes of it. Pure: no clock, no file, no socket.
//!
//! **Invariant:** refunded ≤ captured ≤ amount; a declined or voided authorisation never changes again.

use jiff::{SignedDuration, Timestamp};
use serde::{Deserialize, Serialize};
use standin::Problem;
use uuid::Uuid;

/// What a caller asks for; each is executed at most once per idempotency key.
#[derive(Clone, Debug, Serialize)]
pub enum Command {
    Authorise(Purchase),
    Change(Uuid, Deed),
}

/// A request to reserve money on a card, in minor units.
#[derive(Clone, Debug, Serialize)]
pub struct Purchase {
    pub merchant_reference: String,
    pub amount: u64,
    pub currency: String,
    pub card_token: String,
}

/// What is to be done to an authorisation, with the amount.
#[derive(Clone, Copy, Debug, Serialize)]
pub enum Deed {
    Capture(u64),
    Void,
    Refund(u64),
}

/// Money reserved on a card, or the record that it was declined: as it is kept, and as callers see it. The card token isn't kept.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Authorisation {
    pub id: Uuid,
    pub merchant_reference: String,
    pub status: Status,
    pub amount: u64,
    pub currency: String,
    pub captured: u64,
    pub refunded: u64,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub reason: Option<Reason>,
    pub created_at: Timestamp,
    pub updated_at: Timestamp,
}

/// How far an authorisation has come. A capture that was wholly given back is `Refunded`; `Expired` is never kept, for time tells it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Status {
    Authorised,
    Captured,
    Declined,
    Expired,
    Refunded,
    Voided,
}

/// Why a card was declined.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Reason {
    DoNotHonour,
    ExpiredCard,
    InsufficientFunds,
    LimitExceeded,
    LostCard,
}

impl Purchase {
    /// The reason to decline it, if the card token is one of those that say so.
    pub fn decline(&self) -> Option<Reason> {
        match self.card_token.as_str() {
            token if token.starts_with("tok_decline") => Some(Reason::InsufficientFunds),
            token if token.starts_with("tok_lost") => Some(Reason::LostCard),
            token if token.starts_with("tok_expired") => Some(Reason::ExpiredCard),
            token => {
                // What follows the number only makes the token unique (`tok_limit_5000_anna`).
                let number = token.strip_prefix("tok_limit_")?.split(|c: char| !c.is_ascii_digit()).next()?;
                (self.amount > number.parse().ok()?).then_some(Reason::LimitExceeded)
            }
        }
    }
}

impl Authorisation {
    pub fn new(id: Uuid, purchase: &Purchase, reason: Option<Reason>, now: Timestamp) -> Self {
        Self {
            id,
            merchant_reference: purchase.merchant_reference.clone(),
            status: if reason.is_some() { Status::Declined } else { Status::Authorised },
            amount: purchase.amount,
            currency: purchase.currency.clone(),
            captured: 0,
            refunded: 0,
            reason,
            created_at: now,
            updated_at: now,
        }
    }

    /// As it is at a time: money that wasn't captured is held only so long.
    pub fn at(self, now: Timestamp, hold_for: SignedDuration) -> Self {
        let is_over = self.status == Status::Authorised && now.duration_since(self.created_at) >= hold_for;
        Self { status: if is_over { Status::Expired } else { self.status }, ..self }
    }

    /// Takes the amount, whole or part, once; or lets the money go; or gives it back, in as many parts as wanted.
    pub fn change(&mut self, deed: Deed, now: Timestamp) -> Result<(), Problem> {
        let left = self.captured - self.refunded;
        let refused = |code, detail: &str| Err(Problem::new(code, detail));
        (self.status, self.captured, self.refunded) = match (self.status, deed) {
            // Voiding twice is no error, and no change.
            (Status::Voided, Deed::Void) => return Ok(()),
            (Status::Voided, _) => return refused("voided", "the authorisation is voided"),
            (Status::Expired, _) => return refused("expired", "the money is no longer held"),
            (Status::Declined, _) => return refused("declined", "the authorisation was declined"),
            (Status::Authorised, Deed::Void) => (Status::Voided, 0, 0),
            (Status::Authorised, Deed::Refund(_)) => return refused("not_captured", "nothing is captured yet"),
            (Status::Authorised, Deed::Capture(amount)) if amount <= self.amount => (Status::Captured, amount, 0),
            (Status::Authorised, Deed::Capture(_)) => {
                return refused("capture_exceeds_authorised", &format!("at most {} can be captured", self.amount));
            }
            (_, Deed::Refund(amount)) if amount < left => (Status::Captured, self.captured, self.refunded + amount),
            (_, Deed::Refund(amount)) if amount == left => (Status::Refunded, self.captured, self.captured),
            (_, Deed::Refund(_)) => return refused("refund_exceeds_captured", &format!("at most {left} can be refunded")),
            (_, _) => return refused("captured", "the authorisation is already captured"),
        };
        self.updated_at = now;
        Ok(())
    }
}
