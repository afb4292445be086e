//! What was observed, and what of it isn't as declared.

use std::collections::BTreeMap;

use farandole::cli::shown;
use serde::Serialize;

use crate::graph::words::short;

/// What topics and groups tell, beside what is declared.
#[derive(Debug, Default, Serialize)]
pub struct Report {
    /// The topics that were read.
    pub topics: Vec<String>,
    /// Records read.
    pub records: u64,
    /// Each declared event of each service.
    pub published: Vec<Sent>,
    /// Each declared consumption.
    pub consumed: Vec<Consumed>,
    /// What came of what.
    pub reactions: Vec<Reaction>,
    /// What isn't as declared.
    pub named: Vec<Finding>,
}

/// A declared event.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Sent {
    /// Who publishes it.
    pub publisher: String,
    /// Its type.
    pub event: String,
    /// Its topic.
    pub topic: String,
    /// How many there are.
    pub records: u64,
}

/// A declared consumption.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Consumed {
    /// Who consumes.
    pub consumer: String,
    /// The type.
    pub event: String,
    /// The topic.
    pub topic: String,
    /// How many events of the consumer came of one.
    pub led_to: u64,
    /// Whether the consumer's group has committed an offset behind one.
    pub committed: bool,
}

/// What a service made of an input.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Reaction {
    /// The service, or the source of whom nobody has declared.
    pub service: String,
    /// The input's type; or what it was, if it was no record: `command`, `deadline confirm`.
    pub input: String,
    /// The type of what came of it.
    pub event: String,
    /// How many.
    pub records: u64,
}

/// Something that isn't as declared.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Finding {
    /// What it is.
    pub what: What,
    /// The service, source or group.
    pub who: String,
    /// The topic.
    pub topic: String,
    /// The event's type, if it is about one.
    pub event: Option<String>,
    /// What was found, and what to do.
    pub words: String,
}

/// What isn't as declared.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum What {
    /// Somebody publishes to a topic and isn't declared to.
    UndeclaredProducer,
    /// A service publishes a type that it doesn't declare.
    UndeclaredEvent,
    /// Somebody consumes what they don't declare.
    UndeclaredConsumer,
    /// A declared event of which there is no record.
    NeverPublished,
    /// A declared consumption of which there is no sign.
    NeverConsumed,
    /// More kinds of records than are told apart.
    TooMany,
}

impl What {
    fn words(self) -> &'static str {
        match self {
            Self::UndeclaredProducer => "undeclared producer",
            Self::UndeclaredEvent => "undeclared event",
            Self::UndeclaredConsumer => "undeclared consumer",
            Self::NeverPublished => "never published",
            Self::NeverConsumed => "never consumed",
            Self::TooMany => "too many kinds",
        }
    }
}

/// In lines, of which none is ended by what records say.
impl std::fmt::Display for Report {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        writeln!(f, "{} records in {}", self.records, shown(&self.topics.join(", ")))?;
        writeln!(f, "\npublished")?;
        for sent in &self.published {
            writeln!(f, "  {:<16} {:<24} {:>9}", shown(&sent.publisher), shown(short(&sent.event)), sent.records)?;
        }
        writeln!(f, "\nconsumed")?;
        for consumed in &self.consumed {
            let came = match (consumed.led_to, consumed.committed) {
                (0, true) => "read; nothing came of it".to_owned(),
                (0, false) => "not seen".to_owned(),
                (n, _) => format!("{n} record(s) came of it"),
            };
            writeln!(f, "  {:<16} {:<24} {came}", shown(&consumed.consumer), shown(short(&consumed.event)))?;
        }
        writeln!(f, "\nwhat came of what")?;
        let mut by_input = BTreeMap::<(&str, &str), Vec<String>>::new();
        for reaction in &self.reactions {
            let came = format!("{} ({})", short(&reaction.event), reaction.records);
            by_input.entry((&reaction.service, &reaction.input)).or_default().push(came);
        }
        for ((service, input), came) in by_input {
            writeln!(f, "  {:<16} {:<24} {}", shown(service), shown(short(input)), shown(&came.join(", ")))?;
        }
        if self.named.is_empty() {
            return writeln!(f, "\nall is as declared");
        }
        writeln!(f, "\nnot as declared")?;
        for finding in &self.named {
            writeln!(f, "  {}: {}", finding.what.words(), shown(&finding.words))?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_break_no_lines() {
        let name = || "x.a\n\u{1b}b".to_owned();
        let report = Report {
            topics: vec![name()],
            records: 1,
            published: vec![Sent { publisher: name(), event: name(), topic: name(), records: 1 }],
            consumed: vec![Consumed { consumer: name(), event: name(), topic: name(), led_to: 1, committed: true }],
            reactions: vec![Reaction { service: name(), input: name(), event: name(), records: 1 }],
            named: vec![Finding { what: What::NeverConsumed, who: name(), topic: name(), event: Some(name()), words: name() }],
        };
        let text = report.to_string();
        assert_eq!((text.lines().count(), text.matches("a\\n\\u{1b}b").count()), (13, 9), "{text}");
        assert!(!text.contains('\u{1b}'), "{text}");
    }
}
