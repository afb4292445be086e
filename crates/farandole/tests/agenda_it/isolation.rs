//! Two batches over one aggregate, at every isolation level that a role may have by default.

use std::sync::Arc;

use farandole::engine::{Engine, Error, Origin, Source, Verdict, Work};
use farandole::parking::input::What;
use farandole::parking::{self, Limits, Parked, Why};
use farandole::{Body, Participant as _, Record};
use futures_util::future::BoxFuture;
use sqlx::postgres::PgPoolOptions;
use sqlx::{AssertSqlSafe, Connection as _, Executor as _, PgConnection};
use tokio::sync::Notify;

use crate::world::{Chronicle, Happened, World, eventually};

const LEVELS: [&str; 3] = ["read committed", "repeatable read", "serializable"];

/// Parks what must be; then, all of it written and nothing committed, says so and waits to be told to go on.
struct Steps {
    written: Arc<Notify>,
    go_on: Arc<Notify>,
    level: String,
}

impl Source<Work<Chronicle>> for Steps {
    fn claim<'a>(
        &'a mut self,
        conn: &'a mut PgConnection,
        works: &'a [Work<Chronicle>],
    ) -> BoxFuture<'a, Result<Vec<bool>, Error>> {
        Box::pin(async move {
            self.level = sqlx::query_scalar("select current_setting('transaction_isolation')").fetch_one(conn).await.unwrap();
            Ok(vec![true; works.len()])
        })
    }
    fn settle<'a>(
        &'a mut self,
        conn: &'a mut PgConnection,
        _: &'a [Work<Chronicle>],
        verdicts: &'a [Verdict],
    ) -> BoxFuture<'a, Result<(), Error>> {
        Box::pin(async move {
            let limits = Limits { aggregate: 100, total: 100, a_minute: 100 };
            let record = Record { topic: "t".to_owned(), partition: 0, offset: 0, key: None, value: None, headers: Vec::new() };
            if let Verdict::Parked(fault) = &verdicts[0] {
                let parked = [Parked {
                    aggregate: "k".to_owned(),
                    key: "k".to_owned(),
                    what: What::Record(&record),
                    why: Why::Fault(fault),
                }];
                parking::park(conn, Chronicle::NAME, None, &parked, limits).await?;
            }
            self.written.notify_one();
            self.go_on.notified().await;
            Ok(())
        })
    }
}

/// What became of a batch, and at which level it ran.
type Ran = tokio::task::JoinHandle<(Result<Vec<Verdict>, Error>, String)>;

/// Hears of `what`, over a source that stops before the commit.
fn hear(engine: Arc<Engine<Chronicle>>, what: &str) -> (Arc<Notify>, Arc<Notify>, Ran) {
    let (written, go_on) = (Arc::new(Notify::new()), Arc::new(Notify::new()));
    let mut source = Steps { written: Arc::clone(&written), go_on: Arc::clone(&go_on), level: String::new() };
    let event = Happened { key: "k".to_owned(), what: what.to_owned() };
    let origin = Origin { cause: "t/0/0".to_owned(), ..Origin::default() };
    let task = tokio::spawn(async move {
        let mut works = [Work::new(event.key.clone(), Body::Heard(event.into()), origin)];
        let result = engine.run(&mut works, &mut source).await;
        (result, source.level)
    });
    (written, go_on, task)
}

/// O7: an input parks in a transaction that only locked its aggregate's row; another, for the same aggregate and from elsewhere, waited
/// for that row. It must find the first parked, and queue. Guard: the level named by `session::begin`. Without, under `repeatable read` it
/// sees what is parked as of before its wait, and overtakes.
#[tokio::test(flavor = "multi_thread")]
async fn nothing_overtakes_a_parked_input_whatever_level_a_role_has() {
    for level in LEVELS {
        let world = World::new().await;
        world.tell([("k", "began")]).await;
        let set = format!("alter role current_user set default_transaction_isolation = '{level}'");
        world.pool.execute(AssertSqlSafe(set)).await.unwrap();
        let options = world.pool.connect_options().as_ref().clone();
        let odd = World { pool: PgPoolOptions::new().max_connections(4).connect_with(options).await.unwrap() };
        let engine = odd.engine(&farandole::agenda::Poke::default());

        let (written, go_on, first) = hear(Arc::clone(&engine), "balk");
        written.notified().await;
        let (_, go_on_too, second) = hear(engine, "later");
        eventually("the second to wait for the row", async || {
            let waiting = "select count(*) from pg_stat_activity where datname = current_database() and wait_event_type = 'Lock'";
            world.count(waiting).await == 1
        })
        .await;
        go_on.notify_one();
        let (verdicts, _) = first.await.unwrap();
        assert!(matches!(&verdicts.unwrap()[..], [Verdict::Parked(_)]), "{level}");
        go_on_too.notify_one();
        let (verdicts, ran_at) = second.await.unwrap();
        assert!(matches!(&verdicts.unwrap()[..], [Verdict::Held { .. }]), "overtaken: the role's level is {level}");
        assert_eq!(ran_at, "read committed", "the role's level is {level}");
        assert_eq!(world.story("k").await, "began", "{level}");
    }
}

/// The same by hand, without the engine: that the overtaking is real, and at which levels. `repeatable read` reads over the parked input and
/// commits; `serializable` reads over it, too, but is ended at its write. So a stricter level than the one named is no safer.
#[tokio::test(flavor = "multi_thread")]
async fn what_would_overtake_without_the_level() {
    for (level, sees, commits) in [(LEVELS[0], true, true), (LEVELS[1], false, true), (LEVELS[2], false, false)] {
        let world = World::new().await;
        world.tell([("k", "began")]).await;
        let begin = format!("begin isolation level {level}");
        let lock = "select story from stories where key = 'k' for no key update";
        let (mut one, mut other) = (world.pool.acquire().await.unwrap(), world.pool.acquire().await.unwrap());
        let mut first = one.begin_with(AssertSqlSafe(begin.clone())).await.unwrap();
        first.fetch_one(lock).await.unwrap();
        // What a batch asks once its rows are locked.
        let parked = "select exists (select from farandole.parked where reader = 'chronicle' and aggregate = 'k')";
        assert!(!sqlx::query_scalar::<_, bool>(parked).fetch_one(&mut *first).await.unwrap());
        let pid: i32 = sqlx::query_scalar("select pg_backend_pid()").fetch_one(&mut *other).await.unwrap();
        let second = async {
            let mut second = other.begin_with(AssertSqlSafe(begin)).await.unwrap();
            second.fetch_one(lock).await?;
            let seen = sqlx::query_scalar::<_, bool>(parked).fetch_one(&mut *second).await.unwrap();
            let written = async {
                second.execute("update stories set story = story || ', later' where key = 'k'").await?;
                second.commit().await
            };
            Ok::<_, sqlx::Error>((seen, written.await.is_ok()))
        };
        let parks = async {
            eventually("the second to wait", async || {
                let waits =
                    sqlx::query_scalar("select count(*) from pg_stat_activity where pid = $1 and wait_event_type = 'Lock'");
                waits.bind(pid).fetch_one(&world.pool).await.unwrap_or(0_i64) == 1
            })
            .await;
            first
                .execute(
                    "insert into farandole.parked (reader, aggregate, topic, partition, record_offset, headers, reason, head)
                     values ('chronicle', 'k', 't', 0, 0, '[]', 'balks', true)",
                )
                .await
                .unwrap();
            first.commit().await.unwrap();
        };
        let (second, ()) = tokio::join!(second, parks);
        assert_eq!(second.unwrap(), (sees, commits), "{level}");
    }
}
