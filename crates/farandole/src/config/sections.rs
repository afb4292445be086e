//! All that the kit can be told, with the defaults.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::Duration;

use secrecy::SecretString;
use serde::{Deserialize, Serialize};

use crate::config::units;
use crate::consume::intake;
use crate::ground::secret;
use crate::ground::section::section;
use crate::parking::Limits;
use crate::wire::per_topic::{Expired, PerTopic, Start, Unknown};
use crate::wire::settings::{Kafka, Registry, Topics};

/// All settings of the kit, with their defaults as [`Config::default`]. `SETTINGS.md` says when to change which.
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

section! {
    /// PostgreSQL. The parts have pools of their own, so that none can wait for a connection that another holds.
    Database {
        /// `postgres://user:password@host:5432/database`. Must be set.
        #[serde(serialize_with = "secret::masked")]
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
        /// What is done where a topic doesn't hold any more what would be read next: `stop` has the partition stop and say so, `earliest`
        /// has it go on from the earliest record, which is logged and counted. One for all topics, or a table.
        expired: PerTopic<Expired> = PerTopic::default(),
        /// What becomes of events whose type the service neither handles nor skips: `park` holds up their key until a build knows
        /// them, `ignore` passes them over. One for all topics, or a table.
        unknown: PerTopic<Unknown> = PerTopic::default(),
        /// Transactions at once, each over what waits of its share of the partitions. With one, no two ever wait for the same
        /// rows; more are faster where decisions share no rows.
        lanes: usize = intake::Config::LANES,
        /// Inputs of one aggregate that may be parked; at the limit their partition waits.
        max_parked_per_aggregate: u32 = Limits::DEFAULT.aggregate,
        /// Inputs that may be parked in all.
        max_parked: u32 = Limits::DEFAULT.total,
        /// Inputs that may fail within a minute and be parked: more are likely to have one cause, which parking doesn't fix, so
        /// their partitions wait.
        max_failures_a_minute: u32 = Limits::DEFAULT.a_minute,
        /// Between two checkpoints at least: what is read of which partition, for the journal. A service whose database is lost begins at the
        /// last; what came after it is read again.
        #[serde(with = "units::duration")]
        checkpoint_every: Duration = Duration::from_secs(10),
        /// Records of a partition's batch at most.
        max_records: usize = intake::Config::MAX_RECORDS,
        /// Bytes of a partition's batch at most.
        #[serde(with = "units::size")]
        max_bytes: usize = intake::Config::MAX_BYTES,
    }
}

impl From<&Intake> for Limits {
    fn from(config: &Intake) -> Self {
        Self { aggregate: config.max_parked_per_aggregate, total: config.max_parked, a_minute: config.max_failures_a_minute }
    }
}

section! {
    /// Publishing.
    Relay {
        /// What events name as their source (`ce_source`); `/farandole/<service>` when not set. It stays as it was when the first event
        /// was published.
        #[serde(skip_serializing_if = "Option::is_none")]
        source: Option<String> = None,
        /// The longest wait between two looks at the outbox, when no commit of this process wakes the relay.
        #[serde(with = "units::duration")]
        idle_max: Duration = Duration::from_millis(50),
        /// How long an active relay may show no sign of life before another takes over.
        #[serde(with = "units::duration")]
        lease: Duration = Duration::from_secs(10),
        /// How long a record may stay unacknowledged before the round is abandoned and read again.
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

/// For services without settings of their own: `farandole::main(|_config, _: NoSettings| …)`.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct NoSettings {}
