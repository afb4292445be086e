//! Tasks that have something in common: they are told apart, and so are the keys under which others are asked.

use std::collections::HashSet;

use farandole::agenda::Poke;
use farandole::engine::{NoSource, Origin, Verdict, Work};
use farandole::{Body, Timestamp};

use crate::world::{Bank, Event, Happened, World, eventually, hurried};

/// Guard: a task's row has the event in its key. Without, the second of one name and key removes the first, which nobody runs then.
#[tokio::test(flavor = "multi_thread")]
async fn two_events_open_two_effects_of_one_name_and_key() {
    let world = World::new().await;
    world.tell([("o", "pay 1"), ("p", "pay 1"), ("p", "pay 2")]).await;
    world.tell([("o", "pay 2")]).await;
    assert_eq!(world.count("select count(*) from farandole.tasks").await, 4);
    let bank = Bank::quick();
    let worker = world.start(&bank, hurried());
    eventually("all to be paid", async || world.is_clear().await).await;
    for key in ["o", "p"] {
        assert_eq!(world.story(key).await, "pay 1, pay 2, paid ok, paid ok");
    }
    let keys: HashSet<_> = bank.calls().iter().map(|c| c.idempotency_key).collect();
    assert_eq!((keys.len(), bank.calls().len()), (4, 4));
    worker.stop().await;
}

/// As effects do; and closing closes both.
#[tokio::test(flavor = "multi_thread")]
async fn two_events_set_two_deadlines_of_one_name_and_key() {
    let world = World::new().await;
    let now = world.now().await;
    for due in [now + 100_000, now + 200_000] {
        let wait = format!("wait {due}");
        world.tell([("both", wait.as_str()), ("closed", wait.as_str())]).await;
    }
    world.tell([("closed", "unwait")]).await;
    let worker = world.start(&Bank::quick(), hurried());
    eventually("both to ring", async || world.is_clear().await).await;
    assert_eq!(world.count("select count(*) from stories where story like '%, rang, rang'").await, 1);
    assert_eq!(world.count("select count(*) from stories where key = 'closed' and story like '%rang%'").await, 0);
    worker.stop().await;
}

/// Guards: an effect's key is made from its name and key, too, or a provider would answer the second with what became of the first;
/// and claims' scopes escape what ends a part of them, or two effects would share their claims.
#[tokio::test(flavor = "multi_thread")]
async fn effects_of_one_event_have_keys_and_claims_of_their_own() {
    let world = World::new().await;
    world.tell([("o", "pay-two"), ("y", "pay-slashed")]).await;
    let before: HashSet<_> = world.keys().await.into_iter().collect();
    let bank = Bank::quick();
    let worker = world.start(&bank, hurried());
    eventually("all to be paid", async || world.is_clear().await).await;
    worker.stop().await;
    let keys: HashSet<_> = bank.calls().iter().map(|c| c.idempotency_key).collect();
    assert_eq!((keys.len(), bank.calls().len()), (4, 4));
    assert_eq!(keys, before, "asked for under the keys that were stored with them");
    assert_eq!(world.story("o").await, "pay-two, paid ok, paid ok");
    // Each under its own key: `pay` of `x/y`, and `pay/x` of `y`.
    assert_eq!((world.story("y").await, world.story("x/y").await), ("pay-slashed, paid ok".into(), "paid ok".into()));
}

/// Guard: the look at what follow_up() gives. Without, one of the two would be lost, or the batch would fail for ever.
#[tokio::test(flavor = "multi_thread")]
async fn one_event_that_opens_a_task_twice_is_refused_alone() {
    let world = World::new().await;
    let engine = world.engine(&Poke::default());
    let heard = |key: &str, what: &str| {
        let happened = Happened { key: key.to_owned(), what: what.to_owned() };
        Work::new(
            happened.key.clone(),
            Body::Heard(Event::from(happened)),
            Origin { cause: "test/0/0".to_owned(), ..Origin::default() },
        )
    };
    let mut works = [heard("o", "pay-twice"), heard("p", "pay")];
    let verdicts = engine.run(&mut works, &mut NoSource).await.unwrap();
    let [Verdict::Parked(fault), Verdict::Done(None)] = &verdicts[..] else { panic!("{verdicts:?}") };
    assert!(fault.reason.contains("opens two tasks `pay` for \"o\""), "{fault:?}");
    assert_eq!((world.story("o").await.as_str(), world.story("p").await.as_str()), ("", "pay"));
}

/// Guard: the key is stored with the task. Rows of builds before have none, and were asked for under the event's id.
#[tokio::test(flavor = "multi_thread")]
async fn what_an_older_build_opened_keeps_its_key() {
    let world = World::new().await;
    world.tell([("o", "pay")]).await;
    let cause: uuid::Uuid = sqlx::query_scalar("update farandole.tasks set idempotency_key = null returning cause")
        .fetch_one(&world.pool)
        .await
        .unwrap();
    let bank = Bank::quick();
    let worker = world.start(&bank, hurried());
    eventually("it to be paid", async || world.is_clear().await).await;
    assert_eq!(bank.calls().iter().map(|c| c.idempotency_key).collect::<Vec<_>>(), [cause]);
    assert!(bank.calls()[0].first_attempt_at > Timestamp::default());
    worker.stop().await;
}
