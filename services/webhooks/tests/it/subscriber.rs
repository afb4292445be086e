//! A subscriber: takes messages while it is up, verifies each by the specification's own library, and keeps what it took.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use axum::Router;
use axum::extract::Request;
use axum::http::StatusCode;
use serde_json::Value;
use standardwebhooks::Webhook;
use tokio::net::TcpListener;

/// What was taken: the id, and the document.
pub type Taken = (String, Value);

/// Listens at a port of its own.
pub struct Subscriber {
    pub url: String,
    pub secret: &'static str,
    up: Arc<AtomicBool>,
    held: Arc<AtomicBool>,
    taken: Arc<Mutex<Vec<Taken>>>,
}

impl Subscriber {
    pub async fn listen(secret: &'static str) -> Self {
        let (up, held) = (Arc::new(AtomicBool::new(true)), Arc::<AtomicBool>::default());
        let taken = Arc::<Mutex<Vec<Taken>>>::default();
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("http://{}/hooks?shop=1", listener.local_addr().unwrap());
        let (is_up, is_held, takes) = (Arc::clone(&up), Arc::clone(&held), Arc::clone(&taken));
        let answer = move |request: Request| {
            let (is_up, is_held, takes) = (Arc::clone(&is_up), Arc::clone(&is_held), Arc::clone(&takes));
            async move {
                if !is_up.load(Ordering::SeqCst) {
                    return (StatusCode::SERVICE_UNAVAILABLE, "we are down for a moment");
                }
                let (head, body) = request.into_parts();
                let body = axum::body::to_bytes(body, 1 << 20).await.unwrap();
                if Webhook::new(secret).unwrap().verify(&body, &head.headers).is_err() {
                    return (StatusCode::UNAUTHORIZED, "who are you");
                }
                let id = head.headers["webhook-id"].to_str().unwrap().to_owned();
                takes.lock().unwrap().push((id, serde_json::from_slice(&body).unwrap()));
                while is_held.load(Ordering::SeqCst) {
                    tokio::time::sleep(Duration::from_millis(10)).await;
                }
                (StatusCode::OK, "thanks")
            }
        };
        tokio::spawn(async { axum::serve(listener, Router::new().fallback(answer)).await });
        Self { url, secret, up, held, taken }
    }

    pub fn set_up(&self, up: bool) {
        self.up.store(up, Ordering::SeqCst);
    }

    /// From here on messages are taken and not answered, until it is told otherwise.
    pub fn hold(&self, hold: bool) {
        self.held.store(hold, Ordering::SeqCst);
    }

    pub fn taken(&self) -> Vec<Taken> {
        self.taken.lock().unwrap().clone()
    }

    /// The types that were taken of an order, in order. A message that came twice in a row, as after a crash, counts once.
    pub fn of(&self, order_id: &str) -> Vec<String> {
        let mut of = self.taken();
        of.retain(|(_, body)| body["data"]["order_id"] == order_id);
        of.dedup_by(|a, b| a.0 == b.0);
        of.into_iter().map(|(_, body)| body["type"].as_str().unwrap().to_owned()).collect()
    }
}
