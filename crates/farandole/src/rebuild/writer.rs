//! Writes rows on a connection of its own while the next events are folded.
//!
//! What is written follows what was written before, by the database's own word: the note of how far the fold is changes only from what it was.
//! Without, a rebuild goes on writing whose other session was ended (the one that keeps a second away), and the second reads rows back that
//! hold events which it folds once more.

use serde_json::Value;
use sqlx::{AssertSqlSafe, PgConnection};
use tokio::task::JoinHandle;

use crate::database::session;
use crate::fold::Error;
use crate::participant::table::Out;

/// A connection, or who is writing on it.
pub(super) struct Writer {
    conn: Option<PgConnection>,
    writing: Option<JoinHandle<(PgConnection, Result<(), Error>)>>,
    /// How far the fold was when it was noted last.
    noted: Value,
}

impl Writer {
    pub fn new(conn: PgConnection, noted: Value) -> Self {
        Self { conn: Some(conn), writing: None, noted }
    }

    /// Waits until everything is written.
    pub async fn settle(&mut self) -> Result<(), Error> {
        let Some(writing) = self.writing.take() else { return Ok(()) };
        let (conn, done) = writing.await.map_err(|_| Error::Evolve("writing rows was interrupted".to_owned()))?;
        self.conn = Some(conn);
        done
    }

    /// Begins to write `out`, with the statement that notes how far the fold is, in one transaction.
    pub async fn start(&mut self, out: Out, note: String, marks: Value) -> Result<(), Error> {
        self.settle().await?;
        let Some(mut conn) = self.conn.take() else { return Err(Error::Evolve("writing rows has failed".to_owned())) };
        let before = std::mem::replace(&mut self.noted, marks.clone());
        self.writing = Some(tokio::spawn(async move {
            let done = match write(&mut conn, out, note, (marks, before)).await {
                Ok(true) => Ok(()),
                Ok(false) => {
                    Err(Error::Evolve("another rebuild has gone on with these tables meanwhile: repeat this one".to_owned()))
                }
                Err(source) => Err(Error::Database { doing: "writing rows", source }),
            };
            (conn, done)
        }));
        Ok(())
    }
}

/// Whether it was written: not if somebody else has noted something since. The note comes first: who else writes waits for it.
async fn write(conn: &mut PgConnection, out: Out, note: String, (marks, before): (Value, Value)) -> sqlx::Result<bool> {
    let mut tx = session::begin(conn).await?;
    let noted = sqlx::query(AssertSqlSafe(note)).bind(marks).bind(before).execute(&mut *tx).await?;
    if noted.rows_affected() == 0 {
        tx.rollback().await?;
        return Ok(false);
    }
    out.write(&mut tx).await?;
    tx.commit().await?;
    Ok(true)
}
