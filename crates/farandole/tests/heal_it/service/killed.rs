//! A rebuild whose process is killed, or that is overtaken by another one.

use std::process::{Child, Command, Stdio};

use farandole::rebuild::{self, Options, Rebuild, Report};
use serde::{Deserialize, Serialize};
use sqlx::pool::PoolConnection;
use sqlx::{Executor as _, Postgres};

use super::*;
use crate::till::{Tills, service};
use crate::world::Random;

const KILLS: usize = 20;
/// The variable that tells a process what to rebuild.
const TOLD: &str = "TILL_REBUILD";
const VERIFY: Options = Options { verify: true, ignore_space: true, ..Options::DEFAULT };
const EXECUTE: Options = Options { execute: true, ..VERIFY };

/// Where a rebuild is killed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Phase {
    Folding,
    Writing,
    Indexes,
    Comparing,
    Gate,
    Swap,
}

const PHASES: [Phase; 6] = [Phase::Folding, Phase::Writing, Phase::Indexes, Phase::Comparing, Phase::Gate, Phase::Swap];

impl Phase {
    /// What has a rebuild wait there, as long as the transaction that runs it is open.
    fn lock(self) -> &'static str {
        match self {
            Self::Folding => "select 1",
            Self::Writing => "select pg_advisory_xact_lock(1)",
            Self::Indexes => "select pg_advisory_xact_lock(2)",
            Self::Comparing => "lock table public.articles in access exclusive mode",
            Self::Gate => "select pg_advisory_xact_lock_shared(7377303427399053164)",
            Self::Swap => "lock table public.articles in access share mode",
        }
    }
}

/// Has rebuilds, and nobody else, wait for these locks where they write rows, and where they make an index.
const WAITS: &str = "
    create function waits(text, bigint) returns text immutable language plpgsql as $$ begin
      if current_setting('application_name') = 'till rebuild' then perform pg_advisory_xact_lock_shared($2); end if;
      return $1;
    end $$;
    alter table articles add column written text generated always as (waits(article, 1)) stored;
    create index articles_waiting on articles (waits(article, 2))";

/// What a process rebuilds.
#[derive(Debug, Serialize, Deserialize)]
struct Told {
    database: String,
    kafka: String,
    registry: String,
    topic: String,
    execute: bool,
    /// Events that are folded at once.
    at_once: usize,
}

impl Told {
    fn of(shop: &Shop, execute: bool) -> Self {
        let (database, kafka) = (shop.database.url.clone(), shop.config.kafka.bootstrap.clone());
        let topic = format!("{}till", shop.config.topics.prefix);
        Self { database, kafka, registry: shop.config.registry.url.clone(), topic, execute, at_once: 3 }
    }

    /// In small pieces: there is much to be broken off.
    async fn rebuild(&self) -> Result<Report, rebuild::Error> {
        let pool = crate::world::pool(&self.database, 2).await;
        let mut relay = relay::Config::new("till", &self.kafka);
        relay.topics = vec![self.topic.clone(), format!("{}.journal", self.topic)];
        let codec = Codec::new(&self.registry, pool.clone());
        codec.add_reader_schema(Event::TYPES).unwrap();
        let (participant, topic) = (Arc::new(Tills), self.topic.clone());
        let rebuild = Rebuild { held: 1, at_once: self.at_once, ..Rebuild::new(participant, codec, topic, &relay, &pool) };
        rebuild.run(if self.execute { EXECUTE } else { VERIFY }).await
    }
}

/// The process that is killed below: this program, told to run this alone.
#[tokio::test(flavor = "multi_thread")]
#[ignore = "another test starts it as a process, and kills it"]
async fn a_process_of_its_own() {
    let told = std::env::var(TOLD).expect("it is told what to rebuild");
    let told: Told = serde_json::from_str(&told).unwrap();
    told.rebuild().await.unwrap();
}

fn process(told: &Told) -> Child {
    Command::new(std::env::current_exe().unwrap())
        .args(["service::killed::a_process_of_its_own", "--exact", "--ignored"])
        .env(TOLD, serde_json::to_string(told).unwrap())
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn()
        .unwrap()
}

impl Shop {
    /// Some sales, counted.
    async fn some(&mut self, random: &mut Random) {
        for _ in 0..3 + random.below(8) {
            let article = ["tea", "cups"][random.below(2) as usize];
            self.sell(&format!("k{}", random.below(5)), article, 20 + random.below(9) as i64).await;
        }
        self.all_counted().await;
    }

    async fn clean(&self) {
        service(self.insurer.clone()).clean_rebuilds(&self.config, true, None).await.unwrap();
    }
}

/// Sessions of rebuilds, and those that wait for a lock.
async fn sessions(pool: &PgPool) -> (i64, i64) {
    let sql = "select count(*), count(*) filter (where wait_event_type = 'Lock') from pg_stat_activity
               where datname = current_database() and application_name = 'till rebuild'";
    sqlx::query_as(sql).fetch_one(pool).await.unwrap()
}

/// How far the fold is, as it says itself; nothing if none has begun.
async fn marks(pool: &PgPool) -> Option<serde_json::Value> {
    sqlx::query_scalar("select marks from farandole_rebuild.farandole_progress").fetch_optional(pool).await.ok().flatten()
}

/// Rows, and which tables they are in.
async fn live(pool: &PgPool) -> (super::Tills, BTreeMap<String, i64>, Vec<i64>) {
    let (tills, articles) = state(pool).await;
    let sql = "select oid::bigint from pg_class where oid in ('public.tills'::regclass, 'public.articles'::regclass) order by 1";
    (tills, articles, sqlx::query_scalar(sql).fetch_all(pool).await.unwrap())
}

async fn holding(pool: &PgPool, phase: Phase) -> PoolConnection<Postgres> {
    let mut holder = pool.acquire().await.unwrap();
    holder.execute("begin").await.unwrap();
    holder.execute(phase.lock()).await.unwrap();
    holder
}

/// Starts a process that rebuilds, and kills it at that place.
async fn kill(shop: &Shop, pool: &PgPool, phase: Phase, random: &mut Random) {
    let mut holder = holding(pool, phase).await;
    let mut child = process(&Told::of(shop, phase == Phase::Swap));
    if phase == Phase::Folding {
        // After some of its transactions, or in the midst of one.
        let mut before = None;
        for _ in 0..1 + random.below(3) {
            let on = async || marks(pool).await != before || child.try_wait().unwrap().is_some();
            eventually("the fold to go on", PATIENCE, on).await;
            before = marks(pool).await;
        }
    } else {
        let waits = async || {
            assert!(child.try_wait().unwrap().is_none(), "it ended without waiting at {phase:?}");
            sessions(pool).await.1 > 0
        };
        eventually("the rebuild to wait", PATIENCE, waits).await;
    }
    child.kill().unwrap();
    child.wait().unwrap();
    holder.execute("commit").await.unwrap();
    drop(holder);
    eventually("its sessions to end", PATIENCE, async || sessions(pool).await.0 == 0).await;
}

/// D13. Killed in whatever phase, twenty times in a row: the live tables are as they were, the same tables, until a swap has committed; the next run
/// goes on and ends right; and nothing is left behind once it is cleaned up.
///
/// Guards: rows and how far they are folded are one transaction, indexes and the note that they are there are one, and so is the swap.
#[tokio::test(flavor = "multi_thread")]
async fn a_rebuild_may_be_killed_anywhere() {
    let mut shop = Shop::new().await;
    let till = shop.start(Missing::Make).await.ready().await;
    let pool = crate::world::pool(&shop.database.url, 4).await;
    pool.execute(WAITS).await.unwrap();
    let mut random = Random::new(std::process::id().into());
    let mut places: Vec<Phase> = PHASES.into_iter().cycle().take(KILLS).collect();
    for i in (1..places.len()).rev() {
        places.swap(i, random.below(i as u64 + 1) as usize);
    }
    for (i, phase) in places.iter().enumerate() {
        let said = format!("kill {i} of {places:?}");
        shop.some(&mut random).await;
        match phase {
            // A rebuild that was finished once makes no indexes again.
            Phase::Folding | Phase::Indexes => shop.clean().await,
            // And one that begins reads the live tables.
            Phase::Comparing => assert_eq!(Told::of(&shop, false).rebuild().await.unwrap().differences(), 0, "{said}"),
            Phase::Writing | Phase::Gate | Phase::Swap => {}
        }
        let before = live(&pool).await;
        kill(&shop, &pool, *phase, &mut random).await;
        assert_eq!(live(&pool).await, before, "{said}");
        // Or what comes next is killed as well.
        if random.below(2) == 0 {
            let report = Told::of(&shop, random.below(2) == 0).rebuild().await.unwrap();
            assert_eq!((report.differences(), &live(&pool).await.0), (0, &before.0), "{said}: {report}");
        }
    }
    let before = state(&pool).await;
    let report = Told::of(&shop, true).rebuild().await.unwrap();
    assert!(report.differences() == 0 && report.replaced.is_some(), "{report}");
    assert_eq!(state(&pool).await, before);
    shop.clean().await;
    let sql = "select nspname::text from pg_namespace where nspname like 'farandole\\__%'";
    assert!(sqlx::query_scalar::<_, String>(sql).fetch_all(&pool).await.unwrap().is_empty());
    shop.some(&mut random).await;
    till.stop().await;
    pool.close().await;
}

/// D13. The session that kept others away was ended, as the second rebuild says one may, while the first goes on writing with another one.
///
/// Guard: what is written follows what was written before, by the database's own word. Without, both write, and rows are folded twice.
#[tokio::test(flavor = "multi_thread")]
async fn a_rebuild_that_was_overtaken_writes_no_more() {
    let mut shop = Shop::new().await;
    let till = shop.start(Missing::Make).await.ready().await;
    let pool = crate::world::pool(&shop.database.url, 4).await;
    pool.execute(WAITS).await.unwrap();
    let told = Told::of(&shop, false);
    // Rows that are there are changed: no key is there twice then.
    for round in 0..2 {
        for n in 1..10 {
            shop.sell(&format!("k{}", n % 3), if n % 2 == 0 { "tea" } else { "cups" }, 20 + n).await;
        }
        shop.all_counted().await;
        if round == 0 {
            told.rebuild().await.unwrap();
        }
    }
    let before = state(&pool).await;
    let holder = holding(&pool, Phase::Writing).await;
    // The first has folded more than the second, which reads rows back, when it writes.
    let ahead = Told { at_once: 1_000, ..Told::of(&shop, false) };
    let (one, two) = (
        async || ahead.rebuild().await,
        async || {
            eventually("the first to write", PATIENCE, async || sessions(&pool).await.1 == 1).await;
            let refused = told.rebuild().await.unwrap_err();
            assert!(matches!(&refused, rebuild::Error::Running { who: Some(_), .. }), "{refused}");
            let sql = "select pg_terminate_backend(pid, 5000) from pg_stat_activity join pg_locks using (pid)
                   where application_name = 'till rebuild' and datname = current_database() and locktype = 'advisory' and granted";
            pool.execute(sql).await.unwrap();
            told.rebuild().await
        },
    );
    let release = async {
        let mut holder = holder;
        eventually("both to write", PATIENCE, async || sessions(&pool).await.1 == 2).await;
        holder.execute("commit").await.unwrap();
    };
    let (one, two, ()) = tokio::join!(Box::pin(one()), Box::pin(two()), Box::pin(release));
    let said = |error: &rebuild::Error| farandole::engine::chain_of(error);
    assert!(one.is_err() && two.as_ref().is_err_and(|error| said(error).contains("another rebuild")), "{one:?} {two:?}");
    let report = told.rebuild().await.unwrap();
    assert_eq!(report.differences(), 0, "{report}");
    assert_eq!(state(&pool).await, before);
    till.stop().await;
    pool.close().await;
}
