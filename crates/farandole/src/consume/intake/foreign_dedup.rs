//! Deduplication of foreign records by `ce_source` and `ce_id`, per reader.
//!
//! They have no chain, so what was applied of them is remembered row by row, in the transaction that applies it, for
//! [a week and a day](crate::consume::tidy). A record that names no source or id can't be told apart, and is applied as often as it comes.

use std::borrow::Cow;
use std::collections::HashSet;

use sqlx::PgConnection;

use crate::parking::foreign;
use crate::wire::record::Record;

/// Whether each of `records` is to be applied by `reader`: no foreign one that was before. Remembers those that are.
pub(super) async fn fresh(conn: &mut PgConnection, reader: &str, records: &[&Record]) -> sqlx::Result<Vec<bool>> {
    let names: Vec<_> = records.iter().map(|record| foreign::names(record)).collect();
    let (mut sources, mut ids, mut topics) = (Vec::new(), Vec::new(), Vec::new());
    for (record, name) in records.iter().zip(&names) {
        let Some((source, id)) = name else { continue };
        sources.push(source.as_ref());
        ids.push(id.as_ref());
        topics.push(record.topic.as_str());
    }
    if ids.is_empty() {
        return Ok(vec![true; names.len()]);
    }
    // Sorted, so that two transactions with the same names don't deadlock.
    let new: Vec<(String, String)> = sqlx::query_as(
        // Of what was remembered before rows said whose they are, a reader that goes on from there knows all. `seen_at` is the
        // transaction's time, as `parked_at` is of what parks in it (see `foreign`).
        r#"insert into farandole.strangers (reader, source, id, topic, seen_at)
           select distinct on (s, i) $3::text, s, i, topic, now() from unnest($1::text[], $2::text[], $4::text[]) as t(s, i, topic)
           where not exists (select from farandole.strangers o where o.source = t.s and o.id = t.i
                             and o.reader = (select '' from farandole.readers r where r.reader = $3 and r.adopted))
           order by s, i
           on conflict do nothing returning source, id"#,
    )
    .bind(&sources)
    .bind(&ids)
    .bind(reader)
    .bind(&topics)
    .fetch_all(conn)
    .await?;
    let mut new: HashSet<(String, String)> = new.into_iter().collect();
    // The first of a name takes it; a repetition in the same batch finds it gone.
    let mut first = |(source, id): (Cow<'_, str>, Cow<'_, str>)| new.remove(&(source.into_owned(), id.into_owned()));
    Ok(names.into_iter().map(|name| name.is_none_or(&mut first)).collect())
}

/// Forgets what `reader` has seen in `topic`, which it is to read again. Of rows of earlier builds it isn't known; they go in time.
pub(super) async fn forget(conn: &mut PgConnection, reader: &str, topic: &str) -> sqlx::Result<()> {
    let seen = sqlx::query("delete from farandole.strangers where reader = $1 and topic = $2");
    seen.bind(reader).bind(topic).execute(conn).await.map(drop)
}
