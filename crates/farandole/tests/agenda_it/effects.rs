use std::collections::HashMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use farandole::agenda::{Config, EffectError};
use farandole::engine::session;
use faults::{Harm, Subject as _};
use sqlx::postgres::PgPoolOptions;
use uuid::Uuid;

use crate::world::{Bank, World, eventually, hurried};

/// Without the condition on the newest step, both workers claim each.
#[tokio::test(flavor = "multi_thread")]
async fn of_two_workers_one_makes_each_call() {
    let world = World::new().await;
    let bank = Bank::new(|_| async {
        tokio::time::sleep(Duration::from_millis(3)).await;
        Ok("ok".to_owned())
    });
    let workers = [world.start(&bank, Config::default()), world.start(&bank, Config::default())];
    world.tell((0..1_000).map(|k| (k, "pay"))).await;
    eventually("all paid", async || world.is_clear().await).await;
    let mut calls: Vec<Uuid> = bank.calls().iter().map(|c| c.idempotency_key).collect();
    assert_eq!(calls.len(), 1_000);
    calls.sort_unstable();
    calls.dedup();
    assert_eq!(calls.len(), 1_000);
    assert_eq!(world.count("select count(*) from stories where story = 'pay, paid ok'").await, 1_000);
    let most = bank.most.load(Ordering::SeqCst);
    assert!(most <= 128, "two bulkheads of 64, and {most} calls at once");
    for worker in workers {
        worker.stop().await;
    }
}

/// Guard: the lease in the claim's step. Without it the other worker takes what is under way at its next look, and calls again.
#[tokio::test(flavor = "multi_thread")]
async fn a_call_under_way_is_nobody_elses() {
    let world = World::new().await;
    let bank = Bank::new(|_| async {
        tokio::time::sleep(Duration::from_millis(700)).await;
        Ok("ok".to_owned())
    });
    let config = Config { idle: Duration::from_millis(50), ..Config::default() };
    let workers = [world.start(&bank, config.clone()), world.start(&bank, config)];
    world.tell((0..40).map(|k| (k, "pay"))).await;
    eventually("all paid", async || world.is_clear().await).await;
    assert_eq!(bank.calls().len(), 40);
    for worker in workers {
        worker.stop().await;
    }
}

/// A worker that dies in a call; the lease runs out; another asks again under the same key.
#[tokio::test(flavor = "multi_thread")]
async fn after_a_crash_it_is_asked_again_under_the_same_key() {
    let world = World::new().await;
    world.tell([("o", "pay")]).await;
    let cause = world.keys().await[0];
    let silent = Bank::new(|_| std::future::pending());
    let dying = world.start(&silent, hurried());
    eventually("the call was made", async || silent.calls().len() == 1).await;
    dying.kill().await;
    let bank = Bank::quick();
    let worker = world.start(&bank, hurried());
    eventually("paid", async || world.is_clear().await).await;
    let (first, second) = (silent.calls(), bank.calls());
    assert_eq!((first[0].idempotency_key, first[0].attempt), (cause, 1));
    assert_eq!((second[0].idempotency_key, second[0].attempt, second.len()), (cause, 2, 1));
    assert_eq!(second[0].first_attempt_at, first[0].first_attempt_at);
    assert_eq!(world.story("o").await, "pay, paid ok");
    worker.stop().await;
}

/// A worker outlives its lease in a call; without the look at the newest step in the batch, both outcomes count.
#[tokio::test(flavor = "multi_thread")]
async fn an_outcome_commits_only_with_its_claim() {
    let world = World::new().await;
    world.tell([("o", "pay")]).await;
    let mut config = hurried();
    config.lease = Duration::from_millis(200);
    config.timeout = Duration::from_secs(5);
    let slow = Bank::new(|_| async {
        tokio::time::sleep(Duration::from_millis(1_500)).await;
        Ok("late".to_owned())
    });
    let sleeper = world.start(&slow, config.clone());
    eventually("the slow call was made", async || slow.calls().len() == 1).await;
    let quick = Bank::quick();
    let other = world.start(&quick, hurried());
    eventually("paid", async || world.is_clear().await).await;
    assert_eq!(world.story("o").await, "pay, paid ok");
    // At the place of the old one a new one opens: the sleeper's claim on the old must not count for it.
    other.stop().await;
    world.tell([("o", "pay")]).await;
    sleeper.stop().await;
    assert!(!world.story("o").await.contains("late, paid late"), "{}", world.story("o").await);
    assert!(slow.calls().iter().filter(|c| c.idempotency_key == quick.calls()[0].idempotency_key).count() <= 1);
    let story = world.story("o").await;
    assert_eq!(story.matches("paid").count() as i64 + world.count("select count(*) from farandole.tasks").await, 2, "{story}");
}

#[tokio::test(flavor = "multi_thread")]
async fn every_kind_of_failure_is_tried_again() {
    let world = World::new().await;
    let bank = Bank::new(|call| async move {
        match (call.aggregate.as_str(), call.attempt) {
            (_, 3..) => Ok("ok".to_owned()),
            ("retry", _) => Err(EffectError::Retry { reason: "busy".into(), after: None }),
            ("unknown", _) => Err(EffectError::Unknown { reason: "cut".into() }),
            ("panic", _) => panic!("as the test wants"),
            _ => std::future::pending().await,
        }
    });
    let keys = ["retry", "unknown", "panic", "timeout"];
    world.tell(keys.map(|k| (k, "pay"))).await;
    let worker = world.start(&bank, hurried());
    eventually("all paid", async || world.is_clear().await).await;
    let mut by_key: HashMap<String, Vec<(u32, Uuid)>> = HashMap::new();
    bank.calls().into_iter().for_each(|c| by_key.entry(c.aggregate).or_default().push((c.attempt, c.idempotency_key)));
    for key in keys {
        assert_eq!(world.story(key).await, "pay, paid ok");
        let calls = &by_key[key];
        assert_eq!(calls.iter().map(|c| c.0).collect::<Vec<_>>(), [1, 2, 3], "{key}");
        assert!(calls.iter().all(|c| c.1 == calls[0].1), "{key}");
    }
    worker.stop().await;
}

/// The wait is a step in the database, so a restart doesn't ask early.
#[tokio::test(flavor = "multi_thread")]
async fn a_restart_keeps_the_wait() {
    let world = World::new().await;
    world.tell([("o", "pay")]).await;
    let after = Some(Duration::from_millis(1_500));
    let bank = Bank::new(move |call| async move {
        if call.attempt == 1 { Err(EffectError::Retry { reason: "busy".into(), after }) } else { Ok("ok".to_owned()) }
    });
    let worker = world.start(&bank, hurried());
    eventually("given back", async || {
        world.count("select count(*) from farandole.steps where state->>'idle' = 'true'").await == 1
    })
    .await;
    let began = std::time::Instant::now();
    worker.kill().await;
    let worker = world.start(&bank, hurried());
    eventually("paid", async || world.is_clear().await).await;
    assert!(began.elapsed() > Duration::from_millis(1_300), "{:?}", began.elapsed());
    worker.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_stop_waits_for_the_calls_and_commits_their_outcomes() {
    let world = World::new().await;
    world.tell((0..20).map(|k| (k, "pay"))).await;
    let bank = Bank::new(|_| async {
        tokio::time::sleep(Duration::from_millis(300)).await;
        Ok("ok".to_owned())
    });
    let worker = world.start(&bank, hurried());
    eventually("all were called", async || bank.calls().len() == 20).await;
    worker.stop().await;
    assert!(world.is_clear().await);
}

/// Guards: what a participant says an effect asks for is its key, whichever events open it; and so is, unless it says otherwise, all that
/// makes the request this one: kind, aggregate and what is asked. Without, what asks again for the same thing has a new key, and a provider
/// that remembers keys does it twice; or what asks for something else has an old one, and gets the answer to that.
#[tokio::test(flavor = "multi_thread")]
async fn what_asks_for_the_same_has_one_key() {
    let world = World::new().await;
    let bank = Bank::quick();
    let worker = world.start(&bank, hurried());
    // By a text, by what is asked, by the event.
    let told = [
        ("a", "pay invoice 7"),
        ("b", "pay invoice 7"),
        ("a", "pay rent 1"),
        ("a", "pay rent 2"),
        ("b", "pay rent 1"),
        ("a", "pay lunch"),
    ];
    for _ in 0..2 {
        for thing in told {
            world.tell([thing]).await;
            eventually("paid", async || world.is_clear().await).await;
        }
    }
    worker.stop().await;
    let keys: Vec<_> = bank.calls().into_iter().map(|call| call.idempotency_key).collect();
    let (first, again) = keys.split_at(told.len());
    assert_eq!(first[..5], again[..5], "asked again under the same keys");
    assert_ne!(first[5], again[5], "each event asks for something new");
    assert_eq!(first[0], first[1], "one text, one key");
    let distinct: std::collections::HashSet<_> = first[1..].iter().chain(&again[5..]).collect();
    assert_eq!(distinct.len(), 6, "{keys:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn one_that_cannot_be_read_is_kept() {
    let world = World::new().await;
    world.tell([("o", "pay"), ("p", "pay")]).await;
    sqlx::query("update farandole.tasks set effect = '{\"newer\": 1}' where key = 'o'").execute(&world.pool).await.unwrap();
    let worker = world.start(&Bank::quick(), hurried());
    eventually("the other is paid", async || world.story("p").await == "pay, paid ok").await;
    eventually("put off", async || world.count("select count(*) from farandole.steps").await >= 1).await;
    sqlx::query("update farandole.tasks set effect = '{\"of\": \"\"}' where key = 'o'").execute(&world.pool).await.unwrap();
    eventually("paid", async || world.story("o").await == "pay, paid ok").await;
    worker.stop().await;
}

/// While the target is down it is called little; once it is back, everything is done within seconds.
#[tokio::test(flavor = "multi_thread")]
async fn a_target_that_is_down_is_called_little() {
    let world = World::new().await;
    world.tell((0..300).map(|k| (k, "pay"))).await;
    let up = Arc::new(AtomicBool::new(false));
    let is_up = Arc::clone(&up);
    let bank = Bank::new(move |_| {
        let up = is_up.load(Ordering::SeqCst);
        async move { if up { Ok("ok".to_owned()) } else { Err(EffectError::Unknown { reason: "down".into() }) } }
    });
    let mut config = hurried();
    config.breaker.pause = Duration::from_millis(200);
    config.breaker.longest = Duration::from_millis(200);
    let worker = world.start(&bank, config);
    tokio::time::sleep(Duration::from_secs(3)).await;
    let calls = bank.calls().len();
    assert!((65..=64 + 10 + 3 * 15).contains(&calls), "{calls} calls: one bulkhead, then probes, at most three each pause");
    up.store(true, Ordering::SeqCst);
    eventually("all paid", async || world.is_clear().await).await;
    assert_eq!(world.count("select count(*) from stories where story = 'pay, paid ok'").await, 300);
    worker.stop().await;
}

/// Every connection falls silent, as when a firewall forgets them: no answer, no end. Guards: whatever waits for one gives it up after
/// a minute; the pool asks those that were idle whether they live. Without, the agenda waits for ever and says nothing.
#[tokio::test(flavor = "multi_thread")]
async fn silent_connections_are_given_up() {
    let world = World::new().await;
    let options = world.pool.connect_options().as_ref().clone();
    let door = faults::Door::open().await.unwrap();
    door.lead_to([format!("{}:{}", options.get_host(), options.get_port())]);
    let watched = session::watched(PgPoolOptions::new()).max_connections(3);
    let pool = watched.connect_with(options.host("127.0.0.1").port(door.port())).await.unwrap();
    let behind = World { pool };
    let bank = Bank::quick();
    let worker = behind.start(&bank, hurried());
    world.tell([("before", "pay")]).await;
    eventually("the first to be paid", async || bank.calls().len() == 1).await;
    door.strike(Harm::Forget).unwrap();
    // Whatever asks now is forgotten.
    tokio::time::sleep(Duration::from_millis(500)).await;
    door.mend(Harm::Forget).unwrap();
    world.tell([("after", "pay")]).await;
    for _ in 0..30 {
        if world.is_clear().await {
            break;
        }
        tokio::time::sleep(Duration::from_secs(5)).await;
    }
    assert_eq!(world.story("after").await, "pay, paid ok");
    worker.stop().await;
}
