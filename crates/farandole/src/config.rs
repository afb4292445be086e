//! The configuration of a service: defaults, over them a TOML file, over that the environment.
//!
//! A key `field` of section `[section]` is the variable `FARANDOLE_SECTION_FIELD`; a service's own settings are section
//! `[own]`. A property of the Kafka client is `FARANDOLE_KAFKA_PROPERTIES_SASL_PASSWORD` for `sasl.password`. Durations have
//! units (`"10s"`, `"250ms"`), sizes too (`"1MiB"`). A key that isn't known is an error, for a setting that is misspelt would
//! otherwise be one that silently isn't there. `SETTINGS.md` lists all of them.
//!
//! **Invariant:** what [`Loaded::printed`] shows has no password in it.

pub(crate) mod check;
mod error;
mod fields;
mod layers;
mod mask;
mod per_topic;
mod print;
pub(crate) mod properties;
pub mod units;

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::time::Duration;

use secrecy::SecretString;
use serde::{Deserialize, Serialize, de::DeserializeOwned};

pub use error::Error;
pub use per_topic::{PerTopic, Start, Unknown};

/// Everything that the kit can be told. [`Config::default`] is the one place of the defaults.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Config {
    /// PostgreSQL.
    pub database: Database,
    /// Kafka.
    pub kafka: Kafka,
    /// The schema registry.
    pub registry: Registry,
    /// The service's topics.
    pub topics: Topics,
    /// The HTTP listener.
    pub http: Http,
    /// What is logged, and how.
    pub log: Log,
    /// Spans to a collector.
    pub otlp: Otlp,
    /// Reading others' topics.
    pub intake: Intake,
    /// Publishing.
    pub relay: Relay,
    /// Deadlines and effects.
    pub agenda: Agenda,
    /// The process.
    pub process: Process,
}

macro_rules! section {
    ($(#[$meta:meta])* $name:ident { $($(#[$field_meta:meta])* $field:ident : $ty:ty = $default:expr),* $(,)? }) => {
        $(#[$meta])*
        #[derive(Debug, Clone, Serialize, Deserialize)]
        #[serde(default, deny_unknown_fields)]
        pub struct $name { $($(#[$field_meta])* pub $field: $ty),* }
        impl Default for $name {
            fn default() -> Self {
                Self { $($field: $default),* }
            }
        }
    };
}

section! {
    /// PostgreSQL. The parts have pools of their own, so that none can wait for a connection that another holds.
    Database {
        /// `postgres://user:password@host:5432/database`. Must be set.
        #[serde(serialize_with = "units::masked")]
        url: SecretString = SecretString::default(),
        /// Connections for what routes read. The batches of commands have one of their own.
        max_connections: u32 = 8,
        /// Connections for the intake: one a lane, and some for what is looked up and tidied meanwhile.
        intake_connections: u32 = 4,
        /// Connections for deadlines and effects.
        agenda_connections: u32 = 3,
        /// Connections for the relay.
        relay_connections: u32 = 3,
        /// How long to wait for a free connection before it counts as trouble.
        #[serde(with = "units::duration")]
        acquire_timeout: Duration = Duration::from_secs(5),
        /// Idle connections are closed after this, so that an idle service costs the database little.
        #[serde(with = "units::duration")]
        idle_timeout: Duration = Duration::from_secs(60),
    }
}

section! {
    /// Kafka.
    Kafka {
        /// Brokers to begin with, `host:port,host:port`.
        bootstrap: String = "127.0.0.1:9092".to_owned(),
        /// Further properties of the clients (librdkafka's names): TLS, SASL. Those that guarantees rest on are refused.
        properties: BTreeMap<String, String> = BTreeMap::new(),
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
        #[serde(serialize_with = "units::masked")]
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

/// How subjects are named.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Subjects {
    /// `<topic>-<record's full name>`.
    TopicRecord,
    /// `<record's full name>`.
    Record,
    /// `<topic>-value`.
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
    pub(crate) fn word(self) -> Option<&'static str> {
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

section! {
    /// The service's topics, as `migrate` makes them.
    Topics {
        /// In front of every topic's name, so that two installations can share a cluster.
        prefix: String = String::new(),
        /// Partitions. Fixed once a topic exists: keys would change their partition.
        partitions: i32 = 6,
        /// Replicas; 0 is what the brokers allow, up to 3.
        replication: i32 = 0,
    }
}

section! {
    /// The HTTP listener.
    Http {
        /// Address and port; port 0 takes a free one.
        #[serde(deserialize_with = "units::listen")]
        listen: SocketAddr = SocketAddr::from(([127, 0, 0, 1], 8080)),
        /// Largest request body.
        #[serde(with = "units::size")]
        body_limit: usize = 1024 * 1024,
        /// A request that takes longer is answered with 503.
        #[serde(with = "units::duration")]
        request_timeout: Duration = Duration::from_secs(10),
        /// How long the head of a request may take: callers write it at once, and a connection without one is of no use.
        #[serde(with = "units::duration")]
        head_timeout: Duration = Duration::from_secs(10),
        /// How long a body may take, which is answered with 408 then.
        #[serde(with = "units::duration")]
        body_timeout: Duration = Duration::from_secs(10),
        /// How long a connection may do nothing between two requests: longer than what load balancers keep theirs for (60 s), so that
        /// they close it and no request meets a connection that is being closed.
        #[serde(with = "units::duration")]
        idle_timeout: Duration = Duration::from_secs(75),
        /// Connections, and at most three quarters of the descriptors that the process may have. When there are as many, a new one
        /// takes the place of that which has waited longest without a request.
        max_connections: usize = 2_000,
        /// Requests under way at a time; further ones are answered with 503 at once. As many as one batch after the next can
        /// answer within the timeout, and memory for their bodies is there.
        max_in_flight: usize = 1024,
        /// For how long an answer is remembered under its `Idempotency-Key`: longer than any caller sends the same again. After
        /// that the key is as good as new, and the same request is decided anew.
        #[serde(with = "units::duration")]
        idempotency_retention: Duration = Duration::from_secs(7 * 24 * 60 * 60),
        /// Where the bound address is written once the port listens.
        #[serde(skip_serializing_if = "Option::is_none")]
        port_file: Option<PathBuf> = None,
    }
}

/// How log lines look.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Format {
    /// One JSON object a line.
    Json,
    /// For people.
    Text,
}

section! {
    /// What is logged to standard error.
    Log {
        /// `json` or `text`.
        format: Format = Format::Json,
        /// A level, or a filter: `info`, `info,farandole=debug`.
        level: String = "info".to_owned(),
    }
}

section! {
    /// Spans to an OpenTelemetry collector.
    Otlp {
        /// Base address of its OTLP/HTTP receiver, usually `http://host:4318`; nothing is sent when not set.
        #[serde(skip_serializing_if = "Option::is_none")]
        endpoint: Option<String> = None,
        /// Which spans: a filter as `log.level`. `info` is one a request, a batch and an attempt at an effect;
        /// `info,farandole=debug` is one an event as well.
        level: String = "info".to_owned(),
    }
}

section! {
    /// Reading others' topics.
    Intake {
        /// Consumer group; the prefix and the service's name when not set.
        #[serde(skip_serializing_if = "Option::is_none")]
        group: Option<String> = None,
        /// Static member id, one a replica: then a restart moves no partition.
        #[serde(skip_serializing_if = "Option::is_none")]
        instance: Option<String> = None,
        /// Where a partition is read from that has no position yet: `earliest`, `latest`, or a time (RFC 3339). One for all topics,
        /// or a table by the names that the service calls them.
        start: PerTopic<Start> = PerTopic::default(),
        /// What becomes of events whose type the service neither handles nor skips: `park` holds up their key until a build knows
        /// them, `ignore` passes them over. One for all topics, or a table.
        unknown: PerTopic<Unknown> = PerTopic::default(),
        /// Transactions at once, each over what waits of its share of the partitions. With one, no two ever wait for the same
        /// rows; more are faster where decisions share no rows.
        lanes: usize = 1,
        /// Inputs of one aggregate that may be parked; at the limit their partition waits.
        max_parked_per_aggregate: u32 = 1_000,
        /// Inputs that may be parked in all.
        max_parked: u32 = 100_000,
        /// Inputs that may fail within a minute and be parked: more are likely to have one cause, which parking doesn't mend, so
        /// their partitions wait.
        max_failures_a_minute: u32 = 1_000,
        /// Records of a partition's batch at most.
        max_records: usize = 500,
        /// Bytes of a partition's batch at most.
        #[serde(with = "units::size")]
        max_bytes: usize = 1024 * 1024,
    }
}

section! {
    /// Publishing.
    Relay {
        /// The longest wait between two looks at the outbox, when no commit of this process wakes the relay.
        #[serde(with = "units::duration")]
        idle_max: Duration = Duration::from_millis(50),
        /// How long an active relay may show no sign of life before another takes over.
        #[serde(with = "units::duration")]
        lease: Duration = Duration::from_secs(10),
        /// How long a record may stay unacknowledged before the round is given up and read again.
        #[serde(with = "units::duration")]
        delivery_timeout: Duration = Duration::from_secs(30),
    }
}

section! {
    /// Deadlines and effects.
    Agenda {
        /// How long a claim on an effect lasts; longer than `timeout`.
        #[serde(with = "units::duration")]
        lease: Duration = Duration::from_secs(30),
        /// How long an attempt may take.
        #[serde(with = "units::duration")]
        timeout: Duration = Duration::from_secs(10),
        /// The longest wait that the other side may ask for (`Retry-After`); what is beyond is cut to it.
        #[serde(with = "units::duration")]
        longest_wait: Duration = Duration::from_secs(300),
        /// Calls to one target at a time.
        bulkhead: usize = 64,
        /// Between looks when nothing is going on.
        #[serde(with = "units::duration")]
        idle: Duration = Duration::from_secs(1),
    }
}

section! {
    /// The process.
    Process {
        /// Threads that run the service.
        worker_threads: usize = 2,
        /// How long stopping may take before what still runs is abandoned. Nothing is lost by it.
        #[serde(with = "units::duration")]
        stop_timeout: Duration = Duration::from_secs(20),
        /// How long `migrate` waits for Kafka, PostgreSQL and the registry. `serve` waits without end.
        #[serde(with = "units::duration")]
        wait: Duration = Duration::from_secs(60),
    }
}

/// For services without settings of their own.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct NoSettings {}

/// A configuration as loaded.
#[derive(Debug)]
pub struct Loaded<S> {
    /// The kit's.
    pub config: Config,
    /// The service's own: section `[own]`.
    pub own: S,
    /// All of it as TOML, secrets masked, with the source of each value as a comment.
    pub printed: String,
}

impl Config {
    /// Loads `file`, if there is one, over the defaults, and `env` over both. Variables without `FARANDOLE_` in front are
    /// left alone.
    ///
    /// # Errors
    /// Names every key that is unknown or wrong, where it came from, and what would be right: all at once.
    pub fn load<S: Serialize + DeserializeOwned + Default>(
        file: Option<&Path>,
        env: impl IntoIterator<Item = (String, String)>,
    ) -> Result<Loaded<S>, Error> {
        Self::load_for(file, env, |_| Vec::new())
    }

    /// The same for a service, which knows more that may be wrong.
    pub(crate) fn load_for<S: Serialize + DeserializeOwned + Default>(
        file: Option<&Path>,
        env: impl IntoIterator<Item = (String, String)>,
        more: impl FnOnce(&Self) -> Vec<String>,
    ) -> Result<Loaded<S>, Error> {
        let mut layers = layers::Layers::defaults::<S>();
        if let Some(path) = file {
            layers.file(path);
        }
        layers.env(env);
        let printed = print::print(&layers);
        let (config, own) = layers.finish::<S>(more)?;
        Ok(Loaded { config, own, printed })
    }

    /// Checks all that shows without a server, and that what has no default is there. [`Config::load`] has done the first for what it
    /// loads.
    ///
    /// # Errors
    /// Names every key that is wrong.
    pub fn check(&self) -> Result<(), Error> {
        let wrong: Vec<String> =
            check::unset(self).into_iter().chain(check::faults(self).into_iter().map(check::Fault::plain)).collect();
        if wrong.is_empty() { Ok(()) } else { Err(Error(wrong)) }
    }
}
