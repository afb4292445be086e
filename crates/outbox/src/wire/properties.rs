//! Which Kafka client properties a user may set.
//!
//! Most are: TLS, SASL, timeouts. Some are what guarantees rest on, or have a setting of ours; given by hand they would be ignored
//! without a word, or break what nobody would look for there. They are refused, with what to do instead.

use std::collections::BTreeMap;

use rdkafka::ClientConfig;
use rdkafka::config::RDKafkaLogLevel;
use rdkafka::consumer::BaseConsumer;
use rdkafka::error::KafkaError;
use rdkafka::producer::BaseProducer;

use crate::ground::secret::is_secret;

/// A property, the one value that changes nothing if there is one, and why no other is taken.
type Fixed = (&'static str, Option<&'static str>, &'static str);

/// From the list of what librdkafka 2.12 takes, with its other names for the same.
const FIXED: [Fixed; 31] = [
    ("bootstrap.servers", None, "it is `kafka.bootstrap`"),
    ("metadata.broker.list", None, "it is `kafka.bootstrap`"),
    ("group.id", None, "it is `intake.group`"),
    ("group.instance.id", None, "it is `intake.instance`"),
    ("group.protocol.type", Some("consumer"), "a group of another type can't be joined"),
    ("enable.auto.commit", Some("false"), POSITIONS),
    ("auto.commit.enable", Some("false"), POSITIONS),
    ("enable.auto.offset.store", Some("false"), POSITIONS),
    ("offset.store.method", Some("broker"), "lag tools read the group's progress from Kafka"),
    ("auto.offset.reset", Some("error"), "a position that the topic no longer holds needs an operator and must not be skipped"),
    ("isolation.level", Some("read_committed"), "records of aborted transactions never happened"),
    ("partition.assignment.strategy", Some("cooperative-sticky"), "partitions are assigned and revoked incrementally"),
    (
        "enable.partition.eof",
        Some("true"),
        "a partition may end in something that is not a record; lag and end-of-partition rely on the client's events",
    ),
    ("statistics.interval.ms", None, "lag and the watchdog for quiet partitions use the statistics"),
    ("enabled_events", Some("0"), "the kit relies on the events it enables"),
    ("topic.blacklist", None, "a hidden topic looks as if it didn't exist; the settings define which topics are read"),
    (
        "allow.auto.create.topics",
        Some("false"),
        "a missing topic must be noticed, and created with the configured number of partitions",
    ),
    ("acks", Some("all"), ACKNOWLEDGED),
    ("request.required.acks", Some("-1"), ACKNOWLEDGED),
    ("enable.idempotence", Some("true"), "a retry would publish twice, or out of order"),
    ("enable.gapless.guarantee", Some("true"), "no record may be sent after one that was refused"),
    ("queuing.strategy", Some("fifo"), "records are published in order"),
    ("transactional.id", None, "records are published outside Kafka's transactions"),
    ("delivery.timeout.ms", None, "it is `relay.delivery_timeout`"),
    ("message.timeout.ms", None, "it is `relay.delivery_timeout`"),
    ("delivery.report.only.error", Some("false"), "a batch is over when each of its records is reported as delivered"),
    ("message.max.bytes", None, "a record's size is bounded where it is appended, and by the brokers"),
    ("partitioner", Some("murmur2_random"), "keys go to partitions as the Java client sends them"),
    ("api.version.request", Some("true"), "by what brokers say of themselves records have headers, and no repetitions"),
    ("api.version.fallback.ms", Some("0"), "by what brokers say of themselves records have headers, and no repetitions"),
    ("internal.termination.signal", Some("0"), "signals are the program's"),
];

const POSITIONS: &str = "positions are kept in the database, in the transaction that applies a record";
const ACKNOWLEDGED: &str = "acknowledged records must survive the loss of a broker";

/// Properties whose numbers may be set, from the least that works on, and what would be without.
const LEAST: [(&str, i64, &str); 2] = [
    ("topic.metadata.refresh.interval.ms", 1, "new topics, partitions and leaders would never be noticed"),
    ("queue.buffering.max.kbytes", 2_048, "a record of the largest size would never fit into the queue"),
];

/// What is wrong with these properties, a sentence each: with one alone, else with what they come to beside the kit's own. `whole` is how
/// the kit's `what` is configured with them.
pub fn refused_by(what: &str, properties: &BTreeMap<String, String>, whole: impl FnOnce() -> ClientConfig) -> Vec<String> {
    let refused = refused(properties);
    if refused.is_empty() { clash(what, properties, &whole()).into_iter().collect() } else { refused }
}

/// What is wrong with each of these properties, a sentence each.
pub fn refused(properties: &BTreeMap<String, String>) -> Vec<String> {
    let fixed = |(name, value): (&String, &String)| {
        let Some((_, taken, why)) = FIXED.iter().find(|(fixed, _, _)| fixed == name) else {
            return unfit(name, value).or_else(|| too_small(name, value));
        };
        let changes = taken.is_none_or(|taken| !value.eq_ignore_ascii_case(taken));
        changes.then(|| format!("Kafka property `{name}` can't be set: {why}"))
    };
    let contexts = |debug: &String| debug.split(',').any(|context| ["all", "topic"].contains(&context.trim()));
    let hangs = properties.get("debug").filter(|debug| contexts(debug)).map(|debug| {
        format!(
            "Kafka property `debug` can't be `{debug}`: the client's topic log can deadlock it; choose other contexts, such as \
             `debug = \"broker,cgrp,fetch\"`"
        )
    });
    properties.iter().filter_map(fixed).chain(hangs).collect()
}

/// Why librdkafka takes no such property, or no such value of it.
fn unfit(name: &str, value: &str) -> Option<String> {
    let mut config = ClientConfig::new();
    config.set(name, value);
    let why = match config.create_native_config().err()? {
        // Its words repeat the value.
        KafkaError::ClientConfig(_, why, _, _) if !is_secret(name) => why,
        _ => "librdkafka refuses the value".to_owned(),
    };
    Some(format!("Kafka property `{name}` can't be set: {why}"))
}

fn too_small(name: &str, value: &str) -> Option<String> {
    let (_, least, why) = LEAST.iter().find(|(known, _, _)| *known == name)?;
    let small = value.trim().parse::<i64>().is_ok_and(|value| value < *least);
    small.then(|| format!("Kafka property `{name}` can't be set to {value}: {why}; at least {least}"))
}

/// Why no client can be made of what is set by hand, although each of it is taken alone: the client compares some with others, and with
/// the kit's own. No broker is asked.
fn clash(what: &str, properties: &BTreeMap<String, String>, whole: &ClientConfig) -> Option<String> {
    // Without those there is no trouble of theirs.
    if properties.is_empty() {
        return None;
    }
    let mut alone = whole.clone();
    alone.remove("bootstrap.servers");
    alone.remove("debug");
    alone.set_log_level(RDKafkaLogLevel::Emerg);
    let why = match made(&alone)? {
        KafkaError::ClientCreation(why) => why,
        other => other.to_string(),
    };
    // Those without which it could be made; if no single one is to blame, those that the words name, else all.
    let without = |name: &&String| {
        let mut rest = alone.clone();
        rest.remove(name);
        made(&rest).is_none()
    };
    let mut names: Vec<&String> = properties.keys().filter(without).collect();
    if names.is_empty() {
        names = properties.keys().filter(|name| why.contains(name.as_str())).collect();
    }
    if names.is_empty() {
        names = properties.keys().collect();
    }
    let names: Vec<String> = names.into_iter().map(|name| format!("`{name}`")).collect();
    let secret = properties.iter().any(|(name, value)| is_secret(name) && !value.is_empty() && why.contains(value.as_str()));
    let why = if secret { "librdkafka refuses the combination" } else { &why };
    Some(format!("Kafka properties {} conflict with what the {what} sets: {why}", names.join(", ")))
}

/// Why no client is to be had; one that is made is dropped at once.
fn made(config: &ClientConfig) -> Option<KafkaError> {
    if config.get("group.id").is_some() { config.create::<BaseConsumer>().err() } else { config.create::<BaseProducer>().err() }
}

/// Whether members of a consumer group are told by the broker what is theirs (KIP-848). Then sessions and the way of assigning are
/// the broker's, and a client that is given some refuses to start.
pub fn broker_assigns(properties: &BTreeMap<String, String>) -> bool {
    properties.get("group.protocol").is_some_and(|protocol| protocol.eq_ignore_ascii_case("consumer"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_hangs_the_client_is_refused() {
        let set = |debug: &str| refused(&BTreeMap::from([("debug".to_owned(), debug.to_owned())]));
        for hangs in ["topic", "all", "broker, topic", "cgrp,all"] {
            assert!(set(hangs).len() == 1 && set(hangs)[0].contains("choose other contexts"), "{hangs}");
        }
        for taken in ["broker,cgrp,fetch", "metadata"] {
            assert_eq!(set(taken), [""; 0], "{taken}");
        }
    }

    /// Guard: the list. Without, a relay repeats one batch for ever, a partition's end is never noticed, or topics are made by whoever asks.
    #[test]
    fn what_the_kit_rests_on_is_refused_under_each_of_its_names() {
        let set = |name: &str, value: &str| refused(&BTreeMap::from([(name.to_owned(), value.to_owned())]));
        for (name, value) in [
            ("delivery.report.only.error", "true"),
            ("enable.partition.eof", "false"),
            ("topic.blacklist", "orders"),
            ("allow.auto.create.topics", "true"),
            ("topic.metadata.refresh.interval.ms", "-1"),
            ("topic.metadata.refresh.interval.ms", "0"),
            ("queue.buffering.max.kbytes", "100"),
            ("metadata.broker.list", "elsewhere:9092"),
            ("request.required.acks", "1"),
            ("message.timeout.ms", "1000"),
            ("auto.commit.enable", "true"),
            ("partitioner", "random"),
            ("queuing.strategy", "lifo"),
            ("internal.termination.signal", "15"),
        ] {
            let why = set(name, value);
            assert!(why.len() == 1 && why[0].contains(&format!("`{name}` can't be set")), "{name}={value}: {why:?}");
        }
        for (name, value) in
            [("delivery.report.only.error", "false"), ("topic.metadata.refresh.interval.ms", "60000"), ("linger.ms", "5")]
        {
            assert_eq!(set(name, value), [""; 0], "{name}={value}");
        }
        // A name that the client doesn't know stands for nothing.
        let unknown = |name: &&str| {
            ClientConfig::new().set(*name, "1").create_native_config().is_err_and(|e| e.to_string().contains("No such"))
        };
        let unknown: Vec<&str> =
            FIXED.iter().map(|fixed| fixed.0).chain(LEAST.iter().map(|least| least.0)).filter(unknown).collect();
        assert_eq!(unknown, [""; 0]);
    }

    /// Guard: properties are tried together with the kit's own. Without, no client can be made, and who waits for one waits for ever.
    #[test]
    fn what_the_client_refuses_together_is_named() {
        let clash = |own: &[(&str, &str)], by_hand: &[(&str, &str)]| {
            let mut whole = ClientConfig::new();
            for (name, value) in own.iter().chain(by_hand) {
                whole.set(*name, *value);
            }
            let by_hand = by_hand.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect();
            assert_eq!(refused(&by_hand), [""; 0]);
            super::clash("relay", &by_hand, &whole)
        };
        let group = ("group.id", "g");
        assert_eq!(clash(&[group], &[("session.timeout.ms", "7000"), ("linger.ms", "1")]), None);
        let why = clash(&[group], &[("max.poll.interval.ms", "10"), ("linger.ms", "1")]).unwrap();
        assert!(why.contains("properties `max.poll.interval.ms` conflict with"), "{why}");
        let why = clash(&[("enable.idempotence", "true")], &[("max.in.flight", "50"), ("client.id", "x")]).unwrap();
        assert!(why.contains("properties `max.in.flight` conflict with") && why.contains("max.in.flight"), "{why}");
    }
}
