//! What a person decides where a heal can't: records that it skips, by their places, and what is given up.

use std::collections::BTreeSet;
use std::fmt;
use std::str::FromStr;

/// What a person decides where a heal can't.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Choices {
    /// Records to pass over: somebody else wrote them in the service's name, or nothing can be made of them. Nothing of one comes into the
    /// database.
    pub pass_over: BTreeSet<At>,
    /// Gives up what a topic lost and the outbox no longer holds. Without, that is an error.
    pub accept_lost: bool,
}

/// The place of a record: `topic/partition@offset`, the topic with its prefix.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct At {
    topic: String,
    partition: i32,
    offset: i64,
}

impl fmt::Display for At {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}@{}", self.topic, self.partition, self.offset)
    }
}

impl FromStr for At {
    type Err = String;
    fn from_str(text: &str) -> Result<Self, String> {
        let parts = || {
            let (partition, offset) = text.rsplit_once('@')?;
            let (topic, partition) = partition.rsplit_once('/')?;
            let (partition, offset): (i32, i64) = (partition.parse().ok()?, offset.parse().ok()?);
            let at = Self { topic: topic.to_owned(), partition, offset };
            // As it is written: `+1` is a number too, and would name nothing.
            (!topic.is_empty() && partition >= 0 && offset >= 0 && at.to_string() == text).then_some(at)
        };
        parts().ok_or_else(|| format!("`{text}` is not a record's place; write topic/partition@offset, such as `orders/3@1042`"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_place_reads_back() {
        for text in ["orders/0@0", "shop.orders/12@1042", "a@b/3@7"] {
            assert_eq!(text.parse::<At>().unwrap().to_string(), text);
        }
        for wrong in ["", "orders", "orders/3", "orders@7", "orders/x@7", "orders/3@", "orders/-1@7", "orders/3@+7", "/3@7"] {
            let why = wrong.parse::<At>().unwrap_err();
            assert!(why.contains(&format!("`{wrong}`")), "{why}");
        }
    }
}
