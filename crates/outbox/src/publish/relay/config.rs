//! How the relay works.

use std::collections::BTreeMap;
use std::time::Duration;

use crate::wire::topics::is_of_names;

/// How the relay works. [`Config::new`] has the defaults.
///
/// ```
/// use std::time::Duration;
///
/// use farandole_outbox::RelayConfig;
///
/// let config = RelayConfig {
///     topics: vec!["billing".to_owned()],
///     source: Some("/acme/billing".to_owned()),
///     kafka: [("security.protocol".to_owned(), "SSL".to_owned())].into(),
///     lease: Duration::from_secs(30),
///     ..RelayConfig::new("billing", "broker-1:9093,broker-2:9093")
/// };
/// ```
#[derive(Debug, Clone)]
pub struct Config {
    /// The service's name, for `ce_source`. A database belongs to the first that publishes from it; consumers know events by it, so
    /// it stays.
    pub service: String,
    /// What events name as their source (`ce_source`), instead of `/farandole/<service>`: 1 to 256 visible ASCII characters, a URI
    /// reference by CloudEvents' word. Chains are by it, so the database remembers what its first event was published under, and no
    /// other is taken afterwards; left out, that is gone on with.
    pub source: Option<String>,
    /// Kafka's bootstrap servers.
    pub bootstrap: String,
    /// More client properties: TLS, SASL, `linger.ms`. Those that the guarantees rest on can't be changed.
    pub kafka: BTreeMap<String, String>,
    /// Topics that the service declares. They are checked before anything starts; others when a row names them.
    pub topics: Vec<String>,
    /// Topics that are no longer published to and were deleted: the relay forgets them. One that is still there, or that a row names, is
    /// published to as before.
    pub forget: Vec<String>,
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
    /// How long a record may stay unacknowledged before the round is abandoned.
    pub delivery_timeout: Duration,
    /// Time between two looks at the topics' partition counts.
    pub compare_every: Duration,
}

/// Characters of a source: records have room for it beside everything else.
const LONGEST_SOURCE: usize = 256;

/// What is wrong with `source` as a `ce_source`, if anything is.
pub fn refused_source(source: &str) -> Option<String> {
    let right = (1..=LONGEST_SOURCE).contains(&source.len())
        && source.bytes().all(|byte| byte.is_ascii_graphic())
        // Readers call what is no text so.
        && !source.starts_with(':');
    (!right).then(|| {
        format!("1 to {LONGEST_SOURCE} visible ASCII characters that don't begin with a colon, as \"/acme/billing\" or \"urn:acme:billing\"")
    })
}

/// What is wrong with a service's name, if anything is: it goes into the source and, of a service, into topics, and stays for life.
pub(super) fn refused_service(service: &str) -> Option<&'static str> {
    let right = (1..=100).contains(&service.len()) && service.chars().all(is_of_names);
    (!right).then_some("1 to 100 ASCII letters, digits, `.`, `_` and `-`")
}

impl Config {
    /// The defaults, for `service` and the Kafka cluster at `bootstrap`.
    pub fn new(service: impl Into<String>, bootstrap: impl Into<String>) -> Self {
        Self {
            service: service.into(),
            source: None,
            bootstrap: bootstrap.into(),
            kafka: BTreeMap::new(),
            topics: Vec::new(),
            forget: Vec::new(),
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
