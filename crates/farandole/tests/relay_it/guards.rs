//! What the relay refuses, and says why.

use std::time::Duration;

use farandole::relay::{Config, Error, Role};
use sqlx::Executor;

use crate::world::{Running, World, consume, eventually};

async fn refusal(relay: Running) -> Error {
    tokio::time::timeout(Duration::from_secs(20), relay.task).await.expect("the relay refuses in time").unwrap().unwrap_err()
}

/// F39. The partition count is grown, which would move keys. Guard: `compare_counts`, at the start and while it runs.
#[tokio::test(flavor = "multi_thread")]
async fn more_partitions_than_at_first_are_refused() {
    let world = World::new().await;
    let topic = world.make_topic("orders", 3).await;
    world.fill(&topic, 10).await;
    let mut config = world.config();
    config.compare_every = Duration::from_millis(100);
    let relay = world.relay(config.clone()).await;
    relay.published(10).await;
    let admin: rdkafka::admin::AdminClient<_> = world.client().create().unwrap();
    let more = rdkafka::admin::NewPartitions::new(&topic, 5);
    admin.create_partitions([&more], &rdkafka::admin::AdminOptions::new()).await.unwrap();
    // While it runs, and at the next start.
    for relay in [relay, world.relay(config).await] {
        let error = refusal(relay).await;
        assert!(matches!(&error, Error::PartitionCount { fixed: 3, broker: 5, topic: t } if *t == topic), "{error}");
        assert!(error.to_string().contains("recreate it with 3 partitions from a copy of its records"), "{error}");
    }
}

/// D1. The database is rewound by some batches: it must not number new events with numbers that are taken.
#[tokio::test(flavor = "multi_thread")]
async fn a_rewound_database_is_refused() {
    let world = World::new().await;
    let topic = world.make_topic("orders", 2).await;
    world.fill(&topic, 10).await;
    let relay = world.relay(world.config()).await;
    relay.published(10).await;
    relay.stop().await.unwrap();
    world.pool.execute("create table backup as select * from farandole.steps").await.unwrap();
    world.fill(&topic, 10).await;
    let relay = world.relay(world.config()).await;
    relay.published(10).await;
    relay.stop().await.unwrap();
    // The restore.
    world.pool.execute("delete from farandole.steps; insert into farandole.steps select * from backup; delete from farandole.outbox where seq > 10").await.unwrap();
    let relay = world.relay(world.config()).await;
    let status = relay.status.clone();
    let error = refusal(relay).await;
    assert!(matches!(&error, Error::Continuity { topic: t, .. } if *t == topic), "{error}");
    assert!(error.to_string().contains("Run `orders heal`"), "{error}");
    assert!(matches!(status.role(), Role::Refused(_)));
    assert_eq!(consume(&world.read(&topic).await).len(), 20, "nothing more was published");
}

/// G21. An id may be appended twice, and is that of two records then. Guard: a topic's end is compared by id and number. Without, a database
/// that was rewound to the first looks as if it were at the second, and what it publishes is dropped by every consumer.
#[tokio::test(flavor = "multi_thread")]
async fn a_rewound_database_is_refused_behind_an_id_that_came_twice() {
    let world = World::new().await;
    let topic = world.make_topic("orders", 1).await;
    let twice = uuid::Uuid::now_v7();
    let mut conn = world.pool.acquire().await.unwrap();
    let relay = world.relay(world.config()).await;
    World::append(&mut conn, &topic, "k", 1).await;
    World::append_payload(&mut conn, &topic, "k", twice, b"first").await;
    relay.published(2).await;
    relay.stop().await.unwrap();
    conn.execute("create table backup as select * from farandole.steps").await.unwrap();
    let relay = world.relay(world.config()).await;
    World::append(&mut conn, &topic, "k", 2).await;
    World::append_payload(&mut conn, &topic, "k", twice, b"second").await;
    relay.published(2).await;
    relay.stop().await.unwrap();
    let restore = "delete from farandole.steps; insert into farandole.steps select * from backup; delete from farandole.outbox where seq > 2";
    conn.execute(restore).await.unwrap();
    let error = refusal(world.relay(world.config()).await).await;
    assert!(matches!(&error, Error::Continuity { .. }), "{error}");
}

/// The database is lost and made anew, the topic is still there.
#[tokio::test(flavor = "multi_thread")]
async fn a_new_database_beside_an_old_topic_is_refused() {
    let world = World::new().await;
    let topic = world.make_topic("orders", 2).await;
    world.fill(&topic, 10).await;
    let relay = world.relay(world.config()).await;
    relay.published(10).await;
    relay.stop().await.unwrap();
    world.pool.execute("delete from farandole.steps").await.unwrap();
    // Whether the topic is declared or met in a row.
    for declared in [vec![topic.clone()], Vec::new()] {
        let mut config = world.config();
        config.topics = declared;
        let error = refusal(world.relay(config).await).await;
        assert!(matches!(&error, Error::Continuity { expected, .. } if expected == "none"), "{error}");
    }
}

/// D2.
#[tokio::test(flavor = "multi_thread")]
async fn snapshots_of_another_cluster_are_refused() {
    let world = World::new().await;
    let topic = world.make_topic("orders", 2).await;
    world.fill(&topic, 3).await;
    let relay = world.relay(world.config()).await;
    relay.published(3).await;
    relay.stop().await.unwrap();
    world.pool.execute(r#"update farandole.steps set state = jsonb_set(state, '{system}', '"7"')"#).await.unwrap();
    let error = refusal(world.relay(world.config()).await).await;
    assert!(matches!(&error, Error::SystemIdentifier { stored, .. } if stored == "7"), "{error}");
}

/// F20. What the broker won't take holds the outbox up under its name; nothing overtakes it.
#[tokio::test(flavor = "multi_thread")]
async fn a_record_that_is_too_large_is_named() {
    let world = World::new().await;
    let topic = world.make_topic("orders", 1).await;
    let mut conn = world.pool.acquire().await.unwrap();
    World::append(&mut conn, &topic, "k", 1).await;
    World::append_payload(&mut conn, &topic, "k", uuid::Uuid::now_v7(), &vec![0; 3 << 20]).await;
    World::append(&mut conn, &topic, "k", 3).await;
    let relay = world.relay(world.config()).await;
    let says = async || matches!(relay.status.role(), Role::Waiting(reason) if reason.contains("outbox row 2"));
    eventually("the row to be named", Duration::from_secs(20), says).await;
    relay.stop().await.unwrap();
    let applied = consume(&world.read(&topic).await);
    assert_eq!(applied.iter().map(|r| r.link.place.number).collect::<Vec<_>>(), [1]);
}

/// G22. Guard: once a record was refused, each row before it is noted before the next goes. Without, all that is before it in the batch goes out
/// again with each try.
#[tokio::test(flavor = "multi_thread")]
async fn what_is_before_a_refused_record_goes_out_once_or_twice() {
    let world = World::new().await;
    let topic = world.make_topic("orders", 1).await;
    let mut tx = world.pool.begin().await.unwrap();
    for n in 0..40 {
        World::append(&mut tx, &topic, "k", n).await;
    }
    World::append_payload(&mut tx, &topic, "k", uuid::Uuid::now_v7(), &vec![0; 3 << 20]).await;
    World::append(&mut tx, &topic, "k", 41).await;
    tx.commit().await.unwrap();
    let relay = world.relay(world.config()).await;
    let tries = async || matches!(relay.status.role(), Role::Waiting(reason) if reason.contains("outbox row 41"));
    eventually("the row to be named", Duration::from_secs(20), tries).await;
    eventually("all before it to be out", Duration::from_secs(20), async || consume(&world.read(&topic).await).len() == 40).await;
    let noted = async || {
        let sql = "select coalesce((state->'in_flight'->>'after')::bigint, 0) from farandole.steps where scope = 'relay' order by step desc limit 1";
        sqlx::query_scalar::<_, i64>(sql).fetch_one(&world.pool).await.unwrap() == 40
    };
    eventually("all before it to be noted", Duration::from_secs(20), noted).await;
    let out = world.read(&topic).await.len();
    let before = relay.status.published();
    let steps = async || {
        let sql = "select max(step) from farandole.steps where scope = 'relay'";
        sqlx::query_scalar::<_, i64>(sql).fetch_one(&world.pool).await.unwrap()
    };
    let then = steps().await;
    eventually("some further tries", Duration::from_secs(30), async || steps().await > then + 8).await;
    assert_eq!((world.read(&topic).await.len(), relay.status.published()), (out, before), "nothing goes out again");
    relay.stop().await.unwrap();
}

/// E30, E31. Guard: a relay looks at the properties of its client before anything else, also where no configuration file was checked. Without,
/// it publishes one batch again and again, or waits for brokers that it never asks.
#[tokio::test(flavor = "multi_thread")]
async fn a_relay_refuses_properties_that_it_cant_work_with() {
    let world = World::new().await;
    let topic = world.make_topic("orders", 1).await;
    world.fill(&topic, 1).await;
    for (name, value, words) in [
        ("delivery.report.only.error", "true", "each of its records is reported"),
        ("max.in.flight", "100", "`max.in.flight` conflict with what the relay sets"),
    ] {
        let mut config = world.config();
        config.kafka.insert(name.to_owned(), value.to_owned());
        let error = refusal(world.relay(config).await).await;
        assert!(error.is_fatal() && error.to_string().contains(words), "{error}");
    }
}

/// Guard: the owner's row. Without, another service's relay takes the lease when it is free and publishes these rows under its own
/// name, and a renamed one breaks every consumer's chain.
#[tokio::test(flavor = "multi_thread")]
async fn another_services_relay_refuses_and_so_does_a_renamed_one() {
    let world = World::new().await;
    let topic = world.make_topic("orders", 1).await;
    world.fill(&topic, 3).await;
    let relay = world.relay(world.config()).await;
    relay.published(3).await;
    let billing = Config::new("billing", &world.kafka);
    // Also while the owner's is at work.
    let error = refusal(world.relay(billing.clone()).await).await;
    assert!(error.is_fatal() && error.to_string().contains("belongs to service `orders`"), "{error}");
    relay.stop().await.unwrap();
    world.fill(&topic, 3).await;
    let error = refusal(world.relay(billing.clone()).await).await;
    assert!(matches!(error, Error::Owner { .. }), "{error}");
    // A database from before there was an owner's row, which its own relay fills in.
    world.pool.execute("delete from farandole.owner").await.unwrap();
    let relay = world.relay(world.config()).await;
    relay.published(3).await;
    relay.stop().await.unwrap();
    let error = refusal(world.relay(billing).await).await;
    assert!(matches!(error, Error::Owner { .. }), "{error}");
    assert_eq!(consume(&world.read(&topic).await).len(), 6);
}
