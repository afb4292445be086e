//! Values as bytes: Avro in Confluent's wire format, with schemas kept by a registry, or JSON.
//!
//! A [`Codec`] writes one of the two ([`Codec::encoding`]) and reads both: the record's `content-type` says which it is
//! ([`Codec::for_content_type`]). JSON has no registry and no schema: what keeps its releases readable is discipline. Fields that the reader
//! doesn't know are skipped, those that it lacks are refused unless they are optional. A third [`Format`] is its user's to call,
//! with [`outbox::NewEvent::new`](crate::publish::outbox::NewEvent::new) and in a handler.
//!
//! **At start** a service [registers](Codec::register) the types that it publishes and says which it [hears](Codec::add_reader_schema).
//! A subject is `<topic>-<record full name>` and demands FULL_TRANSITIVE, unless [configured](crate::codec::Registry) otherwise:
//! every version reads every other, so producers and consumers are released in any order. Ids once seen are kept in the service's
//! database. A registry that is down or refuses stops nobody who has started before with the same schemas.
//!
//! **What was once true is asked again**, at each start and every few minutes ([`Codec::refresh`]): a registry that has lost its
//! contents gets back what is written here, and if it numbers schemas anew, that is said. An id that has come to mean another
//! schema is no longer read: what was written before and after can't be told apart by it.
//!
//! **While running**, encoding and decoding are pure and synchronous. The schemas behind the ids of a batch are loaded
//! before it, with [`Codec::prepare`]: from memory, the database, the registry, in this order. So what decoding can
//! meet is bad data, which parks, and what preparing can meet is trouble that ends, which is waited for. An id that the registry
//! alone has no answer for, while it answers for others, counts as the former: its values park and are tried again.
//!
//! **Two ways to decode.** A value whose schema is ours, but for docs and defaults, is read straight from the bytes; one
//! written by an older or newer release goes through Avro's resolution. Which one is decided once an id. The straight way wants more
//! of a Rust type than writing did, such as the record's name; a value that it refuses goes through Avro's generic value as well.
//!
//! **Invariant:** no bytes, whoever wrote them, make decoding panic, run without end, or allocate more than a few tens
//! of megabytes; bytes that are cut short or followed by others are errors, never a value.

#[cfg(not(feature = "avro"))]
mod absent;
#[cfg(feature = "avro")]
mod ask;
#[cfg(feature = "avro")]
mod avro;
mod encoding;
mod error;
pub mod format;
mod frame;
#[cfg(feature = "avro")]
mod framing;
mod guard;
mod json;
#[cfg(not(feature = "avro"))]
mod no_registry;
#[cfg(feature = "avro")]
mod registry;
#[cfg(feature = "avro")]
mod remote;
#[cfg(feature = "avro")]
mod schema;
#[cfg(feature = "avro")]
mod state;
#[cfg(feature = "avro")]
mod store;
#[cfg(all(test, feature = "avro"))]
mod tests;

use std::borrow::Cow;
use std::sync::Arc;
use std::sync::atomic::AtomicU32;
use std::sync::atomic::Ordering::Relaxed;

use serde::Serialize;
use serde::de::DeserializeOwned;

use crate::ground::error::chain_of;
use frame::split;
use guard::guarded;

#[cfg(not(feature = "avro"))]
use absent::Remote;
#[cfg(feature = "avro")]
use remote::Remote;

#[cfg(not(feature = "avro"))]
pub use absent::Avro;
#[cfg(feature = "avro")]
pub use avro::Avro;
pub use encoding::Encoding;
pub use error::Error;
pub use format::{Format, RecordType};
pub use json::Json;

pub use crate::wire::settings::{Compatibility, Register, Registry, Subjects};

/// Encodes and decodes. Clones share everything but the format that they write.
///
/// ```
/// use farandole_outbox::Codec;
/// use serde::{Deserialize, Serialize};
///
/// #[derive(Debug, PartialEq, Serialize, Deserialize)]
/// struct Paid {
///     invoice: i64,
/// }
///
/// let codec = Codec::json();
/// let bytes = codec.encode("billing.Paid", &Paid { invoice: 17 })?;
/// assert_eq!(codec.decode::<Paid>("billing.Paid", &bytes)?, Paid { invoice: 17 });
/// # Ok::<(), farandole_outbox::codec::Error>(())
/// ```
///
/// In Avro, with a registry, which needs the feature `avro`:
///
#[cfg_attr(feature = "avro", doc = "```no_run")]
#[cfg_attr(not(feature = "avro"), doc = "```text")]
/// use farandole_outbox::codec::{Codec, RecordType, Register, Registry, Subjects};
///
/// const PAID: RecordType = RecordType {
///     name: "billing.Paid",
///     schema: r#"{"type": "record", "name": "Paid", "namespace": "billing", "fields": [{"name": "invoice", "type": "long"}]}"#,
///     topic: "billing",
/// };
///
/// # async fn make(pool: sqlx::PgPool) -> Result<(), farandole_outbox::codec::Error> {
/// // A company's registry, which programs only read.
/// let registry = Registry {
///     url: "https://registry.acme.example".to_owned(),
///     register: Register::Lookup,
///     subjects: Subjects::Topic,
///     ..Registry::default()
/// };
/// let codec = Codec::with(&registry, pool); // the pool of a database with the kit's tables, where answers are kept
/// codec.register("billing", &[PAID]).await?; // what is published: ids, as the registry has them
/// codec.add_reader_schema(&[PAID])?; // what is only read
/// # Ok(())
/// # }
/// ```
#[derive(Clone)]
pub struct Codec {
    avro: Avro,
    /// None: offline.
    remote: Option<Arc<Remote>>,
    encoding: Encoding,
}

/// How many values of a type have been read back by [`Codec::encode_proving`], by format.
#[derive(Debug, Default)]
pub struct Proofs([AtomicU32; 2]);

impl Proofs {
    /// None yet.
    pub const fn new() -> Self {
        Self([AtomicU32::new(0), AtomicU32::new(0)])
    }

    /// Values of one type differ in which optional parts they have; so many show most of that, and cost nothing later.
    const MOST: u32 = 64;

    fn are_due(&self, encoding: Encoding) -> bool {
        let done = &self.0[usize::from(encoding == Encoding::Json)];
        done.load(Relaxed) < Self::MOST && done.fetch_add(1, Relaxed) < Self::MOST
    }
}

impl Codec {
    /// A codec of JSON alone, without a registry. Nothing needs to be registered with it.
    pub fn json() -> Self {
        Self { avro: Avro::default(), remote: None, encoding: Encoding::Json }
    }

    /// The same, writing values so. It reads both, by what each record says.
    #[must_use]
    pub fn encoding(self, encoding: Encoding) -> Self {
        Self { encoding, ..self }
    }

    /// Adds the schemas of types that are only read: values of these names come out as these schemas say, whatever version they were
    /// written with. Types that are [registered](Codec::register) needn't be added.
    ///
    /// # Errors
    /// [`Error::Schema`] for a schema that can't be used, or a second one under a name.
    pub fn add_reader_schema(&self, types: &[RecordType]) -> Result<(), Error> {
        // A type without a schema comes as JSON only.
        types.iter().filter(|t| !t.schema.is_empty()).try_for_each(|t| self.know_as(t, None))
    }

    /// `value`, of the registered type `name`, as bytes.
    ///
    /// # Errors
    /// [`Error::UnknownType`] when the type isn't registered, [`Error::Encode`] when the value doesn't fit its schema.
    pub fn encode<T: Serialize>(&self, name: &str, value: &T) -> Result<Vec<u8>, Error> {
        // A type's own code runs in it, and may panic: that is this value's fault, and no thread's end.
        let encoded = guarded(|| match self.encoding {
            Encoding::Avro => self.avro.encode(name, value),
            Encoding::Json => Json.encode(name, value),
        });
        encoded.unwrap_or_else(|| Err(Error::Broke { doing: "writing", name: name.into() }))
    }

    /// Like [`Codec::encode`], but decodes the first values of a type again: a Rust type that can't be read back is detected by
    /// the producer, not by every consumer of a published record.
    ///
    /// # Errors
    /// [`Error::OneWay`] too.
    pub fn encode_proving<T>(&self, name: &str, value: &T, proofs: &Proofs) -> Result<Vec<u8>, Error>
    where
        T: Serialize + DeserializeOwned + PartialEq,
    {
        let bytes = self.encode(name, value)?;
        if proofs.are_due(self.encoding) {
            let failed = |reason| Error::OneWay { name: name.into(), reason };
            let back: T = self.decode(name, &bytes).map_err(|error| failed(chain_of(&error)))?;
            // What isn't equal to itself (NaN) or isn't written at all shows in the bytes only.
            if back != *value && self.encode(name, &back)? != bytes {
                return Err(failed("it decodes to a different value".into()));
            }
        }
        Ok(bytes)
    }

    /// The schema id in front of an Avro value.
    ///
    /// # Errors
    /// [`Error::NotFramed`].
    pub fn schema_id(bytes: &[u8]) -> Result<i32, Error> {
        split(bytes).map(|(id, _)| id)
    }

    /// The value in `bytes`, which the caller expects to be of the type `name` (`ce_type`).
    ///
    /// # Errors
    /// None of them passes; see [`Error`]. [`Codec::prepare`] comes first.
    pub fn decode<T: DeserializeOwned>(&self, name: &str, bytes: &[u8]) -> Result<T, Error> {
        let decoded = guarded(|| match self.encoding {
            Encoding::Avro => self.avro.decode(name, bytes),
            Encoding::Json => Json.decode(name, bytes),
        });
        decoded.unwrap_or_else(|| Err(Error::Broke { doing: "reading", name: name.into() }))
    }

    /// What header `content-type` of its values says.
    pub fn content_type(&self) -> &'static str {
        self.encoding.content_type()
    }

    /// The headers that its values need beside those of every record.
    pub fn headers(&self) -> Option<serde_json::Value> {
        (self.encoding != Encoding::Avro).then(|| serde_json::json!({ "content-type": self.content_type() }))
    }

    /// This codec, for a value whose record says `content_type`. Without one, or with one that it doesn't know, itself.
    pub fn for_content_type(&self, content_type: Option<&str>) -> Cow<'_, Self> {
        match content_type.and_then(Encoding::of_content_type) {
            Some(encoding) if encoding != self.encoding => Cow::Owned(Self { encoding, ..self.clone() }),
            _ => Cow::Borrowed(self),
        }
    }
}

impl std::fmt::Debug for Codec {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        // The registry's address may hold a password.
        f.debug_struct("Codec").field("offline", &self.remote.is_none()).finish_non_exhaustive()
    }
}
