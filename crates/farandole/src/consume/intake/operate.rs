//! What an operator does about positions: look, or set one by hand. The reader may run: who has the partition is fenced by the step,
//! and begins again from the new position within seconds. What is known of the chains there is kept where that can be (see
//! `resume`).

use std::collections::BTreeMap;
use std::str::FromStr;
use std::time::{Duration, Instant};

use rdkafka::config::ClientConfig;
use rdkafka::consumer::{BaseConsumer, Consumer as _};
use rdkafka::error::KafkaError;
use serde::Serialize;
use sqlx::PgConnection;

use crate::consume::intake::position::{Position, positions, scope};
use crate::consume::intake::resume::Stretch;
use crate::consume::intake::{begin, begun, foreign_dedup};
use crate::database::session;
use crate::database::step::{self, Append};
use crate::wire::extent::{self, Client, Extent, View};
use crate::wire::identity::{self, Ear};
use crate::wire::per_topic::Start;
use crate::wire::settings::Kafka;

/// How long brokers may take to say how many partitions a topic has.
const ANSWER: Duration = Duration::from_secs(10);
/// How long to wait for the topic's id, which old brokers don't give.
const ID: Duration = Duration::from_secs(2);
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
            Ok(_) => Err(format!("`{text}` is not an offset: offsets start at 0")),
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
    #[error("{topic}/{partition} holds offsets {low} to {high}; {to} is neither one of them nor the next")]
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
    /// What is passed over can't be read.
    #[error("reading the skipped records")]
    Reading(#[source] extent::Error),
    /// The database's.
    #[error("writing positions")]
    Position(#[source] step::Error),
    /// A thread ended early.
    #[error("the topic check was interrupted")]
    Broken(#[source] tokio::task::JoinError),
}

/// Where a partition is set to.
#[derive(Debug)]
struct Goal {
    to: i64,
    /// The id of the topic that has the name now, where brokers give one.
    topic_id: Option<String>,
    /// What lies between, when `to` is where the reader was found, or not far ahead.
    stretch: Option<Stretch>,
}

impl Goal {
    /// Whether `before` is in another topic of that name.
    fn is_elsewhere(&self, before: &Position) -> bool {
        matches!((&before.topic_id, &self.topic_id), (Some(known), Some(found)) if known != found)
    }

    /// What `before` becomes, and whether it goes on in what it was: else what was known of the chains is forgotten.
    fn after(&self, before: Option<&Position>, topic: &str) -> (Position, bool) {
        let same = |p: &&Position| !self.is_elsewhere(p);
        let resume = |p: &Position| self.stretch.as_ref()?.resume(p.clone(), topic, self.to);
        match before.filter(same).and_then(resume) {
            Some(after) => (after, true),
            // In whatever topic has the name now. At its beginning too: that may be the middle of a chain, where the records before
            // it have expired, or where the topic was copied from another.
            None => {
                let topic_id = self.topic_id.clone();
                (Position { next_offset: self.to, midway: true, topic_id, ..Position::default() }, false)
            }
        }
    }
}

/// Sets the position of `reader` in one partition of `topic` (with its prefix), or in all of them.
///
/// An offset where the reader is, or not far ahead, says something of the records there alone. One that is passed over leaves the chains
/// as they are; of the one that is read next, if the chain rule refuses it, the source begins anew there. Anywhere else, and by the name
/// of a start, what was known of the chains is forgotten: of each source the next record is taken for its first, and records before that
/// are read again.
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
    let from: BTreeMap<i32, i64> = match to {
        To::Start(_) => BTreeMap::new(),
        To::Offset(_) => {
            let failed = |source| Error::Position(step::Error::Database { scope: scope(reader, topic, 0), source });
            let partition = |at: &str| at.rsplit_once('/').filter(|(of, _)| *of == topic)?.1.parse().ok();
            let stored = positions(&mut *conn, reader).await.map_err(failed)?;
            stored.iter().filter_map(|(at, position)| Some((partition(at)?, position.next_offset))).collect()
        }
    };
    let (kafka, asked) = (kafka.clone(), topic.to_owned());
    let (count, goals) =
        tokio::task::spawn_blocking(move || goals(&kafka, &asked, partition, to, &from)).await.map_err(Error::Broken)??;
    let mut tries = 1;
    loop {
        match write(conn, reader, topic, count, &goals).await {
            Err(step::Error::Fenced { .. }) if tries < TRIES => tries += 1,
            other => return other.map_err(Error::Position),
        }
    }
}

async fn write(
    conn: &mut PgConnection,
    reader: &str,
    topic: &str,
    count: i32,
    goals: &BTreeMap<i32, Goal>,
) -> Result<Vec<Moved>, step::Error> {
    let begun = |source| step::Error::Database { scope: scope(reader, topic, 0), source };
    let mut tx = session::begin(conn).await.map_err(begun)?;
    // Who sets a position before the reader's first start has begun with the topic: partitions that are there begin where it is told.
    begun::note(&mut tx, reader, topic, count).await?;
    let (mut steps, mut anew, mut back) = (Vec::new(), Vec::new(), false);
    for (partition, goal) in goals {
        let scope = scope(reader, topic, *partition);
        let latest = step::latest::<Position>(&mut tx, &scope).await?;
        let (step, from) = latest.map_or((None, None), |(step, position)| (Some(step), Some(position)));
        let (after, goes_on) = goal.after(from.as_ref(), topic);
        if !goes_on {
            anew.push(*partition);
            back |= from.as_ref().is_none_or(|from| goal.to < from.next_offset || goal.is_elsewhere(from));
        }
        let moved = Moved { topic: topic.to_owned(), partition: *partition, from: from.map(|p| p.next_offset), to: goal.to };
        steps.push((scope, step, after, moved));
    }
    let appends: Vec<_> = steps.iter().map(|(scope, step, after, _)| Append { scope, expected: *step, state: after }).collect();
    step::append_many(&mut tx, &appends).await?;
    // What a heal noted as applied was read at these offsets before; it may have been in another topic of that name. Who goes on still
    // has it before them.
    sqlx::query("delete from farandole.applied where reader = $1 and topic = $2 and partition = any($3)")
        .bind(reader)
        .bind(topic)
        .bind(anew)
        .execute(&mut *tx)
        .await
        .map_err(begun)?;
    // Foreign records that are to be read again are to be heard again. What was seen says of which topic it is, and no partition.
    if back {
        foreign_dedup::forget(&mut tx, reader, topic).await.map_err(begun)?;
    }
    tx.commit().await.map_err(begun)?;
    Ok(steps.into_iter().map(|(.., moved)| moved).collect())
}

/// How many partitions there are, and the goal of each that is asked for. `from` are the positions of those whose way is looked at.
fn goals(
    kafka: &Kafka,
    topic: &str,
    partition: Option<i32>,
    to: To,
    from: &BTreeMap<i32, i64>,
) -> Result<(i32, BTreeMap<i32, Goal>), Error> {
    let failed = |source| Error::Kafka { topic: topic.to_owned(), source };
    let mut client = ClientConfig::new();
    client.set("bootstrap.servers", &kafka.bootstrap).set("group.id", "farandole-position").set("enable.auto.commit", "false");
    for (name, value) in &kafka.properties {
        client.set(name, value);
    }
    let consumer: BaseConsumer<Ear> = identity::hearing(&client).create_with_context(Ear::default()).map_err(failed)?;
    // All topics: a question for one by name makes it, where brokers make topics by themselves.
    let metadata = consumer.fetch_metadata(None, ANSWER).map_err(failed)?;
    let count = metadata.topics().iter().find(|t| t.name() == topic && t.error().is_none()).map_or(0, |t| t.partitions().len());
    let all = i32::try_from(count).unwrap_or(i32::MAX);
    if all == 0 || partition.is_some_and(|p| !(0..all).contains(&p)) {
        return Err(Error::Nothing { topic: topic.to_owned(), count, partition });
    }
    let topic_id = id(&consumer, topic).map_err(failed)?;
    let one = |partition: i32| {
        let (mut stretch, topic_id) = (None, topic_id.clone());
        let to = match to {
            To::Start(start) => begin::offset(&consumer, topic, partition, start).map_err(failed)?,
            To::Offset(to) => {
                let (low, high) = consumer.fetch_watermarks(topic, partition, ANSWER).map_err(failed)?;
                if !(low..=high).contains(&to) {
                    return Err(Error::Outside { topic: topic.to_owned(), partition, low, high, to });
                }
                if let Some(from) = from.get(&partition) {
                    let reader = Client::new(&client, View::Committed).map_err(Error::Reading)?;
                    let whole = Extent { topic: topic.to_owned(), partition, low, high };
                    stretch = Stretch::read(&reader, whole, *from, to).map_err(Error::Reading)?;
                }
                to
            }
        };
        Ok((partition, Goal { to, topic_id, stretch }))
    };
    let goals = match partition {
        Some(partition) => BTreeMap::from([one(partition)?]),
        None => (0..all).map(one).collect::<Result<_, _>>()?,
    };
    Ok((all, goals))
}

/// The id of `topic`, which is there. The client tells it while it is polled.
fn id(consumer: &BaseConsumer<Ear>, topic: &str) -> Result<Option<String>, KafkaError> {
    consumer.fetch_metadata(Some(topic), ANSWER)?;
    let asked = Instant::now();
    while consumer.context().0.of(topic).is_none() && asked.elapsed() < ID {
        let _ = consumer.poll(Duration::from_millis(20)); // nothing is assigned, so nothing comes
    }
    Ok(consumer.context().0.of(topic))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ground::time::Timestamp;

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
