//! Reading the outbox: the head of what is unsent, and a batch page by page.
//!
//! **The head** is read through the index on xid: it finds what transactions since `a` wrote, however much that is already
//! out stands beside it. The statement's own snapshot is the batch's `b`, so the rows and the bound that they belong to come
//! from one look at the database.
//!
//! **A page** is read through the index on seq, in order, from where the batch begins. Its conditions on xid are functions
//! that no index can serve, on purpose.
//!
//! **Plans** are made once, without the bounds: planning took longer than a look for a few rows, and twice as long while some
//! transaction is open. What the planner can't know then it may not choose: it would walk over everything that is out to find the
//! head (131 ms against 0.3 ms), or read all that is left of a batch for each page, sort it and throw it away. The snapshots come as
//! text; as subqueries they are read once a statement and not once a row.
//!
//! **Invariant:** both read committed rows only and the rows of (a, b) are all committed once `b` is taken, so however often
//! a batch is read it is the same rows in the same order.

use sqlx::postgres::PgRow;
use sqlx::{PgConnection, Row as _, ValueRef as _};
use uuid::Uuid;

use crate::ground::time::Timestamp;
use crate::publish::relay::error::Error;
use crate::publish::relay::state::{InFlight, Snapshot};

pub const HEAD: &str = "
select seq, topic, id, aggregateid, type, payload, time, cause, correlation, i, n, traceparent, command, headers::text,
       (select pg_current_snapshot()::text), whole
from (select *, count(*) over () <= $3 - 1 and sum(bytes) over () <= $4 as whole, row_number() over () as place
      from (select *, octet_length(payload) + coalesce(pg_column_size(headers), 0) as bytes
            from farandole.outbox where xid >= $1::xid8
            union all
            select *, octet_length(payload) + coalesce(pg_column_size(headers), 0)
            from farandole.outbox where xid = any($2::xid8[])
            limit $3) as found) as found
where whole or place = 1
order by seq + 0";

pub const PAGE: &str = "
select seq, topic, id, aggregateid, type, payload, time, cause, correlation, i, n, traceparent, command, headers::text
from farandole.outbox
where seq > $1 and not pg_visible_in_snapshot(xid, (select $2::pg_snapshot))
      and pg_visible_in_snapshot(xid, (select $3::pg_snapshot))
order by seq limit $4";

/// `seq + 0` keeps the planner from walking the index on seq up from the oldest row.
const FIRST: &str = "
select min(seq + 0) from (
    select seq from farandole.outbox where xid >= $1::xid8 and pg_visible_in_snapshot(xid, (select $3::pg_snapshot))
    union all
    select seq from farandole.outbox where xid = any($2::xid8[]) and pg_visible_in_snapshot(xid, (select $3::pg_snapshot))) as batch";

const AMONG: &str = "
select id from (
    select id, xid from farandole.outbox where xid >= $1::xid8
    union all
    select id, xid from farandole.outbox where xid = any($2::xid8[])) as since
where pg_visible_in_snapshot(xid, (select $3::pg_snapshot)) and id = any($4)";

/// Settings of a connection that reads: plans that go through an index, as the module's head tells it. What has no order of its own
/// is sorted all the same.
/// Notes of progress are written here, too; losing one to a crash costs a repetition under the same numbers.
pub const SETTINGS: &str = "set plan_cache_mode = force_generic_plan; set enable_seqscan = off; set enable_sort = off; \
     set enable_bitmapscan = off; set max_parallel_workers_per_gather = 0; set jit = off; \
     set enable_indexscan = on; set enable_indexonlyscan = on; set synchronous_commit = off";

/// What is unsent.
pub enum Unsent {
    /// Nothing.
    Nothing,
    /// Few enough rows to hold: the whole batch up to the snapshot, in order.
    Whole(Snapshot, Vec<PgRow>),
    /// More than that: read it in pages.
    Many(Snapshot),
}

/// Reads what isn't visible in `a`, at most `rows` rows and `bytes` bytes of it.
pub async fn unsent(conn: &mut PgConnection, a: &Snapshot, rows: i64, bytes: i64) -> Result<Unsent, Error> {
    let query = sqlx::query(HEAD).bind(a.xmax()).bind(a.xip()).bind(rows + 1).bind(bytes);
    let found = query.fetch_all(conn).await;
    let found = found.map_err(Error::database("reading what is unsent"))?;
    let Some(first) = found.first() else { return Ok(Unsent::Nothing) };
    let read = || Ok((first.try_get(14)?, first.try_get(15)?));
    let (b, whole) = read().map_err(Error::database("reading the snapshot"))?;
    Ok(if whole { Unsent::Whole(Snapshot(b), found) } else { Unsent::Many(Snapshot(b)) })
}

/// The seq before the first row of (a, b).
pub async fn before_first(conn: &mut PgConnection, a: &Snapshot, b: &Snapshot) -> Result<i64, Error> {
    let first: Option<i64> = sqlx::query_scalar(FIRST)
        .bind(a.xmax())
        .bind(a.xip())
        .bind(&b.0)
        .fetch_one(conn)
        .await
        .map_err(Error::database("finding where the batch begins"))?;
    Ok(first.unwrap_or(1) - 1)
}

/// The next page of a batch, in seq order.
pub fn page<'c>(
    conn: &'c mut PgConnection,
    a: &Snapshot,
    batch: &InFlight,
    rows: i64,
) -> futures_util::stream::BoxStream<'c, sqlx::Result<PgRow>> {
    sqlx::query(PAGE).bind(batch.after).bind(a.0.clone()).bind(batch.upto.0.clone()).bind(rows).fetch(conn)
}

/// The current snapshot.
pub async fn now(conn: &mut PgConnection) -> Result<Snapshot, Error> {
    let now = sqlx::query_scalar("select pg_current_snapshot()::text").fetch_one(conn).await;
    now.map(Snapshot).map_err(Error::database("reading the current snapshot"))
}

/// Which of `ids` are rows of (a, b).
pub async fn among(conn: &mut PgConnection, a: &Snapshot, b: &Snapshot, ids: &[Uuid]) -> Result<Vec<Uuid>, Error> {
    sqlx::query_scalar(AMONG)
        .bind(a.xmax())
        .bind(a.xip())
        .bind(&b.0)
        .bind(ids)
        .fetch_all(conn)
        .await
        .map_err(Error::database("looking for records in the batch in flight"))
}

/// One row of the outbox, borrowed from what the server sent.
#[derive(Debug, Clone, Copy)]
pub struct RowRef<'a> {
    pub seq: i64,
    pub topic: &'a str,
    pub id: Uuid,
    pub aggregate: &'a str,
    pub kind: &'a str,
    pub payload: &'a [u8],
    pub time: Timestamp,
    pub cause: &'a str,
    pub correlation: Uuid,
    pub i: i16,
    pub n: i16,
    pub traceparent: Option<&'a str>,
    pub command: Option<&'a str>,
    pub headers: Option<&'a str>,
}

impl<'a> RowRef<'a> {
    /// Reads the columns in the order in which the queries above name them.
    ///
    /// By hand, because this runs for every row: the types are those of the kit's own table and needn't be looked up again.
    pub fn of(row: &'a PgRow) -> Result<Self, Error> {
        let read = || -> sqlx::Result<Self> {
            Ok(Self {
                seq: i64::from_be_bytes(fixed(row, 0)?),
                topic: text(row, 1)?,
                id: Uuid::from_bytes(fixed(row, 2)?),
                aggregate: text(row, 3)?,
                kind: text(row, 4)?,
                payload: bytes(row, 5)?,
                // A `timestamptz` in binary is microseconds since 2000-01-01T00:00:00Z.
                time: Timestamp::from_micros(i64::from_be_bytes(fixed(row, 6)?).saturating_add(FROM_1970_TO_2000)),
                cause: text(row, 7)?,
                correlation: Uuid::from_bytes(fixed(row, 8)?),
                i: i16::from_be_bytes(fixed(row, 9)?),
                n: i16::from_be_bytes(fixed(row, 10)?),
                traceparent: text_or_null(row, 11)?,
                command: text_or_null(row, 12)?,
                headers: text_or_null(row, 13)?,
            })
        };
        read().map_err(Error::database("reading a row of the outbox"))
    }
}

const FROM_1970_TO_2000: i64 = 946_684_800_000_000;

fn bytes(row: &PgRow, column: usize) -> sqlx::Result<&[u8]> {
    row.try_get_raw(column)?.as_bytes().map_err(sqlx::Error::Decode)
}

fn fixed<const N: usize>(row: &PgRow, column: usize) -> sqlx::Result<[u8; N]> {
    bytes(row, column)?.try_into().map_err(|e: std::array::TryFromSliceError| sqlx::Error::Decode(e.into()))
}

fn text(row: &PgRow, column: usize) -> sqlx::Result<&str> {
    std::str::from_utf8(bytes(row, column)?).map_err(|e| sqlx::Error::Decode(e.into()))
}

fn text_or_null(row: &PgRow, column: usize) -> sqlx::Result<Option<&str>> {
    if row.try_get_raw(column)?.is_null() { Ok(None) } else { text(row, column).map(Some) }
}
