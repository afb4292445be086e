//! How the relay works.

use std::collections::BTreeMap;
use std::time::Duration;

/// How the relay works. `Config::new` has the defaults.
#[derive(Debug, Clone)]
pub struct Config {
    /// The service's name, for `ce_source`. A database belongs to the first that publishes from it; consumers know events by it, so
    /// it stays.
    pub service: String,
    /// Kafka's bootstrap servers.
    pub bootstrap: String,
    /// More client properties: TLS, SASL, `linger.ms`. Those that the guarantees rest on can't be changed.
    pub kafka: BTreeMap<String, String>,
    /// Topics that the service declares. They are checked before anything starts; others when a row names them.
    pub topics: Vec<String>,
    /// A batch of at most so many rows is read at once and held; a longer one is read in pages.
    pub head_rows: i64,
    /// The same in bytes of payload and headers.
    pub head_bytes: i64,
    /// Rows of a page; progress is noted after each. Pages aren't held.
    pub page_rows: i64,
    /// The longest wait between two looks at the outbox, when nothing wakes the relay.
    pub idle_max: Duration,
    /// How long an owner may show no sign of life before a stand-by takes over.
    pub lease: Duration,
    /// How long a record may stay unacknowledged before the round is given up.
    pub delivery_timeout: Duration,
    /// Time between two looks at the topics' partition counts.
    pub compare_every: Duration,
}

impl Config {
    /// The defaults, for `service` and the Kafka cluster at `bootstrap`.
    pub fn new(service: impl Into<String>, bootstrap: impl Into<String>) -> Self {
        Self {
            service: service.into(),
            bootstrap: bootstrap.into(),
            kafka: BTreeMap::new(),
            topics: Vec::new(),
            head_rows: 2_000,
            head_bytes: 4 * 1024 * 1024,
            page_rows: 20_000,
            idle_max: Duration::from_millis(50),
            lease: Duration::from_secs(10),
            delivery_timeout: Duration::from_secs(30),
            compare_every: Duration::from_secs(30),
        }
    }
}
