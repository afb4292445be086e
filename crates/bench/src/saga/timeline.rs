//! What the topics tell of each order afterwards: when each step was decided, by the database's clock, and which time its record has.
//!
//! Topics are read record by record and only times are kept, for there are hundreds of thousands of orders.

use std::collections::{BTreeMap, HashMap};
use std::time::{Duration, Instant};

use anyhow::{Context as _, bail, ensure};
use farandole::Timestamp;
use farandole::record::Record;
use farandole_cli::verify::{Report, Seen, Walk};
use rdkafka::Message as _;
use uuid::Uuid;

use super::watch::{header, order_of};
use crate::topics::{self, Ends};

/// Steps of an order until it is confirmed, in order.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Step {
    Placed,
    Reserved,
    Requested,
    Authorised,
    Confirmed,
}

/// All of them, with the type of the event that tells it.
const STEPS: [(&str, Step); 5] = [
    ("OrderPlaced", Step::Placed),
    ("StockReserved", Step::Reserved),
    ("PaymentRequested", Step::Requested),
    ("PaymentAuthorised", Step::Authorised),
    ("OrderConfirmed", Step::Confirmed),
];
/// How long a topic may give nothing although it has more.
const STILL: Duration = Duration::from_secs(60);

/// Times of one step, in microseconds since the epoch; 0 where it wasn't seen.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Times {
    /// When it was decided.
    pub decided: i64,
    /// The record's, to a millisecond: when it was sent, or when the broker wrote it.
    pub record: i64,
    /// How often it was told.
    pub told: u16,
}

/// One order's.
#[derive(Debug, Clone, Default)]
pub struct Order {
    steps: [Times; 5],
    /// That there is too little of an article.
    pub short: Times,
    /// Rejected or cancelled.
    pub refused: u16,
}

impl Order {
    /// Times of `step`.
    pub fn at(&self, step: Step) -> Times {
        self.steps[step as usize]
    }
}

/// What the topics tell.
#[derive(Debug, Default)]
pub struct Timeline {
    pub orders: HashMap<Uuid, Order>,
    /// How often each type was told.
    pub events: BTreeMap<String, u64>,
    /// Whether records have the broker's time instead of the sender's.
    pub is_brokers_time: bool,
}

impl Timeline {
    /// Reads the services' topics, whose names begin with `prefix`, from beginning to end. Blocks.
    ///
    /// # Errors
    /// When one can't be read, or its chain is broken.
    pub fn read(kafka: &str, prefix: &str, services: &[&str]) -> anyhow::Result<Self> {
        let mut timeline = Self::default();
        for topic in services {
            timeline.topic(kafka, &format!("{prefix}{topic}")).with_context(|| format!("reading {topic} back"))?;
        }
        Ok(timeline)
    }

    fn topic(&mut self, kafka: &str, topic: &str) -> anyhow::Result<()> {
        // Until here: a shop that delivers goes on writing.
        let (ends, consumer) = (Ends::of(kafka, topic)?.each()?, topics::reader(kafka, topic)?);
        let (mut left, mut moved) = (ends.values().sum::<i64>(), Instant::now());
        let mut walks: BTreeMap<i32, Walk> = BTreeMap::new();
        let mut record = Record::default();
        while left > 0 {
            let Some(message) = consumer.poll(Duration::from_millis(100)) else {
                ensure!(moved.elapsed() < STILL, "{left} records of {ends:?} didn't come");
                continue;
            };
            let message = message?;
            if ends.get(&message.partition()).is_none_or(|end| message.offset() >= *end) {
                continue;
            }
            (left, moved) = (left - 1, Instant::now());
            record.refill(&message);
            let walk = walks.entry(record.partition).or_insert_with(|| Walk::new(topic.to_owned(), false));
            walk.record(record.offset, Seen::of(record.link()));
            let kind = header(&message, "ce_type").and_then(|kind| kind.rsplit('.').next()).context("a record without a type")?;
            match self.events.get_mut(kind) {
                Some(count) => *count += 1,
                None => _ = self.events.insert(kind.to_owned(), 1),
            }
            let step = STEPS.iter().find(|(name, _)| *name == kind).map(|(_, step)| *step);
            let is_refused = ["OrderRejected", "OrderCancelled"].contains(&kind);
            let is_short = kind == "StockShort";
            if step.is_none() && !is_refused && !is_short {
                continue;
            }
            let order = self.orders.entry(order_of(&message).context("an order's key is its id")?).or_default();
            let times = match step {
                Some(step) => &mut order.steps[step as usize],
                None if is_short => &mut order.short,
                None => {
                    order.refused += 1;
                    continue;
                }
            };
            let decided = header(&message, "ce_time").and_then(Timestamp::parse).context("a record without a time")?;
            let millis = message.timestamp().to_millis().unwrap_or(0);
            self.is_brokers_time |= matches!(message.timestamp(), rdkafka::Timestamp::LogAppendTime(_));
            *times = Times { decided: decided.micros(), record: millis * 1_000, told: times.told + 1 };
        }
        let report = Report::of(topic, walks.into_values().collect());
        if report.violations > 0 {
            bail!("the chain of {topic} is broken: {:?}", report.examples);
        }
        Ok(())
    }
}
