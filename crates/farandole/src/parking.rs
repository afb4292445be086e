//! Parking: an input that can't be processed waits, with everything later for its aggregate behind it, in order.
//!
//! **Guarantees.** Nothing is dropped; for one aggregate the order in which inputs came is the order in which they take effect;
//! other aggregates go on. What is parked is tried again with growing pauses, so trouble that ends by itself (a schema that
//! isn't registered yet, a newer event type before the new build is out) needs nobody.
//!
//! **How.** A parked row is written in the transaction that moves the position. Every batch asks, once its rows are locked,
//! which of its aggregates are parked, and parks further inputs behind them. A release reads an aggregate's rows oldest first,
//! runs them like any input, and deletes those that took effect; the first that doesn't stops it. A row that arrives while a
//! release empties the queue finds itself first, and is released next.
//!
//! **Bounds.** So much an aggregate and so much in all; at a limit the partition that would park more waits, and says why.

use std::borrow::Cow;
use std::collections::{HashMap, HashSet};
use std::sync::Arc;
use std::time::Duration;

use sha2::{Digest as _, Sha256};
use sqlx::types::Json;
use sqlx::{PgConnection, PgExecutor, PgPool, Row as _};
use tokio_util::sync::CancellationToken;

use crate::engine::{Engine, Error, Fault, Source, Verdict, Work, chain_of};
use crate::participant::Participant;
use crate::record::{Header, Record, Said};
use crate::time::Timestamp;

/// How often to look for parked rows that are due.
const LOOK: Duration = Duration::from_secs(1);
/// Looks between two tidyings.
const TIDY: u64 = 60;
/// Aggregates released a look, and rows released an aggregate at once: bounds of one transaction.
const AGGREGATES: i64 = 100;
const ROWS: i64 = 200;
/// Bytes of an aggregate that are kept as they are; an index takes some 2,700.
const NAME: usize = 512;
/// Characters of a reason that are kept.
const REASON: usize = 1_000;
/// The pause after a failed try doubles from a second to this: an hour's parked row costs some ten tries.
const LONGEST_PAUSE_SECONDS: f64 = 300.0;

/// The database's clock, and which of `aggregates` have parked rows: what a batch asks for once its rows are locked.
///
/// # Errors
/// The database's.
pub async fn among(conn: &mut PgConnection, aggregates: &[&str]) -> sqlx::Result<(Timestamp, HashSet<String>)> {
    let (micros, parked): (i64, Vec<String>) = sqlx::query_as(
        "select (extract(epoch from clock_timestamp()) * 1000000)::bigint,
           array(select distinct aggregate from farandole.parked where aggregate = any($1))",
    )
    .bind(aggregates.iter().map(|name| name_of(name)).collect::<Vec<_>>())
    .fetch_one(conn)
    .await?;
    let held = aggregates.iter().filter(|name| parked.iter().any(|p| *p == name_of(name)));
    Ok((Timestamp::from_micros(micros), held.map(|name| (*name).to_owned()).collect()))
}

/// What something parks under: its aggregate, and of one that no index would take (a stranger's key) the digest.
fn name_of(aggregate: &str) -> Cow<'_, str> {
    if aggregate.len() <= NAME {
        return Cow::Borrowed(aggregate);
    }
    let digest = Sha256::digest(aggregate);
    Cow::Owned(digest.iter().fold("sha256:".to_owned(), |name, byte| format!("{name}{byte:02x}")))
}

/// A record to park.
#[derive(Debug)]
pub struct Parked<'a> {
    /// Under what.
    pub aggregate: String,
    /// What.
    pub record: &'a Record,
    /// Why; `None` when it only waits behind another.
    pub fault: Option<&'a Fault>,
}

/// A reason as it is stored: a few lines, since some libraries' errors quote all of what they couldn't read.
fn short(reason: &str) -> String {
    let mut text: String = reason.chars().take(REASON + 1).map(|c| if c == '\0' { '\u{fffd}' } else { c }).collect();
    if let Some((end, _)) = text.char_indices().nth(REASON) {
        text.truncate(end);
        text.push('…');
    }
    text
}

/// How much may be parked.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Limits {
    /// Inputs of one aggregate.
    pub aggregate: u32,
    /// Inputs in all.
    pub total: u32,
}

/// Why something isn't parked.
#[derive(Debug, thiserror::Error)]
pub enum Refused {
    /// There is too much already.
    #[error("{0}")]
    Full(String),
    /// The database's.
    #[error("parking")]
    Database(#[from] sqlx::Error),
}

/// Parks records, in order. At a limit nothing is parked and nothing moves on: the partition waits until there is room.
///
/// # Errors
/// [`Refused::Full`] at a limit.
pub async fn park(conn: &mut PgConnection, parked: &[Parked<'_>], limits: Limits) -> Result<(), Refused> {
    if parked.is_empty() {
        return Ok(());
    }
    room(conn, parked, limits).await?;
    fn column<'a, T>(parked: &'a [Parked<'_>], of: impl Fn(&'a Parked<'_>) -> T) -> Vec<T> {
        parked.iter().map(of).collect()
    }
    for p in parked.iter().filter(|p| p.fault.is_some()) {
        let (record, reason) = (p.record, p.fault.map(|f| short(&f.reason)));
        tracing::warn!(
            aggregate = p.aggregate,
            topic = record.topic,
            partition = record.partition,
            offset = record.offset,
            reason,
            "parked"
        );
    }
    sqlx::query(
        "insert into farandole.parked (aggregate, topic, partition, record_offset, key, value, headers, reason, head)
         select aggregate, topic, partition, record_offset, key, value, headers, reason, head
         from unnest($1::text[], $2::text[], $3::int[], $4::bigint[], $5::bytea[], $6::bytea[], $7::jsonb[], $8::text[], $9::bool[])
              with ordinality as p(aggregate, topic, partition, record_offset, key, value, headers, reason, head, ord)
         order by ord",
    )
    .bind(column(parked, |p| name_of(&p.aggregate)))
    .bind(column(parked, |p| p.record.topic.as_str()))
    .bind(column(parked, |p| p.record.partition))
    .bind(column(parked, |p| p.record.offset))
    .bind(column(parked, |p| p.record.key.as_deref()))
    .bind(column(parked, |p| p.record.value.as_deref()))
    .bind(column(parked, |p| Json(&p.record.headers)))
    .bind(column(parked, |p| p.fault.map_or_else(|| "waits behind a parked input".to_owned(), |f| short(&f.reason))))
    .bind(column(parked, |p| p.fault.is_some()))
    .execute(conn)
    .await?;
    metrics::counter!("farandole_parked_total").increment(parked.len() as u64);
    Ok(())
}

async fn room(conn: &mut PgConnection, parked: &[Parked<'_>], limits: Limits) -> Result<(), Refused> {
    let mut wanted = HashMap::<Cow<'_, str>, i64>::new();
    for p in parked {
        *wanted.entry(name_of(&p.aggregate)).or_default() += 1;
    }
    let names: Vec<&str> = wanted.keys().map(AsRef::as_ref).collect();
    let total: i64 = sqlx::query_scalar("select count(*) from (select from farandole.parked limit $1) parked")
        .bind(i64::from(limits.total))
        .fetch_one(&mut *conn)
        .await?;
    let there: Vec<(String, i64)> =
        sqlx::query_as("select aggregate, count(*) from farandole.parked where aggregate = any($1) group by aggregate")
            .bind(names)
            .fetch_all(conn)
            .await?;
    let help = "nothing is lost, this partition waits; repair or drop what is parked";
    if total + i64::try_from(parked.len()).unwrap_or(i64::MAX) > i64::from(limits.total) {
        return Err(Refused::Full(format!("{total} inputs are parked, and {} is the limit: {help}", limits.total)));
    }
    for (name, n) in there {
        *wanted.entry(Cow::Owned(name)).or_default() += n;
    }
    match wanted.iter().find(|(_, n)| **n > i64::from(limits.aggregate)) {
        Some((name, n)) => {
            let limit = limits.aggregate;
            Err(Refused::Full(format!("{n} inputs of {name} would be parked, and {limit} is the limit: {help}")))
        }
        None => Ok(()),
    }
}

/// Releases what is due, until `shutdown`.
pub async fn run<P: Participant>(engine: Arc<Engine<P>>, shutdown: CancellationToken) {
    let mut rounds = 0_u64;
    loop {
        tokio::select! {
            () = shutdown.cancelled() => return,
            () = tokio::time::sleep(LOOK) => {}
        }
        rounds += 1;
        if rounds.is_multiple_of(TIDY)
            && let Err(error) = crate::intake::forget(engine.pool()).await
        {
            tracing::debug!(error = chain_of(&error), "old foreign records not forgotten; trying again later");
        }
        if let Err(error) = round(&engine).await {
            tracing::warn!(error = chain_of(&error), "could not look after parked inputs; trying again");
        }
    }
}

async fn round<P: Participant>(engine: &Engine<P>) -> Result<(), Error> {
    let due: Vec<String> = sqlx::query_scalar(
        "select aggregate from (select distinct on (aggregate) aggregate, retry_at from farandole.parked order by aggregate, seq) first
         where retry_at <= clock_timestamp() limit $1",
    )
    .bind(AGGREGATES)
    .fetch_all(engine.pool())
    .await
    .map_err(Error::database("looking for parked inputs", 0))?;
    for aggregate in due {
        if let Err(error) = release(engine, &aggregate).await {
            tracing::warn!(aggregate, error = chain_of(&error), "a release failed; trying again later");
            postpone(engine.pool(), &aggregate, &chain_of(&error)).await.map_err(Error::database("postponing a release", 1))?;
        }
    }
    Ok(())
}

struct Row {
    seq: i64,
    record: Record,
}

/// Runs an aggregate's parked inputs, oldest first, until one fails.
async fn release<P: Participant>(engine: &Engine<P>, aggregate: &str) -> Result<(), Error> {
    let rows = rows(engine.pool(), aggregate).await.map_err(Error::database("reading parked inputs", 1))?;
    let ids = rows.iter().filter_map(|r| r.record.schema_id());
    if let Err(error) = engine.codec().prepare(ids).await {
        tracing::debug!(error = chain_of(&error), "schemas of parked inputs are not there yet");
    }
    let (mut works, mut seqs, mut done, mut fault) = (Vec::new(), Vec::new(), Vec::new(), None);
    for row in rows {
        match row.record.read_in_chain::<P>(engine.codec()) {
            Said::Input(work) => {
                works.push(*work);
                seqs.push(row.seq);
            }
            Said::Nothing => done.push(row.seq),
            Said::Fault(f) => {
                fault = Some(f);
                break;
            }
        }
    }
    if works.is_empty() && done.is_empty() {
        let reason = fault.map_or_else(String::new, |f| f.reason);
        return postpone(engine.pool(), aggregate, &reason).await.map_err(Error::database("postponing a release", 1));
    }
    let first = works.len().min(1);
    let mut source = Release { aggregate: aggregate.to_owned(), seqs, done };
    match engine.run(&mut works, &mut source).await {
        // One of several can't be stored: take the first alone, so that what can go on does.
        Err(error) if error.is_data() && works.len() > first => {
            works.truncate(first);
            source.seqs.truncate(first);
            engine.run(&mut works, &mut source).await.map(drop)
        }
        other => other.map(drop),
    }
}

async fn rows(pool: &PgPool, aggregate: &str) -> sqlx::Result<Vec<Row>> {
    let rows = sqlx::query(
        "select seq, topic, partition, record_offset, key, value, headers from farandole.parked where aggregate = $1 order by seq limit $2",
    )
    .bind(aggregate)
    .bind(ROWS)
    .fetch_all(pool)
    .await?;
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
async fn postpone(conn: impl PgExecutor<'_>, aggregate: &str, reason: &str) -> sqlx::Result<()> {
    sqlx::query(
        "update farandole.parked set attempts = attempts + 1, reason = $2, head = true,
           retry_at = clock_timestamp() + least($3, power(2, least(attempts, 20))) * (1 + random() / 2) * interval '1 second'
         where seq = (select min(seq) from farandole.parked where aggregate = $1)",
    )
    .bind(aggregate)
    .bind(short(reason))
    .bind(LONGEST_PAUSE_SECONDS)
    .execute(conn)
    .await?;
    Ok(())
}

/// The parked rows of one aggregate, as the source of a batch.
struct Release {
    aggregate: String,
    seqs: Vec<i64>,
    done: Vec<i64>,
}

impl<P: Participant> Source<P> for Release {
    fn releases(&self) -> bool {
        true
    }

    async fn claim(&mut self, conn: &mut PgConnection, works: &[Work<P>]) -> Result<Vec<bool>, Error> {
        // Another replica may be at the same aggregate: who locks the rows first releases them, the other finds them gone.
        let there: HashSet<i64> =
            sqlx::query_scalar("select seq from farandole.parked where seq = any($1) order by seq for update")
                .bind(&self.seqs)
                .fetch_all(conn)
                .await
                .map_err(Error::database("locking parked inputs", works.len()))?
                .into_iter()
                .collect();
        Ok(self.seqs.iter().map(|seq| there.contains(seq)).collect())
    }

    async fn settle(&mut self, conn: &mut PgConnection, works: &[Work<P>], verdicts: &[Verdict]) -> Result<(), Error> {
        let at = |doing| Error::database(doing, works.len());
        let mut gone = self.done.clone();
        gone.extend(self.seqs.iter().zip(verdicts).filter(|(_, v)| matches!(v, Verdict::Done(_))).map(|(seq, _)| *seq));
        sqlx::query("delete from farandole.parked where seq = any($1)")
            .bind(&gone)
            .execute(&mut *conn)
            .await
            .map_err(at("releasing"))?;
        let stuck = verdicts.iter().find_map(|v| match v {
            Verdict::Parked(fault) => Some(fault.reason.as_str()),
            _ => None,
        });
        if let Some(reason) = stuck {
            postpone(conn, &self.aggregate, reason).await.map_err(at("postponing a release"))?;
        } else if !gone.is_empty() {
            tracing::info!(aggregate = self.aggregate, inputs = gone.len(), "released");
        }
        Ok(())
    }
}
