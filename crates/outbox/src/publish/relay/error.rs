//! What can go wrong, and what to do about it.

use uuid::Uuid;

use crate::database::{step, surroundings};
use crate::ground::error::chain_of;
use crate::ground::trouble::{Trouble, Troubled as _};
use crate::wire::extent;

/// Why the relay stopped or waits.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// A topic's partition count isn't the one that its events were published with; keys would move.
    #[error(
        "topic {topic} has {broker} partitions, but its events were published to {fixed}: keys would move. Partitions can't be \
         removed, and the topic is the log of its service's state: recreate it with {fixed} partitions from a copy of its \
         records, each in its partition, in order, with key, value and headers. Don't delete it before you have that copy. Its \
         readers then report the offset up to which they had read the old topic: `positions set` to that offset continues them"
    )]
    PartitionCount {
        /// Which topic.
        topic: String,
        /// The count in the relay's state.
        fixed: i32,
        /// The broker's.
        broker: i32,
    },
    /// A partition ends in a record that this database doesn't know as its last: the database is older than the topic (a
    /// restored backup), or the topic lost its end (a lossy fail-over).
    #[error(
        "the last event of {service} in {topic}/{partition} is {found} in the topic and {expected} in this database, so \
         publishing would fork the log. Run `{service} heal`, or for an outbox in your own program `farandole heal --service \
         {service}`: it prints what it would do, which is to fold the missing records and open a new lineage. A service whose database was \
         lost, and made anew, gets back more by `{service} rebuild --from-nothing`"
    )]
    Continuity {
        /// Whose database and topic.
        service: String,
        /// Which topic.
        topic: String,
        /// Which partition.
        partition: i32,
        /// The id of the service's last record there, `none` when it has none.
        found: String,
        /// The id of the last record by the relay's state, `none` when there is none.
        expected: String,
    },
    /// A partition begins in the middle of the service's chain: what came before was lost.
    #[error(
        "the first event of {service} in {topic}/{partition}, {first}, follows one that the topic doesn't hold: the topic was deleted and \
         created again, or copied without its beginning. Run `{service} heal`, or for an outbox in your own program `farandole heal \
         --service {service}`: it prints what it would do, which is to publish what the topic lost again"
    )]
    Beginning {
        /// Whose events.
        service: String,
        /// Which topic.
        topic: String,
        /// Which partition.
        partition: i32,
        /// The id of the first event there.
        first: Uuid,
    },
    /// A topic got another id while it was published to.
    #[error("a topic was deleted and created again: comparing the topics with the database")]
    Recreated,
    /// The relay's snapshots come from another cluster and mean nothing here.
    #[error(
        "the relay's state was written in cluster {stored}, this is cluster {found} (a restored dump?), so its snapshots are \
         invalid here. Run `{service} heal`, or for an outbox in your own program `farandole heal --service {service}`: it \
         prints what it would do, which is to compare the outbox with the topics and publish what is missing"
    )]
    SystemIdentifier {
        /// Whose database it is.
        service: String,
        /// In the relay's state.
        stored: String,
        /// Of the server.
        found: String,
    },
    /// The database is another service's.
    #[error(
        "this database belongs to service `{owner}`, and `{service}` can't share it: give `{service}` a database of its own. \
         If `{service}` is `{owner}` renamed, restore the name: consumers know its events as those of `{owner}`"
    )]
    Owner {
        /// In its row.
        owner: String,
        /// Who asks.
        service: String,
    },
    /// The service would publish to another topic than before.
    #[error(
        "the events of this database are in topic {own}, the log of its state, but `{service}` is configured to continue in \
         {topic}. Restore its name or `topics.prefix`, or give it an empty database"
    )]
    OwnTopic {
        /// Who asks.
        service: String,
        /// Where it published until now.
        own: String,
        /// Where it would.
        topic: String,
    },
    /// The database's events were published under another source.
    #[error(
        "the events of this database are published as `{published}` (`ce_source`), and `{configured}` is asked for: consumers know them by \
         that, and would begin a second chain. Set `RelayConfig::source` (a service: `relay.source`) back, or leave it out, which \
         goes on as before"
    )]
    OtherSource {
        /// Until now.
        published: String,
        /// By the configuration.
        configured: String,
    },
    /// What is configured can't be a service's name.
    #[error("`RelayConfig::service` (`--service`) must be {want}: events are published under it, and it stays")]
    Name {
        /// What would be right.
        want: &'static str,
    },
    /// What is configured can't be a source.
    #[error("`RelayConfig::source` (a service: `relay.source`) must be {want}")]
    Source {
        /// What would be right.
        want: String,
    },
    /// A heal has begun and not ended.
    #[error(
        "a heal of this database is running or was interrupted: complete it with `{service} heal --execute`, or for an outbox \
         in your own program `farandole heal --service {service} --execute`"
    )]
    Healing {
        /// Whose database.
        service: String,
    },
    /// Step log: fenced, or in trouble.
    #[error("step log")]
    Step(#[from] step::Error),
    /// The database was in the way.
    #[error("{doing}")]
    Database {
        /// What the relay was doing.
        doing: &'static str,
        /// What the database said.
        #[source]
        source: sqlx::Error,
    },
    /// Server, database or role aren't as they must be.
    #[error("the database")]
    Surroundings(#[source] surroundings::Error),
    /// The database didn't answer in time.
    #[error("{doing}: no answer from the database within {seconds} s")]
    Silent {
        /// What the relay was asking it.
        doing: &'static str,
        /// How long it waited.
        seconds: u64,
    },
    /// The server is a stand-by; its snapshots aren't the primary's.
    #[error("the database is a standby: the relay publishes from the primary only")]
    Standby,
    /// Kafka was in the way.
    #[error("{doing}")]
    Kafka {
        /// What the relay was doing.
        doing: &'static str,
        /// What the client library said.
        #[source]
        source: rdkafka::error::KafkaError,
    },
    /// A topic can't be read.
    #[error("comparing the topics with the database")]
    Reading(#[from] extent::Error),
    /// Somebody of this process found another database than the one that was compared with the topics.
    #[error("the database was restarted, replaced or rolled back since it was compared with the topics: comparing again")]
    Doubted,
    /// A topic that the outbox names isn't there.
    #[error(
        "topic {topic} doesn't exist. A service's `migrate` creates its own topics, `topics::ensure` those of your own \
         program, `farandole relay --topic {topic} --create-topics` those of programs in other languages; create others by hand, or \
         correct the outbox rows that name it"
    )]
    NoTopic {
        /// Which topic.
        topic: String,
    },
    /// A property of the Kafka client that isn't the user's to set, or with which no client can be made.
    #[error("{why}")]
    Property {
        /// Which, and why.
        why: String,
    },
    /// A record wasn't acknowledged. The round ends and is read again.
    #[error("publishing to {topic}{record}: {reason}")]
    Produce {
        /// Which topic.
        topic: String,
        /// Which record of it, where that is known: partition, key and event.
        record: String,
        /// What the broker or the client library said.
        reason: String,
        /// What that is about.
        about: Trouble,
    },
    /// A row of the outbox can't be published.
    #[error("outbox row {seq} ({id}): {reason}")]
    Row {
        /// Its place in the outbox.
        seq: i64,
        /// Its id.
        id: Uuid,
        /// What is wrong with it.
        reason: String,
    },
    /// A blocking call of the client library panicked or was cancelled.
    #[error("{doing}: the helper thread ended early")]
    Thread {
        /// What the relay was doing.
        doing: &'static str,
    },
}

impl Error {
    /// Whether waiting can't help: somebody must act first.
    pub fn is_fatal(&self) -> bool {
        match self {
            Self::Surroundings(e) => !e.is_transient(),
            Self::Property { .. }
            | Self::OtherSource { .. }
            | Self::Source { .. }
            | Self::Name { .. }
            | Self::PartitionCount { .. }
            | Self::Continuity { .. }
            | Self::Beginning { .. }
            | Self::SystemIdentifier { .. }
            | Self::Owner { .. }
            | Self::OwnTopic { .. } => true,
            _ => false,
        }
    }

    /// Whether it is tried again, and only somebody can have it go better.
    pub fn needs_somebody(&self) -> bool {
        let about = match self {
            Self::Row { .. } | Self::NoTopic { .. } => Trouble::Person,
            Self::Produce { about, .. } => *about,
            Self::Kafka { source, .. } => source.trouble(),
            Self::Database { source, .. } => source.trouble(),
            _ => Trouble::Dependency,
        };
        about == Trouble::Person
    }

    /// Whether another relay took over.
    pub fn is_fenced(&self) -> bool {
        matches!(self, Self::Step(e) if e.is_fenced())
    }

    pub(crate) fn database(doing: &'static str) -> impl FnOnce(sqlx::Error) -> Self {
        move |source| Self::Database { doing, source }
    }

    pub(crate) fn kafka(doing: &'static str) -> impl FnOnce(rdkafka::error::KafkaError) -> Self {
        move |source| Self::Kafka { doing, source }
    }

    /// The error and its causes in one line.
    pub fn chain(&self) -> String {
        chain_of(self)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn who_was_silent_is_named() {
        let database = Error::Silent { doing: "taking a step", seconds: 30 };
        assert_eq!(database.chain(), "taking a step: no answer from the database within 30 s");
        // Brokers whose connections are taken and never answered.
        let broker = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        let mut kafka = rdkafka::ClientConfig::new();
        kafka.set("bootstrap.servers", broker.local_addr().unwrap().to_string());
        let client = extent::Client::new(&kafka, extent::View::Everything).unwrap();
        let asked = Error::from(client.extents("orders").unwrap_err());
        let said = asked.chain();
        assert!(said.contains("asking for a topic's partitions") && said.contains("Broker"), "{said}");
        let read = Error::from(extent::Error::Silent { topic: "orders".to_owned(), seconds: 30, partitions: 2 });
        for error in [asked, read] {
            let cause = std::error::Error::source(&error).unwrap().to_string();
            assert!(!cause.contains("database"), "{cause}");
        }
    }
}
