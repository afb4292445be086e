//! Locks of what has no row to lock: keys that nobody has inserted yet, idempotency keys, keys of events and records.
//!
//! **Guarantee.** Who locks a key holds it alone until the end of its transaction. However many keys a transaction locks, it takes a
//! bounded number of places in the server's lock table: that has room for some 7,000 on a server as installed, in all its transactions
//! together, and who finds none fails, whoever filled it.
//!
//! A lock's number is a hash: two keys may share one, which only makes one wait for the other. Sorted by number, so that no two batches
//! wait for each other. Who locks more than [`MOST`] keys takes the lock of the whole kind instead, its *gate*, which who locks few
//! keys shares. (Hashes of fewer values would bound the number, too; then large batches that have nothing to do with each other would
//! nearly always wait for each other.) Who comes to the gate with some keys locked already may meet another who does the same; the
//! server ends one of the two, a collision like any other.
//!
//! **How it would fail without**: forty orders of 5,000 unknown articles are 200,000 locks, and nobody on that server can lock
//! anything, for as long as the batch is tried.

use sqlx::PgConnection;

/// Keys of one kind that a transaction locks one by one: as many as a lane's transaction has inputs.
pub const MOST: usize = 1_000;

/// Locks `keys` of `kind` until the end of the transaction.
pub async fn lock_all(conn: &mut PgConnection, kind: &str, keys: &[String]) -> sqlx::Result<()> {
    if keys.is_empty() {
        return Ok(());
    }
    if keys.len() > MOST {
        sqlx::query("select pg_advisory_xact_lock(hashtextextended($1, 0))").bind(kind).execute(conn).await?;
        return Ok(());
    }
    sqlx::query(
        "with gate as materialized (select pg_advisory_xact_lock_shared(hashtextextended($1, 0)))
         select pg_advisory_xact_lock(n) from (select distinct hashtextextended($1 || '/' || k, 0) as n
         from gate, unnest($2::text[]) k order by 1 offset 0) locks",
    )
    .bind(kind)
    .bind(keys)
    .execute(conn)
    .await?;
    Ok(())
}

/// Who holds the lock of this number in this database: sessions by name and pid, prepared transactions by theirs; none if nobody does, or
/// not any more.
pub async fn holders(conn: &mut PgConnection, key: i64) -> sqlx::Result<Option<String>> {
    sqlx::query_scalar(
        "with held as (select pid, virtualtransaction as xact from pg_locks where locktype = 'advisory' and granted and objsubid = 1
           and database = (select oid from pg_database where datname = current_database())
           and (classid::bigint << 32) + objid::bigint = $1)
         select string_agg(who, ', ') from (
           select format('%s (pid %s)', nullif(application_name, ''), pid) from pg_stat_activity where pid in (select pid from held)
           union all
           select format('the prepared transaction `%s` (commit prepared or rollback prepared ends it)', gid) from pg_prepared_xacts
           where transaction in (select t.transactionid from pg_locks t join held h on h.pid is null and t.pid is null
                                 and t.virtualtransaction = h.xact where t.locktype = 'transactionid')) as h (who)",
    )
    .bind(key)
    .fetch_one(conn)
    .await
}

/// Takes the lock of this name until this session ends, if nobody has it; else says who does, unless they have just gone.
pub async fn alone(conn: &mut PgConnection, name: &str) -> sqlx::Result<Result<(), Option<String>>> {
    let sql = "select pg_try_advisory_lock(key), key from hashtextextended($1, 0) key";
    let (taken, key): (bool, i64) = sqlx::query_as(sql).bind(name).fetch_one(&mut *conn).await?;
    if taken {
        return Ok(Ok(()));
    }
    holders(conn, key).await.map(Err)
}

/// Who was in the way, in words.
pub fn holder(who: Option<String>) -> String {
    who.unwrap_or_else(|| "a session that has just ended".to_owned())
}

/// Gives it back.
pub async fn give_back(conn: &mut PgConnection, name: &str) -> sqlx::Result<()> {
    sqlx::query("select pg_advisory_unlock(hashtextextended($1, 0))").bind(name).execute(conn).await.map(drop)
}
