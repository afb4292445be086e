//! Which properties of the Kafka clients are a user's to set.
//!
//! Most are: TLS, SASL, timeouts. Some are what guarantees rest on, or have a setting of ours; given by hand they would be ignored
//! without a word, or break what nobody would look for there. They are refused, with what to do instead.

use std::collections::BTreeMap;

use rdkafka::ClientConfig;
use rdkafka::error::KafkaError;

use crate::ground::secret::is_secret;

/// A property, the one value that changes nothing if there is one, and why no other is taken.
type Fixed = (&'static str, Option<&'static str>, &'static str);

const FIXED: [Fixed; 14] = [
    ("bootstrap.servers", None, "it is `kafka.bootstrap`"),
    ("group.id", None, "it is `intake.group`"),
    ("group.instance.id", None, "it is `intake.instance`"),
    ("enable.auto.commit", Some("false"), "positions are kept in the database, in the transaction that applies a record"),
    ("enable.auto.offset.store", Some("false"), "positions are kept in the database, in the transaction that applies a record"),
    ("auto.offset.reset", Some("error"), "a position that a topic no longer has must be looked at, and not be skipped"),
    ("isolation.level", Some("read_committed"), "records of aborted transactions never happened"),
    ("partition.assignment.strategy", Some("cooperative-sticky"), "partitions come and go one by one"),
    ("statistics.interval.ms", None, "lag and the watch over quiet partitions are made of the statistics"),
    ("acks", Some("all"), "what is acknowledged must outlast a broker"),
    ("enable.idempotence", Some("true"), "a retry would publish twice, or out of order"),
    ("enable.gapless.guarantee", Some("true"), "nothing may follow a record that was refused"),
    ("transactional.id", None, "records are published outside Kafka's transactions"),
    ("delivery.timeout.ms", None, "it is `relay.delivery_timeout`"),
];

/// What is wrong with these properties, a sentence each.
pub fn refused(properties: &BTreeMap<String, String>) -> Vec<String> {
    let fixed = |(name, value): (&String, &String)| {
        let Some((_, taken, why)) = FIXED.iter().find(|(fixed, _, _)| fixed == name) else { return unfit(name, value) };
        let changes = taken.is_none_or(|taken| !value.eq_ignore_ascii_case(taken));
        changes.then(|| format!("Kafka property `{name}` can't be set: {why}"))
    };
    let contexts = |debug: &String| debug.split(',').any(|context| ["all", "topic"].contains(&context.trim()));
    let hangs = properties.get("debug").filter(|debug| contexts(debug)).map(|debug| {
        format!(
            "Kafka property `debug` can't be `{debug}`: the client's words about topics can stop it for good; name other contexts, as \
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
        _ => "librdkafka doesn't take its value".to_owned(),
    };
    Some(format!("Kafka property `{name}` can't be set: {why}"))
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
            assert!(set(hangs).len() == 1 && set(hangs)[0].contains("name other contexts"), "{hangs}");
        }
        for taken in ["broker,cgrp,fetch", "metadata"] {
            assert_eq!(set(taken), [""; 0], "{taken}");
        }
    }
}
