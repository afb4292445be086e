//! The queues of what is parked: who is first in them.

use std::collections::{BTreeSet, HashSet};

use sqlx::PgConnection;

use crate::database::locks;
use crate::ground::time::Timestamp;
use crate::parking::error::Error;
use crate::parking::input::{self, InputId};
use crate::parking::journal::{BY_ITSELF, Entry, Journal, JournalEvent};

/// Locks names, for who adds to or takes from what is parked under them. After the rows and tasks.
pub(crate) async fn lock<'a>(
    conn: &mut PgConnection,
    reader: &str,
    names: impl IntoIterator<Item = &'a str>,
) -> sqlx::Result<()> {
    let names: BTreeSet<String> = names.into_iter().map(|name| format!("{reader}/{name}")).collect();
    locks::lock_all(conn, "parked", &Vec::from_iter(names)).await
}

/// Under which of `names` something is parked. They are locked.
pub(super) async fn taken(conn: &mut PgConnection, reader: &str, names: &BTreeSet<&str>) -> sqlx::Result<HashSet<String>> {
    let taken: Vec<String> = sqlx::query_scalar(
        "select n from unnest($1::text[]) n
         where exists (select from farandole.parked where reader = $2 and aggregate = n)
            or exists (select from farandole.parked where reader = $2 and also = n)",
    )
    .bind(names.iter().copied().collect::<Vec<_>>())
    .bind(reader)
    .fetch_all(conn)
    .await?;
    Ok(taken.into_iter().collect())
}

/// A row that is taken out.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Gone {
    pub seq: i64,
    pub names: Vec<String>,
}

/// Takes rows out, whose names are locked, and says in the journal why; the oldest that is left under each name becomes a head, and is
/// tried at once.
pub(crate) async fn take(
    conn: &mut PgConnection,
    reader: &str,
    journal: Option<&Journal>,
    rows: &[(Gone, InputId)],
    why: &JournalEvent,
) -> Result<(), Error> {
    let gone = || rows.iter().map(|(gone, _)| gone);
    let names: BTreeSet<&str> = gone().flat_map(|g| &g.names).map(String::as_str).collect();
    let taken = async |conn: &mut PgConnection| {
        sqlx::query("delete from farandole.parked where seq = any($1)")
            .bind(gone().map(|g| g.seq).collect::<Vec<_>>())
            .execute(&mut *conn)
            .await?;
        sqlx::query_scalar::<_, i64>(
            "with first as materialized (
               select least((select min(seq) from farandole.parked where reader = $2 and aggregate = n),
                            (select min(seq) from farandole.parked where reader = $2 and also = n)) as seq
               from unnest($1::text[]) n
             ), locked as materialized (
               select seq from farandole.parked where seq = any (array(select seq from first)) order by seq for update
             ), heads as (
               update farandole.parked set head = true, retry_at = clock_timestamp() where seq = any (array(select seq from locked))
             )
             select (extract(epoch from clock_timestamp()) * 1000000)::bigint",
        )
        .bind(names.into_iter().collect::<Vec<_>>())
        .bind(reader)
        .fetch_one(conn)
        .await
    };
    let now = taken(conn).await.map_err(Error::database("taking parked inputs out", rows.len()))?;
    let Some(journal) = journal else { return Ok(()) };
    let entry = |(gone, place): &(Gone, InputId)| {
        Some(Entry { aggregate: gone.names.first()?.clone(), place: place.clone(), what: why.clone() })
    };
    let entries: Vec<Entry> = rows.iter().filter_map(entry).collect();
    journal.append(conn, Timestamp::from_micros(now), &entries).await
}

/// Makes heads of rows that are first under their aggregate and aren't: left by an earlier build, which knew no heads, that ran
/// beside this one.
pub async fn mend(conn: &mut PgConnection, reader: &str) -> sqlx::Result<u64> {
    let done = sqlx::query(
        "update farandole.parked set head = true
         where reader = $1 and not head and seq in (select min(seq) from farandole.parked where reader = $1 group by aggregate)",
    )
    .bind(reader)
    .execute(conn)
    .await?;
    Ok(done.rows_affected())
}

/// Gives up parked deadlines of these places (name and key), which an event closes. An outcome that is parked stays: what it tells of
/// has happened.
pub(crate) async fn close_deadlines(
    conn: &mut PgConnection,
    reader: &str,
    journal: Option<&Journal>,
    names: &[&str],
    keys: &[&str],
) -> Result<(), Error> {
    let at = |doing| Error::database(doing, names.len());
    let sql = "select p.seq, p.aggregate, p.also, p.task_kind, p.task_name, p.task_key, p.task_cause, p.topic, p.partition, p.record_offset
               from unnest($1::text[], $2::text[]) x(name, key)
               join farandole.parked p on p.task_name = x.name and p.task_key = x.key where p.reader = $3 and p.task_kind = 'deadline'";
    let look = async |conn: &mut PgConnection| {
        let rows = sqlx::query(sql).bind(names).bind(keys).bind(reader).fetch_all(conn).await?;
        rows.iter().map(|row| Ok((gone(row)?, input::place(row, 7, 3)?))).collect::<sqlx::Result<Vec<_>>>()
    };
    let found = look(conn).await.map_err(at("looking for parked deadlines"))?;
    if found.is_empty() {
        return Ok(());
    }
    // Looked at again under the locks: a release may have been at it.
    let all = found.iter().flat_map(|(gone, _)| &gone.names).map(String::as_str);
    lock(conn, reader, all).await.map_err(at("locking names of parked deadlines"))?;
    let found = look(conn).await.map_err(at("looking for parked deadlines"))?;
    let why = JournalEvent::Dropped { reason: "closed by a later event".to_owned(), by: BY_ITSELF.to_owned() };
    take(conn, reader, journal, &found, &why).await
}

/// Seq and names from the first three columns.
pub(super) fn gone(row: &sqlx::postgres::PgRow) -> sqlx::Result<Gone> {
    use sqlx::Row as _;
    let also: Option<String> = row.try_get(2)?;
    Ok(Gone { seq: row.try_get(0)?, names: std::iter::once(row.try_get(1)?).chain(also).collect() })
}
