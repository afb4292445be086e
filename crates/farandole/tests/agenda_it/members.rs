//! Members of a consumer group that come, go, and are slow.

use std::collections::BTreeMap;

use farandole::agenda::Poke;
use farandole::intake::Intake;
use tokio_util::sync::CancellationToken;

use crate::parked::{Topic, until};
use crate::world::World;

/// Inputs `n0`, `n1`, … spread over `keys` keys, and what each key's story must be in the end.
fn inputs(count: usize, keys: usize) -> (Vec<(usize, String)>, BTreeMap<String, String>) {
    let inputs: Vec<(usize, String)> = (0..count).map(|n| (n % keys, format!("n{n}"))).collect();
    let mut stories: BTreeMap<String, Vec<&str>> = BTreeMap::new();
    for (key, what) in &inputs {
        stories.entry(format!("k{key}")).or_default().push(what);
    }
    let stories = stories.into_iter().map(|(key, all)| (key, all.join(", "))).collect();
    (inputs, stories)
}

async fn stories(world: &World) -> BTreeMap<String, String> {
    let rows: Vec<(String, String)> = sqlx::query_as("select key, story from stories").fetch_all(&world.pool).await.unwrap();
    rows.into_iter().collect()
}

/// With `group.protocol=consumer` brokers say which partitions are whose, and refuse a client that is given settings for it.
#[tokio::test(flavor = "multi_thread")]
async fn members_whose_partitions_the_broker_assigns() {
    let (world, topic) = (World::new().await, Topic::new(2).await);
    let (inputs, expected) = inputs(400, 8);
    let member = || {
        let mut config = topic.config(20);
        config.properties.insert("group.protocol".to_owned(), "consumer".to_owned());
        topic.read_as(&world, config)
    };
    let mut members = vec![member()];
    topic.send(&inputs[..200]).await;
    members.push(member());
    topic.send(&inputs[200..]).await;
    until("everything to be applied", async || stories(&world).await == expected).await;
    for (member, stop) in members {
        stop.cancel();
        member.await.unwrap();
    }
    assert_eq!(stories(&world).await, expected);
}

/// What guarantees rest on isn't a user's to set, in whatever way the intake is configured.
#[tokio::test]
async fn a_property_that_would_skip_records_is_refused() {
    let (world, topic) = (World::new().await, Topic::new(1).await);
    let mut config = topic.config(20);
    config.properties.insert("auto.offset.reset".to_owned(), "latest".to_owned());
    let intake = Intake::new(world.engine(&Poke::default()), config);
    let refused = intake.run(CancellationToken::new()).await.unwrap_err().to_string();
    assert!(refused.contains("`auto.offset.reset` can't be set"), "{refused}");
}

/// F24, F25: members join and leave under load. Guard: position and effects are one transaction, and the position's step can be
/// taken once. With offsets kept by Kafka, a batch in flight at a rebalance is applied by both owners, or by none.
#[tokio::test(flavor = "multi_thread")]
async fn members_come_and_go() {
    let (world, topic) = (World::new().await, Topic::new(2).await);
    let (inputs, expected) = inputs(4_000, 40);
    let mut members = vec![topic.read(&world, 50)];
    for (round, part) in inputs.chunks(500).enumerate() {
        topic.send(part).await;
        if round % 2 == 0 {
            members.push(topic.read(&world, [1, 20, 200][round % 3]));
        } else {
            let (member, stop) = members.remove(0);
            stop.cancel();
            member.await.unwrap();
        }
    }
    until("everything to be applied", async || stories(&world).await == expected).await;
    for (member, stop) in members {
        stop.cancel();
        member.await.unwrap();
    }
    assert_eq!(stories(&world).await, expected);
}

/// F26, F27: a batch waits for the database for longer than a revocation does, and the partition goes to another member. Guards:
/// the consumer polls whatever its batches wait for; the position comes from the database alone; of two that take its step one is
/// fenced. Otherwise both apply what the first had begun.
#[tokio::test(flavor = "multi_thread")]
async fn a_batch_that_outlasts_its_partition() {
    let (world, topic) = (World::new().await, Topic::new(2).await);
    let (first, all) = inputs(80, 4);
    topic.send(&first[..40]).await;
    let slow = topic.read(&world, 10);
    until("the first inputs to be applied", async || {
        stories(&world).await.values().map(|s| s.split(", ").count()).sum::<usize>() == 40
    })
    .await;
    // Whatever is written takes longer than the revocation's ten seconds: a lock alone is waited for no longer than that.
    let shut = "create table gate as select true as shut;
                create function pass() returns trigger language plpgsql as $$ begin
                  while exists (select from gate where shut) loop perform pg_sleep(0.05); end loop; return null; end $$;
                create trigger pass after insert or update on stories for each statement execute function pass()";
    sqlx::raw_sql(shut).execute(&world.pool).await.unwrap();
    topic.send(&first[40..]).await;
    let waiting = async |event: &str| {
        let sql =
            "select count(*) from pg_stat_activity where datname = current_database() and $1 in (wait_event, wait_event_type)";
        sqlx::query_scalar::<_, i64>(sql).bind(event).fetch_one(&world.pool).await.unwrap()
    };
    until("a batch of each partition to be on its way", async || waiting("PgSleep").await == 2).await;
    let quick = topic.read(&world, 10);
    until("the next owner to wait for the rows of one", async || waiting("Lock").await == 1).await;
    sqlx::query("update gate set shut = false").execute(&world.pool).await.unwrap();
    until("everything to be applied", async || stories(&world).await == all).await;
    for (member, stop) in [slow, quick] {
        stop.cancel();
        member.await.unwrap();
    }
    assert_eq!(stories(&world).await, all, "nothing twice");
}
