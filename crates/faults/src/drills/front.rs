//! An HTTP proxy before a service: each exchange is shown to somebody, requests can be held, and are shared out among replicas.
//!
//! **Guarantee.** A request is sent on once, and answered as it was; who asks again is the caller's to decide. What couldn't be sent on
//! is answered 502, and 503 if it was held for too long.

use std::net::SocketAddr;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use anyhow::Context as _;
use axum::Router;
use axum::body::{Body, Bytes};
use axum::extract::{Request, State};
use axum::http::{HeaderMap, Method, StatusCode, header};
use axum::response::{IntoResponse as _, Response};
use tokio::sync::watch;
use tokio::task::JoinHandle;

/// The longest body: an order of 5,000 lines has less.
const BODY: usize = 4 << 20;
/// How long a request is held: less than callers wait for an answer.
const HOLD: Duration = Duration::from_secs(3);
/// How long a caller waits for the word that nobody is there.
const AWAY: Duration = Duration::from_secs(1);
/// How long an answer may take: longer than services give themselves.
const ANSWER: Duration = Duration::from_secs(60);

/// A request that was sent on, and what came back.
#[derive(Debug)]
pub struct Exchange {
    pub method: Method,
    /// Path and query.
    pub path: String,
    /// Its `Idempotency-Key`.
    pub key: Option<String>,
    pub headers: HeaderMap,
    pub body: Bytes,
    /// When it was sent on, and how long the answer took.
    pub at: Instant,
    pub took: Duration,
    /// None if there was none.
    pub status: Option<StatusCode>,
    pub answer: Bytes,
}

/// Who is shown what passes.
pub trait Witness: Send + Sync + 'static {
    /// Called before the request is sent on.
    fn asked(&self, _key: Option<&str>) {}
    /// Called before the answer is passed on: what a caller was told, the witness has seen.
    fn seen(&self, exchange: &Exchange);
}

/// The proxy.
pub struct Front {
    address: SocketAddr,
    way: Arc<Way>,
    serving: JoinHandle<()>,
}

struct Way {
    client: reqwest::Client,
    targets: Mutex<Vec<String>>,
    next: AtomicUsize,
    open: watch::Sender<bool>,
    witness: Arc<dyn Witness>,
}

impl Front {
    /// Listens on a free port of loopback; it leads nowhere yet.
    ///
    /// # Errors
    /// When no port is free.
    pub async fn open(witness: Arc<dyn Witness>) -> anyhow::Result<Self> {
        let port = stage::free_port(&[])?;
        let listener = tokio::net::TcpListener::bind(("127.0.0.1", port)).await.context("listening for callers")?;
        let address = listener.local_addr()?;
        let client = reqwest::Client::builder().timeout(ANSWER).redirect(reqwest::redirect::Policy::none()).build()?;
        let way = Way { client, targets: Mutex::default(), next: AtomicUsize::new(0), open: watch::Sender::new(true), witness };
        let way = Arc::new(way);
        let router = Router::new().fallback(pass).with_state(Arc::clone(&way));
        let serving = tokio::spawn(async move {
            if let Err(error) = axum::serve(listener, router).await {
                eprintln!("faults: the front of a service ended: {error}");
            }
        });
        Ok(Self { address, way, serving })
    }

    /// `host:port` where callers come.
    pub fn address(&self) -> String {
        self.address.to_string()
    }

    pub fn port(&self) -> u16 {
        self.address.port()
    }

    /// Requests from now on go to these (`host:port`) by turns.
    pub fn lead_to(&self, targets: impl IntoIterator<Item = String>) {
        *self.way.targets.lock().unwrap_or_else(PoisonError::into_inner) = targets.into_iter().collect();
    }

    /// Holds requests from now on, or lets them pass again.
    pub fn hold(&self, held: bool) {
        self.way.open.send_replace(!held);
    }
}

impl Drop for Front {
    fn drop(&mut self) {
        self.serving.abort();
    }
}

impl Way {
    fn target(&self) -> Option<String> {
        let targets = self.targets.lock().unwrap_or_else(PoisonError::into_inner);
        let next = self.next.fetch_add(1, Ordering::Relaxed);
        targets.get(next % targets.len().max(1)).cloned()
    }
}

async fn pass(State(way): State<Arc<Way>>, request: Request) -> Response {
    let (parts, body) = request.into_parts();
    let Ok(body) = axum::body::to_bytes(body, BODY).await else { return StatusCode::PAYLOAD_TOO_LARGE.into_response() };
    let held = tokio::time::timeout(HOLD, way.open.subscribe().wait_for(|open| *open)).await.is_err();
    if held {
        return (StatusCode::SERVICE_UNAVAILABLE, [(header::RETRY_AFTER, "1")], "held").into_response();
    }
    let path = parts.uri.path_and_query().map_or("/", |path| path.as_str()).to_owned();
    let key = parts.headers.get("idempotency-key").and_then(|key| key.to_str().ok()).map(str::to_owned);
    let at = Instant::now();
    way.witness.asked(key.as_deref());
    let sent = match way.target() {
        Some(target) => send(&way.client, &format!("http://{target}{path}"), &parts.method, &parts.headers, body.clone()).await,
        None => None,
    };
    let took = at.elapsed();
    let (status, headers, answer) = match sent {
        Some((status, headers, answer)) => (Some(status), headers, answer),
        None => (None, HeaderMap::new(), Bytes::new()),
    };
    let (method, asked) = (parts.method, parts.headers);
    way.witness.seen(&Exchange { method, path, key, headers: asked, body, at, took, status, answer: answer.clone() });
    if status.is_none() {
        // Hundreds of callers who ask ten times a second would slow down what they wait for.
        tokio::time::sleep(AWAY).await;
    }
    let mut response = Response::new(Body::from(answer));
    *response.status_mut() = status.unwrap_or(StatusCode::BAD_GATEWAY);
    *response.headers_mut() = headers;
    response
}

/// The answer, whole; none if there was none.
async fn send(
    client: &reqwest::Client,
    url: &str,
    method: &Method,
    headers: &HeaderMap,
    body: Bytes,
) -> Option<(StatusCode, HeaderMap, Bytes)> {
    let mut headers = headers.clone();
    // Of this connection, not of the next.
    for own in [header::HOST, header::CONTENT_LENGTH, header::CONNECTION, header::TRANSFER_ENCODING] {
        headers.remove(own);
    }
    let answer = client.request(method.clone(), url).headers(headers).body(body).send().await.ok()?;
    let (status, mut headers) = (answer.status(), answer.headers().clone());
    for own in [header::CONTENT_LENGTH, header::CONNECTION, header::TRANSFER_ENCODING] {
        headers.remove(own);
    }
    Some((status, headers, answer.bytes().await.ok()?))
}
