//! What can go wrong, sorted by what to do about it.

#[cfg(not(feature = "avro"))]
use std::convert::Infallible as Avro;

#[cfg(feature = "avro")]
use apache_avro::Error as Avro;

use crate::ground::trouble::{self, Trouble, Troubled};

/// Trouble with a value, a schema, the registry or the database.
///
/// [`Error::is_passing`] says which: trouble that ends is waited for, bad data parks, a refused schema stops the start.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// A type that this codec was never told of, by [`register`](super::Codec::register) or [`know`](super::Codec::add_reader_schema).
    #[error("the type {name} isn't known here")]
    UnknownType {
        /// Its full name.
        name: String,
    },
    /// A value that doesn't fit its schema. A mistake in the program.
    #[error("encoding a {name}")]
    Encode {
        /// The type's full name.
        name: String,
        /// Avro's reason.
        #[source]
        source: Box<Avro>,
    },
    /// A value that was written and can't be read back. A mistake in the program.
    #[error("a {name} can't be read back once it is written: {reason}")]
    OneWay {
        /// The type's full name.
        name: String,
        /// What reading said.
        reason: String,
    },
    /// A value that can't be written as JSON. A mistake in the program.
    #[error("encoding a {name} as JSON")]
    EncodeJson {
        /// The type's full name.
        name: String,
        /// The reason.
        #[source]
        source: serde_json::Error,
    },
    /// JSON, or something else, that is no object.
    #[error("reading a {name}: the value is no JSON object")]
    NoObject {
        /// The type's full name.
        name: String,
    },
    /// JSON that isn't a value of the type.
    #[error("reading a {name} from JSON, field `{field}`")]
    Json {
        /// The type's full name.
        name: String,
        /// Its path; `.` is the whole.
        field: String,
        /// What is wrong.
        #[source]
        source: serde_json::Error,
    },
    /// Bytes that don't begin with 0 and a schema id.
    #[error("{len} bytes without a schema id in front")]
    NotFramed {
        /// How many there were.
        len: usize,
    },
    /// The registry doesn't know this id, or nobody has called [`prepare`](super::Codec::prepare) for it.
    #[error("no schema has the id {id}")]
    UnknownSchema {
        /// The id in the bytes.
        id: i32,
    },
    /// The registry answers, but not for this id.
    #[error("the registry answers, but not for the schema {id}: {reason}")]
    Withheld {
        /// The id in the bytes.
        id: i32,
        /// What it said, or that it kept silent.
        reason: String,
    },
    /// The schema behind the id isn't one that this crate reads.
    #[error("the schema {id} can't be used: {reason}")]
    UnusableSchema {
        /// The id in the bytes.
        id: i32,
        /// Why not.
        reason: String,
    },
    /// The schema behind the id describes another record than the one expected.
    #[error("the bytes are a {found} (schema {id}), not a {expected}")]
    OtherRecord {
        /// The id in the bytes.
        id: i32,
        /// The full name that the caller expects.
        expected: String,
        /// The full name in the schema.
        found: String,
    },
    /// Bytes that aren't a value of their schema, or can't be read as ours.
    #[error("reading a {name} written with schema {id}")]
    Corrupt {
        /// The type's full name.
        name: String,
        /// The id in the bytes.
        id: i32,
        /// Avro's reason.
        #[source]
        source: Box<Avro>,
    },
    /// The decoder gave up with a panic, which was caught.
    #[error("reading a {name} written with schema {id} made the decoder panic")]
    Panicked {
        /// The type's full name.
        name: String,
        /// The id in the bytes.
        id: i32,
    },
    /// The type's own code panicked, which was caught; the panic itself was logged.
    #[error("{doing} a {name}: its code panicked")]
    Broke {
        /// `reading` or `writing`.
        doing: &'static str,
        /// The type's full name.
        name: String,
    },
    /// Bytes left over behind the value.
    #[error("{extra} bytes follow a {name} written with schema {id}")]
    Trailing {
        /// The type's full name.
        name: String,
        /// The id in the bytes.
        id: i32,
        /// How many.
        extra: usize,
    },
    /// A schema of our own that can't be used. A mistake in the program.
    #[error("the schema of {name} can't be used: {reason}")]
    Schema {
        /// The type's full name.
        name: String,
        /// Why not.
        reason: String,
    },
    /// The registry refuses a schema because of what its subject demands of versions.
    #[error("the schema for {subject} isn't compatible with those before it: {message}")]
    Incompatible {
        /// As `registry.subjects` names it.
        subject: String,
        /// The registry's words.
        message: String,
    },
    /// It isn't registered, and this service registers nothing.
    #[error(
        "the registry doesn't hold this build's schema under {subject}, and `registry.register = \"lookup\"`: whoever registers schemas has \
         to do so, or set it to true. The schema: {schema}"
    )]
    NotRegistered {
        /// The subject.
        subject: String,
        /// What it has to hold, in one line.
        schema: String,
    },
    /// An id that means one schema in the registry and another in what was read and written before.
    #[error(
        "the registry holds another schema under id {id} than before ({what}): it lost its contents and numbers anew, and records can't \
         be told apart by it. Restore the registry; or, once every record written before is read everywhere, \
         `delete from farandole.schemas where id = {id}` takes the new meaning"
    )]
    Reused {
        /// The id.
        id: i32,
        /// What it was met for.
        what: String,
    },
    /// Avro is asked for, and isn't there.
    #[error("a {name} is to be Avro, and this program was built without the feature `avro`: build it with, or write JSON")]
    NoAvro {
        /// The type's full name.
        name: String,
    },
    /// One subject a topic, and several types.
    #[error(
        "`registry.subjects = \"topic\"` has one subject a topic, and {topic} has {types} types of event: \
         set it to \"topic-record\" or \"record\""
    )]
    OneSubject {
        /// The topic.
        topic: String,
        /// How many.
        types: usize,
    },
    /// The registry answers, and refuses: rights, a read-only registry, a wrong address.
    #[error("the registry refuses {what} with status {status}: {message}")]
    Refused {
        /// The call.
        what: String,
        /// HTTP status.
        status: u16,
        /// The registry's words.
        message: String,
    },
    /// The registry can't be reached, or has trouble of its own.
    #[error("the registry fails at {what}")]
    Registry {
        /// The call.
        what: String,
        /// The reason.
        #[source]
        source: Box<dyn std::error::Error + Send + Sync>,
    },
    /// The database that keeps the ids seen.
    #[error("the database fails at {what}")]
    Database {
        /// The statement's purpose.
        what: &'static str,
        /// The reason.
        #[source]
        source: sqlx::Error,
    },
}

impl Error {
    /// Whether the same call may succeed later, unchanged: the registry's or the database's trouble, not the data's.
    pub fn is_passing(&self) -> bool {
        self.trouble().passes()
    }
}

impl Troubled for Error {
    fn trouble(&self) -> Trouble {
        match self {
            // Whatever the two say, no value is the cause: none is asked about.
            Self::Registry { .. } | Self::Database { .. } | Self::NotRegistered { .. } => Trouble::Dependency,
            Self::Refused { status, .. } => trouble::http(*status, true),
            Self::Schema { .. } | Self::Incompatible { .. } => Trouble::Person,
            Self::Reused { .. } | Self::OneSubject { .. } | Self::NoAvro { .. } => Trouble::Person,
            Self::UnknownType { .. } | Self::Encode { .. } | Self::EncodeJson { .. } | Self::NoObject { .. } => Trouble::Input,
            Self::Json { .. } | Self::NotFramed { .. } | Self::UnknownSchema { .. } | Self::Withheld { .. } => Trouble::Input,
            Self::UnusableSchema { .. } | Self::OtherRecord { .. } | Self::Corrupt { .. } => Trouble::Input,
            Self::Panicked { .. } | Self::Broke { .. } | Self::Trailing { .. } | Self::OneWay { .. } => Trouble::Input,
        }
    }
}
