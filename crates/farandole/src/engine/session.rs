//! Sessions with PostgreSQL.

use sqlx::postgres::PgConnectOptions;

/// A batch that waits longer for a row is ended and run again; batches take some 10 ms.
const LOCK_TIMEOUT: &str = "10s";
/// A session that went quiet inside a transaction (its process was stopped) holds locks no longer than this.
const IDLE_IN_TRANSACTION: &str = "30s";
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
