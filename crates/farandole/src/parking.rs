//! Parking: an input that can't be processed is stored aside, with everything later for its aggregate behind it, in order.
//!
//! **Guarantees.** Nothing is dropped; for one aggregate the order in which inputs came is the order in which they take effect;
//! other aggregates go on. That holds for all inputs: records, deadlines, and outcomes of effects park and queue alike, and
//! commands are told to come back. What is parked is tried again with growing pauses, so trouble that ends by itself (a schema
//! that isn't registered yet, a newer event type before the new build is out) needs nobody.
//!
//! **Two names.** An input is about its aggregate, and has the key of its record or task; mostly they are the same. Where they
//! aren't, what is parked holds up what comes later under either: for an event of an order that is about an article, later events
//! of the order as well as of the article.
//!
//! **How.** A row is written in the transaction that moves the position or ends the task: a deadline that parks is no task any
//! more, and an outcome is kept as it was had, so nobody is asked again. Every batch asks, once its rows are locked, which of its
//! names are parked, and parks further inputs behind them. A release reads rows oldest first, runs them like any input, and
//! deletes those that took effect; the first that doesn't stops it.
//!
//! **Heads.** A row that nothing older under one of its names is left of is a *head*, and only heads are looked at when something
//! is due; so a look costs what is due, not what lies there. Whoever parks, releases or drops locks the names concerned first, and
//! leaves the oldest row that is left under each as a head.
//!
//! Every parking, release and drop is an event of the service's [journal], appended in its own transaction. An operator
//! may [look](operate) at what is parked, have it tried at once, or drop an input with a reason.
//!
//! **Bounds**, for each reader: so much an aggregate, so much in all, and so many failures a minute; at a limit the partition that
//! would park more waits, and says why, and a task stays in the agenda until later.
//!
//! **Whose.** A row says which reader parked it; no other sees, counts, releases or drops it. Tasks are the service's.
//!
//! **Assumptions.** Of two inputs the later is one that is read once the earlier is stored: records of one partition, and whatever
//! comes after a record was parked. An aggregate's inputs meet in its row or advisory locks: whatever decides about it locks what
//! [`touches`](Participant::touches) names before it asks what is parked.
//!
//! **How it would fail without**: parked in a transaction apart from the position's, a crash between the two loses the input or
//! parks it twice; without diverting successors, a later event overtakes the one that waits; asked before the rows are locked,
//! a release that empties the queue and an input that joins it pass each other; without the names' locks, an input joins a queue
//! of which just then the last goes, and nobody looks at it any more; without limits, one bad release of a service parks its whole
//! topic, row by row.

pub mod acts;
mod error;
mod fault;
pub(crate) mod foreign;
pub mod input;
pub mod journal;
pub(crate) mod metrics;
pub mod operate;
pub(crate) mod queue;

use std::collections::{BTreeSet, HashMap, HashSet};

use sqlx::PgConnection;
use sqlx::types::Json;

use crate::ground::text::short;
use crate::ground::time::Timestamp;
use crate::publish::relay::history::{Seen, holds_sql};
use crate::publish::relay::state::SCOPE;
use input::What;
use journal::{Entry, Journal, JournalEvent};

#[cfg(doc)]
use crate::participant::Participant;

pub use error::Error;
pub use fault::Fault;
pub(crate) use queue::close_deadlines;

pub use crate::ground::text::name;

/// What a batch asks for once its rows are locked.
#[derive(Debug)]
pub(crate) struct LockedState {
    /// The database's clock.
    pub now: Timestamp,
    /// Which of the [names](name), of aggregates and keys, have rows that the reader parked.
    pub parked: HashSet<String>,
    /// Whether the database is the one that was seen.
    pub holds: bool,
}

/// Asks, in one round trip. `seen` is by what the database must be known.
///
/// # Errors
/// The database's.
pub(crate) async fn among(
    conn: &mut PgConnection,
    reader: &str,
    names: &[&str],
    seen: Option<&Seen>,
) -> sqlx::Result<LockedState> {
    // Nearly always nothing is parked at all, which one look tells.
    let (micros, parked, holds): (i64, Vec<String>, bool) = sqlx::query_as(concat!(
        "select (extract(epoch from clock_timestamp()) * 1000000)::bigint,
           case when exists (select from farandole.parked where reader = $2) then array(
             select n from unnest($1::text[]) n
             where exists (select from farandole.parked where reader = $2 and aggregate = n)
                or exists (select from farandole.parked where reader = $2 and also = n))
           else '{}' end, ",
        holds_sql!("$3", "$4")
    ))
    .bind(names)
    .bind(reader)
    .bind(SCOPE)
    .bind(seen.map(Seen::values))
    .fetch_one(conn)
    .await?;
    Ok(LockedState { now: Timestamp::from_micros(micros), parked: parked.into_iter().collect(), holds })
}

/// An input to park.
#[derive(Debug)]
pub struct Parked<'a> {
    /// Under what [name].
    pub aggregate: String,
    /// The name of its record's or task's key, which holds later inputs up as well when it is another.
    pub key: String,
    /// What.
    pub what: What<'a>,
    /// Why.
    pub why: Why<'a>,
}

/// Why an input parks.
#[derive(Debug, Clone, Copy)]
pub enum Why<'a> {
    /// It can't be processed.
    Fault(&'a Fault),
    /// It only waits behind what is parked under this name.
    Behind(&'a str),
}

impl Why<'_> {
    fn reason(&self) -> String {
        match self {
            Self::Fault(fault) => short(&fault.reason),
            Self::Behind(name) => format!("waiting behind inputs parked under {name}"),
        }
    }

    fn fault(&self) -> Option<&Fault> {
        match self {
            Self::Fault(fault) => Some(fault),
            Self::Behind(_) => None,
        }
    }
}

impl Parked<'_> {
    fn also(&self) -> Option<&str> {
        Some(self.key.as_str()).filter(|key| *key != self.aggregate)
    }

    fn names(&self) -> impl Iterator<Item = &str> {
        std::iter::once(self.aggregate.as_str()).chain(self.also())
    }
}

/// How much may be parked.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Limits {
    /// Inputs of one aggregate.
    pub aggregate: u32,
    /// Inputs in all.
    pub total: u32,
    /// Failures within a minute, not counting what queues behind them or waits for something: more come of one cause, which parking
    /// doesn't fix.
    pub a_minute: u32,
}

impl Limits {
    /// Far more than what waits for a person within a day, and far less than a table that nobody can look through.
    pub const DEFAULT: Self = Self { aggregate: 1_000, total: 100_000, a_minute: 1_000 };
}

impl Default for Limits {
    fn default() -> Self {
        Self::DEFAULT
    }
}

/// Parks inputs of `reader`, in order, and says so in the journal, if there is one. At a limit nothing is parked and nothing moves on: the
/// partition waits until there is room.
///
/// # Errors
/// [`Error::Full`] at a limit.
pub async fn park(
    conn: &mut PgConnection,
    reader: &str,
    journal: Option<&Journal>,
    parked: &[Parked<'_>],
    limits: Limits,
) -> Result<(), Error> {
    if parked.is_empty() {
        return Ok(());
    }
    let at = |doing| Error::database(doing, parked.len());
    let names: BTreeSet<&str> = parked.iter().flat_map(Parked::names).collect();
    queue::lock(conn, reader, names.iter().copied()).await.map_err(at("locking names of what parks"))?;
    let now = room(conn, reader, parked, limits).await?;
    let mut taken = queue::taken(conn, reader, &names).await.map_err(at("looking behind what an input parks"))?;
    let heads: Vec<bool> = parked
        .iter()
        .map(|p| {
            let head = !p.names().any(|name| taken.contains(name));
            taken.extend(p.names().map(str::to_owned));
            head
        })
        .collect();
    let tasks = parked.iter().map(|p| p.what.task().map(input::Task::rest).transpose()).collect::<Result<Vec<_>, _>>()?;
    fn column<'a, T>(parked: &'a [Parked<'_>], of: impl Fn(&'a Parked<'_>) -> T) -> Vec<T> {
        parked.iter().map(of).collect()
    }
    for p in parked.iter().filter(|p| p.why.fault().is_some()) {
        tracing::warn!(aggregate = p.aggregate, input = %p.what.place(), reason = p.why.reason(), "parked");
    }
    // `parked_at` is the transaction's time, by which it is found what the same one has remembered (see `foreign`).
    sqlx::query(
        "insert into farandole.parked (reader, aggregate, also, topic, partition, record_offset, key, value, headers,
                                       task_kind, task_name, task_key, task_cause, task, reason, head, failed_at, parked_at)
         select $17::text, aggregate, also, topic, partition, record_offset, key, value, headers,
                task_kind, task_name, task_key, task_cause, task, reason, head, case when failed then clock_timestamp() end, now()
         from unnest($1::text[], $2::text[], $3::text[], $4::int[], $5::bigint[], $6::bytea[], $7::bytea[], $8::jsonb[],
                     $9::text[], $10::text[], $11::text[], $12::uuid[], $13::text[], $14::text[], $15::bool[], $16::bool[])
              with ordinality as p(aggregate, also, topic, partition, record_offset, key, value, headers,
                                   task_kind, task_name, task_key, task_cause, task, reason, head, failed, ord)
         order by ord",
    )
    .bind(column(parked, |p| p.aggregate.as_str()))
    .bind(column(parked, |p| p.also()))
    .bind(column(parked, |p| p.what.record().map(|r| r.topic.as_str())))
    .bind(column(parked, |p| p.what.record().map(|r| r.partition)))
    .bind(column(parked, |p| p.what.record().map(|r| r.offset)))
    .bind(column(parked, |p| p.what.record().and_then(|r| r.key.as_deref())))
    .bind(column(parked, |p| p.what.record().and_then(|r| r.value.as_deref())))
    .bind(column(parked, |p| Json(p.what.record().map_or(&[][..], |r| &r.headers[..]))))
    .bind(column(parked, |p| p.what.task().map(|t| t.kind().as_str())))
    .bind(column(parked, |p| p.what.task().map(|t| t.name.as_str())))
    .bind(column(parked, |p| p.what.task().map(|t| t.key.as_str())))
    .bind(column(parked, |p| p.what.task().map(|t| t.cause)))
    .bind(tasks)
    .bind(column(parked, |p| p.why.reason()))
    .bind(heads)
    .bind(column(parked, |p| p.why.fault().is_some_and(|fault| !fault.transient)))
    .bind(reader)
    .execute(&mut *conn)
    .await
    .map_err(at("parking"))?;
    if let Some(journal) = journal {
        let entries = column(parked, |p| Entry {
            aggregate: p.aggregate.clone(),
            place: p.what.place(),
            what: JournalEvent::Parked(p.why.fault().map(|f| short(&f.reason))),
        });
        journal.append(conn, now, &entries).await?;
    }
    metrics::PARKED.add(parked.len() as u64, []);
    Ok(())
}

/// The database's clock, unless there is no room for `parked`.
async fn room(conn: &mut PgConnection, reader: &str, parked: &[Parked<'_>], limits: Limits) -> Result<Timestamp, Error> {
    let at = |source| Error::database("counting what is parked", parked.len())(source);
    let mut wanted = HashMap::<&str, i64>::new();
    for p in parked {
        *wanted.entry(&p.aggregate).or_default() += 1;
    }
    let names: Vec<&str> = wanted.keys().copied().collect();
    let (now, total, failed): (i64, i64, i64) = sqlx::query_as(
        "select (extract(epoch from clock_timestamp()) * 1000000)::bigint,
                (select count(*) from (select from farandole.parked where reader = $3 limit $1) parked),
                (select count(*) from (select from farandole.parked
                                       where reader = $3 and failed_at > clock_timestamp() - interval '1 minute' limit $2) failed)",
    )
    .bind(i64::from(limits.total))
    .bind(i64::from(limits.a_minute))
    .bind(reader)
    .fetch_one(&mut *conn)
    .await
    .map_err(at)?;
    let there: Vec<(String, i64)> = sqlx::query_as(
        "select aggregate, count(*) from farandole.parked where reader = $2 and aggregate = any($1) group by aggregate",
    )
    .bind(names)
    .bind(reader)
    .fetch_all(conn)
    .await
    .map_err(at)?;
    let help = format!(
        "nothing is lost, the partition waits; fix the cause, or drop parked inputs; list them with `{reader} parked`, or for \
         a reader in your own program with `farandole parked --reader {reader}`"
    );
    if total + count(parked.len()) > i64::from(limits.total) {
        return Err(Error::Full(format!("{total} inputs are parked; the limit is {}: {help}", limits.total)));
    }
    let fails = count(parked.iter().filter_map(|p| p.why.fault()).filter(|fault| !fault.transient).count());
    if fails > 0 && failed + fails > i64::from(limits.a_minute) {
        let (most, reason) = (limits.a_minute, parked.iter().find_map(|p| p.why.fault()).map_or("", |f| f.reason.as_str()));
        return Err(Error::Full(format!(
            "{failed} inputs failed within a minute; the limit is {most}. Nothing is lost, the partition waits. They probably \
             have one cause; the latest: {} (`{reader} parked`, or `farandole parked --reader {reader}`, lists all)",
            short(reason)
        )));
    }
    for (name, n) in &there {
        *wanted.entry(name).or_default() += n;
    }
    match wanted.iter().find(|(_, n)| **n > i64::from(limits.aggregate)) {
        Some((name, n)) => {
            let limit = limits.aggregate;
            Err(Error::Full(format!("{n} inputs of {name} would be parked; the limit is {limit}: {help}")))
        }
        None => Ok(Timestamp::from_micros(now)),
    }
}

fn count(n: usize) -> i64 {
    i64::try_from(n).unwrap_or(i64::MAX)
}
