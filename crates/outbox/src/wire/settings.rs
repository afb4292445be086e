//! How brokers and registry are reached, and topics made.

use std::collections::BTreeMap;

use rdkafka::ClientConfig;
use secrecy::SecretString;
use serde::{Deserialize, Serialize};

use crate::ground::secret;
use crate::ground::section::section;

section! {
    /// Kafka.
    Kafka {
        /// Brokers to begin with, `host:port,host:port`.
        bootstrap: String = "127.0.0.1:9092".to_owned(),
        /// Further properties of the clients (librdkafka's names): TLS, SASL. Those that guarantees rest on are refused.
        properties: BTreeMap<String, String> = BTreeMap::new(),
    }
}

impl Kafka {
    /// What a client is made with: `defaults`, which the user's properties may change.
    pub fn client(&self, defaults: &[(&str, &str)]) -> ClientConfig {
        let mut client = ClientConfig::new();
        client.set("bootstrap.servers", &self.bootstrap);
        let theirs = self.properties.iter().map(|(name, value)| (name.as_str(), value.as_str()));
        for (name, value) in defaults.iter().copied().chain(theirs) {
            client.set(name, value);
        }
        client
    }
}

section! {
    /// The service's topics, as `migrate` makes them.
    Topics {
        /// In front of every topic's name, so that two installations can share a cluster.
        prefix: String = String::new(),
        /// Partitions. Fixed once a topic exists: keys would change their partition.
        partitions: i32 = 6,
        /// Replicas; 0 is what the brokers allow, up to 3.
        replication: i32 = 0,
        /// Whether `migrate` makes those that aren't there. Where others make topics, false: then it says what is missing, and how it
        /// has to be.
        create: bool = true,
    }
}

section! {
    /// The schema registry.
    Registry {
        /// Base of its Confluent interface. May hold a user and password.
        url: String = "http://127.0.0.1:8081".to_owned(),
        /// Who asks, where the address doesn't say it.
        #[serde(skip_serializing_if = "Option::is_none")]
        user: Option<String> = None,
        /// The user's password.
        #[serde(serialize_with = "secret::masked")]
        password: SecretString = SecretString::default(),
        /// `true` registers schemas that aren't there; `"lookup"` takes what others have registered, and registers nothing; which
        /// subjects that must be, `SETTINGS.md` says.
        register: Register = Register::Missing,
        /// How subjects are named: `topic-record` (`<topic>-<record's full name>`), `record` (`<record's full name>`) or `topic`
        /// (`<topic>-value`, for topics of one type). The journal's are `topic-record` in any case.
        subjects: Subjects = Subjects::TopicRecord,
        /// What a subject is told to demand of new versions before the first one is registered; `as-is` tells it nothing.
        compatibility: Compatibility = Compatibility::FullTransitive,
    }
}

/// Whether schemas that aren't there are registered.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "Yes")]
pub enum Register {
    /// They are.
    #[serde(rename = "true")]
    Missing,
    /// They are looked up only: somebody else registers them.
    #[serde(rename = "lookup")]
    Lookup,
}

/// A `true` of TOML's, or text: variables of the environment have no other type.
#[derive(Deserialize)]
#[serde(untagged)]
enum Yes {
    Bool(bool),
    Text(String),
}

impl TryFrom<Yes> for Register {
    type Error = &'static str;

    fn try_from(said: Yes) -> Result<Self, &'static str> {
        match said {
            Yes::Bool(true) => Ok(Self::Missing),
            Yes::Text(text) if text == "true" => Ok(Self::Missing),
            Yes::Text(text) if text == "lookup" => Ok(Self::Lookup),
            _ => Err("`registry.register` is true or \"lookup\""),
        }
    }
}

/// How subjects are named; Confluent's names of the same strategies are taken, too.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Subjects {
    /// `<topic>-<record's full name>`: `TopicRecordNameStrategy`.
    #[serde(alias = "TopicRecordNameStrategy")]
    TopicRecord,
    /// `<record's full name>`: `RecordNameStrategy`.
    #[serde(alias = "RecordNameStrategy")]
    Record,
    /// `<topic>-value`, for topics of one type: `TopicNameStrategy`.
    #[serde(alias = "TopicNameStrategy")]
    Topic,
}

/// What a subject demands of a new version.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
#[expect(missing_docs, reason = "the registry's own words")]
pub enum Compatibility {
    /// Whatever the registry says by itself.
    AsIs,
    None,
    Backward,
    BackwardTransitive,
    Forward,
    ForwardTransitive,
    Full,
    FullTransitive,
}

impl Compatibility {
    /// As the registry writes it; `None` is left alone.
    pub fn word(self) -> Option<&'static str> {
        Some(match self {
            Self::AsIs => return None,
            Self::None => "NONE",
            Self::Backward => "BACKWARD",
            Self::BackwardTransitive => "BACKWARD_TRANSITIVE",
            Self::Forward => "FORWARD",
            Self::ForwardTransitive => "FORWARD_TRANSITIVE",
            Self::Full => "FULL",
            Self::FullTransitive => "FULL_TRANSITIVE",
        })
    }
}
