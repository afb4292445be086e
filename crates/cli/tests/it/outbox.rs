//! The verbs for readers and outboxes beside code of one's own.

use std::process::{Command, Output};
use std::time::{Duration, Instant};

use farandole::config::{Kafka, Topics};
use farandole::handler::{Error, Handler, Tx};
use farandole::outbox::{self, NewEvent};
use farandole::relay::{self, Relay};
use farandole::{Codec, Reader, Record, intake, topics};
use sqlx::PgPool;
use stage::Stage;

/// Only bounds failures.
const PATIENCE: Duration = Duration::from_secs(60);

pub struct World {
    pub kafka: String,
    pub topic: String,
    url: String,
    pub pool: PgPool,
}

impl World {
    pub async fn new() -> Self {
        let world = Self::empty().await;
        farandole::migrate(&world.pool).await.unwrap();
        world
    }

    /// With a database that has no tables yet.
    async fn empty() -> Self {
        let stage = Stage::shared();
        let sandbox = stage.sandbox().await.unwrap();
        let url = sandbox.database("tool").await.unwrap().url;
        let pool = PgPool::connect(&url).await.unwrap();
        let kafka = Kafka { bootstrap: stage.kafka().to_owned(), ..Kafka::default() };
        let own = Topics { prefix: sandbox.prefix.clone(), ..Topics::default() };
        topics::ensure(&kafka, &own, "billing", true).await.unwrap();
        Self { topic: topics::own(&sandbox.prefix, "billing"), kafka: kafka.bootstrap, url, pool }
    }

    pub fn tool(&self, args: &[&str]) -> Output {
        Command::new(env!("CARGO_BIN_EXE_farandole"))
            .args(args)
            .env("FARANDOLE_DATABASE_URL", &self.url)
            .env("FARANDOLE_KAFKA_BOOTSTRAP", &self.kafka)
            .env("USER", "ann")
            .output()
            .unwrap()
    }

    pub async fn publish(&self, keys: &[&str]) {
        let (relay, _) = Relay::new(self.pool.clone(), relay::Config::new("billing", &self.kafka));
        let status = relay.status();
        let relay = relay.start();
        let mut tx = self.pool.begin().await.unwrap();
        for key in keys {
            let event = NewEvent::new(&self.topic, *key, "billing.Paid", "application/json", b"{}".to_vec());
            outbox::append(&mut tx, &event).await.unwrap();
        }
        tx.commit().await.unwrap();
        eventually("the relay to publish", async || status.published() >= keys.len() as u64).await;
        relay.stop().await.unwrap();
    }
}

pub async fn eventually(what: &str, mut ask: impl AsyncFnMut() -> bool) {
    let until = Instant::now() + PATIENCE;
    while !ask().await {
        assert!(Instant::now() < until, "waited {PATIENCE:?} for {what}");
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
}

pub fn said(output: &Output) -> (bool, String, String) {
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    (output.status.success(), text(&output.stdout), text(&output.stderr))
}

/// Refuses what is about `bad`.
struct Picky;

impl Handler for Picky {
    async fn handle(&self, _: &mut Tx<'_>, records: &[Record]) -> Result<(), Error> {
        match records.iter().any(|record| record.key.as_deref() == Some(b"bad")) {
            true => Err(Error::Refused("it is bad".to_owned())),
            false => Ok(()),
        }
    }
}

/// Layer b: what a handler refused is listed, tried, dropped; positions are listed and set.
#[tokio::test(flavor = "multi_thread")]
async fn what_a_handler_refuses_can_be_looked_at_and_dropped() {
    let world = World::new().await;
    world.publish(&["good", "bad", "bad"]).await;
    let config = intake::Config::new(format!("{}-readers", world.topic), &world.kafka, vec![world.topic.clone()]);
    let reader = Reader::new(Picky, Codec::json(), world.pool.clone(), config.clone()).start();
    let parked =
        async || sqlx::query_scalar("select count(*) from farandole.parked").fetch_one(&world.pool).await.unwrap_or(0_i64);
    eventually("two to be parked", async || parked().await == 2).await;
    let (ok, listed, err) = said(&world.tool(&["parked"]));
    assert!(ok && listed.starts_with("bad: 2 since") && listed.contains("it is bad"), "{listed}{err}");
    assert!(world.tool(&["parked", "retry", "bad"]).status.success());
    let (ok, _, err) = said(&world.tool(&["parked", "drop", "good", "--reason", "a test"]));
    assert!(!ok && err.contains("nothing parked under good"), "{err}");
    let (ok, _, err) = said(&world.tool(&["parked", "--reader", "nobody"]));
    assert!(!ok && err.contains(&config.reader), "names those that there are: {err}");
    let (ok, dropped, err) = said(&world.tool(&["parked", "drop", "bad", "--all", "--reason", "a test"]));
    assert!(ok && dropped.lines().count() == 2 && parked().await == 0, "{dropped}{err}");
    // No journal keeps the reason, so it is said.
    let first = dropped.lines().next().unwrap();
    assert!(err.contains(&format!("dropped {first} of bad: a test")), "{dropped}{err}");

    let (ok, listed, err) = said(&world.tool(&["positions"]));
    assert!(ok && listed.contains(&format!("{}/", world.topic)) && listed.contains("/farandole/billing 1."), "{listed}{err}");
    // As messages of a reader say it: whose it is, behind the verb.
    let set = ["positions", "set", "--reader", &config.reader, "--topic", &world.topic, "--to", "earliest"];
    let (ok, would, err) = said(&world.tool(&set));
    assert!(ok && would.contains("reads again: ") && would.contains("nothing was changed"), "{would}{err}");
    let (ok, _, err) = said(&world.tool(&[&set[..], &["--execute"]].concat()));
    assert!(!ok && err.contains("--reason"), "{err}");
    let (ok, same, err) = said(&world.tool(&["positions"]));
    assert!(ok && same == listed, "{same}{err}");
    let (ok, moved, err) = said(&world.tool(&[&set[..], &["--execute", "--reason", "a test"]].concat()));
    assert!(ok && moved.lines().filter(|line| line.contains("-> 0")).count() == 6, "{moved}{err}");
    // As with what is dropped: no journal keeps it.
    assert!(err.contains("set by ann: a test"), "{err}");
    // Read again from there: what was given up comes again.
    world.publish(&["good", "bad", "a", "b", "c", "d", "e", "f", "g", "h", "i", "k", "l"]).await;
    eventually("all to be parked again", async || parked().await == 3).await;
    reader.stop().await.unwrap();
}

/// Guard: what is a service's is left to its own program, which has a journal, settings and tables of its own. Without, the reason of a
/// drop is told nobody, and a heal goes on behind events that the service's tables lack.
#[tokio::test(flavor = "multi_thread")]
async fn a_services_own_database_is_left_to_its_program() {
    let world = World::new().await;
    world.publish(&["a"]).await;
    let rows = "insert into farandole.readers (reader) values ('billing'), ('beside');
        insert into farandole.parked (reader, aggregate, topic, partition, record_offset, headers, reason, head)
        values ('billing', 'k', 't', 0, 1, '[]', 'bad', true), ('beside', 'k', 't', 0, 1, '[]', 'bad', true)";
    sqlx::raw_sql(rows).execute(&world.pool).await.unwrap();
    sqlx::query("update farandole.owner set topic = $1").bind(&world.topic).execute(&world.pool).await.unwrap();
    let facts = "select jsonb_build_array((select jsonb_agg(p) from farandole.parked p), (select jsonb_agg(s) from farandole.steps s))::text";
    let facts = async || sqlx::query_scalar::<_, String>(facts).fetch_one(&world.pool).await.unwrap();
    let before = facts().await;
    let topic = world.topic.as_str();
    for (args, words) in [
        (&["parked", "retry", "--reader", "billing", "k"][..], "run `billing parked retry k`"),
        (&["parked", "drop", "--reader", "billing", "k", "--reason", "a test"], "run `billing parked drop k --reason"),
        (&["positions", "set", "--reader", "billing", "--topic", topic, "--to", "0"], "run `billing positions set --topic"),
        (&["heal", "--service", "billing", "--skip-missing", "--execute"], "run `billing heal`"),
        (&["heal", "--service", "billing"], "run `billing heal`"),
    ] {
        // Options of a verb stand before what it does.
        let args: Vec<&str> = match args {
            [verb @ ("parked" | "positions"), what, reader @ "--reader", name, rest @ ..] => {
                [&[*verb, *reader, *name, *what], rest].concat()
            }
            args => args.to_vec(),
        };
        let (ok, out, err) = said(&world.tool(&args));
        assert!(!ok && err.contains(words), "{args:?}: {out}{err}");
    }
    assert_eq!(facts().await, before, "nothing was changed");
    // A look is free, and a reader beside the service has no other program.
    assert!(world.tool(&["parked", "--reader", "billing"]).status.success());
    let (ok, dropped, err) = said(&world.tool(&["parked", "--reader", "beside", "drop", "k", "--reason", "a test"]));
    assert!(ok && dropped == "t/0/1\n" && err.contains("a test"), "{dropped}{err}");
}

/// Guard: the tool's sessions run under the kit's settings. Without, somebody's function in a schema of the path stands in for
/// PostgreSQL's, and there seem to be no positions.
#[tokio::test(flavor = "multi_thread")]
async fn the_tools_sessions_are_the_kits() {
    let world = World::new().await;
    let rows = "insert into farandole.readers (reader) values ('r');
        insert into farandole.steps (scope, step, state) values ('position/r/t/0', 1, '{\"next_offset\": 7, \"heads\": {}}');
        create function public.split_part(text, text, integer) returns text immutable language sql as $$ select ''::text $$";
    sqlx::raw_sql(rows).execute(&world.pool).await.unwrap();
    let name: String = sqlx::query_scalar("select current_database()").fetch_one(&world.pool).await.unwrap();
    let path = format!("alter database \"{name}\" set search_path = public, pg_catalog");
    sqlx::raw_sql(sqlx::AssertSqlSafe(path)).execute(&world.pool).await.unwrap();
    let (ok, listed, err) = said(&world.tool(&["positions"]));
    assert!(ok && listed.starts_with("t/0: 7, behind by an unknown number"), "{listed}{err}");
}

/// Layer a, after a restored backup. Guards: the message names the tool, which says what is missing; nothing goes on behind it
/// before somebody says so.
#[tokio::test(flavor = "multi_thread")]
async fn an_outbox_is_healed_after_a_restored_backup() {
    let world = World::new().await;
    world.publish(&["a", "b"]).await;
    let copy = "create table steps as table farandole.steps; create table rows as table farandole.outbox";
    sqlx::raw_sql(copy).execute(&world.pool).await.unwrap();
    world.publish(&["a", "b", "c"]).await;
    let restore = "truncate farandole.steps, farandole.outbox; insert into farandole.steps table steps;
                   insert into farandole.outbox overriding system value table rows";
    sqlx::raw_sql(restore).execute(&world.pool).await.unwrap();
    let (relay, _) = Relay::new(world.pool.clone(), relay::Config::new("billing", &world.kafka));
    let mut relay = relay.start();
    let refused = tokio::time::timeout(PATIENCE, relay.ended()).await.unwrap().unwrap_err().to_string();
    assert!(refused.contains("`farandole heal --service billing`"), "{refused}");

    let heal = ["heal", "--service", "billing"];
    let (ok, _, err) = said(&world.tool(&heal));
    assert!(!ok && err.contains("3 record(s) that this database lacks"), "{err}");
    // The commands that it names can be run as they stand.
    assert!(err.contains(&format!("`farandole verify {}`", world.topic)), "{err}");
    assert!(err.contains("`farandole heal --service billing --skip-missing --execute`"), "{err}");
    let skip = [&heal[..], &["--skip-missing"]].concat();
    let (ok, found, err) = said(&world.tool(&skip));
    assert!(ok && found.contains("nothing was changed"), "{found}{err}");
    let (ok, done, err) = said(&world.tool(&[&skip[..], &["--execute"]].concat()));
    assert!(ok, "{done}{err}");
    world.publish(&["a", "z"]).await;
    let (kafka, topic) = (world.kafka.clone(), world.topic.clone());
    let walk = move || farandole_cli::verify::topic(&kafka, &[], &topic, false);
    let report = tokio::task::spawn_blocking(walk).await.unwrap().unwrap();
    assert_eq!((report.violations, report.records), (0, 7), "{:?}", report.examples);
    let (ok, whole, err) = said(&world.tool(&heal));
    assert!(ok && whole.contains("nothing to do"), "{whole}{err}");
}

/// Layer a for whoever isn't Rust: tables, relay and events by the tool and psql alone. Guard: the relay ends in order when it is told to.
#[tokio::test(flavor = "multi_thread")]
async fn an_outbox_needs_no_program_in_rust() {
    let world = World::empty().await;
    let topic = format!("{}.made", world.topic);
    for _ in 0..2 {
        assert!(world.tool(&["migrate"]).status.success());
    }
    let append = format!(
        "select farandole.append('{}', 'k', 'billing.Paid', jsonb_build_object('n', n)) from generate_series(1, 50) n",
        topic
    );
    assert!(Command::new("psql").args(["-qAtX", &world.url, "-c", &append]).output().unwrap().status.success());
    let mut relay = Command::new(env!("CARGO_BIN_EXE_farandole"))
        .args(["relay", "--service", "billing", "--source", "/acme/billing", "--topic", &topic, "--create-topics"])
        .env("FARANDOLE_DATABASE_URL", &world.url)
        .env("FARANDOLE_KAFKA_BOOTSTRAP", &world.kafka)
        .stderr(std::process::Stdio::piped())
        .spawn()
        .unwrap();
    let walk = async || {
        let (kafka, topic) = (world.kafka.clone(), topic.clone());
        tokio::task::spawn_blocking(move || farandole_cli::verify::topic(&kafka, &[], &topic, false)).await.unwrap()
    };
    eventually("all to be published", async || walk().await.is_ok_and(|report| report.records == 50)).await;
    let report = walk().await.unwrap();
    assert_eq!((report.violations, report.chains[0].source.as_str()), (0, "/acme/billing"));
    assert!(Command::new("kill").args(["-TERM", &relay.id().to_string()]).status().unwrap().success());
    eventually("the relay to end", async || relay.try_wait().unwrap().is_some()).await;
    let (ok, _, err) = said(&relay.wait_with_output().unwrap());
    assert!(ok, "{err}");
    let (ok, _, err) = said(&world.tool(&["relay", "--service", "another"]));
    assert!(!ok && err.contains("belongs to service `billing`"), "{err}");
}

/// Guard: the kit's tables are asked for. Without, a relay and a reader wait for a relation that doesn't exist, and say only so.
#[tokio::test(flavor = "multi_thread")]
async fn a_database_without_the_kits_tables_is_told_what_it_lacks() {
    let world = World::empty().await;
    let config = intake::Config::new(format!("{}-readers", world.topic), &world.kafka, vec![world.topic.clone()]);
    let reader = Reader::new(Picky, Codec::json(), world.pool.clone(), config).start();
    let (relay, _) = Relay::new(world.pool.clone(), relay::Config::new("billing", &world.kafka));
    let relay = relay.start();
    let healths = [reader.health(), relay.health()];
    let lack = async |words: &str| {
        eventually(words, async || healths.iter().all(|health| health.troubles().iter().any(|t| t.contains(words)))).await;
    };
    lack("this database lacks the kit's tables: as their owner, call `migrate` of this crate, or run `farandole migrate`").await;
    farandole::migrate(&world.pool).await.unwrap();
    eventually("both to go on", async || healths.iter().all(|health| health.is_well())).await;
    relay.stop().await.unwrap();
    sqlx::query("delete from farandole._sqlx_migrations where version > 6").execute(&world.pool).await.unwrap();
    let (relay, _) = Relay::new(world.pool.clone(), relay::Config::new("billing", &world.kafka));
    let relay = relay.start();
    let health = relay.health();
    let words = "the kit's tables are as of migration 6, and this build needs 8";
    eventually(words, async || health.troubles().iter().any(|trouble| trouble.contains(words))).await;
    relay.stop().await.unwrap();
    reader.stop().await.unwrap();
}
