//! Release: retries parked inputs, oldest first.
//!
//! **Trouble of the system** isn't an input's: a try that met it counts for nothing, leaves the reason that the input failed for, and is
//! made again within seconds. Otherwise a restart of the database puts off what it met by minutes, and hides why that is parked.

use std::collections::{HashMap, HashSet};
use std::sync::Arc;
use std::time::Duration;

use futures_util::future::BoxFuture;
use sqlx::{PgConnection, PgExecutor};
use tokio_util::sync::CancellationToken;

use crate::consume::metrics;
use crate::database::sessions::{Sessions, with_conn};
use crate::engine::Decoded;
use crate::engine::{AnyProcessor, Error, Processor, Source, Verdict};
use crate::ground::error::chain_of;
use crate::ground::text::short;
use crate::ground::trouble::{Trouble, Troubled as _};
use crate::parking::Fault;
use crate::parking::input::{self, Input, InputId};
use crate::parking::journal::{Journal, JournalEvent};
use crate::parking::queue::{self, Gone};

/// How often to look for parked rows that are due.
const LOOK: Duration = Duration::from_secs(1);
/// Looks between two counts of what is parked.
const SAMPLE: u64 = 10;
/// Looks between two for heads that an earlier build left unmarked.
const MEND: u64 = 600;
/// Heads looked at, and rows released with a head at once: bounds of one look and one transaction.
pub const HEADS: i64 = 100;
const ROWS: i64 = 200;
/// The pause after a failed try doubles from a second to this: an hour's parked row costs some ten tries.
const LONGEST_PAUSE_SECONDS: f64 = 300.0;
/// The pause after a try that met trouble of the system, and of a row that waits under another name of its own, until who is first
/// there goes.
const TROUBLE_SECONDS: f64 = 3.0;
const BLOCKED_SECONDS: f64 = 10.0;
/// More than this isn't counted.
pub const COUNT_TO: i64 = 10_000;

/// Gauges of what is parked. Heads are one a key, but for those that wait under their other name.
pub const COUNT: &str = "
select (select count(*) from (select from farandole.parked where reader = $2 limit $1) parked),
       (select count(*) from (select from farandole.parked where reader = $2 and head limit $1) heads)";

/// What is due: heads, whether each is blocked by an older row under one of its names. The index on `retry_at` holds only heads.
pub const DUE: &str = "
select d.seq, d.aggregate, d.also,
       exists (select from farandole.parked p where p.reader = $2 and p.aggregate = any (array[d.aggregate, d.also]) and p.seq < d.seq)
       or exists (select from farandole.parked p where p.reader = $2 and p.also = any (array[d.aggregate, d.also]) and p.seq < d.seq)
from (select seq, aggregate, also from farandole.parked
      where reader = $2 and head and retry_at <= clock_timestamp() order by retry_at limit $1) d";

async fn sample(sessions: &Sessions, reader: &str) -> sqlx::Result<()> {
    let count = sqlx::query_as(COUNT).bind(COUNT_TO).bind(reader);
    let (inputs, keys): (i64, i64) = with_conn!(sessions, conn => count.fetch_one(conn))?;
    metrics::PARKED_INPUTS.set(inputs as f64, [reader.to_owned().into()]);
    metrics::PARKED_KEYS.set(keys as f64, [reader.to_owned().into()]);
    Ok(())
}

/// Releases what is due, until `shutdown`.
pub fn run(engine: Arc<impl Processor>, shutdown: CancellationToken) -> BoxFuture<'static, ()> {
    boxed(engine, shutdown)
}

fn boxed(engine: Arc<dyn AnyProcessor>, shutdown: CancellationToken) -> BoxFuture<'static, ()> {
    Box::pin(releases(engine, shutdown))
}

async fn releases(engine: Arc<dyn AnyProcessor>, shutdown: CancellationToken) {
    let (mut rounds, mut more) = (0_u64, false);
    loop {
        let pause = if more { Duration::ZERO } else { LOOK };
        tokio::select! {
            () = shutdown.cancelled() => return,
            () = tokio::time::sleep(pause) => {}
        }
        if !more {
            rounds += 1;
            if rounds % SAMPLE == 1
                && let Err(error) = sample(engine.sessions(), engine.reader()).await
            {
                tracing::debug!(error = chain_of(&error), "counting parked inputs failed; retrying later");
            }
            if rounds % MEND == 1
                && let Err(error) = with_conn!(engine.sessions(), conn => queue::mend(conn, engine.reader()))
            {
                tracing::debug!(error = chain_of(&error), "scanning queues of parked inputs failed; retrying later");
            }
        }
        more = match round(&*engine).await {
            Ok(more) => more,
            Err(error) => {
                tracing::warn!(error = chain_of(&error), "checking parked inputs failed; retrying");
                false
            }
        };
    }
}

/// Releases what is due; says whether something went, so that more may be due behind it.
async fn round(engine: &dyn AnyProcessor) -> Result<bool, Error> {
    let due = sqlx::query_as(DUE).bind(HEADS).bind(engine.reader());
    let due: Vec<(i64, String, Option<String>, bool)> =
        with_conn!(engine.sessions(), conn => due.fetch_all(conn)).map_err(Error::database("looking for parked inputs", 0))?;
    let blocked: Vec<i64> = due.iter().filter(|d| d.3).map(|d| d.0).collect();
    if !blocked.is_empty() {
        pause(engine.sessions(), &blocked, BLOCKED_SECONDS).await?;
    }
    let mut gone = false;
    for (seq, aggregate, also, _) in due.into_iter().filter(|d| !d.3) {
        let names: Vec<String> = std::iter::once(aggregate.clone()).chain(also).collect();
        match release(engine, &names).await {
            Ok(some) => gone |= some,
            // What is too large for the server although it is alone fails like what it refuses.
            Err(error) if matches!(error.trouble(), Trouble::Input | Trouble::Size) => {
                tracing::warn!(aggregate, error = chain_of(&error), "a release failed; retrying later");
                let failed = [(seq, short(&chain_of(&error)))];
                with_conn!(engine.sessions(), conn => postpone(conn, &failed))
                    .map_err(Error::database("postponing a release", 1))?;
            }
            Err(error) => {
                tracing::warn!(aggregate, error = chain_of(&error), "a release hit a transient error; retrying soon");
                pause(engine.sessions(), &[seq], TROUBLE_SECONDS).await?;
            }
        }
    }
    Ok(gone)
}

/// Of `rows`, oldest first, those that may be run together: all that is older under their names is among them. `names` are those
/// under which all of the oldest were read; under others there may be more.
#[doc(hidden)]
pub fn in_order<R>(rows: Vec<R>, names: &[String], of: impl Fn(&R) -> &[String]) -> Vec<R> {
    let mut blocked = HashSet::new();
    let mut some = Vec::with_capacity(rows.len());
    for row in rows {
        if of(&row).iter().all(|name| names.contains(name) && !blocked.contains(name)) {
            some.push(row);
        } else {
            blocked.extend(of(&row).to_vec());
        }
    }
    some
}

/// Runs the inputs that are parked under a head's names, oldest first, until one fails; says whether some went.
async fn release(engine: &dyn AnyProcessor, names: &[String]) -> Result<bool, Error> {
    let rows = with_conn!(engine.sessions(), conn => input::rows(conn, engine.reader(), names, ROWS));
    let rows = in_order(rows.map_err(Error::database("reading parked inputs", 1))?, names, |row| &row.names);
    let ids = rows.iter().filter_map(|row| match &row.input {
        Input::Record(record) => record.schema_id(),
        Input::Task(..) => None,
    });
    let missing = engine.codec().prepare(ids).await.err().map(|error| chain_of(&error));
    let (mut works, mut waiting, mut done, mut stuck) = (Vec::new(), Vec::new(), Vec::new(), None);
    for row in rows {
        let said = match &row.input {
            Input::Record(record) => engine.read(record),
            Input::Task(_, Ok(task)) => engine.task(task),
            Input::Task(_, Err(reason)) => Decoded::Fault(Fault { reason: reason.clone(), transient: false }),
        };
        let one = One { place: row.input.place(), gone: Gone { seq: row.seq, names: row.names } };
        match said {
            Decoded::Input(work) => {
                works.push(work);
                waiting.push(one);
            }
            Decoded::Ignored | Decoded::Unknown => done.push(one),
            Decoded::Fault(fault) => {
                stuck = Some((row.seq, fault));
                break;
            }
        }
    }
    if works.is_empty() && done.is_empty() {
        let Some((seq, fault)) = stuck else { return Ok(false) };
        // It may be for lack of its schema that it can't be read.
        if let Some(why) = missing {
            return Err(Error::NotYet(why));
        }
        let failed = [(seq, short(&fault.reason))];
        let postponed = with_conn!(engine.sessions(), conn => postpone(conn, &failed));
        return postponed.map(|()| false).map_err(Error::database("postponing a release", 1));
    }
    let first = works.len().min(1);
    let mut source = Release { reader: engine.reader().to_owned(), journal: engine.journal(), waiting, done, gone: false };
    match engine.run(&mut works, &mut source).await {
        // One of several can't be stored: take the first alone, so that what can go on does.
        Err(error) if error.trouble().halves() && works.len() > first => {
            works.truncate(first);
            source.waiting.truncate(first);
            engine.run(&mut works, &mut source).await?;
        }
        other => drop(other?),
    }
    Ok(source.gone)
}

/// Puts off the next tries of inputs that failed as [`Backoff`](crate::ground::backoff::Backoff) does: twice as long each time, drawn from
/// the upper half, where the rows are.
async fn postpone(conn: impl PgExecutor<'_>, failed: &[(i64, String)]) -> sqlx::Result<()> {
    let (seqs, reasons): (Vec<i64>, Vec<&str>) = failed.iter().map(|(seq, reason)| (*seq, reason.as_str())).unzip();
    sqlx::query(
        "update farandole.parked p set attempts = attempts + 1, reason = f.reason, head = true,
           retry_at = clock_timestamp() + least($3, power(2, least(attempts, 20))) * (1 + random()) / 2 * interval '1 second'
         from unnest($1::bigint[], $2::text[]) f(seq, reason) where p.seq = f.seq",
    )
    .bind(seqs)
    .bind(reasons)
    .bind(LONGEST_PAUSE_SECONDS)
    .execute(conn)
    .await?;
    Ok(())
}

/// Puts off the next look at rows that haven't failed.
async fn pause(sessions: &Sessions, seqs: &[i64], seconds: f64) -> Result<(), Error> {
    let later = sqlx::query(
        "with mine as materialized (select seq from farandole.parked where seq = any($1) order by seq for update skip locked)
         update farandole.parked set retry_at = clock_timestamp() + $2 * (1 + random()) / 2 * interval '1 second'
         where seq = any (array(select seq from mine))",
    );
    let later = later.bind(seqs).bind(seconds);
    with_conn!(sessions, conn => later.execute(conn)).map(drop).map_err(Error::database("postponing a release", seqs.len()))
}

/// A row under release.
#[derive(Debug, Clone)]
struct One {
    place: InputId,
    gone: Gone,
}

/// Parked rows, as the source of a batch.
struct Release {
    reader: String,
    journal: Option<Journal>,
    /// Those of the works, and those that say nothing to this service.
    waiting: Vec<One>,
    done: Vec<One>,
    /// Whether some went.
    gone: bool,
}

impl Source<()> for Release {
    fn releases(&self) -> bool {
        true
    }

    fn claim<'a>(&'a mut self, conn: &'a mut PgConnection, works: &'a [()]) -> BoxFuture<'a, Result<Vec<bool>, Error>> {
        Box::pin(async move {
            let at = |doing| Error::database(doing, works.len());
            // Another replica may be at the same rows: who locks their names first releases them, the other finds them gone.
            let all = || self.waiting.iter().chain(&self.done);
            let names = all().flat_map(|one| &one.gone.names).map(String::as_str);
            queue::lock(conn, &self.reader, names).await.map_err(at("locking names of parked inputs"))?;
            let there: HashSet<i64> = sqlx::query_scalar("select seq from farandole.parked where seq = any($1)")
                .bind(all().map(|one| one.gone.seq).collect::<Vec<_>>())
                .fetch_all(conn)
                .await
                .map_err(at("looking which inputs are parked still"))?
                .into_iter()
                .collect();
            self.done.retain(|one| there.contains(&one.gone.seq));
            Ok(self.waiting.iter().map(|one| there.contains(&one.gone.seq)).collect())
        })
    }

    fn settle<'a>(
        &'a mut self,
        conn: &'a mut PgConnection,
        works: &'a [()],
        verdicts: &'a [Verdict],
    ) -> BoxFuture<'a, Result<(), Error>> {
        Box::pin(async move {
            let at = |doing| Error::database(doing, works.len());
            let taken = self.waiting.iter().zip(verdicts).filter(|(_, v)| matches!(v, Verdict::Done(_))).map(|(one, _)| one);
            let gone: Vec<One> = self.done.iter().chain(taken).cloned().collect();
            let failed: Vec<(i64, String)> = self
                .waiting
                .iter()
                .zip(verdicts)
                .filter_map(|(one, v)| match v {
                    Verdict::Parked(fault) => Some((one.gone.seq, short(&fault.reason))),
                    _ => None,
                })
                .collect();
            self.gone = !gone.is_empty();
            if self.gone {
                let rows: Vec<(Gone, InputId)> = gone.into_iter().map(|one| (one.gone, one.place)).collect();
                queue::take(conn, &self.reader, self.journal.as_ref(), &rows, &JournalEvent::Released).await?;
                let mut counts = HashMap::<&str, usize>::new();
                for name in rows.iter().filter_map(|(row, _)| row.names.first()) {
                    *counts.entry(name).or_default() += 1;
                }
                counts.iter().for_each(|(aggregate, inputs)| tracing::info!(aggregate, inputs, "released"));
                metrics::RELEASED.add(rows.len() as u64, []);
            }
            // After the others went, for that made heads of them.
            if !failed.is_empty() {
                postpone(conn, &failed).await.map_err(at("postponing a release"))?;
            }
            Ok(())
        })
    }
}

#[cfg(test)]
mod tests {
    use uuid::Uuid;

    use super::*;
    use crate::parking::input::{Kind, ParkedRow};

    fn row(seq: i64, names: &[&str]) -> ParkedRow {
        let place = InputId::Task { kind: Kind::Deadline, name: "n".to_owned(), key: "k".to_owned(), cause: Uuid::nil() };
        ParkedRow { seq, names: names.iter().map(|n| (*n).to_owned()).collect(), input: Input::Task(place, Err(String::new())) }
    }

    /// Rows, the names that they were read under, and which may run.
    type Case = (&'static [&'static [&'static str]], &'static [&'static str], &'static [i64]);

    #[test]
    fn rows_run_with_all_that_is_older_under_their_names() {
        let table: [Case; 5] = [
            (&[&["a"], &["a"], &["a"]], &["a"], &[0, 1, 2]),
            // What has a name under which not all was read may have something older there, and holds up what follows it.
            (&[&["a"], &["a", "k"], &["a"]], &["a"], &[0]),
            (&[&["a", "k"], &["a"], &["k"], &["k", "b"], &["a", "k"], &["a"]], &["a", "k"], &[0, 1, 2]),
            (&[&["a", "k"], &["b", "k"], &["a"], &["k"]], &["a", "k"], &[0, 2]),
            (&[&["b", "k"], &["a", "k"], &["a"]], &["a", "k"], &[]),
        ];
        for (rows, names, expected) in table {
            let rows: Vec<ParkedRow> = (0..).zip(rows).map(|(seq, names)| row(seq, names)).collect();
            let names: Vec<String> = names.iter().map(|n| (*n).to_owned()).collect();
            let some: Vec<i64> = in_order(rows, &names, |row| &row.names).iter().map(|row| row.seq).collect();
            assert_eq!(some, expected);
        }
    }
}
