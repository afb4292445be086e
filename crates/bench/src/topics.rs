//! Topics of the measurements: made, watched, read, removed.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use anyhow::Context as _;
use rdkafka::admin::{AdminClient, AdminOptions, NewTopic, TopicReplication};
use rdkafka::client::DefaultClientContext;
use rdkafka::config::ClientConfig;
use rdkafka::consumer::{BaseConsumer, Consumer as _};
use rdkafka::topic_partition_list::{Offset, TopicPartitionList};

use crate::events::PARTITIONS;

/// How long a broker may take to answer.
const ANSWER: Duration = Duration::from_secs(15);

fn client(kafka: &str) -> ClientConfig {
    let mut config = ClientConfig::new();
    // A group's name is asked for; nothing is ever committed under it.
    config.set("bootstrap.servers", kafka).set("group.id", "bench").set("enable.auto.commit", "false");
    config
}

fn admin(kafka: &str) -> anyhow::Result<AdminClient<DefaultClientContext>> {
    client(kafka).create().context("making a Kafka client")
}

/// Makes a topic of [`PARTITIONS`] partitions, and waits until each has a leader.
pub async fn make(kafka: &str, topic: &str) -> anyhow::Result<()> {
    let new = NewTopic::new(topic, PARTITIONS, TopicReplication::Fixed(1));
    let made = admin(kafka)?.create_topics([&new], &AdminOptions::new()).await.context("making a topic")?;
    for one in made {
        one.map_err(|(topic, code)| anyhow::anyhow!("making topic {topic}: {code}"))?;
    }
    let (ends, until) = (Ends::of(kafka, topic)?, Instant::now() + ANSWER);
    while let Err(error) = tokio::task::block_in_place(|| ends.each()) {
        if Instant::now() > until {
            return Err(error);
        }
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    Ok(())
}

/// Removes topics, so that a long measurement doesn't fill the disk.
pub async fn remove(kafka: &str, topics: &[String]) -> anyhow::Result<()> {
    if !topics.is_empty() {
        let names: Vec<&str> = topics.iter().map(String::as_str).collect();
        admin(kafka)?.delete_topics(&names, &AdminOptions::new()).await.context("removing topics")?;
    }
    Ok(())
}

/// How far a topic is filled, as the broker says.
pub struct Ends {
    consumer: BaseConsumer,
    topic: String,
}

impl Ends {
    /// Those of `topic`.
    pub fn of(kafka: &str, topic: &str) -> anyhow::Result<Self> {
        Ok(Self { consumer: client(kafka).create().context("making a Kafka client")?, topic: topic.to_owned() })
    }

    /// Records of each partition.
    pub fn each(&self) -> anyhow::Result<BTreeMap<i32, i64>> {
        (0..PARTITIONS)
            .map(|partition| {
                let ends = self.consumer.fetch_watermarks(&self.topic, partition, ANSWER);
                let (_, end) = ends.with_context(|| format!("asking for the end of {}/{partition}", self.topic))?;
                Ok((partition, end))
            })
            .collect()
    }

    /// Records of all of them.
    pub fn total(&self) -> anyhow::Result<u64> {
        Ok(self.each()?.values().map(|end| end.unsigned_abs()).sum())
    }
}

/// A consumer of all of `topic`, from its beginning, that waits for no second record once it has one.
pub fn reader(kafka: &str, topic: &str) -> anyhow::Result<BaseConsumer> {
    let mut config = client(kafka);
    config.set("fetch.min.bytes", "1").set("fetch.wait.max.ms", "500").set("socket.nagle.disable", "true");
    let consumer: BaseConsumer = config.create().context("making a consumer")?;
    let mut list = TopicPartitionList::new();
    for partition in 0..PARTITIONS {
        list.add_partition_offset(topic, partition, Offset::Beginning)?;
    }
    consumer.assign(&list).context("assigning partitions")?;
    Ok(consumer)
}
