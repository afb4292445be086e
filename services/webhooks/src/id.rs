//! What events of webhooks are about.

use std::fmt;
use std::str::FromStr;

use uuid::Uuid;

/// The key of the subscriptions' events.
pub const SUBSCRIPTIONS: &str = "subscriptions";

/// An aggregate: one of the two kinds that there are.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Id {
    /// All subscriptions, which are few: one of them is found, counted and given its place among the others at once.
    Subscriptions,
    /// An order: what of it is sent to whom.
    Order(Uuid),
}

impl fmt::Display for Id {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Subscriptions => f.write_str(SUBSCRIPTIONS),
            Self::Order(id) => id.fmt(f),
        }
    }
}

impl FromStr for Id {
    type Err = uuid::Error;

    fn from_str(text: &str) -> Result<Self, uuid::Error> {
        if text == SUBSCRIPTIONS { Ok(Self::Subscriptions) } else { text.parse().map(Self::Order) }
    }
}
