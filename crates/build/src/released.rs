//! Versions that others may hold: `released/<topic>/<Event>/<n>.avsc`.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};

use serde_json::Value;

use crate::compatibility::between;
use crate::error::Error;
use crate::files::{File, read, shown};
use crate::schema::Schema;

/// The released versions of all schemas.
#[derive(Debug, Default)]
pub(crate) struct Released {
    root: PathBuf,
    /// By the schema's file, `orders/OrderPlaced`, and the version.
    versions: BTreeMap<String, BTreeMap<u32, Version>>,
}

/// A released version.
#[derive(Debug)]
pub(crate) struct Version {
    /// As it is shown.
    pub file: String,
    pub text: String,
    schema: Schema,
}

/// What isn't noted yet.
#[derive(Debug)]
pub(crate) struct Pending {
    /// The schema's file as it is shown.
    pub file: String,
    /// Where the next version belongs, and which one that is.
    pub to: PathBuf,
    pub version: u32,
    pub text: String,
}

impl Released {
    /// Those below `root`; none if there is no such folder.
    ///
    /// # Errors
    /// What isn't a version there.
    pub(crate) fn read(root: &Path) -> Result<Self, Error> {
        let mut released = Self { root: root.to_owned(), versions: BTreeMap::new() };
        if !root.exists() {
            return Ok(released);
        }
        let mut problems = Vec::new();
        for file in read(root, None)? {
            match (file.folder(), file.name().parse::<u32>()) {
                ([_, ..], Ok(version @ 1..)) if version.to_string() == file.name() => {
                    let of = released.versions.entry(file.folder().join("/")).or_default();
                    of.insert(version, Version { file: file.shown, text: file.text, schema: file.schema });
                }
                _ => problems.push(format!(
                    "{}: isn't <schema>/<number>.avsc, as released versions are called; move it elsewhere",
                    file.shown
                )),
            }
        }
        Error::unless_empty(problems).map(|()| released)
    }

    /// The versions of a schema.
    pub(crate) fn of(&self, stem: &str) -> impl Iterator<Item = &Version> {
        self.versions.get(stem).into_iter().flat_map(BTreeMap::values)
    }

    /// Why `files` can't live beside what was released.
    pub(crate) fn problems(&self, files: &[File]) -> Vec<String> {
        let mut problems = Vec::new();
        for file in files {
            let stem = file.stem();
            for version in self.of(&stem) {
                let found = between(&version.schema, &file.schema);
                problems.extend(found.into_iter().map(|why| format!("{} against {}: {why}", file.shown, version.file)));
            }
        }
        for (stem, versions) in &self.versions {
            let folder = shown(&self.root.join(stem));
            if !versions.keys().copied().eq((1..).take(versions.len())) {
                problems.push(format!("{folder}: versions are 1, 2, … without a gap; restore the file that is missing"));
            }
            if !files.iter().any(|file| file.stem() == *stem) {
                problems.push(format!(
                    "{stem}.avsc is gone, but its events may be in a log; copy the last version of {folder} back, or, when no log has one \
                     any more, delete that folder too"
                ));
            }
        }
        problems
    }

    /// What has changed since its last version, or has none. Words alone (`doc`) are no change.
    pub(crate) fn pending(&self, files: &[File]) -> Vec<Pending> {
        let mut pending = Vec::new();
        for file in files {
            let stem = file.stem();
            let last = self.versions.get(&stem).and_then(BTreeMap::last_key_value);
            if last.is_some_and(|(_, version)| without_docs(&version.text) == without_docs(&file.text)) {
                continue;
            }
            let version = last.map_or(1, |(version, _)| version + 1);
            let to = self.root.join(&stem).join(format!("{version}.avsc"));
            pending.push(Pending { file: file.shown.clone(), to, version, text: file.text.clone() });
        }
        pending
    }
}

impl Pending {
    /// Writes the version.
    pub(crate) fn note(&self) -> Result<(), Error> {
        let broken = |e: std::io::Error| Error::one(format!("{}: can't be written: {e}", shown(&self.to)));
        if let Some(folder) = self.to.parent() {
            fs::create_dir_all(folder).map_err(broken)?;
        }
        fs::write(&self.to, &self.text).map_err(broken)
    }
}

fn without_docs(schema: &str) -> Option<Value> {
    fn strip(value: &mut Value) {
        match value {
            Value::Array(items) => items.iter_mut().for_each(strip),
            Value::Object(entries) => {
                entries.retain(|key, value| !(key == "doc" && value.is_string()));
                entries.values_mut().for_each(strip);
            }
            _ => {}
        }
    }
    let mut value = serde_json::from_str(schema).ok()?;
    strip(&mut value);
    Some(value)
}
