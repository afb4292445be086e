//! The outbox's tables come and go.

use std::time::Duration;

use sqlx::{Connection, Executor, PgConnection};

use stage::Stage;

use crate::world::{World, consume, eventually, pool};

async fn tables(world: &World) -> Vec<String> {
    sqlx::query_scalar(
        "select inhrelid::regclass::text from pg_inherits where inhparent = 'farandole.outbox'::regclass order by 1",
    )
    .fetch_all(&world.pool)
    .await
    .unwrap()
}

/// D11 too: somebody writes all the while, and no writer waits.
#[tokio::test(flavor = "multi_thread")]
async fn a_partition_goes_when_it_is_out_and_not_before() {
    let world = World::new().await;
    let topic = world.make_topic("orders", 2).await;
    assert_eq!(tables(&world).await, ["farandole.outbox_1", "farandole.outbox_1000001", "farandole.outbox_2000001"]);
    let vacuumed = "select relname::text from pg_class where relname ~ '^outbox_[0-9]+$' and relkind = 'r'
                    and not coalesce('autovacuum_enabled=false' = any (reloptions), false)";
    assert_eq!(sqlx::query_scalar::<_, String>(vacuumed).fetch_all(&world.pool).await.unwrap(), [""; 0], "vacuumed for nothing");
    world.fill(&topic, 50).await;
    // A writer with a row in the first partition is open when seq leaves it.
    let mut open = PgConnection::connect(&world.url).await.unwrap();
    let mut open = open.begin().await.unwrap();
    World::append(&mut open, &topic, "open", 1).await;
    world.pool.execute("select setval(pg_get_serial_sequence('farandole.outbox', 'seq'), 1000001)").await.unwrap();
    world.fill(&topic, 50).await;
    let relay = world.relay(world.config()).await;
    relay.published(100).await;
    eventually("a new partition ahead", Duration::from_secs(20), async || tables(&world).await.len() == 4).await;
    tokio::time::sleep(Duration::from_secs(12)).await;
    assert!(tables(&world).await.contains(&"farandole.outbox_1".to_owned()), "it has an open writer");
    open.commit().await.unwrap();
    relay.published(101).await;
    let gone = async || !tables(&world).await.contains(&"farandole.outbox_1".to_owned());
    let until = std::time::Instant::now() + Duration::from_secs(40);
    let mut conn = world.pool.acquire().await.unwrap();
    let mut written = 101;
    while !gone().await {
        assert!(std::time::Instant::now() < until, "the partition is still there");
        let began = std::time::Instant::now();
        World::append(&mut conn, &topic, "writer", written).await;
        written += 1;
        assert!(began.elapsed() < Duration::from_secs(1), "a writer waited {:?}", began.elapsed());
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    relay.published(written as u64).await;
    relay.stop().await.unwrap();
    assert_eq!(consume(&world.read(&topic).await).len() as i64, written);
    let left: bool = sqlx::query_scalar("select to_regclass('farandole.outbox_1') is null").fetch_one(&world.pool).await.unwrap();
    assert!(left, "dropped, not only detached");
}

/// A row that nobody published keeps its partition.
#[tokio::test(flavor = "multi_thread")]
async fn a_partition_with_a_row_too_many_stays() {
    let world = World::new().await;
    let topic = world.make_topic("orders", 2).await;
    world.fill(&topic, 50).await;
    let relay = world.relay(world.config()).await;
    relay.published(50).await;
    relay.stop().await.unwrap();
    // Slipped in with an xid that the relay has behind it.
    world
        .pool
        .execute("insert into farandole.outbox (xid, topic, id, aggregatetype, aggregateid, type, payload, time, cause, correlation, i, n)
                  select '3', topic, gen_random_uuid(), aggregatetype, aggregateid, type, payload, time, cause, correlation, i, n
                  from farandole.outbox limit 1;
                  select setval(pg_get_serial_sequence('farandole.outbox', 'seq'), 1000001)")
        .await
        .unwrap();
    let relay = world.relay(world.config()).await;
    world.fill(&topic, 1).await;
    relay.published(1).await;
    tokio::time::sleep(Duration::from_secs(22)).await;
    assert!(tables(&world).await.contains(&"farandole.outbox_1".to_owned()));
    relay.stop().await.unwrap();
}

/// What README.md of the outbox says of erasing: rows that are out may be emptied, are sent no second time, and go with their partition;
/// those that aren't are left alone.
#[tokio::test(flavor = "multi_thread")]
async fn rows_that_are_out_may_be_emptied() {
    let world = World::new().await;
    let topic = world.make_topic("orders", 2).await;
    world.fill(&topic, 20).await;
    let relay = world.relay(world.config()).await;
    relay.published(20).await;
    relay.stop().await.unwrap();
    world.fill(&topic, 5).await;
    let readme = include_str!("../../../outbox/README.md");
    let (_, erase) = readme.split_once("update farandole.outbox").expect("the statement is there");
    let (erase, _) = erase.split_once(';').unwrap();
    let erase = format!("update farandole.outbox{erase}").replace("topic = 'billing' and aggregateid = '17' and ", "");
    let emptied = world.pool.execute(sqlx::AssertSqlSafe(erase)).await.unwrap().rows_affected();
    assert_eq!(emptied, 20);
    let relay = world.relay(world.config()).await;
    relay.published(5).await;
    relay.stop().await.unwrap();
    let records = consume(&world.read(&topic).await);
    assert!(records.len() == 25 && records.iter().all(|record| record.payload.len() == 400), "what was published stays");
    let empty: i64 =
        sqlx::query_scalar("select count(*) from farandole.outbox where payload = ''").fetch_one(&world.pool).await.unwrap();
    assert_eq!(empty, 20);
}

/// Guard: who makes the outbox's partitions looks once more with the lock held, and at the catalogue. Without, of several that migrate a new
/// database at once all but one fail.
#[tokio::test(flavor = "multi_thread")]
async fn many_may_migrate_a_new_database_at_once() {
    let sandbox = Stage::shared().sandbox().await.unwrap();
    let database = sandbox.database("fresh").await.unwrap();
    let pool = pool(&database.url, 8).await;
    let migrations: Vec<_> =
        (0..6).map(|_| pool.clone()).map(|pool| tokio::spawn(async move { farandole::migrate(&pool).await })).collect();
    for migrated in migrations {
        migrated.await.unwrap().unwrap();
    }
}
