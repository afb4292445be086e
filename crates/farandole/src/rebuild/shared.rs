//! Which tables' rows events of several aggregates change: found by trying.
//!
//! A participant doesn't say whose events change a row; its `evolve` does. So of each type of event the first few aggregates are folded by
//! themselves, each from no rows: what changes a row of another key than its own changes what others do as well.
//!
//! **Assumption:** which tables an event's type changes doesn't depend on rows in a way that none of the first aggregates of a partition shows.

use std::collections::BTreeSet;
use std::sync::Arc;

use sqlx::PgConnection;

use crate::fold::{self, Events, Folder};
use crate::participant::Participant;
use crate::participant::table::{Stored, Tables as _};
use crate::rebuild::Error;
use crate::rebuild::look::Look;
use crate::wire::record::Record;

/// Aggregates of each type of event.
const AGGREGATES: usize = 8;
/// Their first events.
const EVENTS: usize = 100;
/// Bytes of all of these.
const BYTES: usize = 8 << 20;

/// The tables.
#[derive(Debug, Default)]
pub(super) struct Shared(pub BTreeSet<String>);

impl Shared {
    /// Looks through the partition that `look` names.
    pub async fn of<P: Participant>(
        participant: &Arc<P>,
        events: &Events<P>,
        conn: &mut PgConnection,
        look: &Look,
    ) -> Result<Self, Error> {
        let found = look.first_of_each_type((AGGREGATES, EVENTS, BYTES)).await?;
        let mut shared = Self::default();
        for (aggregate, records) in found {
            let aggregate = String::from_utf8_lossy(&aggregate).into_owned();
            events.prepare(records.iter().filter_map(Record::schema_id)).await?;
            let read = records.iter().map(|record| events.read(record)).collect::<Result<Vec<_>, _>>()?;
            let mut folder = Folder::new(Arc::clone(participant), Stored::Own { expected: 0 });
            for event in &read {
                match folder.fold(conn, std::slice::from_ref(event)).await {
                    // A row that it needs is another aggregate's: what it has changed so far counts.
                    Ok(()) | Err(fold::Error::Evolve(_)) => {}
                    Err(error) => return Err(error.into()),
                }
            }
            folder.tables.touched(&mut |table, key| {
                if key.first() != Some(&aggregate) {
                    shared.0.insert(table.to_owned());
                }
            });
        }
        Ok(shared)
    }
}
