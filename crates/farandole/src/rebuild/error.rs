//! Why a rebuild can't continue.

use crate::fold;
use crate::ground::time::Timestamp;
use crate::parking;
use crate::publish::relay;
use crate::wire::extent;

/// SQLSTATE of a disk that is full.
const DISK_FULL: &str = "53100";

/// Why it doesn't go on. The live tables are as they were; what was folded stays, and the next run goes on from there.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// Brokers or database.
    #[error(transparent)]
    Relay(#[from] relay::Error),
    /// Database, schemas or an event was in the way.
    #[error(transparent)]
    Fold(#[from] fold::Error),
    /// A record of which nothing can be made.
    #[error(
        "{place}, in this service's name, can't be folded: {reason}. If it is no event of {service}'s, continue without it: repeat with \
         `--pass-over {place}`"
    )]
    Unreadable {
        /// Which service.
        service: &'static str,
        /// topic/partition@offset.
        place: String,
        /// Why.
        reason: String,
    },
    /// The journal's.
    #[error("telling the journal")]
    Journal(#[source] parking::Error),
    /// There is no such topic.
    #[error(
        "there is no topic {topic}, and the tables can only be rebuilt from it: restore it, or check `kafka.bootstrap` and `topics.prefix`"
    )]
    NoTopic {
        /// Which.
        topic: String,
    },
    /// A heal has begun and didn't end.
    #[error("a heal of {service} was broken off or is running: finish it with `{service} heal --execute` first")]
    Healing {
        /// Which service.
        service: &'static str,
    },
    /// The chain is broken.
    #[error("{place} doesn't follow the record before it: {reason}. `farandole verify {topic}` shows the chains")]
    Broken {
        /// Which service.
        service: &'static str,
        /// Which topic.
        topic: String,
        /// topic/partition@offset.
        place: String,
        /// Why.
        reason: String,
    },
    /// A reading thread panicked.
    #[error("the thread that reads the topic ended without a word")]
    Thread,
    /// The database is older than its topic.
    #[error(
        "{topic}/{partition} holds events that this database doesn't know: it was restored from a backup, or a copy of it goes on \
         elsewhere. `{service} heal` tells more; tables that were rebuilt now would have these events twice after it"
    )]
    Behind {
        /// Which service.
        service: &'static str,
        /// Which topic.
        topic: String,
        /// Which partition.
        partition: i32,
    },
    /// The topic doesn't hold what the relay published.
    #[error(
        "{topic}/{partition} ends with number {found}, but the relay of this database published up to {published} there: the \
         topic has lost records. `farandole verify {topic}` and `{service} heal` tell more. If the topic was deleted and created \
         again since this rebuild was begun, it begins anew after `{service} rebuild --clean --execute`"
    )]
    Incomplete {
        /// Which service.
        service: &'static str,
        /// Which topic.
        topic: String,
        /// Which partition.
        partition: i32,
        /// The last number in the topic; 0 if there is none.
        found: i64,
        /// And in the relay's state.
        published: i64,
    },
    /// Events wait in the outbox and nobody publishes them.
    #[error(
        "{rows} event(s) in the outbox aren't published, and nobody publishes them: start {service}, whose relay does, and \
         run this again beside it"
    )]
    Unpublished {
        /// Which service.
        service: &'static str,
        /// How many.
        rows: i64,
    },
    /// Something belongs to the tables that a swap would leave behind.
    #[error(
        "nothing was swapped or dropped, since this belongs to the tables and would be lost or go on at the replaced ones: {}. Drop it, swap, and \
         create it again", found.join("; ")
    )]
    Attached {
        /// What, with the table.
        found: Vec<String>,
    },
    /// A column that nothing fills holds something.
    #[error(
        "nothing was swapped, since no event fills {}, and the rebuilt rows have the default there: name it by `Service::derived`, with how it \
         is filled, or repeat with --accept-defaults, and what it holds is in the replaced tables only", columns.join(", ")
    )]
    Defaults {
        /// Each as `table.column`.
        columns: Vec<String>,
    },
    /// What the service fills by itself wasn't.
    #[error(
        "the tables are in place, and {what}, which no event fills, couldn't be filled: `{service} rebuild --derived --execute` tries again"
    )]
    Derived {
        /// Which service.
        service: &'static str,
        /// What.
        what: &'static str,
        /// The cause.
        #[source]
        source: sqlx::Error,
    },
    /// The live tables are made otherwise than when the rebuild began.
    #[error(
        "the live tables were changed (columns, indexes, constraints, rights) since this rebuild began: run it again, it begins anew"
    )]
    Migrated,
    /// A deciding transaction doesn't end.
    #[error(
        "a deciding transaction of {service} has been open for longer than {seconds} s: {holders}. Wait for it or end it, then try \
         again"
    )]
    Busy {
        /// Which service.
        service: &'static str,
        /// The sessions, by name and pid.
        holders: String,
        /// For how long it was waited.
        seconds: u64,
    },
    /// Another rebuild is at it.
    #[error("another rebuild of {service} is running{}: wait for it, or end it", who.as_ref().map(|who| format!(" ({who})")).unwrap_or_default())]
    Running {
        /// Which service.
        service: &'static str,
        /// Its session.
        who: Option<String>,
    },
    /// No set of tables was replaced.
    #[error("{service} has no replaced tables to go back to: a swap keeps them, `{service} rebuild --clean` drops them")]
    NothingReplaced {
        /// Which service.
        service: &'static str,
    },
    /// The replaced set lacks a table that the participant has.
    #[error("schema {schema} has no table {table}: it was replaced by another build")]
    NotKept {
        /// Where the set is.
        schema: String,
        /// Which table.
        table: String,
    },
    /// The live tables were changed since the swap.
    #[error(
        "the live tables were changed (columns, indexes, constraints) since those in schema {schema} were replaced, and would lose that: \
         rebuild instead"
    )]
    ChangedSince {
        /// Where the replaced ones are.
        schema: String,
    },
    /// Something was decided since the swap.
    #[error(
        "{service} has decided {written} event(s) since these tables were replaced, and their rows would be lost from the tables (not from \
         the topic): rebuild instead, or repeat with --lose"
    )]
    WrittenSince {
        /// Which service.
        service: &'static str,
        /// How many.
        written: i64,
    },
    /// No event had happened by the time that was asked for.
    #[error("no event of {topic} had happened by {time}, as their times (`ce_time`) say")]
    NothingBy {
        /// Which topic.
        topic: String,
        /// The time.
        time: Timestamp,
    },
    /// An earlier run's place is gone.
    #[error(
        "{topic}/{partition} doesn't hold the record any more up to which an earlier rebuild had folded: its beginning has expired, or it was \
         deleted and created again. `{service} rebuild --clean --execute` drops that one, and the next begins anew"
    )]
    MarkGone {
        /// Which service.
        service: &'static str,
        /// Which topic.
        topic: String,
        /// Which partition.
        partition: i32,
    },
    /// The topic has another number of partitions than was published to.
    #[error(
        "{topic} has {found} partitions, and was published to with {published}: which of them holds an aggregate's events isn't known. \
         `rebuild --verify` reads all of them"
    )]
    Partitions {
        /// Which topic.
        topic: String,
        /// How many there are.
        found: i32,
        /// How many there were.
        published: i32,
    },
    /// Live tables that somebody uses.
    #[error(
        "the live tables are in use, and nothing was swapped: {holders}. Wait for it or end it, and repeat the command, which goes on from here"
    )]
    InUse {
        /// The sessions.
        holders: String,
    },
    /// Rights that it takes.
    #[error("{what} is missing, which this takes: {grant}")]
    Right {
        /// Which right.
        what: String,
        /// What gives it.
        grant: String,
    },
    /// No event has that number yet.
    #[error("no event of {topic} has number {until} yet: the last is {last} (`--until`)")]
    Beyond {
        /// Which topic.
        topic: String,
        /// What was asked for.
        until: i64,
        /// The last number of the topic and its journal.
        last: i64,
    },
    /// The disk is too small.
    #[error(
        "the rebuilt tables need some {needed_mb} MB, as the live ones do, and {free_mb} MB are free at {place}. Make room \
         (`{service} rebuild --clean` lists what earlier ones have left), or repeat with --ignore-space"
    )]
    NoRoom {
        /// Which service.
        service: &'static str,
        /// What is needed, in MB.
        needed_mb: u64,
        /// What there is.
        free_mb: u64,
        /// Where.
        place: String,
    },
    /// The disk ran full on the way.
    #[error(
        "the database's disk ran full (53100). The live tables are as they were. Make room and repeat the command, which continues \
         where it was, or drop what was rebuilt: `{service} rebuild --clean --execute`"
    )]
    DiskFull {
        /// Which service.
        service: &'static str,
        /// What was being done.
        #[source]
        source: Box<Error>,
    },
    /// What was named is no id of the participant's.
    #[error("`{id}` is no id of an aggregate of {service}: {why}")]
    NoId {
        /// Which service.
        service: &'static str,
        /// What was named.
        id: String,
        /// What it says.
        why: String,
    },
    /// Nothing is known of this aggregate.
    #[error("{topic} has no event of `{id}`, and no table a row of it")]
    NoAggregate {
        /// Which topic.
        topic: String,
        /// Which aggregate.
        id: String,
    },
    /// The participant has no tables.
    #[error("{service} has no tables to rebuild")]
    NoTables {
        /// Which service.
        service: &'static str,
    },
    /// A table isn't there, or is named in a way that can't be rebuilt beside.
    #[error("table {table}: {why}")]
    Table {
        /// Which.
        table: &'static str,
        /// What about it.
        why: String,
    },
}

impl Error {
    /// The same; a full disk by its name, and what to do about a record that can't be read.
    pub(super) fn of(self, service: &'static str) -> Self {
        if let Self::Fold(fold::Error::Unreadable { place, reason }) = self {
            return Self::Unreadable { service, place, reason };
        }
        let mut cause: Option<&(dyn std::error::Error + 'static)> = Some(&self);
        while let Some(error) = cause {
            let code =
                error.downcast_ref::<sqlx::Error>().and_then(sqlx::Error::as_database_error).and_then(|error| error.code());
            if code.is_some_and(|code| code == DISK_FULL) {
                return Self::DiskFull { service, source: Box::new(self) };
            }
            cause = error.source();
        }
        self
    }
}

/// A database's error, from what was being done.
pub(super) fn database(doing: &'static str) -> impl Fn(sqlx::Error) -> Error {
    move |source| fold::Error::Database { doing, source }.into()
}

impl From<extent::Error> for Error {
    fn from(source: extent::Error) -> Self {
        Self::Relay(source.into())
    }
}
