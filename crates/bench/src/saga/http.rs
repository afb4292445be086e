//! HTTP/1.1 over connections that stay open: as many as there are requests at once, each used again as soon as it is free.
//!
//! No client with redirects, cookies and a pool of its own: it would take more processor time than some of what is measured.

use std::sync::{Mutex, PoisonError};

use anyhow::{Context as _, bail};
use bytes::Bytes;
use http_body_util::{BodyExt as _, Full};
use hyper::client::conn::http1::{self, SendRequest};
use hyper::{Method, Request};
use hyper_util::rt::TokioIo;
use tokio::net::TcpStream;

/// One server.
pub struct Server {
    /// `127.0.0.1:8080`.
    address: String,
    idle: Mutex<Vec<SendRequest<Full<Bytes>>>>,
}

/// What was answered.
#[derive(Debug)]
pub struct Answer {
    pub status: u16,
    pub body: Bytes,
}

impl Answer {
    /// The body as JSON, of an answer that is none of a refusal.
    ///
    /// # Errors
    /// When it is one.
    pub fn json(&self) -> anyhow::Result<serde_json::Value> {
        if !(200..300).contains(&self.status) {
            bail!("{}: {}", self.status, String::from_utf8_lossy(&self.body));
        }
        serde_json::from_slice(&self.body).context("reading an answer")
    }
}

impl Server {
    /// The one at `url`, `http://127.0.0.1:8080`.
    pub fn new(url: &str) -> Self {
        let address = url.trim_start_matches("http://").trim_end_matches('/').to_owned();
        Self { address, idle: Mutex::default() }
    }

    /// Asks for `path`.
    ///
    /// # Errors
    /// When there is no answer.
    pub async fn get(&self, path: &str) -> anyhow::Result<Answer> {
        self.send(Method::GET, path, None, Bytes::new()).await
    }

    /// Posts JSON, under an idempotency key if there is one.
    ///
    /// # Errors
    /// When there is no answer.
    pub async fn post(&self, path: &str, key: Option<&str>, body: Bytes) -> anyhow::Result<Answer> {
        self.send(Method::POST, path, key, body).await
    }

    async fn send(&self, method: Method, path: &str, key: Option<&str>, body: Bytes) -> anyhow::Result<Answer> {
        let mut request = Request::builder().method(method).uri(path).header("host", &self.address);
        if !body.is_empty() {
            request = request.header("content-type", "application/json");
        }
        if let Some(key) = key {
            request = request.header("idempotency-key", key);
        }
        let request = request.body(Full::new(body)).context("making a request")?;
        let mut connection = match self.free() {
            Some(connection) => connection,
            None => self.connect().await?,
        };
        let answer = connection.send_request(request).await.with_context(|| format!("asking {}{path}", self.address))?;
        let status = answer.status().as_u16();
        let body = answer.into_body().collect().await.with_context(|| format!("reading what {}{path} answers", self.address))?;
        self.lock().push(connection);
        Ok(Answer { status, body: body.to_bytes() })
    }

    /// A connection that the server hasn't closed.
    fn free(&self) -> Option<SendRequest<Full<Bytes>>> {
        let mut idle = self.lock();
        while let Some(connection) = idle.pop() {
            if connection.is_ready() {
                return Some(connection);
            }
        }
        None
    }

    async fn connect(&self) -> anyhow::Result<SendRequest<Full<Bytes>>> {
        let stream = TcpStream::connect(&self.address).await.with_context(|| format!("connecting to {}", self.address))?;
        stream.set_nodelay(true)?;
        let (sender, connection) = http1::handshake(TokioIo::new(stream)).await.context("speaking HTTP")?;
        // Its end shows in the request that meets it.
        tokio::spawn(async move { _ = connection.await });
        Ok(sender)
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, Vec<SendRequest<Full<Bytes>>>> {
        self.idle.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
