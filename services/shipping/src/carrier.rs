//! What shipping asks of the carrier, what that answers, and what it reports of itself.

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;
use uuid::Uuid;

/// Take this parcel.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Book {
    /// The reference.
    pub order_id: Uuid,
    /// To whom it goes.
    pub recipient: String,
}

/// Where is this parcel?
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Track {
    /// The carrier's number of it.
    pub tracking: String,
}

/// Call this order's parcel back.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Recall {
    /// The reference.
    pub order_id: Uuid,
    /// The carrier's number of the parcel; none: whatever it has of the order.
    pub tracking: Option<String>,
}

farandole::effects! {
    /// What is asked of the carrier.
    pub enum Effect -> Outcome { Book, Track, Recall }
}

/// What the carrier answered.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum Outcome {
    /// It has the parcel.
    Booked {
        /// Its number of it.
        tracking: String,
    },
    /// It doesn't take the parcel, for good.
    Refused {
        /// Its code.
        reason: String,
    },
    /// This became of the parcel.
    Ended(Fate),
    /// The parcel is under way.
    UnderWay,
    /// It has no such parcel.
    Unknown,
}

/// What became of a parcel.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum Fate {
    /// The recipient has it.
    Delivered,
    /// The carrier can't find it.
    Lost,
    /// It was called back on its way.
    Recalled,
}

impl Fate {
    /// All, the worst first for who has called a parcel back.
    pub const ALL: [Self; 3] = [Self::Delivered, Self::Lost, Self::Recalled];

    /// The one of this [name](Self::name).
    pub fn named(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|fate| fate.name() == name)
    }

    /// In one word.
    pub fn name(self) -> &'static str {
        match self {
            Self::Delivered => "delivered",
            Self::Lost => "lost",
            Self::Recalled => "recalled",
        }
    }
}

/// A command: the carrier reports what became of an order's parcel.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Report {
    /// The carrier's number of it.
    pub tracking: String,
    /// What became of it.
    pub fate: Fate,
}
