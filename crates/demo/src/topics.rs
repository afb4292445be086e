//! Reads the shop's topics from beginning to end.

use std::time::{Duration, Instant};

use anyhow::{Context as _, bail};
use farandole::Codec;
use farandole::chain::{Head, Verdict, judge};
use farandole::record::Record;
use rdkafka::config::ClientConfig;
use rdkafka::consumer::{BaseConsumer, Consumer as _};
use rdkafka::{Offset, TopicPartitionList};
use std::collections::BTreeMap;

farandole::messages! {
    /// Every event of the shop.
    pub enum Event {
        OrderPlaced(schemas::orders::OrderPlaced), OrderConfirmed(schemas::orders::OrderConfirmed),
        OrderRejected(schemas::orders::OrderRejected), OrderCancelled(schemas::orders::OrderCancelled),
        StockReceived(schemas::inventory::StockReceived), StockReserved(schemas::inventory::StockReserved),
        StockShort(schemas::inventory::StockShort), StockReleased(schemas::inventory::StockReleased),
        PaymentExpected(schemas::payments::PaymentExpected), PaymentRequested(schemas::payments::PaymentRequested),
        PaymentAuthorised(schemas::payments::PaymentAuthorised), PaymentDeclined(schemas::payments::PaymentDeclined),
        PaymentAbandoned(schemas::payments::PaymentAbandoned), VoidRequested(schemas::payments::VoidRequested),
        PaymentVoided(schemas::payments::PaymentVoided),
    }
}

/// Where an event stands, and when it happened.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct At {
    pub topic: &'static str,
    pub partition: i32,
    pub offset: i64,
    /// Microseconds since the epoch.
    pub time: i64,
    pub kind: &'static str,
}

/// How long reading may stand still before it is given up.
const STILL: Duration = Duration::from_secs(30);

/// Gives every event of `topic` to `each`, and says what is wrong with its chains.
pub async fn read(
    bootstrap: &str,
    prefix: &str,
    service: &'static str,
    codec: &Codec,
    mut each: impl FnMut(&Record, At, Event),
) -> anyhow::Result<Vec<String>> {
    let topic = &format!("{prefix}{service}");
    let consumer: BaseConsumer = ClientConfig::new()
        .set("bootstrap.servers", bootstrap)
        .set("group.id", "audit")
        .set("enable.auto.commit", "false")
        .set("enable.partition.eof", "false")
        .create()
        .context("making the audit's consumer")?;
    let wait = Duration::from_secs(10);
    let metadata = consumer.fetch_metadata(Some(topic), wait).with_context(|| format!("asking for topic {topic}"))?;
    let Some(described) = metadata.topics().first() else { bail!("there is no topic {topic}") };
    let mut list = TopicPartitionList::new();
    let mut left: BTreeMap<i32, i64> = BTreeMap::new();
    for partition in described.partitions() {
        let (low, high) =
            consumer.fetch_watermarks(topic, partition.id(), wait).with_context(|| format!("reading the ends of {topic}"))?;
        list.add_partition_offset(topic, partition.id(), Offset::Offset(low))?;
        if high > low {
            left.insert(partition.id(), high);
        }
    }
    consumer.assign(&list)?;
    let mut heads: BTreeMap<i32, Head> = BTreeMap::new();
    let mut faults = Vec::new();
    let mut moved = Instant::now();
    while !left.is_empty() {
        let Some(message) = consumer.poll(Duration::from_millis(200)) else {
            if moved.elapsed() > STILL {
                bail!("{topic}: nothing comes, though {} partition(s) have more", left.len());
            }
            continue;
        };
        let message = message.with_context(|| format!("reading {topic}"))?;
        moved = Instant::now();
        let record = Record::copy(&message);
        let place = format!("{topic}/{}@{}", record.partition, record.offset);
        if left.get(&record.partition).is_some_and(|high| record.offset + 1 >= *high) {
            left.remove(&record.partition);
        }
        match record.link() {
            Ok(Some((_, link))) => match judge(heads.get(&record.partition).copied(), link.place, link.previous) {
                Verdict::Apply => {
                    heads.insert(record.partition, Head { place: link.place, previous: link.previous });
                }
                // The same number again is what a crashed relay leaves behind; consumers drop it, and so does the audit.
                Verdict::Drop => continue,
                verdict => faults.push(format!("{place}: the chain is broken ({verdict:?})")),
            },
            Ok(None) => {
                faults.push(format!("{place}: no farandole header"));
                continue;
            }
            Err(fault) => faults.push(format!("{place}: {fault}")),
        }
        match event(codec, &record).await {
            Ok(event) => each(&record, at(service, &record, &event), event),
            Err(error) => faults.push(format!("{place}: {error:#}")),
        }
    }
    Ok(faults)
}

async fn event(codec: &Codec, record: &Record) -> anyhow::Result<Event> {
    use farandole::Message as _;
    codec.prepare(record.schema_id()).await?;
    let kind = record.header("ce_type").context("header ce_type is missing")?;
    let index = Event::find(kind).with_context(|| format!("unknown type {kind}"))?;
    Ok(Event::decode(index, codec, record.value.as_deref().context("no value")?)?)
}

fn at(topic: &'static str, record: &Record, event: &Event) -> At {
    use farandole::Message as _;
    let time = record.header("ce_time").and_then(farandole::Timestamp::parse).map_or(0, farandole::Timestamp::micros);
    let name = event.name();
    At { topic, partition: record.partition, offset: record.offset, time, kind: name.rsplit('.').next().unwrap_or(name) }
}
