//! A topic that a handler is given again.

use std::time::{Duration, Instant};

use farandole::handler::{Error, Handler, Repeating, Tx};
use farandole::{Codec, Reader, Record, Running, intake};
use serde_json::Value;

use crate::outbox::{World, eventually, said};

/// Counts what it is given of each key; adds up, and says so.
struct Counts(&'static str);

impl Counts {
    async fn count(&self, tx: &mut Tx<'_>, records: &[Record]) -> Result<(), Error> {
        let keys: Vec<String> = records.iter().map(Record::aggregate).collect();
        let add = "insert into counts (reader, key, n) select $1, k, count(*) from unnest($2::text[]) k group by k
                   on conflict (reader, key) do update set n = counts.n + excluded.n";
        sqlx::query(add).bind(self.0).bind(keys).execute(&mut **tx).await?;
        Ok(())
    }
}

impl Handler for Counts {
    const REPEATING: Repeating = Repeating::Adds;

    async fn handle(&self, tx: &mut Tx<'_>, records: &[Record]) -> Result<(), Error> {
        self.count(tx, records).await
    }
}

/// The same, which says that nothing comes of a repetition.
struct Harmless(Counts);

impl Handler for Harmless {
    const REPEATING: Repeating = Repeating::Harmless;

    async fn handle(&self, tx: &mut Tx<'_>, records: &[Record]) -> Result<(), Error> {
        self.0.count(tx, records).await
    }
}

fn config(world: &World, name: &str) -> intake::Config {
    let mut config = intake::Config::new(format!("{}-{name}", world.topic), &world.kafka, vec![world.topic.clone()]);
    config.reader = name.to_owned();
    config
}

fn start(world: &World) -> Running<intake::Error> {
    Reader::new(Counts("counts"), Codec::json(), world.pool.clone(), config(world, "counts")).start()
}

async fn counted(world: &World, reader: &str) -> i64 {
    let sum = "select coalesce(sum(n), 0)::bigint from counts where reader = $1";
    sqlx::query_scalar(sum).bind(reader).fetch_one(&world.pool).await.unwrap()
}

/// Where `counts` is in the partition of its records.
fn standing(world: &World) -> Value {
    let (ok, listed, err) = said(&world.tool(&["positions", "--reader", "counts", "--output", "json"]));
    assert!(ok, "{err}");
    let listed: Value = serde_json::from_str(&listed).unwrap();
    let all = listed["positions"].as_array().unwrap().iter();
    all.max_by_key(|one| one["holds"][1].as_i64()).unwrap().clone()
}

/// Guards: a look changes nothing; a handler that adds up isn't given records again unless that is accepted; each record comes once more, no
/// faster than is said, and the reader goes on behind them; what is parked isn't given twice. Without the rate, a replay takes the database
/// from everybody else.
#[tokio::test(flavor = "multi_thread")]
async fn a_handler_is_given_a_topic_again() {
    let world = World::new().await;
    let tables = "create table counts (reader text, key text, n bigint not null, primary key (reader, key))";
    sqlx::raw_sql(tables).execute(&world.pool).await.unwrap();
    world.publish(&["a"; 12]).await;
    let reader = start(&world);
    eventually("all to be counted", async || counted(&world, "counts").await == 12).await;
    reader.stop().await.unwrap();

    let replay = ["replay", "--topic", &world.topic, "--from", "beginning"];
    let with = |more: &[&str]| world.tool(&[&replay[..], more].concat());
    let (ok, would, err) = said(&with(&[]));
    assert!(
        ok && would.contains("reads again: 12 records at offsets 0 to 11") && would.contains("counts once more"),
        "{would}{err}"
    );
    assert!(would.contains("add --accept-repeats --execute --reason"), "{would}");
    let refused = with(&["--execute"]);
    assert!(refused.status.code() == Some(2) && said(&refused).2.contains("--reason"), "{refused:?}");
    let refused = with(&["--execute", "--reason", "a test"]);
    assert!(refused.status.code() == Some(1) && said(&refused).2.contains("pass --accept-repeats"), "{refused:?}");
    assert_eq!(
        (&standing(&world)["next_offset"], &standing(&world)["generation"]),
        (&12.into(), &0.into()),
        "nothing was changed"
    );
    let later = ["replay", "--topic", &world.topic, "--from", "2126-01-31T12:00:00Z"];
    let refused = world.tool(&later);
    assert!(refused.status.code() == Some(1) && said(&refused).2.contains("nothing to replay"), "{refused:?}");

    // By the numbers of the topic's source, of which each partition has some.
    let (ok, shown, _) = said(&world.tool(&["replay", "--topic", &world.topic, "--from", "number:7"]));
    assert!(ok && shown.contains("reads again: 6 records at offsets 6 to 11"), "{shown}");

    let execute = ["--accept-repeats", "--rate", "3/s", "--execute", "--reason", "a test"];
    let hold = "select set_config('application_name', 'farandole by ben', false), pg_advisory_lock(hashtextextended('positions/counts', 0))";
    let mut other = world.pool.acquire().await.unwrap();
    sqlx::query(hold).execute(&mut *other).await.unwrap();
    let refused = with(&execute);
    assert!(refused.status.code() == Some(1) && said(&refused).2.contains("farandole by ben (pid "), "{refused:?}");
    sqlx::query("select pg_advisory_unlock_all()").execute(&mut *other).await.unwrap();
    let park = "insert into farandole.parked (reader, aggregate, topic, partition, record_offset, headers, reason, head)
                values ('counts', 'a', $1, 0, 1, '[]', 'bad', true)";
    sqlx::query(park).bind(&world.topic).execute(&world.pool).await.unwrap();
    let refused = with(&execute);
    assert!(refused.status.code() == Some(1) && said(&refused).2.contains("would be given twice"), "{refused:?}");
    sqlx::raw_sql("delete from farandole.parked").execute(&world.pool).await.unwrap();

    let (ok, begun, err) = said(&with(&execute));
    assert!(
        ok && begun.contains("at most 3 records a second") && begun.contains("begun") && err.contains("replayed by ann: a test"),
        "{begun}{err}"
    );
    let (replaying, set) = (&standing(&world)["replaying_until"], &standing(&world)["next_offset"]);
    assert_eq!((replaying, set), (&12.into(), &0.into()));
    // All are in one partition, which has the whole rate: three at once, and four times that.
    let (reader, began) = (start(&world), Instant::now());
    eventually("all to be counted again", async || counted(&world, "counts").await == 24).await;
    assert!(began.elapsed() > Duration::from_millis(2_500), "{:?}", began.elapsed());
    world.publish(&["a"]).await;
    eventually("the next to be counted", async || counted(&world, "counts").await == 25).await;
    eventually("the position to be written", async || standing(&world)["next_offset"] == 13).await;
    let (replaying, generation) = (&standing(&world)["replaying_until"], &standing(&world)["generation"]);
    assert_eq!((replaying, generation), (&Value::Null, &1.into()));
    reader.stop().await.unwrap();
}

/// Guards: what a handler declares is what counts, and a participant is never replayed. Without the second, decisions are made anew beside
/// those that were published.
#[tokio::test(flavor = "multi_thread")]
async fn what_may_be_replayed_is_declared() {
    let world = World::new().await;
    let tables = "create table counts (reader text, key text, n bigint not null, primary key (reader, key))";
    sqlx::raw_sql(tables).execute(&world.pool).await.unwrap();
    world.publish(&["a", "a", "b"]).await;
    let harmless = Harmless(Counts("harmless"));
    let reader = Reader::new(harmless, Codec::json(), world.pool.clone(), config(&world, "harmless")).start();
    eventually("all to be counted", async || counted(&world, "harmless").await == 3).await;
    let replay =
        ["replay", "--reader", "harmless", "--topic", &world.topic, "--from", "beginning", "--execute", "--reason", "a test"];
    let (ok, begun, err) = said(&world.tool(&[&replay[..], &["--output", "json"]].concat()));
    let begun: Value = serde_json::from_str(&begun).unwrap_or_else(|error| panic!("{error}: {begun}{err}"));
    assert_eq!((ok, &begun["repeating"], &begun["executed"]), (true, &"harmless".into(), &true.into()), "{begun}");
    eventually("all to be counted again", async || counted(&world, "harmless").await == 6).await;
    reader.stop().await.unwrap();

    sqlx::raw_sql("insert into farandole.readers (reader) values ('billing')").execute(&world.pool).await.unwrap();
    sqlx::query("update farandole.owner set topic = $1").bind(&world.topic).execute(&world.pool).await.unwrap();
    let refused = world.tool(&["replay", "--reader", "billing", "--topic", &world.topic, "--from", "0"]);
    let (ok, _, err) = said(&refused);
    assert!(
        !ok && err.contains("`billing rebuild`") && err.contains(&format!("`billing inputs again {}/", world.topic)),
        "{err}"
    );
}

/// A new version: counts each record twice.
struct Twice(Counts);

impl Handler for Twice {
    async fn handle(&self, tx: &mut Tx<'_>, records: &[Record]) -> Result<(), Error> {
        self.0.count(tx, records).await?;
        self.0.count(tx, records).await
    }
}

/// A new version of a handler is tried beside the live one: in tables of its own, from the topic's beginning, and then along with it.
///
/// Guards: names are looked for in the trial's schema alone, and a schema that isn't there is waited for. Without, the version that is tried
/// writes into the live tables. The live reader's positions stay. Without, it skips or repeats.
#[tokio::test(flavor = "multi_thread")]
async fn a_new_version_is_tried_beside_the_live_one() {
    let world = World::new().await;
    let tables = "create table counts (reader text, key text, n bigint not null, primary key (reader, key)); create schema taken";
    sqlx::raw_sql(tables).execute(&world.pool).await.unwrap();
    world.publish(&["a", "a", "b"]).await;
    let live = start(&world);
    eventually("all to be counted", async || counted(&world, "counts").await == 3).await;
    let mut tried = config(&world, "counts");
    tried.into = Some("v2".to_owned());
    let new = Reader::new(Twice(Counts("counts")), Codec::json(), world.pool.clone(), tried).start();
    let waits = async || new.health().troubles().iter().any(|trouble| trouble.contains("farandole replay --into v2"));
    eventually("it to say that there is no schema", waits).await;

    let into = |schema, more: &[&str]| {
        world.tool(&[&["replay", "--topic", &world.topic, "--from", "beginning", "--into", schema], more].concat())
    };
    let (ok, shown, _) = said(&into("v2", &["--reader", "counts"]));
    assert!(
        ok && shown.contains("schema v2 would get 1 empty table(s)") && shown.contains("2 records at offsets 0 to 1"),
        "{shown}"
    );
    let named = ["--reader", "counts", "--execute", "--reason", "a test"];
    for wrong in ["taken", "pg_v2", "v 2", "farandole"] {
        let (ok, _, err) = said(&into(wrong, &named));
        assert!(!ok && err.contains(&format!("schema `{wrong}` can't be a trial's")), "{err}");
    }
    // A word of SQL's is a name like any other; what is made is dropped again.
    assert!(said(&into("select", &named)).0);
    assert!(said(&world.tool(&["replay", "--into", "select", "--drop", "--execute", "--reason", "tried"])).0);
    let (ok, begun, err) = said(&into("v2", &named));
    assert!(ok && begun.contains("begun as reader counts.v2") && err.contains("replayed by ann: a test"), "{begun}{err}");
    let of = async |schema: &str| -> i64 {
        let sum = format!("select coalesce(sum(n), 0)::bigint from {schema}.counts");
        sqlx::query_scalar(sqlx::AssertSqlSafe(sum)).fetch_one(&world.pool).await.unwrap()
    };
    eventually("all to be counted twice", async || of("v2").await == 6).await;
    world.publish(&["c"]).await;
    eventually("the next to be counted by both", async || (of("v2").await, of("public").await) == (8, 4)).await;
    let (ok, _, err) = said(&into("v2", &named));
    assert!(!ok && err.contains("--into v2 --drop"), "{err}");

    new.stop().await.unwrap();
    let (ok, shown, _) = said(&world.tool(&["replay", "--into", "v2", "--drop"]));
    assert!(ok && shown.contains("positions of counts.v2") && of("v2").await == 8, "{shown}");
    let (ok, dropped, err) = said(&world.tool(&["replay", "--into", "v2", "--drop", "--execute", "--reason", "tried"]));
    assert!(ok && dropped.contains("dropped"), "{dropped}{err}");
    let left = "select (select count(*) from farandole.steps where scope like '%counts.v2%') + (select count(*) from farandole.readers where reader = 'counts.v2')
                + (select count(*) from pg_namespace where nspname = 'v2')";
    assert_eq!(sqlx::query_scalar::<_, i64>(left).fetch_one(&world.pool).await.unwrap(), 0);
    world.publish(&["a"]).await;
    eventually("the live one to go on", async || of("public").await == 5).await;
    live.stop().await.unwrap();
}
