//! How the intake reads.

use std::collections::BTreeMap;

use crate::parking::Limits;
use crate::wire::mapping::Mapping;
use crate::wire::per_topic::{Expired, PerTopic, Start};

/// The program with the verbs of readers that have none of their own.
const TOOL: &str = "farandole";

/// How a [`Reader`](crate::Reader) reads topics. (A service has the settings `[intake]`.)
///
/// ```
/// use farandole::Mapping;
/// use farandole::intake::{Config, PerTopic, Start};
/// use farandole::mapping::Source;
///
/// let mut config = Config::new("mailing-list", "127.0.0.1:9092", vec!["billing".to_owned(), "acme.v1".to_owned()]);
/// config.lanes = 4; // transactions at once; the pool needs one connection more
/// config.start = PerTopic::default().with("acme.v1", Start::Latest); // of the others from their beginning
/// let theirs = Mapping::new().header("ce_type", Source::Header("event".to_owned())).key(Source::Value("/customer/id".to_owned()));
/// config.mappings.insert("acme.v1".to_owned(), theirs); // a producer without the kit
/// assert_eq!(config.reader, "mailing-list");
/// ```
#[derive(Debug, Clone)]
pub struct Config {
    /// Brokers, `host:port,…`.
    pub bootstrap: String,
    /// Further properties of the Kafka client: TLS, SASL. Those that guarantees rest on are refused.
    pub properties: BTreeMap<String, String>,
    /// Consumer group.
    pub group: String,
    /// The reader's name, under which its rows are stored: positions, parked records, ids of foreign records. Each reader of a topic receives
    /// all of its records, so under another name it begins anew; the group may change. The group's name unless it is set; a service's is its
    /// own, whatever this says.
    pub reader: String,
    /// Tries the handler in this schema, beside the live reader: names without a schema are looked for there alone, and positions are those of
    /// reader `READER.SCHEMA`, which `farandole replay --into SCHEMA` has made; until then it waits. A service has no use for it.
    pub into: Option<String>,
    /// Static member id, so that a restart within the session timeout moves no partition.
    pub instance: Option<String>,
    /// Topics with their prefixes.
    pub topics: Vec<String>,
    /// Where a partition is read from that has no position yet, by topic; one that came after the reader had begun with its topic is read
    /// from its beginning.
    pub start: PerTopic<Start>,
    /// What is done where the topic doesn't hold any more what would be read next, by topic: the partition stops and says so, or goes on
    /// from the earliest record, which is logged and counted.
    pub expired: PerTopic<Expired>,
    /// Transactions at once, each over a share of the partitions. The reader uses one connection for each, and one more.
    pub lanes: usize,
    /// How much may be parked; at a limit the partition waits.
    pub parked: Limits,
    /// Records of a partition's batch at most.
    pub max_records: usize,
    /// Bytes of a partition's batch at most.
    pub max_bytes: usize,
    /// The program with the verbs `positions` and `parked` for this reader, as messages name it to the operator.
    pub tool: String,
    /// How records of foreign topics are read, by the topics' names in Kafka.
    pub mappings: BTreeMap<String, Mapping>,
}

impl Config {
    /// The default of [`Config::lanes`].
    pub const LANES: usize = 1;
    /// The default of [`Config::max_records`].
    pub const MAX_RECORDS: usize = 500;
    /// The default of [`Config::max_bytes`].
    pub const MAX_BYTES: usize = 1024 * 1024;

    /// How a setting is called where it was made: in a service's configuration, or in code.
    pub(crate) fn setting(&self, name: &str) -> String {
        if self.tool == TOOL { format!("`IntakeConfig::{name}`") } else { format!("`intake.{name}`") }
    }

    /// How the operator calls `positions set` for this reader, to see what that changes.
    pub(crate) fn set_position(&self, reader: &str, topic: &str, partition: i32, to: impl std::fmt::Display) -> String {
        let whose = if self.tool == TOOL { format!(" --reader {reader}") } else { String::new() };
        format!("`{} positions set{whose} --topic {topic} --partition {partition} --to {to}`", self.tool)
    }

    /// The defaults, for `topics` (with their prefixes) read as consumer group `group`.
    pub fn new(group: impl Into<String>, bootstrap: impl Into<String>, topics: Vec<String>) -> Self {
        let group = group.into();
        Self {
            bootstrap: bootstrap.into(),
            properties: BTreeMap::new(),
            reader: group.clone(),
            group,
            into: None,
            instance: None,
            topics,
            start: PerTopic::default(),
            expired: PerTopic::default(),
            lanes: Self::LANES,
            parked: Limits::DEFAULT,
            max_records: Self::MAX_RECORDS,
            max_bytes: Self::MAX_BYTES,
            tool: TOOL.to_owned(),
            mappings: BTreeMap::new(),
        }
    }
}
