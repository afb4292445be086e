//! What a reader's handler says of itself, where an operator's tool finds it, which doesn't have the handler: a step log of scope
//! `declared/<reader>`, whose newest step is what the last build that ran has said.

use std::fmt;

use serde::{Deserialize, Serialize};
use sqlx::PgConnection;

use crate::database::step;

/// What a record does that a handler is given a second time, as in a replay.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Repeating {
    /// The handler doesn't say.
    #[default]
    Undeclared,
    /// Nothing more than the first time: rows are set to what the record says, or inserted unless they are there.
    Harmless,
    /// It counts once more: amounts are added, rows and mails are there twice. A replay belongs on emptied tables.
    Adds,
}

impl fmt::Display for Repeating {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Undeclared => "its handler doesn't say what a repeated record does (`Handler::REPEATING`)",
            Self::Harmless => "its handler declares that a repeated record does no more than the first time",
            Self::Adds => "its handler declares that a repeated record counts once more: empty its tables first",
        })
    }
}

#[derive(Debug, PartialEq, Eq, Serialize, Deserialize)]
struct Declared {
    repeating: Repeating,
}

fn scope(reader: &str) -> String {
    format!("declared/{}", step::part(reader))
}

/// Notes what a handler says; nothing is written where that is known.
pub(crate) async fn note(conn: &mut PgConnection, reader: &str, repeating: Repeating) -> Result<(), step::Error> {
    let (scope, said) = (scope(reader), Declared { repeating });
    let latest = step::latest::<Declared>(conn, &scope).await?;
    if latest.as_ref().is_some_and(|(_, latest)| *latest == said) {
        return Ok(());
    }
    match step::append(conn, &scope, latest.map(|(step, _)| step), &said).await {
        // A replica of the same build was first.
        Err(step::Error::Fenced { .. }) | Ok(_) => Ok(()),
        Err(error) => Err(error),
    }
}

/// What the handler of `reader` says.
///
/// # Errors
/// The database's.
pub async fn repeating(conn: &mut PgConnection, reader: &str) -> Result<Repeating, step::Error> {
    Ok(step::latest::<Declared>(conn, &scope(reader)).await?.map_or(Repeating::Undeclared, |(_, declared)| declared.repeating))
}

/// Forgets it.
pub(crate) async fn forget(conn: &mut PgConnection, reader: &str) -> sqlx::Result<()> {
    sqlx::query("delete from farandole.steps where scope = $1").bind(scope(reader)).execute(conn).await.map(drop)
}
