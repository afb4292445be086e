//! Records of foreign producers, told apart by `ce_source` and `ce_id`.
//!
//! They have no chain, so what was applied of them is remembered row by row, in the transaction that applies it, for
//! [`REMEMBERED`]. A record that names no source or id can't be told apart, and is applied as often as it comes.

use std::collections::HashSet;
use std::time::Duration;

use sqlx::{PgConnection, PgExecutor};

use crate::record::Record;

/// Longer than any producer tries to send, and than a topic's usual retention of a week.
const REMEMBERED: Duration = Duration::from_secs(8 * 24 * 60 * 60);
/// Rows forgotten at a time: bounds the statement.
const FORGOTTEN: i64 = 10_000;
/// Bytes of a source or id that are remembered as they are: an index takes some 2,700 together.
const NAME: usize = 512;

/// A foreign record's source and id, if it can be told apart.
fn name(record: &Record) -> Option<(&str, &str)> {
    if record.header("farandole").is_some() {
        return None;
    }
    let (source, id) = (record.header("ce_source")?, record.header("ce_id")?);
    (!id.is_empty() && source.len() <= NAME && id.len() <= NAME).then_some((source, id))
}

/// Whether each of `records` is to be applied: no foreign one that was before. Remembers those that are.
pub(super) async fn fresh(conn: &mut PgConnection, records: &[&Record]) -> sqlx::Result<Vec<bool>> {
    let names: Vec<_> = records.iter().map(|record| name(record)).collect();
    let (mut sources, mut ids) = (Vec::new(), Vec::new());
    for (source, id) in names.iter().flatten() {
        sources.push(*source);
        ids.push(*id);
    }
    if ids.is_empty() {
        return Ok(vec![true; names.len()]);
    }
    // Sorted, so that two transactions with the same names don't deadlock.
    let new: Vec<(String, String)> = sqlx::query_as(
        r#"insert into farandole.strangers (source, id)
           select distinct s, i from unnest($1::text[], $2::text[]) as t(s, i) order by 1, 2
           on conflict do nothing returning source, id"#,
    )
    .bind(&sources)
    .bind(&ids)
    .fetch_all(conn)
    .await?;
    let mut new: HashSet<(String, String)> = new.into_iter().collect();
    // The first of a name takes it; a repetition in the same batch finds it gone.
    let mut first = |(source, id): (&str, &str)| new.remove(&(source.to_owned(), id.to_owned()));
    Ok(names.into_iter().map(|name| name.is_none_or(&mut first)).collect())
}

/// Forgets what is old enough, some at a time.
pub(crate) async fn forget(conn: impl PgExecutor<'_>) -> sqlx::Result<u64> {
    let done = sqlx::query(
        "delete from farandole.strangers where (source, id) in (
           select source, id from farandole.strangers where seen_at < clock_timestamp() - make_interval(secs => $1)
           order by seen_at limit $2)",
    )
    .bind(REMEMBERED.as_secs_f64())
    .bind(FORGOTTEN)
    .execute(conn)
    .await?;
    Ok(done.rows_affected())
}
