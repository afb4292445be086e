//! Handing rows to the producer, as [`numbers`](super::numbers) says.
//!
//! - A fresh producer's first record in a partition goes alone. A broker takes the first batch of a producer that it doesn't
//!   know with any sequence number: if that batch were lost and a second one were under way, the second would be taken first.
//!   A partition that has been quiet for long counts as fresh, since brokers forget producers.
//! - A topic's partition count is in a step before the first record goes to it. Otherwise a crash and a changed count would
//!   send the same record to two partitions.

use std::time::{Duration, Instant};

use sqlx::PgConnection;

use crate::publish::relay::error::Error;
use crate::publish::relay::headers::Writer;
use crate::publish::relay::log::Log;
use crate::publish::relay::numbers::Numbers;
use crate::publish::relay::produce::Producer;
use crate::publish::relay::read::RowRef;
use crate::publish::relay::state::State;

/// Brokers forget an idle producer after `producer.id.expiration.ms`, a day by default and rarely less than an hour.
const QUIET: Duration = Duration::from_secs(600);

/// How far a fresh producer is with a partition.
#[derive(Clone, Copy)]
enum ProducerWarmup {
    /// Nothing was sent, or not for long.
    Cold,
    /// The first record went out as this one of the producer's; nothing may follow before its acknowledgement.
    First(u64),
    Warm,
}

struct Lane {
    warmth: ProducerWarmup,
    used: Instant,
}

pub struct Publisher {
    pub log: Log,
    pub producer: Producer,
    /// As of the last row known to be acknowledged.
    pub state: State,
    /// As of the last row handed over.
    numbers: Numbers,
    headers: Writer,
    /// By topic, in the order of `numbers`, and partition.
    lanes: Vec<Vec<Lane>>,
    now: Instant,
}

impl Publisher {
    pub fn new(service: &str, log: Log, producer: Producer, state: State) -> Self {
        let (numbers, headers, now) = (Numbers::of(&state), Writer::new(state.source(service)), Instant::now());
        let lanes = numbers.counts().map(cold).collect();
        Self { log, producer, state, numbers, headers, lanes, now }
    }

    /// Whether `topic`'s partition count is in a step.
    pub fn knows(&mut self, topic: &str) -> bool {
        self.numbers.knows(topic)
    }

    /// Learns a topic's partition count; the caller takes the step.
    pub fn learn(&mut self, topic: &str, count: i32) {
        self.state.partitions.insert(topic.to_owned(), count);
        self.numbers.learn(topic, count, None);
        self.lanes.push(cold(count));
    }

    /// Publishes one row. Returns as soon as it is with the producer.
    pub async fn publish(&mut self, row: &RowRef<'_>) -> Result<(), Error> {
        let wanted = self.producer.wanted();
        if wanted > 0 {
            self.wait_for(wanted).await?;
        }
        let missing = || Error::NoTopic { topic: row.topic.to_owned() };
        let given = self.numbers.peek(row.topic, row.aggregate.as_bytes(), row.id).ok_or_else(missing)?;
        if let ProducerWarmup::First(at) = self.lanes[given.topic][given.lane()].warmth {
            if !self.producer.is_settled(at) {
                self.wait_for(self.producer.sent()).await?;
            }
            self.lanes[given.topic][given.lane()].warmth = ProducerWarmup::Warm;
        }
        let headers = self.headers.write(row, given.head.into(), given.previous.map(Into::into));
        self.producer.send(row.topic, given.partition, row.aggregate, row.payload, headers).await.map_err(|e| match e {
            Error::Produce { reason, .. } => Error::Row { seq: row.seq, id: row.id, reason },
            e => e,
        })?;
        let lane = &mut self.lanes[given.topic][given.lane()];
        if matches!(lane.warmth, ProducerWarmup::Cold) || self.now.duration_since(lane.used) > QUIET {
            lane.warmth = ProducerWarmup::First(self.producer.sent());
        }
        lane.used = self.now;
        self.numbers.give(&given, row.seq);
        Ok(())
    }

    /// Waits until `target` records have been acknowledged, and keeps the lease meanwhile.
    pub async fn wait_for(&mut self, target: u64) -> Result<(), Error> {
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
    pub fn state_at(&self, seq: i64) -> State {
        self.numbers.state_at(&self.state, seq)
    }

    /// The batch is out and acknowledged, up to row `seq`, which is its last. The next step says so.
    pub fn finish(&mut self, seq: i64) {
        self.state = self.state_at(seq);
        self.state.finish();
    }

    /// Looks at the clock, once a page.
    pub fn tick(&mut self) {
        self.now = Instant::now();
    }

    /// Takes the step that names the current state.
    pub async fn step(&mut self) -> Result<(), Error> {
        self.log.append(&mut self.state).await
    }

    /// Takes it on `conn`, lazily.
    pub async fn note(&mut self, conn: &mut PgConnection) -> Result<(), Error> {
        self.log.note(conn, &mut self.state).await
    }
}

fn cold(count: i32) -> Vec<Lane> {
    let used = Instant::now();
    (0..count).map(|_| Lane { warmth: ProducerWarmup::Cold, used }).collect()
}
