//! What the relay remembers from round to round: one step of scope `relay`.
//!
//! **Invariant:** a step alone says what its batch is, in which order it goes out and under which numbers. Two relays that
//! read the same step publish the same records.

use std::collections::{BTreeMap, BTreeSet};

use serde::{Deserialize, Serialize};
use uuid::Uuid;

use crate::wire::chain::Place;

/// The step log's scope.
pub const SCOPE: &str = "relay";

/// Nothing is visible in this snapshot: 3 is the first transaction number that PostgreSQL gives.
const BEFORE_ALL: &str = "3:3:";

/// One step of the relay.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct State {
    /// The lineage of the numbers below.
    pub lineage: i64,
    /// Rows visible in this snapshot have been acknowledged.
    #[serde(rename = "a")]
    pub acked: Snapshot,
    /// The batch that is being published, if one is.
    pub in_flight: Option<InFlight>,
    /// The number of the next record.
    pub next: i64,
    /// The last record of each partition that has one.
    pub heads: Heads,
    /// Partitions of each topic that was ever published to. Fixed: another count would move keys.
    pub partitions: BTreeMap<String, i32>,
    /// Rows published of each partition of the outbox that still stands, by its first seq.
    pub published: BTreeMap<i64, i64>,
    /// The cluster whose transaction numbers the snapshots hold.
    pub system: String,
    /// Who publishes; none when the last owner left in good order.
    pub owner: Option<Uuid>,
    /// Until when it may go without a sign of life: microseconds since 1970 on the database's clock.
    pub lease_until: i64,
    /// A heal is under way, or was broken off: the database holds a part of what the topic has, and nobody publishes.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub healing: bool,
    /// Records in this service's name that aren't its: a heal was told to pass over them (topic/partition@offset).
    #[serde(default, skip_serializing_if = "BTreeSet::is_empty")]
    pub strays: BTreeSet<String>,
    /// What records name as their source, where it isn't `/farandole/<service>`: as it was when the first was published.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub source: Option<String>,
    /// Numbers that no record has: a topic lost those, and a heal had their rows published under new ones, or gave them up.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub burnt: i64,
    /// The first record of each partition whose beginning was lost, as a heal has found it: what came before was published again, or
    /// given up.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub begin_at: Heads,
}

/// A record of each partition, by topic.
pub type Heads = BTreeMap<String, BTreeMap<i32, Head>>;

fn is_zero(count: &i64) -> bool {
    *count == 0
}

/// The batch: rows visible in `upto` and not in the state's `acked`, in seq order.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct InFlight {
    /// The batch's upper bound.
    #[serde(rename = "b")]
    pub upto: Snapshot,
    /// Rows of the batch up to this seq have been acknowledged; numbers and heads count from the next.
    pub after: i64,
}

/// The last record of a partition.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Head {
    #[serde(rename = "l")]
    pub lineage: i64,
    #[serde(rename = "n")]
    pub number: i64,
    pub id: Uuid,
}

impl From<Head> for Place {
    fn from(head: Head) -> Self {
        Self { lineage: head.lineage, number: head.number }
    }
}

impl State {
    /// Before the first round: the whole outbox is unsent.
    pub fn first(system: String) -> Self {
        Self {
            lineage: 1,
            acked: Snapshot(BEFORE_ALL.to_owned()),
            in_flight: None,
            next: 1,
            heads: BTreeMap::new(),
            partitions: BTreeMap::new(),
            published: BTreeMap::new(),
            system,
            owner: None,
            lease_until: 0,
            healing: false,
            strays: BTreeSet::new(),
            source: None,
            burnt: 0,
            begin_at: BTreeMap::new(),
        }
    }

    /// What `service`'s records name as their source.
    pub fn source(&self, service: &str) -> String {
        self.source.clone().unwrap_or_else(|| format!("/farandole/{service}"))
    }

    /// The batch in flight is out, whole.
    pub fn finish(&mut self) {
        if let Some(batch) = self.in_flight.take() {
            self.acked = batch.upto;
        }
    }
}

/// A `pg_snapshot` in PostgreSQL's text form, `xmin:xmax:xip,xip,…`: transactions below xmax are visible unless in xip.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Snapshot(pub String);

impl Snapshot {
    /// The first transaction that hadn't begun.
    pub fn xmax(&self) -> &str {
        self.0.split(':').nth(1).unwrap_or("3")
    }

    /// The transactions that were open, as the text of an array.
    pub fn xip(&self) -> String {
        format!("{{{}}}", self.0.split(':').nth(2).unwrap_or_default())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_snapshot_comes_apart() {
        let quiet = Snapshot("740:740:".into());
        assert_eq!((quiet.xmax(), quiet.xip().as_str()), ("740", "{}"));
        // Beyond 2^32: transaction numbers are 64 bits wide and stay text here.
        let busy = Snapshot("8589934592:8589934600:8589934592,8589934595".into());
        assert_eq!((busy.xmax(), busy.xip().as_str()), ("8589934600", "{8589934592,8589934595}"));
    }
}
