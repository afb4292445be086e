//! Descriptions of services, read from files.

use std::collections::HashSet;
use std::io::{IsTerminal as _, Read};
use std::path::{Path, PathBuf};

use anyhow::{Context as _, bail};
use farandole::cli::shown;
use serde::Serialize;
use serde::de::{Deserialize, Deserializer, MapAccess, SeqAccess, Visitor};
use serde_json::Value;

/// Bytes of one file at most: a description has a few kilobytes.
const LARGEST: u64 = 16 * 1024 * 1024;
/// What a description has besides, and a choreography isn't made from.
const UNUSED: [&str; 5] = ["journal", "unknown", "guarantees", "derived", "migrations"];

/// What a service declares: the part of `describe --output json` that a choreography is made from. All but the name may be left out.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
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
    /// Fields that no description has.
    #[serde(skip)]
    pub unknown: Vec<Unknown>,
}

/// A field that no description has. A later version may have it; but it may be a slip, which would hide what it was to say.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Unknown {
    field: String,
    near: Option<&'static str>,
}

impl Unknown {
    fn new(field: String) -> Self {
        let used = Declared::default()
            .texts()
            .map(|(name, _)| name)
            .into_iter()
            .chain(Declared::default().lists().map(|(name, _)| name));
        let near = used.chain(UNUSED).map(|name| (strsim::levenshtein(name, &field), name)).min();
        // A third of the name wrong is still a slip; more is another word.
        let near = near.filter(|(steps, name)| *steps <= (name.len() / 3).max(1)).map(|(_, name)| name);
        Self { field, near }
    }

    /// What is wrong, if it looks like a slip.
    pub fn slip(&self, service: &str) -> Option<String> {
        let near = self.near?;
        Some(format!("the description of {service} has a field `{}`, which there isn't; did you mean `{near}`?", self.field))
    }

    /// What there is to say, if it doesn't.
    pub fn note(&self, service: &str) -> Option<String> {
        let note =
            || format!("the description of {service} has a field `{}`, which this version doesn't know and ignores", self.field);
        self.near.is_none().then(note)
    }
}

impl Declared {
    /// The fields that are a text.
    fn texts(&mut self) -> [(&'static str, &mut String); 6] {
        [
            ("name", &mut self.name),
            ("publishes", &mut self.publishes),
            ("source", &mut self.source),
            ("content_type", &mut self.content_type),
            ("group", &mut self.group),
            ("commands", &mut self.commands),
        ]
    }

    /// The fields that are a list of texts.
    fn lists(&mut self) -> [(&'static str, &mut Vec<String>); 7] {
        [
            ("events", &mut self.events),
            ("ends", &mut self.ends),
            ("hears", &mut self.hears),
            ("reacts_to", &mut self.reacts_to),
            ("ignores", &mut self.ignores),
            ("deadlines", &mut self.deadlines),
            ("effects", &mut self.effects),
        ]
    }

    fn of(Fields(fields): Fields) -> anyhow::Result<Self> {
        let (mut declared, mut met) = (Self::default(), HashSet::new());
        for (field, value) in fields {
            if !met.insert(field.clone()) {
                bail!("field `{}` is there twice", shown(&field));
            }
            if let Some((_, text)) = declared.texts().into_iter().find(|(name, _)| *name == field) {
                let Value::String(given) = value else {
                    bail!("field `{field}` is {}; it has to be a text, such as \"orders\"", kind(&value));
                };
                *text = given;
            } else if let Some((_, list)) = declared.lists().into_iter().find(|(name, _)| *name == field) {
                let Value::Array(given) = value else {
                    bail!("field `{field}` is {}; it has to be a list of texts, such as [\"orders\"]", kind(&value));
                };
                for one in given {
                    let Value::String(one) = one else {
                        bail!("field `{field}` has {} in it; it has to be a list of texts, such as [\"orders\"]", kind(&one));
                    };
                    list.push(one);
                }
            } else if !UNUSED.contains(&field.as_str()) {
                declared.unknown.push(Unknown::new(field));
            }
        }
        declared.complete()
    }

    fn complete(mut self) -> anyhow::Result<Self> {
        if self.name.is_empty() {
            bail!("there is no `name`; a description is what `SERVICE describe --output json` prints");
        }
        if self.publishes.is_empty() && !self.events.is_empty() {
            bail!("there are events and no topic in `publishes`");
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
                bail!("{name} describes {}, and so does what was read before; give each service once", shown(&declared.name));
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
    let mut all = Vec::new();
    for given in serde_json::Deserializer::from_str(text).into_iter::<Given>() {
        let Given(given) = given.context("this is no description; it is what `SERVICE describe --output json` prints")?;
        for fields in given {
            let number = all.len() + 1;
            let named = fields.0.iter().find(|(field, _)| field == "name").and_then(|(_, name)| name.as_str()).map(str::to_owned);
            let which =
                || named.map_or_else(|| format!("description {number}"), |name| format!("description of {}", shown(&name)));
            all.push(Declared::of(fields).with_context(which)?);
        }
    }
    Ok(all)
}

/// One description, or a list of them.
struct Given(Vec<Fields>);

/// A description as it was given: a name that is there twice as well.
struct Fields(Vec<(String, Value)>);

impl<'de> Deserialize<'de> for Given {
    fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
        from.deserialize_any(OneOrMany { many: true }).map(Self)
    }
}

impl<'de> Deserialize<'de> for Fields {
    fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
        let one = from.deserialize_any(OneOrMany { many: false })?;
        Ok(Self(one.into_iter().flat_map(|fields| fields.0).collect()))
    }
}

struct OneOrMany {
    many: bool,
}

impl<'de> Visitor<'de> for OneOrMany {
    type Value = Vec<Fields>;

    fn expecting(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(if self.many { "a description, or a list of them" } else { "a description" })
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Self::Value, A::Error> {
        let mut fields = Vec::new();
        while let Some(field) = map.next_entry()? {
            fields.push(field);
        }
        Ok(vec![Fields(fields)])
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut list: A) -> Result<Self::Value, A::Error> {
        if !self.many {
            return Err(serde::de::Error::invalid_type(serde::de::Unexpected::Seq, &self));
        }
        let mut all = Vec::new();
        while let Some(one) = list.next_element()? {
            all.push(one);
        }
        Ok(all)
    }
}

fn kind(value: &Value) -> &'static str {
    match value {
        Value::Null => "null",
        Value::Bool(_) => "true or false",
        Value::Number(_) => "a number",
        Value::String(_) => "a text",
        Value::Array(_) => "a list",
        Value::Object(_) => "an object",
    }
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
            ("[7]", "expected a description"),
            ("[[]]", "expected a description"),
            (r#"{"name": "a", "events": ["a.A"]}"#, "description of a: there are events and no topic in `publishes`"),
            (r#"{"name": "a"} {"hears": "t"}"#, "description 2: field `hears` is a text; it has to be a list of texts"),
            (r#"{"hears": "t", "name": "a"}"#, "description of a: field `hears` is a text; it has to be a list of texts"),
            (r#"{"name": "a", "ends": ["x", ["y"]]}"#, "field `ends` has a list in it; it has to be a list of texts"),
            (r#"[{"name": "a", "publishes": ["t"]}]"#, "field `publishes` is a list; it has to be a text"),
            (r#"{"name": "a", "commands": null}"#, "field `commands` is null; it has to be a text"),
            (r#"{"name": "a", "hears": [], "hears": ["t"]}"#, "field `hears` is there twice"),
        ] {
            let error = format!("{:#}", parse(text).unwrap_err());
            assert!(error.contains(words), "{text}: {error}");
        }
    }

    /// Guards: a description that a kit's service prints has no unknown field, and a slip in one is named.
    #[test]
    fn fields_that_no_description_has_are_named() {
        let whole = farandole::service::Description {
            name: "a",
            publishes: "a".into(),
            journal: "a.journal".into(),
            events: vec!["a.A"],
            ends: vec!["a.A"],
            source: "/a".into(),
            content_type: "application/json",
            hears: vec!["b".into()],
            group: "a".into(),
            reacts_to: vec!["b.B"],
            ignores: vec!["b.C"],
            unknown: [("b".into(), "park".into())].into(),
            guarantees: Vec::new(),
            commands: "Do",
            deadlines: vec!["d"],
            effects: vec!["e"],
            derived: vec!["a.b"],
            migrations: vec!["1 (x)".into()],
        };
        let whole = serde_json::to_value(whole).unwrap();
        let read = parse(&whole.to_string()).unwrap().remove(0);
        assert_eq!(read.unknown, []);
        for (name, value) in serde_json::to_value(&read).unwrap().as_object().unwrap() {
            assert_eq!(whole[name], *value, "{name}");
        }
        for (field, near) in
            [("react_to", "reacts_to"), ("event", "events"), ("deadline", "deadlines"), ("contentType", "content_type")]
        {
            let read = parse(&format!(r#"{{"name": "a", "{field}": 7}}"#)).unwrap().remove(0);
            let slip = read.unknown[0].slip("a").unwrap();
            assert!(slip.contains(&format!("of a has a field `{field}`, which there isn't; did you mean `{near}`?")), "{slip}");
            assert_eq!(read.unknown[0].note("a"), None);
        }
        for field in ["owner", "comment", "since", "retries"] {
            let read = parse(&format!(r#"{{"name": "a", "{field}": 7}}"#)).unwrap().remove(0);
            let note = read.unknown[0].note("a").unwrap();
            assert!(note.contains(&format!("of a has a field `{field}`, which this version doesn't know")), "{note}");
            assert_eq!(read.unknown[0].slip("a"), None);
        }
    }
}
