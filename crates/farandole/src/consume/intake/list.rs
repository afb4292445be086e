//! Where a reader is, and how far behind.

use std::collections::BTreeMap;
use std::fmt;

use serde::Serialize;
use sqlx::PgConnection;

use crate::consume::intake::position::{Position, positions};
use crate::ground::error::chain_of;
use crate::ground::text::shown;
use crate::wire::extent::{Client, Error, Extent, Then, View};
use crate::wire::settings::Kafka;

/// Where a reader is in a partition.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Standing {
    /// Topic, with its prefix.
    pub topic: String,
    /// Partition.
    pub partition: i32,
    /// The offset that is read next.
    pub next_offset: i64,
    /// The last record that was applied of each source: `lineage.number`.
    pub heads: BTreeMap<String, String>,
    /// Offsets up to the partition's end, 0 when no record is left to be read; none while that isn't known.
    pub lag_records: Option<i64>,
    /// How long ago the record that is read next was written; 0 when there is none.
    pub lag_seconds: Option<f64>,
    /// The first offset that the partition holds, and the one after its last.
    pub holds: Option<(i64, i64)>,
    /// How often it was set back by a replay.
    pub generation: u32,
    /// The offset at which the replay ends that is under way.
    pub replaying_until: Option<i64>,
}

/// Where a reader is.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Standings {
    /// Whose positions.
    pub reader: String,
    /// By topic and partition: those that were read so far.
    pub positions: Vec<Standing>,
    /// Why it isn't known how far behind they are.
    pub lag_unknown: Option<String>,
}

/// Where `reader` is, and how far behind. Brokers that can't be asked leave that open.
///
/// # Errors
/// The database's.
pub async fn list(conn: &mut PgConnection, kafka: &Kafka, reader: &str) -> sqlx::Result<Standings> {
    let stored = positions(&mut *conn, reader).await?;
    let mut all: Vec<Standing> = stored.into_iter().filter_map(|(at, position)| standing(&at, position)).collect();
    all.sort_by(|a, b| (&a.topic, a.partition).cmp(&(&b.topic, b.partition)));
    let now: i64 = sqlx::query_scalar("select (extract(epoch from clock_timestamp()) * 1000)::bigint").fetch_one(conn).await?;
    let (kafka, mut measured) = (kafka.clone(), all.clone());
    let looked = tokio::task::spawn_blocking(move || measure(&kafka, &mut measured, now).map(|()| measured)).await;
    let lag_unknown = match looked {
        Ok(Ok(measured)) => {
            all = measured;
            None
        }
        Ok(Err(error)) => Some(chain_of(&error)),
        Err(_) => Some("asking the brokers was interrupted".to_owned()),
    };
    Ok(Standings { reader: reader.to_owned(), positions: all, lag_unknown })
}

fn standing(at: &str, position: Position) -> Option<Standing> {
    let (topic, partition) = at.rsplit_once('/')?;
    let place = |head: &crate::wire::chain::Head| format!("{}.{}", head.place.lineage, head.place.number);
    Some(Standing {
        topic: topic.to_owned(),
        partition: partition.parse().ok()?,
        next_offset: position.next_offset,
        heads: position.heads.iter().map(|(source, head)| (source.clone(), place(head))).collect(),
        lag_records: None,
        lag_seconds: None,
        holds: None,
        generation: position.generation,
        replaying_until: position.replay.map(|replay| replay.until),
    })
}

/// Looks for the record that is read next in each: whether one is left is told by nothing else, since offsets aren't dense.
fn measure(kafka: &Kafka, all: &mut [Standing], now: i64) -> Result<(), Error> {
    if all.is_empty() {
        return Ok(());
    }
    let client = Client::new(&kafka.client(&[]), View::Committed)?;
    let topics = client.topics()?;
    for of_topic in all.chunk_by_mut(|a, b| a.topic == b.topic) {
        let Some(count) = of_topic.first().and_then(|first| topics.get(&first.topic)) else { continue };
        let mut left = Vec::new();
        for one in of_topic.iter_mut().filter(|one| one.partition < *count) {
            let extent = client.extent(&one.topic, one.partition)?;
            one.holds = Some((extent.low, extent.high));
            // A position beyond the end is in another topic of that name.
            if one.next_offset <= extent.high {
                (one.lag_records, one.lag_seconds) = (Some(0), Some(0.0));
                left.push(Extent { low: one.next_offset.max(extent.low), ..extent });
            }
        }
        client.walk(&left, |record, millis| {
            if let Some(one) = of_topic.iter_mut().find(|one| one.partition == record.partition) {
                one.lag_records = one.holds.map(|(_, high)| high - one.next_offset);
                one.lag_seconds = millis.map(|millis| (now - millis).max(0) as f64 / 1e3);
            }
            Ok::<_, Error>(Then::Enough)
        })?;
    }
    Ok(())
}

impl fmt::Display for Standing {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { topic, partition, next_offset, heads, lag_records, lag_seconds, holds, generation, replaying_until } = self;
        write!(f, "{}/{partition}: {next_offset}", shown(topic))?;
        match (lag_records, lag_seconds) {
            (Some(0), _) => write!(f, ", nothing left to read")?,
            (Some(records), Some(seconds)) => write!(f, ", behind by {records} records and {seconds:.1} s")?,
            (Some(records), None) => write!(f, ", behind by {records} records")?,
            (None, _) => write!(f, ", behind by an unknown number of records")?,
        }
        match holds {
            Some((low, high)) if !(*low..=*high).contains(next_offset) => write!(f, ", but the topic holds {low} to {high}")?,
            _ => {}
        }
        if let Some(until) = replaying_until {
            write!(f, ", replaying until {until} (generation {generation})")?;
        }
        let mut before = "; last applied: ";
        for (source, head) in heads {
            write!(f, "{before}{} {head}", shown(source))?;
            before = ", ";
        }
        Ok(())
    }
}

impl fmt::Display for Standings {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.positions.iter().try_for_each(|one| writeln!(f, "{one}"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_partition_is_told_in_a_line() {
        let heads = BTreeMap::from([("/farandole/orders".to_owned(), "1.42".to_owned()), ("/x".to_owned(), "2.1".to_owned())]);
        let one = Standing {
            topic: "orders".to_owned(),
            partition: 3,
            next_offset: 7,
            heads,
            lag_records: Some(5),
            lag_seconds: Some(1.25),
            holds: Some((0, 12)),
            generation: 1,
            replaying_until: None,
        };
        let text = one.to_string();
        assert_eq!(text, "orders/3: 7, behind by 5 records and 1.2 s; last applied: /farandole/orders 1.42, /x 2.1");
        let replaying = Standing { replaying_until: Some(9), ..one.clone() }.to_string();
        assert!(replaying.contains(", replaying until 9 (generation 1); last"), "{replaying}");
        let expired = Standing { holds: Some((9, 12)), ..one.clone() }.to_string();
        assert!(expired.contains("but the topic holds 9 to 12"), "{expired}");
        let none = Standing { lag_records: None, lag_seconds: None, holds: None, heads: BTreeMap::new(), ..one }.to_string();
        assert_eq!(none, "orders/3: 7, behind by an unknown number of records");
    }
}
