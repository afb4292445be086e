//! Healing: a database and the topics that it publishes to are brought together again after one of them was set back.
//!
//! The relay refuses to publish when a topic doesn't end where its database thinks it does, or when the snapshots in its state
//! come from another cluster. What a heal then does:
//! - **The topic has more** (a backup was restored, a fail-over lost commits): the records that the database lacks are folded
//!   into it. They bring back rows, deadlines, effects and the answers of commands. Inputs that they name as their causes are
//!   noted, since the positions are as old as the rest: they come again and are passed over. Inputs that led to no event are
//!   decided again.
//! - **The snapshots mean nothing** (a dump was restored in another cluster): each row of the outbox is looked for in the topics
//!   by its id; those that aren't there are published, the others never again.
//! - **The topic has less** (a fail-over of the brokers): rows of the outbox that it lost are published again, under new numbers,
//!   if all of them are still there.
//!
//! In the end the state holds the topics' ends as heads, the present snapshot as A, and a new lineage, whose first record in
//! each partition names the last one found. Numbers go on, so that they grow along a partition whatever happened to it.
//!
//! **Nobody publishes meanwhile**, and nobody decides: the heal holds the relay's lease, and its first step marks the state, so
//! that every relay waits, and with it each service that starts, until the heal has ended. It refuses while the service runs, and
//! holds alone the lock that every deciding transaction shares: what runs all the same, or appends to the outbox, waits for its end.
//!
//! **A record in the service's name that can't be folded or followed** stops it: a tombstone, a forgery. It says which, and goes on
//! without that one if told to ([`heal_passing`]).
//!
//! **It may be broken off anywhere** and run again: a batch of records, with the heads moved past it, is one transaction, and
//! so is the end. What stays is the mark. A second run finds nothing to do. Memory is bounded by batches of some hundred
//! records, whatever the topic holds; the outbox's ids are kept in a temporary table.
//!
//! **How it would fail without**: without the causes, inputs since the backup would be applied twice; without the ids, rows that
//! were unsent at the backup would be published twice, or folded although they are there; without the mark, a service that
//! starts in the middle would decide on half of its state; without a new lineage, a relay of the life before that still runs
//! somewhere would go on unnoticed; without effects that count as started, an authorisation made after the backup might never
//! be voided.
//!
//! **Assumption:** a topic's records have expired nowhere but at its beginning.

mod act;
mod fold;
mod open;
mod pass;
mod read;
mod report;
mod rows;
mod survey;
mod tasks;

pub use fold::{Fold, Folding, NoFold, Skip};
pub use pass::At;
pub use report::{Partition, Report};

use std::collections::BTreeSet;

use sqlx::PgPool;
use uuid::Uuid;

use crate::chain::{Link, Place};
use crate::record::Record;
use crate::relay::log;
use crate::relay::own::Own;
use crate::relay::produce::client_config;
use crate::{codec, extent, relay, step};

/// Whether anything is changed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Mode {
    /// Only says what would be done. Reads the topics and the outbox, takes no lease and writes nothing.
    DryRun,
    /// Does it.
    Execute,
}

/// A record that the database lacks.
#[derive(Debug, Clone)]
pub struct Missing {
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
        "this database is that of service `{service}`, and its tables are the fold of its topic {topic}, which its own program alone can \
         bring together with it: run `{service} heal`"
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
    #[error("a relay of {service} is alive: stop the service, then try again")]
    Alive {
        /// Whose.
        service: String,
    },
    /// The service decides.
    #[error(
        "{service} runs, or a replica of it: {sessions} session(s) of its agenda or commands are open. Stop it, then try again"
    )]
    Running {
        /// Which.
        service: String,
        /// How many.
        sessions: i64,
    },
    /// Somebody is in the middle of writing.
    #[error(
        "a transaction that writes is open in the database of {service}: {holders}. Let it end, or stop who holds it, then try again"
    )]
    Writing {
        /// Whose database.
        service: String,
        /// The sessions, by name and pid.
        holders: String,
    },
    /// Somebody published, or healed, between the look and the lease.
    #[error("the relay's state has changed since it was looked at: try again")]
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
        "{place} can't be read: {reason}. If nothing is to come of it, since the service never wrote it so, {} goes on without it",
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
        "{place} doesn't follow what is before it: {reason}. `farandole verify {topic}` shows the topic's chains; if a record there is \
         none of the service's, {} goes on without it",
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
        "{place} has number {at} in the name of this service, and behind that there is no room for numbers: no relay wrote it. See who \
         may write to the topic; {} goes on without it, and consumers that took it stop at the next record until their position is set",
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
    /// What was to be passed over isn't there.
    #[error(
        "at {place} there is nothing to pass over: no record in the name of this service is there, or the database has it. A place is \
         topic/partition@offset, the topic with its prefix"
    )]
    NothingToPass {
        /// topic/partition@offset.
        place: String,
    },
    /// Too many records in the service's name that aren't its.
    #[error("{strays} records in the name of this service aren't its, and {most} is the limit: see who may write to its topics")]
    Strays {
        /// How many.
        strays: usize,
        /// How many there may be.
        most: usize,
    },
    /// Beside the outbox alone there is nothing to fold with.
    #[error(
        "the topics hold {missing} record(s) that this database lacks: transactions after the backup published them, and only the program \
         whose tables they changed can bring them back there. {} shows a topic's chains; once that is done, or isn't wanted, \
         `farandole heal --service {service}{} --skip-missing --execute` goes on behind them",
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
        "the topics lack {expected} record(s) that were published, and the outbox holds {there} of them: the others can't be \
         published again. Restore the topics, or a database that is older than what they lost"
    )]
    Trimmed {
        /// Lost by the topics.
        expected: i64,
        /// Still in the outbox.
        there: i64,
    },
    /// Both sides were set back.
    #[error(
        "{topic}/{partition} lacks this database's last record there, and what it has instead can't be told apart from what this \
         database published: both were set back. Restore one of the two"
    )]
    BothLost {
        /// Which topic.
        topic: String,
        /// Which partition.
        partition: i32,
    },
    /// Whether old rows were published can't be seen any more.
    #[error("the beginning of {topic}/{partition} has expired: whether rows of the outbox were in it can't be told")]
    Expired {
        /// Which topic.
        topic: String,
        /// Which partition.
        partition: i32,
    },
}

/// What goes on without the record at `place`.
fn passing(service: &str, place: &str) -> String {
    format!(
        "`{service} heal --pass-over {place} --execute`, or beside code of your own \
         `farandole heal --service {service} --pass-over {place} --execute`,"
    )
}

impl Error {
    fn database(doing: &'static str) -> impl Fn(sqlx::Error) -> Self {
        move |source| Self::Database { doing, source }
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

/// Compares the database behind `pool` with the topics that `config` and its state name, and brings them together again if
/// `mode` says so. `config` is that of the service's relay.
///
/// # Errors
/// See [`Error`].
pub async fn heal<F: Fold>(pool: &PgPool, config: &relay::Config, fold: &F, mode: Mode) -> Result<Report, Error> {
    heal_passing(pool, config, fold, mode, &BTreeSet::new()).await
}

/// [`heal`], passing over the records at these places: somebody else wrote them in the service's name, or nothing can be made of
/// them. Nothing of one comes into the database.
///
/// One that is the next of its chain stays in the chain, since consumers have taken it so and stop at a record that doesn't name it as
/// the one before; a tombstone is such. One that isn't, or that leaves no room for numbers, or behind which the service's own went on
/// without it, is none of the service's: the relay's state remembers it, so that later starts look past it. Consumers that took it stop
/// at the next record.
///
/// # Errors
/// See [`Error`].
pub async fn heal_passing<F: Fold>(
    pool: &PgPool,
    config: &relay::Config,
    fold: &F,
    mode: Mode,
    named: &BTreeSet<At>,
) -> Result<Report, Error> {
    // It reads as much as there is, and folds into the service's own tables.
    let mut conn = log::connect(pool, "set statement_timeout = 0").await?;
    let look = log::look(&mut conn).await?;
    relay::owner::claim(&mut conn, &config.service, false).await?;
    if let Some(topic) = relay::owner::own_topic(&mut conn, &look.state).await?.filter(|own| fold.topic() != Some(own.as_str())) {
        return Err(Error::Service { service: config.service.clone(), topic });
    }
    let kafka = client_config(&config.bootstrap, &config.kafka, config.delivery_timeout);
    let own = Own::of(&config.service, &look.state);
    let surveyor = survey::Surveyor { config, kafka, fold, own, named };
    let survey = surveyor.survey(&mut conn, &look).await?;
    let report = survey.report(&mut conn, &look, config, fold).await?;
    if mode == Mode::DryRun || report.is_whole() {
        return Ok(report);
    }
    act::act(&surveyor, pool, conn, look, survey, report).await
}
