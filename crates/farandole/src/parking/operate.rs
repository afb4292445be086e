//! Operator actions on parked inputs: list, retry, drop with a reason.

use serde::Serialize;
use sqlx::postgres::PgRow;
use sqlx::{PgConnection, PgExecutor, Row as _};

use crate::database::gate::{BEGIN, begin};
use crate::ground::text::shown;
use crate::ground::time::Timestamp;
use crate::parking::error::Error;
use crate::parking::foreign;
use crate::parking::input::{self, InputId};
use crate::parking::journal::{Journal, JournalEvent};
use crate::parking::queue::{self, Gone};

/// Queues that are listed; who has more wants to count, not to read.
const LISTED: i64 = 1_000;

/// One aggregate's parked inputs.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Queue {
    /// Under what they wait.
    pub aggregate: String,
    /// The other name of the first, its record's or task's key, when it has one: what comes later under that waits as well.
    pub also: Option<String>,
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

/// What is parked, the oldest first.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Queues {
    /// At most 1,000.
    pub queues: Vec<Queue>,
    /// Whether there are more.
    pub more: bool,
}

/// What `reader` has parked.
///
/// # Errors
/// The database's.
pub async fn list(conn: impl PgExecutor<'_>, reader: &str) -> sqlx::Result<Queues> {
    let rows = sqlx::query(
        "select first.aggregate, n, (extract(epoch from parked_at) * 1000000)::bigint, attempts,
                (extract(epoch from retry_at) * 1000000)::bigint, reason, topic, partition, record_offset,
                task_kind, task_name, task_key, task_cause, also
         from (select aggregate, min(seq) as seq, count(*) as n from farandole.parked where reader = $2 group by aggregate) first
         join farandole.parked using (seq) order by first.seq limit $1",
    )
    .bind(LISTED + 1)
    .bind(reader)
    .fetch_all(conn)
    .await?;
    let time = |micros: i64| Timestamp::from_micros(micros).to_string();
    let listed = usize::try_from(LISTED).unwrap_or(usize::MAX);
    let queues = rows
        .iter()
        .take(listed)
        .map(|row| {
            Ok(Queue {
                aggregate: row.try_get(0)?,
                also: row.try_get(13)?,
                inputs: row.try_get(1)?,
                since: time(row.try_get(2)?),
                attempts: row.try_get(3)?,
                next_try: time(row.try_get(4)?),
                first: input::place(row, 6, 9)?.to_string(),
                reason: row.try_get(5)?,
            })
        })
        .collect::<sqlx::Result<_>>()?;
    Ok(Queues { queues, more: rows.len() > listed })
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

/// Which inputs of a name.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Which {
    /// The one that holds the others up.
    First,
    /// All that are parked now.
    All,
}

/// An input that was dropped.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Dropped {
    /// The input.
    pub place: InputId,
    /// Under what it was parked.
    pub aggregate: String,
    /// Its other name, if it had one.
    pub also: Option<String>,
    /// What it waited behind: it may have been in order itself.
    pub behind: Option<InputId>,
}

impl std::fmt::Display for Dropped {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        // Said to people, in strangers' words.
        write!(f, "{} of {}", shown(&self.place.to_string()), shown(&self.aggregate))?;
        self.also.iter().try_for_each(|also| write!(f, " and {}", shown(also)))?;
        self.behind.iter().try_for_each(|behind| write!(f, ", which only waited behind {}", shown(&behind.to_string())))
    }
}

/// Why nothing was dropped.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Refused {
    /// The database's or the journal's.
    #[error(transparent)]
    Failed(#[from] Error),
    /// What is first under the name isn't what fails.
    #[error(
        "the first input parked under {}, {}, only waits behind {}, which is parked under {}: drop that one, or everything \
         under {} (`--all`)",
        shown(name), shown(&place.to_string()), shown(&behind.to_string()), shown(under), shown(name)
    )]
    Waits {
        /// What was named.
        name: String,
        /// The first under it.
        place: InputId,
        /// What that waits behind.
        behind: InputId,
        /// That one's aggregate.
        under: String,
    },
}

/// A row, its place, and what it waits behind with the aggregate of that.
type Look = (Gone, InputId, Option<(InputId, String)>);

/// Rows under a name, whichever of their two it is, with the oldest of the older ones that they have a name in common with.
const LOOK: &str = "
select p.seq, p.aggregate, p.also, p.topic, p.partition, p.record_offset, p.task_kind, p.task_name, p.task_key, p.task_cause,
       b.aggregate, b.topic, b.partition, b.record_offset, b.task_kind, b.task_name, b.task_key, b.task_cause
from (select * from farandole.parked where reader = $1 and (aggregate = $2 or also = $2) order by seq limit $3) p
cross join lateral (select least(
    (select min(seq) from farandole.parked where reader = $1 and aggregate = p.aggregate),
    (select min(seq) from farandole.parked where reader = $1 and also = p.aggregate),
    (select min(seq) from farandole.parked where reader = $1 and aggregate = p.also),
    (select min(seq) from farandole.parked where reader = $1 and also = p.also)) as seq) oldest
left join farandole.parked b on b.seq = oldest.seq and b.seq < p.seq
order by p.seq";

async fn look(conn: &mut PgConnection, reader: &str, name: &str, which: Which) -> sqlx::Result<Vec<Look>> {
    let most = match which {
        Which::First => Some(1_i64),
        Which::All => None,
    };
    let rows = sqlx::query(LOOK).bind(reader).bind(name).bind(most).fetch_all(conn).await?;
    let one = |row: &PgRow| {
        let under: Option<String> = row.try_get(10)?;
        let behind = under.map(|under| Ok::<_, sqlx::Error>((input::place(row, 11, 14)?, under))).transpose()?;
        Ok((queue::gone(row)?, input::place(row, 3, 6)?, behind))
    };
    rows.iter().map(one).collect()
}

/// Gives inputs up that `reader` has parked under `name`, an aggregate or a key, for a reason, and says which. What waited behind them is
/// tried within a second.
///
/// `journal` is told, where there is one.
///
/// # Errors
/// The database's, and the journal's; when the [first](Which::First) only waits behind what has another name.
pub async fn drop_inputs(
    conn: &mut PgConnection,
    reader: &str,
    journal: Option<&Journal>,
    name: &str,
    which: Which,
    reason: &str,
    by: &str,
) -> Result<Vec<Dropped>, Refused> {
    let at = |doing| Error::database(doing, 1);
    let mut tx = begin(conn).await.map_err(at(BEGIN))?;
    // A release that is under way has the names locked, and is waited for: what it processes is not dropped. What has come in between
    // isn't either, since its names aren't locked.
    let found = look(&mut tx, reader, name, which).await.map_err(at("reading parked inputs"))?;
    let names = found.iter().flat_map(|(gone, ..)| &gone.names).map(String::as_str);
    queue::lock(&mut tx, reader, names).await.map_err(at("locking names of parked inputs"))?;
    let mut still = look(&mut tx, reader, name, which).await.map_err(at("reading parked inputs"))?;
    still.retain(|(gone, ..)| found.iter().any(|(before, ..)| before == gone));
    if let (Which::First, Some((_, place, Some((behind, under))))) = (which, still.first()) {
        let (name, place, behind, under) = (name.to_owned(), place.clone(), behind.clone(), under.clone());
        return Err(Refused::Waits { name, place, behind, under });
    }
    let (rows, behind): (Vec<(Gone, InputId)>, Vec<_>) =
        still.into_iter().map(|(gone, place, behind)| ((gone, place), behind.map(|(place, _)| place))).unzip();
    let why = JournalEvent::Dropped { reason: reason.to_owned(), by: by.to_owned() };
    let seqs: Vec<i64> = rows.iter().map(|(gone, _)| gone.seq).collect();
    foreign::forget(&mut tx, reader, &seqs).await.map_err(at("forgetting foreign records that are dropped"))?;
    queue::take(&mut tx, reader, journal, &rows, &why).await?;
    tx.commit().await.map_err(at("commit"))?;
    let one = |((gone, place), behind): ((Gone, InputId), Option<InputId>)| {
        let mut names = gone.names.into_iter();
        Some(Dropped { place, aggregate: names.next()?, also: names.next(), behind })
    };
    let dropped: Vec<Dropped> = rows.into_iter().zip(behind).filter_map(one).collect();
    for one in &dropped {
        tracing::warn!(reader, input = %one, reason, by, "dropped");
    }
    Ok(dropped)
}
