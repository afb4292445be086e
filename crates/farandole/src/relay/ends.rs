//! Where a service's own chain ends in each partition that it publishes to.
//!
//! A partition may end in anything: somebody else's record, a tombstone, a transaction's marker. What counts is the last record of
//! **this** source, looked for backward from the end in stretches that grow, so that a handful of strangers costs nothing and a
//! million of them one pass and no memory. Its headers say whose a record is ([`Record::ours`]); no other place decides that.
//!
//! The relay, the stand-by and the heal all ask here, so they can't disagree.

use std::time::{Duration, Instant};

use rdkafka::config::ClientConfig;
use uuid::Uuid;

use super::error::Error;
use super::state::Head;
use super::walk::Walk;
use crate::extent::{self, Client, Extent, View};
use crate::record::Record;

/// The first stretch looked at, by how much each is longer than the one behind it, and the longest: a broker answers with far more
/// than the first; the last bounds what is read in vain.
const STRETCH: (i64, i64, i64) = (64, 4, 262_144);
/// A stretch of this many offsets is read from its beginning rather than halved again.
const HALVED: i64 = 20_000;
/// A relay that crashed, or was paused, sends no more than two pages and a head again: so much lower than those before it may
/// the numbers along a partition be.
pub(crate) const REPEATED: i64 = 50_000;
/// Between two words about how far a look is.
pub(crate) const TELL: Duration = Duration::from_secs(5);

/// Where a source's chain ends in a partition.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum End {
    /// None of its records is there, nor ever was.
    Unwritten,
    /// None is there. The partition's beginning is gone, and they may have been in it.
    Expired,
    /// The last of its records, in the order of offsets. A repetition may come after the chain's end; see [`chain_end`].
    Record(Uuid),
}

/// The source that a service's records name.
pub(crate) fn source(service: &str) -> String {
    format!("/farandole/{service}")
}

/// Where the chain of `service` ends in each partition of `topics`.
pub(crate) async fn ends(kafka: ClientConfig, service: &str, topics: Vec<String>) -> Result<Vec<(String, i32, End)>, Error> {
    let source = source(service);
    blocking("reading where the topics end", move || {
        let client = Client::new(&kafka, View::Everything)?;
        let mut ends = Vec::new();
        for topic in topics {
            last(&client, &source, &topic, &mut ends)?;
        }
        Ok(ends)
    })
    .await
}

/// The last record of `source` in each partition of `topic`.
fn last(client: &Client, source: &str, topic: &str, ends: &mut Vec<(String, i32, End)>) -> Result<(), Error> {
    // What of each partition hasn't been looked at yet.
    let mut rest = client.extents(topic)?;
    if rest.is_empty() {
        return Err(Error::NoTopic { topic: topic.to_owned() });
    }
    let (mut length, growth, longest) = STRETCH;
    let mut told = Instant::now();
    while !rest.is_empty() {
        let stretches: Vec<Extent> = rest.iter().map(|e| Extent { low: e.low.max(e.high - length), ..e.clone() }).collect();
        let mut found = std::collections::BTreeMap::new();
        client.each(&stretches, |record| {
            if let Some((id, _)) = record.ours(source) {
                found.insert(record.partition, id);
            }
            Ok::<_, extent::Error>(true)
        })?;
        rest = std::iter::zip(rest, stretches)
            .filter_map(|(extent, looked)| {
                let end = match found.get(&extent.partition) {
                    Some(id) => End::Record(*id),
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
            tracing::info!(topic, left, "looking for this service's last records behind those of others");
            told = Instant::now();
        }
    }
    Ok(())
}

/// The id of the last record of `service`'s chain in a partition, repetitions left aside; none when `head` isn't in it or what
/// follows that doesn't hang together.
pub(crate) async fn chain_end(
    kafka: &ClientConfig,
    service: &str,
    topic: &str,
    partition: i32,
    head: Head,
) -> Result<Option<Uuid>, Error> {
    let (kafka, source, topic) = (kafka.clone(), source(service), topic.to_owned());
    blocking("reading a chain to its end", move || {
        let client = Client::new(&kafka, View::Everything)?;
        let extent = client.extent(&topic, partition)?;
        let from = before(&client, &extent, &source, head.n - REPEATED)?;
        let mut walk = Walk::new(source, Some(head), from > 0);
        let mut broken = false;
        client.each(&[Extent { low: from, ..extent }], |record| {
            broken = walk.next(&record).is_err();
            Ok::<_, extent::Error>(!broken)
        })?;
        Ok(walk.last.filter(|_| walk.has_met_head() && !broken).map(|last| last.id))
    })
    .await
}

/// An offset at or before the first record of `source` that has a number of `number` or more: numbers grow along a partition, but
/// for repetitions, so stretches are halved.
pub(crate) fn before(client: &Client, extent: &Extent, source: &str, number: i64) -> Result<i64, extent::Error> {
    let (mut low, mut high) = (extent.low, extent.high);
    while high - low > HALVED {
        let middle = low + (high - low) / 2;
        let mut probe = None;
        client.each(&[Extent { low: middle, high, ..extent.clone() }], |record: Record| {
            probe = record.ours(source).map(|(_, link)| (record.offset, link.place.number));
            Ok::<_, extent::Error>(probe.is_none())
        })?;
        match probe {
            Some((offset, found)) if found < number => low = offset,
            _ => high = middle,
        }
    }
    Ok(low)
}

/// Runs what blocks on a thread for that.
pub(crate) async fn blocking<T: Send + 'static, E: From<Error> + Send + 'static>(
    doing: &'static str,
    work: impl FnOnce() -> Result<T, E> + Send + 'static,
) -> Result<T, E> {
    tokio::task::spawn_blocking(work).await.map_err(|_| Error::Thread { doing })?
}
