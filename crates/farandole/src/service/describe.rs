//! What a service is, for people and programs.

use std::collections::BTreeMap;

use serde::Serialize;

use crate::config::{Config, units};
use crate::consume::tidy;
use crate::service::frame::{Frame, Mappings, group, heard};
use crate::wire::mapping::Mapping;
use crate::wire::topics;

/// What a service subscribes to, publishes and stores, and what is guaranteed: what `describe` prints, as text or JSON. From
/// [`Service::description`](crate::Service::description), whose documentation has an example.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Description {
    /// The service's name.
    pub name: &'static str,
    /// The topic of its events, with the prefix.
    pub publishes: String,
    /// The topic that says what was parked, released and dropped.
    pub journal: String,
    /// Types of the events that it publishes.
    pub events: Vec<&'static str>,
    /// Those of them that nobody need subscribe to; see [`messages!`](crate::messages).
    pub ends: Vec<&'static str>,
    /// What its events name as their source: header `ce_source`.
    pub source: String,
    /// The `content-type` of its events.
    pub content_type: &'static str,
    /// The topics that it subscribes to, by their names in Kafka.
    pub hears: Vec<String>,
    /// The consumer group in which it does.
    pub group: String,
    /// Types of the events that it subscribes to.
    pub reacts_to: Vec<&'static str>,
    /// Types of events of those topics that it lists as ignored.
    pub ignores: Vec<&'static str>,
    /// What becomes of other types of those topics, by topic: `park` or `ignore`.
    pub unknown: BTreeMap<String, String>,
    /// What is guaranteed about the records of those topics.
    pub guarantees: Vec<Guarantee>,
    /// The name of its commands' type; `Never` if it takes none.
    pub commands: &'static str,
    /// The deadlines that it sets.
    pub deadlines: Vec<&'static str>,
    /// What it asks of the outside world.
    pub effects: Vec<&'static str>,
    /// Columns (`table.column`) and tables that no event fills, and that it fills by itself after a rebuild.
    pub derived: Vec<&'static str>,
    /// The migrations of its tables, by number and name.
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
            ends: contract.ends.iter().map(|t| t.name).collect(),
            source: config.relay.source.clone().unwrap_or_else(|| format!("/farandole/{}", contract.name)),
            content_type: frame.encoding.content_type(),
            hears: contract.hears.iter().map(|t| heard(prefix, mappings, t)).collect(),
            group: group(contract, config),
            reacts_to: contract.heard.iter().map(|t| t.name).collect(),
            ignores: contract.ignores.unwrap_or_default().iter().map(|t| t.name).collect(),
            unknown: contract
                .hears
                .iter()
                .map(|t| {
                    (heard(prefix, mappings, t), config.intake.unknown.of(t).resolved(contract.ignores.is_some()).to_string())
                })
                .collect(),
            guarantees: contract.hears.iter().flat_map(|t| Guarantee::of(prefix, mappings, t)).collect(),
            commands: contract.commands,
            deadlines: contract.deadlines.clone(),
            effects: contract.effects.to_vec(),
            derived: frame.derived.iter().map(|derived| derived.what).collect(),
            migrations: migrations.iter().map(|m| format!("{} ({})", m.version, m.description)).collect(),
        }
    }
}

/// What is guaranteed about the records of one topic, by who wrote them.
///
/// Each record is judged by itself: one with a `farandole` header is the kit's. A topic without a
/// [`mapping`](crate::Service::mapping), or with one that only names it, may hold both kinds; one whose keys or headers are mapped is
/// another producer's.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Guarantee {
    /// The topic's name in Kafka.
    pub topic: String,
    /// Whose records.
    pub producer: Producer,
    /// In which order they are applied: `commits, per key` (those of their producer), or `the partition's`.
    pub order: &'static str,
    /// Whether a record that the producer lost is detected: its partition then stops.
    pub loss_detected: bool,
    /// For how long a record that the producer repeats is dropped: `always`, or a time. For a foreign record only if it has `ce_source`
    /// and `ce_id`, of itself or by the mapping; without them it is applied each time.
    pub duplicates_dropped: String,
}

/// Who writes records.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Producer {
    /// A service or outbox of the kit: its records are numbered, and each names the one before it.
    Farandole,
    /// Any other.
    Foreign,
}

impl Guarantee {
    fn of(prefix: &str, mappings: &Mappings, topic: &str) -> Vec<Self> {
        let topic_name = || heard(prefix, mappings, topic);
        let chained = Self {
            topic: topic_name(),
            producer: Producer::Farandole,
            order: "commits, per key",
            loss_detected: true,
            duplicates_dropped: "always".to_owned(),
        };
        let foreign = Self {
            topic: topic_name(),
            producer: Producer::Foreign,
            order: "the partition's",
            loss_detected: false,
            duplicates_dropped: units::duration::text(tidy::STRANGERS),
        };
        if mappings.get(topic).is_none_or(Mapping::only_renames) { vec![chained, foreign] } else { vec![foreign] }
    }
}

impl std::fmt::Display for Guarantee {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let Self { topic, duplicates_dropped, .. } = self;
        match self.producer {
            Producer::Farandole => {
                write!(f, "{topic}, from the kit: in the order of commits per key; loss detected; duplicates always dropped")
            }
            Producer::Foreign => write!(
                f,
                "{topic}, from others: in the partition's order; loss not detected; duplicates dropped for {duplicates_dropped} by \
                 ce_source and ce_id, without these never"
            ),
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
        writeln!(f, "ends          {}", list(&self.ends))?;
        writeln!(f, "subscribes to {}", owned(&self.hears))?;
        writeln!(f, "reacts to     {}", list(&self.reacts_to))?;
        writeln!(f, "ignores       {}", list(&self.ignores))?;
        let unknown: Vec<String> = self.unknown.iter().map(|(topic, what)| format!("{topic}: {what}")).collect();
        writeln!(f, "other types   {}", owned(&unknown))?;
        let guarantees: Vec<String> = self.guarantees.iter().map(ToString::to_string).collect();
        writeln!(f, "guarantees    {}", owned(&guarantees))?;
        writeln!(f, "commands      {}", if self.commands == "Never" { "-" } else { self.commands })?;
        writeln!(f, "deadlines     {}", list(&self.deadlines))?;
        writeln!(f, "effects       {}", list(&self.effects))?;
        writeln!(f, "fills itself  {}", list(&self.derived))?;
        writeln!(f, "migrations    {}", owned(&self.migrations))
    }
}
