//! Partitions that end in what isn't ours: strangers' records, tombstones, markers. Relay, stand-by and heal see past all of it, and
//! see what of ours lies before it.

use std::time::Duration;

use farandole::extent::{Client, View};
use farandole::heal::{Mode, NoFold, heal};
use farandole::relay::{Error, Role};
use rdkafka::message::{Header, OwnedHeaders};
use rdkafka::producer::{FutureProducer, FutureRecord};
use sqlx::Executor;
use uuid::Uuid;

use crate::world::{Fate, Running, World, consume, eventually, transact};

const WAIT: Duration = Duration::from_secs(20);

fn headers(pairs: &[(&str, &str)]) -> OwnedHeaders {
    let add = |all: OwnedHeaders, (key, value): &(&str, &str)| all.insert(Header { key, value: Some(*value) });
    pairs.iter().fold(OwnedHeaders::new(), add)
}

/// A record past the relay, in partition `partition`.
async fn stray(producer: &FutureProducer, topic: &str, partition: i32, pairs: &[(&str, &str)], value: Option<&str>) {
    let mut record = FutureRecord::to(topic).partition(partition).key("k").headers(headers(pairs));
    if let Some(value) = value {
        record = record.payload(value);
    }
    producer.send(record, WAIT).await.unwrap();
}

/// What may stand behind the last record of a service, by name.
const TAILS: [&str; 8] = [
    "no headers",
    "damaged, in our name",
    "no id, in our name",
    "another service's",
    "a tombstone",
    "committed",
    "aborted",
    "many",
];

async fn put(world: &World, producer: &FutureProducer, topic: &str, partition: i32, tail: &str) {
    let (ours, id) = (("ce_source", "/farandole/orders"), Uuid::now_v7().to_string());
    let link = format!("l=1;n=1000000;p=1:999999;c=x/0/7;k={id};i=1/1");
    let id = ("ce_id", id.as_str());
    match tail {
        "no headers" => stray(producer, topic, partition, &[], Some("hello")).await,
        "damaged, in our name" => stray(producer, topic, partition, &[ours, id, ("farandole", "l=1;n=x")], Some("hello")).await,
        "no id, in our name" => stray(producer, topic, partition, &[ours, ("farandole", &link)], Some("hello")).await,
        "another service's" => {
            let pairs = [("ce_source", "/farandole/carts"), id, ("farandole", link.as_str())];
            stray(producer, topic, partition, &pairs, Some("hello")).await;
        }
        "a tombstone" => stray(producer, topic, partition, &[], None).await,
        "committed" => transact(&world.kafka, topic, partition, headers(&[]), b"x".to_vec(), Fate::Commit).await,
        "aborted" => transact(&world.kafka, topic, partition, headers(&[]), b"x".to_vec(), Fate::Abort).await,
        "many" => {
            let all = (0..3_000).map(|_| stray(producer, topic, partition, &[], Some("hello")));
            futures_util::future::join_all(all).await;
        }
        other => panic!("{other}"),
    }
}

async fn is_healthy(world: &World, topic: &str) {
    let report = heal(&world.pool, &world.config(), &NoFold, Mode::DryRun).await.unwrap();
    assert!(report.is_whole(), "{report}");
    let (kafka, name) = (world.kafka.clone(), topic.to_owned());
    let seen = tokio::task::spawn_blocking(move || farandole_cli::verify::topic(&kafka, &[], &name, false)).await.unwrap();
    seen.unwrap();
}

/// O1, O2. One record without headers at a partition's end ended every later start, and a marker
/// there made each wait for ever. Guard: `ends`, which looks for our own last record and asks where partitions end.
#[tokio::test(flavor = "multi_thread")]
async fn whatever_a_partition_ends_in_the_relay_goes_on() {
    let world = World::new().await;
    let topic = world.make_topic("orders", 2).await;
    let producer: FutureProducer = world.client().create().unwrap();
    let mut rows = 0;
    for tail in TAILS {
        world.fill(&topic, 6).await;
        rows += 6;
        let owner = world.relay(world.config()).await;
        owner.published(6).await;
        for partition in 0..2 {
            put(&world, &producer, &topic, partition, tail).await;
        }
        // A second replica comes, then the first one goes, and the heal looks.
        let second = world.relay(world.config()).await;
        eventually(tail, WAIT, async || second.status.role() == Role::Standby).await;
        owner.stop().await.unwrap();
        eventually(tail, WAIT, async || second.status.role() == Role::Active).await;
        second.stop().await.unwrap();
        is_healthy(&world, &topic).await;
    }
    // Our records lie behind a transaction that nobody ends, which hides them from consumers and not from us.
    transact(&world.kafka, &topic, 0, headers(&[]), b"x".to_vec(), Fate::Open).await;
    for _ in 0..2 {
        world.fill(&topic, 6).await;
        rows += 6;
        let owner = world.relay(world.config()).await;
        owner.published(6).await;
        owner.stop().await.unwrap();
    }
    is_healthy(&world, &topic).await;
    let ours: Vec<_> = world.read(&topic).await.into_iter().filter(|r| r.link.place.number < 1_000_000).collect();
    assert_eq!(consume(&ours).len(), rows);
}

/// O1. A lost database beside a topic whose partitions end in strangers' records must not begin again at number 1.
#[tokio::test(flavor = "multi_thread")]
async fn a_lost_database_is_refused_behind_strangers() {
    let world = World::new().await;
    let topic = world.make_topic("orders", 2).await;
    let producer: FutureProducer = world.client().create().unwrap();
    world.fill(&topic, 10).await;
    let relay = world.relay(world.config()).await;
    relay.published(10).await;
    relay.stop().await.unwrap();
    for tail in ["many", "no headers", "aborted"] {
        for partition in 0..2 {
            put(&world, &producer, &topic, partition, tail).await;
        }
        world.pool.execute("delete from farandole.steps").await.unwrap();
        // Whether the topic is declared or met in a row.
        for declared in [vec![topic.clone()], Vec::new()] {
            let mut config = world.config();
            config.topics = declared;
            let Running { task, .. } = world.relay(config).await;
            let error = tokio::time::timeout(WAIT, task).await.expect("it refuses in time").unwrap().unwrap_err();
            assert!(matches!(&error, Error::Continuity { expected, .. } if expected == "none"), "{tail}: {error}");
        }
    }
}

/// A database that was set back into the middle of a batch, beside a topic that ends in a late repetition of a row of that batch, which
/// the database has. Guard: `ends`, where of our own records the one counts that is furthest along the chain.
#[tokio::test(flavor = "multi_thread")]
async fn a_late_repetition_hides_nothing() {
    let world = World::new().await;
    let topic = world.make_topic("orders", 1).await;
    let producer: FutureProducer = world.client().create().unwrap();
    let publish = async |rows: i64| {
        world.fill(&topic, rows).await;
        let relay = world.relay(world.config()).await;
        relay.published(rows.unsigned_abs()).await;
        relay.stop().await.unwrap();
    };
    publish(10).await;
    world.pool.execute("create table backup as table farandole.steps").await.unwrap();
    publish(10).await;
    let late = world.read(&topic).await.remove(12);
    let back = "delete from farandole.outbox where seq > 15; delete from farandole.steps;
                insert into farandole.steps table backup;
                update farandole.steps set state = state || jsonb_build_object('in_flight',
                  jsonb_build_object('b', pg_current_snapshot()::text, 'after', 10)) where scope = 'relay'";
    world.pool.execute(back).await.unwrap();
    let (id, link) = (late.id.to_string(), late.link);
    let link = format!("l=1;n={};p={};c=carts/0/7;k={};i=1/1", link.place.number, link.previous.unwrap(), link.correlation);
    let pairs = [("ce_id", id.as_str()), ("ce_source", "/farandole/orders"), ("farandole", link.as_str())];
    stray(&producer, &topic, 0, &pairs, Some("late")).await;
    let Running { task, .. } = world.relay(world.config()).await;
    let error = tokio::time::timeout(WAIT, task).await.expect("it refuses in time").unwrap().unwrap_err();
    assert!(matches!(&error, Error::Continuity { .. }), "{error}");
}

/// Two services publish to one topic: only its own records count for each, whoever's come last.
#[tokio::test(flavor = "multi_thread")]
async fn two_services_may_share_a_topic() {
    let (orders, billing) = (World::new().await, World::new().await);
    let topic = orders.make_topic("shared", 2).await;
    for _ in 0..2 {
        for (world, service) in [(&orders, "orders"), (&billing, "billing")] {
            world.fill(&topic, 5).await;
            let mut config = world.config();
            (config.service, config.topics) = (service.to_owned(), vec![topic.clone()]);
            let relay = world.relay(config.clone()).await;
            relay.published(5).await;
            relay.stop().await.unwrap();
            let report = heal(&world.pool, &config, &NoFold, Mode::DryRun).await.unwrap();
            assert!(report.is_whole(), "{report}");
        }
    }
}

/// O2. Reading ends where a partition ends, whatever is there, and knows two ways of seeing.
#[tokio::test(flavor = "multi_thread")]
async fn reading_ends_with_the_partition() {
    let world = World::new().await;
    let topic = world.make_topic("orders", 3).await;
    for (partition, fate) in [(0, Fate::Commit), (1, Fate::Abort), (2, Fate::Open)] {
        transact(&world.kafka, &topic, partition, headers(&[]), b"x".to_vec(), fate).await;
    }
    let kafka = world.client();
    let read = move |view| {
        let client = Client::new(&kafka, view).unwrap();
        client.records(&topic).unwrap().iter().map(|r| (r.partition, r.offset)).collect::<Vec<_>>()
    };
    let (all, committed) = tokio::task::spawn_blocking(move || (read(View::Everything), read(View::Committed))).await.unwrap();
    assert_eq!((all, committed), (vec![(0, 0), (1, 0), (2, 0)], vec![(0, 0)]));
}
