//! Records that a heal is told to skip, by their places.

use std::fmt;
use std::str::FromStr;

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
