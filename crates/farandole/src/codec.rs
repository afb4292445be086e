//! Values as bytes: Avro in Confluent's wire format, with schemas kept by a registry.
//!
//! **At start** a service [registers](Codec::register) the types that it publishes and says which it [hears](Codec::know).
//! A subject is `<topic>-<record full name>` and demands FULL_TRANSITIVE: every version reads every other, so producers
//! and consumers are released in any order. Ids once seen are kept in the service's database. A registry that is down
//! stops nobody who has started before with the same schemas: then no call is made at all.
//!
//! **While running**, encoding and decoding are pure and synchronous. The schemas behind the ids of a batch are loaded
//! before it, with [`Codec::prepare`]: from memory, the database, the registry, in this order. So what decoding can
//! meet is bad data, which parks, and what preparing can meet is trouble that ends, which is waited for.
//!
//! **Two ways to decode.** A value whose schema is ours, but for docs and defaults, is read straight from the bytes; one
//! written by an older or newer release goes through Avro's resolution. Which one is decided once an id.
//!
//! **Invariant:** no bytes, whoever wrote them, make decoding panic, run without end, or allocate more than a few tens
//! of megabytes; bytes that are cut short or followed by others are errors, never a value.

mod error;
mod frame;
mod registry;
mod schema;
mod state;
mod store;
#[cfg(test)]
mod tests;

use std::sync::{Arc, PoisonError, RwLock, RwLockReadGuard, RwLockWriteGuard};

use futures_util::{StreamExt, stream};
use serde::{Serialize, de::DeserializeOwned};
use sqlx::PgPool;

pub use self::error::Error;
use self::{
    frame::{Frame, split},
    registry::{Found, Registry},
    schema::{Parsed, fingerprint, guarded, intern},
    state::{Slot, State, Way},
};
use crate::RecordType;

/// Schema look-ups at the registry at the same time.
const LOOKUPS: usize = 8;
/// Encodes and decodes. Clones share everything.
#[derive(Clone)]
pub struct Codec {
    state: Arc<RwLock<State>>,
    /// None: offline.
    remote: Option<Arc<Remote>>,
}

struct Remote {
    registry: Registry,
    pool: PgPool,
}

impl Codec {
    /// A codec that knows no type yet. Makes no call.
    ///
    /// `registry_url` is the base of the registry's Confluent interface; a user and password in it are sent along.
    /// `pool` is the database with the kit's tables.
    pub fn new(registry_url: &str, pool: PgPool) -> Self {
        Self { state: Arc::default(), remote: Some(Arc::new(Remote { registry: Registry::new(registry_url), pool })) }
    }

    /// A codec with made-up ids, without registry and database, for pure tests and benchmarks.
    ///
    /// An id follows from the schema, so that two of them with the same types read each other. A type whose schema
    /// can't be used is left out, loudly; encoding it says [`Error::UnknownType`].
    pub fn offline(types: &[RecordType]) -> Self {
        let codec = Self { state: Arc::default(), remote: None };
        for t in types {
            if let Err(error) = codec.know_as(t, Some(made_up_id(t.schema))) {
                tracing::error!(%error, "left out");
            }
        }
        codec
    }

    /// Registers the types that a service publishes to `topic`, and gives each its id.
    ///
    /// # Errors
    /// Passing ([`Error::is_passing`]) when the registry or the database can't be reached and something isn't known
    /// yet: try again later. [`Error::Incompatible`], [`Error::Refused`] and [`Error::Schema`] don't end by waiting.
    pub async fn register(&self, topic: &str, types: &[RecordType]) -> Result<(), Error> {
        self.know(types)?;
        let Some(remote) = &self.remote else {
            return types.iter().try_for_each(|t| self.know_as(t, Some(made_up_id(t.schema))));
        };
        let subjects: Vec<String> = types.iter().map(|t| format!("{topic}-{}", t.name)).collect();
        let mut kept = store::subjects(&remote.pool, &subjects).await?;
        for (t, subject) in types.iter().zip(subjects) {
            let key = (subject, fingerprint(t.schema).to_vec());
            let id = match kept.remove(&key) {
                Some(id) => id,
                None => {
                    let id = remote.registry.register(&key.0, t.schema).await?;
                    store::keep_subject(&remote.pool, &key.0, &key.1, id, t.schema).await?;
                    tracing::debug!(subject = key.0, id, "schema registered");
                    id
                }
            };
            self.know_as(t, Some(id))?;
        }
        Ok(())
    }

    /// Adds the types that a service hears: values of these names are read as these schemas.
    ///
    /// # Errors
    /// [`Error::Schema`] for a schema that can't be used, or a second one under a name.
    pub fn know(&self, types: &[RecordType]) -> Result<(), Error> {
        types.iter().try_for_each(|t| self.know_as(t, None))
    }

    /// Loads the schemas behind `ids`, those in front of a batch's values ([`Codec::schema_id`]). Free when all are held.
    ///
    /// An id that the registry doesn't know is no error here: decoding says [`Error::UnknownSchema`]. It is asked for
    /// again after 10 seconds.
    ///
    /// # Errors
    /// Passing, always but for [`Error::Refused`]: the registry or the database can't be reached.
    pub async fn prepare(&self, ids: impl IntoIterator<Item = i32>) -> Result<(), Error> {
        let mut missing = self.read().missing(ids);
        let (false, Some(remote)) = (missing.is_empty(), &self.remote) else { return Ok(()) };
        let wanted: Vec<i32> = missing.iter().copied().collect();
        for (id, text) in store::schemas(&remote.pool, &wanted).await? {
            missing.remove(&id);
            self.add(id, &text);
        }
        let lookups = missing.into_iter().map(async |id| (id, remote.registry.schema(id).await));
        let answers: Vec<_> = stream::iter(lookups).buffer_unordered(LOOKUPS).collect().await;
        let (mut found, mut failed) = (Vec::new(), None);
        for (id, answer) in answers {
            match answer {
                Ok(Found::Avro(text)) => {
                    self.add(id, &text);
                    found.push((id, text));
                }
                Ok(Found::Foreign(reason)) => self.write().add_unusable(id, &reason),
                Ok(Found::Nothing) => self.write().add_absent(id),
                Err(error) => failed = Some(error),
            }
        }
        if !found.is_empty() {
            store::keep_schemas(&remote.pool, &found).await?;
        }
        failed.map_or(Ok(()), Err)
    }

    /// `value`, of the registered type `name`, as bytes in Confluent's wire format.
    ///
    /// # Errors
    /// [`Error::UnknownType`] when the type isn't registered, [`Error::Encode`] when the value doesn't fit its schema.
    pub fn encode<T: Serialize>(&self, name: &str, value: &T) -> Result<Vec<u8>, Error> {
        let known = self.read().known(name);
        let Some((schema, id)) = known.and_then(|k| Some((k.schema, k.id?))) else {
            return Err(Error::UnknownType { name: name.into() });
        };
        let mut frame = Frame::new(id);
        match schema.writer.write_ser(&mut frame, value) {
            Ok(_) => Ok(frame.into_bytes()),
            Err(source) => Err(Error::Encode { name: name.into(), source: source.into() }),
        }
    }

    /// The schema id in front of a value.
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
        let (id, mut datum) = split(bytes)?;
        let slot = self.read().slot(id);
        let (writer, way) = match slot {
            None => return Err(Error::UnknownSchema { id }),
            Some(Slot::Unusable(reason)) => return Err(Error::UnusableSchema { id, reason: reason.as_ref().into() }),
            Some(Slot::Schema { writer, way }) => (writer, way),
        };
        if writer.name != name {
            return Err(Error::OtherRecord { id, expected: name.into(), found: writer.name.clone() });
        }
        let read = match way {
            Way::None => return Err(Error::UnknownType { name: name.into() }),
            Way::Direct => guarded(|| writer.reader.read_deser::<T>(&mut datum)),
            Way::Resolve(reader) => {
                guarded(|| reader.read_value(&mut datum).and_then(|value| apache_avro::from_value::<T>(&value)))
            }
        };
        match read {
            None => Err(Error::Panicked { name: name.into(), id }),
            Some(Err(source)) => Err(Error::Corrupt { name: name.into(), id, source: source.into() }),
            Some(Ok(_)) if datum.left() > 0 => Err(Error::Trailing { name: name.into(), id, extra: datum.left() }),
            Some(Ok(value)) => Ok(value),
        }
    }

    fn know_as(&self, t: &RecordType, id: Option<i32>) -> Result<(), Error> {
        let unusable = |reason| Error::Schema { name: t.name.into(), reason };
        let schema: &'static Parsed = intern(t.schema).map_err(unusable)?;
        if schema.name != t.name {
            return Err(unusable(format!("it names a {}", schema.name)));
        }
        self.write().know(schema, id)
    }

    fn add(&self, id: i32, text: &str) {
        match intern(text) {
            Ok(schema) => self.write().add(id, schema),
            Err(reason) => self.write().add_unusable(id, &reason),
        }
    }

    // Poisoned or not, the state only ever gains whole entries.
    fn read(&self) -> RwLockReadGuard<'_, State> {
        self.state.read().unwrap_or_else(PoisonError::into_inner)
    }

    fn write(&self) -> RwLockWriteGuard<'_, State> {
        self.state.write().unwrap_or_else(PoisonError::into_inner)
    }
}

impl std::fmt::Debug for Codec {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        // The registry's address may hold a password.
        f.debug_struct("Codec").field("offline", &self.remote.is_none()).finish_non_exhaustive()
    }
}

/// An id that depends on the schema alone, and is never negative.
fn made_up_id(schema: &str) -> i32 {
    let [a, b, c, d, ..] = fingerprint(schema);
    i32::from_be_bytes([a & 0x7f, b, c, d])
}
