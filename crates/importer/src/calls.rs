//! Calls to the shop that survive its restarts.

use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use anyhow::{Context as _, bail};
use reqwest::StatusCode;
use serde_json::Value;

/// How long one request is sent again while the shop is away, before the import gives up: longer than any restart.
const PATIENCE: Duration = Duration::from_secs(180);
/// How long one answer may take.
const TIMEOUT: Duration = Duration::from_secs(30);

/// A client of the shop.
#[derive(Debug)]
pub struct Calls {
    client: reqwest::Client,
    retries: AtomicU64,
}

impl Calls {
    /// A client.
    ///
    /// # Errors
    /// When the system gives none.
    pub fn new() -> anyhow::Result<Self> {
        // Another crate of the same process may have chosen the provider already; it is the same one.
        let _ = rustls::crypto::aws_lc_rs::default_provider().install_default();
        Ok(Self {
            client: reqwest::Client::builder().timeout(TIMEOUT).build().context("making an HTTP client")?,
            retries: AtomicU64::new(0),
        })
    }

    /// Requests that were sent again.
    pub fn retries(&self) -> u64 {
        self.retries.load(Ordering::Relaxed)
    }

    /// Posts `body` under an idempotency key, again and again while the shop can't be reached or says 503, 429 or 5xx.
    ///
    /// # Errors
    /// When the shop stays away.
    pub async fn post(&self, url: &str, key: &str, body: &Value) -> anyhow::Result<(StatusCode, Value)> {
        let until = Instant::now() + PATIENCE;
        let mut pause = Duration::from_millis(50);
        loop {
            let why = match self.client.post(url).header("Idempotency-Key", key).json(body).send().await {
                Ok(answer) => {
                    let status = answer.status();
                    if !status.is_server_error() && status != StatusCode::TOO_MANY_REQUESTS {
                        match answer.bytes().await {
                            Ok(bytes) => return Ok((status, serde_json::from_slice(&bytes).unwrap_or(Value::Null))),
                            Err(error) => error.to_string(),
                        }
                    } else {
                        format!("{status}: {}", answer.text().await.unwrap_or_default())
                    }
                }
                Err(error) => error.to_string(),
            };
            if Instant::now() > until {
                bail!("{url} did not answer within {} s: {why}", PATIENCE.as_secs());
            }
            self.retries.fetch_add(1, Ordering::Relaxed);
            tokio::time::sleep(pause).await;
            pause = (pause * 2).min(Duration::from_secs(2));
        }
    }
}
