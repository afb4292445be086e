//! Events appended in transactions of others.

use std::time::Duration;

use farandole::outbox::{Event, append};

use crate::world::World;

/// Guard: an append locks its key. Without, the second takes its place in the outbox before the first is committed, and what comes of
/// them may be published in the other order.
#[tokio::test]
async fn an_append_waits_for_what_was_appended_before_for_its_key() {
    let world = World::new().await;
    let event = |key| Event::new("orders", "orders", key, "orders.Noted", "application/json", b"{}".to_vec());
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
    append(&mut locked, &event("another").row_is_locked()).await.unwrap();
}
