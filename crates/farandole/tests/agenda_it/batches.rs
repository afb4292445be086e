//! Batches that meet: at an absent row, at idempotency keys, at few connections, at a parked aggregate.

use std::collections::BTreeMap;
use std::time::Duration;

use farandole::agenda::Poke;
use farandole::engine::{Engine, Error, Idempotency, NoSource, Origin, Source, Verdict, Work};
use farandole::outbox::MAX_RECORD;
use farandole::parking::input::What;
use farandole::parking::{self, Limits, Parked, Why};
use farandole::record::{Header, Record};
use farandole::release;
use farandole::trouble::{Trouble, Troubled as _};
use farandole::{Body, Codec, Keys, Message as _, Participant as _, Table};
use futures_util::future::BoxFuture;
use sqlx::PgConnection;
use sqlx::postgres::PgPoolOptions;
use tokio_util::sync::CancellationToken;

use crate::world::{Chronicle, Event, Happened, Story, World, eventually};

/// Runs a batch as its owners do: one that met another is run again.
async fn decided(engine: &Engine<Chronicle>, mut works: Vec<Work<Chronicle>>) -> Vec<Verdict> {
    for _ in 0..50 {
        match engine.run(&mut works, &mut NoSource).await {
            Err(error) if error.trouble() == Trouble::Collision => {}
            other => return other.unwrap(),
        }
    }
    panic!("fifty collisions in a row");
}

fn heard(key: &str, what: &str) -> Work<Chronicle> {
    let happened = Happened { key: key.to_owned(), what: what.to_owned() };
    Work::new(happened.key.clone(), Body::Heard(happened.into()), Origin { cause: format!("{what}/0/0"), ..Origin::default() })
}

fn command(scope: &str, key: &str, what: &str) -> Work<Chronicle> {
    let happened = Happened { key: format!("{scope}-{key}"), what: what.to_owned() };
    let body_hash = [what.len() as u8; 32];
    let asked = Idempotency { scope: scope.to_owned(), key: key.to_owned(), body_hash };
    let origin = Origin { cause: "command/test".to_owned(), idempotency: Some(asked), ..Origin::default() };
    Work::new(happened.key.clone(), Body::Command(happened), origin)
}

/// Numbers that are the same each time.
struct Dice(u64);

impl Dice {
    fn below(&mut self, n: usize) -> usize {
        self.0 = self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
        (self.0 >> 33) as usize % n
    }
    fn shuffle<T>(&mut self, items: &mut [T]) {
        (1..items.len()).rev().for_each(|i| items.swap(i, self.below(i + 1)));
    }
}

/// D3: two topics announce the same new keys at once. Guard: absent keys are locked, and looked for again. Without, both see no
/// row, and the later one writes over what the earlier one wrote.
#[tokio::test(flavor = "multi_thread")]
async fn two_topics_announce_the_same_new_key() {
    let world = World::new().await;
    let (left, right) = (world.engine(&Poke::default()), world.engine(&Poke::default()));
    let mut dice = Dice(3);
    for round in 0..10 {
        let mut keys: Vec<String> = (0..40).map(|n| format!("key-{round}-{n}")).collect();
        let lefts = keys.iter().map(|key| heard(key, "left")).collect();
        dice.shuffle(&mut keys);
        let rights = keys.iter().map(|key| heard(key, "right")).collect();
        tokio::join!(decided(&left, lefts), decided(&right, rights));
    }
    let stories: Vec<(String, i64)> =
        sqlx::query_as("select story, count(*) from stories group by 1 order by 1").fetch_all(&world.pool).await.unwrap();
    assert_eq!(stories.iter().map(|(_, n)| n).sum::<i64>(), 400);
    assert!(stories.iter().all(|(story, _)| story == "left, right" || story == "right, left"), "{stories:?}");
}

/// D12: 64 clients with overlapping keys in any order. Guard: keys are locked sorted, before anything else. Without, two batches
/// wait for each other, and a caller sees a deadlock.
#[tokio::test(flavor = "multi_thread")]
async fn strangers_do_not_deadlock_on_keys() {
    let world = World::new().await;
    let mut tasks = tokio::task::JoinSet::new();
    for client in 0..64 {
        let engine = world.engine(&Poke::default());
        tasks.spawn(async move {
            let mut dice = Dice(client);
            for _ in 0..4 {
                let mut keys: Vec<usize> = (0..40).collect();
                dice.shuffle(&mut keys);
                let mut works: Vec<_> = keys[..20].iter().map(|key| command("shop", &key.to_string(), "asked")).collect();
                let verdicts = loop {
                    match engine.run(&mut works, &mut NoSource).await {
                        Ok(verdicts) => break verdicts,
                        // On a slow machine a batch may wait for its turn for longer than it may; its caller asks again.
                        Err(error) => assert!(format!("{error:?}").contains("55P03"), "nobody sees a deadlock: {error:?}"),
                    }
                };
                assert!(verdicts.iter().all(|v| matches!(v, Verdict::Done(Some(_)))), "{verdicts:?}");
            }
        });
    }
    while let Some(done) = tasks.join_next().await {
        done.unwrap();
    }
    // F33: 5,120 requests under forty keys are forty things done.
    let (stories, once) =
        (world.count("select count(*) from stories").await, "select count(*) from stories where story = 'asked'");
    assert_eq!((stories, world.count(once).await), (40, 40));
}

/// F34: one key of two callers is two keys; and of one caller with another body it is a mistake. Guard: scope and body's hash.
#[tokio::test(flavor = "multi_thread")]
async fn a_key_belongs_to_its_caller() {
    let world = World::new().await;
    let engine = world.engine(&Poke::default());
    let verdicts = decided(&engine, vec![command("ann", "1", "asked"), command("bob", "1", "asked")]).await;
    assert!(verdicts.iter().all(|v| matches!(v, Verdict::Done(Some(_)))), "{verdicts:?}");
    assert_eq!((world.story("ann-1").await.as_str(), world.story("bob-1").await.as_str()), ("asked", "asked"));
    let verdicts = decided(&engine, vec![command("ann", "1", "something else")]).await;
    assert!(matches!(&verdicts[..], [Verdict::Refused(problem)] if problem.status == 422), "{verdicts:?}");
    assert_eq!(world.story("ann-1").await, "asked");
}

/// An event that no broker would take: its caller is told, its record parks, and what else is in the batch goes on.
#[tokio::test(flavor = "multi_thread")]
async fn an_event_that_is_too_large_is_refused_alone() {
    let world = World::new().await;
    let engine = world.engine(&Poke::default());
    let large = "x".repeat(MAX_RECORD);
    let works = vec![command("ann", "1", &large), heard("k", &large), heard("another", "heard")];
    let verdicts = decided(&engine, works).await;
    let [Verdict::Refused(problem), Verdict::Parked(fault), Verdict::Done(None)] = &verdicts[..] else { panic!("{verdicts:?}") };
    assert_eq!((problem.status, problem.kind.as_str()), (413, "/problems/event-too-large"));
    assert!(fault.reason.contains("the limit is 1048576") && !fault.transient, "{fault:?}");
    assert_eq!(world.count("select count(*) from stories").await, 1);
}

/// F51: fifty at once on a pool of two. Guard: a batch takes one connection, and all that it does on it. Without, each may hold
/// one and wait for another for ever.
#[tokio::test(flavor = "multi_thread")]
async fn fifty_tasks_on_two_connections() {
    let world = World::new().await;
    let options = world.pool.connect_options().as_ref().clone();
    let few =
        PgPoolOptions::new().max_connections(2).acquire_timeout(Duration::from_secs(30)).connect_with(options).await.unwrap();
    let few = World { pool: few };
    let tasks: Vec<_> = (0..50)
        .map(|n| {
            let engine = few.engine(&Poke::default());
            tokio::spawn(async move { decided(&engine, vec![heard(&format!("key-{}", n % 7), "x")]).await })
        })
        .collect();
    for task in tasks {
        task.await.unwrap();
    }
    assert_eq!(few.count("select sum(length(replace(story, ', ', ''))) from stories").await, 50);
}

/// A record of `key`, and a batch's source that parks what must be, as the intake's does.
pub struct One(Record);

impl One {
    pub fn new(codec: &Codec, key: &str, what: &str, offset: i64) -> Self {
        let value = Event::from(Happened { key: key.to_owned(), what: what.to_owned() }).encode(codec).unwrap();
        let headers = vec![Header { name: "ce_type".to_owned(), value: Happened::NAME.to_owned() }];
        let (key, value) = (Some(key.as_bytes().to_vec()), Some(value));
        Self(Record { topic: "happened".to_owned(), partition: 0, offset, key, value, headers })
    }

    /// With another key than its event's aggregate.
    pub fn under(mut self, key: &str) -> Self {
        self.0.key = Some(key.as_bytes().to_vec());
        self
    }
}

/// What a batch parks with.
struct Feed<'a>(&'a One, parking::journal::Journal);

impl Source<Work<Chronicle>> for Feed<'_> {
    fn claim<'a>(
        &'a mut self,
        _conn: &'a mut PgConnection,
        works: &'a [Work<Chronicle>],
    ) -> BoxFuture<'a, Result<Vec<bool>, Error>> {
        Box::pin(async move { Ok(vec![true; works.len()]) })
    }
    fn settle<'a>(
        &'a mut self,
        conn: &'a mut PgConnection,
        works: &'a [Work<Chronicle>],
        verdicts: &'a [Verdict],
    ) -> BoxFuture<'a, Result<(), Error>> {
        Box::pin(async move {
            let limits = Limits { aggregate: 100, total: 100, a_minute: 100 };
            let Body::Heard(Event::Happened(Happened { key: aggregate, .. })) = &works[0].input.body else { panic!("{works:?}") };
            let why = match &verdicts[0] {
                Verdict::Parked(fault) => Why::Fault(fault),
                Verdict::Held { behind } => Why::Behind(behind),
                _ => return Ok(()),
            };
            let parked = Parked { aggregate: aggregate.clone(), key: self.0.0.aggregate(), what: What::Record(&self.0.0), why };
            Ok(parking::park(conn, Chronicle::NAME, Some(&self.1), &[parked], limits).await?)
        })
    }
}

pub async fn feed(engine: &Engine<Chronicle>, record: &One) {
    let Event::Happened(happened) = Event::decode(0, engine.codec(), record.0.value.as_deref().unwrap()).unwrap();
    let origin = Origin { cause: "feed/0/0".to_owned(), key: Some(record.0.aggregate()), ..Origin::default() };
    let mut works = [Work::new(happened.key.clone(), Body::Heard(Event::Happened(happened)), origin)];
    while let Err(error) = engine.run(&mut works, &mut Feed(record, engine.journal())).await {
        assert_eq!(error.trouble(), Trouble::Collision, "{error}");
    }
}

/// D6: a release empties a queue while the intake has one more for it, in both orders. Guard: what is parked is asked for once the
/// rows are locked, by both. Without, the later input overtakes, or joins a queue that nobody looks at any more.
#[tokio::test(flavor = "multi_thread")]
async fn a_release_and_one_more_input() {
    for release_first in [true, false] {
        let world = World::new().await;
        let engine = world.engine(&Poke::default());
        let key = "order-1";
        world.tell([(key, "stick")]).await;
        let (first, second) = (One::new(engine.codec(), key, "first", 1), One::new(engine.codec(), key, "second", 2));
        feed(&engine, &first).await;
        // No command passes a parked aggregate; what it waits for comes from elsewhere.
        sqlx::query("update stories set story = 'stick, free'").execute(&world.pool).await.unwrap();
        assert_eq!(world.count("select count(*) from farandole.parked").await, 1);

        // A stranger holds the row, so that both wait for it in the order in which they come.
        let mut holder = world.pool.begin().await.unwrap();
        sqlx::query("select 1 from stories for no key update").execute(&mut *holder).await.unwrap();
        let waiting = |n: i64| {
            let world = &world;
            async move {
                eventually("the row to be waited for", async || {
                    let sql =
                        "select count(*) from pg_stat_activity where datname = current_database() and wait_event_type = 'Lock'";
                    world.count(sql).await == n
                })
                .await;
            }
        };
        let stop = CancellationToken::new();
        let release = || tokio::spawn(release::run(world.engine(&Poke::default()), stop.clone()));
        let releases = if release_first {
            let releases = release();
            waiting(1).await;
            releases
        } else {
            tokio::spawn(async {})
        };
        let feeding = {
            let engine = world.engine(&Poke::default());
            tokio::spawn(async move { feed(&engine, &second).await })
        };
        waiting(if release_first { 2 } else { 1 }).await;
        let later = if release_first {
            tokio::spawn(async {})
        } else {
            let releases = release();
            waiting(2).await;
            releases
        };
        holder.commit().await.unwrap();
        feeding.await.unwrap();
        eventually("both to have taken effect", async || world.story(key).await == "stick, free, first, second").await;
        eventually("nothing to be parked", async || world.count("select count(*) from farandole.parked").await == 0).await;
        stop.cancel();
        releases.await.unwrap();
        later.await.unwrap();
        let told: Vec<(String, i64)> = sqlx::query_as(
            "select substr(type, 19), count(*) from farandole.outbox where topic = 'chronicle.journal' group by 1 order by 1",
        )
        .fetch_all(&world.pool)
        .await
        .unwrap();
        let told: BTreeMap<String, i64> = told.into_iter().collect();
        assert_eq!(told.get("Parked"), told.get("Released"), "{told:?}");
    }
}

/// Guard: the locks of rows that aren't there have a bound, whatever a batch names. Without, orders of thousands of unknown articles fill
/// the lock table of a server as installed, for everybody on it.
#[tokio::test]
async fn absent_rows_without_number_take_few_locks() {
    let world = World::new().await;
    let keys = |range: std::ops::Range<u32>| Keys::of::<Story>(range.map(|n| format!("k{n}")));
    let load = async |keys: Keys| {
        let mut tx = world.pool.begin().await.unwrap();
        sqlx::raw_sql("set local lock_timeout = '200ms'").execute(&mut *tx).await.unwrap();
        Table::<Story>::default().load(&mut tx, &keys).await.map(|()| tx)
    };
    for (n, most) in [(50, 51), (20_000, 1)] {
        let mut tx = load(keys(0..n)).await.unwrap();
        let sql = "select count(*) from pg_locks where locktype = 'advisory' and pid = pg_backend_pid()";
        let taken: i64 = sqlx::query_scalar(sql).fetch_one(&mut *tx).await.unwrap();
        assert!(taken <= most, "{taken} locks for {n} keys");
        // Each key is still locked, whoever comes with few or many.
        load(keys(49..50)).await.expect_err("a key that somebody has");
        load(keys(49..30_000)).await.expect_err("many, and somebody has one of them");
        tx.rollback().await.unwrap();
    }
    // Few keys beside other few: nobody waits.
    let _one = load(keys(0..500)).await.unwrap();
    load(keys(500..1_000)).await.unwrap();
}

/// A release takes what an input of another aggregate waits behind, under their common key, and that joins the queue just then. Guard:
/// the names' locks, and who parks looks behind what once more. Without, the row is no head, and nobody looks at it any more.
#[tokio::test(flavor = "multi_thread")]
async fn who_joins_a_queue_that_ends_is_first_in_it() {
    let world = World::new().await;
    let engine = world.engine(&Poke::default());
    world.tell([("article-1", "stick")]).await;
    feed(&engine, &One::new(engine.codec(), "article-1", "first", 1).under("order-1")).await;
    sqlx::query("update stories set story = 'stick, free'").execute(&world.pool).await.unwrap();
    assert_eq!(world.count("select count(*) from farandole.parked").await, 1);

    // A stranger keeps the release from its end: it has the names, and has taken nothing yet.
    let mut holder = world.pool.begin().await.unwrap();
    sqlx::query("lock table farandole.outbox in exclusive mode").execute(&mut *holder).await.unwrap();
    let waiting = async |n: i64| {
        let sql = "select count(*) from pg_stat_activity where datname = current_database() and wait_event_type = 'Lock'";
        eventually("something to wait for a lock", async || world.count(sql).await == n).await;
    };
    let stop = CancellationToken::new();
    let releases = tokio::spawn(release::run(world.engine(&Poke::default()), stop.clone()));
    waiting(1).await;
    let feeding = {
        let engine = world.engine(&Poke::default());
        let second = One::new(engine.codec(), "article-2", "second", 2).under("order-1");
        tokio::spawn(async move { feed(&engine, &second).await })
    };
    waiting(2).await;
    holder.commit().await.unwrap();
    feeding.await.unwrap();
    eventually("both to have taken effect", async || world.story("article-2").await == "second").await;
    assert_eq!(world.story("article-1").await, "stick, free, first");
    assert_eq!(world.count("select count(*) from farandole.parked").await, 0);
    stop.cancel();
    releases.await.unwrap();
}

/// O31: a release meets trouble of the system. Guard: that is no failure of the input: its reason and tries stay as they are, and it is
/// tried again within seconds. Without, the database's words replace the reason, and each restart puts off what it met for longer.
#[tokio::test(flavor = "multi_thread")]
async fn trouble_of_the_system_is_not_the_inputs() {
    let world = World::new().await;
    let engine = world.engine(&Poke::default());
    world.tell([("o", "stick")]).await;
    feed(&engine, &One::new(engine.codec(), "o", "first", 1)).await;
    sqlx::query("update farandole.parked set attempts = 12, retry_at = clock_timestamp()").execute(&world.pool).await.unwrap();
    let about = async || {
        let about =
            sqlx::query_as::<_, (i32, String, bool)>("select attempts, reason, retry_at > parked_at from farandole.parked");
        about.fetch_one(&world.pool).await.unwrap()
    };
    // A stranger holds the row for longer than the release waits.
    let mut holder = world.pool.begin().await.unwrap();
    sqlx::query("select 1 from stories for no key update").execute(&mut *holder).await.unwrap();
    let options = world.pool.connect_options().as_ref().clone().options([("lock_timeout", "300ms")]);
    let pool = PgPoolOptions::new().max_connections(2).connect_with(options).await.unwrap();
    let stop = CancellationToken::new();
    let releases = tokio::spawn(release::run(World { pool }.engine(&Poke::default()), stop.clone()));
    let before = world.now().await;
    eventually("a try to have failed", async || {
        world.count("select (extract(epoch from retry_at) * 1000000)::bigint from farandole.parked").await > before + 1_000_000
    })
    .await;
    assert_eq!(about().await, (12, "stuck".to_owned(), true));
    sqlx::query("update stories set story = 'stick, free'").execute(&mut *holder).await.unwrap();
    holder.commit().await.unwrap();
    eventually("it to be released soon", async || world.story("o").await == "stick, free, first").await;
    stop.cancel();
    releases.await.unwrap();
}
