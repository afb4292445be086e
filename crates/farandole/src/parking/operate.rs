//! What an operator does about parked inputs: look, have them tried at once, drop one with a reason.

use serde::Serialize;
use sqlx::{PgConnection, PgExecutor, Row as _};

use super::input::{self, Place};
use super::journal::{Entry, Happened, Journal};
use super::queue::{self, Gone};
use crate::engine::Error;
use crate::engine::writes::{BEGIN, begin};
use crate::time::Timestamp;

/// Queues that are listed; who has more wants to count, not to read.
const LISTED: i64 = 1_000;

/// One aggregate's parked inputs.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Queue {
    /// Under what they wait.
    pub aggregate: String,
    /// How many.
    pub inputs: i64,
    /// Since when the first waits, RFC 3339.
    pub since: String,
    /// How often it was tried again.
    pub attempts: i32,
    /// When it will be next, RFC 3339.
    pub next_try: String,
    /// The first: `topic/partition/offset` of a record, `deadline/<name>/<key>/<cause>` or `outcome/…` of what a task brought.
    pub first: String,
    /// Why it can't be processed.
    pub reason: String,
}

/// What `reader` has parked, the oldest first; at most 1,000 queues.
///
/// # Errors
/// The database's.
pub async fn list(conn: impl PgExecutor<'_>, reader: &str) -> sqlx::Result<Vec<Queue>> {
    let rows = sqlx::query(
        "select first.aggregate, n, (extract(epoch from parked_at) * 1000000)::bigint, attempts,
                (extract(epoch from retry_at) * 1000000)::bigint, reason, topic, partition, record_offset,
                task_kind, task_name, task_key, task_cause
         from (select aggregate, min(seq) as seq, count(*) as n from farandole.parked where reader = $2 group by aggregate) first
         join farandole.parked using (seq) order by first.seq limit $1",
    )
    .bind(LISTED)
    .bind(reader)
    .fetch_all(conn)
    .await?;
    let time = |micros: i64| Timestamp::from_micros(micros).to_string();
    rows.iter()
        .map(|row| {
            Ok(Queue {
                aggregate: row.try_get(0)?,
                inputs: row.try_get(1)?,
                since: time(row.try_get(2)?),
                attempts: row.try_get(3)?,
                next_try: time(row.try_get(4)?),
                first: input::place(row, 6, 9)?.to_string(),
                reason: row.try_get(5)?,
            })
        })
        .collect()
}

/// Has `reader` try an aggregate's inputs within a second, and what they wait behind; false when nothing of it is parked.
///
/// # Errors
/// The database's.
pub async fn retry(conn: impl PgExecutor<'_>, reader: &str, aggregate: &str) -> sqlx::Result<bool> {
    // What holds them up may be parked under their other name.
    let done = sqlx::query(
        "with names as materialized (
           select aggregate as name from farandole.parked where reader = $2 and (aggregate = $1 or also = $1)
           union select also from farandole.parked where reader = $2 and (aggregate = $1 or also = $1)
         ), heads as materialized (
           select seq from farandole.parked
           where reader = $2 and head and (aggregate in (select name from names) or also in (select name from names))
           order by seq for update
         )
         update farandole.parked set retry_at = clock_timestamp() where seq = any (array(select seq from heads))",
    )
    .bind(aggregate)
    .bind(reader)
    .execute(conn)
    .await?;
    Ok(done.rows_affected() > 0)
}

/// Which inputs of an aggregate.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Which {
    /// The one that holds the others up.
    First,
    /// All that are parked now.
    All,
}

/// Gives inputs up that `reader` has parked, for a reason, and says which. What waited behind them is tried within a second.
///
/// `journal` is told, where there is one.
///
/// # Errors
/// The database's, and the journal's.
pub async fn drop(
    conn: &mut PgConnection,
    reader: &str,
    journal: Option<&Journal>,
    aggregate: &str,
    which: Which,
    reason: &str,
    by: &str,
) -> Result<Vec<Place>, Error> {
    let at = |doing| Error::database(doing, 1);
    let mut tx = begin(conn).await.map_err(at(BEGIN))?;
    let sql = "select seq, aggregate, also, topic, partition, record_offset, task_kind, task_name, task_key, task_cause
               from farandole.parked where reader = $3 and aggregate = $1 order by seq limit $2";
    let most = match which {
        Which::First => Some(1_i64),
        Which::All => None,
    };
    let look = async |conn: &mut PgConnection| {
        let rows = sqlx::query(sql).bind(aggregate).bind(most).bind(reader).fetch_all(conn).await?;
        rows.iter().map(|row| Ok((queue::gone(row)?, input::place(row, 3, 6)?))).collect::<sqlx::Result<Vec<(Gone, Place)>>>()
    };
    // A release that is under way has the names locked, and is waited for: what it processes is not dropped. What has come in between
    // isn't either, since its names aren't locked.
    let found = look(&mut tx).await.map_err(at("reading parked inputs"))?;
    let names = found.iter().flat_map(|(gone, _)| &gone.names).map(String::as_str);
    queue::lock(&mut tx, reader, names).await.map_err(at("locking names of parked inputs"))?;
    let mut still = look(&mut tx).await.map_err(at("reading parked inputs"))?;
    still.retain(|(gone, _)| found.iter().any(|(before, _)| before == gone));
    let (rows, places): (Vec<Gone>, Vec<Place>) = still.into_iter().unzip();
    let now = queue::take(&mut tx, reader, &rows).await.map_err(at("dropping"))?;
    let dropped = || Happened::Dropped { reason: reason.to_owned(), by: by.to_owned() };
    let entries: Vec<Entry> =
        places.iter().map(|place| Entry { aggregate: aggregate.to_owned(), place: place.clone(), what: dropped() }).collect();
    if let Some(journal) = journal {
        journal.append(&mut tx, now, &entries).await?;
    }
    for place in &places {
        tracing::warn!(reader, aggregate, %place, reason, by, "dropped");
    }
    tx.commit().await.map_err(at("commit"))?;
    Ok(places)
}
