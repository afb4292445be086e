//! Finds where a service's own chain ends in each partition that it publishes to.
//!
//! A partition may end in anything: somebody else's record, a tombstone, a transaction's marker. What counts is the last record of
//! **this** source, looked for backward from the end in stretches that grow, so that a handful of strangers costs nothing and a
//! million of them one pass and no memory. Its headers say whose a record is ([`Own`]); no other place decides that. And of
//! its records the one counts that is furthest along the chain: what a paused relay sends late comes after it.
//!
//! The relay, the stand-by and the heal all ask here, so they can't disagree.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use rdkafka::config::ClientConfig;

use crate::publish::relay::error::Error;
use crate::publish::relay::own::Own;
use crate::publish::relay::state::Head;
use crate::publish::relay::walk::Walk;
use crate::wire::chain::Place;
use crate::wire::extent::{self, Client, Extent, View};
use crate::wire::record::Record;

/// The first stretch looked at, by how much each is longer than the one behind it, and the longest: a broker answers with far more
/// than the first; the last bounds what is read in vain.
const STRETCH: (i64, i64, i64) = (64, 4, 262_144);
/// A stretch of this many offsets is read from its beginning rather than halved again.
const HALVED: i64 = 20_000;
/// A relay that crashed, or was paused, sends no more than two pages and a head again: so much lower than those before it may
/// the numbers along a partition be.
pub const REPEATED: i64 = 50_000;
/// Between two words about how far a look is.
pub const TELL: Duration = Duration::from_secs(5);

/// Where a source's chain ends in a partition.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum End {
    /// None of its records is there, nor ever was.
    Unwritten,
    /// None is there. The partition's beginning is gone, and they may have been in it.
    Expired,
    /// The record of the greatest place in the last stretch that holds any of its. After it repetitions may come: a paused relay's, or
    /// a client's that sends once more. Where more of them come than a stretch holds, it is one of those; see [`chain_end`].
    Record(Head),
}

/// Where the own chain ends in each partition of `topics`.
pub async fn ends(kafka: ClientConfig, own: Own, topics: Vec<String>) -> Result<Vec<(String, i32, End)>, Error> {
    blocking("reading where the topics end", move || {
        let client = Client::new(&kafka, View::Everything)?;
        let mut ends = Vec::new();
        for topic in topics {
            last(&client, &own, &topic, &mut ends)?;
        }
        Ok(ends)
    })
    .await
}

/// By partition, the record of the greatest place so far.
type Found = BTreeMap<i32, Head>;

/// Takes an own record if none before it was further along its chain. The last in the order of offsets would be a late
/// repetition's, of a row that the database has: it would hide what was published since, and a database that was set back pass for one
/// that wasn't.
fn furthest(found: &mut Found, own: &Own, record: &Record) {
    if let Some((id, link)) = own.link(record)
        && found.get(&record.partition).is_none_or(|head| Place::from(*head) < link.place)
    {
        let Place { lineage, number } = link.place;
        found.insert(record.partition, Head { lineage, number, id });
    }
}

/// The own record that is furthest along its chain, in each partition of `topic`.
fn last(client: &Client, own: &Own, topic: &str, ends: &mut Vec<(String, i32, End)>) -> Result<(), Error> {
    // What of each partition hasn't been looked at yet.
    let mut rest = client.extents(topic)?;
    if rest.is_empty() {
        return Err(Error::NoTopic { topic: topic.to_owned() });
    }
    let (mut length, growth, longest) = STRETCH;
    let mut told = Instant::now();
    while !rest.is_empty() {
        let stretches: Vec<Extent> = rest.iter().map(|e| Extent { low: e.low.max(e.high - length), ..e.clone() }).collect();
        let mut found = Found::new();
        client.each(&stretches, |record| {
            furthest(&mut found, own, &record);
            Ok::<_, extent::Error>(true)
        })?;
        rest = std::iter::zip(rest, stretches)
            .filter_map(|(extent, looked)| {
                let end = match found.get(&extent.partition) {
                    Some(head) => End::Record(*head),
                    None if looked.low > extent.low => return Some(Extent { high: looked.low, ..extent }),
                    None if extent.low > 0 => End::Expired,
                    None => End::Unwritten,
                };
                ends.push((extent.topic, extent.partition, end));
                None
            })
            .collect();
        length = (length * growth).min(longest);
        if told.elapsed() > TELL && !rest.is_empty() {
            let left: i64 = rest.iter().map(|e| e.high - e.low).sum();
            tracing::info!(topic, left, "searching for this service's last records behind those of other producers");
            told = Instant::now();
        }
    }
    Ok(())
}

/// The first own record of each partition of `topics` that names one before it, although nothing of the partition has expired: what came
/// before was lost. Looked for in what a partition begins with, `HALVED` records at most: behind more of others' than that it isn't found.
pub async fn lost_beginnings(kafka: ClientConfig, own: Own, topics: Vec<String>) -> Result<Vec<(String, i32, Head)>, Error> {
    blocking("reading where the topics begin", move || {
        let client = Client::new(&kafka, View::Everything)?;
        let mut lost = Vec::new();
        for topic in topics {
            let mut rest = client.extents(&topic)?;
            rest.retain(|extent| extent.low == 0);
            for length in [STRETCH.0, HALVED] {
                let stretches: Vec<Extent> = rest.iter().map(|e| Extent { high: e.high.min(length), ..e.clone() }).collect();
                client.each(&stretches, |record| {
                    let at = rest.iter().position(|extent| extent.partition == record.partition);
                    if let (Some(at), Some((id, link))) = (at, own.link(&record)) {
                        rest.swap_remove(at);
                        let Place { lineage, number } = link.place;
                        lost.extend(link.previous.map(|_| (topic.clone(), record.partition, Head { lineage, number, id })));
                    }
                    Ok::<_, extent::Error>(!rest.is_empty())
                })?;
                rest.retain(|extent| extent.high > length);
            }
        }
        Ok(lost)
    })
    .await
}

/// The last record of the own chain in a partition, repetitions left aside; none when `head` isn't in it or what
/// follows that doesn't hang together.
pub async fn chain_end(kafka: &ClientConfig, own: &Own, topic: &str, partition: i32, head: Head) -> Result<Option<Head>, Error> {
    let (kafka, own, topic) = (kafka.clone(), own.clone(), topic.to_owned());
    blocking("reading a chain to its end", move || {
        let client = Client::new(&kafka, View::Everything)?;
        let extent = client.extent(&topic, partition)?;
        let from = before(&client, &extent, &own, head.number - REPEATED)?;
        let mut walk = Walk::new(own, Some(head), from > 0);
        let mut broken = false;
        client.each(&[Extent { low: from, ..extent }], |record| {
            broken = walk.next(&record).is_err();
            Ok::<_, extent::Error>(!broken)
        })?;
        Ok(walk.last.filter(|_| walk.has_met_head() && !broken))
    })
    .await
}

/// An offset at or before the first own record that has a number of `number` or more: numbers grow along a partition, but
/// for repetitions, so stretches are halved.
pub fn before(client: &Client, extent: &Extent, own: &Own, number: i64) -> Result<i64, extent::Error> {
    let (mut low, mut high) = (extent.low, extent.high);
    while high - low > HALVED {
        let middle = low + (high - low) / 2;
        let mut probe = None;
        client.each(&[Extent { low: middle, high, ..extent.clone() }], |record: Record| {
            probe = own.link(&record).map(|(_, link)| (record.offset, link.place.number));
            Ok::<_, extent::Error>(probe.is_none())
        })?;
        match probe {
            Some((offset, found)) if found < number => low = offset,
            _ => high = middle,
        }
    }
    Ok(low)
}

/// What the partitions of `topics` hold, topics that aren't there left out.
pub async fn extents(kafka: ClientConfig, topics: Vec<String>) -> Result<Vec<Extent>, Error> {
    blocking("asking what the topics hold", move || {
        let client = Client::new(&kafka, View::Everything)?;
        let mut extents = Vec::new();
        for topic in topics {
            extents.extend(client.extents(&topic)?);
        }
        Ok(extents)
    })
    .await
}

/// Runs what blocks on a thread for that.
pub async fn blocking<T: Send + 'static, E: From<Error> + Send + 'static>(
    doing: &'static str,
    work: impl FnOnce() -> Result<T, E> + Send + 'static,
) -> Result<T, E> {
    tokio::task::spawn_blocking(work).await.map_err(|_| Error::Thread { doing })?
}

#[cfg(test)]
mod tests {
    use uuid::Uuid;

    use super::super::state::State;
    use super::*;
    use crate::wire::record::Header;

    fn record(partition: i32, lineage: i64, number: i64) -> Record {
        let header = |name: &str, value: String| Header { name: name.to_owned(), value };
        let id = Uuid::from_u128(number.unsigned_abs().into());
        Record {
            topic: "orders".to_owned(),
            partition,
            offset: 0,
            key: None,
            value: None,
            headers: vec![
                header("ce_source", "/farandole/orders".to_owned()),
                header("ce_id", id.to_string()),
                header("farandole", format!("l={lineage};n={number};p=-;c=x/0/0;k={id};i=1/1")),
            ],
        }
    }

    #[test]
    fn a_late_repetition_is_no_end() {
        let mut found = Found::new();
        let own = Own::of("orders", &State::first("7".to_owned()));
        // Partition 0 ends in a repetition, 1 in a ghost of the lineage before; the other's record of 2 is no repetition of 1's.
        for (partition, lineage, number) in [(0, 1, 5), (1, 1, 9), (0, 1, 8), (2, 1, 4), (1, 2, 7), (0, 1, 5), (1, 1, 9)] {
            furthest(&mut found, &own, &record(partition, lineage, number));
        }
        let ends: Vec<_> = found.into_iter().map(|(partition, head)| (partition, head.lineage, head.number)).collect();
        assert_eq!(ends, [(0, 1, 8), (1, 2, 7), (2, 1, 4)]);
    }
}
