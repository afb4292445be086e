//! The outbox's partitions: made ahead, dropped once they are out.
//!
//! A partition holds [`ROWS`] places of seq, and is named after its first: `farandole.outbox_1`, `farandole.outbox_1000001`.
//! There is no default partition: rows in it would have to be moved under a lock that stops every writer. So at least
//! [`AHEAD`] whole partitions stand empty; every replica sees to that, whatever the relay is doing.
//!
//! **Making**: a table made apart and attached takes only a lock that writers don't notice. `create table … partition of`
//! would wait for every open transaction that wrote, and hold up those that come after.
//!
//! **Dropping** happens when nothing of a partition can be needed again:
//! - seq has left it, and every transaction that was open when that was first seen has ended: nobody writes to it;
//! - no row of it is invisible in the relay's A: all is acknowledged;
//! - it holds as many rows as were published of it: nothing was slipped in, nothing was skipped.
//!
//! `detach concurrently` first marks the partition, waits for those that use it, then cuts it off. Under a short lock timeout
//! it gives up rather than make writers queue; a mark that is left is finished the next time. Rows are counted again after
//! the cut, when nobody can add any; if the count is off the table stays, apart, for somebody to look at.

use std::collections::BTreeMap;

use sqlx::{Connection as _, PgConnection, PgPool, Row as _};

use super::error::Error;
use super::log::{connect, execute, within};
use super::state::Snapshot;

/// Places in one partition. A partition's name and the counts in the relay's state rest on it.
pub const ROWS: i64 = 1_000_000;
/// Empty partitions beyond the one that is being filled.
pub const AHEAD: i64 = 2;

/// The first seq of the partition that `seq` falls in.
pub(crate) fn start_of(seq: i64) -> i64 {
    (seq - 1).div_euclid(ROWS) * ROWS + 1
}

const DOING: &str = "making outbox partitions";

/// Makes what is missing of the partition being filled and [`AHEAD`] more. Call it in `migrate`; the relay goes on from there.
///
/// # Errors
/// The database's.
pub async fn ensure(pool: &PgPool) -> Result<(), Error> {
    // Not back to the pool: see `Sessions`.
    let mut conn = within(DOING, async { pool.acquire().await.map_err(Error::database(DOING)) }).await?.detach();
    within(DOING, make(&mut conn)).await
}

/// [`ensure`], on a connection.
pub(super) async fn make(conn: &mut PgConnection) -> Result<(), Error> {
    let at: i64 = sqlx::query_scalar(
        "select coalesce(pg_sequence_last_value(pg_get_serial_sequence('farandole.outbox', 'seq')::regclass), 0)::bigint + 1",
    )
    .fetch_one(&mut *conn)
    .await
    .map_err(Error::database("reading the outbox's sequence"))?;
    let first = start_of(at);
    for start in (0..=AHEAD).map(|k| first + k * ROWS) {
        if !exists(conn, start).await? {
            make_one(conn, start).await?;
        }
    }
    Ok(())
}

async fn exists(conn: &mut PgConnection, start: i64) -> Result<bool, Error> {
    sqlx::query_scalar("select to_regclass('farandole.outbox_' || $1::bigint) is not null")
        .bind(start)
        .fetch_one(conn)
        .await
        .map_err(Error::database("looking for an outbox partition"))
}

async fn make_one(conn: &mut PgConnection, start: i64) -> Result<(), Error> {
    let doing = "making an outbox partition";
    let mut tx = conn.begin().await.map_err(Error::database(doing))?;
    // Replicas take turns; the second finds the table there.
    sqlx::query("select set_config('lock_timeout', '5s', true), pg_advisory_xact_lock(hashtextextended('farandole.outbox', 0))")
        .execute(&mut *tx)
        .await
        .map_err(Error::database(doing))?;
    if exists(&mut tx, start).await? {
        return Ok(());
    }
    let end = start + ROWS;
    let table = format!("farandole.outbox_{start}");
    // Rows are only added, and go with the table: a vacuum would find nothing to clean up, and under an old snapshot read everything
    // again each time. One against wraparound comes all the same.
    // The check constraint spares the scan at attaching; it is dropped as the partition's own bounds say the same.
    execute(
        &mut tx,
        doing,
        format!(
            "create table {table} (like farandole.outbox including defaults including constraints including storage)
             with (autovacuum_enabled = false, toast.autovacuum_enabled = false)"
        ),
    )
    .await?;
    execute(
        &mut tx,
        doing,
        format!("alter table farandole.outbox attach partition {table} for values from ({start}) to ({end})"),
    )
    .await?;
    tx.commit().await.map_err(Error::database(doing))
}

/// Drops what is out, as of `a` and the counts of rows published. `seen` remembers, from call to call, when seq was first
/// seen to have left a partition. Returns how many were dropped.
pub(crate) async fn retire(
    pool: &PgPool,
    a: &Snapshot,
    published: &BTreeMap<i64, i64>,
    seen: &mut BTreeMap<i64, i64>,
) -> Result<u32, Error> {
    let doing = "dropping published outbox partitions";
    let mut conn = connect(pool, "set lock_timeout = '200ms'; set plan_cache_mode = force_custom_plan").await?;
    let row = within(doing, async {
        sqlx::query(
            "select coalesce(pg_sequence_last_value(pg_get_serial_sequence('farandole.outbox', 'seq')::regclass), 0)::bigint,
                    pg_snapshot_xmin(pg_current_snapshot())::text::bigint, pg_snapshot_xmax(pg_current_snapshot())::text::bigint,
                    array(select substr(c.relname, 8)::bigint from pg_class c
                          where c.relnamespace = 'farandole'::regnamespace and c.relkind = 'r' and c.relname ~ '^outbox_[0-9]+$'
                          order by 1)",
        )
        .fetch_one(&mut conn)
        .await
        .map_err(Error::database(doing))
    })
    .await?;
    let read =
        || Ok::<(i64, i64, i64, Vec<i64>), sqlx::Error>((row.try_get(0)?, row.try_get(1)?, row.try_get(2)?, row.try_get(3)?));
    let (last, xmin, xmax, starts) = read().map_err(Error::database(doing))?;
    seen.retain(|start, _| starts.contains(start));
    let mut dropped = 0;
    for start in starts.into_iter().filter(|start| start + ROWS <= last) {
        let left_at = *seen.entry(start).or_insert(xmax);
        if xmin >= left_at && retire_one(&mut conn, a, start, published.get(&start).copied().unwrap_or(0)).await? {
            dropped += 1;
        }
    }
    Ok(dropped)
}

async fn retire_one(conn: &mut PgConnection, a: &Snapshot, start: i64, published: i64) -> Result<bool, Error> {
    let doing = "dropping a published outbox partition";
    let table = format!("farandole.outbox_{start}");
    let is_out = async |conn: &mut PgConnection| {
        let sql = format!(
            "select count(*) = $1 and coalesce(bool_and(pg_visible_in_snapshot(xid, $2::pg_snapshot)), true) from {table}"
        );
        let query = sqlx::query_scalar::<_, bool>(sqlx::AssertSqlSafe(sql)).bind(published).bind(a.0.clone()).persistent(false);
        within(doing, async { query.fetch_one(conn).await.map_err(Error::database(doing)) }).await
    };
    let attached: Option<bool> = sqlx::query_scalar("select inhdetachpending from pg_inherits where inhrelid = $1::regclass")
        .bind(&table)
        .fetch_optional(&mut *conn)
        .await
        .map_err(Error::database(doing))?;
    match attached {
        Some(false) => {
            if !is_out(conn).await? {
                return Ok(false);
            }
            execute(conn, doing, format!("alter table farandole.outbox detach partition {table} concurrently")).await?;
        }
        Some(true) => execute(conn, doing, format!("alter table farandole.outbox detach partition {table} finalize")).await?,
        None => {}
    }
    if !is_out(conn).await? {
        tracing::error!(
            table,
            published,
            "a detached outbox partition doesn't hold what was published of it; it stays for you to look at"
        );
        return Ok(false);
    }
    execute(conn, doing, format!("drop table {table}")).await?;
    tracing::info!(table, rows = published, "outbox partition dropped: all of it is published");
    Ok(true)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn places_and_partitions() {
        for (seq, start) in [(1, 1), (ROWS, 1), (ROWS + 1, ROWS + 1), (3 * ROWS, 2 * ROWS + 1)] {
            assert_eq!(start_of(seq), start, "seq {seq}");
        }
    }
}
