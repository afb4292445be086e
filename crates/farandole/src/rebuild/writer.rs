//! Writes rows: on a connection of its own while the next events are folded, or on the one that there is.

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
}

impl Writer {
    pub fn new(conn: Option<PgConnection>) -> Self {
        Self { conn, writing: None }
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
        let Some(mut conn) = self.conn.take() else {
            return write(shared, out, note, marks).await.map_err(Error::database("writing rows"));
        };
        self.writing = Some(tokio::spawn(async move {
            let done = write(&mut conn, out, note, marks).await.map_err(Error::database("writing rows"));
            (conn, done)
        }));
        Ok(())
    }
}

async fn write(conn: &mut PgConnection, out: Out, note: String, marks: Value) -> sqlx::Result<()> {
    let mut tx = session::begin(conn).await?;
    out.write(&mut tx).await?;
    sqlx::query(AssertSqlSafe(note)).bind(marks).execute(&mut *tx).await?;
    tx.commit().await
}
