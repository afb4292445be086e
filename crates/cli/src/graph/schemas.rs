//! The Avro schemas of events, from their folder.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;

use anyhow::{Context as _, bail};
use serde_json::Value;

/// Schemas by the full names of their records.
#[derive(Debug, Clone, Default)]
pub struct Schemas(BTreeMap<String, Value>);

impl Schemas {
    /// The schemas in `folder`, a folder a topic and an .avsc an event.
    ///
    /// # Errors
    /// When one can't be read, or is no schema.
    pub fn read(folder: &Path) -> anyhow::Result<Self> {
        let mut schemas = farandole_build::Schemas::in_folder(folder);
        let released = folder.join("released");
        if released.exists() {
            schemas = schemas.released(released);
        }
        let events = match schemas.events() {
            Ok(events) => events,
            Err(error) => bail!("reading the schemas in {}: {}", folder.display(), error.problems().join("; ")),
        };
        let parsed = events.into_iter().map(|event| {
            let schema = serde_json::from_str(&event.schema).with_context(|| format!("reading {}", event.file))?;
            Ok((event.name, schema))
        });
        Ok(Self(parsed.collect::<anyhow::Result<_>>()?))
    }

    /// That of the record `name`.
    pub fn of(&self, name: &str) -> Option<&Value> {
        self.0.get(name)
    }

    /// The names.
    pub fn names(&self) -> BTreeSet<&str> {
        self.0.keys().map(String::as_str).collect()
    }

    /// What the record `name` is for: its `doc`.
    pub fn doc(&self, name: &str) -> Option<&str> {
        self.of(name)?["doc"].as_str()
    }
}
