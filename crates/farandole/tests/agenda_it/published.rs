//! First the fact, then the deed: an effect waits until the event that opened it is published.

use std::sync::Arc;
use std::time::Duration;

use farandole::agenda::{Agenda, Opened, Poke};
use tokio_util::sync::CancellationToken;

use crate::healing::compared;
use crate::world::{Bank, World, eventually, hurried};

/// What the relay notes once all that is committed by now is acknowledged.
const PUBLISHED: &str = "insert into farandole.steps (scope, step, state)
    select scope, step + 1, jsonb_set(state, '{a}', to_jsonb(pg_current_snapshot()::text))
    from farandole.steps where scope = 'relay' order by step desc limit 1";

/// E24. Guard: the look at the relay's snapshot (`scan.rs`). Without, the effect is made while its event is in the database alone: set back
/// to before it, the database knows nothing of the call, and the input is decided again, under another key or otherwise.
#[tokio::test(flavor = "multi_thread")]
async fn an_effect_waits_until_its_event_is_published() {
    let world = World::new().await;
    let history = compared(&world).await;
    world.tell([("before", "pay")]).await;
    let (poke, bank, shutdown) = (Poke::default(), Bank::quick(), CancellationToken::new());
    let engine = Arc::new(world.new_engine(&poke).rests_on(history.clone()));
    let agenda = Agenda::new(engine, bank.clone(), world.pool.clone(), hurried(), poke.clone());
    let agenda = tokio::spawn(agenda.run(shutdown.clone()));
    // Some looks.
    tokio::time::sleep(Duration::from_millis(700)).await;
    assert!(bank.calls().is_empty(), "its event isn't published");
    assert_eq!(world.count("select count(*) from farandole.steps where scope like 'claim/%'").await, 0);
    sqlx::query(PUBLISHED).execute(&world.pool).await.unwrap();
    // One that commits after that waits for the next, however soon the relay says that it goes on.
    world.tell([("after", "pay")]).await;
    poke.wake(Opened { effect: true, deadline_in: None });
    history.goes_on();
    eventually("the first to be paid", async || world.story("before").await == "pay, paid ok").await;
    assert_eq!(world.story("after").await, "pay");
    sqlx::query(PUBLISHED).execute(&world.pool).await.unwrap();
    eventually("the second to be paid", async || world.story("after").await == "pay, paid ok").await;
    // Of a build that didn't wait.
    sqlx::query("alter table farandole.tasks alter column xid drop default").execute(&world.pool).await.unwrap();
    world.tell([("older", "pay")]).await;
    eventually("the third to be paid", async || world.story("older").await == "pay, paid ok").await;
    shutdown.cancel();
    agenda.await.unwrap();
}
