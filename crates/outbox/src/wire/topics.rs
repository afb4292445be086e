//! A service's topics: made from its declaration, never by accident.
//!
//! **Invariant:** nothing here makes a topic unless told to, and nothing ever changes one. A topic with another number of
//! partitions than declared is refused: keys would be in other partitions than the chain and the order of events rest on.

use std::time::Duration;

use rdkafka::ClientConfig;
use rdkafka::admin::{AdminClient, AdminOptions, NewTopic, TopicReplication};
use rdkafka::client::DefaultClientContext;
use rdkafka::error::KafkaError;
use rdkafka::types::RDKafkaErrorCode as Code;

use crate::ground::trouble::{self, Trouble, Troubled};
pub use crate::wire::settings::{Kafka, Topics};

/// How long one request to the brokers may take.
const REQUEST: Duration = Duration::from_secs(10);
/// How long new topics may take until every partition has a leader. One broker needs milliseconds, three some seconds.
const LEADERS: Duration = Duration::from_secs(30);
/// Between two looks for the leaders.
const LOOK_EVERY: Duration = Duration::from_millis(100);
/// Replicas when the brokers allow: the least with which one may fail while another is being restarted.
const REPLICAS: usize = 3;

/// The name of the service's own topic.
pub fn own(prefix: &str, service: &str) -> String {
    format!("{prefix}{service}")
}

/// The name of the kit's topic of the service: parked, released, checkpoints.
pub fn journal(prefix: &str, service: &str) -> String {
    format!("{prefix}{service}.journal")
}

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
        "topic {topic} isn't there; a service's `migrate` or `serve --migrate` makes it, or `topics::ensure` beside code of your own"
    )]
    Missing {
        /// Its name.
        topic: String,
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
            Self::Client(_) | Self::Missing { .. } | Self::Broken(_) => Trouble::Person,
            Self::Partitions { .. } | Self::Unlike { .. } => Trouble::Person,
        }
    }
}

/// Checks the service's topics; makes those that aren't there if `make`.
///
/// # Errors
/// See [`Error`]; one that [passes](Error::is_passing) is worth another try.
pub async fn ensure(kafka: &Kafka, topics: &Topics, service: &str, make: bool) -> Result<(), Error> {
    let mut config = ClientConfig::new();
    config.set("bootstrap.servers", &kafka.bootstrap).set("client.id", service);
    for (key, value) in &kafka.properties {
        config.set(key, value);
    }
    let admin: AdminClient<DefaultClientContext> = config.create().map_err(Error::Client)?;
    let admin = std::sync::Arc::new(admin);
    let wanted = [own(&topics.prefix, service), journal(&topics.prefix, service)];

    let cluster = look(&admin, kafka).await?;
    let missing: Vec<&String> = wanted.iter().filter(|t| cluster.find(t).is_none()).collect();
    if let (Some(topic), false) = (missing.first(), make) {
        return Err(Error::Missing { topic: (*topic).clone() });
    }
    if let [Some(one), Some(two)] = [0, 1].map(|n| cluster.find(&wanted[n]).map(|t| t.partitions))
        && one != two
    {
        let [topic, beside] = wanted;
        return Err(Error::Unlike { topic, found: one, beside, other: two });
    }
    for topic in &wanted {
        let found = cluster.find(topic).map(|t| t.partitions);
        if let Some(found) = found.filter(|n| usize::try_from(topics.partitions) != Ok(*n)) {
            return Err(Error::Partitions { topic: topic.clone(), found, declared: topics.partitions });
        }
    }
    if missing.is_empty() {
        return Ok(());
    }
    let allowed = i32::try_from(cluster.brokers.clamp(1, REPLICAS)).unwrap_or(1);
    let replication = if topics.replication == 0 { allowed } else { topics.replication };
    let min_insync = if replication >= 3 { "2" } else { "1" };
    let news: Vec<NewTopic<'_>> = missing.iter().map(|topic| new(topic, topics.partitions, replication, min_insync)).collect();
    let options = AdminOptions::new().request_timeout(Some(REQUEST)).operation_timeout(Some(REQUEST));
    let ask = |source| Error::Ask { bootstrap: kafka.bootstrap.clone(), source };
    for result in admin.create_topics(&news, &options).await.map_err(ask)? {
        match result {
            Ok(topic) => tracing::info!(topic, partitions = topics.partitions, replication, "topic made"),
            // Another replica of the service migrates at the same time.
            Err((_, Code::TopicAlreadyExists)) => {}
            Err((topic, code)) => return Err(Error::Make { topic, partitions: topics.partitions, replication, code }),
        }
    }
    led(&admin, kafka, topics, &wanted).await
}

fn new<'a>(topic: &'a str, partitions: i32, replication: i32, min_insync: &'a str) -> NewTopic<'a> {
    NewTopic::new(topic, partitions, TopicReplication::Fixed(replication))
        // The topic is the log of the service's state: nothing of it goes.
        .set("cleanup.policy", "delete")
        .set("retention.ms", "-1")
        .set("retention.bytes", "-1")
        .set("unclean.leader.election.enable", "false")
        .set("min.insync.replicas", min_insync)
}

/// Waits until every partition of `wanted` has a leader.
async fn led(
    admin: &std::sync::Arc<AdminClient<DefaultClientContext>>,
    kafka: &Kafka,
    topics: &Topics,
    wanted: &[String],
) -> Result<(), Error> {
    let until = tokio::time::Instant::now() + LEADERS;
    loop {
        let cluster = look(admin, kafka).await?;
        let whole = |t: &&String| cluster.find(t).is_some_and(|t| t.led && i32::try_from(t.partitions) == Ok(topics.partitions));
        let Some(topic) = wanted.iter().find(|t| !whole(t)) else { return Ok(()) };
        if tokio::time::Instant::now() >= until {
            return Err(Error::Leaderless { topic: topic.clone() });
        }
        tokio::time::sleep(LOOK_EVERY).await;
    }
}

struct Cluster {
    brokers: usize,
    topics: Vec<Found>,
}

struct Found {
    name: String,
    partitions: usize,
    led: bool,
}

impl Cluster {
    fn find(&self, name: &str) -> Option<&Found> {
        self.topics.iter().find(|t| t.name == name)
    }
}

/// The brokers and topics. Asks for all topics: a question for one by name would make it, where brokers make topics by themselves.
async fn look(admin: &std::sync::Arc<AdminClient<DefaultClientContext>>, kafka: &Kafka) -> Result<Cluster, Error> {
    let admin = std::sync::Arc::clone(admin);
    let asked = tokio::task::spawn_blocking(move || {
        let metadata = admin.inner().fetch_metadata(None, REQUEST)?;
        let topics = metadata.topics().iter().filter(|t| t.error().is_none()).map(|t| Found {
            name: t.name().to_owned(),
            partitions: t.partitions().len(),
            led: t.partitions().iter().all(|p| p.leader() >= 0),
        });
        Ok(Cluster { brokers: metadata.brokers().len(), topics: topics.collect() })
    });
    let asked = asked.await.map_err(Error::Broken)?;
    asked.map_err(|source| Error::Ask { bootstrap: kafka.bootstrap.clone(), source })
}
