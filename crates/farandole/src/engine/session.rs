//! Sessions with PostgreSQL.

use std::time::Duration;

use sqlx::postgres::{PgConnectOptions, PgPoolOptions};
use sqlx::{Connection as _, PgConnection};

/// A batch that waits longer for a row is ended and run again; batches take some 10 ms.
const LOCK_TIMEOUT: &str = "10s";
/// A session that went quiet inside a transaction (its process was stopped) holds locks no longer than this.
const IDLE_IN_TRANSACTION: &str = "30s";
/// Idle for longer than any poll of a part.
pub(super) const IDLE: Duration = Duration::from_secs(5);
/// How long a connection may take to say that it lives.
const PING: Duration = Duration::from_secs(2);
/// A connection whose other end is gone is noticed by the server after about this many seconds, and not after two hours.
const KEEPALIVE: &str = "15";

/// Sessions that hold nothing up for long.
pub fn bounded(options: PgConnectOptions) -> PgConnectOptions {
    options.options([
        ("lock_timeout", LOCK_TIMEOUT),
        ("idle_in_transaction_session_timeout", IDLE_IN_TRANSACTION),
        ("tcp_keepalives_idle", KEEPALIVE),
    ])
}

/// Sessions that an [`Engine`](super::Engine) decides on: bounded, and planned for what it does. Decisions look rows up by
/// key, a batch of keys at a time, on tables that grow by thousands of rows a second: plans made anew each time cost more than
/// the lookup, and ones made from statistics of a minute ago read whole tables.
pub fn deciding(options: PgConnectOptions) -> PgConnectOptions {
    bounded(options).options([("plan_cache_mode", "force_generic_plan"), ("enable_seqscan", "off"), ("jit", "off")])
}

/// A pool for who reads with it himself, which hands out no dead connection. One that is in use isn't asked each time whether it lives; one that has been idle may
/// have died without a word, and so may one on which a request was given up.
pub fn watched(options: PgPoolOptions) -> PgPoolOptions {
    options
        .test_before_acquire(false)
        .before_acquire(|conn, about| Box::pin(async move { Ok(about.idle_for < IDLE || lives(conn).await.is_ok()) }))
        .after_release(|conn, _| Box::pin(async move { lives(conn).await.map(|()| true) }))
}

pub(super) async fn lives(conn: &mut PgConnection) -> sqlx::Result<()> {
    tokio::time::timeout(PING, conn.ping()).await.unwrap_or(Err(sqlx::Error::PoolTimedOut))
}

/// An answer that takes longer doesn't come: locks are waited for for 10 s, and a batch takes some 10 ms. What is at the other end of
/// the connection may be gone without a word, as after a firewall forgot it.
pub(crate) const LIMIT: Duration = Duration::from_secs(60);
