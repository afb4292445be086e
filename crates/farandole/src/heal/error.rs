//! Why a heal can't continue.

use uuid::Uuid;

use crate::database::step;
use crate::fold;
use crate::publish::relay;
use crate::wire::chain::{Link, Place};
use crate::wire::record::Record;
use crate::wire::{codec, extent};

/// A record that the database lacks.
#[derive(Debug, Clone)]
pub struct MissingRecord {
    /// As it was read.
    pub record: Record,
    /// Its id.
    pub id: Uuid,
    /// Its `farandole` header.
    pub link: Link,
}

/// Why it doesn't go on. Nothing is lost: what was done is whole, and it may be run again.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// Brokers, database or lease.
    #[error(transparent)]
    Relay(#[from] relay::Error),
    /// The database was in the way.
    #[error("{doing}")]
    Database {
        /// What was being done.
        doing: &'static str,
        /// What it said.
        #[source]
        source: sqlx::Error,
    },
    /// It is a service's database, and what is asked for would leave its tables out.
    #[error(
        "this database belongs to service `{service}`, and only its own binary can fold its topic {topic} into its tables: run \
         `{service} heal`"
    )]
    Service {
        /// Whose.
        service: String,
        /// The log of its state.
        topic: String,
    },
    /// Schemas can't be had.
    #[error("reading schemas")]
    Schemas(#[source] codec::Error),
    /// A relay publishes.
    #[error("a relay of {service} is running: stop the service and try again")]
    Alive {
        /// Whose.
        service: String,
    },
    /// The service decides.
    #[error(
        "{service} or a replica of it is running: {sessions} session(s) of its agenda or commands are open. Stop it and try \
         again"
    )]
    Running {
        /// Which.
        service: String,
        /// How many.
        sessions: i64,
    },
    /// Somebody is in the middle of writing.
    #[error("a writing transaction is open in the database of {service}: {holders}. Wait for it or end it, then try again")]
    Writing {
        /// Whose database.
        service: String,
        /// The sessions, by name and pid.
        holders: String,
    },
    /// Somebody published, or healed, between the look and the lease.
    #[error("the relay's state changed in the meantime: try again")]
    Changed,
    /// The own topic holds a type that this build doesn't know.
    #[error("{place} is a {kind}, which this build of {service} doesn't know: use the build that wrote it, or a newer one")]
    UnknownType {
        /// topic/partition@offset.
        place: String,
        /// Its `ce_type`.
        kind: String,
        /// Which service.
        service: &'static str,
    },
    /// A record of the own topic can't be read.
    #[error(
        "{place} can't be read: {reason}. If the service didn't write it and nothing should come of it, {} continues without \
         it",
        passing(service, place)
    )]
    Unreadable {
        /// Which service.
        service: String,
        /// topic/partition@offset.
        place: String,
        /// Why.
        reason: String,
    },
    /// The chain is broken beyond the head.
    #[error(
        "{place} doesn't follow the record before it: {reason}. `farandole verify {topic}` shows the chains; if a record there \
         isn't the service's, {} continues without it",
        passing(service, place)
    )]
    Broken {
        /// Which service.
        service: String,
        /// Which topic.
        topic: String,
        /// topic/partition@offset.
        place: String,
        /// Why.
        reason: String,
    },
    /// The next record has a number that none can follow.
    #[error(
        "{place} has number {at} in the name of this service, which leaves no room for further numbers: no relay wrote it. \
         Check who may write to the topic; {} continues without it, and consumers that accepted it stop at the next record \
         until their position is set",
        passing(service, place)
    )]
    NoRoom {
        /// Which service.
        service: String,
        /// topic/partition@offset.
        place: String,
        /// Its lineage and number.
        at: Place,
    },
    /// What was to be skipped isn't there.
    #[error(
        "nothing to skip at {place}: there is no record in the name of this service, or the database already has it. Write \
         topic/partition@offset, with the topic's prefix"
    )]
    NothingToPass {
        /// topic/partition@offset.
        place: String,
    },
    /// Too many records in the service's name that aren't its.
    #[error(
        "{strays} records carry this service's name but aren't its own; the limit is {most}: check who may write to its topics"
    )]
    Strays {
        /// How many.
        strays: usize,
        /// How many there may be.
        most: usize,
    },
    /// Beside the outbox alone there is nothing to fold with.
    #[error(
        "the topics hold {missing} record(s) that this database lacks. They were published by transactions after the backup, \
         and only your program can apply them to its tables. {} shows the chains; when that is done or not wanted, continue \
         behind them with `farandole heal --service {service}{} --skip-missing --execute`",
        topics.iter().map(|topic| format!("`farandole verify {topic}`")).collect::<Vec<_>>().join(", "),
        told.iter().map(|topic| format!(" --topic {topic}")).collect::<String>()
    )]
    NothingFolds {
        /// How many.
        missing: u64,
        /// Whose relay published them.
        service: String,
        /// The topics that hold them.
        topics: Vec<String>,
        /// The topics that the heal was told of.
        told: Vec<String>,
    },
    /// A participant failed at an event that it had made itself.
    #[error("folding: {0}")]
    Evolve(String),
    /// Topics lost records, and so did the outbox.
    #[error(
        "the topics lack {expected} published record(s), and the outbox still holds only {there} of them, so the rest can't be \
         published again. Restore the topics, or a database backup from before the loss. To give those up for good, so that this \
         database publishes again, add --accept-lost: who reads the topics from now on never sees them, and a service whose own topic \
         lost them can't be rebuilt from it"
    )]
    Trimmed {
        /// Lost by the topics.
        expected: i64,
        /// Still in the outbox.
        there: i64,
    },
    /// A topic was made anew and published to, or copied without its beginning.
    #[error(
        "{topic}/{partition} lacks what came before its first record, and could only be given it behind what is there: readers would see the \
         events of a key in the wrong order, and a service couldn't be rebuilt from its topic. {}Or accept that order with --accept-lost",
        if *whole {
            "The outbox holds all of the topic's events, so nothing is lost if you delete the topic and create it again, empty, with as many \
             partitions, and heal then. "
        } else {
            "Restore the topic from a copy that is whole. "
        }
    )]
    Beginning {
        /// Which topic.
        topic: String,
        /// Which partition.
        partition: i32,
        /// Whether the outbox still holds what the topic has.
        whole: bool,
    },
    /// Both sides were set back.
    #[error(
        "{topic}/{partition} lacks this database's last record, and its other records can't be distinguished from this \
         database's: both were rolled back. Restore one of them"
    )]
    BothLost {
        /// Which topic.
        topic: String,
        /// Which partition.
        partition: i32,
    },
    /// Whether old rows were published can't be seen any more.
    #[error("the beginning of {topic}/{partition} has expired, so it can't be determined which outbox rows were in it")]
    Expired {
        /// Which topic.
        topic: String,
        /// Which partition.
        partition: i32,
    },
}

impl Error {
    pub(crate) fn database(doing: &'static str) -> impl Fn(sqlx::Error) -> Self {
        move |source| Self::Database { doing, source }
    }

    pub(super) fn of_fold(service: &'static str, error: fold::Error) -> Self {
        match error {
            fold::Error::Database { doing, source } => Self::Database { doing, source },
            fold::Error::Schemas(source) => Self::Schemas(source),
            fold::Error::UnknownType { place, kind } => Self::UnknownType { place, kind, service },
            fold::Error::Unreadable { place, reason } => Self::Unreadable { service: service.to_owned(), place, reason },
            fold::Error::Reading(source) => Self::Relay(source),
            fold::Error::Evolve(why) => Self::Evolve(why),
        }
    }
}

impl From<extent::Error> for Error {
    fn from(source: extent::Error) -> Self {
        Self::Relay(source.into())
    }
}

impl From<step::Error> for Error {
    fn from(source: step::Error) -> Self {
        Self::Relay(source.into())
    }
}

/// What goes on without the record at `place`.
fn passing(service: &str, place: &str) -> String {
    format!(
        "`{service} heal --pass-over {place} --execute`, or for an outbox in your own program `farandole heal --service \
         {service} --pass-over {place} --execute`,"
    )
}
