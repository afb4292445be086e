//! Sessions with PostgreSQL.
//!
//! **Guarantee.** Every session that the kit opens runs under the settings named here, whatever server, database or role say by
//! default and whatever a pooler does with start-up parameters: [`prepare`] sets them once the session is open, and every
//! transaction names its isolation level itself ([`begin`]), since a handler may have changed the session's default.
//!
//! **How it would fail without**: under `repeatable read` a batch that waited for a row reads what is parked as of before the wait,
//! and decides an input that should have queued behind a parked one; with `synchronous_commit = off` a crash takes back what a
//! caller was told (what comes again by itself is committed so, on purpose: [`begin_repeatable`](crate::database::gate::begin_repeatable)); with a `statement_timeout` of a second no large batch ever ends; a `search_path` that names `pg_catalog` last lets
//! somebody's function stand in for PostgreSQL's.
//!
//! **Left alone**, because it is the service's to choose: where its own tables are found (`search_path`, but for `pg_catalog`), the
//! role that it works as, how much memory and which table spaces it uses, and a `synchronous_commit` that waits for replicas. And
//! `default_transaction_read_only`, which operators and providers turn on to save a server whose disk is full: that is waited for.

use std::time::Duration;

use sqlx::postgres::{PgConnectOptions, PgPoolOptions};
use sqlx::{Connection as _, Executor as _, PgConnection, Postgres, Transaction};

/// Idle for longer than any poll of a part.
pub(super) const IDLE: Duration = Duration::from_secs(5);
/// How long a connection may take to say that it lives.
const PING: Duration = Duration::from_secs(2);

/// An answer that takes longer doesn't come: locks are waited for for 10 s, and a batch takes some 10 ms. What is at the other end of
/// the connection may be gone without a word, as after a firewall forgot it.
pub const LIMIT: Duration = Duration::from_secs(60);

/// What a session must run under, and what for. Tests and the check at the start read it back.
pub const SETTINGS: [(&str, &str); 12] = [
    // Each statement sees what was committed before it: what waited for a lock then looks again.
    ("default_transaction_isolation", "read committed"),
    ("default_transaction_deferrable", "off"),
    // A batch that waits longer for a row is ended and run again; batches take some 10 ms.
    ("lock_timeout", "10s"),
    // As long as anybody waits for the answer (`LIMIT`); after that it would only hold locks.
    ("statement_timeout", "1min"),
    // A session that went quiet inside a transaction (its process was stopped) holds locks no longer than this.
    ("idle_in_transaction_session_timeout", "30s"),
    // How values are written as text, in casts of the service's own and in what is read back.
    ("client_encoding", "UTF8"),
    ("TimeZone", "UTC"),
    ("DateStyle", "ISO, MDY"),
    ("IntervalStyle", "postgres"),
    ("bytea_output", "hex"),
    ("extra_float_digits", "1"),
    ("standard_conforming_strings", "on"),
];

/// Sets [`SETTINGS`], and what depends on what is there:
/// - sessions are kept for as long as the configuration says, and transactions take as long as their statements may, whatever limits
///   of the server's own its version knows;
/// - commits are durable once they are acknowledged; who waits for replicas too goes on doing so;
/// - `pg_catalog` comes first, where it is when a path doesn't name it. Functions and operators of the kit's statements are
///   PostgreSQL's then, unless somebody who may create some in a schema of the path has made one that fits better: whoever may do that
///   is trusted as the service is.
///
/// - a connection whose other end is gone is noticed by the server after about 15 s, and not after two hours.
///
/// One request, without parameters: it needs nothing of the session that a pooler could take away. No backslash is in it, since how
/// those are read is a setting, too.
const SET: &str = "
set tcp_keepalives_idle = 15;
select pg_catalog.set_config('idle_session_timeout', '0', false) where pg_catalog.current_setting('server_version_num')::int >= 140000;
select pg_catalog.set_config('transaction_timeout', '0', false) where pg_catalog.current_setting('server_version_num')::int >= 170000;
select pg_catalog.set_config('synchronous_commit', 'on', false) where pg_catalog.current_setting('synchronous_commit') = 'off';
select pg_catalog.set_config('search_path', pg_catalog.regexp_replace(pg_catalog.regexp_replace(
    path, '(^|,) *\"?pg_catalog\"? *(?=,|$)', '', 'gi'), '^ *, *', ''), false)
from (select pg_catalog.current_setting('search_path') as path) as now where path ~* 'pg_catalog'";

/// And for what looks rows up by key, a batch of keys at a time, on tables that grow by thousands of rows a second: plans made anew
/// each time cost more than the lookup, and ones made from statistics of a minute ago read whole tables.
const LOOKUPS: &str = "set plan_cache_mode = force_generic_plan; set jit = off; set enable_seqscan = off; \
     set enable_indexscan = on; set enable_indexonlyscan = on; set enable_nestloop = on; set enable_partition_pruning = on";

/// What a session is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Purpose {
    /// Statements of all kinds.
    Any,
    /// Decisions: an engine's.
    Lookups,
    /// Work that may take as long as it takes and waits its turn: migrations, a heal.
    Long,
}

/// Brings a session that was just opened under the settings of the module's head.
pub async fn prepare(conn: &mut PgConnection, purpose: Purpose) -> sqlx::Result<()> {
    let mut sql: String = SETTINGS.iter().map(|(name, value)| format!("set {name} = '{value}';")).collect();
    sql.push_str(match purpose {
        Purpose::Any => "",
        Purpose::Lookups => LOOKUPS,
        Purpose::Long => "set statement_timeout = 0; set lock_timeout = 0; set idle_in_transaction_session_timeout = 0",
    });
    sql.push(';');
    sql.push_str(SET);
    conn.execute(sqlx::AssertSqlSafe(sql)).await.map(drop)
}

/// Opens a session and brings it under the settings. `options` must not ask for settings at the start: poolers refuse that.
pub async fn open(options: &PgConnectOptions, purpose: Purpose) -> sqlx::Result<PgConnection> {
    let mut conn = PgConnection::connect_with(options).await?;
    prepare(&mut conn, purpose).await?;
    Ok(conn)
}

/// How a session at `url` is opened.
///
/// # Errors
/// When it can't be read.
pub fn options(url: &str) -> sqlx::Result<PgConnectOptions> {
    // Set like everything else once the session is open.
    Ok(url.parse::<PgConnectOptions>()?.extra_float_digits(None))
}

/// A session like the kit's own, for a tool beside it; `options` are [`options`]'.
///
/// # Errors
/// The database's.
pub async fn connect(options: &PgConnectOptions) -> sqlx::Result<PgConnection> {
    open(options, Purpose::Any).await
}

/// Begins a transaction at the isolation level that the kit's guarantees are argued for.
pub async fn begin(conn: &mut PgConnection) -> sqlx::Result<Transaction<'_, Postgres>> {
    conn.begin_with("begin isolation level read committed").await
}

/// A pool for who reads with it himself, which hands out no dead connection. One that is in use isn't asked each time whether it lives; one that has been idle may
/// have died without a word, and so may one on which a request was given up.
pub fn watched(options: PgPoolOptions) -> PgPoolOptions {
    options
        .test_before_acquire(false)
        .after_connect(|conn, _| Box::pin(prepare(conn, Purpose::Any)))
        .before_acquire(|conn, about| Box::pin(async move { Ok(about.idle_for < IDLE || ping(conn).await.is_ok()) }))
        .after_release(|conn, _| Box::pin(async move { ping(conn).await.map(|()| true) }))
}

pub(super) async fn ping(conn: &mut PgConnection) -> sqlx::Result<()> {
    tokio::time::timeout(PING, conn.ping()).await.unwrap_or(Err(sqlx::Error::PoolTimedOut))
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    /// Every transaction of the kit's names its level, and every session is prepared: nothing in the sources goes past this module, but
    /// for those who prepare what they open.
    #[test]
    fn nobody_goes_past_this_module() {
        let prepares = ["database/session.rs", "database/sessions.rs", "publish/relay/log.rs", "publish/migrations.rs"];
        let crates = Path::new(env!("CARGO_MANIFEST_DIR")).join("..").canonicalize().unwrap();
        let sources = ["outbox/src", "farandole/src"].map(|sources| crates.join(sources));
        let (mut folders, mut seen) = (sources.to_vec(), 0);
        while let Some(folder) = folders.pop() {
            for path in std::fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path()) {
                let name = sources.iter().find_map(|sources| path.strip_prefix(sources).ok()).unwrap().to_str().unwrap();
                if path.is_dir() {
                    folders.push(path);
                } else if !prepares.contains(&name) {
                    let text = std::fs::read_to_string(&path).unwrap();
                    let code = text.lines().filter(|line| !line.trim_start().starts_with("//"));
                    let odd = code.filter(|line| {
                        [".begin()", "connect_with(", "PgConnection::connect(", "PgPool::connect(", "pool.acquire()"]
                            .iter()
                            .any(|call| line.contains(call))
                    });
                    assert_eq!(
                        odd.map(str::to_owned).collect::<Vec<_>>(),
                        [""; 0],
                        "in {name}: use `session::begin`, `Sessions` or `parts::connect`"
                    );
                    seen += 1;
                }
            }
        }
        assert!(seen > 100, "the sources weren't found");
    }
}
