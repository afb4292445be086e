//! What tasks bring and can't be decided: it parks like a record, in order with all that is about its aggregate.

use std::time::Duration;

use farandole::agenda::{Config, Poke};
use farandole::engine::{NoSource, Origin, Verdict, Work};
use farandole::parking::Limits;
use farandole::parking::journal::Journal;
use farandole::parking::operate::{self, Queue, Which};
use farandole::release;
use farandole::{Body, Participant as _};
use tokio_util::sync::CancellationToken;

use crate::batches::{One, feed};
use crate::world::{Bank, Chronicle, Happened, World, eventually, hurried};

async fn parked(world: &World) -> Vec<Queue> {
    operate::list(&world.pool, Chronicle::NAME).await.unwrap().queues
}

async fn inputs(world: &World) -> i64 {
    world.count("select count(*) from farandole.parked").await
}

/// Journal entries of a type, by what they are about.
async fn told(world: &World, kind: &str) -> Vec<String> {
    let told =
        sqlx::query_scalar("select cause from farandole.outbox where topic = 'chronicle.journal' and type = $1 order by seq");
    told.bind(format!("farandole.journal.{kind}")).fetch_all(&world.pool).await.unwrap()
}

/// What it waits for comes from elsewhere: no command passes a parked aggregate.
async fn free(world: &World, key: &str) {
    sqlx::query("update stories set story = story || ', free' where key = $1").bind(key).execute(&world.pool).await.unwrap();
    operate::retry(&world.pool, Chronicle::NAME, key).await.unwrap();
}

fn releasing(world: &World) -> (tokio::task::JoinHandle<()>, CancellationToken) {
    let stop = CancellationToken::new();
    (tokio::spawn(release::run(world.engine(&Poke::default()), stop.clone())), stop)
}

/// Guards: a refused outcome parks and ends its task, in one transaction; records, deadlines and outcomes that come later queue
/// behind it, and are released in the order in which they came. Without, it is asked for again and again, nobody sees it, and what
/// comes later overtakes it.
#[tokio::test(flavor = "multi_thread")]
async fn an_outcome_that_is_refused_parks_in_order() {
    let world = World::new().await;
    let wait = format!("wait {}", world.now().await + 3_600_000_000);
    world.tell([("o", "pay"), ("o", wait.as_str()), ("o", "stick"), ("p", "pay")]).await;
    let bank = Bank::quick();
    let worker = world.start(&bank, hurried());
    eventually("the other to be paid", async || world.story("p").await == "pay, paid ok").await;
    eventually("the outcome to park", async || inputs(&world).await == 1).await;
    let listed = parked(&world).await;
    assert!(listed[0].first.starts_with("outcome/pay/o/"), "{listed:?}");
    assert_eq!((listed[0].aggregate.as_str(), listed[0].inputs, listed[0].reason.as_str()), ("o", 1, "stuck"));

    let engine = world.engine(&Poke::default());
    feed(&engine, &One::new(engine.codec(), "o", "record", 1)).await;
    sqlx::query("update farandole.tasks set due = clock_timestamp()").execute(&world.pool).await.unwrap();
    eventually("the deadline to queue", async || inputs(&world).await == 3).await;
    assert!(world.is_clear().await, "what is parked is no task any more");
    let happened = Happened { key: "o".to_owned(), what: "command".to_owned() };
    let verdicts = engine
        .run(&mut [Work::new(happened.key.clone(), Body::Command(happened), Origin::default())], &mut NoSource)
        .await
        .unwrap();
    assert_eq!(verdicts, [Verdict::Held { behind: "o".to_owned() }]);

    free(&world, "o").await;
    let (releases, stop) = releasing(&world);
    eventually("all to be released", async || inputs(&world).await == 0).await;
    assert_eq!(world.story("o").await, format!("pay, {wait}, stick, free, paid ok, record, rang"));
    assert_eq!(bank.calls().iter().filter(|call| call.aggregate == "o").count(), 1, "nobody was asked again");
    assert_eq!(told(&world, "Parked").await, told(&world, "Released").await);
    assert_eq!(told(&world, "Parked").await.len(), 3);
    stop.cancel();
    releases.await.unwrap();
    worker.stop().await;
}

/// Guard: dropping a parked outcome ends it, with a reason, and what waits behind it goes on.
#[tokio::test(flavor = "multi_thread")]
async fn a_parked_outcome_can_be_dropped() {
    let world = World::new().await;
    world.tell([("o", "pay"), ("o", "stick")]).await;
    let bank = Bank::quick();
    let worker = world.start(&bank, hurried());
    eventually("the outcome to park", async || inputs(&world).await == 1).await;
    let engine = world.engine(&Poke::default());
    feed(&engine, &One::new(engine.codec(), "o", "record", 1)).await;
    let mut conn = world.pool.acquire().await.unwrap();
    let journal = Journal::beside("chronicle", engine.codec().clone());
    let dropped =
        operate::drop_inputs(&mut conn, Chronicle::NAME, Some(&journal), "o", Which::First, "a test", "me").await.unwrap();
    assert!(dropped[0].place.to_string().starts_with("outcome/pay/o/"), "{dropped:?}");
    assert_eq!(told(&world, "Dropped").await, [dropped[0].place.to_string()]);
    free(&world, "o").await;
    let (releases, stop) = releasing(&world);
    eventually("the record to be released", async || world.story("o").await == "pay, stick, free, record").await;
    assert!(world.is_clear().await && inputs(&world).await == 0);
    assert_eq!(bank.calls().len(), 1);
    stop.cancel();
    releases.await.unwrap();
    worker.stop().await;
}

/// Guard: an outcome that the database refuses parks too, alone, with the database's words. Text holds what jsonb would not.
#[tokio::test(flavor = "multi_thread")]
async fn an_outcome_that_cannot_be_stored_parks_alone() {
    let world = World::new().await;
    world.tell((0..20).map(|key| (key, "pay"))).await;
    let bank = Bank::new(|call| async move { Ok(if call.aggregate == "7" { "a\0b" } else { "ok" }.to_owned()) });
    let worker = world.start(&bank, hurried());
    eventually("it to park", async || inputs(&world).await == 1).await;
    eventually("the others to be paid", async || world.is_clear().await).await;
    assert_eq!(world.count("select count(*) from stories where story = 'pay, paid ok'").await, 19);
    let listed = parked(&world).await;
    assert!(listed[0].first.starts_with("outcome/pay/7/") && listed[0].reason.contains("invalid byte sequence"), "{listed:?}");
    let (releases, stop) = releasing(&world);
    eventually("it to be tried again", async || parked(&world).await[0].attempts >= 1).await;
    assert_eq!(inputs(&world).await, 1);
    stop.cancel();
    releases.await.unwrap();
    worker.stop().await;
}

/// Guard: the limits of what may be parked hold for tasks; what finds no room stays in the agenda, and parks when there is some.
#[tokio::test(flavor = "multi_thread")]
async fn at_a_limit_the_task_waits() {
    let world = World::new().await;
    world.tell([("a", "pay"), ("a", "stick"), ("b", "pay"), ("b", "stick")]).await;
    let limits = Limits { aggregate: 10, total: 1, a_minute: 10 };
    let worker = world.start(&Bank::quick(), Config { parked: limits, ..hurried() });
    eventually("one to park and one to be put off", async || {
        inputs(&world).await == 1 && world.count("select count(*) from farandole.steps where (state->>'idle')::bool").await == 1
    })
    .await;
    assert_eq!(world.count("select count(*) from farandole.tasks").await, 1);
    let first = parked(&world).await.remove(0).aggregate;
    free(&world, &first).await;
    let (releases, stop) = releasing(&world);
    eventually("the other to park", async || parked(&world).await.first().is_some_and(|queue| queue.aggregate != first)).await;
    assert!(world.is_clear().await);
    stop.cancel();
    releases.await.unwrap();
    worker.stop().await;
}

/// Guard: an outcome parks only with its claim. Without the look at the newest step, a worker that outlived its lease parks a second
/// one.
#[tokio::test(flavor = "multi_thread")]
async fn an_outcome_parks_only_with_its_claim() {
    let world = World::new().await;
    world.tell([("o", "pay"), ("o", "stick")]).await;
    let late = Bank::new(|_| async {
        tokio::time::sleep(Duration::from_millis(1_000)).await;
        Ok("late".to_owned())
    });
    let short = Config { lease: Duration::from_millis(200), timeout: Duration::from_secs(5), ..hurried() };
    let sleeper = world.start(&late, short);
    eventually("the slow call was made", async || late.calls().len() == 1).await;
    let other = world.start(&Bank::quick(), hurried());
    eventually("the quick one's outcome to park", async || inputs(&world).await == 1).await;
    // It waits for its call, and for what comes of that.
    sleeper.stop().await;
    assert_eq!((inputs(&world).await, told(&world, "Parked").await.len()), (1, 1));
    other.stop().await;
}

/// Guard: an event of another aggregate closes a deadline although that is parked; what waited behind it goes on.
#[tokio::test(flavor = "multi_thread")]
async fn a_parked_deadline_can_be_closed() {
    let world = World::new().await;
    let wait = format!("wait {}", world.now().await);
    world.tell([("a", "stick"), ("a", wait.as_str())]).await;
    let worker = world.start(&Bank::quick(), hurried());
    eventually("the deadline to park", async || inputs(&world).await == 1).await;
    let engine = world.engine(&Poke::default());
    feed(&engine, &One::new(engine.codec(), "a", "record", 1)).await;
    world.tell([("b", "unwait a")]).await;
    assert_eq!((inputs(&world).await, told(&world, "Dropped").await.len()), (1, 1));
    free(&world, "a").await;
    let (releases, stop) = releasing(&world);
    eventually("the record to be released", async || world.story("a").await == format!("stick, {wait}, free, record")).await;
    stop.cancel();
    releases.await.unwrap();
    worker.stop().await;
}
