//! What callers meet: limits, problems, trace contexts, readiness.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use axum::Router;
use axum::body::Body;
use axum::http::{HeaderMap, Request, StatusCode};
use axum::routing::{get, post};
use farandole::http::{self, Checks};
use farandole::{Problem, config};
use serde::Deserialize;
use serde_json::{Value, json};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tower::ServiceExt as _;

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
            post(async |http::JsonBody(order): http::JsonBody<Order>| {
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

/// What a caller writes twice, packs, or could not be stored is told at the edge, with its place.
#[tokio::test]
async fn what_can_be_read_in_two_ways_or_not_be_stored_is_refused_with_its_place() {
    let app = app(&config::Http::default());
    for (body, status, kind, place) in [
        (r#"{"lines":[{"sku":"a","quantity":1,"quantity":2}]}"#, 400, "duplicate-field", "lines[0].quantity"),
        ("{\"lines\":[{\"sku\":\"a\\u0000\",\"quantity\":1}]}", 422, "invalid-request", "lines[0].sku"),
    ] {
        let (problem, _) = problem(&app, a_post("/orders", JSON, body), status).await;
        assert_eq!((problem.kind, problem.errors[0].field.as_str()), (format!("/problems/{kind}"), place));
    }
    let marked = problem(&app, a_post("/orders", JSON, "\u{feff}{}"), 400).await.0;
    assert!(marked.detail.contains("byte-order mark"), "{marked:?}");
    let packed = Request::post("/orders").header("content-type", JSON).header("content-encoding", "gzip");
    problem(&app, packed.body(Body::from("\u{1f}")).unwrap(), 415).await;
    let (address, _) = problem(&app, a_get("/number/1%00?q=%ff"), 400).await;
    assert_eq!(address.errors.iter().map(|e| e.field.as_str()).collect::<Vec<_>>(), ["(part 2 of the path)", "q"]);
    problem(&app, a_get(&format!("/number/{}", "1".repeat(9_000))), 414).await;
    problem(&app, a_get("/number/99999999999999999999"), 400).await;
}

/// Guard: a body is read before its request takes a place, and within a limit. Without that as many slow ones as there are places shut
/// all others out.
#[tokio::test]
async fn slow_bodies_take_no_places() {
    let routes = app(&config::Http { max_in_flight: 2, ..config::Http::default() });
    let socket = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = socket.local_addr().unwrap();
    let limits = listener::Limits { body: Duration::from_secs(2), ..listener::Limits::default() };
    let stop = tokio_util::sync::CancellationToken::new();
    let server = tokio::spawn(listener::serve(socket, routes, limits, stop.clone().cancelled_owned()));
    let sent = async |bytes: &'static str| {
        let mut stream = tokio::net::TcpStream::connect(address).await.unwrap();
        stream.write_all(bytes.as_bytes()).await.unwrap();
        stream
    };
    let half = "POST /orders HTTP/1.1\r\nHost: h\r\nContent-Type: application/json\r\nContent-Length: 100\r\n\r\n{";
    let mut slow = [sent(half).await, sent(half).await];
    let told = async |stream: &mut tokio::net::TcpStream| {
        let mut answer = vec![0; 4_096];
        let n = tokio::time::timeout(Duration::from_secs(20), stream.read(&mut answer)).await.unwrap().unwrap();
        String::from_utf8_lossy(&answer[..n]).into_owned()
    };
    let other = told(&mut sent("GET /trace HTTP/1.1\r\nHost: h\r\n\r\n").await).await;
    assert!(other.starts_with("HTTP/1.1 200 "), "{other}");
    for stream in &mut slow {
        let answer = told(stream).await;
        assert!(answer.starts_with("HTTP/1.1 408 ") && answer.contains("/problems/slow-body"), "{answer}");
    }
    stop.cancel();
    server.await.unwrap().unwrap();
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
    assert!(shed.detail.contains("in flight") && headers.contains_key("retry-after"), "{shed:?}");
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

    checks.ok("database");
    let trouble = Arc::new(AtomicBool::new(true));
    let probed = Arc::clone(&trouble);
    checks.probe("relay", false, move || probed.load(Ordering::Relaxed).then(|| "brokers are away".to_owned()));
    let (status, _, body) = ask(&app, a_get("/readyz")).await;
    assert_eq!(status, 200, "trouble that isn't required to end: {body}");
    assert!(body.contains("brokers are away"), "{body}");
    trouble.store(false, Ordering::Relaxed);
    assert!(!ask(&app, a_get("/readyz")).await.2.contains("brokers"));

    business.set(super::http::app(&config::Http::default())).unwrap();
    assert_eq!(ask(&app, a_get("/trace")).await.0, 200);
    let (_, _, metrics) = ask(&app, a_get("/metrics")).await;
    assert!(metrics.contains("farandole_http_requests_total") && metrics.contains("route=\"/trace\""), "{metrics}");
}
