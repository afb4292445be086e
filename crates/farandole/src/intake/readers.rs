//! Readers: who reads topics into this database, each with positions, parked inputs and memories of its own.
//!
//! **Guarantee.** Of two readers of one topic each gets every record, and neither sees, releases or drops what the other parked.
//! Replicas of one reader have one name.
//!
//! **Rows that don't say whose they are** were written by builds that knew one reader a database. The first reader of their topic
//! that starts goes on from them, once, in a transaction that also ends their step logs: a replica of such a build that still runs
//! finds its next step taken and, beyond that, no position that it can read. It stands still, and says so.
//!
//! **How it would fail without** that end: the old replica would find no position and begin again at the topic's beginning.

use sqlx::{Connection as _, PgConnection, Row as _};

use super::position::all_of;

/// Bytes of a reader's name: what Kafka takes as a topic's, and an index beside an aggregate's.
const LONGEST: usize = 249;

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
    let mut tx = conn.begin().await?;
    // One at a time, so that of two readers of a topic one gets all.
    sqlx::query("select pg_advisory_xact_lock(hashtextextended('farandole/readers', 0))").execute(&mut *tx).await?;
    let new = sqlx::query("insert into farandole.readers (reader) values ($1) on conflict do nothing")
        .bind(reader)
        .execute(&mut *tx)
        .await?
        .rows_affected()
        > 0;
    let row = sqlx::query(
        "with newest as materialized (
             select distinct on (scope) scope, step, state from farandole.steps
             where scope >= 'position/' and scope < 'position0' and split_part(scope, '/', 4) = '' and split_part(scope, '/', 2) = any($2)
             order by scope, step desc),
         here as (select * from newest where state ? 'next_offset'),
         moved as (insert into farandole.steps (scope, step, state) select $3::text || substr(scope, 10), 1, state from here),
         ended as (insert into farandole.steps (scope, step, state)
                   select scope, step + 1, jsonb_build_object('moved_to_reader', $1::text) from here),
         parked as (update farandole.parked set reader = $1 where reader = '' and topic = any($2) returning 1),
         applied as (update farandole.applied set reader = $1 where reader = '' and topic = any($2)),
         adopted as (update farandole.readers set adopted = true where reader = $1 and exists (select from here))
         select (select count(*) from here), (select count(*) from parked),
                array(select distinct split_part(scope, '/', 2) from farandole.steps
                      where scope >= 'position/' and scope < 'position0' and split_part(scope, '/', 4) <> ''
                        and split_part(scope, '/', 3) = any($2) and not starts_with(scope, $3))",
    )
    .bind(reader)
    .bind(topics)
    .bind(all_of(reader))
    .fetch_one(&mut *tx)
    .await?;
    let (positions, parked, others): (i64, i64, Vec<String>) = (row.try_get(0)?, row.try_get(1)?, row.try_get(2)?);
    tx.commit().await?;
    if positions + parked > 0 {
        tracing::info!(reader, positions, parked, "goes on from where this database was before its rows said who reads");
    } else if new && !others.is_empty() {
        let others = others.join(", ");
        tracing::warn!(
            reader,
            others,
            "new in this database, where others read its topics: it begins at their beginning. If it is one of those under another \
             name, stop it and give it its name back"
        );
    }
    Ok(())
}
