//! Topics to publish to: made from a declaration, never by accident.
//!
//! Where others make topics, [`ensure`] with `make` false (a service: `topics.create = false`) says what is missing, or isn't as it must
//! be.
//!
//! **Invariant:** nothing here makes a topic unless told to, and nothing ever changes one. A topic with another number of
//! partitions than declared is refused: keys would be in other partitions than the chain and the order of events rest on.

mod error;
mod kept;

use std::time::Duration;

use rdkafka::admin::{AdminClient, AdminOptions, NewTopic, TopicReplication};
use rdkafka::client::DefaultClientContext;
use rdkafka::types::RDKafkaErrorCode as Code;

pub use crate::wire::settings::{Kafka, Topics};
pub use error::Error;

/// How long one request to the brokers may take.
const REQUEST: Duration = Duration::from_secs(10);
/// How long new topics may take until every partition has a leader. One broker needs milliseconds, three some seconds.
const LEADERS: Duration = Duration::from_secs(30);
/// Between two looks for the leaders.
const LOOK_EVERY: Duration = Duration::from_millis(100);
/// Replicas when the brokers allow: the least with which one may fail while another is being restarted.
const REPLICAS: usize = 3;

/// The name of the topic to which `name` publishes.
///
/// ```
/// assert_eq!(farandole_outbox::topics::own("staging-", "billing"), "staging-billing");
/// ```
pub fn own(prefix: &str, name: &str) -> String {
    format!("{prefix}{name}")
}

#[doc(hidden)]
/// The name of the kit's topic of the service: parked, released, checkpoints.
pub fn journal(prefix: &str, service: &str) -> String {
    format!("{prefix}{service}.journal")
}

/// Characters of a topic's name, which Kafka bounds, and of other names that are part of one.
#[doc(hidden)]
pub const LONGEST_NAME: usize = 249;

/// Whether Kafka takes this in names.
#[doc(hidden)]
pub fn is_of_names(c: char) -> bool {
    c.is_ascii_alphanumeric() || matches!(c, '.' | '_' | '-')
}

/// Whether a topic can be called that.
#[doc(hidden)]
pub fn is_name(topic: &str) -> bool {
    (1..=LONGEST_NAME).contains(&topic.len()) && topic.chars().all(is_of_names) && !matches!(topic, "." | "..")
}

/// Checks the topic of `name` ([`own`]), to which an outbox is published; makes it if it isn't there and `make` says so: with
/// `topics.partitions` partitions, kept for ever.
///
/// # Errors
/// See [`Error`]; a [transient](Error::is_transient) one is worth another try.
///
/// ```no_run
/// use farandole_outbox::topics::{self, Kafka, Topics};
///
/// # async fn make() -> Result<(), topics::Error> {
/// let kafka = Kafka { bootstrap: "127.0.0.1:9092".to_owned(), ..Kafka::default() };
/// let settings = Topics { prefix: "staging-".to_owned(), partitions: 12, ..Topics::default() };
/// topics::ensure(&kafka, &settings, "billing", true).await?; // topic staging-billing
/// # Ok(())
/// # }
/// ```
pub async fn ensure(kafka: &Kafka, topics: &Topics, name: &str, make: bool) -> Result<(), Error> {
    all(kafka, topics, name, &[own(&topics.prefix, name)], make, true).await
}

/// The same for a topic by its whole name, whatever number of partitions it has; made with the default one.
///
/// # Errors
/// As [`ensure`].
#[doc(hidden)]
pub async fn ensure_whole(kafka: &Kafka, topic: &str, make: bool) -> Result<(), Error> {
    if !is_name(topic) {
        return Err(Error::Name { topic: topic.to_owned() });
    }
    all(kafka, &Topics::default(), "farandole", &[topic.to_owned()], make, false).await
}

/// [`ensure`] for a service, which has a journal beside its topic.
///
/// # Errors
/// As [`ensure`].
#[doc(hidden)]
pub async fn ensure_with_journal(kafka: &Kafka, topics: &Topics, service: &str, make: bool) -> Result<(), Error> {
    all(kafka, topics, service, &[own(&topics.prefix, service), journal(&topics.prefix, service)], make, true).await
}

/// `counts`: whether they have to have as many partitions as declared.
async fn all(kafka: &Kafka, topics: &Topics, name: &str, wanted: &[String], make: bool, counts: bool) -> Result<(), Error> {
    let admin: AdminClient<DefaultClientContext> = kafka.client(&[("client.id", name)]).create().map_err(Error::Client)?;
    let admin = std::sync::Arc::new(admin);

    let cluster = look(&admin, kafka).await?;
    let missing: Vec<&String> = wanted.iter().filter(|t| cluster.find(t).is_none()).collect();
    if let (Some(topic), false) = (missing.first(), make) {
        return Err(Error::Missing { topic: (*topic).clone(), partitions: topics.partitions });
    }
    if let [topic, beside] = wanted
        && let (Some(one), Some(two)) = (cluster.find(topic), cluster.find(beside))
        && one.partitions != two.partitions
    {
        let (topic, beside) = (topic.clone(), beside.clone());
        return Err(Error::Unlike { topic, found: one.partitions, beside, other: two.partitions });
    }
    for topic in wanted {
        let found = cluster.find(topic).map(|t| t.partitions);
        if let Some(found) = found.filter(|n| counts && usize::try_from(topics.partitions) != Ok(*n)) {
            return Err(Error::Partitions { topic: topic.clone(), found, declared: topics.partitions });
        }
    }
    kept::check(&admin, wanted.iter().filter(|topic| !missing.contains(topic))).await?;
    if missing.is_empty() {
        return Ok(());
    }
    let allowed = i32::try_from(cluster.brokers.clamp(1, REPLICAS)).unwrap_or(1);
    let replication = if topics.replication == 0 { allowed } else { topics.replication };
    let min_insync = if replication >= 3 { "2" } else { "1" };
    let news: Vec<NewTopic<'_>> = missing.iter().map(|topic| new(topic, topics.partitions, replication, min_insync)).collect();
    let options = AdminOptions::new().request_timeout(Some(REQUEST)).operation_timeout(Some(REQUEST));
    let ask = |source| Error::Ask { bootstrap: kafka.bootstrap.clone(), source };
    let mut theirs = Vec::new();
    for result in admin.create_topics(&news, &options).await.map_err(ask)? {
        match result {
            Ok(topic) => tracing::info!(topic, partitions = topics.partitions, replication, "topic created"),
            // Another replica of the service migrates at the same time; or somebody else has just made it.
            Err((topic, Code::TopicAlreadyExists)) => theirs.push(topic),
            Err((topic, code)) => return Err(Error::Make { topic, partitions: topics.partitions, replication, code }),
        }
    }
    led(&admin, kafka, topics, wanted).await?;
    kept::check(&admin, theirs.iter()).await
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
