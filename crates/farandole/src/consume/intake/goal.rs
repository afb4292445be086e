//! Where partitions are set to, and what lies between that and where their reader is: asked of the brokers, nothing is changed.

use std::collections::BTreeMap;
use std::num::NonZeroU32;
use std::time::{Duration, Instant};

use rdkafka::consumer::{BaseConsumer, Consumer as _};
use rdkafka::error::KafkaError;

use crate::consume::intake::begin;
use crate::consume::intake::position::{Position, Replay};
use crate::consume::intake::preview::Passage;
use crate::consume::intake::resume::Stretch;
use crate::consume::intake::setting::{Change, Error, To};
use crate::wire::extent::{self, Client, Extent, View};
use crate::wire::identity::{self, Ear};
use crate::wire::mapping::Mapping;
use crate::wire::settings::Kafka;

/// How long brokers may take to say how many partitions a topic has.
const ANSWER: Duration = Duration::from_secs(10);
/// How long to wait for the topic's id, which old brokers don't give.
const ID: Duration = Duration::from_secs(2);

/// What is asked of the brokers.
pub(super) struct Question {
    pub kafka: Kafka,
    pub topic: String,
    pub partition: Option<i32>,
    pub to: To,
    pub mapping: Option<Mapping>,
    /// Where the reader is in the topic's partitions.
    pub before: BTreeMap<i32, Position>,
}

/// Where a partition is set to.
#[derive(Debug)]
pub(super) struct Goal {
    pub to: i64,
    /// The id of the topic that has the name now, where brokers give one.
    topic_id: Option<String>,
    /// What lies between, when `to` is where the reader was found, or not far ahead.
    stretch: Option<Stretch>,
    skipped: Option<Passage>,
    repeated: Option<Passage>,
}

impl Goal {
    /// Whether `before` is in another topic of that name.
    pub fn is_elsewhere(&self, before: &Position) -> bool {
        matches!((&before.topic_id, &self.topic_id), (Some(known), Some(found)) if known != found)
    }

    /// What `before` becomes, and whether it goes on in what it was: else what was known of the chains is forgotten.
    pub fn after(&self, before: Option<&Position>, topic: &str) -> (Position, bool) {
        let same = |p: &&Position| !self.is_elsewhere(p);
        let resume = |p: &Position| self.stretch.as_ref()?.resume(p.clone(), topic, self.to);
        match before.filter(same).and_then(resume) {
            Some(after) => (after, true),
            // In whatever topic has the name now. At its beginning too: that may be the middle of a chain, where the records before
            // it have expired, or where the topic was copied from another.
            None => {
                let (topic_id, generation) = (self.topic_id.clone(), before.map_or(0, |before| before.generation));
                (Position { next_offset: self.to, midway: true, topic_id, generation, ..Position::default() }, false)
            }
        }
    }

    /// The same, as the beginning of a replay of what `before` has read: none where there is nothing to be read again.
    pub fn again(&self, before: &Position, in_ten_seconds: Option<NonZeroU32>) -> Option<Position> {
        if self.to >= before.next_offset || self.is_elsewhere(before) {
            return None;
        }
        let (topic_id, generation) = (self.topic_id.clone(), before.generation.saturating_add(1));
        let replay = Some(Replay { until: before.next_offset, in_ten_seconds });
        Some(Position { next_offset: self.to, midway: true, topic_id, generation, replay, ..Position::default() })
    }

    /// What that changes in a partition whose reader is at `before`.
    pub fn change(&self, topic: &str, partition: i32, before: Option<&Position>) -> Change {
        Change {
            topic: topic.to_owned(),
            partition,
            from: before.map(|p| p.next_offset),
            to: self.to,
            skipped: self.skipped.clone(),
            repeated: self.repeated.clone(),
            chains_kept: self.after(before, topic).1,
            recreated: before.is_some_and(|before| self.is_elsewhere(before)),
        }
    }
}

/// How many partitions there are, and the goal of each that is asked for. Blocks.
pub(super) fn goals(question: &Question) -> Result<(i32, BTreeMap<i32, Goal>), Error> {
    let Question { kafka, topic, partition, to, mapping, before } = question;
    let failed = |source| Error::Kafka { topic: topic.to_owned(), source };
    let client = kafka.client(&[("group.id", "farandole-position"), ("enable.auto.commit", "false")]);
    let consumer: BaseConsumer<Ear> = identity::hearing(&client).create_with_context(Ear::default()).map_err(failed)?;
    // All topics: a question for one by name makes it, where brokers make topics by themselves.
    let metadata = consumer.fetch_metadata(None, ANSWER).map_err(failed)?;
    let count = metadata.topics().iter().find(|t| t.name() == topic && t.error().is_none()).map_or(0, |t| t.partitions().len());
    let all = i32::try_from(count).unwrap_or(i32::MAX);
    if all == 0 || partition.is_some_and(|p| !(0..all).contains(&p)) {
        return Err(Error::Nothing { topic: topic.to_owned(), count, partition: *partition });
    }
    let topic_id = id(&consumer, topic).map_err(failed)?;
    let reader = Client::new(&client, View::Committed).map_err(Error::Reading)?;
    let one = |partition: i32| {
        let (low, high) = consumer.fetch_watermarks(topic, partition, ANSWER).map_err(failed)?;
        let whole = Extent { topic: topic.to_owned(), partition, low, high };
        let before = before.get(&partition);
        let topic_id = topic_id.clone();
        let to = match to {
            To::Start(start) => begin::offset(&consumer, topic, partition, *start).map_err(failed)?,
            To::Number(number) => numbered(&reader, &whole, *number).map_err(Error::Reading)?,
            To::Offset(to) if (low..=high).contains(to) => *to,
            To::Offset(to) => return Err(Error::Outside { topic: topic.to_owned(), partition, low, high, to: *to }),
        };
        // However it was said: what lies between is looked at, if that isn't much.
        let stretch = before.map(|before| Stretch::read(&reader, whole.clone(), before.next_offset, to)).transpose();
        let stretch = stretch.map_err(Error::Reading)?.flatten();
        let mut goal = Goal { to, topic_id, stretch, skipped: None, repeated: None };
        // What is before it in another topic, or was never read, is skipped from the beginning on.
        let from = before.filter(|before| !goal.is_elsewhere(before)).map_or(low, |before| before.next_offset);
        let passage = |from, to| Passage::read(&reader, &whole, from, to, mapping.as_ref()).map(Some).map_err(Error::Reading);
        match from.cmp(&to) {
            std::cmp::Ordering::Less => goal.skipped = passage(from, to)?,
            std::cmp::Ordering::Greater => goal.repeated = passage(to, from)?,
            std::cmp::Ordering::Equal => {}
        }
        Ok((partition, goal))
    };
    let goals = match *partition {
        Some(partition) => BTreeMap::from([one(partition)?]),
        None => (0..all).map(one).collect::<Result<_, _>>()?,
    };
    Ok((all, goals))
}

/// The offset of the first record of `number` or more; the end, if there is none. Record by record: sources number for themselves.
fn numbered(reader: &Client, whole: &Extent, number: i64) -> Result<i64, extent::Error> {
    let mut found = whole.high;
    reader.lend(std::slice::from_ref(whole), |record| {
        let reached = record.link().ok().flatten().is_some_and(|(_, link)| link.place.number >= number);
        found = if reached { record.offset } else { found };
        Ok(!reached)
    })?;
    Ok(found)
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
