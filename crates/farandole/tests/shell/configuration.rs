//! Defaults, file, environment: who wins, and what is said of mistakes.

use std::collections::BTreeMap;
use std::time::Duration;

use farandole::config::{self, Config, NoSettings};
use serde::{Deserialize, Serialize};

#[derive(Debug, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
struct Own {
    #[serde(with = "farandole::config::units::duration")]
    hold: Duration,
    api_token: String,
    limit: Option<u32>,
}

impl Default for Own {
    fn default() -> Self {
        Self { hold: Duration::from_secs(90), api_token: "t0p".to_owned(), limit: None }
    }
}

fn load<S: Serialize + serde::de::DeserializeOwned + Default>(
    file: &str,
    env: &[(&str, &str)],
) -> Result<config::Loaded<S>, config::Error> {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("service.toml");
    std::fs::write(&path, file).unwrap();
    Config::load(Some(&path), env.iter().map(|(k, v)| ((*k).to_owned(), (*v).to_owned())))
}

fn refusal(file: &str, env: &[(&str, &str)]) -> String {
    load::<Own>(file, env).expect_err("a wrong configuration").to_string()
}

#[test]
fn the_environment_wins_over_the_file_and_the_file_over_the_defaults() {
    let file = "[http]\nrequest_timeout = \"3s\"\nbody_limit = \"2KiB\"\n[own]\nhold = \"5m\"\n[kafka.properties]\n\"linger.ms\" = \"1\"";
    let env = [
        ("FARANDOLE_HTTP_REQUEST_TIMEOUT", "250ms"),
        ("FARANDOLE_TOPICS_PARTITIONS", "3"),
        ("FARANDOLE_KAFKA_PROPERTIES_SASL_PASSWORD", "open sesame"),
        ("FARANDOLE_INTAKE_INSTANCE", "7"),
        ("FARANDOLE_OWN_LIMIT", "12"),
        ("FARANDOLE_ORDERS_SERVICE_HOST", "10.0.0.1"),
        ("FARANDOLE_ORDERS_SERVICE_PORT", "8080"),
        ("FARANDOLE_ORDERS_SERVICE_PORT_METRICS", "8080"),
        ("FARANDOLE_ORDERS_PORT", "tcp://10.0.0.1:8080"),
        ("FARANDOLE_ORDERS_PORT_8080_TCP", "tcp://10.0.0.1:8080"),
        ("FARANDOLE_ORDERS_PORT_8080_TCP_PORT", "8080"),
        ("PATH", "/bin"),
    ];
    let loaded = load::<Own>(file, &env).unwrap();
    let config = &loaded.config;
    assert_eq!(config.http.request_timeout, Duration::from_millis(250), "environment");
    assert_eq!(config.http.body_limit, 2048, "file");
    assert_eq!(config.http.max_in_flight, 1024, "default");
    assert_eq!(config.topics.partitions, 3);
    assert_eq!(config.kafka.properties.len(), 2);
    assert_eq!(config.kafka.properties["sasl.password"], "open sesame");
    assert_eq!(config.intake.instance.as_deref(), Some("7"), "a text may look like a number");
    assert_eq!((loaded.own.hold, loaded.own.limit), (Duration::from_secs(300), Some(12)));
}

/// As somebody writes them who has read nothing about units.
#[derive(Debug, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
struct Plain {
    hold: Duration,
    grace: Option<Duration>,
    steps: Vec<Duration>,
    carriers: BTreeMap<String, Carrier>,
    longest: Duration,
}

#[derive(Debug, PartialEq, Serialize, Deserialize)]
struct Carrier {
    timeout: Duration,
}

impl Default for Plain {
    fn default() -> Self {
        let carriers = BTreeMap::from([("acme".to_owned(), Carrier { timeout: Duration::from_millis(1500) })]);
        let longest = Duration::from_secs(1 << 40); // no text is as long
        Self { hold: Duration::from_secs(90), grace: None, steps: vec![Duration::from_secs(1)], carriers, longest }
    }
}

/// Guards: a `Duration` without an attribute is read from text with a unit wherever it stands, and shown so.
#[test]
fn durations_of_ones_own_need_no_attribute() {
    assert_eq!(load::<Plain>("", &[]).unwrap().own, Plain::default());
    let file = "[own]\nhold = \"20s\"\nsteps = [\"1s\", \"1m 30s\"]\n[own.carriers.dhl]\ntimeout = \"250ms\"";
    let loaded = load::<Plain>(file, &[("FARANDOLE_OWN_GRACE", "1h")]).unwrap();
    let (secs, dhl) = (Duration::from_secs, Carrier { timeout: Duration::from_millis(250) });
    assert_eq!((loaded.own.hold, loaded.own.grace), (secs(20), Some(secs(3600))));
    assert_eq!((loaded.own.steps, loaded.own.carriers), (vec![secs(1), secs(90)], BTreeMap::from([("dhl".to_owned(), dhl)])));
    let as_serde_writes_it = load::<Plain>("[own]\nhold = { secs = 20, nanos = 0 }", &[]).unwrap();
    assert_eq!(as_serde_writes_it.own.hold, secs(20));

    let printed = load::<Plain>("", &[("FARANDOLE_OWN_HOLD", "20s")]).unwrap().printed;
    for line in ["hold = \"20s\"  # environment", "# grace is not set", "steps = [\"1s\"]", "timeout = \"1s 500ms\""] {
        assert!(printed.contains(line), "{line} in {printed}");
    }
    for (file, env, words) in [
        ("[own]\nhold = \"20 parsecs\"", None, ["`own.hold`", "file", "\"10s\""]),
        ("[own]\nhold = 20", None, ["`own.hold`", "`20` is not a duration", "\"10s\""]),
        ("[own.carriers.dhl]\ntimeout = \"\"", None, ["`own.carriers.dhl.timeout`", "file", "\"10s\""]),
        ("", Some(("FARANDOLE_OWN_GRACE", "soon")), ["`own.grace`", "FARANDOLE_OWN_GRACE", "\"10s\""]),
    ] {
        let said = load::<Plain>(file, env.as_slice()).unwrap_err().to_string();
        words.iter().for_each(|word| assert!(said.contains(word), "{word} in {said}"));
    }
}

#[test]
fn an_unknown_key_is_refused_with_the_nearest_right_one() {
    for (file, env, words) in [
        ("[http]\nlisen = \"127.0.0.1:1\"", None, ["http.lisen", "`http.listen`"]),
        ("[databse]\nurl = \"x\"", None, ["[databse]", "`database`"]),
        ("[own]\nhodl = \"1s\"", None, ["own.hodl", "`own.hold`"]),
        ("", Some(("FARANDOLE_DATABSE_URL", "x")), ["FARANDOLE_DATABSE_URL", "`FARANDOLE_DATABASE_URL`"]),
        ("", Some(("FARANDOLE_HTTP_BODY_LIMITS", "x")), ["FARANDOLE_HTTP_BODY_LIMITS", "`FARANDOLE_HTTP_BODY_LIMIT`"]),
        ("", Some(("FARANDOLE_HTTP_PORT", "8080")), ["FARANDOLE_HTTP_PORT`", "`FARANDOLE_HTTP_LISTEN`"]),
        ("", Some(("FARANDOLE_HTTP_PORT_FILES", "x")), ["FARANDOLE_HTTP_PORT_FILES", "`FARANDOLE_HTTP_PORT_FILE`"]),
        ("[http]\nport = 8080", None, ["http.port", "`http.listen`"]),
    ] {
        let said = refusal(file, env.as_slice());
        words.iter().for_each(|word| assert!(said.contains(word), "{word} in {said}"));
    }
}

#[test]
fn a_wrong_value_names_its_key_its_source_and_what_is_right() {
    for (file, env, words) in [
        ("[http]\nrequest_timeout = \"10 parsecs\"", None, ["`http.request_timeout`", "file", "\"10s\""]),
        ("[http]\nrequest_timeout = 10", None, ["`http.request_timeout`", "file", "\"10s\""]),
        (
            "",
            Some(("FARANDOLE_HTTP_REQUEST_TIMEOUT", "10")),
            ["`http.request_timeout`", "FARANDOLE_HTTP_REQUEST_TIMEOUT", "\"10s\""],
        ),
        ("[agenda]\nlease = \"100000000d\"", None, ["`agenda.lease`", "file", "\"3650d\""]),
        ("[agenda]\nlease = \"99999999999999999999999s\"", None, ["`agenda.lease`", "not a duration", "\"3650d\""]),
        ("[agenda]\nlease = \"3651d\"", None, ["`agenda.lease`", "too long", "\"3650d\""]),
        ("[agenda]\nlongest_wait = \"-5s\"", None, ["`agenda.longest_wait`", "not a duration", "\"10s\""]),
        ("", Some(("FARANDOLE_RELAY_LEASE", "s")), ["`relay.lease`", "not a duration", "\"10s\""]),
        ("[http]\nbody_limit = \"99999999GiB\"", None, ["`http.body_limit`", "too large", "\"1024GiB\""]),
        ("", Some(("FARANDOLE_HTTP_MAX_CONNECTIONS", "0")), ["`http.max_connections`", "environment", "at least 1"]),
        ("", Some(("FARANDOLE_HTTP_BODY_LIMIT", "1XB")), ["`http.body_limit`", "FARANDOLE_HTTP_BODY_LIMIT", "\"1MiB\""]),
        (
            "",
            Some(("FARANDOLE_DATABASE_MAX_CONNECTIONS", "many")),
            ["`database.max_connections`", "FARANDOLE_DATABASE_MAX_CONNECTIONS", "`8`"],
        ),
        ("", Some(("FARANDOLE_DATABASE_MAX_CONNECTIONS", "0")), ["`database.max_connections`", "environment", "at least 1"]),
        ("", Some(("FARANDOLE_HTTP_LISTEN", "here")), ["`http.listen`", "FARANDOLE_HTTP_LISTEN", "socket address"]),
        ("[log]\nformat = \"xml\"", None, ["`log.format`", "file", "`json` or `text`"]),
        ("http = 3", None, ["`http`", "file", "[http]"]),
        ("[http", None, ["file", "line 1", ""]),
        ("", Some(("FARANDOLE_OWN_LIMIT", "few")), ["`own.limit`", "FARANDOLE_OWN_LIMIT", "u32"]),
    ] {
        let said = refusal(file, env.as_slice());
        words.iter().for_each(|word| assert!(said.contains(word), "{word} in {said}"));
    }
    let two = refusal("[http]\nbody_limit = \"x\"\n[relay]\nlease = \"y\"", &[]);
    assert!(two.contains("http.body_limit") && two.contains("relay.lease"), "all at once: {two}");
}

#[test]
fn what_is_printed_holds_no_secret_and_reads_back() {
    let file = "[database]\nurl = \"postgres://me:s3cret@h:1/db?sslpassword=s3cret\"\n[registry]\nurl = \"http://u:s3cret@r\"\n\
                [kafka.properties]\n\"sasl.password\" = \"s3cret\"\n\"linger.ms\" = \"5\"\n[own]\napi_token = \"s3cret\"";
    let loaded = load::<Own>(file, &[("FARANDOLE_HTTP_LISTEN", "127.0.0.1:0")]).unwrap();
    let printed = &loaded.printed;
    assert!(!printed.contains("s3cret"), "{printed}");
    assert!(!format!("{:?}", loaded.config.database).contains("s3cret"));
    assert!(printed.contains("postgres://me:********@h:1/db"), "{printed}");
    assert!(printed.contains("listen = \"127.0.0.1:0\"  # environment FARANDOLE_HTTP_LISTEN"), "{printed}");
    assert!(printed.contains("body_limit = \"1MiB\"  # default"), "{printed}");
    assert!(printed.contains("# port_file is not set"), "{printed}");
    load::<Own>(printed, &[]).expect("what is printed is a configuration");
    let odd = load::<NoSettings>("[database]\nurl = \"postgres://me:s3@c/re?t@h/db\"", &[]).unwrap();
    assert!(!odd.printed.contains("s3@c") && !odd.printed.contains("re?t"), "{}", odd.printed);
}

#[test]
fn what_has_no_default_is_asked_for() {
    let said = Config::default().check().unwrap_err().to_string();
    assert!(said.contains("FARANDOLE_DATABASE_URL"), "{said}");
    let fits = load::<NoSettings>("[database]\nurl = \"postgres://h/db\"", &[]).unwrap();
    assert!(fits.config.check().is_ok());
    let mut long = fits.config;
    long.agenda.timeout = Duration::from_secs(40);
    assert!(long.check().unwrap_err().to_string().contains("agenda.lease"));
}

/// Guard: what shows without a server is refused when it is loaded. Without, a service waits for servers that no setting of it leads
/// to, reads nothing, or panics.
#[test]
fn what_shows_without_a_server_is_refused() {
    for (key, value, words) in [
        ("database.url", "\"localhost/orders\"", "it doesn't begin with postgres://"),
        ("database.url", "\"http://localhost/orders\"", "it doesn't begin with postgres://"),
        ("database.url", "\"postgres://h/db?sslmode=maybe\"", "unknown value"),
        ("database.max_connections", "4294967295", "at most 10000"),
        ("database.relay_connections", "2", "at least 3"),
        ("database.acquire_timeout", "\"0s\"", "at least \"1ms\""),
        ("database.idle_timeout", "\"0s\"", "at least \"1s\""),
        ("kafka.bootstrap", "\"\"", "host:port"),
        ("kafka.bootstrap", "\"a:9092,b:port\"", "host:port"),
        ("kafka.properties", "{ acks = \"1\" }", "`acks` can't be set: acknowledged records"),
        ("kafka.properties", "{ \"sasl.mechanizm\" = \"PLAIN\" }", "`sasl.mechanizm` can't be set"),
        ("kafka.properties", "{ \"linger.ms\" = \"soon\" }", "`linger.ms` can't be set"),
        ("registry.url", "\"127.0.0.1:8081\"", "neither http:// nor https://"),
        ("registry.url", "\"ftp://r\"", "neither http:// nor https://"),
        ("registry.url", "\"http://r:port\"", "port"),
        ("topics.prefix", "\"a/b \"", "letters, digits"),
        ("topics.partitions", "0", "at least 1"),
        ("topics.replication", "-1", "at least 0"),
        ("http.listen", "\"localhost:8080\"", "0.0.0.0:8080"),
        ("http.listen", "8080", "0.0.0.0:8080"),
        ("http.body_limit", "\"0B\"", "at least \"1B\""),
        ("http.request_timeout", "\"0s\"", "at least \"1ms\""),
        ("http.max_in_flight", "9000000000000000000", "at most 1000000"),
        ("http.idempotency_retention", "\"0s\"", "at least \"1s\""),
        ("log.level", "\"inof\"", "off, error, warn, info, debug or trace"),
        ("log.level", "\"\"", "off, error, warn, info, debug or trace"),
        ("otlp.level", "\"farandole\"", "`farandole=trace`"),
        ("otlp.endpoint", "\"collector:4318\"", "neither http:// nor https://"),
        ("intake.group", "\"\"", "a name"),
        ("intake.instance", "\"a b\"", "letters, digits"),
        ("intake.start", "\"yesterday\"", "neither `earliest` nor"),
        ("intake.lanes", "0", "at least 1"),
        ("intake.lanes", "65", "at most 64"),
        ("intake.max_records", "0", "at least 1"),
        ("intake.max_bytes", "\"0B\"", "from \"1B\""),
        ("relay.idle_max", "\"0s\"", "at least \"1ms\""),
        ("relay.idle_max", "\"4s\"", "a third of `relay.lease`"),
        ("relay.lease", "\"100ms\"", "at least \"1s\""),
        ("relay.delivery_timeout", "\"0s\"", "at least \"1s\""),
        ("relay.delivery_timeout", "\"30d\"", "at most \"24d\""),
        ("agenda.timeout", "\"30s\"", "longer than `agenda.timeout`"),
        ("agenda.timeout", "\"0s\"", "at least \"1ms\""),
        ("agenda.idle", "\"0s\"", "at least \"1ms\""),
        ("agenda.bulkhead", "9000000000000000000", "at most 1000000"),
        ("process.worker_threads", "100000", "at most 1024"),
    ] {
        let (section, field) = key.split_once('.').unwrap();
        let said = refusal(&format!("[{section}]\n{field} = {value}"), &[]);
        assert!(said.contains(&format!("`{section}.")) && said.contains(words), "{key} = {value}: {words} is missing in {said}");
    }
}

#[test]
fn all_that_is_wrong_is_told_at_once_and_no_password_with_it() {
    let file = "[http]\nlisten = \"here\"\nmax_connections = 0\nbody_limit = \"x\"\n[database]\nurl = \"me:s3cret@h/db\"\n\
                [registry]\nurl = \"me:s3cret@r:8081\"\n[topics]\npartitions = 0\n[own]\nhold = 3\nlimit = \"few\"";
    let said = refusal(file, &[("FARANDOLE_INTAKE_LANES", "0"), ("FARANDOLE_KAFKA_PROPERTIES_SASL_PASSWORD", "s3cret")]);
    for key in [
        "http.listen",
        "http.max_connections",
        "http.body_limit",
        "database.url",
        "registry.url",
        "topics.partitions",
        "own.hold",
        "own.limit",
        "intake.lanes",
    ] {
        assert_eq!(said.matches(&format!("`{key}`")).count(), 1, "{key} in {said}");
    }
    assert!(!said.contains("s3cret"), "{said}");
}

#[test]
fn what_is_odd_but_right_is_taken() {
    for (file, url) in [
        ("[kafka]\nbootstrap = \"SASL_SSL://a:1, [::1]:2,c\"", "postgres:///db?host=/run/postgresql"),
        ("[kafka.properties]\n\"security.protocol\" = \"SSL\"\n\"linger.ms\" = \"0.2\"", "postgresql://h/db"),
        ("[log]\nlevel = \"WARN,farandole=debug,[request]=trace\"\n[otlp]\nlevel = \"off\"", "postgres://u:p%40@h:1/db"),
        ("[intake]\nmax_parked = 0\nstart = \"2026-01-31T12:00:00Z\"\n[http]\nlisten = \"[::]:0\"", "postgres://h"),
    ] {
        let loaded = load::<NoSettings>(file, &[("FARANDOLE_DATABASE_URL", url)]).unwrap_or_else(|error| panic!("{error}"));
        loaded.config.check().unwrap_or_else(|error| panic!("{error}"));
    }
}

#[test]
fn a_setting_may_differ_from_topic_to_topic() {
    use farandole::config::{Start, Unknown};
    let file = "[intake]\nunknown = \"ignore\"\n[intake.start]\norders = \"latest\"\n\"*\" = \"2026-01-31T12:00:00Z\"";
    let intake = load::<NoSettings>(file, &[]).unwrap().config.intake;
    assert_eq!((intake.unknown.of("orders"), intake.unknown.of("any")), (Unknown::Ignore, Unknown::Ignore));
    assert!(intake.start.of("orders") == Start::Latest && matches!(intake.start.of("any"), Start::At(_)));
    let env = [("FARANDOLE_INTAKE_UNKNOWN", "{ orders = \"ignore\" }"), ("FARANDOLE_INTAKE_START", "latest")];
    let loaded = load::<NoSettings>(file, &env).unwrap();
    let intake = &loaded.config.intake;
    assert_eq!((intake.unknown.of("orders"), intake.unknown.of("any")), (Unknown::Ignore, Unknown::Declared));
    assert_eq!((intake.start.of("orders"), intake.start.of("any")), (Start::Latest, Start::Latest));
    assert!(loaded.printed.contains("orders = \"ignore\""), "{}", loaded.printed);
    let defaults = load::<NoSettings>("", &[]).unwrap().config.intake;
    assert_eq!((defaults.unknown.of("any"), defaults.start.of("any")), (Unknown::Declared, Start::Earliest));
    for (file, words) in [
        ("[intake]\nunknown = \"drop\"", "`drop` is none of `declared`, `park` and `ignore`"),
        ("[intake.unknown]\norders = \"drop\"", "`drop` is none of"),
        ("[intake]\nstart = \"newest\"", "`newest` is neither `earliest` nor `latest` nor a time"),
        ("[agenda]\nbulkhead = 0", "no effect ever starts"),
    ] {
        let why = refusal(file, &[]);
        assert!(why.contains(words), "{words} is missing in {why}");
    }
}

/// Of properties that guarantees rest on, one that changes nothing passes, and one that would is refused with what to do instead.
#[test]
fn properties_that_guarantees_rest_on_are_refused() {
    let check = |name: &str, value: &str| {
        let mut config = Config::default();
        config.database.url = "postgres://x@localhost/x".to_owned().into();
        config.kafka.properties.insert(name.to_owned(), value.to_owned());
        config.check().map_err(|error| error.to_string())
    };
    for (name, value) in
        [("isolation.level", "read_uncommitted"), ("group.id", "mine"), ("acks", "1"), ("auto.offset.reset", "latest")]
    {
        let refused = check(name, value).unwrap_err();
        assert!(refused.contains(&format!("`{name}` can't be set")), "{refused}");
    }
    for (name, value) in
        [("acks", "all"), ("enable.auto.commit", "FALSE"), ("group.protocol", "consumer"), ("security.protocol", "SSL")]
    {
        check(name, value).unwrap();
    }
}

/// E31. Guard: properties are tried together, as the kit's clients have them. Without, `serve` waits for brokers that it never asks.
#[test]
fn properties_that_only_clash_are_refused() {
    let check = |name: &str, value: &str| {
        let mut config = Config::default();
        config.database.url = "postgres://x@localhost/x".to_owned().into();
        config.kafka.properties.insert("linger.ms".to_owned(), "1".to_owned());
        config.kafka.properties.insert(name.to_owned(), value.to_owned());
        config.check().map_err(|error| error.to_string())
    };
    for (name, value) in [("max.poll.interval.ms", "10"), ("fetch.max.bytes", "1"), ("max.in.flight", "100")] {
        let refused = check(name, value).unwrap_err();
        assert!(refused.contains(&format!("properties `{name}` conflict with")), "{refused}");
    }
    check("max.poll.interval.ms", "300000").unwrap();
}
