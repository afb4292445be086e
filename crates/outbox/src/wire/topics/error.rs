//! What isn't right with topics.

use rdkafka::error::KafkaError;
use rdkafka::types::RDKafkaErrorCode as Code;

use crate::ground::trouble::{self, Trouble, Troubled};

/// Why the topics aren't as declared.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// A property of the client is wrong.
    #[error("creating the Kafka client: see [kafka] of the configuration")]
    Client(#[source] KafkaError),
    /// The brokers can't be asked.
    #[error("listing the topics of Kafka at {bootstrap}")]
    Ask {
        /// Who was asked.
        bootstrap: String,
        /// The cause.
        #[source]
        source: KafkaError,
    },
    /// A broker refused to make a topic.
    #[error("creating topic {topic} with {partitions} partition(s) and {replication} replica(s): {code}")]
    Make {
        /// Its name.
        topic: String,
        /// As declared.
        partitions: i32,
        /// As declared, or what the brokers allow.
        replication: i32,
        /// The broker's word.
        code: Code,
    },
    /// No topic can be called that.
    #[error("{topic:?} is no name of a topic: 1 to 249 letters, digits, `.`, `_` and `-`")]
    Name {
        /// What was named.
        topic: String,
    },
    /// There is no such topic.
    #[error(
        "topic {topic} doesn't exist; create it with the service's `migrate` or `serve --migrate` (unless `topics.create` is \
         false), or with `topics::ensure` in your own program. If you create it by hand, give it {partitions} partitions \
         (`topics.partitions`), cleanup.policy=delete, retention.ms=-1, retention.bytes=-1 and \
         unclean.leader.election.enable=false"
    )]
    Missing {
        /// Its name.
        topic: String,
        /// As declared.
        partitions: i32,
    },
    /// A topic that forgets records in the middle.
    #[error(
        "topic {topic} is compacted (cleanup.policy={policy}): Kafka removes records that have a later one with the same key, \
         and consumers stop at each missing record. As a user who may alter the topic: `kafka-configs --bootstrap-server … \
         --alter --entity-type topics --entity-name {topic} --add-config cleanup.policy=delete`"
    )]
    Compacted {
        /// Its name.
        topic: String,
        /// Its `cleanup.policy`.
        policy: String,
    },
    /// The topic isn't what is declared.
    #[error(
        "topic {topic} has {found} partition(s), but `topics.partitions` is {declared}. If the topic was created with {found}, \
         set it to that. If partitions were added later, its keys have moved, and partitions can't be removed: recreate the \
         topic with {declared}, from a copy of its records, each in its partition, in order, with key, value and headers"
    )]
    Partitions {
        /// Its name.
        topic: String,
        /// In the cluster.
        found: usize,
        /// In the configuration.
        declared: i32,
    },
    /// The service's two topics differ, so no number is right for both.
    #[error(
        "topic {topic} has {found} partition(s), but {beside} has {other}. They are created alike, so partitions were added to \
         one of them, which moves its keys; partitions can't be removed. If nothing was published to it yet, delete it and run \
         `migrate`; otherwise recreate it as it was, from a copy of its records, each in its partition, in order, with key, \
         value and headers"
    )]
    Unlike {
        /// The own topic.
        topic: String,
        /// Its partitions.
        found: usize,
        /// The journal.
        beside: String,
        /// Its partitions.
        other: usize,
    },
    /// New partitions without a leader.
    #[error("topic {topic} was created, but some of its partitions have no leader yet")]
    Leaderless {
        /// Its name.
        topic: String,
    },
    /// The thread that asked is gone.
    #[error("the topic check was interrupted")]
    Broken(#[source] tokio::task::JoinError),
}

impl Error {
    /// Whether it ends by itself: worth waiting for.
    pub fn is_transient(&self) -> bool {
        self.trouble().is_transient()
    }
}

impl Troubled for Error {
    fn trouble(&self) -> Trouble {
        match self {
            Self::Ask { .. } | Self::Leaderless { .. } => Trouble::Dependency,
            Self::Make { code, .. } => trouble::kafka(*code),
            Self::Client(_) | Self::Name { .. } | Self::Missing { .. } | Self::Compacted { .. } | Self::Broken(_) => {
                Trouble::Person
            }
            Self::Partitions { .. } | Self::Unlike { .. } => Trouble::Person,
        }
    }
}
