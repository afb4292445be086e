//! What an operator does about positions: look, or set one by hand. The reader may run: who has the partition is fenced by the step,
//! and begins again from the new position within seconds.

use std::collections::BTreeMap;
use std::str::FromStr;

use rdkafka::ClientConfig;
use rdkafka::consumer::{BaseConsumer, Consumer as _};
use rdkafka::error::KafkaError;
use serde::Serialize;
use sqlx::PgConnection;

use super::begin;
use super::position::{Position, scope};
use crate::config::{Kafka, Start};
use crate::engine::session;
use crate::step::{self, Append};

/// How long brokers may take to say how many partitions a topic has.
const ANSWER: std::time::Duration = std::time::Duration::from_secs(10);
/// A reader that moves takes steps of its own meanwhile.
const TRIES: u32 = 20;

/// Where to set a position to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum To {
    /// This offset is read next.
    Offset(i64),
    /// Where a reader would start by that setting; `earliest` is the first record that is still there.
    Start(Start),
}

impl FromStr for To {
    type Err = String;
    fn from_str(text: &str) -> Result<Self, String> {
        match text.parse::<i64>() {
            Ok(offset) if offset >= 0 => Ok(Self::Offset(offset)),
            Ok(_) => Err(format!("`{text}` is no offset: offsets begin at 0")),
            Err(_) => text.parse().map(Self::Start).map_err(|why: String| format!("{why}, and no offset")),
        }
    }
}

/// A position that was set.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Moved {
    /// Topic, with its prefix.
    pub topic: String,
    /// Partition.
    pub partition: i32,
    /// What would have been read next; none when nothing had been read.
    pub from: Option<i64>,
    /// What is read next.
    pub to: i64,
}

/// Why a position wasn't set. Then none was.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// The brokers can't be asked.
    #[error("asking the brokers about {topic}")]
    Kafka {
        /// Which topic.
        topic: String,
        /// The cause.
        #[source]
        source: KafkaError,
    },
    /// There is no such topic or partition.
    #[error("{topic} has {count} partition(s){}", partition.map(|p| format!(", and no number {p}")).unwrap_or_default())]
    Nothing {
        /// Which topic.
        topic: String,
        /// How many it has; 0 when it isn't there.
        count: usize,
        /// Which was asked for.
        partition: Option<i32>,
    },
    /// An offset that the topic doesn't have.
    #[error("{topic}/{partition} holds offsets from {low} to {high}: {to} isn't one of them, nor the next")]
    Outside {
        /// Which topic.
        topic: String,
        /// Which partition.
        partition: i32,
        /// The first.
        low: i64,
        /// The next to be written.
        high: i64,
        /// What was asked for.
        to: i64,
    },
    /// The database's.
    #[error("writing positions")]
    Position(#[source] step::Error),
    /// A thread ended early.
    #[error("the look at the topic was broken off")]
    Broken(#[source] tokio::task::JoinError),
}

/// Sets the position of `reader` in one partition of `topic` (with its prefix), or in all of them. What was known of the chains
/// there is forgotten: of each source the next record is taken for its first, and records before that are read again.
///
/// # Errors
/// See [`Error`].
pub async fn set(
    conn: &mut PgConnection,
    kafka: &Kafka,
    reader: &str,
    topic: &str,
    partition: Option<i32>,
    to: To,
) -> Result<Vec<Moved>, Error> {
    let (kafka, asked) = (kafka.clone(), topic.to_owned());
    let offsets = tokio::task::spawn_blocking(move || offsets(&kafka, &asked, partition, to)).await.map_err(Error::Broken)??;
    let mut tries = 1;
    loop {
        match write(conn, reader, topic, &offsets).await {
            Err(step::Error::Fenced { .. }) if tries < TRIES => tries += 1,
            other => return other.map_err(Error::Position),
        }
    }
}

async fn write(
    conn: &mut PgConnection,
    reader: &str,
    topic: &str,
    offsets: &BTreeMap<i32, i64>,
) -> Result<Vec<Moved>, step::Error> {
    let begun = |source| step::Error::Database { scope: scope(reader, topic, 0), source };
    let mut tx = session::begin(conn).await.map_err(begun)?;
    let mut steps = Vec::new();
    for (partition, to) in offsets {
        let scope = scope(reader, topic, *partition);
        let latest = step::latest::<Position>(&mut tx, &scope).await?;
        let (step, from) = latest.map_or((None, None), |(step, position)| (Some(step), Some(position)));
        // In whatever topic has the name now. At its beginning too: that may be the middle of a chain, where the records before it
        // have expired, or where the topic was copied from another.
        let after = Position { next_offset: *to, midway: true, ..Position::default() };
        let moved = Moved { topic: topic.to_owned(), partition: *partition, from: from.map(|p| p.next_offset), to: *to };
        steps.push((scope, step, after, moved));
    }
    let appends: Vec<_> = steps.iter().map(|(scope, step, after, _)| Append { scope, expected: *step, state: after }).collect();
    step::append_many(&mut tx, &appends).await?;
    // What a heal noted as applied was read at these offsets before; it may have been in another topic of that name.
    sqlx::query("delete from farandole.applied where reader = $1 and topic = $2 and partition = any($3)")
        .bind(reader)
        .bind(topic)
        .bind(offsets.keys().copied().collect::<Vec<i32>>())
        .execute(&mut *tx)
        .await
        .map_err(begun)?;
    tx.commit().await.map_err(begun)?;
    Ok(steps.into_iter().map(|(.., moved)| moved).collect())
}

/// The offset of each partition that is asked for.
fn offsets(kafka: &Kafka, topic: &str, partition: Option<i32>, to: To) -> Result<BTreeMap<i32, i64>, Error> {
    let failed = |source| Error::Kafka { topic: topic.to_owned(), source };
    let mut client = ClientConfig::new();
    client.set("bootstrap.servers", &kafka.bootstrap).set("group.id", "farandole-position").set("enable.auto.commit", "false");
    for (name, value) in &kafka.properties {
        client.set(name, value);
    }
    let consumer: BaseConsumer = client.create().map_err(failed)?;
    // All topics: a question for one by name makes it, where brokers make topics by themselves.
    let metadata = consumer.fetch_metadata(None, ANSWER).map_err(failed)?;
    let count = metadata.topics().iter().find(|t| t.name() == topic && t.error().is_none()).map_or(0, |t| t.partitions().len());
    let all = i32::try_from(count).unwrap_or(i32::MAX);
    if all == 0 || partition.is_some_and(|p| !(0..all).contains(&p)) {
        return Err(Error::Nothing { topic: topic.to_owned(), count, partition });
    }
    let one = |partition: i32| {
        let offset = match to {
            To::Start(start) => begin::offset(&consumer, topic, partition, start).map_err(failed)?,
            To::Offset(to) => {
                let (low, high) = consumer.fetch_watermarks(topic, partition, ANSWER).map_err(failed)?;
                if !(low..=high).contains(&to) {
                    return Err(Error::Outside { topic: topic.to_owned(), partition, low, high, to });
                }
                to
            }
        };
        Ok((partition, offset))
    };
    match partition {
        Some(partition) => one(partition).map(|one| BTreeMap::from([one])),
        None => (0..all).map(one).collect(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::time::Timestamp;

    #[test]
    fn what_a_position_may_be_set_to() {
        assert_eq!("17".parse(), Ok(To::Offset(17)));
        assert_eq!("latest".parse(), Ok(To::Start(Start::Latest)));
        let time = Timestamp::parse("2026-01-31T12:00:00Z").unwrap();
        assert_eq!("2026-01-31T12:00:00Z".parse(), Ok(To::Start(Start::At(time))));
        for wrong in ["-1", "", "newest", "2026-01-31"] {
            let why = wrong.parse::<To>().unwrap_err();
            assert!(why.contains(&format!("`{wrong}`")), "{why}");
        }
    }
}
