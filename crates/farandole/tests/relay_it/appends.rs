//! Events appended in transactions of others.

use std::time::Duration;

use farandole::outbox::{Error, MAX_RECORD, NewEvent, append};
use uuid::Uuid;

use crate::world::World;

/// Guard: an append locks its key. Without, the second takes its place in the outbox before the first is committed, and what comes of
/// them may be published in the other order.
#[tokio::test]
async fn an_append_waits_for_what_was_appended_before_for_its_key() {
    let world = World::new().await;
    let event = |key| NewEvent::new("orders", key, "orders.Noted", "application/json", b"{}".to_vec());
    let (one, another) = (event("k"), event("another"));
    let mut first = world.pool.begin().await.unwrap();
    append(&mut first, &one).await.unwrap();
    let mut aside = world.pool.begin().await.unwrap();
    append(&mut aside, &another).await.expect("another key waits for nobody");
    let mut second = world.pool.begin().await.unwrap();
    {
        let mut waits = std::pin::pin!(append(&mut second, &one));
        let early = tokio::time::timeout(Duration::from_millis(500), &mut waits).await;
        assert!(early.is_err(), "appended beside a transaction that may still commit");
        first.commit().await.unwrap();
        waits.await.unwrap();
    }
    second.commit().await.unwrap();
    // Who has the row locked already says so, and pays for no second lock.
    let mut locked = world.pool.begin().await.unwrap();
    append(&mut locked, &event("another").key_is_locked()).await.unwrap();
}

/// F20. A record of 1 MiB goes out; one byte more is refused at the append, the transaction goes on, and the relay never meets it.
#[tokio::test(flavor = "multi_thread")]
async fn one_byte_more_than_a_mebibyte_is_refused() {
    let world = World::new().await;
    let topic = world.make_topic("orders", 1).await;
    // Nothing that compression makes smaller.
    let noise = (0..=MAX_RECORD / 16).flat_map(|_| Uuid::new_v4().into_bytes());
    let noise: Vec<u8> = noise.collect();
    let event = |bytes: usize| NewEvent::new(topic.as_str(), "k", "orders.Noted", "application/json", noise[..bytes].to_vec());
    let mut tx = world.pool.begin().await.unwrap();
    let Err(Error::TooLarge { bytes, .. }) = append(&mut tx, &event(MAX_RECORD)).await else {
        panic!("with key and headers it's more")
    };
    let most = MAX_RECORD - (bytes - MAX_RECORD);
    let error = append(&mut tx, &event(most + 1)).await.unwrap_err();
    assert!(error.to_string().contains("would have 1048577 bytes with key and headers; the limit is 1048576"), "{error}");
    append(&mut tx, &event(most)).await.unwrap();
    append(&mut tx, &event(2)).await.unwrap();
    tx.commit().await.unwrap();
    let relay = world.relay(world.config()).await;
    relay.published(2).await;
    relay.stop().await.unwrap();
    assert_eq!(world.read(&topic).await.iter().map(|record| record.payload.len()).collect::<Vec<_>>(), [most, 2]);
}

/// Places in the server's lock table that this transaction's own locks take.
async fn locks(tx: &mut farandole::Tx<'_>) -> i64 {
    let sql = "select count(*) from pg_locks where locktype = 'advisory' and pid = pg_backend_pid()";
    sqlx::query_scalar(sql).fetch_one(&mut **tx).await.unwrap()
}

/// Guard: a transaction's locks have a bound. Without, one that appends for 10,000 keys fills the lock table of a server as installed, and
/// nobody there can lock anything.
#[tokio::test]
async fn a_transaction_that_appends_for_many_keys_takes_few_locks() {
    let world = World::new().await;
    let event = |key: String| NewEvent::new("orders", key, "orders.Noted", "application/json", b"{}".to_vec());
    let mut many = world.pool.begin().await.unwrap();
    for n in 0..1_200 {
        append(&mut many, &event(format!("k{n}"))).await.unwrap();
    }
    let taken = locks(&mut many).await;
    // Those of 1,000 keys, their kind's in two modes, and the one that keeps heals out.
    assert!(taken <= 1_003, "{taken} locks");
    // It still waits its turn, and others theirs: of its first keys and of its last.
    for key in ["k0", "k1199"] {
        let mut second = world.pool.begin().await.unwrap();
        sqlx::raw_sql("set local lock_timeout = '100ms'").execute(&mut *second).await.unwrap();
        append(&mut second, &event(key.to_owned())).await.expect_err("beside a transaction that may still commit");
    }
    many.commit().await.unwrap();
    let mut after = world.pool.begin().await.unwrap();
    append(&mut after, &event("k1199".to_owned())).await.unwrap();
    assert_eq!(locks(&mut after).await, 3, "the count is of a transaction, not of a session");
}
