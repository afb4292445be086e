//! Identifies topics by id: a topic that is deleted and created again under its name is another one, and positions in the old one
//! are invalid in the new.
//!
//! **Where from.** Brokers give each topic an id, and the client notices when a name's id changes, but tells nobody: it goes on in
//! the new topic at the old offset. It says so in its debug log alone, which is why that is on for metadata, and read here. The line
//! for a topic that the client meets for the first time is the same, with an id of nothing but `A` before.
//!
//! **Not for topics**, although the line belongs to both: what the client says of those it says also where it takes its last hold of a
//! partition away, which may be in the queue that is polled, with that queue locked; the line is put into the same queue and waits for
//! the lock for ever. A consumer whose topic was deleted hung like that. So users can't turn that on either (`properties`), and
//! the intake looks whether the client's calls come back (`pulse`).
//!
//! **How it fails.** With brokers before 2.8, or a client that words it otherwise, no id is known, and nothing is compared; a test
//! holds the words up. The chain rule still notices that a chain begins anew.

use std::collections::HashMap;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Mutex, PoisonError};

use rdkafka::client::ClientContext;
use rdkafka::config::{ClientConfig, RDKafkaLogLevel};
use rdkafka::consumer::ConsumerContext;

/// The context of the client's debug log that has the ids.
pub const DEBUG: &str = "metadata";
/// And the facility.
pub const FACILITY: &str = "METADATA";

/// The ids of topics, as the client has them.
#[derive(Debug, Default)]
pub struct Ids {
    of: Mutex<HashMap<String, String>>,
    changed: AtomicBool,
    /// A topic that was known has got another id.
    another: AtomicBool,
}

impl Ids {
    /// Takes a line of the client's log. Called before anything is fetched under a new id.
    pub fn hear(&self, line: &str) {
        let Some((topic, id)) = said(line) else { return };
        let before = self.of.lock().unwrap_or_else(PoisonError::into_inner).insert(topic.to_owned(), id.to_owned());
        if before.as_deref() != Some(id) {
            self.another.fetch_or(before.is_some(), Ordering::AcqRel);
            self.changed.store(true, Ordering::Release);
        }
    }

    /// The id of `topic`, if it is known.
    pub fn of(&self, topic: &str) -> Option<String> {
        self.of.lock().unwrap_or_else(PoisonError::into_inner).get(topic).cloned()
    }

    /// Whether any topic has ever got another id than it had.
    pub fn is_any_another(&self) -> bool {
        self.another.load(Ordering::Acquire)
    }

    /// Whether an id has become known, or another, since the last call.
    pub fn have_changed(&self) -> bool {
        self.changed.load(Ordering::Acquire) && self.changed.swap(false, Ordering::AcqRel)
    }
}

/// Topic and id of `… Topic <topic> changed id from <id> to <id>`.
fn said(line: &str) -> Option<(&str, &str)> {
    let (before, after) = line.split_once(" changed id from ")?;
    let (_, topic) = before.rsplit_once("Topic ")?;
    let (_, id) = after.trim_end().split_once(" to ")?;
    Some((topic, id))
}

/// Hears the ids of topics, and logs what else the client says.
#[derive(Debug, Default)]
pub struct Ear(pub Ids);

impl ClientContext for Ear {
    fn log(&self, level: RDKafkaLogLevel, facility: &str, message: &str) {
        match level {
            RDKafkaLogLevel::Debug if facility == FACILITY => self.0.hear(message),
            RDKafkaLogLevel::Debug | RDKafkaLogLevel::Info | RDKafkaLogLevel::Notice => {
                tracing::trace!(facility, message, "Kafka client");
            }
            _ => tracing::warn!(facility, message, "Kafka client"),
        }
    }
}

impl ConsumerContext for Ear {}

/// `client`, with the log that has the ids.
pub fn hearing(client: &ClientConfig) -> ClientConfig {
    let mut hearing = client.clone();
    let debug = client.get("debug").map_or_else(|| DEBUG.to_owned(), |theirs| format!("{DEBUG},{theirs}"));
    hearing.set("debug", debug).set_log_level(RDKafkaLogLevel::Debug);
    hearing
}

#[cfg(test)]
mod tests {
    use super::*;

    /// What the kit turns on is what users may.
    #[test]
    fn what_is_turned_on_hangs_nothing() {
        let properties = std::collections::BTreeMap::from([("debug".to_owned(), DEBUG.to_owned())]);
        assert!(crate::wire::properties::refused(&properties).is_empty());
    }

    #[test]
    fn ids_are_read_from_the_clients_words() {
        let ids = Ids::default();
        ids.hear("[thrd:main]: Topic shop.orders changed id from AAAAAAAAAAAAAAAAAAAAAA to q1BTxPYORiqEwTKjC7WNIQ");
        assert_eq!(ids.of("shop.orders").as_deref(), Some("q1BTxPYORiqEwTKjC7WNIQ"));
        assert!(ids.have_changed() && !ids.have_changed());
        ids.hear("[thrd:main]: Topic shop.orders changed id from AAAAAAAAAAAAAAAAAAAAAA to q1BTxPYORiqEwTKjC7WNIQ");
        ids.hear("[thrd:main]: Topic shop.orders [0] Leader 1 Epoch 0");
        assert!(!ids.have_changed() && !ids.is_any_another());
        ids.hear("[thrd:main]: Topic shop.orders changed id from q1BTxPYORiqEwTKjC7WNIQ to AQ");
        assert!(ids.have_changed() && ids.is_any_another());
    }
}
