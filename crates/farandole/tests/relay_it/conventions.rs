//! What a company has its own rules for: what events name as their source, and topics that others make.

use std::time::Duration;

use farandole::extent;
use farandole::heal::{Mode, NoFold, Skip, heal};
use farandole::relay::{Config, Error, Role};
use farandole::topics::{self, Kafka, Topics};
use rdkafka::admin::{AdminClient, AdminOptions, NewTopic, TopicReplication};
use sqlx::Executor as _;

use crate::world::{Running, World, consume};

const SOURCE: &str = "urn:acme:orders";

async fn refusal(relay: Running) -> Error {
    tokio::time::timeout(Duration::from_secs(20), relay.task).await.expect("the relay refuses in time").unwrap().unwrap_err()
}

/// What the records of `topic` name as their sources.
async fn sources(world: &World, topic: &str) -> Vec<String> {
    let (kafka, topic) = (world.client(), topic.to_owned());
    let read = move || extent::Client::new(&kafka, extent::View::Everything).unwrap().records(&topic).unwrap();
    let records = tokio::task::spawn_blocking(read).await.unwrap();
    let mut sources: Vec<String> = records.iter().map(|record| record.header("ce_source").unwrap().to_owned()).collect();
    sources.dedup();
    sources
}

/// Guard: the source is in the relay's state. What was published under one goes on under it, whoever forgets to say so, and under no other:
/// consumers would begin a second chain, and the relay wouldn't know its own records again. A heal knows them, too.
#[tokio::test(flavor = "multi_thread")]
async fn a_source_of_ones_own_is_kept() {
    let world = World::new().await;
    let topic = world.make_topic("orders", 1).await;
    let own = Config { source: Some(SOURCE.to_owned()), topics: vec![topic.clone()], ..world.config() };
    let publish = async |config: &Config, rows: u64| {
        world.fill(&topic, rows as i64).await;
        let relay = world.relay(config.clone()).await;
        relay.published(rows).await;
        relay.stop().await.unwrap();
    };
    publish(&own, 5).await;
    world.pool.execute("create table backup as table farandole.steps").await.unwrap();
    publish(&world.config(), 5).await;
    publish(&own, 5).await;
    assert_eq!(sources(&world, &topic).await, [SOURCE]);
    assert_eq!(consume(&world.read(&topic).await).len(), 15);
    let another = Config { source: Some("urn:acme:billing".to_owned()), ..world.config() };
    let error = refusal(world.relay(another.clone()).await).await;
    let words = error.to_string();
    assert!(error.is_fatal() && words.contains(&format!("`{SOURCE}`")) && words.contains("`urn:acme:billing`"), "{words}");
    heal(&world.pool, &another, &NoFold, Mode::DryRun).await.expect_err("nor does a heal take another");

    // A restored backup, of which the relay and a heal know what is theirs, told or not.
    let restore =
        "truncate farandole.steps; insert into farandole.steps table backup; delete from farandole.outbox where seq > 5";
    world.pool.execute(restore).await.unwrap();
    for config in [&own, &world.config()] {
        assert!(matches!(refusal(world.relay(config.clone()).await).await, Error::Continuity { .. }));
        let report = heal(&world.pool, config, &Skip, Mode::DryRun).await.unwrap();
        assert_eq!(report.partitions.iter().map(|partition| partition.missing).sum::<u64>(), 10);
    }
    heal(&world.pool, &world.config(), &Skip, Mode::Execute).await.unwrap();
    publish(&world.config(), 5).await;
    assert_eq!(sources(&world, &topic).await, [SOURCE]);
    assert_eq!(consume(&world.read(&topic).await).len(), 20);

    // A database made anew beside the old topic knows them by the setting alone.
    world.pool.execute("truncate farandole.steps, farandole.owner, farandole.outbox").await.unwrap();
    let error = refusal(world.relay(own.clone()).await).await;
    assert!(matches!(&error, Error::Continuity { expected, .. } if expected == "none"), "{error}");
    for wrong in ["", "zwei Worte", ":urn", &"x".repeat(257)] {
        let config = Config { source: Some(wrong.to_owned()), ..world.config() };
        let words = refusal(world.relay(config).await).await.to_string();
        assert!(words.contains("`RelayConfig::source`") && words.contains("visible ASCII"), "{words}");
    }
}

/// Guard: a topic that was given up is forgotten when that is said, and only once it is gone. Without, the relay waits for it for ever.
#[tokio::test(flavor = "multi_thread")]
async fn a_topic_that_was_deleted_is_forgotten() {
    let world = World::new().await;
    let (old, new) = (world.make_topic("old", 1).await, world.make_topic("new", 1).await);
    world.fill(&old, 2).await;
    let config = |topic: &String, forget: &[&String]| Config {
        topics: vec![topic.clone()],
        forget: forget.iter().map(|topic| (*topic).clone()).collect(),
        ..world.config()
    };
    let relay = world.relay(config(&old, &[])).await;
    relay.published(2).await;
    relay.stop().await.unwrap();
    // It is still there: nothing is forgotten.
    let relay = world.relay(config(&old, &[&old])).await;
    world.fill(&old, 1).await;
    relay.published(1).await;
    relay.stop().await.unwrap();
    let admin: AdminClient<_> = world.client().create().unwrap();
    admin.delete_topics(&[old.as_str()], &AdminOptions::new()).await.unwrap().into_iter().for_each(|gone| drop(gone.unwrap()));
    world.fill(&new, 2).await;
    let relay = world.relay(config(&new, &[])).await;
    let waits = async || matches!(relay.status.role(), Role::Waiting(why) if why.contains(&old));
    crate::world::eventually("the relay to wait for the old one", Duration::from_secs(20), waits).await;
    relay.stop().await.unwrap();
    let relay = world.relay(config(&new, &[&old])).await;
    relay.published(2).await;
    relay.stop().await.unwrap();
    let relay = world.relay(config(&new, &[])).await;
    world.fill(&new, 1).await;
    relay.published(1).await;
    relay.stop().await.unwrap();
    let declared: Vec<String> = sqlx::query_scalar("select topic from farandole.topics").fetch_all(&world.pool).await.unwrap();
    assert_eq!(declared, [new]);
}

/// Guard: an outbox's topic is all that it needs. It writes no journal, so none is made, nor asked for. And what others have made is
/// looked at, also while they are new: what is missing is named with how it has to be, and a compacted topic is refused.
#[tokio::test(flavor = "multi_thread")]
async fn topics_that_others_make_are_looked_at() {
    let world = World::new().await;
    let kafka = Kafka { bootstrap: world.kafka.clone(), ..Kafka::default() };
    let settings = Topics { prefix: world.topic(""), partitions: 3, ..Topics::default() };
    let words = topics::ensure(&kafka, &settings, "billing", false).await.unwrap_err().to_string();
    assert!(
        words.contains("billing doesn't exist") && words.contains("3 partitions") && words.contains("retention.ms=-1"),
        "{words}"
    );
    topics::ensure(&kafka, &settings, "billing", true).await.unwrap();
    topics::ensure(&kafka, &settings, "billing", false).await.expect("it is as it must be, and has no journal");
    let config = world.client();
    let there = tokio::task::spawn_blocking(move || {
        use rdkafka::consumer::Consumer as _;
        let consumer: rdkafka::consumer::BaseConsumer = config.create().unwrap();
        let all = consumer.fetch_metadata(None, Duration::from_secs(20)).unwrap();
        all.topics().iter().map(|topic| topic.name().to_owned()).collect::<Vec<_>>()
    });
    let there = there.await.unwrap();
    assert!(there.contains(&world.topic("billing")) && !there.contains(&world.topic("billing.journal")), "{there:?}");

    let more = Topics { partitions: 4, ..settings.clone() };
    let words = topics::ensure(&kafka, &more, "billing", true).await.unwrap_err().to_string();
    assert!(words.contains("has 3 partition(s), but `topics.partitions` is 4"), "{words}");

    let compacted = world.topic("compacted");
    let admin: AdminClient<_> = world.client().create().unwrap();
    let new = NewTopic::new(&compacted, 3, TopicReplication::Fixed(1)).set("cleanup.policy", "compact,delete");
    admin.create_topics([&new], &AdminOptions::new()).await.unwrap().into_iter().for_each(|made| drop(made.unwrap()));
    let error = topics::ensure(&kafka, &settings, "compacted", true).await.unwrap_err();
    let words = error.to_string();
    assert!(!error.is_transient() && words.contains("cleanup.policy=compact") && words.contains("kafka-configs"), "{words}");
}

/// A name that stays for life is looked at before it is taken.
#[tokio::test(flavor = "multi_thread")]
async fn a_relays_name_is_one() {
    let world = World::new().await;
    for name in ["", "a b", "x/y", ":", "nl\nx", "ünï"] {
        let relay = world.relay(farandole::RelayConfig::new(name, &world.kafka)).await;
        let error =
            tokio::time::timeout(Duration::from_secs(20), relay.task).await.expect("it refuses at once").unwrap().unwrap_err();
        assert!(error.to_string().contains("`RelayConfig::service`"), "{name:?}: {error}");
    }
    assert_eq!(sqlx::query_scalar::<_, i64>("select count(*) from farandole.owner").fetch_one(&world.pool).await.unwrap(), 0);
}
