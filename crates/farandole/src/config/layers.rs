//! Defaults, file and environment, one over the other, with the source of every value.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;

use serde::Serialize;
use serde::de::DeserializeOwned;
use toml::{Table, Value};

use crate::config::check::{self, Fault, Says};
use crate::config::error::suggest;
use crate::config::fields::fields_of;
use crate::config::values::{Values, with_units};
use crate::config::{Agenda, Config, Database, Error, Http, Intake, Kafka, Log, Otlp, Process, Relay, Topics, mask};
use crate::wire::settings::Registry;

/// In front of every variable of ours.
pub(super) const PREFIX: &str = "FARANDOLE_";
/// Where the file is: the command line's matter.
const NOT_A_KEY: &str = "FARANDOLE_CONFIG";
/// The only map of the kit's: its keys are librdkafka's, not ours.
const PROPERTIES: (&str, &str) = ("kafka", "properties");

/// Where a value came from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Source {
    Default,
    File(String),
    Env(String),
}

impl std::fmt::Display for Source {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Default => f.write_str("default"),
            Self::File(path) => write!(f, "file {path}"),
            Self::Env(name) => write!(f, "environment {name}"),
        }
    }
}

pub(super) struct Section {
    pub name: &'static str,
    /// Unknown for `[own]` when it isn't a plain struct.
    pub fields: Option<&'static [&'static str]>,
    pub values: Table,
}

pub(super) struct Layers {
    pub sections: Vec<Section>,
    /// By section and field; what isn't here is a default.
    pub sources: BTreeMap<(&'static str, String), Source>,
    problems: Vec<String>,
    /// Whose values couldn't be read. They stand at their defaults, of which there is nothing more to say.
    unread: BTreeSet<(&'static str, String)>,
}

impl Layers {
    pub fn defaults<S: Serialize + DeserializeOwned + Default>() -> Self {
        let mut layers = Self::kits();
        layers.sections.push(section::<S>("own"));
        layers
    }

    /// The kit's sections. Not generic, as all here that can be: what is generic is built once more for each service.
    fn kits() -> Self {
        let sections = vec![
            section::<Database>("database"),
            section::<Kafka>("kafka"),
            section::<Registry>("registry"),
            section::<Topics>("topics"),
            section::<Http>("http"),
            section::<Log>("log"),
            section::<Otlp>("otlp"),
            section::<Intake>("intake"),
            section::<Relay>("relay"),
            section::<Agenda>("agenda"),
            section::<Process>("process"),
        ];
        Self { sections, sources: BTreeMap::new(), problems: Vec::new(), unread: BTreeSet::new() }
    }

    pub fn source(&self, section: &'static str, field: &str) -> Source {
        self.sources.get(&(section, field.to_owned())).cloned().unwrap_or(Source::Default)
    }

    pub fn file(&mut self, path: &Path) {
        let source = Source::File(path.display().to_string());
        let table = match std::fs::read_to_string(path).map(|text| (toml::from_str::<Table>(&text), text)) {
            Ok((Ok(table), _)) => table,
            // The message alone: the line itself may hold a password.
            Ok((Err(error), text)) => {
                let line = error.span().map_or(0, |span| text[..span.start.min(text.len())].matches('\n').count() + 1);
                return self.problems.push(format!("{source}, line {line}: {}", error.message()));
            }
            Err(error) => return self.problems.push(format!("{source} can't be read: {error}")),
        };
        for (name, value) in table {
            let Some(at) = self.sections.iter().position(|s| s.name == name) else {
                let hint = suggest(&name, self.sections.iter().map(|s| s.name.to_owned()));
                self.problems.push(format!("unknown section `[{name}]` in {source}{hint}"));
                continue;
            };
            let Value::Table(fields) = value else {
                self.problems.push(format!("`{name}` in {source} is a section: write `[{name}]` and its keys below"));
                continue;
            };
            for (field, value) in fields {
                if self.knows(at, &field) {
                    self.set(at, field, value, source.clone());
                } else {
                    let hint = suggest(&format!("{name}.{field}"), self.keys(".", str::to_owned));
                    self.problems.push(format!("unknown key `{name}.{field}` in {source}{hint}"));
                }
            }
        }
    }

    pub fn env(&mut self, env: impl IntoIterator<Item = (String, String)>) {
        for (name, text) in env {
            let Some(rest) = name.strip_prefix(PREFIX).filter(|_| name != NOT_A_KEY) else { continue };
            let rest = rest.to_ascii_lowercase();
            let found =
                self.sections.iter().enumerate().find_map(|(at, s)| Some((at, rest.strip_prefix(s.name)?.strip_prefix('_')?)));
            match found {
                Some((at, field)) if self.sections[at].name == PROPERTIES.0 && field.starts_with("properties_") => {
                    let property = field["properties_".len()..].replace('_', ".");
                    self.property(at, property, text, Source::Env(name));
                }
                Some((at, field)) if self.knows(at, field) => match typed(self.sections[at].values.get(field), &text) {
                    Ok(value) => self.set(at, field.to_owned(), value, Source::Env(name)),
                    Err(reason) => {
                        self.problems.push(format!("`{}.{field}` from environment {name}: {reason}", self.sections[at].name))
                    }
                },
                _ if is_service_link(&name, &text) => {}
                _ => {
                    let hint = suggest(&name, self.keys("_", |key| format!("{PREFIX}{}", key.to_ascii_uppercase())));
                    self.problems.push(format!("unknown variable `{name}`{hint}"));
                }
            }
        }
    }

    fn property(&mut self, at: usize, property: String, text: String, source: Source) {
        self.sources.insert((PROPERTIES.0, PROPERTIES.1.to_owned()), source);
        let properties = self.sections[at].values.entry(PROPERTIES.1).or_insert_with(|| Value::Table(Table::new()));
        if let Value::Table(properties) = properties {
            properties.insert(property, Value::String(text));
        }
    }

    fn knows(&self, at: usize, field: &str) -> bool {
        self.sections[at].fields.is_none_or(|fields| fields.contains(&field))
    }

    fn set(&mut self, at: usize, field: String, value: Value, source: Source) {
        let section = &mut self.sections[at];
        self.sources.insert((section.name, field.clone()), source);
        section.values.insert(field, value);
    }

    fn keys(&self, between: &'static str, form: impl Fn(&str) -> String) -> Vec<String> {
        let sections = self.sections.iter().flat_map(|s| s.fields.unwrap_or_default().iter().map(move |f| (s.name, f)));
        sections.map(|(section, field)| form(&format!("{section}{between}{field}"))).collect()
    }

    /// The configuration, when nothing is wrong with it; `more` finds what else is.
    pub fn finish<S: Serialize + DeserializeOwned + Default>(
        mut self,
        more: impl FnOnce(&Config) -> Vec<String>,
    ) -> Result<(Config, S), Error> {
        let (config, own) = (self.config(), self.read("own"));
        let more = more(&config);
        self.judge(config, more).map(|config| (config, own))
    }

    fn config(&mut self) -> Config {
        Config {
            database: self.read("database"),
            kafka: self.read("kafka"),
            registry: self.read("registry"),
            topics: self.read("topics"),
            http: self.read("http"),
            log: self.read("log"),
            otlp: self.read("otlp"),
            intake: self.read("intake"),
            relay: self.read("relay"),
            agenda: self.read("agenda"),
            process: self.read("process"),
        }
    }

    /// `config`, when nothing is wrong; `more` is what else is.
    fn judge(mut self, config: Config, more: Vec<String>) -> Result<Config, Error> {
        for fault in check::faults(&config) {
            self.fault(fault);
        }
        self.problems.extend(more);
        if self.problems.is_empty() {
            return Ok(config);
        }
        // Alone it is no mistake yet, for not every verb needs a database.
        if !self.unread.iter().any(|(section, field)| (*section, field.as_str()) == ("database", "url")) {
            self.problems.extend(check::unset(&config));
        }
        Err(Error(self.problems))
    }

    fn value(&self, section: &str, field: &str) -> Option<&Value> {
        self.sections.iter().find(|s| s.name == section)?.values.get(field)
    }

    fn fault(&mut self, Fault { section, field, says }: Fault) {
        if self.unread.contains(&(section, field.to_owned())) {
            return;
        }
        let source = self.source(section, field);
        self.problems.push(match says {
            Says::Want(want) => {
                let value = self.value(section, field).map(|value| mask::masked(field, value).to_string());
                format!("`{section}.{field}` from {source} is {}; it must be {want}", value.unwrap_or_default())
            }
            Says::WantSecretly(want) => format!("`{section}.{field}` from {source} must be {want}"),
            Says::All(sentence) => sentence,
        });
    }

    /// The section as its type. What doesn't fit is noted and stands at its default, so that what follows is looked at too.
    fn read<T: Serialize + DeserializeOwned + Default>(&mut self, name: &'static str) -> T {
        loop {
            let values = self.sections.iter().find(|s| s.name == name).map(|s| s.values.clone()).unwrap_or_default();
            let error = match serde_path_to_error::deserialize::<_, T>(Values(Value::Table(values))) {
                Ok(value) => return value,
                Err(error) => error,
            };
            let path = error.path().to_string();
            let field = path.split('.').next().unwrap_or_default().to_owned();
            let source = self.source(name, &field);
            if self.retype(name, &field, &source) {
                continue;
            }
            let reason = error.into_inner();
            let reason = toml::de::Error::message(&reason).trim().to_owned();
            let key = if path == "." { name.to_owned() } else { format!("{name}.{path}") };
            self.problems.push(format!("`{key}` from {source}: {reason}"));
            if !self.unread.insert((name, field.clone())) || !self.reset::<T>(name, &field) {
                return T::default();
            }
        }
    }

    /// Puts a setting back to its default; false when there was none to put back.
    fn reset<T: Serialize + DeserializeOwned + Default>(&mut self, name: &str, field: &str) -> bool {
        let default = section::<T>("").values.remove(field);
        let Some(section) = self.sections.iter_mut().find(|s| s.name == name) else { return false };
        let before = section.values.remove(field);
        section.values.extend(default.map(|value| (field.to_owned(), value)));
        before.is_some()
    }

    /// A variable's text that fits no string, for a setting without a default to tell its type, may be a number or a list.
    fn retype(&mut self, name: &str, field: &str, source: &Source) -> bool {
        let Some(section) = self.sections.iter_mut().find(|s| s.name == name) else { return false };
        let (Source::Env(_), Some(Value::String(text))) = (source, section.values.get(field)) else { return false };
        match inline(text) {
            Ok(value) if !value.is_str() => {
                section.values.insert(field.to_owned(), value);
                true
            }
            _ => false,
        }
    }
}

/// Whether Kubernetes adds this for a service `farandole-…` of the namespace, so that it isn't meant for us: `FARANDOLE_ORDERS_SERVICE_HOST`,
/// `…_SERVICE_PORT`, `…_SERVICE_PORT_HTTP`, `…_PORT=tcp://10.0.0.1:8080`, `…_PORT_8080_TCP` and what goes on from that. A `…_PORT` that is
/// a number was set by a person, who means something by it.
fn is_service_link(name: &str, value: &str) -> bool {
    name.ends_with("_SERVICE_HOST")
        || name.ends_with("_SERVICE_PORT")
        || name.contains("_SERVICE_PORT_")
        || name.split("_PORT_").skip(1).any(|rest| rest.starts_with(|c: char| c.is_ascii_digit()))
        || (name.ends_with("_PORT") && ["tcp://", "udp://", "sctp://"].iter().any(|scheme| value.starts_with(scheme)))
}

fn section<T: Serialize + DeserializeOwned + Default>(name: &'static str) -> Section {
    // What can't be written as a table (a unit, a map with odd keys) has no defaults to show.
    let values = Table::try_from(T::default()).unwrap_or_default();
    let values = values.into_iter().map(|(field, value)| (field, with_units(value))).collect();
    Section { name, fields: fields_of::<T>(), values }
}

/// A variable's text as the type that the default has.
fn typed(default: Option<&Value>, text: &str) -> Result<Value, String> {
    let wrong = |want: &str, example: &Value| format!("`{text}` is not {want}; for example `{example}`, the default");
    match default {
        None | Some(Value::String(_)) => Ok(Value::String(text.to_owned())),
        Some(d @ Value::Integer(_)) => text.trim().parse().map(Value::Integer).map_err(|_| wrong("whole number", d)),
        Some(d @ Value::Float(_)) => text.trim().parse().map(Value::Float).map_err(|_| wrong("number", d)),
        Some(d @ Value::Boolean(_)) => text.trim().parse().map(Value::Boolean).map_err(|_| wrong("`true` or `false`", d)),
        // A table by topic's name, over which one word for all may be set.
        Some(Value::Table(_)) => Ok(inline(text).unwrap_or_else(|_| Value::String(text.to_owned()))),
        Some(d) => inline(text).map_err(|_| wrong("TOML value", d)),
    }
}

fn inline(text: &str) -> Result<Value, toml::de::Error> {
    let mut table: Table = toml::from_str(&format!("value = {text}"))?;
    Ok(table.remove("value").unwrap_or(Value::String(text.to_owned())))
}
