//! Release: parked inputs are tried again, oldest first.

use std::collections::HashSet;
use std::sync::Arc;
use std::time::Duration;

use sqlx::types::Json;
use sqlx::{PgConnection, PgExecutor, Row as _};
use tokio_util::sync::CancellationToken;

use super::journal::{Entry, Happened, Journal, Place};
use super::short;
use crate::engine::sessions::asked;
use crate::engine::{Error, Processor, Sessions, Source, Verdict, chain_of, read};
use crate::record::{Header, Record, Said};
use crate::time::Timestamp;
use crate::trouble::Troubled as _;

/// How often to look for parked rows that are due.
const LOOK: Duration = Duration::from_secs(1);
/// Looks between two counts of what is parked; what may be parked is bounded, so a count is cheap.
const SAMPLE: u64 = 10;
/// Looks between two tidyings.
const TIDY: u64 = 60;
/// Aggregates released a look, and rows released an aggregate at once: bounds of one transaction.
const AGGREGATES: i64 = 100;
const ROWS: i64 = 200;
/// The pause after a failed try doubles from a second to this: an hour's parked row costs some ten tries.
const LONGEST_PAUSE_SECONDS: f64 = 300.0;

/// Gauges of what is parked.
async fn sample(sessions: &Sessions, reader: &str) -> sqlx::Result<()> {
    let count = sqlx::query_as("select count(*), count(distinct aggregate) from farandole.parked where reader = $1").bind(reader);
    let (inputs, keys): (i64, i64) = asked!(sessions, conn => count.fetch_one(conn))?;
    metrics::gauge!("farandole_parked_inputs", "reader" => reader.to_owned()).set(inputs as f64);
    metrics::gauge!("farandole_parked_keys", "reader" => reader.to_owned()).set(keys as f64);
    Ok(())
}

/// Releases what is due, until `shutdown`.
pub async fn run<P: Processor>(engine: Arc<P>, shutdown: CancellationToken) {
    let mut rounds = 0_u64;
    loop {
        tokio::select! {
            () = shutdown.cancelled() => return,
            () = tokio::time::sleep(LOOK) => {}
        }
        rounds += 1;
        if rounds % SAMPLE == 1
            && let Err(error) = sample(engine.sessions(), engine.reader()).await
        {
            tracing::debug!(error = chain_of(&error), "parked inputs can't be counted; trying again later");
        }
        if rounds.is_multiple_of(TIDY)
            && let Err(error) = asked!(engine.sessions(), conn => crate::intake::forget(conn, engine.reader()))
        {
            tracing::debug!(error = chain_of(&error), "old foreign records not forgotten; trying again later");
        }
        if let Err(error) = round(&*engine).await {
            tracing::warn!(error = chain_of(&error), "could not look after parked inputs; trying again");
        }
    }
}

async fn round<P: Processor>(engine: &P) -> Result<(), Error> {
    let due = sqlx::query_scalar(
        "select aggregate from (select distinct on (aggregate) aggregate, retry_at from farandole.parked where reader = $2
                                order by aggregate, seq) first
         where retry_at <= clock_timestamp() limit $1",
    )
    .bind(AGGREGATES)
    .bind(engine.reader());
    let due: Vec<String> =
        asked!(engine.sessions(), conn => due.fetch_all(conn)).map_err(Error::database("looking for parked inputs", 0))?;
    for aggregate in due {
        if let Err(error) = release(engine, &aggregate).await {
            tracing::warn!(aggregate, error = chain_of(&error), "a release failed; trying again later");
            let reason = chain_of(&error);
            asked!(engine.sessions(), conn => postpone(conn, engine.reader(), &aggregate, &reason))
                .map_err(Error::database("postponing a release", 1))?;
        }
    }
    Ok(())
}

struct Row {
    seq: i64,
    record: Record,
}

/// Runs an aggregate's parked inputs, oldest first, until one fails.
async fn release<P: Processor>(engine: &P, aggregate: &str) -> Result<(), Error> {
    let rows = rows(engine, aggregate).await.map_err(Error::database("reading parked inputs", 1))?;
    let ids = rows.iter().filter_map(|r| r.record.schema_id());
    if let Err(error) = engine.codec().prepare(ids).await {
        tracing::debug!(error = chain_of(&error), "schemas of parked inputs are not there yet");
    }
    let (mut works, mut waiting, mut done, mut fault) = (Vec::new(), Vec::new(), Vec::new(), None);
    for row in rows {
        let one = (row.seq, Place::from(&row.record));
        match read(engine, &row.record) {
            Said::Input(work) => {
                works.push(*work);
                waiting.push(one);
            }
            Said::Nothing | Said::Ignored => done.push(one),
            Said::Fault(f) => {
                fault = Some(f);
                break;
            }
        }
    }
    if works.is_empty() && done.is_empty() {
        let reason = fault.map_or_else(String::new, |f| f.reason);
        return asked!(engine.sessions(), conn => postpone(conn, engine.reader(), aggregate, &reason))
            .map_err(Error::database("postponing a release", 1));
    }
    let first = works.len().min(1);
    let (reader, aggregate) = (engine.reader().to_owned(), aggregate.to_owned());
    let mut source = Release { reader, aggregate, journal: engine.journal(), waiting, done };
    match engine.run(&mut works, &mut source).await {
        // One of several can't be stored: take the first alone, so that what can go on does.
        Err(error) if error.trouble().halves() && works.len() > first => {
            works.truncate(first);
            source.waiting.truncate(first);
            engine.run(&mut works, &mut source).await.map(drop)
        }
        other => other.map(drop),
    }
}

async fn rows<P: Processor>(engine: &P, aggregate: &str) -> sqlx::Result<Vec<Row>> {
    let rows = sqlx::query(
        "select seq, topic, partition, record_offset, key, value, headers from farandole.parked
         where reader = $3 and aggregate = $1 order by seq limit $2",
    )
    .bind(aggregate)
    .bind(ROWS)
    .bind(engine.reader());
    let rows = asked!(engine.sessions(), conn => rows.fetch_all(conn))?;
    rows.iter()
        .map(|row| {
            let headers: Json<Vec<Header>> = row.try_get(6)?;
            let record = Record {
                topic: row.try_get(1)?,
                partition: row.try_get(2)?,
                offset: row.try_get(3)?,
                key: row.try_get(4)?,
                value: row.try_get(5)?,
                headers: headers.0,
            };
            Ok(Row { seq: row.try_get(0)?, record })
        })
        .collect()
}

/// Puts off the next try, by twice the last pause and up to half as much again, so that many don't come back together.
async fn postpone(conn: impl PgExecutor<'_>, reader: &str, aggregate: &str, reason: &str) -> sqlx::Result<()> {
    sqlx::query(
        "update farandole.parked set attempts = attempts + 1, reason = $2, head = true,
           retry_at = clock_timestamp() + least($3, power(2, least(attempts, 20))) * (1 + random() / 2) * interval '1 second'
         where seq = (select min(seq) from farandole.parked where reader = $4 and aggregate = $1)",
    )
    .bind(aggregate)
    .bind(short(reason))
    .bind(LONGEST_PAUSE_SECONDS)
    .bind(reader)
    .execute(conn)
    .await?;
    Ok(())
}

/// The parked rows of one aggregate, as the source of a batch.
struct Release {
    reader: String,
    aggregate: String,
    journal: Option<Journal>,
    /// Those of the works, and those that say nothing to this service.
    waiting: Vec<(i64, Place)>,
    done: Vec<(i64, Place)>,
}

impl<W: Sync> Source<W> for Release {
    fn releases(&self) -> bool {
        true
    }

    async fn claim(&mut self, conn: &mut PgConnection, works: &[W]) -> Result<Vec<bool>, Error> {
        // Another replica may be at the same aggregate: who locks the rows first releases them, the other finds them gone.
        let seqs: Vec<i64> = self.waiting.iter().chain(&self.done).map(|(seq, _)| *seq).collect();
        let there: HashSet<i64> =
            sqlx::query_scalar("select seq from farandole.parked where seq = any($1) order by seq for update")
                .bind(seqs)
                .fetch_all(conn)
                .await
                .map_err(Error::database("locking parked inputs", works.len()))?
                .into_iter()
                .collect();
        self.done.retain(|(seq, _)| there.contains(seq));
        Ok(self.waiting.iter().map(|(seq, _)| there.contains(seq)).collect())
    }

    async fn settle(&mut self, conn: &mut PgConnection, works: &[W], verdicts: &[Verdict]) -> Result<(), Error> {
        let at = |doing| Error::database(doing, works.len());
        let taken = self.waiting.iter().zip(verdicts).filter(|(_, v)| matches!(v, Verdict::Done(_))).map(|(one, _)| one);
        let (seqs, places): (Vec<i64>, Vec<Place>) = self.done.iter().chain(taken).cloned().unzip();
        let now: i64 = sqlx::query_scalar(
            "with gone as (delete from farandole.parked where seq = any($1))
             select (extract(epoch from clock_timestamp()) * 1000000)::bigint",
        )
        .bind(&seqs)
        .fetch_one(&mut *conn)
        .await
        .map_err(at("releasing"))?;
        let entry = |place| Entry { aggregate: self.aggregate.clone(), place, what: Happened::Released };
        let entries: Vec<Entry> = places.into_iter().map(entry).collect();
        if let Some(journal) = &self.journal {
            journal.append(conn, Timestamp::from_micros(now), &entries).await?;
        }
        let stuck = verdicts.iter().find_map(|v| match v {
            Verdict::Parked(fault) => Some(fault.reason.as_str()),
            _ => None,
        });
        if let Some(reason) = stuck {
            postpone(conn, &self.reader, &self.aggregate, reason).await.map_err(at("postponing a release"))?;
        } else if !seqs.is_empty() {
            tracing::info!(aggregate = self.aggregate, inputs = seqs.len(), "released");
        }
        metrics::counter!("farandole_released_total").increment(seqs.len() as u64);
        Ok(())
    }
}
