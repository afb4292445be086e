//! What can go wrong, sorted by what to do about it.

#[cfg(not(feature = "avro"))]
use std::convert::Infallible as Avro;

#[cfg(feature = "avro")]
use apache_avro::Error as Avro;

use crate::ground::trouble::{self, Trouble, Troubled};

/// Trouble with a value, a schema, the registry or the database.
///
/// [`Error::is_transient`] says which: trouble that ends is waited for, bad data parks, a refused schema stops the start.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// A type that this codec was never told of, by [`register`](super::Codec::register) or [`know`](super::Codec::add_reader_schema).
    #[error(
        "type {name} is not registered with this codec: to read it, call `codec.add_reader_schema(Event::TYPES)`; to publish it, \
         `codec.register(topic, Event::TYPES)`"
    )]
    UnknownType {
        /// Its full name.
        name: String,
    },
    /// A value that doesn't fit its schema. A mistake in the program.
    #[error("encoding {name}")]
    Encode {
        /// The type's full name.
        name: String,
        /// Avro's reason.
        #[source]
        source: Box<Avro>,
    },
    /// A value that was written and can't be read back. A mistake in the program.
    #[error("{name} can be written but not read back: {reason}")]
    OneWay {
        /// The type's full name.
        name: String,
        /// What reading said.
        reason: String,
    },
    /// A value that can't be written as JSON. A mistake in the program.
    #[error("encoding {name} as JSON")]
    EncodeJson {
        /// The type's full name.
        name: String,
        /// The reason.
        #[source]
        source: serde_json::Error,
    },
    /// JSON, or something else, that is no object.
    #[error("reading {name}: the value is not a JSON object")]
    NoObject {
        /// The type's full name.
        name: String,
    },
    /// JSON that isn't a value of the type.
    #[error("reading {name} from JSON, field `{field}`")]
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
    #[error("{len} bytes without a leading schema id")]
    NotFramed {
        /// How many there were.
        len: usize,
    },
    /// The registry doesn't know this id, or nobody has called [`prepare`](super::Codec::prepare) for it.
    #[error("the registry has no schema with id {id}")]
    UnknownSchema {
        /// The id in the bytes.
        id: i32,
    },
    /// The registry answers, but not for this id.
    #[error("the registry is up but refuses schema {id}: {reason}")]
    Withheld {
        /// The id in the bytes.
        id: i32,
        /// What it said, or that it kept silent.
        reason: String,
    },
    /// The schema behind the id isn't one that this crate reads.
    #[error("schema {id} can't be used: {reason}")]
    UnusableSchema {
        /// The id in the bytes.
        id: i32,
        /// Why not.
        reason: String,
    },
    /// The schema behind the id describes another record than the one expected.
    #[error("expected {expected}, found {found} (schema {id})")]
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
    #[error("the decoder panicked reading {name} written with schema {id}")]
    Panicked {
        /// The type's full name.
        name: String,
        /// The id in the bytes.
        id: i32,
    },
    /// The type's own code panicked, which was caught; the panic itself was logged.
    #[error("{doing} {name}: its code panicked")]
    Broke {
        /// `reading` or `writing`.
        doing: &'static str,
        /// The type's full name.
        name: String,
    },
    /// Bytes left over behind the value.
    #[error("{extra} trailing bytes after {name} written with schema {id}")]
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
    #[error("the schema for {subject} isn't compatible with earlier versions: {message}")]
    Incompatible {
        /// As `registry.subjects` names it.
        subject: String,
        /// The registry's words.
        message: String,
    },
    /// It isn't registered, and this service registers nothing.
    #[error(
        "the registry doesn't hold this build's schema under {subject}, and `registry.register` is \"lookup\": have it \
         registered, or set `registry.register` to true. The schema: {schema}"
    )]
    NotRegistered {
        /// The subject.
        subject: String,
        /// What it has to hold, in one line.
        schema: String,
    },
    /// An id that means one schema in the registry and another in what was read and written before.
    #[error(
        "the registry holds a different schema under id {id} than before ({what}): it lost its contents and reassigns ids, so \
         records with this id are ambiguous. Restore the registry; or, once all records written before have been read \
         everywhere, accept the new meaning with `delete from farandole.schemas where id = {id}`"
    )]
    Reused {
        /// The id.
        id: i32,
        /// What it was met for.
        what: String,
    },
    /// Avro is asked for, and isn't there.
    #[error("{name} is Avro, but this program was built without feature `avro`: enable it, or use JSON")]
    NoAvro {
        /// The type's full name.
        name: String,
    },
    /// One subject a topic, and several types.
    #[error(
        "`registry.subjects = \"topic\"` has one subject per topic, but {topic} has {types} event types: set it to \
         \"topic-record\" or \"record\""
    )]
    OneSubject {
        /// The topic.
        topic: String,
        /// How many.
        types: usize,
    },
    /// The registry answers, and refuses: rights, a read-only registry, a wrong address.
    #[error("the registry refused {what} with status {status}: {message}")]
    Refused {
        /// The call.
        what: String,
        /// HTTP status.
        status: u16,
        /// The registry's words.
        message: String,
    },
    /// The registry can't be reached, or has trouble of its own.
    #[error("the registry failed at {what}")]
    Registry {
        /// The call.
        what: String,
        /// The reason.
        #[source]
        source: Box<dyn std::error::Error + Send + Sync>,
    },
    /// The database that keeps the ids seen.
    #[error("the database failed at {what}{}", lacking(source))]
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
    pub fn is_transient(&self) -> bool {
        self.trouble().is_transient()
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

/// What to do where the kit's tables aren't there yet (SQLSTATE 42P01, undefined table).
fn lacking(source: &sqlx::Error) -> &'static str {
    let lacks = source.as_database_error().is_some_and(|e| e.code().as_deref() == Some("42P01"));
    if lacks { ": it lacks the kit's tables; call `migrate` before, or run `farandole migrate`" } else { "" }
}
