//! What consumers get, whatever writers do.

use std::collections::{HashMap, HashSet};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};
use std::time::Duration;

use sqlx::{Connection, PgConnection, Row};

use crate::world::{Random, Record, World, consume, eventually};

/// Versions of a key count from 1 without a gap: nothing lost, nothing twice, nothing out of order.
pub fn audit_versions(applied: &[Record]) {
    let mut last: HashMap<&str, i64> = HashMap::new();
    for record in applied {
        let version: i64 = std::str::from_utf8(&record.payload).unwrap().parse().unwrap();
        let before = last.insert(&record.key, version).unwrap_or(0);
        assert_eq!(version, before + 1, "key {}", record.key);
    }
}

/// One writer: transactions over several keys with row locks, late xids and early ones, delays, roll-backs.
pub async fn write(url: String, topic: String, seed: u64, stop: Arc<AtomicBool>) {
    let mut conn = PgConnection::connect(&url).await.unwrap();
    let mut random = Random::new(seed);
    let mut next = move |below| random.below(below);
    while !stop.load(Relaxed) {
        let mut tx = conn.begin().await.unwrap();
        if next(2) == 0 {
            sqlx::query("select pg_current_xact_id()::text").execute(&mut *tx).await.unwrap();
        }
        if next(5) == 0 {
            tokio::time::sleep(Duration::from_millis(next(10))).await;
        }
        let mut keys: Vec<i64> = (0..=next(3)).map(|_| next(50) as i64).collect();
        keys.sort_unstable();
        keys.dedup();
        for key in keys {
            let row = sqlx::query("update aggregates set version = version + 1 where id = $1 returning version");
            let version: i64 = row.bind(key).fetch_one(&mut *tx).await.unwrap().get(0);
            World::append(&mut tx, &topic, &format!("k{key}"), version).await;
            if next(10) == 0 {
                tokio::time::sleep(Duration::from_millis(next(5))).await;
            }
        }
        if next(10) == 0 { tx.rollback().await.unwrap() } else { tx.commit().await.unwrap() }
    }
}

/// The rows that [`write`] locks.
pub async fn aggregates(world: &World) {
    sqlx::raw_sql(
        "create table aggregates (id bigint primary key, version bigint not null);
         insert into aggregates select g, 0 from generate_series(0, 49) g",
    )
    .execute(&world.pool)
    .await
    .unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn nothing_lost_nothing_twice_every_key_in_order() {
    let world = World::new().await;
    let topic = world.make_topic("orders", 6).await;
    aggregates(&world).await;
    sqlx::raw_sql("create table foreign_table (x int)").execute(&world.pool).await.unwrap();
    // A foreign transaction that is open all the while, with an xid.
    let mut foreign = PgConnection::connect(&world.url).await.unwrap();
    let mut foreign = foreign.begin().await.unwrap();
    sqlx::query("insert into foreign_table values (1)").execute(&mut *foreign).await.unwrap();

    let mut config = world.config();
    // Small enough that both ways of reading are used.
    (config.head_rows, config.page_rows) = (40, 30);
    let relay = world.relay(config).await;
    let stop = Arc::new(AtomicBool::new(false));
    let writers: Vec<_> =
        (1..=12).map(|seed| tokio::spawn(write(world.url.clone(), topic.clone(), seed, stop.clone()))).collect();
    tokio::time::sleep(Duration::from_secs(5)).await;
    // A stall of the relay makes a long batch.
    sqlx::query("select pg_sleep(0)").execute(&world.pool).await.unwrap();
    stop.store(true, Relaxed);
    for writer in writers {
        writer.await.unwrap();
    }
    let committed = world.ids().await;
    relay.published(committed.len() as u64).await;
    foreign.rollback().await.unwrap();
    relay.stop().await.unwrap();

    let records = world.read(&topic).await;
    let applied = consume(&records);
    assert_eq!(records.len(), committed.len(), "no repetition without a crash");
    assert_eq!(applied.iter().map(|r| r.id).collect::<HashSet<_>>(), committed.iter().copied().collect());
    audit_versions(&applied);
    let numbers: HashSet<_> = applied.iter().map(|r| r.link.place.number).collect();
    assert_eq!(numbers.len() as i64, *numbers.iter().max().unwrap(), "numbers have no gap");
}

/// F4, F5: a row that is appended first and committed last is neither skipped nor waited for.
#[tokio::test(flavor = "multi_thread")]
async fn a_late_commit_holds_nobody_up_and_is_not_skipped() {
    let world = World::new().await;
    let topic = world.make_topic("orders", 1).await;
    let mut late = PgConnection::connect(&world.url).await.unwrap();
    let mut late = late.begin().await.unwrap();
    let late_id = World::append(&mut late, &topic, "late", 1).await;
    let relay = world.relay(world.config()).await;
    let mut conn = world.pool.acquire().await.unwrap();
    for version in 1..=20 {
        World::append(&mut conn, &topic, "prompt", version).await;
        relay.published(version as u64).await;
    }
    late.commit().await.unwrap();
    relay.published(21).await;
    relay.stop().await.unwrap();
    let applied = consume(&world.read(&topic).await);
    assert_eq!(applied.len(), 21);
    assert_eq!(applied[20].id, late_id);
}

/// Rows of a transaction that rolled back were never there; a topic is met in mid-batch.
#[tokio::test(flavor = "multi_thread")]
async fn topics_are_met_on_the_way_and_roll_backs_leave_no_trace() {
    let world = World::new().await;
    let (first, second) = (world.make_topic("first", 3).await, world.make_topic("second", 2).await);
    let mut conn = world.pool.acquire().await.unwrap();
    for n in 0..50 {
        World::append(&mut conn, if n < 25 { &first } else { &second }, &format!("k{}", n % 7), 1).await;
        let mut tx = conn.begin().await.unwrap();
        World::append(&mut tx, &first, "ghost", 1).await;
        tx.rollback().await.unwrap();
    }
    let mut config = world.config();
    (config.head_rows, config.page_rows) = (5, 10);
    let relay = world.relay(config).await;
    relay.published(50).await;
    relay.stop().await.unwrap();
    for topic in [first, second] {
        let applied = consume(&world.read(&topic).await);
        assert_eq!(applied.len(), 25);
        assert!(applied.iter().all(|r| r.key != "ghost"));
    }
}

/// A topic that isn't there holds the rest up, says so, and goes on when it has been made.
#[tokio::test(flavor = "multi_thread")]
async fn a_missing_topic_is_named_and_waited_for() {
    let world = World::new().await;
    let mut conn = world.pool.acquire().await.unwrap();
    World::append(&mut conn, &world.topic("orders"), "k", 1).await;
    let relay = world.relay(world.config()).await;
    let says = |relay: &crate::world::Running| format!("{:?}", relay.status.role());
    eventually("the topic to be named", Duration::from_secs(20), async || says(&relay).contains("orders doesn't exist")).await;
    let topic = world.make_topic("orders", 3).await;
    relay.published(1).await;
    relay.stop().await.unwrap();
    assert_eq!(consume(&world.read(&topic).await).len(), 1);
}

/// Guard: what was acknowledged is noted before a topic is looked for that may not be there. Without, each try publishes the batch before
/// once more, for as long as the topic is missing.
#[tokio::test(flavor = "multi_thread")]
async fn what_came_before_a_missing_topic_is_published_once() {
    let world = World::new().await;
    let topic = world.make_topic("orders", 1).await;
    let mut conn = world.pool.acquire().await.unwrap();
    for version in 1..=20 {
        World::append(&mut conn, &topic, "k", version).await;
    }
    let relay = world.relay(world.config()).await;
    relay.published(20).await;
    // At once, so that nothing idle comes between; and again and again, for whenever the batch before has just gone out.
    for version in 21..=40 {
        World::append(&mut conn, &topic, "k", version).await;
    }
    World::append(&mut conn, &world.topic("nowhere"), "k", 1).await;
    let tries =
        async || sqlx::query_scalar::<_, i64>("select max(step) from farandole.steps").fetch_one(&world.pool).await.unwrap();
    let says = |relay: &crate::world::Running| format!("{:?}", relay.status.role());
    eventually("the topic to be named", Duration::from_secs(20), async || says(&relay).contains("nowhere doesn't exist")).await;
    let began = tries().await;
    // A try takes the lease, begins a term and hands the lease back.
    eventually("some more tries", Duration::from_secs(60), async || tries().await > began + 12).await;
    relay.stop().await.unwrap();
    let records = world.read(&topic).await;
    assert!(records.len() <= 40, "{} records of 40 events: the batch before the bad row went out again and again", records.len());
}
