//! What lies between where a reader is and where it is to be set: what an operator wants to see before.

use std::collections::BTreeSet;
use std::fmt;

use serde::Serialize;

use crate::ground::text::shown;
use crate::ground::time::Timestamp;
use crate::wire::extent::{Client, Error, Extent, Then};
use crate::wire::mapping::Mapping;

/// Records of a stretch that are read, at most: a second or two. What is more is counted by offsets.
const LOOKED_AT: u64 = 100_000;
/// Keys that are named; who has more wants to count, not to read.
const NAMED: usize = 20;
/// Offsets before the end that are read for the time of the last record, where not all were read. Markers of transactions take some.
const TAIL: i64 = 100;

/// The records of a stretch of a partition.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
pub struct Passage {
    /// The first offset.
    pub from: i64,
    /// The offset after the last.
    pub to: i64,
    /// How many records; if there are `more`, this many were looked at.
    pub records: u64,
    /// Whether more are there than were looked at.
    pub more: bool,
    /// Offsets at its beginning that the topic doesn't hold any more.
    pub expired: i64,
    /// When the first was written, RFC 3339; none where there is none, or it doesn't say.
    pub first: Option<String>,
    /// When the last was.
    pub last: Option<String>,
    /// Keys, by the names that parked inputs have; 20 at most.
    pub keys: Vec<String>,
    /// How many keys were found.
    pub keys_in_all: usize,
}

impl Passage {
    /// Reads the stretch `from` to `to` of a partition that holds `whole`. Blocks.
    ///
    /// # Errors
    /// When it can't be read.
    pub(super) fn read(client: &Client, whole: &Extent, from: i64, to: i64, mapping: Option<&Mapping>) -> Result<Self, Error> {
        let (low, high) = (from.max(whole.low).min(to), to.min(whole.high));
        let mut passage = Self { from, to, expired: low - from, ..Self::default() };
        let time = |millis: Option<i64>| millis.map(|millis| Timestamp::from_micros(millis.saturating_mul(1_000)).to_string());
        let mut keys = BTreeSet::new();
        client.walk(&[Extent { low, high, ..whole.clone() }], |record, millis| {
            if passage.records == LOOKED_AT {
                passage.more = true;
                return Ok::<_, Error>(Then::Stop);
            }
            passage.records += 1;
            if passage.records == 1 {
                passage.first = time(millis);
            }
            passage.last = time(millis);
            keys.insert(mapping.map_or(record.clone(), |mapping| mapping.apply(record)).aggregate());
            Ok(Then::More)
        })?;
        if passage.more {
            client.walk(&[Extent { low: low.max(high - TAIL), high, ..whole.clone() }], |_, millis| {
                passage.last = time(millis);
                Ok::<_, Error>(Then::More)
            })?;
        }
        passage.keys_in_all = keys.len();
        passage.keys = keys.into_iter().take(NAMED).collect();
        Ok(passage)
    }
}

impl fmt::Display for Passage {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { from, to, records, more, expired, first, last, keys, keys_in_all } = self;
        match (*records, more) {
            (0, _) => write!(f, "no record")?,
            (1, _) => write!(f, "1 record")?,
            (records, false) => write!(f, "{records} records")?,
            (looked_at, true) => write!(f, "at most {} records ({looked_at} were looked at)", to - from - expired)?,
        }
        write!(f, " at offsets {from} to {}", (to - 1).max(*from))?;
        if *expired > 0 {
            write!(f, ", of which {expired} have expired")?;
        }
        match (first, last) {
            (Some(first), Some(last)) if first != last => write!(f, ", written from {first} to {last}")?,
            (Some(first), _) => write!(f, ", written {first}")?,
            (None, _) => {}
        }
        if *keys_in_all > 0 {
            let named: Vec<_> = keys.iter().map(|key| shown(key)).collect();
            let rest = if *keys_in_all > keys.len() { ", …" } else { "" };
            write!(f, ", of {keys_in_all} key(s): {}{rest}", named.join(", "))?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_lies_there_is_told_in_one_sentence() {
        let time = |second: u8| Some(format!("2026-01-31T12:00:0{second}Z"));
        let keys = vec!["a".to_owned(), "b\u{1b}".to_owned()];
        let passage =
            Passage { from: 3, to: 8, records: 4, more: false, expired: 1, first: time(1), last: time(2), keys, keys_in_all: 2 };
        assert_eq!(
            passage.to_string(),
            "4 records at offsets 3 to 7, of which 1 have expired, written from 2026-01-31T12:00:01Z to 2026-01-31T12:00:02Z, of \
             2 key(s): a, b\\u{1b}"
        );
        let many = Passage { to: 1_000_000, records: LOOKED_AT, more: true, keys_in_all: 300, ..passage };
        assert!(many.to_string().starts_with("at most 999996 records (100000 were looked at)"), "{many}");
        assert!(many.to_string().ends_with(", …"), "{many}");
        assert_eq!(Passage { from: 3, to: 3, ..Passage::default() }.to_string(), "no record at offsets 3 to 3");
    }
}
