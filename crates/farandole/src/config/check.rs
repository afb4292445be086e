//! What can be seen to be wrong with values without asking any server: each by itself, and what only shows in two together.
//!
//! All of it is found at once, so that it takes one try to put right.

use std::fmt::Display;
use std::ops::RangeInclusive;
use std::time::Duration;

use reqwest::Url;
use secrecy::ExposeSecret as _;
use sqlx::postgres::PgConnectOptions;

use crate::config::Config;
use crate::config::units;
use crate::consume::intake;
use crate::publish::relay::{produce, refused_source};
use crate::wire::topics::{LONGEST_NAME, is_of_names};

/// More connections than any server of PostgreSQL's has; a pool takes memory for each that it may have.
const CONNECTIONS: u32 = 10_000;
/// More than a process can have under way; far more, and a semaphore of this size panics.
const AT_ONCE: usize = 1_000_000;
/// The shortest that isn't nothing.
const INSTANT: Duration = Duration::from_millis(1);
/// The least lease: each third of it a step must reach the disk of a server that may be busy, or a healthy relay loses it.
const LEASE: Duration = Duration::from_secs(1);
/// The longest that librdkafka waits for an acknowledgement is a bit more.
const DELIVERY: Duration = Duration::from_secs(24 * 24 * 60 * 60);

const OTHER_SCHEME: &str = "it doesn't begin with postgres://";

/// A setting that is wrong.
pub(super) struct Fault {
    pub section: &'static str,
    pub field: &'static str,
    /// What it has to be, or for [`Says::All`] what there is to say.
    pub says: Says,
}

pub(super) enum Says {
    /// What the setting has to be.
    Want(String),
    /// The same; the value is shown to nobody, since it may be a secret that was written in an odd way.
    WantSecretly(String),
    /// A whole sentence.
    All(String),
}

impl Fault {
    /// In words, for who doesn't know where values came from.
    pub fn plain(self) -> String {
        let Self { section, field, says } = self;
        match says {
            Says::Want(want) | Says::WantSecretly(want) => format!("`{section}.{field}` must be {want}"),
            Says::All(sentence) => sentence,
        }
    }
}

/// What has no default and isn't there.
pub(super) fn unset(config: &Config) -> Option<String> {
    let unset = config.database.url.expose_secret().is_empty();
    unset.then(|| "`database.url` is not set; set FARANDOLE_DATABASE_URL=postgres://user:password@host:5432/database".to_owned())
}

/// All that is wrong with what is there.
pub(super) fn faults(config: &Config) -> Vec<Fault> {
    let mut found = Found(Vec::new());
    servers(config, &mut found);
    topics_and_logs(config, &mut found);
    http(config, &mut found);
    intake(config, &mut found);
    relay_and_agenda(config, &mut found);
    found.number("process", "worker_threads", config.process.worker_threads, 1..=1024, "");
    found.0
}

struct Found(Vec<Fault>);

impl Found {
    fn unless(&mut self, right: bool, section: &'static str, field: &'static str, want: impl Into<String>) {
        if !right {
            self.0.push(Fault { section, field, says: Says::Want(want.into()) });
        }
    }

    fn number<T: PartialOrd + Display>(
        &mut self,
        section: &'static str,
        field: &'static str,
        value: T,
        range: RangeInclusive<T>,
        why: &str,
    ) {
        self.within(section, field, &value, &range, T::to_string, why);
    }

    fn lasts(&mut self, section: &'static str, field: &'static str, value: Duration, least: Duration, why: &str) {
        let text = |duration: &Duration| format!("\"{}\"", units::duration::text(*duration));
        self.within(section, field, &value, &(least..=Duration::MAX), text, why);
    }

    fn within<T: PartialOrd>(
        &mut self,
        section: &'static str,
        field: &'static str,
        value: &T,
        range: &RangeInclusive<T>,
        text: impl Fn(&T) -> String,
        why: &str,
    ) {
        self.unless(value >= range.start(), section, field, format!("at least {}{why}", text(range.start())));
        self.unless(value <= range.end(), section, field, format!("at most {}", text(range.end())));
    }
}

fn servers(config: &Config, found: &mut Found) {
    let database = &config.database;
    let url = database.url.expose_secret();
    if let Some(why) = Some(url).filter(|url| !url.is_empty()).and_then(postgres) {
        let want = format!("a database URL, postgres://user:password@host:5432/database: {why}");
        found.0.push(Fault { section: "database", field: "url", says: Says::WantSecretly(want) });
    }
    for (field, value) in [
        ("max_connections", database.max_connections),
        ("intake_connections", database.intake_connections),
        ("agenda_connections", database.agenda_connections),
    ] {
        found.number("database", field, value, 1..=CONNECTIONS, "");
    }
    let why = ": one publishes, one keeps the lease, one tends the tables";
    found.number("database", "relay_connections", database.relay_connections, 3..=CONNECTIONS, why);
    found.lasts("database", "acquire_timeout", database.acquire_timeout, INSTANT, "");
    found.lasts("database", "idle_timeout", database.idle_timeout, Duration::from_secs(1), "");

    let mut brokers = config.kafka.bootstrap.split(',').map(str::trim).filter(|broker| !broker.is_empty()).peekable();
    let right = brokers.peek().is_some() && brokers.all(is_broker);
    found.unless(right, "kafka", "bootstrap", "brokers as \"host:port,host:port\"");
    let refused = refused(config).into_iter().map(|why| Says::All(format!("`kafka.properties`: {why}")));
    found.0.extend(refused.map(|says| Fault { section: "kafka", field: "properties", says }));

    let registry = web(&config.registry.url);
    let want = |example: &str, why: &str| format!("an address as \"{example}\": {why}");
    found.unless(registry.is_none(), "registry", "url", want("http://127.0.0.1:8081", &registry.unwrap_or_default()));
    let collector = config.otlp.endpoint.as_deref().and_then(web);
    found.unless(collector.is_none(), "otlp", "endpoint", want("http://127.0.0.1:4318", &collector.unwrap_or_default()));
}

/// What is wrong with properties of the Kafka clients, each by itself or beside the others and the kit's own.
fn refused(config: &Config) -> Vec<String> {
    let properties = &config.kafka.properties;
    let relay = produce::refused(properties);
    let instance = config.intake.instance.clone();
    let intake = intake::Config { properties: properties.clone(), instance, ..intake::Config::new("service", "", Vec::new()) };
    if relay.is_empty() { intake::client::refused(&intake) } else { relay }
}

fn topics_and_logs(config: &Config, found: &mut Found) {
    let topics = &config.topics;
    let right = topics.prefix.chars().all(is_of_names);
    found.unless(right, "topics", "prefix", "of letters, digits, `.`, `_` and `-`, which is what Kafka takes in names");
    // The most that the client takes.
    found.number("topics", "partitions", topics.partitions, 1..=100_000, "");
    found.number("topics", "replication", topics.replication, 0..=10_000, "; 0 is what the brokers allow, up to 3");
    for (section, filter) in [("log", &config.log.level), ("otlp", &config.otlp.level)] {
        let wrong = level(filter);
        let want = format!(
            "a level (off, error, warn, info, debug or trace) or a filter as \"warn,farandole=debug\": {}",
            wrong.as_deref().unwrap_or_default()
        );
        found.unless(wrong.is_none(), section, "level", want);
    }
}

fn http(config: &Config, found: &mut Found) {
    let http = &config.http;
    found.unless(http.body_limit > 0, "http", "body_limit", "at least \"1B\"");
    for (field, value) in [
        ("request_timeout", http.request_timeout),
        ("head_timeout", http.head_timeout),
        ("body_timeout", http.body_timeout),
        ("idle_timeout", http.idle_timeout),
    ] {
        found.lasts("http", field, value, INSTANT, "");
    }
    found.number("http", "max_connections", http.max_connections, 1..=AT_ONCE, "");
    found.number("http", "max_in_flight", http.max_in_flight, 1..=AT_ONCE, "");
    found.lasts("http", "idempotency_retention", http.idempotency_retention, Duration::from_secs(1), "");
}

fn intake(config: &Config, found: &mut Found) {
    let intake = &config.intake;
    let group = intake.group.as_deref().is_none_or(|group| !group.is_empty());
    found.unless(group, "intake", "group", "a name; without it, it is the prefix and the service's name");
    let instance = intake.instance.as_deref().is_none_or(is_name);
    found.unless(instance, "intake", "instance", "of letters, digits, `.`, `_` and `-`, which is what Kafka takes in names");
    found.number("intake", "lanes", intake.lanes, 1..=64, "");
    found.lasts("intake", "checkpoint_every", intake.checkpoint_every, INSTANT, "");
    found.number("intake", "max_records", intake.max_records, 1..=1_000_000, ": with none nothing is ever read");
    let right = (1..=1 << 30).contains(&intake.max_bytes);
    found.unless(right, "intake", "max_bytes", "from \"1B\" to \"1GiB\"");
}

fn relay_and_agenda(config: &Config, found: &mut Found) {
    let (relay, agenda) = (&config.relay, &config.agenda);
    let source = relay.source.as_deref().and_then(refused_source);
    found.unless(source.is_none(), "relay", "source", source.unwrap_or_default());
    found.lasts("relay", "idle_max", relay.idle_max, INSTANT, "");
    found.lasts("relay", "lease", relay.lease, LEASE, ": each third of it is a step in the database");
    found.unless(
        relay.lease < LEASE || relay.idle_max <= relay.lease / 3,
        "relay",
        "idle_max",
        "at most a third of `relay.lease`, or an idle relay would lose its lease",
    );
    found.lasts("relay", "delivery_timeout", relay.delivery_timeout, Duration::from_secs(1), "");
    found.unless(relay.delivery_timeout <= DELIVERY, "relay", "delivery_timeout", "at most \"24d\"");
    found.lasts("agenda", "timeout", agenda.timeout, INSTANT, "");
    found.unless(
        agenda.lease > agenda.timeout,
        "agenda",
        "lease",
        "longer than `agenda.timeout`, or a running effect would be claimed twice",
    );
    found.lasts("agenda", "idle", agenda.idle, INSTANT, "");
    found.number("agenda", "bulkhead", agenda.bulkhead, 1..=AT_ONCE, ": with none no effect ever starts");
}

fn is_name(text: &str) -> bool {
    (1..=LONGEST_NAME).contains(&text.len()) && text.chars().all(is_of_names)
}

/// `host`, `host:port`, and either with a protocol in front, which librdkafka takes too.
fn is_broker(text: &str) -> bool {
    let address = text.split_once("://").map_or(text, |(_, address)| address);
    let (host, port) = match address.rsplit_once(':') {
        Some((host, port)) if !host.contains(':') || host.ends_with(']') => (host, Some(port)),
        _ => (address, None), // an IPv6 address alone has colons of its own
    };
    let right = !host.is_empty() && !host.contains(|c: char| c.is_whitespace() || "/@".contains(c));
    right && port.is_none_or(|port| port.parse::<u16>().is_ok_and(|port| port > 0))
}

/// Why this is no address over HTTP.
fn web(text: &str) -> Option<String> {
    match Url::parse(text) {
        Ok(url) if matches!(url.scheme(), "http" | "https") => None,
        Err(error) if text.contains("://") => Some(error.to_string()),
        _ => Some("it begins with neither http:// nor https://".to_owned()),
    }
}

/// Why this is no address of a database. What is said holds nothing of the address.
fn postgres(text: &str) -> Option<String> {
    match Url::parse(text) {
        Ok(url) if !matches!(url.scheme(), "postgres" | "postgresql") || url.cannot_be_a_base() => Some(OTHER_SCHEME.to_owned()),
        Ok(_) => text.parse::<PgConnectOptions>().err().map(|error| error.to_string()),
        Err(error) if text.contains("://") => Some(error.to_string()),
        Err(_) => Some(OTHER_SCHEME.to_owned()),
    }
}

/// Why this is no filter. A word alone that is no level would be the name of a module, of which everything is logged and nothing else:
/// that is what a level that is misspelt looks like, and so it has to be written `module=trace`.
fn level(filter: &str) -> Option<String> {
    let mut directives = filter.split(',').map(str::trim).filter(|directive| !directive.is_empty()).peekable();
    if directives.peek().is_none() {
        return Some("nothing is there".to_owned());
    }
    let is_level = |word: &str| word.parse::<tracing_subscriber::filter::LevelFilter>().is_ok();
    let bare = directives.find(|directive| !directive.contains(['=', '[']) && !is_level(directive));
    if let Some(word) = bare {
        return Some(format!("`{word}` is none; if it is the name of a module, write `{word}=trace`"));
    }
    let refused = tracing_subscriber::EnvFilter::try_new(filter).err()?;
    let spaces = filter.contains(char::is_whitespace);
    Some(if spaces { "it has spaces in it".to_owned() } else { refused.to_string() })
}

#[cfg(test)]
mod tests {
    #[test]
    fn a_word_alone_is_a_level() {
        for right in ["info", "OFF", "warn,farandole=debug", "farandole::relay=trace", "[request]=debug,warn", "3"] {
            assert_eq!(super::level(right), None, "{right}");
        }
        for wrong in ["inof", "farandole", "warn,farandole", "warn,farandole=debgu", "verbose", "", " , ", "info, sqlx=off"] {
            assert!(super::level(wrong).is_some(), "{wrong}");
        }
    }

    #[test]
    fn brokers_are_hosts_with_or_without_ports() {
        for right in ["a:9092", "a", "SASL_SSL://a.b:1", "[::1]:9092", "::1"] {
            assert!(super::is_broker(right), "{right}");
        }
        for wrong in [":9092", "a:", "a:b", "a:0", "a:99999", "a b:1", "http://a/b", "me@a:1"] {
            assert!(!super::is_broker(wrong), "{wrong}");
        }
    }
}
