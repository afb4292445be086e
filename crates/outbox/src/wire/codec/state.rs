//! What a codec holds in memory: our types by name, and the schemas of others by id with how each is read.

use std::collections::{BTreeSet, HashMap, HashSet};
use std::sync::{Arc, PoisonError};
use std::time::{Duration, Instant};

use apache_avro::reader::datum::GenericDatumReader;

use crate::ground::backoff::Backoff;
use crate::wire::codec::error::Error;
use crate::wire::codec::schema::Parsed;

/// How long an id that the registry had nothing usable for isn't asked for again: twice as long each time, up to the longest. To ask
/// costs a partition up to some ten seconds, where there is no answer.
const DOUBT: Backoff = Backoff { base: Duration::from_secs(10), cap: Duration::from_secs(300) };
/// Such ids remembered; beyond that they are asked for each time.
const MOST_DOUBTS: usize = 1024;

/// A type of ours.
#[derive(Clone, Copy)]
pub(super) struct Known {
    pub(super) schema: &'static Parsed,
    /// What it is registered as; none for a type that is only heard.
    pub(super) id: Option<i32>,
}

/// What is behind a schema id.
#[derive(Clone)]
pub(super) enum Slot {
    Schema {
        writer: &'static Parsed,
        resolution: Resolution,
    },
    Unusable(Arc<str>),
    /// The registry answers, but not for this id.
    Withheld(Arc<str>),
}

/// An id that the registry had nothing usable for.
struct Doubt {
    until: Instant,
    /// How often the registry was asked in vain.
    tries: u32,
    /// What is known; none: no schema has the id.
    slot: Option<Slot>,
}

/// How a value that was written with some schema becomes one of ours.
#[derive(Clone)]
pub(super) enum Resolution {
    /// No type of ours has its name.
    None,
    /// Same bytes as ours: straight from them.
    Direct,
    /// Through apache-avro's `Value`, where fields are added, dropped and converted. Slower, several times.
    Resolve(Arc<GenericDatumReader<'static>>),
}

#[derive(Default)]
pub(super) struct State {
    types: HashMap<&'static str, Known>,
    ids: HashMap<i32, Slot>,
    doubts: HashMap<i32, Doubt>,
    /// Of `ids`, those that have come to mean another schema.
    forbidden: HashSet<i32>,
}

impl State {
    pub(super) fn known(&self, name: &str) -> Option<Known> {
        self.types.get(name).copied()
    }

    pub(super) fn slot(&self, id: i32) -> Option<Slot> {
        self.ids.get(&id).cloned().or_else(|| self.doubts.get(&id)?.slot.clone())
    }

    /// An id of which the registry has said before what it is.
    pub(super) fn some_id(&self) -> Option<i32> {
        self.ids.keys().next().copied()
    }

    /// Those of `ids` that are neither held nor in doubt.
    pub(super) fn missing(&self, ids: impl IntoIterator<Item = i32>) -> BTreeSet<i32> {
        let now = Instant::now();
        let doubtful = |id: &i32| self.doubts.get(id).is_some_and(|doubt| now < doubt.until);
        ids.into_iter().filter(|id| !self.ids.contains_key(id) && !doubtful(id)).collect()
    }

    /// Adds a type of ours, and its id when it has one.
    pub(super) fn know(&mut self, schema: &'static Parsed, id: Option<i32>) -> Result<(), Error> {
        let known = self.types.entry(schema.name.as_str()).or_insert(Known { schema, id });
        if !std::ptr::eq(known.schema, schema) {
            let reason = "this service has two different ones".into();
            return Err(Error::Schema { name: schema.name.clone(), reason });
        }
        known.id = id.or(known.id);
        for slot in self.ids.values_mut() {
            if let Slot::Schema { writer, resolution: Resolution::None } = slot
                && writer.name == schema.name
            {
                *slot = resolve(writer, Some(schema));
            }
        }
        if let Some(id) = id {
            self.add(id, schema);
        }
        Ok(())
    }

    /// Adds the schema behind an id.
    pub(super) fn add(&mut self, id: i32, writer: &'static Parsed) {
        let ours = self.types.get(writer.name.as_str()).map(|known| known.schema);
        self.ids.entry(id).or_insert_with(|| resolve(writer, ours));
        self.doubts.remove(&id);
    }

    /// No longer reads what carries this id.
    pub(super) fn forbid(&mut self, id: i32, reason: &str) {
        self.ids.insert(id, Slot::Unusable(reason.into()));
        self.forbidden.insert(id);
    }

    /// Takes back what [`State::forbid`] did: the id is loaded again when it is met.
    pub(super) fn allow(&mut self, id: i32) {
        if self.forbidden.remove(&id) {
            self.ids.remove(&id);
        }
    }

    /// The full names of our types.
    pub(super) fn names(&self) -> Vec<String> {
        self.types.keys().map(|name| (*name).to_owned()).collect()
    }

    /// Remembers for a while that the registry has nothing usable under this id.
    pub(super) fn doubt(&mut self, id: i32, slot: Option<Slot>) {
        let now = Instant::now();
        let tries = self.doubts.get(&id).map_or(0, |doubt| doubt.tries).saturating_add(1);
        if self.doubts.len() >= MOST_DOUBTS {
            self.doubts.retain(|_, doubt| now < doubt.until);
        }
        if self.doubts.len() < MOST_DOUBTS || self.doubts.contains_key(&id) {
            self.doubts.insert(id, Doubt { until: now + DOUBT.wait(tries), tries, slot });
        }
    }
}

/// How to read what `writer` wrote as `ours`.
fn resolve(writer: &'static Parsed, ours: Option<&'static Parsed>) -> Slot {
    let resolution = match ours {
        None => Resolution::None,
        Some(ours) if ours.shape == writer.shape => Resolution::Direct,
        Some(ours) => {
            match GenericDatumReader::builder(writer.plain).reader_schema(ours.plain).human_readable(writer.as_text).build() {
                Ok(reader) => Resolution::Resolve(Arc::new(reader)),
                Err(reason) => return Slot::Unusable(reason.to_string().into()),
            }
        }
    };
    Slot::Schema { writer, resolution }
}

/// Poisoned or not, the state only ever gains whole entries.
pub(super) fn whole<T>(locked: Result<T, PoisonError<T>>) -> T {
    locked.unwrap_or_else(PoisonError::into_inner)
}
