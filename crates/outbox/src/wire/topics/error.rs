//! What isn't right with topics.

use rdkafka::error::KafkaError;
use rdkafka::types::RDKafkaErrorCode as Code;

use crate::ground::trouble::{self, Trouble, Troubled};

/// Why the topics aren't as declared.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// A property of the client is wrong.
    #[error("making a Kafka client: see [kafka] of the configuration")]
    Client(#[source] KafkaError),
    /// The brokers can't be asked.
    #[error("asking Kafka at {bootstrap} for its topics")]
    Ask {
        /// Who was asked.
        bootstrap: String,
        /// The cause.
        #[source]
        source: KafkaError,
    },
    /// A broker refused to make a topic.
    #[error("making topic {topic} with {partitions} partition(s) and {replication} replica(s): {code}")]
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
    /// There is no such topic.
    #[error(
        "topic {topic} isn't there; a service's `migrate` or `serve --migrate` makes it unless `topics.create` is false, and `topics::ensure` \
         that of code of your own. Who makes it by hand gives it {partitions} partitions (`topics.partitions`), cleanup.policy=delete, \
         retention.ms=-1, retention.bytes=-1 and unclean.leader.election.enable=false"
    )]
    Missing {
        /// Its name.
        topic: String,
        /// As declared.
        partitions: i32,
    },
    /// A topic that forgets records in the middle.
    #[error(
        "topic {topic} is compacted (cleanup.policy={policy}): Kafka takes away records that later ones of their keys follow, and consumers stop \
         at each one that is missing. As who may alter it: `kafka-configs --bootstrap-server … --alter --entity-type topics \
         --entity-name {topic} --add-config cleanup.policy=delete`"
    )]
    Compacted {
        /// Its name.
        topic: String,
        /// Its `cleanup.policy`.
        policy: String,
    },
    /// The topic isn't what is declared.
    #[error(
        "topic {topic} has {found} partition(s) and `topics.partitions` says {declared}; set that to {found} if the topic was made so. If \
         partitions were added to it later, its keys have moved, and nothing takes them away again: it has to be made again with {declared}, \
         from a copy of its records, each in its partition, in its order, with its key, value and headers"
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
        "topic {topic} has {found} partition(s), but {beside} has {other}: they are made alike, so partitions were added to one of them, \
         which moves its keys. Nothing takes them away again: if nothing was published to it yet, delete it and `migrate` makes it anew; \
         else it has to be made again as it was, from a copy of its records, each in its partition, in its order, with its key, value and \
         headers"
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
    #[error("topic {topic} is made, but not each of its partitions has a leader yet")]
    Leaderless {
        /// Its name.
        topic: String,
    },
    /// The thread that asked is gone.
    #[error("the look at the topics was broken off")]
    Broken(#[source] tokio::task::JoinError),
}

impl Error {
    /// Whether it ends by itself: worth waiting for.
    pub fn is_passing(&self) -> bool {
        self.trouble().passes()
    }
}

impl Troubled for Error {
    fn trouble(&self) -> Trouble {
        match self {
            Self::Ask { .. } | Self::Leaderless { .. } => Trouble::Dependency,
            Self::Make { code, .. } => trouble::kafka(*code),
            Self::Client(_) | Self::Missing { .. } | Self::Compacted { .. } | Self::Broken(_) => Trouble::Person,
            Self::Partitions { .. } | Self::Unlike { .. } => Trouble::Person,
        }
    }
}
