//! Reading partitions from the brokers, on threads of their own.

use std::time::{Duration, Instant};

use rdkafka::config::ClientConfig;
use rdkafka::consumer::{BaseConsumer, Consumer as _};
use rdkafka::error::KafkaError;
use rdkafka::message::Message as _;
use rdkafka::topic_partition_list::{Offset, TopicPartitionList};
use tokio::sync::mpsc;

use super::Error;
use crate::record::Record;
use crate::relay;

/// For one answer of a broker.
const PATIENCE: Duration = Duration::from_secs(10);
/// Records handed on at once, and their bytes: with [`WAITING`] and what the client fetches ahead (4 MiB) all the memory used.
const RECORDS: usize = 500;
const BYTES: usize = 1 << 20;
/// Batches read ahead.
const WAITING: usize = 2;
/// A stretch of this many offsets is read from its beginning rather than halved again.
const STRETCH: i64 = 20_000;

/// What a partition holds: offsets from `low` up to `high`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Extent {
    pub topic: String,
    pub partition: i32,
    pub low: i64,
    pub high: i64,
}

/// Partition counts and extents of `topics`, those that aren't there left out.
pub(super) async fn extents(kafka: ClientConfig, topics: Vec<String>) -> Result<Vec<Extent>, Error> {
    blocking("asking what the topics hold", move |doing| {
        let consumer = consumer(&kafka, doing)?;
        let mut extents = Vec::new();
        for topic in topics {
            let metadata = consumer.fetch_metadata(Some(&topic), PATIENCE).map_err(Error::kafka(doing))?;
            let count =
                metadata.topics().iter().filter(|t| t.name() == topic && t.error().is_none()).map(|t| t.partitions().len()).sum();
            let count: usize = count;
            for partition in 0..i32::try_from(count).unwrap_or(i32::MAX) {
                let (low, high) = consumer.fetch_watermarks(&topic, partition, PATIENCE).map_err(Error::kafka(doing))?;
                extents.push(Extent { topic: topic.clone(), partition, low, high });
            }
        }
        Ok(extents)
    })
    .await
}

/// An offset at or before the first record of `source` that has a number of `number` or more: numbers grow along a partition, but
/// for repetitions, so stretches are halved.
pub(super) async fn before(kafka: ClientConfig, extent: Extent, source: String, number: i64) -> Result<i64, Error> {
    blocking("looking for where to begin", move |doing| {
        let consumer = consumer(&kafka, doing)?;
        let (mut low, mut high) = (extent.low, extent.high);
        while high - low > STRETCH {
            let middle = low + (high - low) / 2;
            let mut probe = None;
            each(&consumer, &extent, middle, high, doing, |record| {
                let ours = record.link().ok().flatten().filter(|(of, _)| *of == source);
                probe = ours.map(|(_, link)| (record.offset, link.place.number));
                Ok(probe.is_none())
            })?;
            match probe {
                Some((offset, found)) if found < number => low = offset,
                _ => high = middle,
            }
        }
        Ok(low)
    })
    .await
}

/// The records of a partition from offset `from` up to its high end, in batches.
pub(super) fn records(kafka: ClientConfig, extent: Extent, from: i64) -> mpsc::Receiver<Result<Vec<Record>, Error>> {
    let (batches, receiver) = mpsc::channel(WAITING);
    tokio::task::spawn_blocking(move || {
        let doing = "reading a topic";
        let (mut batch, mut bytes) = (Vec::new(), 0);
        let read = consumer(&kafka, doing).and_then(|consumer| {
            each(&consumer, &extent, from, extent.high, doing, |record| {
                bytes += record.size();
                batch.push(record);
                if batch.len() < RECORDS && bytes < BYTES {
                    return Ok(true);
                }
                bytes = 0;
                // Who reads has gone: nobody waits for the rest.
                Ok(batches.blocking_send(Ok(std::mem::take(&mut batch))).is_ok())
            })
        });
        let last = read.map(|()| batch);
        if !matches!(&last, Ok(batch) if batch.is_empty()) {
            let _ = batches.blocking_send(last); // as above
        }
    });
    receiver
}

async fn blocking<T: Send + 'static>(
    doing: &'static str,
    work: impl FnOnce(&'static str) -> Result<T, Error> + Send + 'static,
) -> Result<T, Error> {
    tokio::task::spawn_blocking(move || work(doing)).await.map_err(|_| Error::Relay(relay::Error::Thread { doing }))?
}

fn consumer(kafka: &ClientConfig, doing: &'static str) -> Result<BaseConsumer, Error> {
    let mut kafka = kafka.clone();
    kafka
        .set("group.id", "farandole-heal")
        .set("enable.auto.commit", "false")
        .set("enable.partition.eof", "true")
        .set("auto.offset.reset", "error")
        .set("fetch.wait.max.ms", "10")
        .set("queued.max.messages.kbytes", "4096")
        .set("check.crcs", "true")
        // Producer properties mean nothing to a consumer, which would only warn about them.
        .set("log_level", "3");
    kafka.create().map_err(Error::kafka(doing))
}

/// Calls `take` for each record in `from..to` until it says false.
fn each(
    consumer: &BaseConsumer,
    extent: &Extent,
    from: i64,
    to: i64,
    doing: &'static str,
    mut take: impl FnMut(Record) -> Result<bool, Error>,
) -> Result<(), Error> {
    if from >= to {
        return Ok(());
    }
    let mut list = TopicPartitionList::new();
    list.add_partition_offset(&extent.topic, extent.partition, Offset::Offset(from)).map_err(Error::kafka(doing))?;
    consumer.assign(&list).map_err(Error::kafka(doing))?;
    let mut heard = Instant::now();
    loop {
        match consumer.poll(Duration::from_millis(100)) {
            Some(Ok(message)) if message.offset() >= to => return Ok(()),
            Some(Ok(message)) => {
                let record = Record::copy(&message);
                let last = record.offset + 1 >= to;
                if !take(record)? || last {
                    return Ok(());
                }
                heard = Instant::now();
            }
            // What lies between the last record and the high end are marks that no client sees.
            Some(Err(KafkaError::PartitionEOF(_))) => return Ok(()),
            Some(Err(error)) => return Err(Error::kafka(doing)(error)),
            None if heard.elapsed() > PATIENCE => {
                return Err(Error::Relay(relay::Error::Silent { doing, seconds: PATIENCE.as_secs() }));
            }
            None => {}
        }
    }
}
