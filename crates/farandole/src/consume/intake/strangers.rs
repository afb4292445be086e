//! Records of foreign producers, told apart by `ce_source` and `ce_id`, for each reader.
//!
//! They have no chain, so what was applied of them is remembered row by row, in the transaction that applies it, for
//! [a week and a day](crate::consume::tidy). A record that names no source or id can't be told apart, and is applied as often as it comes.

use std::borrow::Cow;
use std::collections::HashSet;

use sqlx::PgConnection;

use crate::parking;
use crate::wire::record::Record;

/// A foreign record's source and id, if it can be told apart.
fn name(record: &Record) -> Option<(Cow<'_, str>, Cow<'_, str>)> {
    if record.header("farandole").is_some() {
        return None;
    }
    let (source, id) = (record.header("ce_source")?, record.header("ce_id")?);
    // Who names no source may be anybody, and numbers as others do.
    (!id.is_empty() && !source.is_empty()).then(|| (parking::name(source.as_bytes()), parking::name(id.as_bytes())))
}

/// Whether each of `records` is to be applied by `reader`: no foreign one that was before. Remembers those that are.
pub(super) async fn fresh(conn: &mut PgConnection, reader: &str, records: &[&Record]) -> sqlx::Result<Vec<bool>> {
    let names: Vec<_> = records.iter().map(|record| name(record)).collect();
    let (mut sources, mut ids) = (Vec::new(), Vec::new());
    for (source, id) in names.iter().flatten() {
        sources.push(source.as_ref());
        ids.push(id.as_ref());
    }
    if ids.is_empty() {
        return Ok(vec![true; names.len()]);
    }
    // Sorted, so that two transactions with the same names don't deadlock.
    let new: Vec<(String, String)> = sqlx::query_as(
        // Of what was remembered before rows said whose they are, a reader that goes on from there knows all.
        r#"insert into farandole.strangers (reader, source, id)
           select distinct $3::text, s, i from unnest($1::text[], $2::text[]) as t(s, i)
           where not exists (select from farandole.strangers o where o.source = t.s and o.id = t.i
                             and o.reader = (select '' from farandole.readers r where r.reader = $3 and r.adopted))
           order by 2, 3
           on conflict do nothing returning source, id"#,
    )
    .bind(&sources)
    .bind(&ids)
    .bind(reader)
    .fetch_all(conn)
    .await?;
    let mut new: HashSet<(String, String)> = new.into_iter().collect();
    // The first of a name takes it; a repetition in the same batch finds it gone.
    let mut first = |(source, id): (Cow<'_, str>, Cow<'_, str>)| new.remove(&(source.into_owned(), id.into_owned()));
    Ok(names.into_iter().map(|name| name.is_none_or(&mut first)).collect())
}
