//! Descriptions of services, read from files.

use std::collections::HashSet;
use std::io::{IsTerminal as _, Read};
use std::path::{Path, PathBuf};

use anyhow::{Context as _, bail};
use serde::{Deserialize, Serialize};

/// Bytes of one file at most: a description has a few kilobytes.
const LARGEST: u64 = 16 * 1024 * 1024;

/// What a service declares: the part of `describe --output json` that a choreography is made from. All but the name may be left out.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Declared {
    /// Its name.
    pub name: String,
    /// The topic of its events, with the prefix; empty if it publishes none.
    pub publishes: String,
    /// Types of its events.
    pub events: Vec<String>,
    /// Those of them that nobody need subscribe to.
    pub ends: Vec<String>,
    /// What its records name as `ce_source`; `/farandole/<name>` if left out.
    pub source: String,
    /// The `content-type` of its events; `application/avro` if left out.
    pub content_type: String,
    /// The topics that it subscribes to, by their names in Kafka.
    pub hears: Vec<String>,
    /// Its consumer group; its name if left out.
    pub group: String,
    /// Types of events that it consumes.
    pub reacts_to: Vec<String>,
    /// Types of those topics that it knows and skips.
    pub ignores: Vec<String>,
    /// The name of its commands' type; `Never` or empty if it takes none.
    pub commands: String,
    /// Its deadlines.
    pub deadlines: Vec<String>,
    /// What it asks of the outside world.
    pub effects: Vec<String>,
}

impl Declared {
    fn complete(mut self) -> anyhow::Result<Self> {
        if self.name.is_empty() {
            bail!("there is no `name`; a description is what `SERVICE describe --output json` prints");
        }
        if self.publishes.is_empty() && !self.events.is_empty() {
            bail!("{} has events and no topic in `publishes`", self.name);
        }
        let or = |text: &mut String, otherwise: &str| {
            if text.is_empty() {
                otherwise.clone_into(text);
            }
        };
        or(&mut self.source, &format!("/farandole/{}", self.name));
        or(&mut self.content_type, farandole::codec::Encoding::Avro.content_type());
        or(&mut self.group, &self.name.clone());
        or(&mut self.commands, "Never");
        Ok(self)
    }

    /// Whether it takes commands.
    pub fn is_commanded(&self) -> bool {
        self.commands != "Never"
    }
}

/// The descriptions in `files`, in order: one, several one after the other, or lists of them. `-`, or no file, is standard input.
///
/// # Errors
/// When a file can't be read, holds something else, or describes a service that another one does.
pub fn read(files: &[PathBuf]) -> anyhow::Result<Vec<Declared>> {
    let input = [PathBuf::from("-")];
    let files = if files.is_empty() { &input[..] } else { files };
    let (mut all, mut names) = (Vec::new(), HashSet::new());
    for file in files {
        let (name, text) = text(file)?;
        for declared in parse(&text).with_context(|| format!("reading {name}"))? {
            if !names.insert(declared.name.clone()) {
                bail!("{name} describes {}, and so does what was read before; give each service once", declared.name);
            }
            all.push(declared);
        }
    }
    if all.is_empty() {
        bail!("there is no description; give files with what `SERVICE describe --output json` prints");
    }
    Ok(all)
}

/// What a file is called, and its text.
fn text(file: &Path) -> anyhow::Result<(String, String)> {
    let mut text = String::new();
    let name = if file == Path::new("-") { "standard input".to_owned() } else { file.display().to_string() };
    let read = if file == Path::new("-") {
        if std::io::stdin().is_terminal() {
            bail!("no descriptions; give files with what `SERVICE describe --output json` prints, or pipe them in");
        }
        std::io::stdin().lock().take(LARGEST).read_to_string(&mut text)
    } else {
        std::fs::File::open(file).and_then(|file| file.take(LARGEST).read_to_string(&mut text))
    };
    read.with_context(|| format!("reading {name}"))?;
    Ok((name, text))
}

fn parse(text: &str) -> anyhow::Result<Vec<Declared>> {
    #[derive(Deserialize)]
    #[serde(untagged)]
    enum Values {
        Many(Vec<Declared>),
        One(Box<Declared>),
    }
    let mut all = Vec::new();
    for value in serde_json::Deserializer::from_str(text).into_iter::<Values>() {
        match value.context("this is no description; it is what `SERVICE describe --output json` prints")? {
            Values::Many(many) => all.extend(many),
            Values::One(one) => all.push(*one),
        }
    }
    all.into_iter().map(Declared::complete).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn descriptions_come_alone_in_a_row_or_in_lists() {
        let [a, b] = [r#"{"name": "a", "migrations": ["1 (x)"]}"#, r#"{"name": "b", "publishes": "b", "events": ["b.B"]}"#];
        for text in [format!("{a}\n{b}"), format!("[{a}, {b}]"), format!("{a} [{b}]")] {
            let names: Vec<String> = parse(&text).unwrap().into_iter().map(|declared| declared.name).collect();
            assert_eq!(names, ["a", "b"], "{text}");
        }
        let a = &parse(a).unwrap()[0];
        let filled = [&a.source, &a.group, &a.content_type, &a.commands];
        assert_eq!(filled, ["/farandole/a", "a", "application/avro", "Never"]);
    }

    #[test]
    fn what_is_no_description_is_refused_with_what_one_is() {
        for (text, words) in [
            ("{}", "there is no `name`"),
            ("7", "`SERVICE describe --output json`"),
            (r#"{"name": "a""#, "`SERVICE describe --output json`"),
            (r#"{"name": "a", "events": ["a.A"]}"#, "no topic in `publishes`"),
        ] {
            let error = format!("{:#}", parse(text).unwrap_err());
            assert!(error.contains(words), "{text}: {error}");
        }
    }
}
