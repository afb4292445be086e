//! A new version of a handler, tried beside the live one: tables of its own in another schema, and positions of its own.
//!
//! **Guarantee.** The live reader's tables and positions stay as they are. What the trial writes goes into its schema: names without one are
//! looked for there and nowhere else, so a table that isn't there is an error, and never the live one. A name with a schema in front goes where
//! it says.
//!
//! **How.** The schema gets an empty table for each of those beside which the kit is used, made alike. The reader `READER.SCHEMA` gets the live
//! reader's positions, and replays the topic from where the operator says; behind the end it goes on like any reader. A build that is to be
//! tried has [`Config::into`](crate::intake::Config::into) set, and waits until all that is there.

use std::fmt;

use serde::Serialize;
use sqlx::{AssertSqlSafe, Executor as _, PgConnection};

use crate::consume::intake::operate::{self, Ask, Change, Pace};
use crate::consume::intake::{positions, scope};
use crate::consume::replay::{self, Error};
use crate::consume::{declared, intake};
use crate::database::step::{self, Append};
use crate::database::{gate, session};
use crate::parking::acts::Operator;
use crate::wire::settings::Kafka;

/// What the schema's comment begins with; then the reader.
const MADE: &str = "farandole replay --into, of reader ";
/// Letters of a schema's name.
const NAME: usize = 40;

/// The name under which a trial's rows are stored, and its group's.
pub(crate) fn name(reader: &str, schema: &str) -> String {
    format!("{reader}.{schema}")
}

/// What a trial reads, or has begun to.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Trial {
    /// The reader that it is named after.
    pub reader: String,
    /// Its own name.
    pub name: String,
    /// Where its tables are.
    pub schema: String,
    /// These, empty at the beginning.
    pub tables: Vec<String>,
    /// Whether it was begun.
    pub executed: bool,
    /// By partition.
    pub partitions: Vec<Change>,
}

impl fmt::Display for Trial {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { reader, name, schema, tables, executed, partitions } = self;
        partitions.iter().try_for_each(|change| change.fmt(f))?;
        let tables = tables.join(", ");
        match executed {
            false => {
                writeln!(
                    f,
                    "schema {schema} would get {} empty table(s), made like those of {reader}: {tables}",
                    self.tables.len()
                )?;
                writeln!(f, "nothing was changed; to do it, add --execute --reason '…'")
            }
            true => {
                writeln!(f, "schema {schema} has {} empty table(s), made like those of {reader}: {tables}", self.tables.len())?;
                writeln!(f, "begun as reader {name}: start the build to be tried with `IntakeConfig::into` set to `{schema}`")
            }
        }
    }
}

/// What is left of a trial.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Ended {
    /// Its name.
    pub name: String,
    /// Where its tables are, or were.
    pub schema: String,
    /// These.
    pub tables: Vec<String>,
    /// Whether they were dropped, and what was stored of the reader forgotten.
    pub executed: bool,
}

impl fmt::Display for Ended {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { name, schema, tables, executed } = self;
        writeln!(f, "schema {schema}, tables {}; positions of {name} and what it has parked", tables.join(", "))?;
        match executed {
            true => writeln!(f, "dropped"),
            false => writeln!(f, "nothing was dropped; stop the build that is tried, and add --execute --reason '…'"),
        }
    }
}

fn failed(source: sqlx::Error) -> Error {
    Error::Database(source)
}

/// Says what a trial of `ask.reader` would read and where it would write; if `operator` is given, makes the schema and begins.
///
/// # Errors
/// See [`Error`].
pub async fn begin(
    conn: &mut PgConnection,
    kafka: &Kafka,
    ask: &Ask<'_>,
    pace: Pace,
    schema: &str,
    operator: Option<Operator<'_>>,
) -> Result<Trial, Error> {
    replay::not_a_participant(conn, ask).await?;
    let reader = ask.reader.to_owned();
    let name = name(ask.reader, schema);
    let tables = tables(conn, None).await?;
    valid(schema).map_err(|why| Error::Schema { schema: schema.to_owned(), why })?;
    let is_there = match made_for(conn, schema).await? {
        None => false,
        Some(made) if made.as_deref() == Some(ask.reader) => true,
        Some(_) => {
            let why = "there is a schema of that name, and no trial of this reader has made it".to_owned();
            return Err(Error::Schema { schema: schema.to_owned(), why });
        }
    };
    let known = positions(conn, &name).await.map_err(failed)?;
    if known.iter().any(|(at, _)| at.rsplit_once('/').is_some_and(|(topic, _)| topic == ask.topic)) {
        return Err(Error::TrialBegun { schema: schema.to_owned(), topic: ask.topic.to_owned() });
    }
    // A build that waits to be tried has read nothing yet.
    if !is_there && !known.is_empty() {
        let why = format!("its reader would be {name}, and there is one of that name, which has read something");
        return Err(Error::Schema { schema: schema.to_owned(), why });
    }
    let (count, places, partitions) = operate::anew(conn, kafka, ask, pace).await.map_err(Error::Positions)?;
    let schema = schema.to_owned();
    let Some(operator) = operator else { return Ok(Trial { reader, name, schema, tables, executed: false, partitions }) };
    let mut tx = gate::begin(conn).await.map_err(failed)?;
    if !is_there {
        let makes = "select format('create schema %I', $1::text) union all select format('comment on schema %I is %L', $1::text, $2::text)
                     union all select format('create table %I.%I (like %I including all)', $1::text, t, t) from unnest($3::text[]) t";
        let makes = sqlx::query_scalar(makes).bind(&schema).bind(format!("{MADE}{reader}")).bind(&tables);
        let makes: Vec<String> = makes.fetch_all(&mut *tx).await.map_err(failed)?;
        for make in makes {
            tx.execute(AssertSqlSafe(make)).await.map_err(failed)?;
        }
    }
    sqlx::query("insert into farandole.readers (reader) values ($1) on conflict do nothing")
        .bind(&name)
        .execute(&mut *tx)
        .await
        .map_err(failed)?;
    let begun = intake::note_begun(&mut tx, &name, ask.topic, count).await;
    begun.map_err(Error::Declared)?;
    let steps: Vec<_> = places.iter().map(|(partition, place)| (scope(&name, ask.topic, *partition), place)).collect();
    let appends: Vec<_> = steps.iter().map(|(scope, state)| Append { scope, expected: None, state: *state }).collect();
    step::append_many(&mut tx, &appends).await.map_err(Error::Declared)?;
    let outcome = format!("schema {schema}, reader {name}");
    let told = operator.did(&mut tx, "replay --into", format!("{} of {reader}", ask.topic), outcome).await;
    told.map_err(|error| Error::Positions(operate::Error::Journal(error)))?;
    tx.commit().await.map_err(failed)?;
    Ok(Trial { reader, name, schema, tables, executed: true, partitions })
}

/// Drops a trial's schema and forgets what is stored of its reader, or says what that is.
///
/// # Errors
/// When `schema` is no trial's, or not of the reader that is `named`; the database's.
pub async fn end(conn: &mut PgConnection, named: Option<&str>, schema: &str, execute: bool) -> Result<Ended, Error> {
    let made = if valid(schema).is_ok() { made_for(conn, schema).await?.flatten() } else { None };
    let Some(reader) = made.filter(|reader| named.is_none_or(|named| named == reader)) else {
        let whose = named.map(|named| format!(" of reader {named}")).unwrap_or_default();
        let why = format!("no trial{whose} has made a schema of that name");
        return Err(Error::Schema { schema: schema.to_owned(), why });
    };
    let (name, tables) = (name(&reader, schema), tables(conn, Some(schema)).await?);
    if execute {
        let mut tx = session::begin(conn).await.map_err(failed)?;
        // In quotes: a name may be a word of SQL's.
        tx.execute(AssertSqlSafe(format!("drop schema \"{schema}\" cascade"))).await.map_err(failed)?;
        intake::forget_reader(&mut tx, &name).await.map_err(failed)?;
        declared::forget(&mut tx, &name).await.map_err(failed)?;
        tx.commit().await.map_err(failed)?;
    }
    Ok(Ended { name, schema: schema.to_owned(), tables, executed: execute })
}

/// The ordinary tables of a schema, or of those that the search path begins with; sqlx's own list of migrations is none.
async fn tables(conn: &mut PgConnection, schema: Option<&str>) -> Result<Vec<String>, Error> {
    let sql = "select relname::text from pg_class
               where relnamespace = to_regnamespace(quote_ident(coalesce($1, current_schema()))) and relkind in ('r', 'p')
                 and not relispartition and relname <> '_sqlx_migrations' order by relname";
    sqlx::query_scalar(sql).bind(schema).fetch_all(conn).await.map_err(failed)
}

/// Of which reader a schema is the trial: none if there is no such schema, none inside if it is nobody's.
async fn made_for(conn: &mut PgConnection, schema: &str) -> Result<Option<Option<String>>, Error> {
    let sql = "select obj_description(oid, 'pg_namespace') from pg_namespace where nspname = $1";
    let found: Option<Option<String>> = sqlx::query_scalar(sql).bind(schema).fetch_optional(conn).await.map_err(failed)?;
    Ok(found.map(|comment| comment.and_then(|comment| comment.strip_prefix(MADE).map(str::to_owned))))
}

/// Whether a schema can have that name: one that needs no quotes, and is neither PostgreSQL's nor the kit's.
fn valid(schema: &str) -> Result<(), String> {
    let letters = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '_';
    if schema.is_empty()
        || schema.len() > NAME
        || !schema.chars().all(letters)
        || schema.starts_with(|c: char| c.is_ascii_digit())
    {
        return Err(format!("a name has at most {NAME} of the letters a to z, digits and `_`, and begins with no digit"));
    }
    if schema.starts_with("pg_") || schema.starts_with("farandole") {
        return Err("such names are PostgreSQL's and the kit's".to_owned());
    }
    Ok(())
}

/// From here to its end a transaction finds the tables of `schema` alone; false if there is no such schema.
///
/// **How it would fail without** that look: a search path that names a schema which isn't there goes on at the next, where the live tables are.
pub(crate) async fn enter(conn: &mut PgConnection, schema: &str) -> sqlx::Result<bool> {
    let sql = "select to_regnamespace(quote_ident($1)) is not null, set_config('search_path', quote_ident($1), true)";
    let (is_there, _): (bool, String) = sqlx::query_as(sql).bind(schema).fetch_one(conn).await?;
    Ok(is_there)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_schema_has_a_plain_name() {
        for name in ["trial", "v2", "_a_1"] {
            assert_eq!(valid(name), Ok(()), "{name}");
        }
        for name in ["", "Trial", "2nd", "a b", "a;b", "a\"b", "pg_trial", "farandole", "farandole_rebuild", &"a".repeat(41)] {
            assert!(valid(name).is_err(), "{name}");
        }
        assert_eq!(name("balances", "v2"), "balances.v2");
    }
}
