//! What a service keeps of the registry, in its own database: a registry that is down stops nobody who has started before.
//!
//! `subjects` holds every version of a schema that ever ran here, so that the old and the new build of a service both start while
//! the registry is away. Without a database nothing is kept. `schemas` only gains rows: **an id means one schema here**, whatever a registry that numbers anew says.

use std::collections::HashMap;

use crate::database::sessions::{Sessions, with_conn};
use crate::wire::codec::Error;
use crate::wire::codec::schema::same;

/// The ids of (subject, fingerprint of the schema) that are known.
pub(super) async fn subjects(sessions: Option<&Sessions>, subjects: &[String]) -> Result<HashMap<(String, Vec<u8>), i32>, Error> {
    let Some(sessions) = sessions else { return Ok(HashMap::new()) };
    let rows = sqlx::query_as("select subject, fingerprint, id from farandole.subjects where subject = any($1)").bind(subjects);
    let rows: Vec<(String, Vec<u8>, i32)> = with_conn!(sessions, conn => rows.fetch_all(conn))
        .map_err(|source| Error::Database { what: "reading farandole.subjects", source })?;
    Ok(rows.into_iter().map(|(subject, fingerprint, id)| ((subject, fingerprint), id)).collect())
}

/// The schemas of those ids that are known.
pub(super) async fn schemas(sessions: Option<&Sessions>, ids: &[i32]) -> Result<Vec<(i32, String)>, Error> {
    let Some(sessions) = sessions else { return Ok(Vec::new()) };
    let known = sqlx::query_as("select id, schema from farandole.schemas where id = any($1)").bind(ids);
    with_conn!(sessions, conn => known.fetch_all(conn))
        .map_err(|source| Error::Database { what: "reading farandole.schemas", source })
}

/// The schemas of records with these full names, which are few: a version each.
pub(super) async fn of_records(sessions: Option<&Sessions>, names: &[String]) -> Result<Vec<(i32, String)>, Error> {
    let Some(sessions) = sessions else { return Ok(Vec::new()) };
    let all = sqlx::query_as("select id, schema from farandole.schemas order by id");
    let all: Vec<(i32, String)> = with_conn!(sessions, conn => all.fetch_all(conn))
        .map_err(|source| Error::Database { what: "reading farandole.schemas", source })?;
    let ours = |text: &str| super::schema::name(text).is_some_and(|name| names.contains(&name));
    Ok(all.into_iter().filter(|(_, text)| ours(text)).collect())
}

/// Keeps what the registry said of a subject.
///
/// # Errors
/// [`Error::Reused`] when the id means another schema here.
pub(super) async fn keep_subject(
    sessions: Option<&Sessions>,
    subject: &str,
    fingerprint: &[u8],
    id: i32,
    schema: &str,
) -> Result<(), Error> {
    let Some(sessions) = sessions else { return Ok(()) };
    keep_schemas(Some(sessions), &[(id, schema.to_owned())]).await?;
    if schemas(Some(sessions), &[id]).await?.iter().any(|(_, kept)| !same(kept, schema)) {
        return Err(Error::Reused { id, what: subject.into() });
    }
    let keep = sqlx::query(
        "insert into farandole.subjects (subject, fingerprint, id) values ($1, $2, $3)
         on conflict (subject, fingerprint) do update set id = excluded.id",
    )
    .bind(subject)
    .bind(fingerprint)
    .bind(id);
    with_conn!(sessions, conn => keep.execute(conn))
        .map_err(|source| Error::Database { what: "writing farandole.subjects", source })?;
    Ok(())
}

/// Keeps schemas by their ids; what is there already stays.
pub(super) async fn keep_schemas(sessions: Option<&Sessions>, schemas: &[(i32, String)]) -> Result<(), Error> {
    let Some(sessions) = sessions else { return Ok(()) };
    let (ids, texts): (Vec<i32>, Vec<&str>) = schemas.iter().map(|(id, text)| (*id, text.as_str())).unzip();
    let keep = sqlx::query(
        "insert into farandole.schemas (id, schema) select * from unnest($1::int4[], $2::text[]) on conflict do nothing",
    )
    .bind(ids)
    .bind(texts);
    with_conn!(sessions, conn => keep.execute(conn))
        .map_err(|source| Error::Database { what: "writing farandole.schemas", source })?;
    Ok(())
}
