//! An authorisation, what can be asked of it, and what it answers. Pure: no clock, no file, no HTTP.
//!
//! **Invariant:** refunded ≤ captured ≤ amount; a declined or voided authorisation never changes again.

use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use uuid::Uuid;

/// The largest amount of one authorisation, in minor units: eight digits, as card networks have it.
pub const MAX_AMOUNT: u64 = 99_999_999;

/// What a caller asks for; each is executed at most once per idempotency key.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Command {
    Authorise(Purchase),
    Capture { id: Uuid, amount: u64 },
    Void { id: Uuid },
    Refund { id: Uuid, amount: u64 },
}

/// A request to reserve money on a card.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Purchase {
    pub merchant_reference: String,
    /// Minor units, 1 to [`MAX_AMOUNT`].
    pub amount: u64,
    pub currency: Currency,
    pub card_token: String,
}

/// Which command an answer belongs to.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Operation {
    Authorise,
    Capture,
    Void,
    Refund,
}

/// Money reserved on a card, or the record that it was declined. The card token is not kept.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Authorisation {
    pub id: Uuid,
    pub merchant_reference: Box<str>,
    pub amount: u64,
    pub currency: Currency,
    pub created_at: Timestamp,
    pub updated_at: Timestamp,
    pub state: State,
}

/// How far an authorisation has come.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "is", rename_all = "snake_case")]
pub enum State {
    Authorised,
    Declined { reason: Reason },
    Captured { captured: u64, refunded: u64 },
    Voided,
}

/// The state in one word, as callers see it. A capture that was wholly given back is `Refunded`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Status {
    Authorised,
    Captured,
    Declined,
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

/// Why a command can't be done in the present state. Nothing changed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Refusal {
    #[error("the authorisation was declined")]
    Declined,
    #[error("the authorisation is already captured")]
    Captured,
    #[error("the authorisation is voided")]
    Voided,
    #[error("nothing is captured yet")]
    NotCaptured,
    #[error("at most {authorised} can be captured")]
    CaptureExceedsAuthorised { authorised: u64 },
    #[error("at most {refundable} can be refunded")]
    RefundExceedsCaptured { refundable: u64 },
}

/// An ISO 4217 code: three upper-case letters.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Currency([u8; 3]);

// === impl Command ===

impl Command {
    pub fn operation(&self) -> Operation {
        match self {
            Self::Authorise(_) => Operation::Authorise,
            Self::Capture { .. } => Operation::Capture,
            Self::Void { .. } => Operation::Void,
            Self::Refund { .. } => Operation::Refund,
        }
    }

    /// The request as one text, the same for the same request and no other: its texts hold no line break (checked at the edge).
    pub fn canonical(&self) -> String {
        match self {
            Self::Authorise(p) => format!("authorise\n{}\n{}\n{}\n{}", p.merchant_reference, p.amount, p.currency, p.card_token),
            Self::Capture { id, amount } => format!("capture\n{id}\n{amount}"),
            Self::Void { id } => format!("void\n{id}"),
            Self::Refund { id, amount } => format!("refund\n{id}\n{amount}"),
        }
    }
}

// === impl Authorisation ===

impl Authorisation {
    /// Takes the amount, whole or part, once.
    pub fn capture(&self, amount: u64) -> Result<State, Refusal> {
        match self.state {
            State::Authorised if amount <= self.amount => Ok(State::Captured { captured: amount, refunded: 0 }),
            State::Authorised => Err(Refusal::CaptureExceedsAuthorised { authorised: self.amount }),
            State::Captured { .. } => Err(Refusal::Captured),
            State::Declined { .. } => Err(Refusal::Declined),
            State::Voided => Err(Refusal::Voided),
        }
    }

    /// Lets the reserved money go. Voiding twice is no error.
    pub fn void(&self) -> Result<State, Refusal> {
        match self.state {
            State::Authorised | State::Voided => Ok(State::Voided),
            State::Captured { .. } => Err(Refusal::Captured),
            State::Declined { .. } => Err(Refusal::Declined),
        }
    }

    /// Gives captured money back, in as many parts as wanted.
    pub fn refund(&self, amount: u64) -> Result<State, Refusal> {
        match self.state {
            State::Captured { captured, refunded } if amount <= captured - refunded => {
                Ok(State::Captured { captured, refunded: refunded + amount })
            }
            State::Captured { captured, refunded } => Err(Refusal::RefundExceedsCaptured { refundable: captured - refunded }),
            State::Authorised => Err(Refusal::NotCaptured),
            State::Declined { .. } => Err(Refusal::Declined),
            State::Voided => Err(Refusal::Voided),
        }
    }
}

// === impl State ===

impl State {
    pub fn status(self) -> Status {
        match self {
            Self::Authorised => Status::Authorised,
            Self::Declined { .. } => Status::Declined,
            Self::Captured { captured, refunded } if captured == refunded => Status::Refunded,
            Self::Captured { .. } => Status::Captured,
            Self::Voided => Status::Voided,
        }
    }

    pub fn captured(self) -> u64 {
        match self {
            Self::Captured { captured, .. } => captured,
            _ => 0,
        }
    }

    pub fn refunded(self) -> u64 {
        match self {
            Self::Captured { refunded, .. } => refunded,
            _ => 0,
        }
    }
}

// === impl Refusal ===

impl Refusal {
    /// The stable code that callers branch on.
    pub fn code(self) -> &'static str {
        match self {
            Self::Declined => "declined",
            Self::Captured => "captured",
            Self::Voided => "voided",
            Self::NotCaptured => "not_captured",
            Self::CaptureExceedsAuthorised { .. } => "capture_exceeds_authorised",
            Self::RefundExceedsCaptured { .. } => "refund_exceeds_captured",
        }
    }
}

// === impl Currency ===

impl Currency {
    pub fn parse(text: &str) -> Option<Self> {
        let letters: [u8; 3] = text.as_bytes().try_into().ok()?;
        letters.iter().all(u8::is_ascii_uppercase).then_some(Self(letters))
    }
}

impl std::fmt::Display for Currency {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        self.0.iter().try_for_each(|b| write!(f, "{}", char::from(*b)))
    }
}

impl TryFrom<String> for Currency {
    type Error = String;
    fn try_from(text: String) -> Result<Self, String> {
        Self::parse(&text).ok_or_else(|| format!("not a currency: {text:?}"))
    }
}

impl From<Currency> for String {
    fn from(currency: Currency) -> Self {
        currency.to_string()
    }
}

#[cfg(test)]
mod tests;
