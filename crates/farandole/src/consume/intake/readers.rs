//! Readers of this database: each has its own positions, parked inputs and deduplication records.
//!
//! **Guarantee.** Of two readers of one topic each gets every record, and neither sees, releases or drops what the other parked.
//! Replicas of one reader have one name.
//!
//! **Rows that don't say whose they are** were written by builds that knew one reader a database. The first reader of their topic
//! that starts goes on from them, once, in a transaction that also ends their step logs: a replica of such a build that still runs
//! finds its next step taken and, beyond that, no position that it can read. It stands still, and says so.
//!
//! **How it would fail without** that end: the old replica would find no position and begin again at the topic's beginning.

use sqlx::{PgConnection, Row as _};

use crate::consume::intake::position::all_of;
use crate::consume::intake::{begun, foreign_dedup};
use crate::database::session;

/// Bytes of a reader's name: what Kafka takes as a topic's, and an index beside an aggregate's.
const LONGEST: usize = 249;

/// The beginning of a statement that moves positions, which `$where` chooses and whose scopes begin with `$3`, to the reader `$1`,
/// whose begin with `$2`. What stays behind ends in a step that is no position: who still goes on from there is fenced, and finds
/// nothing to begin anew with.
macro_rules! moved_sql {
    ($which:literal) => {
        concat!(
            "with newest as materialized (
                 select distinct on (scope) scope, step, state from farandole.steps
                 where scope >= $3 and scope < 'position0' and ",
            $which,
            " order by scope, step desc),
             here as (
                 select n.*, $2::text || substr(n.scope, length($3) + 1) as goal from newest n where n.state ? 'next_offset'),
             moved as (insert into farandole.steps (scope, step, state)
                       select goal, 1 + coalesce((select max(s.step) from farandole.steps s where s.scope = goal), 0), state from here),
             ended as (insert into farandole.steps (scope, step, state)
                       select scope, step + 1, jsonb_build_object('moved_to_reader', $1::text) from here), "
        )
    };
}

/// Whether `reader` can name rows.
pub(super) fn check(reader: &str) -> Result<(), super::Error> {
    let what = match reader {
        "" => "is empty",
        long if long.len() > LONGEST => "is longer than 249 bytes",
        text if text.contains('\0') => "holds a NUL",
        _ => return Ok(()),
    };
    Err(super::Error::Reader { reader: reader.chars().take(LONGEST).collect(), what })
}

/// Notes that `reader` reads `topics` here, and gives it the rows of these that don't say whose they are. May run again.
///
/// # Errors
/// The database's.
pub(crate) async fn enter(conn: &mut PgConnection, reader: &str, topics: &[String]) -> sqlx::Result<()> {
    let mut tx = session::begin(conn).await?;
    lock(&mut tx).await?;
    let new = sqlx::query("insert into farandole.readers (reader) values ($1) on conflict do nothing")
        .bind(reader)
        .execute(&mut *tx)
        .await?
        .rows_affected()
        > 0;
    let row = sqlx::query(concat!(
        moved_sql!("split_part(scope, '/', 4) = '' and split_part(scope, '/', 2) = any($4)"),
        "parked as (update farandole.parked set reader = $1 where reader = '' and topic = any($4) returning 1),
         applied as (update farandole.applied set reader = $1 where reader = '' and topic = any($4)),
         adopted as (update farandole.readers set adopted = true where reader = $1 and exists (select from here))
         select (select count(*) from here), (select count(*) from parked),
                array(select distinct split_part(scope, '/', 2) from farandole.steps
                      where scope >= 'position/' and scope < 'position0' and split_part(scope, '/', 4) <> ''
                        and split_part(scope, '/', 3) = any($4) and not starts_with(scope, $2))"
    ))
    .bind(reader)
    .bind(all_of(reader))
    .bind("position/")
    .bind(topics)
    .fetch_one(&mut *tx)
    .await?;
    let (positions, parked, others): (i64, i64, Vec<String>) = (row.try_get(0)?, row.try_get(1)?, row.try_get(2)?);
    tx.commit().await?;
    if positions + parked > 0 {
        tracing::info!(reader, positions, parked, "continuing from positions that an earlier build stored without a reader name");
    } else if new && !others.is_empty() {
        let others = others.join(", ");
        tracing::warn!(
            reader,
            others,
            "new reader in a database where others read its topics: it starts where `intake.start` (`IntakeConfig::start`) \
             says, by default at their beginning. If it is one of the others renamed, rename it before the start \
             (`farandole::intake::rename`)"
        );
    }
    Ok(())
}

/// Gives the rows of reader `from` to `to`, which goes on where that one was; false when there is no `from`, or there is a `to` already.
/// Stop it first: a replica that runs under the old name stands still afterwards.
///
/// # Errors
/// The database's.
pub async fn rename(conn: &mut PgConnection, from: &str, to: &str) -> sqlx::Result<bool> {
    let mut tx = session::begin(conn).await?;
    lock(&mut tx).await?;
    let renamed = "update farandole.readers set reader = $2 where reader = $1 and not exists (select from farandole.readers where reader = $2)";
    if sqlx::query(renamed).bind(from).bind(to).execute(&mut *tx).await?.rows_affected() == 0 {
        return Ok(false);
    }
    sqlx::query(concat!(
        moved_sql!("starts_with(scope, $3) and split_part(scope, '/', 4) <> ''"),
        "parked as (update farandole.parked set reader = $1 where reader = $4),
         seen as (update farandole.strangers set reader = $1 where reader = $4)
         update farandole.applied set reader = $1 where reader = $4"
    ))
    .bind(to)
    .bind(all_of(to))
    .bind(all_of(from))
    .bind(from)
    .execute(&mut *tx)
    .await?;
    sqlx::query(
        "with gone as (delete from farandole.steps where scope >= $1 and scope < 'begun0' and starts_with(scope, $1)
                       returning $2::text || substr(scope, length($1) + 1) as goal, step, state)
         insert into farandole.steps (scope, step, state)
         select distinct on (goal) goal, 1 + coalesce((select max(s.step) from farandole.steps s where s.scope = goal), 0), state
         from gone order by goal, step desc",
    )
    .bind(begun::all_of(from))
    .bind(begun::all_of(to))
    .execute(&mut *tx)
    .await?;
    tx.commit().await?;
    Ok(true)
}

/// One at a time, so that of two readers of a topic one gets all.
async fn lock(conn: &mut PgConnection) -> sqlx::Result<()> {
    sqlx::query("select pg_advisory_xact_lock(hashtextextended('farandole/readers', 0))").execute(conn).await?;
    Ok(())
}

/// Forgets where `reader` was in `topic`, which of its records a heal found to be applied, and foreign ones that it has seen: once it is
/// started again, it begins with the topic anew, where `intake.start` says. Stop it first. What it has parked stays.
///
/// # Errors
/// The database's.
pub async fn forget(conn: &mut PgConnection, reader: &str, topic: &str) -> sqlx::Result<u64> {
    let mut tx = session::begin(conn).await?;
    let gone = sqlx::query(
        "delete from farandole.steps where scope >= $1 and scope < 'position0' and starts_with(scope, $1)
           and split_part(scope, '/', 4) <> ''",
    )
    .bind(format!("{}{topic}/", all_of(reader)))
    .execute(&mut *tx)
    .await?
    .rows_affected();
    sqlx::query("delete from farandole.steps where scope = $1").bind(begun::scope(reader, topic)).execute(&mut *tx).await?;
    sqlx::query("delete from farandole.applied where reader = $1 and topic = $2")
        .bind(reader)
        .bind(topic)
        .execute(&mut *tx)
        .await?;
    foreign_dedup::forget(&mut tx, reader, topic).await?;
    tx.commit().await?;
    Ok(gone)
}

/// Forgets everything that is stored of `reader`: positions, what it has parked, what it has seen.
pub(crate) async fn forget_reader(conn: &mut PgConnection, reader: &str) -> sqlx::Result<()> {
    for scopes in [all_of(reader), begun::all_of(reader)] {
        sqlx::query("delete from farandole.steps where starts_with(scope, $1)").bind(scopes).execute(&mut *conn).await?;
    }
    for sql in [
        "delete from farandole.parked where reader = $1",
        "delete from farandole.strangers where reader = $1",
        "delete from farandole.applied where reader = $1",
        "delete from farandole.readers where reader = $1",
    ] {
        sqlx::query(sql).bind(reader).execute(&mut *conn).await?;
    }
    Ok(())
}
