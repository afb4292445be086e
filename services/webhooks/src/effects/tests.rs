//! What each of a subscriber's answers means here, and what it is sent.

use std::collections::HashMap;
use std::sync::Mutex;

use axum::Router;
use axum::body::Bytes;
use axum::extract::Request;
use axum::http::{HeaderMap, StatusCode, Uri};
use farandole::Timestamp;
use secrecy::SecretString;
use standardwebhooks::Webhook;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpListener;
use uuid::Uuid;

use super::*;
use crate::guard::Guard;
use crate::seal;

const ORDER: Uuid = Uuid::from_u128(7);
const TO: Uuid = Uuid::from_u128(9);
const SECRET: &str = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw";
const DAY: Duration = Duration::from_secs(24 * 60 * 60);
const LONGEST: Duration = Duration::from_secs(300);

/// A request, as far as it matters here.
type Asked = (Uri, HeaderMap, Bytes);

/// Endpoints that are there from the beginning.
struct Fixed(HashMap<Uuid, Endpoint>);

impl Endpoints for Fixed {
    async fn find(&self, subscription_id: Uuid) -> Result<Option<Endpoint>, String> {
        Ok(self.0.get(&subscription_id).cloned())
    }
}

/// No endpoint can be read.
struct Broken;

impl Endpoints for Broken {
    async fn find(&self, _: Uuid) -> Result<Option<Endpoint>, String> {
        Err("the database is down".to_owned())
    }
}

fn sealer() -> Arc<Sealer> {
    Arc::new(Sealer::new(&[1; 32]).unwrap())
}

fn settings(allowed: &[&str]) -> Settings {
    let allowed: Vec<String> = allowed.iter().map(|range| (*range).to_owned()).collect();
    let rules = Rules { allow_http: true, guard: Arc::new(Guard::new(&allowed).unwrap()) };
    Settings { timeout: Duration::from_millis(500), give_up_after: DAY, longest_wait: LONGEST, rules }
}

fn to(url: &str) -> Fixed {
    let secret = seal::secret(&SecretString::from(SECRET)).unwrap();
    let endpoint = Endpoint { url: url.to_owned(), secret: sealer().seal(url, &secret).unwrap() };
    Fixed(HashMap::from([(TO, endpoint)]))
}

fn sender(url: &str) -> Sender<Fixed> {
    Sender::new(settings(&["127.0.0.0/8", "::1/128"]), Some(sealer()), to(url)).unwrap()
}

fn message() -> Effect {
    let (message_id, kind, body) = ("msg_1".to_owned(), "order.confirmed".to_owned(), r#"{"type":"order.confirmed"}"#.to_owned());
    Deliver { order_id: ORDER, subscription_id: TO, slot: 3, message_id, kind, body, attempt: 1 }.into()
}

fn call(attempt: u32, first_attempt_at: Timestamp) -> Call {
    let idempotency_key = Uuid::from_u128(5);
    Call { idempotency_key, attempt, first_attempt_at, aggregate: ORDER.to_string(), traceparent: None }
}

fn now() -> Timestamp {
    Timestamp::from_micros(seconds() * 1_000_000)
}

/// Sends the message to a subscriber that answers so.
async fn ask(
    status: u16,
    headers: &'static [(&'static str, &'static str)],
    body: &'static str,
) -> (Result<Outcome, EffectError>, Vec<Asked>) {
    ask_in(status, headers, body, &call(1, now())).await
}

async fn ask_in(
    status: u16,
    headers: &'static [(&'static str, &'static str)],
    body: &'static str,
    call: &Call,
) -> (Result<Outcome, EffectError>, Vec<Asked>) {
    let asked = Arc::<Mutex<Vec<Asked>>>::default();
    let seen = Arc::clone(&asked);
    let answer = move |request: Request| {
        let seen = Arc::clone(&seen);
        async move {
            let (parts, body_of) = request.into_parts();
            let bytes = axum::body::to_bytes(body_of, 1 << 20).await.unwrap();
            seen.lock().unwrap().push((parts.uri, parts.headers, bytes));
            let all = headers.iter().map(|(name, value)| (name.parse().unwrap(), value.parse().unwrap()));
            (StatusCode::from_u16(status).unwrap(), HeaderMap::from_iter(all), body)
        }
    };
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}/hooks", listener.local_addr().unwrap());
    let server = tokio::spawn(async { axum::serve(listener, Router::new().fallback(answer)).await });
    let told = sender(&url).run(call, &message()).await;
    server.abort();
    let asked = std::mem::take(&mut *asked.lock().unwrap());
    (told, asked)
}

/// A subscriber that writes this to each connection, and keeps it open so long.
async fn raw(text: String, open: Duration) -> String {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}/", listener.local_addr().unwrap());
    tokio::spawn(async move {
        while let Ok((mut socket, _)) = listener.accept().await {
            let text = text.clone();
            tokio::spawn(async move {
                let _ = socket.read(&mut [0; 4_096]).await;
                let _ = socket.write_all(text.as_bytes()).await;
                tokio::time::sleep(open).await;
            });
        }
    });
    url
}

#[tokio::test]
async fn what_is_sent_is_what_standard_webhooks_says() {
    let (told, asked) = ask(204, &[], "").await;
    assert_eq!(told, Ok(Outcome::Delivered { status: 204 }));
    let [(uri, headers, body)] = asked.as_slice() else { panic!("{asked:?}") };
    assert_eq!(uri.path(), "/hooks");
    assert_eq!(&body[..], br#"{"type":"order.confirmed"}"#);
    assert_eq!(
        (&headers["webhook-id"], &headers["content-type"]),
        (&"msg_1".parse().unwrap(), &"application/json".parse().unwrap())
    );
    assert!(headers["user-agent"].to_str().unwrap().starts_with("farandole-webhooks/"));
    // The specification's own library takes it, and not with another secret, id or body.
    let key = Webhook::new(SECRET).unwrap();
    key.verify(body, headers).unwrap();
    assert!(Webhook::new("whsec_C2FVsBQIhrscChlQIMV+b5sSYspob7oD").unwrap().verify(body, headers).is_err());
    assert!(key.verify(b"{}", headers).is_err());
    let mut other = headers.clone();
    other.insert("webhook-id", "msg_2".parse().unwrap());
    assert!(key.verify(body, &other).is_err());
}

#[tokio::test]
async fn only_2xx_takes_a_message() {
    for status in [200, 201, 202, 204, 299] {
        assert_eq!(ask(status, &[], "").await.0, Ok(Outcome::Delivered { status }));
    }
    for status in [301, 302, 307, 308, 400, 401, 404, 408, 409, 410, 422, 429, 500, 502, 503] {
        let (told, asked) = ask(status, &[("location", "/elsewhere")], "no\r\nreally").await;
        assert_eq!(asked.len(), 1, "a redirect was followed: {asked:?}");
        let Err(EffectError::Retry { reason, after }) = told else { panic!("{status}: {told:?}") };
        let said = if status < 400 { "redirects aren't followed" } else { "no  really" };
        assert_eq!((reason, after), (format!("HTTP {status}: {said}"), Some(Duration::from_secs(1))));
    }
}

#[tokio::test]
async fn waits_grow_and_are_as_long_as_the_subscriber_asks_within_a_bound() {
    let after = async |headers, attempt| {
        let told = ask_in(503, headers, "", &call(attempt, now())).await.0;
        let Err(EffectError::Retry { after, .. }) = told else { panic!("{told:?}") };
        after.unwrap().as_secs()
    };
    let mut waits = Vec::new();
    for attempt in [1, 2, 5, 9, 10, 1_000, u32::MAX] {
        waits.push(after(&[], attempt).await);
    }
    assert_eq!(waits, [1, 2, 16, 256, 300, 300, 300]);
    assert_eq!(after(&[("retry-after", "120")], 1).await, 120);
    assert_eq!(after(&[("retry-after", "2")], 5).await, 16);
    assert_eq!(after(&[("retry-after", "86400")], 1).await, 300);
}

/// Guard: the last attempt is still made, and what it came to is told.
#[tokio::test]
async fn after_its_time_a_failure_is_the_end() {
    let old = call(9, Timestamp::from_micros(0));
    assert_eq!(ask_in(500, &[], "down", &old).await.0, Ok(Outcome::GivenUp { reason: "HTTP 500: down".into() }));
    assert_eq!(ask_in(200, &[], "", &old).await.0, Ok(Outcome::Delivered { status: 200 }));
    // What is our own trouble ends no message.
    let broken = Sender::new(settings(&[]), Some(sealer()), Broken).unwrap();
    let keyless = Sender::new(settings(&[]), None, to("http://127.0.0.1:9/")).unwrap();
    let other = Arc::new(Sealer::new(&[2; 32]).unwrap());
    let another = Sender::new(settings(&[]), Some(other), to("http://127.0.0.1:9/")).unwrap();
    for told in [broken.run(&old, &message()).await, keyless.run(&old, &message()).await, another.run(&old, &message()).await] {
        assert!(matches!(told, Err(EffectError::Retry { .. })), "{told:?}");
    }
}

#[tokio::test]
async fn a_removed_subscription_gets_nothing() {
    let none = Sender::new(settings(&[]), Some(sealer()), Fixed(HashMap::new())).unwrap();
    assert_eq!(none.run(&call(1, now()), &message()).await, Ok(Outcome::Removed));
}

/// Guard: without, a body without end fills the memory, and a slow one holds a place for as long as it likes.
#[tokio::test]
async fn of_an_answer_only_the_beginning_is_read() {
    let long = format!("HTTP/1.1 500 no\r\ncontent-length: 100000000\r\n\r\n{}", "x".repeat(100_000));
    let told = sender(&raw(long, Duration::from_secs(5)).await).run(&call(1, now()), &message()).await;
    let Err(EffectError::Retry { reason, .. }) = told else { panic!("{told:?}") };
    assert_eq!(reason, format!("HTTP 500: {}", "x".repeat(KEPT)));
    // Taken is taken, whatever comes behind.
    for rest in ["", "x", "\r\n"] {
        let slow = format!("HTTP/1.1 200 ok\r\ncontent-length: 100\r\n\r\n{rest}");
        let told = sender(&raw(slow, Duration::from_secs(5)).await).run(&call(1, now()), &message()).await;
        assert_eq!(told, Ok(Outcome::Delivered { status: 200 }), "{rest:?}");
    }
}

#[tokio::test]
async fn silence_and_nobody_there_are_tried_again() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let gone = format!("http://{}/?key=hunter2", listener.local_addr().unwrap());
    drop(listener);
    let silent = raw(String::new(), Duration::from_secs(5)).await;
    let half = raw("HTTP/1.1 20".to_owned(), Duration::ZERO).await;
    let noise = raw("what?\r\n\r\n".to_owned(), Duration::ZERO).await;
    for url in [gone, silent, half, noise] {
        let told = sender(&url).run(&call(1, now()), &message()).await;
        assert!(matches!(&told, Err(EffectError::Retry { reason, .. }) if !reason.contains("hunter2")), "{url}: {told:?}");
    }
}

/// Guard: what was taken when it was registered is judged again when it is sent, names by what they stand for then.
#[tokio::test]
async fn nothing_goes_to_an_address_that_is_refused() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let port = listener.local_addr().unwrap().port();
    for host in ["127.0.0.1", "localhost", "2130706433", "0x7f.1"] {
        let url = format!("http://{host}:{port}/");
        let closed = Sender::new(settings(&[]), Some(sealer()), to(&url)).unwrap();
        let told = closed.run(&call(1, now()), &message()).await;
        assert!(matches!(&told, Err(EffectError::Retry { reason, .. }) if reason.contains("(loopback)")), "{host}: {told:?}");
    }
    let nobody = tokio::time::timeout(Duration::from_millis(50), listener.accept()).await;
    assert!(nobody.is_err(), "somebody came: {nobody:?}");
    // `http://` only where the settings say so.
    let mut strict = settings(&["127.0.0.0/8"]);
    strict.rules.allow_http = false;
    let url = format!("http://127.0.0.1:{port}/");
    let told = Sender::new(strict, Some(sealer()), to(&url)).unwrap().run(&call(1, now()), &message()).await;
    assert!(matches!(&told, Err(EffectError::Retry { reason, .. }) if reason.contains("https://")), "{told:?}");
}
