//! Why events can't be folded.

use crate::publish::relay;
use crate::wire::codec;

/// Why events can't be folded.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    #[error("{doing}")]
    Database {
        doing: &'static str,
        #[source]
        source: sqlx::Error,
    },
    #[error("reading schemas")]
    Schemas(#[source] codec::Error),
    #[error("reading the topic's first events")]
    Reading(#[source] relay::Error),
    /// A type that this build doesn't know, at topic/partition@offset.
    #[error("{place} is a {kind}, which this build doesn't know: use the build that wrote it, or a newer one")]
    UnknownType { place: String, kind: String },
    /// A record that can't be read, at topic/partition@offset.
    #[error("{place} can't be read: {reason}")]
    Unreadable { place: String, reason: String },
    /// `evolve` or `follow_up` failed.
    #[error("{0}")]
    Evolve(String),
}

impl Error {
    pub fn database(doing: &'static str) -> impl FnOnce(sqlx::Error) -> Self {
        move |source| Self::Database { doing, source }
    }
}
