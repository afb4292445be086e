//! What the kit works on when connections are forgotten.

use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering::SeqCst};
use std::time::Duration;

use farandole::agenda::Poke;
use farandole::engine::{Engine, Error, NoSource, Origin, Verdict, Work, session};
use farandole::{Body, Codec};
use sqlx::AssertSqlSafe;
use sqlx::postgres::{PgPool, PgPoolOptions};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};

use crate::world::{Chronicle, Happened, World};

/// Leads to `target`, and passes on so many requests of the first connection; then it is forgotten. Gives its port.
async fn forgetful(target: String, left: Arc<AtomicI64>) -> u16 {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let port = listener.local_addr().unwrap().port();
    tokio::spawn(async move {
        let mut first = true;
        while let Ok((near, _)) = listener.accept().await {
            let far = TcpStream::connect(&target).await.unwrap();
            let ((mut from, mut to_near), (mut from_far, mut to)) = (near.into_split(), far.into_split());
            let (is_first, left) = (std::mem::take(&mut first), Arc::clone(&left));
            tokio::spawn(async move {
                let mut buffer = vec![0; 64 * 1024];
                while let Ok(n @ 1..) = from.read(&mut buffer).await {
                    if !is_first || left.fetch_sub(1, SeqCst) > 0 {
                        to.write_all(&buffer[..n]).await.unwrap();
                    }
                }
            });
            tokio::spawn(async move { tokio::io::copy(&mut from_far, &mut to_near).await });
        }
    });
    port
}

/// The only connection is forgotten after one answer more than its use needs: when a pool would ask it, in vain, whether it lives.
/// Guard: connections don't go back to the pool. Without, the next use waits for a place that is never free again.
#[tokio::test]
async fn a_forgotten_connection_gives_its_place_back() {
    let world = World::new().await;
    let schema = "insert into farandole.schemas select n, '\"string\"' from generate_series(901, 906) n";
    sqlx::query(schema).execute(&world.pool).await.unwrap();
    let options = world.pool.connect_options().as_ref().clone();
    let left = Arc::new(AtomicI64::new(i64::MAX));
    let port = forgetful(format!("{}:{}", options.get_host(), options.get_port()), Arc::clone(&left)).await;
    let pool = farandole::engine::session::watched(PgPoolOptions::new()).max_connections(1);
    let pool = pool.acquire_timeout(Duration::from_secs(3)).connect_lazy_with(options.host("127.0.0.1").port(port));
    let codec = Codec::new("http://127.0.0.1:9", pool);
    // Each asks the database once. The first prepares its statement.
    codec.prepare([901]).await.unwrap();
    codec.prepare([902]).await.unwrap();
    tokio::time::sleep(Duration::from_millis(100)).await;
    left.store(2, SeqCst);
    codec.prepare([903]).await.unwrap();
    tokio::time::sleep(Duration::from_millis(100)).await;
    codec.prepare([904]).await.expect("one more answer");
    let silent = tokio::time::timeout(Duration::from_secs(1), codec.prepare([905])).await;
    assert!(silent.is_err(), "the connection was not forgotten: the test tests nothing");
    codec.prepare([906]).await.expect("a new connection");
}

/// A pool as services make them, over this world's database.
fn pool(world: &World, name: &str) -> (PgPool, PgPoolOptions) {
    let options = world.pool.connect_options().as_ref().clone().application_name(name);
    let pool = session::watched(PgPoolOptions::new()).max_connections(1).acquire_timeout(Duration::from_secs(3));
    (pool.clone().connect_lazy_with(options), pool)
}

async fn tell(engine: &Engine<Chronicle>, what: &str) -> Result<Vec<Verdict>, Error> {
    let happened = Happened { key: "k".to_owned(), what: what.to_owned() };
    let origin = Origin { cause: "command/test".to_owned(), ..Origin::default() };
    engine.run(&mut [Work::new(happened.key.clone(), Body::Command(happened), origin)], &mut NoSource).await
}

/// As after a fail-over: the server that answers takes no writes, or the session's server no longer does. Guards: a new session is asked
/// whether it may write; one that may not any more is replaced. Without, it is kept for as long as it answers.
#[tokio::test]
async fn a_session_that_takes_no_writes_is_not_kept() {
    let world = World::new().await;
    let behind = World { pool: pool(&world, "read-only").0 };
    let engine = behind.engine(&Poke::default());
    let database: String = sqlx::query_scalar("select current_database()").fetch_one(&world.pool).await.unwrap();
    let all = async |setting: &str| {
        let sql = format!("alter database \"{database}\" {setting}");
        sqlx::raw_sql(AssertSqlSafe(sql)).execute(&world.pool).await.unwrap();
    };
    all("set default_transaction_read_only = on").await;
    let error = farandole::engine::chain_of(&tell(&engine, "a").await.unwrap_err());
    assert!(error.contains("the database is read-only: default_transaction_read_only is on"), "{error}");
    all("reset default_transaction_read_only").await;
    tell(&engine, "b").await.unwrap();

    // The session's own server changes its mind.
    let turn = "create function turn() returns trigger language plpgsql as $$ begin
        if new.story like '%turn' then perform set_config('default_transaction_read_only', 'on', false); end if; return new; end $$;
        create trigger turn before insert or update on stories for each row execute function turn()";
    sqlx::raw_sql(turn).execute(&world.pool).await.unwrap();
    tell(&engine, "turn").await.unwrap();
    let error = farandole::engine::chain_of(&tell(&engine, "c").await.unwrap_err());
    assert!(error.contains("read-only transaction"), "{error}: the session can write, this tests nothing");
    tell(&engine, "d").await.unwrap();
    assert_eq!(world.story("k").await, "b, turn, d");
}

/// Guard: what is kept is as young and as lately used as the pool's bounds say, when it is handed out. Without, a session that nobody
/// else gives back lives for ever.
#[tokio::test]
async fn a_session_too_old_or_too_long_idle_is_not_handed_out() {
    let world = World::new().await;
    let options = world.pool.connect_options().as_ref().clone();
    // Each session notes itself: on a busy machine it is closed before anybody else has looked for it.
    let note = "create table public.noted (at bigint generated always as identity, pid int);
         create function public.note() returns trigger language plpgsql as $$
         begin insert into public.noted (pid) values (pg_backend_pid()); return null; end $$;
         create trigger note after insert on farandole.outbox for each row execute function public.note()";
    sqlx::raw_sql(note).execute(&world.pool).await.unwrap();
    for (name, bound) in [("old", "lifetime"), ("idle", "idle")] {
        let (short, long) = (Duration::from_millis(300), Duration::from_secs(600));
        let (lifetime, idle) = if bound == "idle" { (long, short) } else { (short, long) };
        let pool = pool(&world, name).1.max_lifetime(lifetime).idle_timeout(idle);
        let behind = World { pool: pool.connect_lazy_with(options.clone().application_name(name)) };
        let engine = behind.engine(&Poke::default());
        let session = async || {
            tell(&engine, name).await.unwrap();
            sqlx::query_scalar("select pid from public.noted order by at desc limit 1").fetch_one(&world.pool).await.unwrap()
        };
        let first: i32 = session().await;
        tokio::time::sleep(short).await; // the bound itself
        let later: i32 = session().await;
        assert_ne!(first, later, "{bound}");
    }
}
