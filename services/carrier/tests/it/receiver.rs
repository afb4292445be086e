//! A receiver of webhooks: verifies each, and tells the test in the order they came.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use axum::Router;
use axum::body::Bytes;
use axum::extract::State;
use axum::http::{HeaderMap, StatusCode};
use axum::response::IntoResponse as _;
use axum::routing::any;
use serde_json::Value;
use standardwebhooks::{Webhook, WebhookError};
use tokio::net::TcpListener;
use tokio::sync::{mpsc, watch};

use crate::kit::SECRET;

/// A webhook as it came.
#[derive(Debug)]
pub struct Came {
    pub id: String,
    pub timestamp: i64,
    pub signature: Option<String>,
    pub body: Value,
    pub verified: Result<(), WebhookError>,
    /// It would have been, at the time that it names.
    pub signed: bool,
}

impl Came {
    pub fn status(&self) -> &str {
        self.body["status"].as_str().unwrap()
    }

    pub fn reference(&self) -> &str {
        self.body["reference"].as_str().unwrap()
    }
}

struct Desk {
    came: mpsc::UnboundedSender<Came>,
    answers: Mutex<VecDeque<u16>>,
    otherwise: Mutex<u16>,
    /// Now, and at most.
    under_way: Mutex<(usize, usize)>,
    open: watch::Sender<bool>,
}

pub struct Receiver {
    pub url: String,
    came: mpsc::UnboundedReceiver<Came>,
    desk: Arc<Desk>,
}

impl Receiver {
    pub async fn start() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("http://{}/webhooks", listener.local_addr().unwrap());
        let (sender, came) = mpsc::unbounded_channel();
        let desk = Arc::new(Desk {
            came: sender,
            answers: Mutex::default(),
            otherwise: Mutex::new(204),
            under_way: Mutex::default(),
            open: watch::Sender::new(true),
        });
        // Redirects lead here as well, and are seen as one more that came.
        let routes = Router::new().fallback(any(take)).with_state(Arc::clone(&desk));
        tokio::spawn(async move { axum::serve(listener, routes).await });
        Self { url, came, desk }
    }

    /// The answers to the next; then to all others.
    pub fn answers(&self, next: &[u16], otherwise: u16) {
        self.desk.answers.lock().unwrap().extend(next);
        *self.desk.otherwise.lock().unwrap() = otherwise;
    }

    /// Answers nobody until it is open again.
    pub fn open(&self, open: bool) {
        self.desk.open.send_replace(open);
    }

    /// How many waited for an answer at a time, at most.
    pub fn most(&self) -> usize {
        self.desk.under_way.lock().unwrap().1
    }

    /// The next that comes.
    pub async fn next(&mut self) -> Came {
        tokio::time::timeout(Duration::from_secs(60), self.came.recv()).await.unwrap().unwrap()
    }

    pub async fn take(&mut self, number: usize) -> Vec<Came> {
        let mut all = Vec::new();
        while all.len() < number {
            all.push(self.next().await);
        }
        all
    }

    /// Whether all that came were asked for.
    pub fn is_empty(&self) -> bool {
        self.came.is_empty()
    }
}

async fn take(State(desk): State<Arc<Desk>>, headers: HeaderMap, body: Bytes) -> axum::response::Response {
    {
        let mut under_way = desk.under_way.lock().unwrap();
        under_way.0 += 1;
        under_way.1 = under_way.1.max(under_way.0);
    }
    let header = |name| headers.get(name).map(|value| value.to_str().unwrap().to_owned());
    let (id, timestamp) = (header("webhook-id").unwrap(), header("webhook-timestamp").unwrap().parse().unwrap());
    let (webhook, signature) = (Webhook::new(SECRET).unwrap(), header("webhook-signature"));
    let signed = signature.as_ref() == Some(&webhook.sign(&id, timestamp, &body).unwrap());
    let verified = webhook.verify(&body, &headers);
    // Of who follows a redirect it is empty.
    let body = serde_json::from_slice(&body).unwrap_or_default();
    desk.came.send(Came { id, timestamp, signature, body, verified, signed }).unwrap();
    let mut open = desk.open.subscribe();
    open.wait_for(|open| *open).await.unwrap();
    desk.under_way.lock().unwrap().0 -= 1;
    let status = desk.answers.lock().unwrap().pop_front().unwrap_or(*desk.otherwise.lock().unwrap());
    (StatusCode::from_u16(status).unwrap(), [("location", "/elsewhere")]).into_response()
}
