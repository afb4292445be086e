//! How the consumer's client is configured.

use rdkafka::config::ClientConfig;

use crate::consume::intake::{Config, lag};
use crate::wire::properties;

/// The kit's settings and the user's.
pub(super) fn config(config: &Config) -> ClientConfig {
    let mut client = ClientConfig::new();
    client
        .set("bootstrap.servers", &config.bootstrap)
        .set("group.id", &config.group)
        .set("client.id", &config.group)
        .set("enable.auto.commit", "false")
        .set("enable.auto.offset.store", "false")
        // What is behind the last record may be a transaction's marker, which is no record: see `lag`.
        .set("enable.partition.eof", "true")
        // Never skip or start over by itself: the position says where to read, and a position that the topic no longer has is
        // an error that somebody must look at.
        .set("auto.offset.reset", "error")
        // A service's memory is bounded by what it fetches ahead: 4 MiB is several batches of every partition.
        .set("queued.max.messages.kbytes", "4096")
        .set("queued.min.messages", "1000")
        .set("fetch.max.bytes", "2097152")
        .set("max.partition.fetch.bytes", "1048576")
        // After that much is queued, fetching pauses: at its own measure of a second, a full queue would be empty for most of it.
        .set("fetch.queue.backoff.ms", "20")
        // How long a topic that was just made, or a broker that came back, may stay unnoticed.
        .set("topic.metadata.refresh.interval.ms", "5000")
        .set("allow.auto.create.topics", "false")
        .set("reconnect.backoff.max.ms", "2000")
        .set("statistics.interval.ms", lag::EVERY_MS);
    if !properties::broker_assigns(&config.properties) {
        client.set("partition.assignment.strategy", "cooperative-sticky");
        client.set("session.timeout.ms", "10000").set("heartbeat.interval.ms", "2000");
    }
    if let Some(instance) = &config.instance {
        client.set("group.instance.id", instance);
    }
    for (name, value) in &config.properties {
        client.set(name, value);
    }
    client
}

/// What is wrong with the user's properties, a sentence each.
pub(crate) fn refused(of: &Config) -> Vec<String> {
    properties::refused_by("intake", &of.properties, || config(of))
}
