//! Values as bytes: Avro in Confluent's wire format, with schemas kept by a registry, or JSON.
//!
//! A [`Codec`] writes one of the two ([`Codec::writing`]) and reads both: the record's `content-type` says which it is
//! ([`Codec::of`]). JSON has no registry and no schema: what keeps its releases readable is discipline. Fields that the reader
//! doesn't know are skipped, those that it lacks are refused unless they are optional. A third [`Format`] is its user's to call,
//! with [`outbox::Event::new`](crate::outbox::Event::new) and in a [`Handler`](crate::Handler).
//!
//! **At start** a service [registers](Codec::register) the types that it publishes and says which it [hears](Codec::know).
//! A subject is `<topic>-<record full name>` and demands FULL_TRANSITIVE, unless [configured](crate::config::Registry) otherwise:
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

mod avro;
mod error;
mod frame;
mod json;
mod registry;
mod schema;
mod state;
mod store;
#[cfg(test)]
mod tests;

use std::borrow::Cow;
use std::collections::{BTreeMap, BTreeSet};
use std::sync::atomic::{AtomicU32, Ordering::Relaxed};
use std::sync::{Arc, Mutex, PoisonError, RwLockReadGuard, RwLockWriteGuard};
use std::time::Duration;

use futures_util::{StreamExt, stream};
use serde::{Serialize, de::DeserializeOwned};
use tokio_util::sync::CancellationToken;

pub use self::{avro::Avro, error::Error, json::Json};
use self::{
    frame::split,
    registry::{Found, Registry},
    schema::{Parsed, fingerprint, guarded, intern, same},
    state::{Slot, State},
};
use crate::RecordType;
use crate::config::{self, Subjects};
use crate::engine::{Sessions, chain_of};

/// How often the registry is asked for what was once true: what it has lost is missed by who is new, which nobody is every minute.
const REFRESH: Duration = Duration::from_secs(5 * 60);
/// Schema look-ups at the registry at the same time.
const LOOKUPS: usize = 8;
/// An id that no registry has given out. That it says so is an answer.
const NOBODYS: i32 = i32::MAX;

/// Encodes and decodes. Clones share everything but the format that they write.
#[derive(Clone)]
pub struct Codec {
    avro: Avro,
    /// None: offline.
    remote: Option<Arc<Remote>>,
    written: Written,
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

    fn are_due(&self, written: Written) -> bool {
        let done = &self.0[usize::from(written == Written::Json)];
        done.load(Relaxed) < Self::MOST && done.fetch_add(1, Relaxed) < Self::MOST
    }
}

/// A way to write values as bytes. Which one it was says header `content-type`.
pub trait Format {
    /// What the header says.
    const CONTENT_TYPE: &'static str;

    /// `value`, of the type with full name `name`, as bytes.
    ///
    /// # Errors
    /// When it can't be written.
    fn encode<T: Serialize>(&self, name: &str, value: &T) -> Result<Vec<u8>, Error>;

    /// The value of the type `name` in `bytes`: all of them, and nothing else.
    ///
    /// # Errors
    /// When they aren't one.
    fn decode<T: DeserializeOwned>(&self, name: &str, bytes: &[u8]) -> Result<T, Error>;
}

/// The formats that a codec has.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Written {
    /// [`Avro`], the default.
    Avro,
    /// [`Json`].
    Json,
}

impl Written {
    /// The format that a `content-type` names, parameters aside.
    pub fn of(content_type: &str) -> Option<Self> {
        // As the kit writes them: what nearly every record says.
        match content_type {
            Avro::CONTENT_TYPE => return Some(Self::Avro),
            Json::CONTENT_TYPE => return Some(Self::Json),
            _ => {}
        }
        let essence = content_type.split(';').next().unwrap_or_default().trim().to_ascii_lowercase();
        match essence.as_str() {
            "application/json" | "text/json" => Some(Self::Json),
            "application/avro" | "avro/binary" | "application/vnd.apache.avro" => Some(Self::Avro),
            other if other.ends_with("+json") => Some(Self::Json),
            other if other.ends_with("+avro") => Some(Self::Avro),
            _ => None,
        }
    }
}

struct Remote {
    registry: Registry,
    sessions: Sessions,
    subjects: Subjects,
    /// What this process has registered, by topic, to be asked for again.
    registered: Mutex<BTreeMap<String, (Vec<RecordType>, Subjects)>>,
    /// What the registry said last that isn't as it should be, by subject or id.
    troubles: Mutex<BTreeMap<String, String>>,
}

impl Remote {
    fn trouble(&self, about: &str, is: Option<String>) {
        let mut troubles = whole(self.troubles.lock());
        match is {
            Some(why) if troubles.get(about) == Some(&why) => {}
            Some(why) => {
                tracing::warn!(about, why, "schemas");
                troubles.insert(about.to_owned(), why);
            }
            None => {
                troubles.remove(about);
            }
        }
    }
}

impl Codec {
    /// A codec that knows no type yet. Makes no call.
    ///
    /// `registry_url` is the base of the registry's Confluent interface; a user and password in it are sent along.
    /// `pool` is the database with the kit's tables.
    pub fn new(registry_url: &str, sessions: impl Into<Sessions>) -> Self {
        Self::with(&config::Registry { url: registry_url.to_owned(), ..config::Registry::default() }, sessions)
    }

    /// [`Codec::new`], for a registry that isn't used as by default.
    pub fn with(registry: &config::Registry, sessions: impl Into<Sessions>) -> Self {
        let remote = Remote {
            registry: Registry::new(registry),
            sessions: sessions.into(),
            subjects: registry.subjects,
            registered: Mutex::default(),
            troubles: Mutex::default(),
        };
        Self { avro: Avro::default(), remote: Some(Arc::new(remote)), written: Written::Avro }
    }

    /// A codec of JSON alone, without a registry. Nothing needs to be registered with it.
    pub fn json() -> Self {
        Self { avro: Avro::default(), remote: None, written: Written::Json }
    }

    /// The same, writing so. It reads both, by what each record says.
    #[must_use]
    pub fn writing(self, written: Written) -> Self {
        Self { written, ..self }
    }

    /// A codec with made-up ids, without registry and database, for pure tests and benchmarks.
    ///
    /// An id follows from the schema, so that two of them with the same types read each other. A type whose schema
    /// can't be used is left out, loudly; encoding it says [`Error::UnknownType`].
    pub fn offline(types: &[RecordType]) -> Self {
        let codec = Self { avro: Avro::default(), remote: None, written: Written::Avro };
        for t in types {
            if let Err(error) = codec.know_as(t, Some(made_up_id(t.schema))) {
                tracing::error!(%error, "left out");
            }
        }
        codec
    }

    /// Registers the types that a service publishes to `topic`, and gives each its id.
    ///
    /// What is kept from before serves when the registry can't be reached or refuses; see [`Codec::troubles`].
    ///
    /// # Errors
    /// Passing ([`Error::is_passing`]) when the registry or the database can't be reached and something isn't known
    /// yet: try again later. [`Error::Incompatible`], [`Error::Refused`], [`Error::Reused`] and [`Error::Schema`] don't end by waiting.
    pub async fn register(&self, topic: &str, types: &[RecordType]) -> Result<(), Error> {
        let subjects = self.remote.as_ref().map_or(Subjects::TopicRecord, |remote| remote.subjects);
        self.register_under(topic, types, subjects).await
    }

    /// [`Codec::register`], with subjects named so whatever the configuration says: for the kit's own types.
    pub(crate) async fn register_under(&self, topic: &str, types: &[RecordType], named: Subjects) -> Result<(), Error> {
        if self.written == Written::Json {
            // It has no schema.
            return Ok(());
        }
        self.know(types)?;
        let Some(remote) = &self.remote else {
            return types.iter().try_for_each(|t| self.know_as(t, Some(made_up_id(t.schema))));
        };
        if named == Subjects::Topic && types.len() > 1 {
            return Err(Error::OneSubject { topic: topic.into(), types: types.len() });
        }
        let subject = |t: &RecordType| match named {
            Subjects::TopicRecord => format!("{topic}-{}", t.name),
            Subjects::Record => t.name.to_owned(),
            Subjects::Topic => format!("{topic}-value"),
        };
        let subjects: Vec<String> = types.iter().map(subject).collect();
        let kept = store::subjects(&remote.sessions, &subjects).await?;
        let mut away = false;
        for (t, subject) in types.iter().zip(subjects) {
            let key = (subject, fingerprint(t.schema).to_vec());
            let kept = kept.get(&key).copied();
            let asked = match kept {
                // Its silence was waited for once.
                Some(id) if away => Ok(id),
                _ => remote.registry.id(&key.0, t.schema).await,
            };
            let id = match (asked, kept) {
                (Ok(id), Some(was)) if id == was => id,
                (Ok(id), was) => {
                    store::keep_subject(&remote.sessions, &key.0, &key.1, id, t.schema).await?;
                    tracing::debug!(subject = key.0, id, "schema registered");
                    moved(&key.0, was, id);
                    id
                }
                (Err(error), Some(id)) => {
                    away |= matches!(error, Error::Registry { .. });
                    remote.trouble(&key.0, Some(chain_of(&error)));
                    self.know_as(t, Some(id))?;
                    continue;
                }
                (Err(error), None) => return Err(error),
            };
            remote.trouble(&key.0, None);
            self.know_as(t, Some(id))?;
        }
        whole(remote.registered.lock()).insert(topic.to_owned(), (types.to_vec(), named));
        Ok(())
    }

    /// Asks the registry again for what was once true: that it holds what is written here under the same ids, and that the ids kept of
    /// what is read mean what they meant. See [`Codec::troubles`]. To be called at the start and then every few minutes.
    ///
    /// # Errors
    /// The database's. What the registry says is no error here.
    pub async fn refresh(&self) -> Result<(), Error> {
        let Some(remote) = &self.remote else { return Ok(()) };
        let registered = whole(remote.registered.lock()).clone();
        for (topic, (types, named)) in registered {
            match self.register_under(&topic, &types, named).await {
                Ok(()) => remote.trouble(&topic, None),
                Err(error @ Error::Database { .. }) => return Err(error),
                // Written on under the ids of before; the next start refuses.
                Err(error) => remote.trouble(&topic, Some(chain_of(&error))),
            }
        }
        let names = self.read().names();
        let kept = store::of_records(&remote.sessions, &names).await?;
        let lookups = kept.into_iter().map(async |(id, text)| (id, text, remote.registry.schema(id).await));
        let answers: Vec<_> = stream::iter(lookups).buffer_unordered(LOOKUPS).collect().await;
        for (id, kept, answer) in answers {
            let about = format!("schema {id}");
            match answer {
                Ok(Found::Avro(text)) if same(&kept, &text) => {
                    self.write().allow(id);
                    remote.trouble(&about, None);
                }
                Ok(Found::Avro(_) | Found::Foreign(_)) => {
                    let why = Error::Reused { id, what: "it is asked for again from time to time".into() }.to_string();
                    self.write().forbid(id, &why);
                    remote.trouble(&about, Some(why));
                }
                Ok(Found::Nothing) => remote.trouble(
                    &about,
                    Some(
                        "the registry no longer knows this id: who hasn't read it before can't read records written with it"
                            .into(),
                    ),
                ),
                Err(error) => remote.trouble(&about, Some(chain_of(&error))),
            }
        }
        Ok(())
    }

    /// Calls [`Codec::refresh`] at once and every few minutes, until told to stop.
    pub async fn keep_fresh(&self, stop: &CancellationToken) {
        if self.remote.is_none() {
            return;
        }
        loop {
            match stop.run_until_cancelled(self.refresh()).await {
                Some(Ok(())) => {}
                Some(Err(error)) => tracing::warn!(error = chain_of(&error), "the registry couldn't be asked again"),
                None => return,
            }
            if stop.run_until_cancelled(tokio::time::sleep(REFRESH)).await.is_none() {
                return;
            }
        }
    }

    /// What isn't as it should be at the registry, though what is kept serves.
    pub fn troubles(&self) -> Vec<String> {
        let troubles =
            |remote: &Arc<Remote>| whole(remote.troubles.lock()).iter().map(|(of, is)| format!("{of}: {is}")).collect();
        self.remote.as_ref().map(troubles).unwrap_or_default()
    }

    /// Adds the types that a service hears: values of these names are read as these schemas.
    ///
    /// # Errors
    /// [`Error::Schema`] for a schema that can't be used, or a second one under a name.
    pub fn know(&self, types: &[RecordType]) -> Result<(), Error> {
        // A type without a schema comes as JSON only.
        types.iter().filter(|t| !t.schema.is_empty()).try_for_each(|t| self.know_as(t, None))
    }

    /// Loads the schemas behind `ids`, those in front of a batch's values ([`Codec::schema_id`]). Free when all are held.
    ///
    /// An id that the registry doesn't know, or of which it alone says nothing usable, is no error here: decoding tells. It is asked
    /// for again after 10 seconds, later after up to 5 minutes.
    ///
    /// # Errors
    /// Passing, always: the registry answers for no id, or the database can't be reached.
    pub async fn prepare(&self, ids: impl IntoIterator<Item = i32>) -> Result<(), Error> {
        let mut missing = self.read().missing(ids);
        let (false, Some(remote)) = (missing.is_empty(), &self.remote) else { return Ok(()) };
        let wanted: Vec<i32> = missing.iter().copied().collect();
        for (id, text) in store::schemas(&remote.sessions, &wanted).await? {
            missing.remove(&id);
            self.add(id, &text);
        }
        let count = missing.len();
        let (failed, why) = self.look_up(remote, missing).await?;
        let Some(why) = why else { return Ok(()) };
        // Trouble with one id isn't the registry's trouble. It answers if it has answered for others, or does for one that it knows.
        // Only what fails once more after that is the id's: the registry may just have come back.
        let known = self.read().some_id().unwrap_or(NOBODYS);
        if failed.len() == count && remote.registry.schema(known).await.is_err() {
            return Err(why);
        }
        let (failed, why) = self.look_up(remote, failed).await?;
        let reason: Arc<str> = why.map(|error| chain_of(&error)).unwrap_or_default().into();
        for id in failed {
            tracing::warn!(id, reason = &*reason, "the registry answers, but not for this schema; what is written with it parks");
            self.write().doubt(id, Some(Slot::Withheld(reason.clone())));
        }
        Ok(())
    }

    /// Asks the registry for `ids`; gives those for which it had no answer, and the last reason.
    async fn look_up(&self, remote: &Remote, ids: BTreeSet<i32>) -> Result<(BTreeSet<i32>, Option<Error>), Error> {
        let lookups = ids.into_iter().map(async |id| (id, remote.registry.schema(id).await));
        let answers: Vec<_> = stream::iter(lookups).buffer_unordered(LOOKUPS).collect().await;
        let (mut found, mut failed, mut why) = (Vec::new(), BTreeSet::new(), None);
        for (id, answer) in answers {
            match answer {
                // Kept for good once it can be read: what can't may be somebody's else answer, and is asked for again.
                Ok(Found::Avro(text)) => match intern(&text) {
                    Ok(schema) => {
                        self.write().add(id, schema);
                        found.push((id, text));
                    }
                    Err(reason) => self.write().doubt(id, Some(Slot::Unusable(reason.into()))),
                },
                Ok(Found::Foreign(reason)) => self.write().doubt(id, Some(Slot::Unusable(reason.into()))),
                Ok(Found::Nothing) => self.write().doubt(id, None),
                Err(error) => {
                    failed.insert(id);
                    why = Some(error);
                }
            }
        }
        if !found.is_empty() {
            // None of them was there; what somebody else has kept meanwhile is the registry's word as well.
            store::keep_schemas(&remote.sessions, &found).await?;
        }
        Ok((failed, why))
    }

    /// `value`, of the registered type `name`, as bytes.
    ///
    /// # Errors
    /// [`Error::UnknownType`] when the type isn't registered, [`Error::Encode`] when the value doesn't fit its schema.
    pub fn encode<T: Serialize>(&self, name: &str, value: &T) -> Result<Vec<u8>, Error> {
        // A type's own code runs in it, and may panic: that is this value's fault, and no thread's end.
        let encoded = guarded(|| match self.written {
            Written::Avro => self.avro.encode(name, value),
            Written::Json => Json.encode(name, value),
        });
        encoded.unwrap_or_else(|| Err(Error::Broke { doing: "writing", name: name.into() }))
    }

    /// [`Codec::encode`], reading the first values of a type back: a Rust type that writes what it can't read is found out where the
    /// value is made, and not by every reader of a record that is out.
    ///
    /// # Errors
    /// [`Error::OneWay`] too.
    pub fn encode_proving<T>(&self, name: &str, value: &T, proofs: &Proofs) -> Result<Vec<u8>, Error>
    where
        T: Serialize + DeserializeOwned + PartialEq,
    {
        let bytes = self.encode(name, value)?;
        if proofs.are_due(self.written) {
            let failed = |reason| Error::OneWay { name: name.into(), reason };
            let back: T = self.decode(name, &bytes).map_err(|error| failed(chain_of(&error)))?;
            // What isn't equal to itself (NaN) or isn't written at all shows in the bytes only.
            if back != *value && self.encode(name, &back)? != bytes {
                return Err(failed("it comes back as another value".into()));
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
        let decoded = guarded(|| match self.written {
            Written::Avro => self.avro.decode(name, bytes),
            Written::Json => Json.decode(name, bytes),
        });
        decoded.unwrap_or_else(|| Err(Error::Broke { doing: "reading", name: name.into() }))
    }

    /// What header `content-type` of its values says.
    pub fn content_type(&self) -> &'static str {
        match self.written {
            Written::Avro => Avro::CONTENT_TYPE,
            Written::Json => Json::CONTENT_TYPE,
        }
    }

    /// The headers that its values need beside those of every record.
    pub(crate) fn headers(&self) -> Option<serde_json::Value> {
        (self.written != Written::Avro).then(|| serde_json::json!({ "content-type": self.content_type() }))
    }

    /// This codec, for a value whose record says `content_type`. Without one, or with one that it doesn't know, itself.
    pub fn of(&self, content_type: Option<&str>) -> Cow<'_, Self> {
        match content_type.and_then(Written::of) {
            Some(written) if written != self.written => Cow::Owned(Self { written, ..self.clone() }),
            _ => Cow::Borrowed(self),
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
            Err(reason) => self.write().doubt(id, Some(Slot::Unusable(reason.into()))),
        }
    }

    fn read(&self) -> RwLockReadGuard<'_, State> {
        whole(self.avro.0.read())
    }

    fn write(&self) -> RwLockWriteGuard<'_, State> {
        whole(self.avro.0.write())
    }
}

/// Says that the registry has numbered a schema anew.
fn moved(subject: &str, was: Option<i32>, id: i32) {
    if let Some(was) = was {
        tracing::error!(
            subject,
            was,
            id,
            "the registry has numbered this schema anew, as after it lost its contents: records already written carry the old id, which only \
             services that have met it before can read; restore the registry's contents for others to do so"
        );
    }
}

/// Poisoned or not, the state only ever gains whole entries.
fn whole<T>(locked: Result<T, PoisonError<T>>) -> T {
    locked.unwrap_or_else(PoisonError::into_inner)
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
