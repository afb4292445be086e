//! A codec's requests to the registry and to the database that caches its answers: registering, refreshing, looking schemas up.
//! Encoding and decoding make no request; see [`codec`](super).

use std::collections::BTreeSet;
use std::sync::{Arc, RwLockReadGuard, RwLockWriteGuard};
use std::time::Duration;

use futures_util::{StreamExt as _, stream};
use tokio_util::sync::CancellationToken;

use crate::database::sessions::Sessions;
use crate::ground::error::chain_of;
use crate::wire::codec::avro::Avro;
use crate::wire::codec::format::RecordType;
use crate::wire::codec::registry::Found;
use crate::wire::codec::remote::Remote;
use crate::wire::codec::schema::{Parsed, fingerprint, intern, made_up_id, same};
use crate::wire::codec::state::{Slot, State, whole};
use crate::wire::codec::{Codec, Encoding, Error, store};
use crate::wire::settings::{Registry, Subjects};

/// How often the registry is asked for what was once true: what it has lost is missed by who is new, which nobody is every minute.
const REFRESH: Duration = Duration::from_secs(5 * 60);

/// Schema look-ups at the registry at the same time.
const LOOKUPS: usize = 8;

/// An id that no registry has given out. That it says so is an answer.
const NOBODYS: i32 = i32::MAX;

impl Codec {
    /// A codec without types. Makes no request.
    ///
    /// `registry_url` is the base of the registry's Confluent interface; a user and password in it are sent along.
    /// `pool` is the database with the kit's tables.
    pub fn new(registry_url: &str, sessions: impl Into<Sessions>) -> Self {
        Self::with(&Registry { url: registry_url.to_owned(), ..Registry::default() }, sessions)
    }

    /// Like [`Codec::new`], with registry settings.
    pub fn with(registry: &Registry, sessions: impl Into<Sessions>) -> Self {
        let remote = Remote::new(registry, Some(sessions.into()));
        Self { avro: Avro::default(), remote: Some(Arc::new(remote)), encoding: Encoding::Avro }
    }

    /// One that keeps nothing of what the registry says: for where the kit's tables aren't there yet.
    pub fn uncached(registry: &Registry) -> Self {
        Self { avro: Avro::default(), remote: Some(Arc::new(Remote::new(registry, None))), encoding: Encoding::Avro }
    }

    /// A codec with made-up ids, without registry and database, for pure tests and benchmarks.
    ///
    /// An id follows from the schema, so that two of them with the same types read each other. A type whose schema
    /// can't be used is left out, loudly; encoding it says [`Error::UnknownType`].
    pub fn offline(types: &[RecordType]) -> Self {
        let codec = Self { avro: Avro::default(), remote: None, encoding: Encoding::Avro };
        for t in types {
            if let Err(error) = codec.know_as(t, Some(made_up_id(t.schema))) {
                tracing::error!(%error, "schema skipped");
            }
        }
        codec
    }

    /// Registers the types that a service publishes to `topic`, and gives each its id.
    ///
    /// What is kept from before serves when the registry can't be reached or refuses; see [`Codec::troubles`].
    ///
    /// # Errors
    /// Passing ([`Error::is_transient`]) when the registry or the database can't be reached and something isn't known
    /// yet: try again later. [`Error::Incompatible`], [`Error::Refused`], [`Error::Reused`] and [`Error::Schema`] don't end by waiting.
    pub async fn register(&self, topic: &str, types: &[RecordType]) -> Result<(), Error> {
        let subjects = self.remote.as_ref().map_or(Subjects::TopicRecord, |remote| remote.subjects);
        self.register_under(topic, types, subjects).await
    }

    /// [`Codec::register`], with subjects named so whatever the configuration says: for the kit's own types.
    pub async fn register_under(&self, topic: &str, types: &[RecordType], named: Subjects) -> Result<(), Error> {
        if self.encoding == Encoding::Json {
            // It has no schema.
            return Ok(());
        }
        self.add_reader_schema(types)?;
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
        let kept = store::subjects(remote.sessions.as_ref(), &subjects).await?;
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
                    store::keep_subject(remote.sessions.as_ref(), &key.0, &key.1, id, t.schema).await?;
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
        let kept = store::of_records(remote.sessions.as_ref(), &names).await?;
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
                    let why = Error::Reused { id, what: "it is retried periodically".into() }.to_string();
                    self.write().forbid(id, &why);
                    remote.trouble(&about, Some(why));
                }
                Ok(Found::Nothing) => remote.trouble(
                    &about,
                    Some(
                        "the registry no longer knows this id: consumers that haven't cached it can't read records written \
                         with it"
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
                Some(Err(error)) => tracing::warn!(error = chain_of(&error), "couldn't refresh schemas from the registry"),
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

    /// Loads the schemas behind `ids`, those in front of a batch's values ([`Codec::schema_id`]). Free when all are held.
    ///
    /// An id that the registry doesn't know, or of which it alone says nothing usable, is no error here: decoding tells. It is asked
    /// for again after 10 seconds, later after up to 5 minutes.
    ///
    /// # Errors
    /// Passing, always: the registry answers for no id, or the database can't be reached.
    pub async fn prepare(&self, ids: impl IntoIterator<Item = i32>) -> Result<(), Error> {
        let missing = self.read().missing(ids);
        self.ask_for(missing).await
    }

    async fn ask_for(&self, mut missing: BTreeSet<i32>) -> Result<(), Error> {
        let (false, Some(remote)) = (missing.is_empty(), &self.remote) else { return Ok(()) };
        let wanted: Vec<i32> = missing.iter().copied().collect();
        for (id, text) in store::schemas(remote.sessions.as_ref(), &wanted).await? {
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
            tracing::warn!(id, reason = &*reason, "the registry is up but refuses this schema; records written with it park");
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
                Ok(Found::Avro(text)) => {
                    if self.add(id, &text) {
                        found.push((id, text));
                    }
                }
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
            store::keep_schemas(remote.sessions.as_ref(), &found).await?;
        }
        Ok((failed, why))
    }

    pub(super) fn know_as(&self, t: &RecordType, id: Option<i32>) -> Result<(), Error> {
        let unusable = |reason| Error::Schema { name: t.name.into(), reason };
        let schema: &'static Parsed = intern(t.schema).map_err(unusable)?;
        if schema.name != t.name {
            return Err(unusable(format!("it names a {}", schema.name)));
        }
        self.write().know(schema, id)
    }

    /// Holds what an id stands for. False when it can't be read; then that is held, for a while.
    pub(super) fn add(&self, id: i32, text: &str) -> bool {
        match intern(text) {
            Ok(schema) => {
                self.write().add(id, schema);
                true
            }
            Err(reason) => {
                self.write().doubt(id, Some(Slot::Unusable(reason.into())));
                false
            }
        }
    }

    pub(super) fn read(&self) -> RwLockReadGuard<'_, State> {
        whole(self.avro.0.read())
    }

    pub(super) fn write(&self) -> RwLockWriteGuard<'_, State> {
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
            "the registry has assigned this schema a new id, as after losing its contents: existing records carry the old id, \
             which only services that have cached it can read; restore the registry's contents so that others can"
        );
    }
}
