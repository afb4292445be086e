//! Crashes, stand-bys and zombies.

use std::collections::HashSet;
use std::time::Duration;

use farandole::relay::{Relay, Role};
use farandole::step;
use serde_json::Value;
use sqlx::Connection;
use sqlx::PgConnection;
use tokio_util::sync::CancellationToken;

use crate::world::{World, consume, eventually, pool};

const WAIT: Duration = Duration::from_secs(30);

async fn newest(world: &World) -> Value {
    let mut conn = PgConnection::connect(&world.url).await.unwrap();
    step::latest(&mut conn, "relay").await.unwrap().map_or(Value::Null, |(_, state)| state)
}

async fn audit(world: &World, topic: &str, rows: usize) -> usize {
    let records = world.read(topic).await;
    let applied = consume(&records);
    assert_eq!(applied.len(), rows);
    assert_eq!(applied.iter().map(|r| r.id).collect::<HashSet<_>>(), world.ids().await.into_iter().collect());
    records.len() - rows
}

/// F1, F19. Guard: the step (A, B) before publishing. Without it a batch begun again could have other rows, and its records
/// other numbers, which `consume` refuses.
///
/// The crash is put where it matters: records are in the topic, and the note of it can't be written, because the step log is
/// locked.
#[tokio::test(flavor = "multi_thread")]
async fn a_batch_begun_again_has_the_same_numbers() {
    let world = World::new().await;
    let topic = world.make_topic("orders", 6).await;
    let mut config = world.config();
    (config.page_rows, config.lease) = (4_000, Duration::from_millis(600));
    // A topic's first row makes a step of its own.
    world.fill(&topic, 1).await;
    let relay = world.relay(config.clone()).await;
    relay.published(1).await;
    relay.stop().await.unwrap();
    let (mut rows, mut repeated) = (1, 0);
    for _ in 0..3 {
        world.fill(&topic, 30_000).await;
        rows += 30_000;
        let relay = world.relay(config.clone()).await;
        let mut holder = PgConnection::connect(&world.url).await.unwrap();
        // Should the batch be out before the lock is there, then another one.
        let noted = loop {
            eventually("a batch to be in flight", WAIT, async || !newest(&world).await["in_flight"].is_null()).await;
            sqlx::raw_sql("begin; lock table farandole.steps in share mode").execute(&mut holder).await.unwrap();
            let state = newest(&world).await;
            if !state["in_flight"].is_null() {
                break state["next"].as_i64().unwrap() - 1;
            }
            sqlx::raw_sql("rollback").execute(&mut holder).await.unwrap();
            world.fill(&topic, 30_000).await;
            rows += 30_000;
        };
        eventually("records that are out and not noted", WAIT, async || world.written(&topic).await > noted + repeated).await;
        relay.kill().await;
        // What a killed process has asked for, the server would still do.
        sqlx::raw_sql(
            "select pg_terminate_backend(pid) from pg_stat_activity
             where datname = current_database() and wait_event_type = 'Lock'; rollback",
        )
        .execute(&mut holder)
        .await
        .unwrap();
        // More rows after the crash belong to the next batch.
        world.fill(&topic, 100).await;
        rows += 100;
        let relay = world.relay(config.clone()).await;
        eventually("everything to be out", Duration::from_secs(60), async || {
            let state = newest(&world).await;
            state["in_flight"].is_null() && state["next"].as_i64() == Some(rows + 1)
        })
        .await;
        relay.stop().await.unwrap();
        let now = world.written(&topic).await - rows;
        assert!(now > repeated, "the crash fell into no batch: the test tests nothing");
        repeated = now;
    }
    assert_eq!(audit(&world, &topic, rows as usize).await as i64, repeated);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_relay_that_stops_hands_over_at_once() {
    let world = World::new().await;
    let topic = world.make_topic("orders", 3).await;
    let mut config = world.config();
    config.lease = Duration::from_secs(60);
    let first = world.relay(config.clone()).await;
    first.is_active().await;
    let second = world.relay(config).await;
    eventually("the second to stand by", Duration::from_secs(10), async || second.status.role() == Role::Standby).await;
    world.fill(&topic, 500).await;
    first.published(500).await;
    first.stop().await.unwrap();
    world.fill(&topic, 500).await;
    second.published(500).await;
    second.stop().await.unwrap();
    assert_eq!(audit(&world, &topic, 1_000).await, 0, "a hand-over in good order repeats nothing");
}

#[tokio::test(flavor = "multi_thread")]
async fn an_idle_owner_keeps_its_lease_and_a_dead_one_loses_it() {
    let world = World::new().await;
    let topic = world.make_topic("orders", 3).await;
    let mut config = world.config();
    config.lease = Duration::from_millis(900);
    let first = world.relay(config.clone()).await;
    first.is_active().await;
    let second = world.relay(config).await;
    tokio::time::sleep(Duration::from_secs(3)).await;
    assert_eq!((first.status.role(), second.status.role()), (Role::Active, Role::Standby));
    first.kill().await;
    second.is_active().await;
    world.fill(&topic, 10).await;
    second.published(10).await;
    second.stop().await.unwrap();
    audit(&world, &topic, 10).await;
}

/// F2. A relay stops in its tracks in mid-batch, as under SIGSTOP, another takes over, then the first goes on.
/// Guard: each note of progress is a step. Without the fence both would number the batches that follow.
#[tokio::test(flavor = "multi_thread")]
async fn a_zombie_is_fenced_and_changes_nothing() {
    let world = World::new().await;
    let topic = world.make_topic("orders", 6).await;
    world.fill(&topic, 60_000).await;
    let mut config = world.config();
    (config.page_rows, config.lease) = (2_000, Duration::from_millis(500));

    // A runtime of one thread: what blocks it stops the relay wherever it is.
    let (zombie, _) = Relay::new(pool(&world.url, 3).await, config.clone());
    let (status, shutdown) = (zombie.status(), CancellationToken::new());
    let (freeze, frozen) = std::sync::mpsc::channel::<Duration>();
    let (url, zombie_config, stop) = (world.url.clone(), config.clone(), shutdown.clone());
    drop(zombie);
    let (tell, told) = std::sync::mpsc::channel();
    let thread = std::thread::spawn(move || {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        runtime.block_on(async move {
            let (relay, _) = Relay::new(pool(&url, 3).await, zombie_config);
            tell.send(relay.status()).unwrap();
            let running = relay.run(stop);
            tokio::pin!(running);
            loop {
                tokio::select! {
                    ended = &mut running => return ended,
                    () = tokio::time::sleep(Duration::from_millis(1)) => {
                        if let Ok(pause) = frozen.try_recv() { std::thread::sleep(pause); }
                    }
                }
            }
        })
    });
    drop(status);
    let status = tokio::task::spawn_blocking(move || told.recv().unwrap()).await.unwrap();
    eventually("the first page to be out", Duration::from_secs(20), async || status.published() > 0).await;
    freeze.send(Duration::from_secs(4)).unwrap();

    let second = world.relay(config).await;
    second.is_active().await;
    world.fill(&topic, 1_000).await;
    eventually("all to be out", Duration::from_secs(30), async || second.status.next().1 == 61_001).await;
    // The zombie wakes up, finds its step taken, and stands by.
    eventually("the zombie to stand by", Duration::from_secs(20), async || status.role() == Role::Standby).await;
    world.fill(&topic, 1_000).await;
    eventually("the rest to be out", Duration::from_secs(30), async || second.status.next().1 == 62_001).await;
    shutdown.cancel();
    tokio::task::spawn_blocking(move || thread.join().unwrap()).await.unwrap().unwrap();
    second.stop().await.unwrap();
    audit(&world, &topic, 62_000).await;
}
