//! Appending to the outbox.
//!
//! Participants' events get here by themselves. Who has tables and transactions of their own calls [`append`] in each transaction
//! that changes something, and runs a [`Relay`](crate::publish::relay::Relay): the event is published exactly if that transaction commits.
//!
//! **Assumption:** a row is appended while its aggregate is locked, so that for one key the order of `seq` is the order of
//! commits. (The order of `xid` isn't: a transaction may get its number long before its lock.) [`append`] locks the key, unless
//! told that the caller has locked the aggregate's row.

use sqlx::postgres::{PgArguments, Postgres};
use sqlx::query::Query;
use sqlx::{PgConnection, Row as _};
use uuid::Uuid;

use crate::database::{Tx, locks};
use crate::ground::time::Timestamp;
use crate::wire::codec::{self, Codec};
use crate::wire::message::Message;

/// The largest record that is taken, in bytes with its key and headers: what a broker takes by default. A larger one would be
/// refused by the broker, at the head of the relay, where nothing can be done about it any more.
pub const MAX_RECORD: usize = 1024 * 1024;
/// Room for the headers whose length is bounded (names, ids, numbers, times, trace context) and for the broker's framing.
const FRAME: usize = 1024;

/// Bytes of a cause: a place in a topic or the name of a request. Consumers read a header of bounded length.
const MAX_CAUSE: usize = 1024;
/// Further headers of an event, of the 256 that consumers read of a record.
const MAX_HEADERS: usize = 200;

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

/// An event of who has transactions of their own.
#[derive(Debug, Clone, PartialEq)]
pub struct Event {
    row: Row,
    row_is_locked: bool,
}

impl Event {
    /// An event about `aggregate` (the record's key) of the kind `aggregate_type`, with a value written by the caller: `kind` is the
    /// type's full name, `content_type` says how the value is written.
    pub fn new(
        topic: impl Into<String>,
        aggregate_type: &'static str,
        aggregate: impl Into<String>,
        kind: &'static str,
        content_type: &str,
        payload: Vec<u8>,
    ) -> Self {
        let id = Uuid::now_v7();
        let headers = (content_type != codec::Avro::CONTENT_TYPE).then(|| serde_json::json!({ "content-type": content_type }));
        let row = Row {
            topic: topic.into(),
            id,
            aggregate_type,
            aggregate: aggregate.into(),
            kind,
            payload,
            time: Timestamp::default(),
            cause: format!("transaction/{id}"),
            correlation: id,
            of: (1, 1),
            traceparent: None,
            command: None,
            headers,
        };
        Self { row, row_is_locked: false }
    }

    /// An event whose value `codec` writes.
    ///
    /// # Errors
    /// When the value doesn't fit its schema, or its type isn't [registered](Codec::register).
    pub fn of<M: Message>(
        codec: &Codec,
        topic: impl Into<String>,
        aggregate_type: &'static str,
        aggregate: impl Into<String>,
        event: &M,
    ) -> Result<Self, codec::Error> {
        let payload = event.encode(codec)?;
        Ok(Self::new(topic, aggregate_type, aggregate, event.name(), codec.content_type(), payload))
    }

    /// The transaction holds the aggregate's row locked already (it has updated or inserted it, or read it `for update`), as every
    /// other one does that appends for this key.
    #[must_use]
    pub fn row_is_locked(mut self) -> Self {
        self.row_is_locked = true;
        self
    }

    /// What led to it: `topic/partition/offset`, or a name for the request. Without it, a name made from the event's id.
    #[must_use]
    pub fn cause(mut self, cause: impl Into<String>) -> Self {
        self.row.cause = cause.into();
        self
    }

    /// What it shares with everything that one first request led to. Without it, a new one begins.
    #[must_use]
    pub fn correlation(mut self, correlation: Uuid) -> Self {
        self.row.correlation = correlation;
        self
    }

    /// The W3C trace context to go on under. What isn't one is left out.
    #[must_use]
    pub fn traceparent(mut self, traceparent: Option<&str>) -> Self {
        self.row.traceparent = traceparent.filter(|text| crate::wire::traceparent::is_traceparent(text)).map(str::to_owned);
        self
    }

    /// A further header. Those that the relay writes itself can't be changed.
    #[must_use]
    pub fn header(mut self, name: &str, value: &str) -> Self {
        let headers = self.row.headers.get_or_insert_with(|| serde_json::json!({}));
        headers[name] = value.into();
        self
    }
}

/// Why an event wasn't appended.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// Without a key there is no order.
    #[error("a {kind} without an aggregate's id")]
    NoKey {
        /// The event's type.
        kind: &'static str,
    },
    /// Consumers would refuse it.
    #[error("a {kind} with {headers} further headers; the limit is {MAX_HEADERS}")]
    Headers {
        /// The event's type.
        kind: &'static str,
        /// Further ones.
        headers: usize,
    },
    /// Consumers would refuse it.
    #[error("a {kind} with a cause of {bytes} bytes; the limit is {MAX_CAUSE}")]
    Cause {
        /// The event's type.
        kind: &'static str,
        /// Of the cause.
        bytes: usize,
    },
    /// A broker would refuse it.
    #[error("a {kind} would be {bytes} bytes with its headers; the limit is {MAX_RECORD}")]
    TooLarge {
        /// The event's type.
        kind: &'static str,
        /// With key and headers, at most.
        bytes: usize,
    },
    /// The database's.
    #[error("appending a {kind} to the outbox")]
    Database {
        /// The event's type.
        kind: &'static str,
        /// The cause.
        #[source]
        source: sqlx::Error,
    },
}

/// Appends an event within a transaction of the caller's, at the database's time; it is published once that has committed. Gives
/// the event's id. Appending the same event again is another record under the same id.
///
/// # Errors
/// See [`Error`]. After one of the database nothing but a rollback is left of the transaction.
pub async fn append(tx: &mut Tx<'_>, event: &Event) -> Result<Uuid, Error> {
    let Event { row, row_is_locked } = event;
    let kind = row.kind;
    if row.aggregate.is_empty() {
        return Err(Error::NoKey { kind });
    }
    let headers = row.headers.as_ref().and_then(serde_json::Value::as_object).map_or(0, serde_json::Map::len);
    if headers > MAX_HEADERS {
        return Err(Error::Headers { kind, headers });
    }
    if row.cause.len() > MAX_CAUSE {
        return Err(Error::Cause { kind, bytes: row.cause.len() });
    }
    if row.size() > MAX_RECORD {
        return Err(Error::TooLarge { kind, bytes: row.size() });
    }
    let failed = |source| Error::Database { kind, source };
    // Not beside a heal; then the lock, so that the time is one at which nobody else appends for this key.
    let clock = sqlx::query(locks::LOCK_ONE).bind(format!("outbox/{}", row.topic)).bind(&row.aggregate).bind(row_is_locked);
    let clock = clock.bind(i32::try_from(locks::MOST).unwrap_or(i32::MAX)).fetch_one(&mut **tx).await.map_err(failed)?;
    let now = clock.try_get(2).map_err(failed)?;
    append_all(tx, &[Row { time: Timestamp::from_micros(now), ..row.clone() }]).await.map_err(failed)?;
    Ok(row.id)
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
#[doc(hidden)]
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
