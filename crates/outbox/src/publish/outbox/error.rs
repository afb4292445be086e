//! Why an event isn't appended.

use crate::publish::outbox::rows::{MAX_CAUSE, MAX_HEADERS, MAX_RECORD};

/// Why an event wasn't appended. All but [`Error::Database`], [`Error::NotMigrated`] and [`Error::Denied`] are found before the database
/// is asked, so that the transaction can go on.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// Without a key there is no order.
    #[error("{kind} without a key: events are ordered by key, so each needs one")]
    NoKey {
        /// The event's type.
        kind: String,
    },
    /// The broker or the consumers would refuse it, where nothing can be done about it any more.
    #[error("{kind} can't be published: `{field}` {reason}")]
    Field {
        /// The event's type.
        kind: String,
        /// Which part of the event.
        field: &'static str,
        /// What it has to be.
        reason: String,
    },
    /// Consumers would refuse it.
    #[error("{kind}: {headers} additional headers; the limit is {MAX_HEADERS}")]
    Headers {
        /// The event's type.
        kind: String,
        /// Further ones.
        headers: usize,
    },
    /// Consumers would refuse it.
    #[error("{kind}: the cause has {bytes} bytes; the limit is {MAX_CAUSE}")]
    Cause {
        /// The event's type.
        kind: String,
        /// Of the cause.
        bytes: usize,
    },
    /// A broker would refuse it.
    #[error(
        "{kind}: the record would have {bytes} bytes with key and headers; the limit is {MAX_RECORD}: store the rest elsewhere \
         and publish a reference"
    )]
    TooLarge {
        /// The event's type.
        kind: String,
        /// With key and headers, at most.
        bytes: usize,
    },
    /// The connection isn't in a transaction: the event would be committed by itself, whatever becomes of the statements around it.
    #[error(
        "{kind} is appended outside a transaction, and would be published even if the rest of the work fails: `begin` one \
         first"
    )]
    NoTransaction {
        /// The event's type.
        kind: String,
    },
    /// The database lacks the kit's tables, or those of this version.
    #[error(
        "appending {kind}: this database lacks the kit's tables, or has those of an older version. As their owner, call \
         `farandole_outbox::migrate`, or run the `migrate` of the service that the database belongs to"
    )]
    NotMigrated {
        /// The event's type.
        kind: String,
        /// The database's words.
        #[source]
        source: sqlx::Error,
    },
    /// The role may not append.
    #[error(
        "appending {kind}: the role lacks privileges. As the owner of the tables: `grant usage on schema farandole to …; grant \
         execute on function farandole.append to …`"
    )]
    Denied {
        /// The event's type.
        kind: String,
        /// The database's words.
        #[source]
        source: sqlx::Error,
    },
    /// The database's.
    #[error("appending {kind} to the outbox")]
    Database {
        /// The event's type.
        kind: String,
        /// The cause.
        #[source]
        source: sqlx::Error,
    },
}

impl Error {
    /// What the database said.
    pub(super) fn of(kind: &str, source: sqlx::Error) -> Self {
        let code = source.as_database_error().and_then(|error| error.code()).unwrap_or_default();
        let kind = kind.to_owned();
        match &*code {
            // No such function, schema or table.
            "42883" | "3F000" | "42P01" => Self::NotMigrated { kind, source },
            "42501" => Self::Denied { kind, source },
            _ => Self::Database { kind, source },
        }
    }
}
