//! Appending to the outbox: from Rust, and from whatever else speaks to the database.
//!
//! Who has tables and transactions of their own calls [`append`] in each transaction that changes something, and runs a
//! [`Relay`](crate::publish::relay::Relay): the event is published exactly if that transaction commits. Participants' events get here
//! by themselves.
//!
//! **In SQL** the same is the function `farandole.append`, which [`append`] calls too: any driver, version of a driver, ORM, trigger or
//! language can publish.
//!
//! ```sql
//! begin;
//! insert into invoices (id, customer, cents) values (17, 'anna', 1200);
//! select farandole.append('billing', '17', 'billing.InvoiceIssued', '{"invoice": 17, "cents": 1200}'::jsonb);
//! commit;
//! ```
//!
//! | argument | is |
//! |---|---|
//! | `topic` `text` | the topic's whole name, prefix and all |
//! | `key` `text` | the id of what the event is about: events of one key stay in order |
//! | `type` `text` | the full name of the event's type, `ce_type` |
//! | `payload` `jsonb`, `json` or `bytea` | the value. JSON is written as `application/json`; bytes need a `content-type` among `headers`, unless they are Avro in Confluent's format |
//! | `headers` `jsonb` | further headers, an object of strings, `content-type` among them |
//! | `cause` `text`, `correlation` `uuid`, `traceparent` `text`, `id` `uuid`, `key_is_locked` `boolean` | as [`NewEvent`]'s methods of the same names; all may be left out, or given by name: `cause => 'POST /invoices'` |
//!
//! It returns the event's id. What it refuses it raises as SQLSTATE 22023, with the argument's name and what it has to be; the limits are
//! those of [`append`]. From Python, with any driver (`%s::jsonb` spares the driver's own wrapper):
//!
//! ```python
//! with connection.transaction():
//!     connection.execute("insert into invoices (id, customer, cents) values (%s, %s, %s)", (17, "anna", 1200))
//!     connection.execute("select farandole.append(%s, %s, %s, %s::jsonb)",
//!                        ("billing", "17", "billing.InvoiceIssued", json.dumps({"invoice": 17, "cents": 1200})))
//! ```
//!
//! An ORM calls it as any function, in the session whose transaction the change is in; SQLAlchemy: `session.execute(select(func.farandole.append(
//! "billing", "17", "billing.InvoiceIssued", cast(event, JSONB))))`. A statement by itself is a transaction of its own, so that one
//! may do both: `with new as (insert into … returning id) select farandole.append(…) from new`.
//!
//! **Rights.** The function works as who migrates. A role needs `usage` on schema `farandole` and `execute` on it, and no right on any
//! table: it can publish, and can neither read nor change what others do.
//!
//! ```sql
//! grant usage on schema farandole to shop;
//! grant execute on function farandole.append to shop;
//! ```
//!
//! **Assumption:** a row is appended while its key is locked, so that for one key the order of `seq` is the order of commits. (The
//! order of `xid` isn't: a transaction may get its number long before its lock.) [`append`] locks the key until the end of the transaction,
//! unless told that the caller has. So who appends for several keys in one transaction does so in one order everywhere, or two such may
//! meet in a deadlock, which the server ends with SQLSTATE 40P01.

mod error;
mod event;
mod rows;

use sqlx::{Executor as _, PgConnection};
use uuid::Uuid;

pub use error::Error;
pub use event::NewEvent;
pub use rows::{MAX_CAUSE, MAX_HEADERS, MAX_RECORD};
#[doc(hidden)]
pub use rows::{Row, append_all, insert};

/// Appends an event within a transaction of the caller's, at the database's time; it is published once that has committed. Gives
/// the event's id. Appending the same event again is another record under the same id.
///
/// `conn` is whatever the transaction is on: `&mut tx` of a [`sqlx::Transaction`], or a connection, of a pool or not, on which one was begun.
///
/// # Errors
/// See [`Error`]. After one of the database nothing but a rollback is left of the transaction; after any other it can go on.
///
/// ```no_run
/// use farandole_outbox::codec::Json;
/// use farandole_outbox::outbox::{self, NewEvent};
///
/// # async fn issue(pool: sqlx::PgPool) -> Result<(), Box<dyn std::error::Error>> {
/// let mut tx = pool.begin().await?;
/// sqlx::query("insert into invoices (id, customer, cents) values (17, 'anna', 1200)").execute(&mut *tx).await?;
/// let value = r#"{"invoice": 17, "cents": 1200}"#;
/// let event = NewEvent::new("billing", "17", "billing.InvoiceIssued", Json::CONTENT_TYPE, value);
/// outbox::append(&mut tx, &event).await?;
/// tx.commit().await?;
/// # Ok(())
/// # }
/// ```
pub async fn append(conn: &mut PgConnection, event: &NewEvent) -> Result<Uuid, Error> {
    event.check()?;
    let failed = |source| Error::of(&event.kind, source);
    if let Some(id) = call(conn, event, false).await.map_err(failed)? {
        return Ok(id);
    }
    // It may be a transaction of this statement alone, whatever the driver thinks; PostgreSQL refuses a savepoint in such.
    match conn.execute("savepoint farandole_append; release savepoint farandole_append").await {
        Err(error) if code(&error).as_deref() == Some(NO_TRANSACTION) => {
            return Err(Error::NoTransaction { kind: event.kind.to_string() });
        }
        asked => asked.map_err(failed)?,
    };
    call(conn, event, true).await.map_err(failed)?.ok_or_else(|| failed(sqlx::Error::RowNotFound))
}

/// Appends if the transaction has written something already, which is none of this statement alone then, or if that is `known`; else does
/// nothing and gives nothing. To see that costs no round trip.
async fn call(conn: &mut PgConnection, event: &NewEvent, known: bool) -> sqlx::Result<Option<Uuid>> {
    sqlx::query_scalar(
        "select farandole.append($1, $2, $3, $4::bytea, headers => $5::jsonb, cause => $6, correlation => $7, traceparent => $8,
                                 id => $9, key_is_locked => $10)
         where $11 or pg_current_xact_id_if_assigned() is not null",
    )
    .bind(&event.topic)
    .bind(&event.key)
    .bind(&*event.kind)
    .bind(&event.payload)
    .bind(sqlx::types::Json(event.headers()))
    .bind(&event.cause)
    .bind(event.correlation)
    .bind(&event.traceparent)
    .bind(event.id)
    .bind(event.key_is_locked)
    .bind(known)
    .fetch_optional(conn)
    .await
}

/// `no_active_sql_transaction`.
const NO_TRANSACTION: &str = "25P01";

fn code(error: &sqlx::Error) -> Option<String> {
    Some(error.as_database_error()?.code()?.into_owned())
}

#[cfg(test)]
mod tests {
    use crate::database::{gate, locks};

    /// The function's numbers are those of the sources.
    #[test]
    fn the_function_takes_the_locks_of_the_kit() {
        let sql = include_str!("../../migrations/0008_append.sql");
        assert!(sql.contains(&format!("pg_advisory_xact_lock_shared({})", gate::key!())));
        assert!(sql.contains(&format!("locked > {}", locks::MOST)));
        for limit in [super::MAX_RECORD, super::MAX_CAUSE, super::MAX_HEADERS, crate::ground::text::NAME] {
            assert!(sql.contains(&format!("> {limit}")), "{limit}");
        }
    }
}
