//! Why nothing was parked, released or dropped.

use crate::wire::codec;

/// Why the tables of what is parked, or the journal, couldn't be written. The transaction it was part of can't be committed.
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
    /// No more can be parked.
    #[error("{0}")]
    Full(String),
    /// An input that can't be kept.
    #[error("{0}")]
    Unkept(String),
    /// An event of the journal that could not be encoded.
    #[error("encoding an event of {name}")]
    Encode {
        /// Its type.
        name: &'static str,
        /// The cause.
        #[source]
        source: codec::Error,
    },
}

impl Error {
    /// Adds where it happened to a database error.
    pub(crate) fn database(doing: &'static str, inputs: usize) -> impl FnOnce(sqlx::Error) -> Self {
        move |source| Self::Database { doing, inputs, source }
    }
}
