//! Rows of the outbox, their bounds, and the kit's own way into it: whole batches, in one statement, under locks that are held already.

use sqlx::PgConnection;
use sqlx::postgres::{PgArguments, Postgres};
use sqlx::query::Query;
use uuid::Uuid;

use crate::ground::time::Timestamp;

/// The largest record that is taken, in bytes with its key and headers: what a broker takes by default. A larger one would be
/// refused by the broker, at the head of the relay, where nothing can be done about it any more.
pub const MAX_RECORD: usize = 1024 * 1024;
/// Bytes of a cause: a place in a topic or the name of a request. Consumers read a header of bounded length.
pub const MAX_CAUSE: usize = 1024;
/// Further headers of an event, of the 256 that consumers read of a record.
pub const MAX_HEADERS: usize = 200;
/// Room for the headers whose length is bounded (names, ids, numbers, times, trace context) and for the broker's framing.
pub(super) const FRAME: usize = 1024;

/// One event to publish.
#[derive(Debug, Clone, PartialEq)]
pub struct Row {
    /// Topic, with its prefix.
    pub topic: String,
    /// The event's id, `ce_id`.
    pub id: Uuid,
    /// The kind of aggregate: the service's name.
    pub aggregate_type: &'static str,
    /// The aggregate's id, which is the record's key.
    pub aggregate: String,
    /// The event's type, `ce_type`.
    pub kind: &'static str,
    /// The value.
    pub payload: Vec<u8>,
    /// When it happened, `ce_time`.
    pub time: Timestamp,
    /// What led to it.
    pub cause: String,
    /// Shared by everything that one first command led to.
    pub correlation: Uuid,
    /// This is event `of.0` of the `of.1` that one input gave.
    pub of: (i16, i16),
    /// W3C trace context.
    pub traceparent: Option<String>,
    /// Idempotency scope, key and body hash of the command.
    pub command: Option<String>,
    /// Further headers, as a JSON object of strings; `content-type` if the value isn't Avro.
    pub headers: Option<serde_json::Value>,
}

impl Row {
    /// Bytes of the record that it becomes, at most. The aggregate is its key and a header; a header of text is written escaped.
    pub fn size(&self) -> usize {
        let text = 2 * self.aggregate.len() + self.aggregate_type.len() + self.kind.len() + 3 * self.cause.len();
        self.payload.len()
            + text
            + self.traceparent.as_ref().map_or(0, String::len)
            + self.command.as_ref().map_or(0, String::len)
            + self.headers.as_ref().map_or(0, |headers| headers.to_string().len())
            + FRAME
    }
}

/// Appends all rows in one statement, in order. The caller holds the locks of their aggregates.
///
/// # Errors
/// The database's.
pub async fn append_all(conn: &mut PgConnection, rows: &[Row]) -> sqlx::Result<()> {
    if !rows.is_empty() {
        insert(rows).execute(conn).await?;
    }
    Ok(())
}

/// The statement that appends them.
pub fn insert(rows: &[Row]) -> Query<'_, Postgres, PgArguments> {
    fn column<'a, T>(rows: &'a [Row], of: impl Fn(&'a Row) -> T) -> Vec<T> {
        rows.iter().map(of).collect()
    }
    // `order by ord`: unnest keeps its order today, but only this promises that seq follows it.
    sqlx::query(
        "insert into farandole.outbox
           (topic, id, aggregatetype, aggregateid, type, payload, time, cause, correlation, i, n, traceparent, command, headers)
         select topic, id, aggregatetype, aggregateid, type, payload, 'epoch'::timestamptz + micros * interval '1 microsecond',
                cause, correlation, i, n, traceparent, command, headers
         from unnest($1::text[], $2::uuid[], $3::text[], $4::text[], $5::text[], $6::bytea[], $7::bigint[], $8::text[],
                     $9::uuid[], $10::smallint[], $11::smallint[], $12::text[], $13::text[], $14::jsonb[])
              with ordinality as r(topic, id, aggregatetype, aggregateid, type, payload, micros, cause, correlation, i, n,
                                   traceparent, command, headers, ord)
         order by ord",
    )
    .bind(column(rows, |r| r.topic.as_str()))
    .bind(column(rows, |r| r.id))
    .bind(column(rows, |r| r.aggregate_type))
    .bind(column(rows, |r| r.aggregate.as_str()))
    .bind(column(rows, |r| r.kind))
    .bind(column(rows, |r| r.payload.as_slice()))
    .bind(column(rows, |r| r.time.micros()))
    .bind(column(rows, |r| r.cause.as_str()))
    .bind(column(rows, |r| r.correlation))
    .bind(column(rows, |r| r.of.0))
    .bind(column(rows, |r| r.of.1))
    .bind(column(rows, |r| r.traceparent.as_deref()))
    .bind(column(rows, |r| r.command.as_deref()))
    .bind(column(rows, |r| r.headers.as_ref()))
}
