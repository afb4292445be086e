//! The outbox's partitions: created ahead, dropped once fully published.
//!
//! A partition holds [`ROWS`] places of seq, and is named after its first: `farandole.outbox_1`, `farandole.outbox_1000001`.
//! There is no default partition: rows in it would have to be moved under a lock that stops every writer. So at least
//! [`AHEAD`] whole partitions stand empty; every replica sees to that, whatever the relay is doing.
//!
//! **Making and dropping** are their owner's right, and a service's role may have none but those on rows: functions do it, which the
//! migration made and which work as who migrated. A relay that may not call them says so in time ([`room`]).
//!
//! **Dropping** happens when nothing of a partition can be needed again:
//! - seq has left it, and every transaction that was open when that was first seen has ended: nobody writes to it;
//! - no row of it is invisible in the relay's A: all is acknowledged;
//! - it holds as many rows as were published of it: nothing was slipped in, nothing was skipped.
//!
//! `detach concurrently` first marks the partition, waits for those that use it, then cuts it off. Under a short lock timeout
//! it gives up rather than make writers queue; a mark that is left is finished the next time. Only the owner can do that; for any
//! other role a function cuts at once, for which writers wait 200 ms at most. Rows are counted again after
//! the cut, when nobody can add any; if the count is off the table stays, apart, for somebody to look at.

use std::collections::BTreeMap;

use sqlx::{PgConnection, PgPool, Row as _};

use crate::publish::relay::error::Error;
use crate::publish::relay::log::{alone, execute, with_timeout};
use crate::publish::relay::state::Snapshot;

/// Places in one partition. A partition's name and the counts in the relay's state rest on it.
pub const ROWS: i64 = 1_000_000;
/// Empty partitions beyond the one that is being filled.
pub const AHEAD: i64 = 2;

/// The first seq of the partition that `seq` falls in.
pub fn start_of(seq: i64) -> i64 {
    (seq - 1).div_euclid(ROWS) * ROWS + 1
}

const DOING: &str = "creating outbox partitions";

/// Makes what is missing of the partition being filled and [`AHEAD`] more. Call it in `migrate`; the relay goes on from there.
///
/// # Errors
/// The database's.
pub async fn ensure(pool: &PgPool) -> Result<(), Error> {
    let mut conn = alone(pool, "set lock_timeout = '5s'").await?;
    with_timeout(DOING, make(&mut conn)).await.map(drop)
}

/// [`ensure`], on a connection. Says how far seq has come.
pub async fn make(conn: &mut PgConnection) -> Result<i64, Error> {
    let made = sqlx::query_scalar("select farandole.make_outbox_partitions()").fetch_one(conn).await;
    made.map_err(Error::database(DOING))
}

/// How many rows more may be appended before a partition must have been made: at least, for it asks the rows, which even who may
/// do nothing else can.
pub async fn room(conn: &mut PgConnection) -> Result<i64, Error> {
    let room = sqlx::query_scalar(
        "select coalesce(max(first) + $1 - 1 - greatest(min(first) - 1, (select max(seq) from farandole.outbox)), 0)
         from (select substr(c.relname, 8)::bigint as first from pg_inherits i join pg_class c on c.oid = i.inhrelid
               where i.inhparent = (select oid from pg_class where relname = 'outbox' and relnamespace = 'farandole'::regnamespace)
                     and c.relname ~ '^outbox_[0-9]+$') attached",
    );
    room.bind(ROWS).fetch_one(conn).await.map_err(Error::database("checking the room in the outbox"))
}

/// Whether the partition of seq `$4` to before `$5` has a row that isn't visible in a snapshot, of which `$1` is the text, `$2` its xmax
/// and `$3` its xip: looked for by the index on xid, where what is unsent begins, and not in all that is out.
pub const UNSENT_OF: &str = "
select exists (select from farandole.outbox where seq >= $4 and seq < $5 and xid >= $2::xid8
                 and not pg_visible_in_snapshot(xid, $1::pg_snapshot))
    or exists (select from farandole.outbox where seq >= $4 and seq < $5 and xid = any($3::xid8[])
                 and not pg_visible_in_snapshot(xid, $1::pg_snapshot))";

/// Drops what is out, as of `a` and the counts of rows published, when seq has come to `last`. `seen` remembers, from call to call,
/// when seq was first seen to have left a partition. Returns how many were dropped.
pub async fn retire(
    pool: &PgPool,
    a: &Snapshot,
    published: &BTreeMap<i64, i64>,
    last: i64,
    seen: &mut BTreeMap<i64, i64>,
) -> Result<u32, Error> {
    let doing = "dropping published outbox partitions";
    let mut conn = alone(pool, "set lock_timeout = '200ms'; set plan_cache_mode = force_custom_plan").await?;
    let row = with_timeout(doing, async {
        sqlx::query(
            "select pg_has_role(outbox.relowner, 'usage'),
                    pg_snapshot_xmin(pg_current_snapshot())::text::bigint, pg_snapshot_xmax(pg_current_snapshot())::text::bigint,
                    array(select substr(c.relname, 8)::bigint from pg_class c
                          where c.relnamespace = outbox.relnamespace and c.relkind = 'r' and c.relname ~ '^outbox_[0-9]+$'
                          order by 1)
             from pg_class outbox where outbox.relname = 'outbox' and outbox.relnamespace = 'farandole'::regnamespace",
        )
        .fetch_one(&mut conn)
        .await
        .map_err(Error::database(doing))
    })
    .await?;
    let read =
        || Ok::<(bool, i64, i64, Vec<i64>), sqlx::Error>((row.try_get(0)?, row.try_get(1)?, row.try_get(2)?, row.try_get(3)?));
    let (owned, xmin, xmax, starts) = read().map_err(Error::database(doing))?;
    seen.retain(|start, _| starts.contains(start));
    let mut dropped = 0;
    for start in starts.into_iter().filter(|start| start + ROWS <= last) {
        let left_at = *seen.entry(start).or_insert(xmax);
        let published = published.get(&start).copied().unwrap_or(0);
        if xmin >= left_at && retire_one(&mut conn, a, start, published, owned).await? {
            dropped += 1;
        }
    }
    Ok(dropped)
}

async fn retire_one(conn: &mut PgConnection, a: &Snapshot, start: i64, published: i64, owned: bool) -> Result<bool, Error> {
    let doing = "dropping a published outbox partition";
    let table = format!("farandole.outbox_{start}");
    let attached: Option<bool> = sqlx::query_scalar(
        "select i.inhdetachpending from pg_inherits i join pg_class c on c.oid = i.inhrelid
         where c.relname = 'outbox_' || $1::bigint and c.relnamespace = 'farandole'::regnamespace",
    )
    .bind(start)
    .fetch_optional(&mut *conn)
    .await
    .map_err(Error::database(doing))?;
    if attached == Some(false) {
        // A partition that is full and not out yet would else be counted, row by row, each time.
        let query =
            sqlx::query_scalar::<_, bool>(UNSENT_OF).bind(&a.0).bind(a.xmax()).bind(a.xip()).bind(start).bind(start + ROWS);
        if with_timeout(doing, async { query.fetch_one(&mut *conn).await.map_err(Error::database(doing)) }).await? {
            return Ok(false);
        }
        let out = sqlx::query_scalar(
            "select count(*) = $1 and coalesce(bool_and(pg_visible_in_snapshot(xid, $2::pg_snapshot)), true)
             from farandole.outbox where seq >= $3 and seq < $4",
        );
        let out = out.bind(published).bind(a.0.clone()).bind(start).bind(start + ROWS).fetch_one(&mut *conn);
        if !with_timeout(doing, async { out.await.map_err(Error::database(doing)) }).await? {
            return Ok(false);
        }
    }
    match attached {
        Some(false) if owned => {
            execute(conn, doing, format!("alter table farandole.outbox detach partition {table} concurrently")).await?;
        }
        Some(_) => execute(conn, doing, format!("select farandole.detach_outbox_partition({start})")).await?,
        None => {}
    }
    let dropped = sqlx::query_scalar("select farandole.drop_outbox_partition($1, $2, $3::pg_snapshot)");
    let dropped = dropped.bind(start).bind(published).bind(a.0.clone()).fetch_one(&mut *conn);
    if !with_timeout(doing, async { dropped.await.map_err(Error::database(doing)) }).await? {
        tracing::error!(
            table,
            published,
            "a detached outbox partition doesn't hold the rows that were published from it; it is kept for inspection"
        );
        return Ok(false);
    }
    tracing::info!(table, rows = published, "outbox partition dropped: fully published");
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
