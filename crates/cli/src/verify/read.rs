//! Reading a topic to its end, as it was when the reading began.

use std::collections::HashMap;
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context as _, bail};
use farandole::record::Record;
use indicatif::{ProgressBar, ProgressStyle};
use rdkafka::config::ClientConfig;
use rdkafka::consumer::{BaseConsumer, Consumer as _};
use rdkafka::error::KafkaError;
use rdkafka::topic_partition_list::{Offset, TopicPartitionList};

use super::{Report, Seen, Walk};

/// How long a broker may take to answer a question.
const ANSWER: Duration = Duration::from_secs(15);
/// How long reading may stand still before it is given up.
const STILL: Duration = Duration::from_secs(30);
/// Records between two looks at the progress bar.
const TICK: u64 = 1_000;

/// A partition and the offsets that are to be read of it.
#[derive(Debug, Clone, Copy)]
struct Part {
    id: i32,
    low: i64,
    high: i64,
}

/// Walks every partition of `topic`, as many at a time as there are cores.
///
/// # Errors
/// When there is no such topic, or it can't be read to its end.
pub fn topic(bootstrap: &str, properties: &[(String, String)], topic: &str, progress: bool) -> anyhow::Result<Report> {
    let mut config = ClientConfig::new();
    config.set("client.id", "farandole-verify").set("fetch.max.bytes", "16777216").set("queued.max.messages.kbytes", "32768");
    for (name, value) in properties {
        config.set(name, value);
    }
    config
        .set("bootstrap.servers", bootstrap)
        // A name that librdkafka wants for its consumer; nothing is ever committed under it.
        .set("group.id", "farandole-verify")
        .set("enable.auto.commit", "false")
        // The last offset may be a transaction's marker, which is no record.
        .set("enable.partition.eof", "true")
        .set("auto.offset.reset", "error");
    let parts = parts(&config, topic)?;
    let total: i64 = parts.iter().map(|p| p.high - p.low).sum();
    let bar = if progress { ProgressBar::new(u64::try_from(total).unwrap_or(0)) } else { ProgressBar::hidden() };
    let style = ProgressStyle::with_template("{wide_bar} {percent:>3} %  {per_sec}  {eta} left");
    bar.set_style(style.unwrap_or_else(|_| ProgressStyle::default_bar()));
    let threads = thread::available_parallelism().map_or(1, usize::from).min(parts.len()).max(1);
    let shares: Vec<Vec<Part>> = (0..threads).map(|n| parts.iter().copied().skip(n).step_by(threads).collect()).collect();
    let walks = thread::scope(|scope| {
        let readers: Vec<_> = shares.iter().map(|share| scope.spawn(|| read(&config, topic, share, &bar))).collect();
        readers.into_iter().map(|r| r.join().unwrap_or_else(|_| bail!("a reader panicked"))).collect::<anyhow::Result<Vec<_>>>()
    })?;
    bar.finish_and_clear();
    Ok(Report::of(topic, walks.into_iter().flatten().collect()))
}

fn parts(config: &ClientConfig, topic: &str) -> anyhow::Result<Vec<Part>> {
    let consumer: BaseConsumer = config.create().context("making a Kafka consumer")?;
    let metadata = consumer.fetch_metadata(Some(topic), ANSWER).context("asking the brokers for the topic")?;
    let described = metadata.topics().first().filter(|t| t.error().is_none() && !t.partitions().is_empty());
    let Some(described) = described else { bail!("there is no topic {topic:?}; is its prefix part of the name?") };
    let mut parts = Vec::new();
    for partition in described.partitions() {
        let id = partition.id();
        let ends = consumer.fetch_watermarks(topic, id, ANSWER);
        let (low, high) = ends.with_context(|| format!("asking for the ends of {topic}/{id}"))?;
        parts.push(Part { id, low, high });
    }
    Ok(parts)
}

fn read(config: &ClientConfig, topic: &str, parts: &[Part], bar: &ProgressBar) -> anyhow::Result<Vec<Walk>> {
    let mut walks: HashMap<i32, Walk> = HashMap::new();
    // Partitions that aren't read to their end yet, and that end.
    let mut open: HashMap<i32, i64> = HashMap::new();
    let mut list = TopicPartitionList::new();
    for part in parts {
        walks.insert(part.id, Walk::new(format!("{topic}/{}", part.id), part.low > 0));
        if part.high > part.low {
            open.insert(part.id, part.high);
            list.add_partition_offset(topic, part.id, Offset::Offset(part.low))?;
        }
    }
    if open.is_empty() {
        return Ok(walks.into_values().collect());
    }
    let consumer: BaseConsumer = config.create().context("making a Kafka consumer")?;
    consumer.assign(&list).context("assigning partitions")?;
    let (mut moved, mut ticks) = (Instant::now(), 0);
    while !open.is_empty() {
        let Some(message) = consumer.poll(Duration::from_millis(200)) else {
            if moved.elapsed() > STILL {
                bail!("{topic}: nothing has come for {} s, and {} partition(s) have more", STILL.as_secs(), open.len());
            }
            continue;
        };
        moved = Instant::now();
        if let Err(KafkaError::PartitionEOF(partition)) = message {
            open.remove(&partition);
            continue;
        }
        let record = Record::copy(&message.with_context(|| format!("reading {topic}"))?);
        let Some(high) = open.get(&record.partition).copied() else { continue };
        if record.offset < high
            && let Some(walk) = walks.get_mut(&record.partition)
        {
            walk.record(record.offset, Seen::of(record.link()));
            ticks += 1;
        }
        if record.offset + 1 >= high {
            open.remove(&record.partition);
        }
        if ticks >= TICK {
            bar.inc(std::mem::take(&mut ticks));
        }
    }
    Ok(walks.into_values().collect())
}
