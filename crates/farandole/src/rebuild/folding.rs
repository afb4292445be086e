//! A fold under way: rounds to the end of a topic that moves, and the last one, in which nobody decides.

use std::sync::Arc;

use sqlx::PgConnection;
use tokio::sync::mpsc;

use crate::fold::Folder;
use crate::participant::Participant;
use crate::participant::table::Tables as _;
use crate::rebuild::error::database;
use crate::rebuild::progress::Progress;
use crate::rebuild::read::{AHEAD, Chunk, Reader, extents};
use crate::rebuild::shadow::Shadow;
use crate::rebuild::writer::Writer;
use crate::rebuild::{Error, swap};
use crate::wire::extent::{Client, Extent};

/// Bytes of events that are folded before rows are written.
const FOLDED: usize = 24 << 20;
/// Rounds of following a topic's end before those who decide have to wait for the last one.
const ROUNDS: u32 = 20;
/// A round as short as this is followed by the last one.
const SHORT: i64 = 2_000;

/// A fold under way.
pub(super) struct Fold<P: Participant> {
    /// The service's own, with the prefix.
    pub topic: String,
    /// Rows that change before they are written.
    pub held: usize,
    pub client: Arc<Client>,
    pub conn: PgConnection,
    pub folder: Folder<P>,
    pub writer: Writer,
    pub shadow: Shadow,
    pub progress: Progress,
}

impl<P: Participant> Fold<P> {
    /// Has those who decide wait, and folds to the end of the topic: what the relay says that it has published.
    pub async fn whole(&mut self, reader: Reader<P>) -> Result<(Reader<P>, swap::Alone), Error> {
        let alone = swap::Alone::take(&mut self.conn, P::NAME).await?;
        swap::drained(&mut self.conn, P::NAME, &self.topic).await?;
        let extents = extents(&self.client, &self.topic).await?;
        let reader = self.round(reader, extents).await?;
        swap::complete(&mut self.conn, P::NAME, &self.topic, (&self.shadow.marks, None)).await?;
        Ok((reader, alone))
    }

    /// Follows the end of a topic that is being published to, until what is left is short.
    pub async fn follow(&mut self, mut reader: Reader<P>) -> Result<Reader<P>, Error> {
        for _ in 0..ROUNDS {
            let extents = extents(&self.client, &self.topic).await?;
            let left = reader.left(&extents);
            reader = self.round(reader, extents).await?;
            if left < SHORT {
                break;
            }
        }
        Ok(reader)
    }

    /// Folds up to the ends of `extents`.
    pub async fn round(&mut self, reader: Reader<P>, extents: Vec<Extent>) -> Result<Reader<P>, Error> {
        let (sender, mut chunks) = mpsc::channel::<Chunk<P::Event>>(AHEAD);
        let reading = reader.start(extents, sender);
        let mut folded = 0;
        while let Some(chunk) = chunks.recv().await {
            self.folder.fold(&mut self.conn, &chunk.events).await?;
            self.shadow.marks.extend(chunk.marks);
            folded += chunk.bytes;
            self.progress.folded(chunk.events.len(), chunk.records);
            if self.folder.tables.changed() >= self.held || folded >= FOLDED {
                self.write_out().await?;
                folded = 0;
            }
        }
        let reader = reading.await.map_err(|_| Error::Thread)??;
        self.write_out().await?;
        self.writer.settle().await?;
        Ok(reader)
    }

    /// Has rows written, and how far each partition was folded, in one transaction, while the next events are folded.
    async fn write_out(&mut self) -> Result<(), Error> {
        let out = self.folder.tables.take_out().map_err(database("encoding rows"))?;
        let (note, marks) = self.shadow.note();
        self.writer.start(&mut self.conn, out, note, marks).await?;
        self.folder.tables.let_go();
        Ok(())
    }
}
