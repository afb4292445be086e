//! What an operator does about parked inputs: look, have them tried at once, drop one with a reason.

use serde::Serialize;
use sqlx::{PgConnection, PgExecutor};

use super::journal::{Entry, Happened, Journal, Place};
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
    /// The first: `topic/partition/offset`.
    pub first: String,
    /// Why it can't be processed.
    pub reason: String,
}

/// What `reader` has parked, the oldest first; at most 1,000 queues.
///
/// # Errors
/// The database's.
pub async fn list(conn: impl PgExecutor<'_>, reader: &str) -> sqlx::Result<Vec<Queue>> {
    type Row = (String, i64, i64, i32, i64, String, i32, i64, String);
    let rows: Vec<Row> = sqlx::query_as(
        "select first.aggregate, n, (extract(epoch from parked_at) * 1000000)::bigint, attempts,
                (extract(epoch from retry_at) * 1000000)::bigint, topic, partition, record_offset, reason
         from (select aggregate, min(seq) as seq, count(*) as n from farandole.parked where reader = $2 group by aggregate) first
         join farandole.parked using (seq) order by first.seq limit $1",
    )
    .bind(LISTED)
    .bind(reader)
    .fetch_all(conn)
    .await?;
    let queue = |(aggregate, inputs, since, attempts, next_try, topic, partition, offset, reason): Row| Queue {
        aggregate,
        inputs,
        since: Timestamp::from_micros(since).to_string(),
        attempts,
        next_try: Timestamp::from_micros(next_try).to_string(),
        first: Place { topic, partition, offset }.to_string(),
        reason,
    };
    Ok(rows.into_iter().map(queue).collect())
}

/// Has `reader` try an aggregate's inputs within a second; false when nothing of it is parked.
///
/// # Errors
/// The database's.
pub async fn retry(conn: impl PgExecutor<'_>, reader: &str, aggregate: &str) -> sqlx::Result<bool> {
    let done = sqlx::query("update farandole.parked set retry_at = clock_timestamp() where reader = $2 and aggregate = $1")
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
    // A release that is under way has them locked, and is waited for: what it processes is not dropped.
    let rows: Vec<(i64, String, i32, i64, i64)> = sqlx::query_as(
        "select seq, topic, partition, record_offset, (extract(epoch from clock_timestamp()) * 1000000)::bigint
         from farandole.parked where reader = $3 and aggregate = $1 order by seq limit $2 for update",
    )
    .bind(aggregate)
    .bind(match which {
        Which::First => Some(1_i64),
        Which::All => None,
    })
    .bind(reader)
    .fetch_all(&mut *tx)
    .await
    .map_err(at("locking parked inputs"))?;
    sqlx::query("delete from farandole.parked where seq = any($1)")
        .bind(rows.iter().map(|row| row.0).collect::<Vec<_>>())
        .execute(&mut *tx)
        .await
        .map_err(at("dropping"))?;
    retry(&mut *tx, reader, aggregate).await.map_err(at("waking what waited behind"))?;
    let now = Timestamp::from_micros(rows.first().map_or(0, |row| row.4));
    let places: Vec<Place> =
        rows.into_iter().map(|(_, topic, partition, offset, _)| Place { topic, partition, offset }).collect();
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
