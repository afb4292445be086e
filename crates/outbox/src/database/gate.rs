//! The lock that keeps deciding and healing apart.
//!
//! Every transaction that decides, applies or starts something holds it shared, from its beginning to its end; a heal holds it
//! alone from before its first change to its end (a swap after a rebuild will do the same). One key for all services of a database,
//! since the kit's tables are shared by them. It is taken first, before any row's lock, so that who waits for it holds up nobody.

use sqlx::{Connection as _, PgConnection, Postgres, Transaction};

use crate::database::locks;

/// The lock's number, for statements.
#[doc(hidden)]
#[macro_export]
macro_rules! gate_key {
    () => {
        "7377303427399053164"
    };
}
pub use gate_key as key;

/// What [`begin`] is doing, for errors: a session on which it failed may stand in the middle of it, and isn't used again.
pub const BEGIN: &str = "beginning a transaction";

/// Begins a transaction with the lock, in one round trip, and at the isolation level that the kit's locks and second looks rest on,
/// whatever the server's default.
pub async fn begin(conn: &mut PgConnection) -> sqlx::Result<Transaction<'_, Postgres>> {
    conn.begin_with(concat!("begin isolation level read committed; select pg_advisory_xact_lock_shared(", key!(), ")")).await
}

/// The same, with a commit that doesn't wait until it is on disk: a crash of the database may take it back, with all that was committed after it.
///
/// Only for what is done again from where it came from: a record is read again, for its position is taken back as well; a deadline falls due
/// again, an effect is asked for again under its key. Nothing of it reaches anybody before it is on disk: what is published, an effect that is
/// started, an answer to a caller each wait for a commit that does flush, and that takes all before it to the disk. (A read of the tables may see
/// it some milliseconds early.)
pub async fn begin_repeatable(conn: &mut PgConnection) -> sqlx::Result<Transaction<'_, Postgres>> {
    let begin = concat!(
        "begin isolation level read committed; set local synchronous_commit = off; select pg_advisory_xact_lock_shared(",
        key!(),
        ")"
    );
    conn.begin_with(begin).await
}

/// The same number, for who asks who holds it.
const KEY: i64 = 7_377_303_427_399_053_164;
/// SQLSTATE of a lock that was waited for in vain.
const LOCK_NOT_AVAILABLE: &str = "55P03";

/// Takes the lock alone, until [`release`] or this session's end. Those that wait for it are as bounded as this is (`lock_timeout`): where it
/// can't be had, says who holds it.
pub async fn alone(conn: &mut PgConnection) -> sqlx::Result<Result<(), String>> {
    match sqlx::query(concat!("select pg_advisory_lock(", key!(), ")")).execute(&mut *conn).await {
        Ok(_) => Ok(Ok(())),
        Err(error) if error.as_database_error().is_some_and(|e| e.code().as_deref() == Some(LOCK_NOT_AVAILABLE)) => {
            let holders = locks::holders(conn, KEY).await?;
            Ok(Err(holders.unwrap_or_else(|| "it has just ended".to_owned())))
        }
        Err(error) => Err(error),
    }
}

/// Gives it back.
pub async fn release(conn: &mut PgConnection) -> sqlx::Result<()> {
    sqlx::query(concat!("select pg_advisory_unlock(", key!(), ")")).execute(conn).await.map(drop)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_number_is_one() {
        assert_eq!(key!(), KEY.to_string());
    }
}
