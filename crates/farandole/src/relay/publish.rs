//! Numbering rows, linking them, and handing them to the producer.
//!
//! **Invariant:** what is published follows from the step alone: the rows of its batch in seq order, the numbers from its
//! `next`, the links from its `heads`, the partitions from its counts. The memory here is only how far that has got.
//!
//! - A fresh producer's first record in a partition goes alone. A broker takes the first batch of a producer that it doesn't
//!   know with any sequence number: if that batch were lost and a second one were under way, the second would be taken first.
//!   A partition that has been quiet for long counts as fresh, since brokers forget producers.
//! - A topic's partition count is in a step before the first record goes to it. Otherwise a crash and a changed count would
//!   send the same record to two partitions.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use sqlx::PgConnection;

use super::error::Error;
use super::headers::Writer;
use super::log::Log;
use super::partitions;
use super::produce::Producer;
use super::read::Row;
use super::state::{Head, State};
use crate::partitioner;

/// Brokers forget an idle producer after `producer.id.expiration.ms`, a day by default and rarely less than an hour.
const QUIET: Duration = Duration::from_secs(600);

/// How far a fresh producer is with a partition.
#[derive(Clone, Copy)]
enum Warmth {
    /// Nothing was sent, or not for long.
    Cold,
    /// The first record went out as this one of the producer's; nothing may follow before its acknowledgement.
    First(u64),
    Warm,
}

struct Lane {
    head: Option<Head>,
    warmth: Warmth,
    used: Instant,
}

struct Topic {
    name: String,
    count: i32,
    lanes: Vec<Lane>,
}

pub(crate) struct Publisher {
    pub log: Log,
    pub producer: Producer,
    /// As of the last row known to be acknowledged.
    pub state: State,
    headers: Writer,
    /// Few, and mostly the one of the row before: found by looking at each, that one first.
    topics: Vec<Topic>,
    last: usize,
    next: i64,
    published: BTreeMap<i64, i64>,
    now: Instant,
}

impl Publisher {
    pub(crate) fn new(service: &str, log: Log, producer: Producer, state: State) -> Self {
        let (next, published) = (state.next, state.published.clone());
        let (headers, topics, now) = (Writer::new(service), Vec::new(), Instant::now());
        let mut publisher = Self { log, producer, state, headers, topics, last: 0, next, published, now };
        for (topic, count) in publisher.state.partitions.clone() {
            publisher.add_topic(&topic, count);
        }
        publisher
    }

    /// Whether `topic`'s partition count is in a step.
    pub(crate) fn knows(&mut self, topic: &str) -> bool {
        self.find(topic).is_some()
    }

    fn find(&mut self, topic: &str) -> Option<usize> {
        if self.topics.get(self.last).is_none_or(|t| t.name != topic) {
            self.last = self.topics.iter().position(|t| t.name == topic)?;
        }
        Some(self.last)
    }

    /// Learns a topic's partition count; the caller takes the step.
    pub(crate) fn learn(&mut self, topic: &str, count: i32) {
        self.state.partitions.insert(topic.to_owned(), count);
        self.add_topic(topic, count);
    }

    fn add_topic(&mut self, topic: &str, count: i32) {
        let heads = self.state.heads.get(topic);
        let used = Instant::now();
        let lanes = (0..count).map(|p| Lane { head: heads.and_then(|h| h.get(&p)).copied(), warmth: Warmth::Cold, used });
        let topic = Topic { name: topic.to_owned(), count, lanes: lanes.collect() };
        self.topics.push(topic);
    }

    /// Publishes one row. Returns as soon as it is with the producer.
    pub(crate) async fn publish(&mut self, row: &Row<'_>) -> Result<(), Error> {
        let wanted = self.producer.wanted();
        if wanted > 0 {
            self.wait_for(wanted).await?;
        }
        let missing = || Error::NoTopic { topic: row.topic.to_owned() };
        let topic = self.find(row.topic).ok_or_else(missing)?;
        let partition = partitioner::partition(row.aggregate.as_bytes(), self.topics[topic].count);
        // `partition` is at least 0 and below the count, which is the number of lanes.
        let lane = partition.unsigned_abs() as usize;
        if let Warmth::First(at) = self.topics[topic].lanes[lane].warmth {
            if !self.producer.is_settled(at) {
                self.wait_for(self.producer.sent()).await?;
            }
            self.topics[topic].lanes[lane].warmth = Warmth::Warm;
        }
        let lane = &mut self.topics[topic].lanes[lane];
        let head = Head { l: self.state.lineage, n: self.next, id: row.id };
        let headers = self.headers.write(row, head.into(), lane.head.map(Into::into));
        self.producer.send(row.topic, partition, row.aggregate, row.payload, headers).await.map_err(|e| match e {
            Error::Produce { reason, .. } => Error::Row { seq: row.seq, id: row.id, reason },
            e => e,
        })?;
        if matches!(lane.warmth, Warmth::Cold) || self.now.duration_since(lane.used) > QUIET {
            lane.warmth = Warmth::First(self.producer.sent());
        }
        lane.used = self.now;
        lane.head = Some(head);
        self.next += 1;
        *self.published.entry(partitions::start_of(row.seq)).or_default() += 1;
        Ok(())
    }

    /// Waits until `target` records have been acknowledged, and keeps the lease meanwhile.
    pub(crate) async fn wait_for(&mut self, target: u64) -> Result<(), Error> {
        let began = Instant::now();
        while !self.producer.acknowledged(target, self.log.renew_every()).await? {
            if began.elapsed() > self.producer.patience() {
                return Err(self.producer.silent());
            }
            self.log.append(&mut self.state).await?;
        }
        Ok(())
    }

    /// The state once everything published so far, up to row `seq`, has been acknowledged.
    pub(crate) fn state_at(&self, seq: i64) -> State {
        let mut state = self.state.clone();
        state.next = self.next;
        state.published.clone_from(&self.published);
        for topic in &self.topics {
            let heads = topic.lanes.iter().enumerate().filter_map(|(p, lane)| Some((i32::try_from(p).ok()?, lane.head?)));
            state.heads.insert(topic.name.clone(), heads.collect());
        }
        if let Some(batch) = &mut state.in_flight {
            batch.after = seq;
        }
        state
    }

    /// The batch is out and acknowledged, up to row `seq`, which is its last. The next step says so.
    pub(crate) fn finish(&mut self, seq: i64) {
        self.state = self.state_at(seq);
        self.state.finish();
    }

    /// Looks at the clock, once a page.
    pub(crate) fn tick(&mut self) {
        self.now = Instant::now();
    }

    /// Takes the step that names the current state.
    pub(crate) async fn step(&mut self) -> Result<(), Error> {
        self.log.append(&mut self.state).await
    }

    /// Takes it on `conn`, lazily.
    pub(crate) async fn note(&mut self, conn: &mut PgConnection) -> Result<(), Error> {
        self.log.note(conn, &mut self.state).await
    }
}
