//! Why a batch was not committed.

use crate::database::gate;
use crate::ground::trouble::{Trouble, Troubled};
use crate::parking;
use crate::wire::codec;

/// Why a batch was not committed. Nothing of it has happened.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The database's word.
    #[error("batch of {inputs} input(s): {doing}")]
    Database {
        /// What was being done.
        doing: &'static str,
        /// How many inputs.
        inputs: usize,
        /// The cause.
        #[source]
        source: sqlx::Error,
    },
    /// Somebody else has moved on from where this batch began: this owner has lost its partition or claim.
    #[error("fenced: {0}")]
    Fenced(String),
    /// No more can be parked.
    #[error("{0}")]
    Full(String),
    /// The database isn't known to be what the topics continue: nothing is decided on it; see
    /// [`History`](crate::publish::relay::History).
    #[error("{0}")]
    Parted(String),
    /// An event that could not be encoded: a fault of the service.
    #[error("encoding an event of {name}")]
    Encode {
        /// Its type.
        name: &'static str,
        /// The cause.
        #[source]
        source: codec::Error,
    },
    /// The decision read a row that `touches` didn't name: a fault of the participant.
    #[error("decide() or evolve() read row {0}, which touches() doesn't name")]
    Untouched(String),
    /// The participant or handler panicked.
    #[error("the service's code panicked: {0}")]
    Panicked(String),
    /// A handler's word on a record of the batch.
    #[error("refused: {0}")]
    Refused(String),
    /// A handler's word on something that will be there later.
    #[error("not yet: {0}")]
    NotYet(String),
}

impl Error {
    /// Adds where it happened to a database error.
    pub fn database(doing: &'static str, inputs: usize) -> impl FnOnce(sqlx::Error) -> Self {
        move |source| Self::Database { doing, inputs, source }
    }

    /// Whether trying each owner's part alone may help: everything but a dependency that is away for all.
    pub(crate) fn is_isolatable(&self) -> bool {
        !matches!(self, Self::Database { .. } | Self::Parted(_)) || self.trouble() != Trouble::Dependency
    }

    /// Whether the batch may have happened although it failed: nobody knows how its commit ended.
    pub(crate) fn maybe_happened(&self) -> bool {
        match self {
            Self::Database { doing: ANSWER, .. } => true,
            // An answer of the server's other than that it ends means that nothing was committed.
            Self::Database { doing: COMMIT, source, .. } => matches!(source.trouble(), Trouble::Session | Trouble::Dependency),
            _ => false,
        }
    }
}

/// Words for what was being done, where it makes a difference.
pub(crate) const CONNECT: &str = "waiting for a connection";

pub(crate) const COMMIT: &str = "commit";

pub(crate) const ANSWER: &str = "waiting for the database's answer";

impl From<parking::Error> for Error {
    fn from(error: parking::Error) -> Self {
        match error {
            parking::Error::Database { doing, inputs, source } => Self::Database { doing, inputs, source },
            parking::Error::Full(why) => Self::Full(why),
            parking::Error::Unkept(why) => Self::Refused(why),
            parking::Error::Encode { name, source } => Self::Encode { name, source },
        }
    }
}

impl Troubled for Error {
    fn trouble(&self) -> Trouble {
        match self {
            // Whatever keeps us from connecting or beginning (a heal is under way), no input is the cause.
            Self::Database { doing: CONNECT | gate::BEGIN, .. } => Trouble::Dependency,
            // It took too long, so perhaps there is too much of it. A database that is away refuses the next connection.
            Self::Database { doing: ANSWER, .. } => Trouble::Size,
            Self::Database { source, .. } => source.trouble(),
            Self::Encode { .. } | Self::Untouched(_) | Self::Panicked(_) | Self::Refused(_) => Trouble::Input,
            Self::Fenced(_) => Trouble::Owner,
            Self::Full(_) => Trouble::Person,
            Self::NotYet(_) | Self::Parted(_) => Trouble::Dependency,
        }
    }
}
