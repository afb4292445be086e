//! The outbox beside the topics: which rows are there, which aren't.
//!
//! The rows in question are copied, by seq and id, into a table of this session alone, so that memory stays flat however many
//! they are, and marked as they are met.

use std::collections::HashMap;

use sqlx::{Executor as _, PgConnection};
use uuid::Uuid;

use crate::heal::Error;
use crate::publish::relay::state::{Snapshot, State};

/// Which rows of the outbox may or may not be in the topics.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Scope {
    /// Those that the relay hadn't seen acknowledged: the others are in the topics, up to the heads.
    Unsent,
    /// All: the snapshots say nothing here, or the topics have lost something.
    All,
}

/// A row that was met.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Met {
    pub seq: i64,
    /// Of the relay's batch in flight, which it would send again under the same numbers.
    pub in_flight: bool,
}

/// Visible in it is every row that is out, wherever its transaction's number comes from: the first that PostgreSQL gives.
const OUT: &str = "3";

/// True of rows that were acknowledged, as of `$1` (A), `$2` (the end of the batch in flight, or A) and `$3` (how far that got).
const ACKNOWLEDGED: &str =
    "(pg_visible_in_snapshot(o.xid, $1::pg_snapshot) or pg_visible_in_snapshot(o.xid, $2::pg_snapshot) and o.seq <= $3)";

fn bounds(state: &State) -> (String, String, i64) {
    let b = state.in_flight.as_ref().map_or(&state.acked, |batch| &batch.upto);
    (state.acked.0.clone(), b.0.clone(), state.in_flight.as_ref().map_or(0, |batch| batch.after))
}

/// Copies the rows of `scope`, and gives the topics that they name.
pub(super) async fn gather(conn: &mut PgConnection, state: &State, scope: Scope) -> Result<Vec<String>, Error> {
    let doing = "looking through the outbox";
    let at = Error::database(doing);
    conn.execute(
        "create temp table if not exists heal_rows (seq bigint primary key, id uuid not null, at bigint not null, topic text not null,
             acknowledged bool not null, in_flight bool not null, met bool not null default false);
         truncate heal_rows",
    )
    .await
    .map_err(&at)?;
    let (a, b, after) = bounds(state);
    let sql = format!(
        "insert into heal_rows (seq, id, at, topic, acknowledged, in_flight)
         select o.seq, o.id, (extract(epoch from o.time) * 1000000)::bigint, o.topic, {ACKNOWLEDGED}, pg_visible_in_snapshot(o.xid, $2::pg_snapshot)
         from farandole.outbox o where $4 or not {ACKNOWLEDGED}"
    );
    let all = scope == Scope::All;
    let copied = sqlx::query(sqlx::AssertSqlSafe(sql)).bind(a).bind(b).bind(after).bind(all).execute(&mut *conn).await;
    copied.map_err(&at)?;
    conn.execute("create index if not exists heal_ids on heal_rows (id); analyze heal_rows").await.map_err(&at)?;
    sqlx::query_scalar("select distinct topic from heal_rows").fetch_all(conn).await.map_err(at)
}

/// What tells a row's record apart: its id, and when it happened, in microseconds, since an id may be appended twice.
pub(super) type RowId = (Uuid, Option<i64>);

/// Marks the rows that these records are of as met, and gives them. A record that doesn't say when it happened is known by its id.
pub(super) async fn meet(conn: &mut PgConnection, records: &[RowId]) -> Result<HashMap<RowId, Met>, Error> {
    let (ids, at): (Vec<Uuid>, Vec<Option<i64>>) = records.iter().copied().unzip();
    let rows: Vec<(Uuid, Option<i64>, i64, bool)> = sqlx::query_as(
        "update heal_rows r set met = true from unnest($1::uuid[], $2::bigint[]) a(id, at)
         where r.id = a.id and r.at = coalesce(a.at, r.at) returning a.id, a.at, r.seq, r.in_flight",
    )
    .bind(ids)
    .bind(at)
    .fetch_all(conn)
    .await
    .map_err(Error::database("comparing the outbox with a topic"))?;
    Ok(rows.into_iter().map(|(id, at, seq, in_flight)| ((id, at), Met { seq, in_flight })).collect())
}

/// Notes durably that these rows are out: the heads move past them, and nobody meets them again.
pub(super) async fn are_out(conn: &mut PgConnection, seqs: &[i64]) -> Result<(), Error> {
    if !seqs.is_empty() {
        sqlx::query("update farandole.outbox set xid = $2::text::xid8 where seq = any($1)")
            .bind(seqs)
            .bind(OUT)
            .execute(conn)
            .await
            .map_err(Error::database("noting rows that are in a topic"))?;
    }
    Ok(())
}

/// Rows that are in no topic.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(super) struct Absent {
    /// All of them.
    pub rows: i64,
    /// Those that had been acknowledged: a topic has lost them.
    pub acknowledged: i64,
}

/// The database's time, in seconds since 1970.
pub(super) async fn seconds(conn: &mut PgConnection) -> Result<i64, Error> {
    let seconds = sqlx::query_scalar("select extract(epoch from clock_timestamp())::bigint").fetch_one(conn).await;
    seconds.map_err(Error::database("asking for the time"))
}

/// Counts what wasn't met.
pub(super) async fn absent(conn: &mut PgConnection) -> Result<Absent, Error> {
    let (rows, acknowledged) =
        sqlx::query_as("select count(*), count(*) filter (where acknowledged) from heal_rows where not met")
            .fetch_one(conn)
            .await
            .map_err(Error::database("counting the rows that are in no topic"))?;
    Ok(Absent { rows, acknowledged })
}

/// Counts what was met of one topic.
pub(super) async fn met_of(conn: &mut PgConnection, topic: &str) -> Result<i64, Error> {
    sqlx::query_scalar("select count(*) from heal_rows where met and topic = $1")
        .bind(topic)
        .fetch_one(conn)
        .await
        .map_err(Error::database("counting the rows that are in a topic"))
}

/// Counts what wasn't met of one topic.
pub(super) async fn absent_of(conn: &mut PgConnection, topic: &str) -> Result<i64, Error> {
    sqlx::query_scalar("select count(*) from heal_rows where not met and topic = $1")
        .bind(topic)
        .fetch_one(conn)
        .await
        .map_err(Error::database("counting the rows that are in no topic"))
}

/// Makes `a` tell the rows that are out from the others, which get this transaction's number: the relay finds them as if they
/// had just been appended, in their order. Sets the counts by which the relay drops whole partitions.
pub(super) async fn rest_on(conn: &mut PgConnection, state: &mut State, a: Snapshot, scope: Scope) -> Result<(), Error> {
    let doing = "appending what is in no topic";
    // Also rows that were appended since the look: they are in no topic, and older than `a` perhaps.
    let (old_a, b, after) = bounds(state);
    let sql = format!(
        "update farandole.outbox o set xid = pg_current_xact_id()
         where ($4 or not {ACKNOWLEDGED}) and not exists (select from heal_rows r where r.seq = o.seq and r.met)"
    );
    let all = scope == Scope::All;
    let again = sqlx::query(sqlx::AssertSqlSafe(sql)).bind(old_a).bind(b).bind(after).bind(all).execute(&mut *conn).await;
    again.map_err(Error::database(doing))?;
    // Numbers of another cluster's transactions may lie in this one's future.
    sqlx::query(
        "update farandole.outbox o set xid = $2::text::xid8 from heal_rows r
         where r.seq = o.seq and r.met and not pg_visible_in_snapshot(o.xid, $1::pg_snapshot)",
    )
    .bind(&a.0)
    .bind(OUT)
    .execute(&mut *conn)
    .await
    .map_err(Error::database(doing))?;
    let counts: Vec<(i64, i64)> = sqlx::query_as(
        "select (seq - 1) / $2 * $2 + 1, count(*) from farandole.outbox where pg_visible_in_snapshot(xid, $1::pg_snapshot) group by 1",
    )
    .bind(&a.0)
    .bind(crate::publish::relay::partitions::ROWS)
    .fetch_all(conn)
    .await
    .map_err(Error::database("counting the rows that are out"))?;
    (state.acked, state.in_flight, state.published) = (a, None, counts.into_iter().collect());
    Ok(())
}
