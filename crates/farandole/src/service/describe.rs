//! What a service is, for people and programs.

use std::collections::BTreeMap;

use serde::Serialize;

use crate::config::Config;
use crate::service::frame::{Frame, heard};
use crate::wire::topics;

/// What a service hears, publishes and keeps.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Description {
    /// Its name.
    pub name: &'static str,
    /// The topic of its facts.
    pub publishes: String,
    /// The kit's topic of it.
    pub journal: String,
    /// Types of its facts.
    pub events: Vec<&'static str>,
    /// Topics that it hears.
    pub hears: Vec<String>,
    /// Types of events that it reacts to.
    pub reacts_to: Vec<&'static str>,
    /// Types of events of those topics that it lists as ignored.
    pub ignores: Vec<&'static str>,
    /// What becomes of other types of those topics, by topic: `park` or `ignore`.
    pub unknown: BTreeMap<String, String>,
    /// Type of its commands.
    pub commands: &'static str,
    /// Type of its effects.
    pub effects: &'static str,
    /// Versions of its tables.
    pub migrations: Vec<String>,
}

impl Description {
    pub(super) fn of(frame: &Frame, config: &Config) -> Self {
        let Frame { contract, mappings, migrations, .. } = frame;
        let prefix = &config.topics.prefix;
        Self {
            name: contract.name,
            publishes: topics::own(prefix, contract.name),
            journal: topics::journal(prefix, contract.name),
            events: contract.events.iter().map(|t| t.name).collect(),
            hears: contract.hears.iter().map(|t| heard(prefix, mappings, t)).collect(),
            reacts_to: contract.heard.iter().map(|t| t.name).collect(),
            ignores: contract.ignores.unwrap_or_default().iter().map(|t| t.name).collect(),
            unknown: contract
                .hears
                .iter()
                .map(|t| {
                    (heard(prefix, mappings, t), config.intake.unknown.of(t).resolved(contract.ignores.is_some()).to_string())
                })
                .collect(),
            commands: contract.commands,
            effects: contract.effects,
            migrations: migrations.iter().map(|m| format!("{} ({})", m.version, m.description)).collect(),
        }
    }
}

impl std::fmt::Display for Description {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let list = |items: &[&str]| if items.is_empty() { "-".to_owned() } else { items.join("\n              ") };
        let owned = |items: &[String]| list(&items.iter().map(String::as_str).collect::<Vec<_>>());
        writeln!(f, "service       {}", self.name)?;
        writeln!(f, "publishes to  {} (and {})", self.publishes, self.journal)?;
        writeln!(f, "events        {}", list(&self.events))?;
        writeln!(f, "hears         {}", owned(&self.hears))?;
        writeln!(f, "reacts to     {}", list(&self.reacts_to))?;
        writeln!(f, "ignores       {}", list(&self.ignores))?;
        let unknown: Vec<String> = self.unknown.iter().map(|(topic, what)| format!("{topic}: {what}")).collect();
        writeln!(f, "other types   {}", owned(&unknown))?;
        writeln!(f, "commands      {}", self.commands)?;
        writeln!(f, "effects       {}", self.effects)?;
        writeln!(f, "migrations    {}", owned(&self.migrations))
    }
}
