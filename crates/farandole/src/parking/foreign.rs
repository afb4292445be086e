//! Foreign records, which have no chain: how they are identified, and forgetting those that were dropped.

use std::borrow::Cow;

use sqlx::{PgConnection, types::Json};

use crate::ground::text::name;
use crate::wire::record::{Header, Record};

/// A foreign record's source and id, if it can be told apart by them.
pub(crate) fn names(record: &Record) -> Option<(Cow<'_, str>, Cow<'_, str>)> {
    names_in(&record.headers)
}

fn names_in(headers: &[Header]) -> Option<(Cow<'_, str>, Cow<'_, str>)> {
    let header = |name: &str| headers.iter().find(|h| h.name == name).map(|h| h.value.as_str());
    if header("farandole").is_some() {
        return None;
    }
    let (source, id) = (header("ce_source")?, header("ce_id")?);
    // Who names no source may be anybody, and numbers as others do.
    (!id.is_empty() && !source.is_empty()).then(|| (name(source.as_bytes()), name(id.as_bytes())))
}

/// Forgets that `reader` has seen what these parked rows hold, which are given up: whoever sends it again, mended or in good order, is
/// heard. Before the rows go.
///
/// What was remembered by the transaction that parked it has its time. Another record under the same id may have been applied before, and
/// stays remembered.
pub(super) async fn forget(conn: &mut PgConnection, reader: &str, rows: &[i64]) -> sqlx::Result<()> {
    let all: Vec<(i64, Json<Vec<Header>>)> =
        sqlx::query_as("select seq, headers from farandole.parked where seq = any($1) and topic is not null")
            .bind(rows)
            .fetch_all(&mut *conn)
            .await?;
    let (mut seqs, mut sources, mut ids) = (Vec::new(), Vec::new(), Vec::new());
    for (seq, headers) in &all {
        let Some((source, id)) = names_in(headers) else { continue };
        seqs.push(*seq);
        sources.push(source);
        ids.push(id);
    }
    if seqs.is_empty() {
        return Ok(());
    }
    sqlx::query(
        "delete from farandole.strangers s
         using unnest($2::bigint[], $3::text[], $4::text[]) as x(seq, source, id) join farandole.parked p using (seq)
         where s.reader = $1 and s.source = x.source and s.id = x.id and s.seen_at = p.parked_at",
    )
    .bind(reader)
    .bind(seqs)
    .bind(sources.iter().map(AsRef::as_ref).collect::<Vec<&str>>())
    .bind(ids.iter().map(AsRef::as_ref).collect::<Vec<&str>>())
    .execute(conn)
    .await?;
    Ok(())
}
