//! Deciding beside a heal.

use std::sync::Arc;
use std::time::Duration;

use farandole::Body;
use farandole::agenda::{Agenda, Poke};
use farandole::engine::{Engine, Error, NoSource, Origin, Work};
use farandole::relay::{self, History, Relay, Role};
use tokio_util::sync::CancellationToken;

use crate::world::{Bank, Chronicle, Happened, World, eventually, hurried};

/// The number of the lock that deciding transactions share and a heal holds alone.
const LOCK: i64 = 7_377_303_427_399_053_164;

/// O3. While a heal works, commands wait and no effect starts. Guards: `gate::begin`, and the same
/// lock in the statement that claims.
#[tokio::test(flavor = "multi_thread")]
async fn beside_a_heal_nothing_is_decided_and_no_effect_starts() {
    let world = World::new().await;
    world.tell([("a", "pay now")]).await;
    let mut heal = world.pool.acquire().await.unwrap();
    sqlx::query("select pg_advisory_lock($1)").bind(LOCK).execute(&mut *heal).await.unwrap();
    let bank = Bank::quick();
    let agenda = world.start(&bank, hurried());
    let healing = async {
        eventually("the command to wait", async || {
            let waiting = "select count(*) from pg_locks where locktype = 'advisory' and not granted and mode = 'ShareLock'
                           and database = (select oid from pg_database where datname = current_database())";
            world.count(waiting).await == 1
        })
        .await;
        // Some looks of the agenda.
        tokio::time::sleep(Duration::from_millis(500)).await;
        assert!(bank.calls().is_empty() && world.story("b").await.is_empty());
        sqlx::query("select pg_advisory_unlock($1)").bind(LOCK).execute(&mut *heal).await.unwrap();
    };
    tokio::join!(world.tell([("b", "hello")]), healing);
    assert_eq!(world.story("b").await, "hello");
    eventually("the effect to be made", async || world.story("a").await == "pay now, paid ok").await;
    eventually("all to be clear", async || world.is_clear().await).await;
    agenda.stop().await;
}

/// A relay's comparison of the database with its topics, of which there are none. The relay is gone afterwards.
pub async fn compared(world: &World) -> History {
    let kafka = stage::Stage::shared().kafka();
    let (relay, _) = Relay::new(world.pool.clone(), relay::Config::new("chronicle", kafka));
    let (history, status, shutdown) = (relay.history(), relay.status(), CancellationToken::new());
    let task = tokio::spawn(relay.run(shutdown.clone()));
    eventually("the relay to be active", async || status.role() == Role::Active).await;
    shutdown.cancel();
    task.await.unwrap().unwrap();
    history
}

async fn decide(engine: &Engine<Chronicle>, key: &str, what: &str) -> Result<(), Error> {
    let body = Body::Command(Happened { key: key.to_owned(), what: what.to_owned() });
    let work = Work::new(key.to_owned(), body, Origin { cause: "command/test".to_owned(), ..Origin::default() });
    engine.run(&mut [work], &mut NoSource).await.map(drop)
}

/// A process that slept has its comparison of before, and neither looks at the relay nor is told. In a database where the server went on
/// and each step is still there only the lineage says that it was healed; in one that was set back in place the step does. Guards: the
/// look of each deciding transaction (`transaction.rs`) and of each claim (`claims.rs`), and each of its conditions (`holds_sql`).
#[tokio::test(flavor = "multi_thread")]
async fn what_was_compared_before_a_heal_decides_nothing_after_it() {
    let went_on = "insert into farandole.steps (scope, step, state) select scope, step + 1, state || ";
    let newest = " from farandole.steps where scope = 'relay' order by step desc limit 1";
    let since: [(&str, &[String]); 3] = [
        ("healed", &[format!("{went_on}'{{\"lineage\": 2}}'{newest}")]),
        ("being healed", &[format!("{went_on}'{{\"healing\": true}}'{newest}")]),
        // Another history, which has taken as many steps since.
        ("set back", &["update farandole.steps set taken_at = taken_at + interval '1 second' where scope = 'relay'".to_owned()]),
    ];
    for (what, since) in since {
        let world = World::new().await;
        let history = compared(&world).await;
        let poke = Poke::default();
        let engine = Arc::new(world.new_engine(&poke).rests_on(history.clone()));
        decide(&engine, "a", "pay now").await.unwrap();
        // Published, or it would wait for that.
        sqlx::query("update farandole.tasks set xid = null").execute(&world.pool).await.unwrap();
        for sql in since {
            sqlx::query(sqlx::AssertSqlSafe(sql.as_str())).execute(&world.pool).await.unwrap();
        }
        // The claims first: the process is closed by who finds out.
        let (bank, shutdown) = (Bank::quick(), CancellationToken::new());
        let agenda = Agenda::new(Arc::clone(&engine), bank.clone(), world.pool.clone(), hurried(), poke);
        let agenda = tokio::spawn(agenda.run(shutdown.clone()));
        eventually(what, async || history.trouble().is_some()).await;
        assert!(bank.calls().is_empty(), "{what}: an effect was started");
        let claims = world.count("select count(*) from farandole.steps where scope like 'claim/%'").await;
        assert_eq!(claims, 0, "{what}: a claim was taken, which would count as an attempt");
        shutdown.cancel();
        agenda.await.unwrap();

        let history = compared_anew(&world, what).await;
        let engine = world.new_engine(&Poke::default()).rests_on(history);
        for sql in since {
            sqlx::query(sqlx::AssertSqlSafe(sql.replace("\"lineage\": 2", "\"lineage\": 3"))).execute(&world.pool).await.unwrap();
        }
        let refused = decide(&engine, "b", "hello").await;
        assert!(matches!(refused, Err(Error::Parted(_))), "{what}: {refused:?}");
        assert_eq!(world.story("b").await, "", "{what}");
    }
}

/// [`compared`] once more: where a heal was broken off, after it was ended.
async fn compared_anew(world: &World, what: &str) -> History {
    if what == "being healed" {
        sqlx::query("update farandole.steps set state = state - 'healing'").execute(&world.pool).await.unwrap();
    }
    compared(world).await
}
