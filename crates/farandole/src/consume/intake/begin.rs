//! Where a partition begins that has no position yet.

use std::time::Duration;

use rdkafka::consumer::{BaseConsumer, Consumer as _, ConsumerContext};
use rdkafka::error::KafkaResult;
use rdkafka::topic_partition_list::{Offset, TopicPartitionList};

use crate::wire::per_topic::Start;

/// How long a broker may take to say what a partition holds.
pub(super) const ANSWER: Duration = Duration::from_secs(5);

/// The offset of the first record to read; of [`Start::Earliest`] the first that the topic still has.
pub(super) fn offset<C: ConsumerContext>(
    consumer: &BaseConsumer<C>,
    topic: &str,
    partition: i32,
    start: Start,
) -> KafkaResult<i64> {
    // Before anything else is asked: what comes meanwhile is later than any time that was asked for.
    let (low, high) = consumer.fetch_watermarks(topic, partition, ANSWER)?;
    let time = match start {
        Start::Earliest => return Ok(low),
        Start::Latest => return Ok(high),
        Start::At(time) => time.micros(),
    };
    // Kafka's times are milliseconds, and negative ones are orders.
    let millis = time.saturating_add(999).div_euclid(1_000).max(0);
    let mut asked = TopicPartitionList::new();
    asked.add_partition_offset(topic, partition, Offset::Offset(millis))?;
    let told = consumer.offsets_for_times(asked, ANSWER)?;
    let found = told.find_partition(topic, partition);
    if let Some(Err(error)) = found.as_ref().map(|found| found.error()) {
        return Err(error);
    }
    Ok(match found.map(|found| found.offset()) {
        Some(Offset::Offset(offset)) => offset,
        // Nothing is as late as that.
        _ => high,
    })
}
