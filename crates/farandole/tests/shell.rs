//! The shell around a service: configuration, HTTP, command line. Needs no server.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use axum::Router;
use axum::body::Body;
use axum::http::{HeaderMap, Request, StatusCode};
use axum::routing::{get, post};
use farandole::config::{self, Config, NoSettings};
use farandole::http::{self, Checks};
use farandole::{Api, Problem, Service};
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};
use tower::ServiceExt as _;

// === configuration ===

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
        ("FARANDOLE_ORDERS_PORT_8080_TCP", "tcp://10.0.0.1:8080"),
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

#[test]
fn an_unknown_key_is_refused_with_the_nearest_right_one() {
    for (file, env, words) in [
        ("[http]\nlisen = \"127.0.0.1:1\"", None, ["http.lisen", "`http.listen`"]),
        ("[databse]\nurl = \"x\"", None, ["[databse]", "`database`"]),
        ("[own]\nhodl = \"1s\"", None, ["own.hodl", "`own.hold`"]),
        ("", Some(("FARANDOLE_DATABSE_URL", "x")), ["FARANDOLE_DATABSE_URL", "`FARANDOLE_DATABASE_URL`"]),
        ("", Some(("FARANDOLE_HTTP_BODY_LIMITS", "x")), ["FARANDOLE_HTTP_BODY_LIMITS", "`FARANDOLE_HTTP_BODY_LIMIT`"]),
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
        ("", Some(("FARANDOLE_HTTP_BODY_LIMIT", "1MB")), ["`http.body_limit`", "FARANDOLE_HTTP_BODY_LIMIT", "\"1MiB\""]),
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
    let long = load::<NoSettings>("[database]\nurl = \"postgres://h/db\"\n[agenda]\ntimeout = \"40s\"", &[]).unwrap();
    assert!(long.config.check().unwrap_err().to_string().contains("agenda.lease"));
}

// === HTTP ===

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Order {
    lines: Vec<Line>,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Line {
    sku: String,
    quantity: u32,
}

fn app(http: &config::Http) -> Router {
    let routes = Router::new()
        .route(
            "/orders",
            post(async |http::Body(order): http::Body<Order>| {
                order.lines.iter().map(|l| l.sku.len() + l.quantity as usize).sum::<usize>().to_string()
            }),
        )
        .route("/raw", post(async |axum::Json(value): axum::Json<Value>| value.to_string()))
        .route("/number/{n}", get(async |axum::extract::Path(n): axum::extract::Path<u8>| n.to_string()))
        .route("/slow", get(async || tokio::time::sleep(Duration::from_secs(60)).await))
        .route("/bad", get(async || -> &'static str { panic!("on purpose") }))
        .route("/bare", get(async || (StatusCode::INTERNAL_SERVER_ERROR, "the password is 1234")))
        .route("/trace", get(async |headers: HeaderMap| http::traceparent(&headers).unwrap_or_default()));
    http::around(routes, http)
}

async fn ask(app: &Router, request: Request<Body>) -> (u16, HeaderMap, String) {
    let response = app.clone().oneshot(request).await.unwrap();
    let (parts, body) = response.into_parts();
    let body = axum::body::to_bytes(body, 1 << 20).await.unwrap();
    (parts.status.as_u16(), parts.headers, String::from_utf8(body.to_vec()).unwrap())
}

/// Asks, and checks that the answer is a problem of that status.
async fn problem(app: &Router, request: Request<Body>, status: u16) -> (Problem, HeaderMap) {
    let (got, headers, body) = ask(app, request).await;
    assert_eq!(got, status, "{body}");
    assert_eq!(headers["content-type"], "application/problem+json", "{body}");
    let problem: Problem = serde_json::from_str(&body).unwrap();
    assert_eq!(problem.status, status);
    (problem, headers)
}

fn a_post(path: &str, kind: &str, body: impl Into<Body>) -> Request<Body> {
    Request::post(path).header("content-type", kind).body(body.into()).unwrap()
}

fn a_get(path: &str) -> Request<Body> {
    Request::get(path).body(Body::empty()).unwrap()
}

const JSON: &str = "application/json";

#[tokio::test]
async fn a_body_that_is_wrong_names_the_field() {
    let app = app(&config::Http::default());
    for (body, field, reason) in [
        (json!({"lines": [{"sku": "a", "quantity": "two"}]}), "lines[0].quantity", "invalid type: string"),
        (json!({"lines": [{"sku": "a", "quantity": 1}, {"sku": "b"}]}), "lines[1].quantity", "missing field"),
        (json!({"lines": [{"sku": "a", "quantity": 1, "color": 3}]}), "lines[0].color", "unknown field"),
        (json!({"line": []}), "line", "unknown field"),
        (json!({}), "lines", "missing field"),
        (json!("text"), "(the whole body)", "invalid type"),
        (json!({"lines": [{"sku": "a", "quantity": -1}]}), "lines[0].quantity", "invalid value"),
    ] {
        let (problem, _) = problem(&app, a_post("/orders", JSON, body.to_string()), 422).await;
        assert_eq!(problem.errors.len(), 1);
        assert_eq!(problem.errors[0].field, field, "{body}: {:?}", problem.errors);
        assert!(
            problem.errors[0].reason.contains(reason) && !problem.errors[0].reason.contains("line 1"),
            "{:?}",
            problem.errors
        );
    }
    let (status, _, body) =
        ask(&app, a_post("/orders", "application/json; charset=utf-8", r#"{"lines":[{"sku":"ab","quantity":3}]}"#)).await;
    assert_eq!((status, body.as_str()), (200, "5"));
}

#[tokio::test]
async fn a_body_that_is_no_json_is_400_or_415() {
    let app = app(&config::Http::default());
    for body in ["", "{", "{\"lines\": []} x", "nul"] {
        assert_eq!(problem(&app, a_post("/orders", JSON, body), 400).await.0.kind, "/problems/malformed-json", "{body}");
    }
    problem(&app, a_post("/orders", "text/plain", "{}"), 415).await;
    problem(&app, Request::post("/orders").body(Body::from("{}")).unwrap(), 415).await;
    problem(&app, a_post("/raw", "text/plain", "{}"), 415).await;
    assert!(problem(&app, a_get("/number/300"), 400).await.0.detail.contains("300"), "axum's own words");
}

#[tokio::test]
async fn a_body_too_large_is_413_announced_or_not() {
    let app = app(&config::Http { body_limit: 100, ..config::Http::default() });
    let announced = Request::post("/orders").header("content-type", JSON).header("content-length", "101");
    problem(&app, announced.body(Body::from(" ".repeat(101))).unwrap(), 413).await;
    for path in ["/orders", "/raw"] {
        let pieces = futures_util::stream::iter((0..11).map(|_| Ok::<_, std::io::Error>(" ".repeat(10))));
        problem(&app, a_post(path, JSON, Body::from_stream(pieces)), 413).await;
    }
}

#[tokio::test]
async fn unknown_addresses_and_methods_are_problems() {
    let app = app(&config::Http::default());
    assert!(problem(&app, a_get("/nowhere"), 404).await.0.detail.contains("/nowhere"));
    let (_, headers) = problem(&app, a_get("/orders"), 405).await;
    assert_eq!(headers["allow"], "POST");
}

#[tokio::test]
async fn a_crowd_is_told_to_come_back() {
    let app = app(&config::Http { max_in_flight: 1, request_timeout: Duration::from_millis(200), ..config::Http::default() });
    let slow = tokio::spawn({
        let app = app.clone();
        async move { problem(&app, a_get("/slow"), 503).await.0.detail }
    });
    tokio::time::sleep(Duration::from_millis(50)).await;
    let (shed, headers) = problem(&app, a_get("/trace"), 503).await;
    assert!(shed.detail.contains("under way") && headers.contains_key("retry-after"), "{shed:?}");
    assert!(slow.await.unwrap().contains("0.2 s"), "the time limit ends a slow one");
    assert_eq!(ask(&app, a_get("/trace")).await.0, 200, "and its place is free again");
}

#[tokio::test]
async fn a_panic_and_a_bare_500_tell_nothing() {
    let app = app(&config::Http::default());
    for path in ["/bad", "/bare"] {
        let (problem, _) = problem(&app, a_get(path), 500).await;
        assert!(!problem.detail.contains("purpose") && !problem.detail.contains("1234"), "{problem:?}");
    }
}

#[tokio::test]
async fn a_request_has_a_trace_context() {
    let app = app(&config::Http::default());
    let valid = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01";
    for (sent, kept) in [
        (Some(valid), true),
        (None, false),
        (Some("00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01-x"), false),
        (Some("00-00000000000000000000000000000000-b7ad6b7169203331-01"), false),
        (Some("ff-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"), false),
        (Some("00-0AF7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"), false),
    ] {
        let mut request = a_get("/trace");
        if let Some(sent) = sent {
            request.headers_mut().insert("traceparent", sent.parse().unwrap());
        }
        let (_, _, got) = ask(&app, request).await;
        assert_eq!(got.len(), 55, "{sent:?} gave {got}");
        assert_eq!(sent == Some(got.as_str()), kept, "{sent:?} gave {got}");
    }
}

#[test]
fn an_idempotency_key_is_visible_ascii() {
    let key = |value: &[u8]| {
        let mut headers = HeaderMap::new();
        headers.insert("idempotency-key", axum::http::HeaderValue::from_bytes(value).unwrap());
        http::idempotency_key(&headers)
    };
    assert_eq!(http::idempotency_key(&HeaderMap::new()), Ok(None));
    assert_eq!(key(b"a-1"), Ok(Some("a-1".to_owned())));
    assert_eq!(key(&[b'x'; 255]).map(|k| k.map(|k| k.len())), Ok(Some(255)));
    for wrong in [&b""[..], b"a b", b"\xc3\xbc", &[b'x'; 256]] {
        assert_eq!(key(wrong).unwrap_err().status, 400, "{wrong:?}");
    }
    let mut two = HeaderMap::new();
    two.append("idempotency-key", "a".parse().unwrap());
    two.append("idempotency-key", "b".parse().unwrap());
    assert_eq!(http::idempotency_key(&two).unwrap_err().status, 400);
    two.remove("idempotency-key");
    two.append("idempotency-key", "a".parse().unwrap());
    let whole = |asked| http::idempotency(&two, "me".to_owned(), &asked).unwrap().unwrap();
    assert_ne!(whole(json!({"a": 1})).body_hash, whole(json!({"a": 2})).body_hash);
}

#[tokio::test]
async fn the_interface_says_what_it_waits_for() {
    farandole::telemetry::recorder();
    let checks = Checks::waiting(&["database", "relay"]);
    let business = Arc::new(OnceLock::new());
    let app = http::service(checks.clone(), Some("{}".to_owned()), Arc::clone(&business));
    assert_eq!(ask(&app, a_get("/healthz")).await.0, 200);
    assert_eq!(ask(&app, a_get("/openapi.json")).await.0, 200);
    let (status, _, body) = ask(&app, a_get("/readyz")).await;
    assert_eq!(status, 503, "{body}");
    let (early, headers) = problem(&app, a_get("/orders"), 503).await;
    assert!(early.detail.contains("database, relay") && headers.contains_key("retry-after"), "{early:?}");

    checks.well("database");
    let trouble = Arc::new(AtomicBool::new(true));
    let probed = Arc::clone(&trouble);
    checks.ask("relay", false, move || probed.load(Ordering::Relaxed).then(|| "brokers are away".to_owned()));
    let (status, _, body) = ask(&app, a_get("/readyz")).await;
    assert_eq!(status, 200, "trouble that isn't required to end: {body}");
    assert!(body.contains("brokers are away"), "{body}");
    trouble.store(false, Ordering::Relaxed);
    assert!(!ask(&app, a_get("/readyz")).await.2.contains("brokers"));

    business.set(self::app(&config::Http::default())).unwrap();
    assert_eq!(ask(&app, a_get("/trace")).await.0, 200);
    let (_, _, metrics) = ask(&app, a_get("/metrics")).await;
    assert!(metrics.contains("farandole_http_requests_total") && metrics.contains("route=\"/trace\""), "{metrics}");
}

// === a service ===

/// What can be spawned by who embeds a service.
fn is_send<T: Send>(value: T) -> T {
    value
}

mod greeter {
    //! The least of services.
    use super::*;
    use farandole::{Answer, Decision, Input, Keys, NoEffect, Participant, Refusal, Task};

    #[derive(Debug, Clone)]
    pub enum Nothing {}

    impl farandole::Message for Nothing {
        const TYPES: &'static [farandole::RecordType] = &[];
        fn index(&self) -> usize {
            match *self {}
        }
        fn encode(&self, _: &farandole::Codec) -> Result<Vec<u8>, farandole::codec::Error> {
            match *self {}
        }
        fn decode(_: usize, _: &farandole::Codec, _: &[u8]) -> Result<Self, farandole::codec::Error> {
            unreachable!("there is no such event")
        }
    }

    farandole::tables! { pub struct Tables {} }

    #[derive(Debug)]
    pub struct Greeter;

    impl Participant for Greeter {
        const NAME: &'static str = "greeter";
        const HEARS: &'static [&'static str] = &["orders"];
        const SKIPS: &'static [&'static str] = &[];
        type Event = Nothing;
        type Heard = Nothing;
        type Command = ();
        type Effect = NoEffect;
        type Outcome = ();
        type Tables = Tables;
        fn aggregate(&self, _: &Input<Self>) -> String {
            "all".to_owned()
        }
        fn touches(&self, _: &Input<Self>) -> Keys {
            Keys::default()
        }
        fn decide(&self, _: &Tables, _: &Input<Self>) -> Result<Decision<Nothing>, Refusal> {
            Ok(Decision::nothing())
        }
        fn evolve(&self, _: &mut Tables, _: &Nothing) {}
        fn follow_up(&self, _: &Nothing) -> Vec<Task<NoEffect>> {
            Vec::new()
        }
        fn answer(&self, _: &[Nothing]) -> Answer {
            Answer::new(204, Value::Null)
        }
    }

    pub fn service() -> Service<Greeter> {
        Service::new(Greeter, sqlx::migrate::Migrator::with_migrations(Vec::new()))
            .routes(|| Router::<Api<Greeter>>::new().route("/greet", get(async || "hello")))
    }
}

/// Nobody listens at the ports given: the service lives, says what it waits for, and stops when told.
#[tokio::test]
async fn a_service_without_its_servers_lives_waits_and_stops() {
    let folder = tempfile::tempdir().unwrap();
    let port_file = folder.path().join("port");
    let mut config = Config::default();
    config.database.url = "postgres://127.0.0.1:9/none".into();
    config.http.listen = "127.0.0.1:0".parse().unwrap();
    config.http.port_file = Some(port_file.clone());
    let shutdown = tokio_util::sync::CancellationToken::new();
    let running = tokio::spawn(is_send(greeter::service().run(config, shutdown.clone())));
    let until = std::time::Instant::now() + Duration::from_secs(20);
    let address = loop {
        assert!(std::time::Instant::now() < until && !running.is_finished(), "no address in time");
        match std::fs::read_to_string(&port_file) {
            Ok(address) => break address,
            Err(_) => tokio::time::sleep(Duration::from_millis(10)).await,
        }
    };
    let status = async |path: &str| {
        let response = reqwest::get(format!("http://{address}{path}")).await.unwrap();
        (response.status().as_u16(), response.text().await.unwrap())
    };
    assert_eq!(status("/healthz").await.0, 200);
    assert_eq!(status("/greet").await.0, 503);
    let said = loop {
        let (code, said) = status("/readyz").await;
        assert_eq!(code, 503);
        if said.contains("connecting to the database") || std::time::Instant::now() >= until {
            break said;
        }
        tokio::time::sleep(Duration::from_millis(10)).await;
    };
    assert!(said.contains("connecting to the database"), "{said}");
    shutdown.cancel();
    tokio::time::timeout(Duration::from_secs(10), running).await.expect("stops in time").unwrap().unwrap();
}

#[test]
fn a_service_describes_itself() {
    let mut config = Config::default();
    config.topics.prefix = "test-".to_owned();
    let description = greeter::service().description(&config);
    assert_eq!((description.publishes.as_str(), description.journal.as_str()), ("test-greeter", "test-greeter.journal"));
    assert_eq!(description.hears, ["test-orders"]);
    assert!(description.to_string().contains("hears         test-orders"));
}
