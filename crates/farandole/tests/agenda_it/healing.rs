//! Deciding beside a heal.

use std::time::Duration;

use crate::world::{Bank, World, eventually, hurried};

/// The number of the lock that deciding transactions share and a heal holds alone.
const LOCK: i64 = 7_377_303_427_399_053_164;

/// F3 of the faults found from outside. While a heal works, commands wait and no effect starts. Guards: `writes::begin`, and the same
/// lock in the statement that claims.
#[tokio::test(flavor = "multi_thread")]
async fn beside_a_heal_nothing_is_decided_and_no_effect_starts() {
    let world = World::new().await;
    world.tell([("a", "pay now")]).await;
    let mut heal = world.pool.acquire().await.unwrap();
    sqlx::query("select pg_advisory_lock($1)").bind(LOCK).execute(&mut *heal).await.unwrap();
    let bank = Bank::quick();
    let agenda = world.start(&bank, hurried());
    let healing = async {
        eventually("the command to wait", async || {
            let waiting = "select count(*) from pg_locks where locktype = 'advisory' and not granted and mode = 'ShareLock'
                           and database = (select oid from pg_database where datname = current_database())";
            world.count(waiting).await == 1
        })
        .await;
        // Some looks of the agenda.
        tokio::time::sleep(Duration::from_millis(500)).await;
        assert!(bank.calls().is_empty() && world.story("b").await.is_empty());
        sqlx::query("select pg_advisory_unlock($1)").bind(LOCK).execute(&mut *heal).await.unwrap();
    };
    tokio::join!(world.tell([("b", "hello")]), healing);
    assert_eq!(world.story("b").await, "hello");
    eventually("the effect to be made", async || world.story("a").await == "pay now, paid ok").await;
    eventually("all to be clear", async || world.is_clear().await).await;
    agenda.stop().await;
}
