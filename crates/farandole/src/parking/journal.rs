//! What no other topic tells, as events of the service's journal: what became of parked inputs (parked, released, dropped), and now and
//! then where the service reads (checkpoint). (What else operators did is in [`acts`](crate::parking::acts).)
//!
//! Each is appended to the outbox in the transaction that parks, releases or drops, so the journal says neither more nor less
//! than what happened. It names records by their place and doesn't repeat them: topics keep what they hold. What a task brought is
//! named by the task.

use std::collections::BTreeMap;

use serde::Serialize;
use sqlx::PgConnection;
use uuid::Uuid;

use crate::ground::time::Timestamp;
use crate::parking::error::Error;
use crate::publish::outbox;
use crate::wire::codec::Codec;
use crate::wire::codec::format::RecordType;
use crate::wire::topics;

pub use crate::parking::input::InputId;

/// The journal's event types.
pub const TYPES: &[RecordType] = &[
    RecordType { name: PARKED, schema: include_str!("../../journal/Parked.avsc"), topic: "journal" },
    RecordType { name: RELEASED, schema: include_str!("../../journal/Released.avsc"), topic: "journal" },
    RecordType { name: DROPPED, schema: include_str!("../../journal/Dropped.avsc"), topic: "journal" },
    RecordType { name: "farandole.journal.Acted", schema: include_str!("../../journal/Acted.avsc"), topic: "journal" },
    RecordType { name: CHECKPOINT, schema: include_str!("../../journal/Checkpoint.avsc"), topic: "journal" },
];
/// The type of what was dropped: an act of an operator's as well.
pub const DROPPED: &str = "farandole.journal.Dropped";
pub(crate) const PARKED: &str = "farandole.journal.Parked";
pub(crate) const RELEASED: &str = "farandole.journal.Released";
pub(crate) const CHECKPOINT: &str = "farandole.journal.Checkpoint";
/// Who drops what nobody has to.
pub(crate) const BY_ITSELF: &str = "the service";
const AGGREGATE_TYPE: &str = "parked";
/// Partitions in one checkpoint at most: with the heads of a hundred sources each, it is still smaller than a record may be.
const PARTITIONS: usize = 16;

/// What happened to a parked input.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum JournalEvent {
    /// It waits; with the reason, unless it only queues behind another.
    Parked(Option<String>),
    /// It was processed.
    Released,
    /// It was dropped.
    Dropped {
        /// Why.
        reason: String,
        /// By whom.
        by: String,
    },
}

/// One entry.
#[derive(Debug, Clone)]
pub struct Entry {
    /// Under what the input is or was parked.
    pub aggregate: String,
    /// The input.
    pub place: InputId,
    /// What happened.
    pub what: JournalEvent,
}

// The values, field for field as the schemas have them.
#[derive(Serialize)]
struct Parked<'a> {
    aggregate: &'a str,
    topic: &'a str,
    partition: i32,
    offset: i64,
    task: Option<String>,
    reason: Option<&'a str>,
}

#[derive(Serialize)]
struct Released<'a> {
    aggregate: &'a str,
    topic: &'a str,
    partition: i32,
    offset: i64,
    task: Option<String>,
}

#[derive(Serialize)]
struct Dropped<'a> {
    aggregate: &'a str,
    topic: &'a str,
    partition: i32,
    offset: i64,
    task: Option<String>,
    reason: &'a str,
    by: &'a str,
}

#[derive(Serialize)]
struct Checkpoint<'a> {
    reader: &'a str,
    published: i64,
    positions: BTreeMap<&'a str, String>,
}

/// A service's journal.
#[derive(Debug, Clone)]
pub struct Journal {
    codec: Codec,
    topic: String,
}

impl Journal {
    /// The journal beside `own`, a service's own topic. The codec must have [`TYPES`] registered for it.
    pub fn beside(own: &str, codec: Codec) -> Self {
        Self { codec, topic: topics::journal("", own) }
    }

    /// Appends entries to the outbox, in order.
    ///
    /// # Errors
    /// When a type isn't registered, and the database's.
    pub async fn append(&self, conn: &mut PgConnection, at: Timestamp, entries: &[Entry]) -> Result<(), Error> {
        let rows = entries.iter().map(|entry| self.row(at, entry)).collect::<Result<Vec<_>, _>>()?;
        outbox::append_all(conn, &rows).await.map_err(Error::database("appending to the journal", rows.len()))
    }

    /// Appends where `reader` reads: positions by topic/partition, which are written as JSON; and the number up to which events were published
    /// before they were read.
    ///
    /// # Errors
    /// When a position can't be written, and the database's.
    pub async fn checkpoint<T: Serialize>(
        &self,
        conn: &mut PgConnection,
        at: Timestamp,
        reader: &str,
        (published, positions): (i64, &BTreeMap<String, T>),
    ) -> sqlx::Result<()> {
        let encoded = |source: Error| sqlx::Error::Encode(source.into());
        let mut written = positions.iter().map(|(at, position)| Ok((at.as_str(), serde_json::to_string(position)?)));
        let mut rows = Vec::new();
        loop {
            let positions = written.by_ref().take(PARTITIONS).collect::<Result<BTreeMap<_, _>, serde_json::Error>>();
            let positions = positions.map_err(|e| sqlx::Error::Encode(e.into()))?;
            if positions.is_empty() {
                return outbox::append_all(conn, &rows).await;
            }
            let checkpoint = Checkpoint { reader, published, positions };
            let row = self.event(at, ("checkpoint", reader), CHECKPOINT, &checkpoint, |_| "checkpoint".to_owned());
            rows.push(row.map_err(encoded)?);
        }
    }

    /// An event of the journal: when it happened, kind and key of what it is about, its type and value, and what led to it, by its id.
    pub(super) fn event<T: Serialize>(
        &self,
        at: Timestamp,
        (aggregate_type, aggregate): (&'static str, &str),
        kind: &'static str,
        value: &T,
        cause: impl FnOnce(Uuid) -> String,
    ) -> Result<outbox::Row, Error> {
        let payload = self.codec.encode(kind, value).map_err(|source| Error::Encode { name: kind, source })?;
        let id = Uuid::now_v7();
        Ok(outbox::Row {
            topic: self.topic.clone(),
            id,
            aggregate_type,
            aggregate: aggregate.to_owned(),
            kind,
            payload,
            time: at,
            cause: cause(id),
            correlation: id,
            of: (1, 1),
            traceparent: None,
            command: None,
            headers: self.codec.headers(),
        })
    }

    fn row(&self, at: Timestamp, entry: &Entry) -> Result<outbox::Row, Error> {
        let aggregate = entry.aggregate.as_str();
        // A task has no offset: the fields for that say so, since readers of the first version know no other.
        let (topic, partition, offset, task) = match &entry.place {
            InputId::Record { topic, partition, offset } => (topic.as_str(), *partition, *offset, None),
            place @ InputId::Task { .. } => ("", -1, -1, Some(place.to_string())),
        };
        let (about, cause) = ((AGGREGATE_TYPE, aggregate), |_| entry.place.to_string());
        match &entry.what {
            JournalEvent::Parked(reason) => {
                let reason = reason.as_deref();
                self.event(at, about, PARKED, &Parked { aggregate, topic, partition, offset, task, reason }, cause)
            }
            JournalEvent::Released => {
                self.event(at, about, RELEASED, &Released { aggregate, topic, partition, offset, task }, cause)
            }
            JournalEvent::Dropped { reason, by } => {
                self.event(at, about, DROPPED, &Dropped { aggregate, topic, partition, offset, task, reason, by }, cause)
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::parking::input::Kind;

    #[test]
    fn every_entry_fits_its_schema() {
        let journal = Journal::beside("orders", Codec::offline(TYPES));
        let record = InputId::Record { topic: "payments".into(), partition: 3, offset: 42 };
        let (name, key, cause) = ("pay".to_owned(), "order-1".to_owned(), Uuid::nil());
        let task = InputId::Task { kind: Kind::Outcome, name, key, cause };
        let places = [(record, "payments/3/42"), (task, "outcome/pay/order-1/00000000-0000-0000-0000-000000000000")];
        let (reason, by) = ("it is a test".to_owned(), "me".to_owned());
        for (what, kind) in [
            (JournalEvent::Parked(None), "farandole.journal.Parked"),
            (JournalEvent::Parked(Some("no such order".into())), "farandole.journal.Parked"),
            (JournalEvent::Released, "farandole.journal.Released"),
            (JournalEvent::Dropped { reason, by }, "farandole.journal.Dropped"),
        ] {
            for (place, cause) in &places {
                let entry = Entry { aggregate: "order-1".into(), place: place.clone(), what: what.clone() };
                let row = journal.row(Timestamp::from_micros(7), &entry).unwrap();
                assert_eq!((row.kind, row.topic.as_str(), row.aggregate.as_str()), (kind, "orders.journal", "order-1"));
                assert_eq!((row.cause.as_str(), row.time.micros()), (*cause, 7));
            }
        }
    }
}
