//! Does each partition end where this database thinks it does?
//!
//! Asked at every take-over, after the lease is ours and before anything is published. A partition's last record must be the
//! head that the state holds, or a row of the batch in flight. Otherwise the two have parted: the database was rewound (a
//! backup restored) and would give numbers that are taken, which every consumer would drop as seen; or the topic lost its
//! end. Nothing is published until somebody has decided.
//!
//! Records are compared by id and never by number: after a rewind numbers repeat.

use std::sync::Arc;
use std::time::{Duration, Instant};

use rdkafka::config::ClientConfig;
use rdkafka::consumer::{BaseConsumer, Consumer as _};
use rdkafka::message::{Headers as _, Message as _};
use rdkafka::producer::Producer as _;
use rdkafka::topic_partition_list::{Offset, TopicPartitionList};
use sqlx::PgConnection;
use uuid::Uuid;

use super::error::Error;
use super::log::within;
use super::produce::Client;
use super::read;
use super::state::State;
use crate::heal;

/// For one answer of a broker.
const PATIENCE: Duration = Duration::from_secs(10);

/// What a partition ends in.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum End {
    /// Nothing was ever written to it.
    Unwritten,
    /// What was written has expired or been deleted.
    Expired,
    /// A record with this `ce_id`, if it is one of ours.
    Record(Option<Uuid>),
}

/// The broker's partition count of each topic.
pub(crate) async fn counts(client: Arc<Client>, topics: Vec<String>) -> Result<Vec<(String, i32)>, Error> {
    let doing = "reading the topics' partition counts";
    let ask = move || {
        let count = |topic: String| {
            let metadata = client.client().fetch_metadata(Some(&topic), PATIENCE).map_err(Error::kafka(doing))?;
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
pub(crate) fn compare_counts(state: &State, counts: &[(String, i32)]) -> Result<(), Error> {
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

/// Compares the ends of `topics` with the heads in `state`.
pub(crate) async fn check(
    conn: &mut PgConnection,
    kafka: &ClientConfig,
    service: &str,
    state: &State,
    topics: Vec<(String, i32)>,
) -> Result<(), Error> {
    let ends = ends(kafka.clone(), topics).await?;
    let head = |topic: &str, partition: i32| state.heads.get(topic).and_then(|h| h.get(&partition)).map(|h| h.id);
    let apart = |(topic, partition, end): &(String, i32, End)| match (end, head(topic, *partition)) {
        (End::Unwritten, None) | (End::Expired, _) => false,
        // Somebody else's records in a partition that has none of ours: a topic that was there before the kit.
        (End::Record(None), None) => false,
        (End::Record(Some(found)), Some(head)) => *found != head,
        _ => true,
    };
    let apart: Vec<_> = ends.into_iter().filter(apart).collect();
    if apart.is_empty() {
        return Ok(());
    }
    let found: Vec<Uuid> = apart.iter().filter_map(|(_, _, end)| if let End::Record(id) = end { *id } else { None }).collect();
    let in_flight = match &state.in_flight {
        Some(batch) => within("comparing topics with the database", read::among(conn, &state.a, &batch.b, &found)).await?,
        None => Vec::new(),
    };
    let name = |id: Option<Uuid>| id.map_or_else(|| "none".to_owned(), |id| id.to_string());
    for (topic, partition, end) in apart {
        let found = if let End::Record(id) = end { id } else { None };
        if !found.is_some_and(|id| in_flight.contains(&id)) {
            let expected = name(head(&topic, partition));
            // A paused relay's records may land after those that followed them. What counts is where the chain ends.
            let known = state.heads.get(&topic).and_then(|h| h.get(&partition)).copied();
            if let (Some(_), Some(known)) = (found, known)
                && let Some(end) = heal::chain_end(kafka, service, &topic, partition, known).await?
            {
                let (a, b) = (&state.a, state.in_flight.as_ref().map_or(&state.a, |batch| &batch.b));
                let doing = "comparing a chain's end with the database";
                if end == known.id || !within(doing, read::among(conn, a, b, &[end])).await?.is_empty() {
                    continue;
                }
            }
            return Err(Error::Continuity { service: service.to_owned(), topic, partition, found: name(found), expected });
        }
    }
    Ok(())
}

/// A topic that this relay never published to must hold none of our records: they would be an earlier life's, whose numbers
/// the new ones would repeat.
pub(crate) async fn check_unused(kafka: &ClientConfig, service: &str, topics: Vec<(String, i32)>) -> Result<(), Error> {
    for (topic, partition, end) in ends(kafka.clone(), topics).await? {
        if let End::Record(Some(found)) = end {
            let (service, expected) = (service.to_owned(), "none".to_owned());
            return Err(Error::Continuity { service, topic, partition, found: found.to_string(), expected });
        }
    }
    Ok(())
}

async fn ends(mut kafka: ClientConfig, topics: Vec<(String, i32)>) -> Result<Vec<(String, i32, End)>, Error> {
    let doing = "reading where the topics end";
    let read = move || {
        // Producer properties mean nothing to a consumer, which would only warn about them.
        kafka.set("group.id", "farandole-relay-continuity").set("enable.auto.commit", "false").set("fetch.wait.max.ms", "10");
        kafka.set("auto.offset.reset", "error").set("log_level", "3");
        let consumer: BaseConsumer = kafka.create().map_err(Error::kafka(doing))?;
        let mut ends = Vec::new();
        let mut wanted = TopicPartitionList::new();
        for (topic, count) in &topics {
            for partition in 0..*count {
                let (low, high) = consumer.fetch_watermarks(topic, partition, PATIENCE).map_err(Error::kafka(doing))?;
                match high {
                    0 => ends.push((topic.clone(), partition, End::Unwritten)),
                    _ if low == high => ends.push((topic.clone(), partition, End::Expired)),
                    _ => wanted.add_partition_offset(topic, partition, Offset::Offset(high - 1)).map_err(Error::kafka(doing))?,
                }
            }
        }
        let complete = ends.len() + wanted.count();
        if wanted.count() > 0 {
            consumer.assign(&wanted).map_err(Error::kafka(doing))?;
        }
        let began = Instant::now();
        while ends.len() < complete {
            if let Some(message) = consumer.poll(Duration::from_millis(100)) {
                let message = message.map_err(Error::kafka(doing))?;
                let place = (message.topic().to_owned(), message.partition());
                if !ends.iter().any(|(topic, partition, _)| (topic, partition) == (&place.0, &place.1)) {
                    ends.push((place.0, place.1, End::Record(id_of(&message))));
                }
            } else if began.elapsed() > PATIENCE {
                return Err(Error::Silent { doing, seconds: PATIENCE.as_secs() });
            }
        }
        Ok(ends)
    };
    tokio::task::spawn_blocking(read).await.map_err(|_| Error::Thread { doing })?
}

/// The `ce_id` of a record that carries our header.
fn id_of(message: &rdkafka::message::BorrowedMessage<'_>) -> Option<Uuid> {
    let headers = message.headers()?;
    let value = |name: &str| headers.iter().find(|h| h.key == name)?.value.and_then(|v| std::str::from_utf8(v).ok());
    value("farandole")?;
    Uuid::parse_str(value("ce_id")?).ok()
}
