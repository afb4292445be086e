//! Does each partition end where this database thinks it does?
//!
//! Asked at every take-over, after the lease is ours and before anything is published, and by every stand-by before its service
//! decides anything. The service's last record in a partition must be the head that the state holds, or a row that this database
//! has and that may have been published since: of the batch in flight for the owner, any committed one for a stand-by, whose owner
//! goes on meanwhile. Otherwise the two have parted: the database was rewound (a backup restored) and would give numbers that are
//! taken, which every consumer would drop as seen; or the topic lost its end. Nothing is published until somebody has decided.
//!
//! Each partition has to begin as a chain does, too: a topic that was deleted and created again while it was published to holds what
//! was published since, ends as the database has it, and lacks all that came before.
//!
//! Records are compared by id and number together: after a rewind numbers repeat, and an id that was appended twice is that of two records.

use std::sync::Arc;
use std::time::Duration;

use rdkafka::config::ClientConfig;
use rdkafka::producer::Producer as _;
use sqlx::PgConnection;
use uuid::Uuid;

use crate::publish::relay::ends::{End, chain_end, ends, lost_beginnings};
use crate::publish::relay::error::Error;
use crate::publish::relay::log::with_timeout;
use crate::publish::relay::own::Own;
use crate::publish::relay::produce::Client;
use crate::publish::relay::state::State;
use crate::publish::relay::{Config, read};

/// For one answer of a broker.
const TIMEOUT: Duration = Duration::from_secs(10);

/// Which rows may be in the topics beyond the heads.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum AllowedRows {
    /// Those of the batch in flight: nobody else publishes.
    InFlight,
    /// All that are committed: the owner has gone on since the state was read.
    Committed,
}

/// Every topic that the state or the configuration names.
pub fn topics(config: &Config, state: &State) -> Vec<String> {
    let declared = config.topics.iter().filter(|t| !state.partitions.contains_key(*t));
    state.partitions.keys().chain(declared).cloned().collect()
}

/// The broker's partition count of each topic.
pub async fn counts(client: Arc<Client>, topics: Vec<String>) -> Result<Vec<(String, i32)>, Error> {
    let doing = "reading the topics' partition counts";
    let ask = move || {
        let count = |topic: String| {
            let metadata = client.client().fetch_metadata(Some(&topic), TIMEOUT).map_err(Error::kafka(doing))?;
            let count = metadata.topics().iter().find(|t| t.name() == topic).map_or(0, |t| t.partitions().len());
            match i32::try_from(count) {
                Ok(count) if count > 0 => Ok((topic, count)),
                _ => Err(Error::NoTopic { topic }),
            }
        };
        topics.into_iter().map(count).collect()
    };
    tokio::task::spawn_blocking(ask).await.map_err(|_| Error::Thread { doing })?
}

/// Compares the broker's counts with those in the state.
pub fn compare_counts(state: &State, counts: &[(String, i32)]) -> Result<(), Error> {
    for (topic, broker) in counts {
        match state.partitions.get(topic) {
            Some(fixed) if fixed != broker => {
                return Err(Error::PartitionCount { topic: topic.clone(), fixed: *fixed, broker: *broker });
            }
            _ => {}
        }
    }
    Ok(())
}

/// Compares where this service's chain ends in each partition of `topics` with `state`, which was read before.
pub async fn check(
    conn: &mut PgConnection,
    kafka: &ClientConfig,
    service: &str,
    state: &State,
    topics: Vec<String>,
    beyond: AllowedRows,
) -> Result<(), Error> {
    let own = Own::of(service, state);
    let ends = ends(kafka.clone(), own.clone(), topics.clone()).await?;
    let head = |topic: &str, partition: i32| state.heads.get(topic).and_then(|h| h.get(&partition)).copied();
    let apart = |(topic, partition, end): &(String, i32, End)| match (end, head(topic, *partition)) {
        (End::Unwritten, None) | (End::Expired, _) => false,
        // The whole head: an id that was appended twice is that of two records.
        (End::Record(found), Some(head)) => *found != head,
        (End::Record(_), None) | (End::Unwritten, Some(_)) => true,
    };
    let apart: Vec<_> = ends.into_iter().filter(apart).collect();
    if apart.is_empty() {
        return check_beginnings(kafka, service, state, own, topics).await;
    }
    let b = match beyond {
        AllowedRows::InFlight => state.in_flight.as_ref().map_or_else(|| state.acked.clone(), |batch| batch.upto.clone()),
        // Read after the ends: who was published had committed by then.
        AllowedRows::Committed => with_timeout("reading the current snapshot", read::now(conn)).await?,
    };
    let mut known = async |ids: &[Uuid]| {
        let doing = "comparing the topics with the database";
        with_timeout(doing, read::among(conn, &state.acked, &b, ids)).await
    };
    let found: Vec<Uuid> = apart.iter().filter_map(|(_, _, end)| id_of(*end)).collect();
    let rows = known(&found).await?;
    for (topic, partition, end) in apart {
        let (found, head) = (id_of(end), head(&topic, partition));
        if found.is_some_and(|id| rows.contains(&id)) {
            continue;
        }
        // A paused relay's records may land after those that followed them. What counts is where the chain ends.
        if let (Some(_), Some(head)) = (found, head)
            && let Some(end) = chain_end(kafka, &own, &topic, partition, head).await?
            && (end == head || !known(&[end.id]).await?.is_empty())
        {
            continue;
        }
        let name = |id: Option<Uuid>| id.map_or_else(|| "none".to_owned(), |id| id.to_string());
        let (found, expected) = (name(found), name(head.map(|head| head.id)));
        return Err(Error::Continuity { service: service.to_owned(), topic, partition, found, expected });
    }
    check_beginnings(kafka, service, state, own, topics).await
}

/// Refuses what lost its beginning. A topic that was deleted and created again while it was published to ends as the database has it.
async fn check_beginnings(
    kafka: &ClientConfig,
    service: &str,
    state: &State,
    own: Own,
    topics: Vec<String>,
) -> Result<(), Error> {
    let known = |topic: &str, partition| state.begin_at.get(topic).and_then(|of| of.get(&partition)).copied();
    let lost = lost_beginnings(kafka.clone(), own, topics).await?;
    match lost.into_iter().find(|(topic, partition, first)| known(topic, *partition) != Some(*first)) {
        Some((topic, partition, first)) => {
            Err(Error::Beginning { service: service.to_owned(), topic, partition, first: first.id })
        }
        None => Ok(()),
    }
}

fn id_of(end: End) -> Option<Uuid> {
    if let End::Record(head) = end { Some(head.id) } else { None }
}

/// A topic that this relay never published to must hold none of our records: they would be an earlier life's, whose numbers
/// the new ones would repeat.
pub async fn check_unused(kafka: &ClientConfig, service: &str, state: &State, topic: &str) -> Result<(), Error> {
    for (topic, partition, end) in ends(kafka.clone(), Own::of(service, state), vec![topic.to_owned()]).await? {
        if let End::Record(found) = end {
            let (service, expected) = (service.to_owned(), "none".to_owned());
            return Err(Error::Continuity { service, topic, partition, found: found.id.to_string(), expected });
        }
    }
    Ok(())
}
