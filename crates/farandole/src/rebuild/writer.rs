//! Writes rows: on a connection of its own while the next events are folded, or on the one that there is.
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

/// A connection, or who is writing on it; none of its own where a rebuild may have one only.
pub(super) struct Writer {
    conn: Option<PgConnection>,
    writing: Option<JoinHandle<(PgConnection, Result<(), Error>)>>,
    /// How far the fold was when it was noted last.
    noted: Value,
}

impl Writer {
    pub fn new(conn: Option<PgConnection>, noted: Value) -> Self {
        Self { conn, writing: None, noted }
    }

    /// Its connection, if it has one and nothing is being written.
    pub fn idle(&mut self) -> Option<&mut PgConnection> {
        self.conn.as_mut()
    }

    /// Waits until everything is written.
    pub async fn settle(&mut self) -> Result<(), Error> {
        let Some(writing) = self.writing.take() else { return Ok(()) };
        let (conn, done) = writing.await.map_err(|_| Error::Evolve("writing rows was interrupted".to_owned()))?;
        self.conn = Some(conn);
        done
    }

    /// Begins to write `out`, with the statement that notes how far the fold is, in one transaction; without a connection of its own writes
    /// it on `shared`.
    pub async fn start(&mut self, shared: &mut PgConnection, out: Out, note: String, marks: Value) -> Result<(), Error> {
        self.settle().await?;
        let before = std::mem::replace(&mut self.noted, marks.clone());
        let Some(mut conn) = self.conn.take() else { return written(shared, out, note, (marks, before)).await };
        self.writing = Some(tokio::spawn(async move {
            let done = written(&mut conn, out, note, (marks, before)).await;
            (conn, done)
        }));
        Ok(())
    }
}

async fn written(conn: &mut PgConnection, out: Out, note: String, noted: (Value, Value)) -> Result<(), Error> {
    match write(conn, out, note, noted).await.map_err(Error::database("writing rows"))? {
        true => Ok(()),
        false => Err(Error::Evolve("another rebuild has gone on with these tables meanwhile: repeat this one".to_owned())),
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
