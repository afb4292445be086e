//! Rows that events make, and what follows from an event.

use std::sync::Arc;

use sqlx::PgConnection;
use uuid::Uuid;

use crate::engine::tasks::Op;
use crate::engine::{KEYED, guarded, op};
use crate::fold::Error;
use crate::ground::time::Timestamp;
use crate::participant::Participant;
use crate::participant::table::{Stored, Tables as _};
use crate::publish::outbox;
use crate::wire::chain::Link;
use crate::wire::message::Message as _;
use crate::wire::record::Record;

/// Folds events into rows, which it holds until they are written.
#[derive(Debug)]
pub(crate) struct Folder<P: Participant> {
    participant: Arc<P>,
    pub tables: P::Tables,
}

impl<P: Participant> Folder<P> {
    /// One that holds no rows yet.
    pub fn new(participant: Arc<P>, stored: Stored) -> Self {
        let mut tables = P::Tables::default();
        tables.fold(stored);
        Self { participant, tables }
    }

    /// Folds these, in order. Which rows they change only `evolve` knows: it is tried on what is held, and what it misses is loaded for the
    /// next try. Each try loads more of what the events touch, so this ends; mostly at the first or second.
    pub async fn fold(&mut self, conn: &mut PgConnection, events: &[P::Event]) -> Result<(), Error> {
        loop {
            self.tables.mark();
            // A participant may panic at a row that isn't loaded yet.
            let evolved = guarded(|| events.iter().for_each(|event| self.participant.evolve(&mut self.tables, event)));
            let missed = self.tables.missed();
            if missed.is_empty() {
                return evolved.map_err(|why| Error::Evolve(why.to_string()));
            }
            self.tables.back();
            self.tables.load(conn, &missed).await.map_err(Error::database("loading rows"))?;
        }
    }
}

/// What follows from an event of the service's own, in the record that it became: tasks that it opens and closes.
///
/// # Errors
/// When an effect can't be written.
pub(crate) fn follow<P: Participant>(
    participant: &P,
    (record, id, link): (&Record, Uuid, &Link),
    event: &P::Event,
) -> Result<Vec<Op>, String> {
    let row = outbox::Row {
        topic: record.topic.clone(),
        id,
        aggregate_type: P::NAME,
        aggregate: String::from_utf8_lossy(record.key.as_deref().unwrap_or_default()).into_owned(),
        kind: event.name(),
        payload: Vec::new(),
        time: record.header("ce_time").and_then(Timestamp::parse).unwrap_or_default(),
        cause: link.cause.clone(),
        correlation: link.correlation,
        of: link.of,
        traceparent: record.header("traceparent").map(str::to_owned),
        command: link.command.clone(),
        headers: record.header(KEYED).map(|how| serde_json::json!({ KEYED: how })),
    };
    participant.follow_up(event).into_iter().map(|task| op(participant, task, &row)).collect()
}
