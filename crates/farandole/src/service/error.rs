//! Why a service didn't start or had to stop.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::Duration;

use crate::consume::{again, intake, restore};
use crate::database::surroundings;
use crate::publish::{migrations, relay};
use crate::wire::{codec, extent, topics};
use crate::{config, fold, heal, parking, rebuild};

/// Why a service didn't start or had to stop.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// Settings that don't fit one another, or are missing.
    #[error("{0}")]
    Config(config::Error),
    /// The HTTP port isn't to be had.
    #[error("listening at {address} (`http.listen`)")]
    Listen {
        /// As configured.
        address: SocketAddr,
        /// The cause.
        #[source]
        source: std::io::Error,
    },
    /// The file for the bound address can't be written.
    #[error("writing the bound address to {} (`http.port_file`)", path.display())]
    PortFile {
        /// As configured.
        path: PathBuf,
        /// The cause.
        #[source]
        source: std::io::Error,
    },
    /// `database.url` can't be read.
    #[error("reading `database.url`; it looks like postgres://user:password@host:5432/database")]
    DatabaseUrl(#[source] sqlx::Error),
    /// The database can't be reached or refuses.
    #[error("{doing}")]
    Database {
        /// What was being done.
        doing: &'static str,
        /// The cause.
        #[source]
        source: sqlx::Error,
    },
    /// Server, database or role aren't as they must be.
    #[error("the database")]
    Surroundings(#[source] surroundings::Error),
    /// Tables are missing, or aren't what the migrations make.
    #[error(transparent)]
    Migrations(#[from] migrations::Error),
    /// The service's tables are in another schema than the one that its migrations would be applied in.
    #[error(transparent)]
    Elsewhere(Box<Elsewhere>),
    /// The topics aren't as declared.
    #[error("topics")]
    Topics(#[source] topics::Error),
    /// The schemas can't be used.
    #[error("schemas")]
    Schemas(#[source] codec::Error),
    /// The relay refuses to publish.
    #[error("relay")]
    Relay(#[source] relay::Error),
    /// Database and topics can't be brought together.
    #[error("heal")]
    Heal(#[source] heal::Error),
    /// Tables lack columns that `tables!` declares.
    #[error("{}: add a migration that creates it, or correct its name in `tables!`", .0.join("; "))]
    Columns(Vec<String>),
    /// The tables can't be rebuilt.
    #[error("rebuild")]
    Rebuild(#[source] rebuild::Error),
    /// This build would make other rows of the same events.
    #[error(
        "this build of {service} makes something else of its events than the one that wrote its tables ({count} difference(s)): {}. Make \
         the tables anew with `{service} rebuild --execute`; or, if they may stay as they are, `{service} rebuild --accept-fold --reason … \
         --execute`", .differences.join("; ")
    )]
    OtherFold {
        /// Which service.
        service: &'static str,
        /// The first of them.
        differences: Vec<String>,
        /// How many.
        count: usize,
    },
    /// What the fold makes of events can't be compared.
    #[error("comparing what the fold makes of the topic's first events")]
    Fold(#[source] fold::Error),
    /// A heal of a database in which there is nothing.
    #[error(
        "this database is empty, and topic {topic} isn't: it is in place of one that was lost. `{service} rebuild --from-nothing` brings back \
         positions and what was parked or dropped as well, which no heal does"
    )]
    Lost {
        /// Which service.
        service: &'static str,
        /// Its topic.
        topic: String,
    },
    /// `rebuild --from-nothing` is for a database that holds nothing.
    #[error(
        "this database holds {what}, and a rebuild from nothing needs an empty one. To rebuild the tables beside the live ones leave out \
         --from-nothing; a database that is older than its topic is brought up to it by `heal`"
    )]
    NotEmpty {
        /// What was found.
        what: String,
    },
    /// There is nothing to begin from.
    #[error(
        "there is no topic {topic}, and only from it can the state be had back: restore it, or check `kafka.bootstrap` and `topics.prefix`"
    )]
    NothingLeft {
        /// The service's own.
        topic: String,
    },
    /// The topic doesn't hold all that happened.
    #[error(
        "{topic}/{partition} begins at offset {low}: what came before was deleted or has expired, so the state can't be had back from it. \
         Restore a backup of the database, then run `heal`"
    )]
    BeginningGone {
        /// The service's own.
        topic: String,
        /// Which partition.
        partition: i32,
        /// Its first offset.
        low: i64,
    },
    /// What the journal tells can't be restored.
    #[error("from nothing")]
    Restore(#[source] restore::Error),
    /// The intake can't read.
    #[error("intake")]
    Intake(#[source] intake::Error),
    /// Nothing to do anything about.
    #[error("nothing is parked under {aggregate}; `parked` lists what is parked")]
    NotParked {
        /// What was named.
        aggregate: String,
    },
    /// A topic that isn't this service's to read.
    #[error("{topic} is not a subscribed topic; subscribed: {}", heard.join(", "))]
    NotHeard {
        /// What was named.
        topic: String,
        /// What is heard, by its names in Kafka.
        heard: Vec<String>,
    },
    /// The journal couldn't be told.
    #[error("telling the journal")]
    Journal(#[source] parking::Error),
    /// The journal couldn't be read.
    #[error("reading the journal {topic}")]
    History {
        /// Which topic.
        topic: String,
        /// The cause.
        #[source]
        source: extent::Error,
    },
    /// A position could not be set.
    #[error("setting positions")]
    Position(#[source] intake::operate::Error),
    /// An input could not be fed again.
    #[error("feeding an input again")]
    Input(#[source] again::Error),
    /// Parked inputs could not be dropped.
    #[error("dropping parked inputs")]
    Parked(#[source] Box<parking::operate::Refused>),
    /// The HTTP listener failed.
    #[error("HTTP")]
    Http(#[source] std::io::Error),
    /// A part ended by itself.
    #[error("{part} ended unexpectedly")]
    Ended {
        /// Which.
        part: &'static str,
    },
    /// A part panicked; the panic itself was logged.
    #[error("{part} panicked")]
    Panicked {
        /// Which.
        part: &'static str,
    },
    /// It took too long.
    #[error("waited {} s for {what} (`process.wait`)", waited.as_secs())]
    GaveUp {
        /// For what.
        what: &'static str,
        /// How long.
        waited: Duration,
        /// What was in the way last.
        #[source]
        source: Box<Error>,
    },
}

/// Where a service's tables are, and where its migrations would go instead.
#[derive(Debug, thiserror::Error)]
#[error(
    "the tables of {service} are in schema {there}{}, but its migrations would create a second, empty set in {}: the search \
     path of {role} is {path}. Put {there} first and retry: `alter role {role} in database {database} set search_path = \
     {there}`",
    if *seen { "" } else { " (presumably: this role can't read the migrations table there)" },
    here.as_ref().map_or_else(|| "no schema".to_owned(), |here| format!("schema {here}"))
)]
pub struct Elsewhere {
    /// Which service.
    pub service: String,
    /// Where they are.
    pub there: String,
    /// Whether the record of its migrations was read there.
    pub seen: bool,
    /// The first schema of the search path that is there.
    pub here: Option<String>,
    /// The search path.
    pub path: String,
    /// Whose it is.
    pub role: String,
    /// Which database.
    pub database: String,
}

impl Error {
    /// Whether it ends by itself: worth waiting for.
    pub fn is_transient(&self) -> bool {
        match self {
            // A database that refuses (wrong password, no such database) may be about to be set up; the reason is told meanwhile.
            Self::Database { .. } => true,
            Self::Migrations(e) => e.is_transient(),
            Self::Surroundings(e) => e.is_transient(),
            Self::Topics(e) => e.is_transient(),
            Self::Relay(e) => !e.is_fatal(),
            Self::Schemas(e) => e.is_transient(),
            _ => false,
        }
    }
}
