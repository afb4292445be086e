//! Calls to the shop that survive its restarts.

use std::borrow::Cow;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use anyhow::{Context as _, bail};
use reqwest::StatusCode;
use serde_json::Value;
use sha2::{Digest as _, Sha256};

/// How long one request is sent again while the shop is away, before the import gives up: longer than any restart.
const PATIENCE: Duration = Duration::from_secs(180);
/// How long one answer may take.
const TIMEOUT: Duration = Duration::from_secs(30);

/// A client of the shop.
#[derive(Debug)]
pub struct Calls {
    client: reqwest::Client,
    retries: AtomicU64,
    /// Requests that were answered.
    answered: AtomicU64,
}

/// How a request ended that was sent as often as it took.
#[derive(Debug, Clone, PartialEq)]
pub enum Answer {
    /// With an answer that is no trouble: 2xx, or 4xx.
    Given(StatusCode, Value),
    /// With trouble for as long as was waited, in the shop's words, while others were answered: it is this request's own.
    Trouble(String),
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
            answered: AtomicU64::new(0),
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
    pub async fn post(&self, url: &str, key: &str, body: &Value) -> anyhow::Result<Answer> {
        let until = Instant::now() + PATIENCE;
        let answered = self.answered.load(Ordering::Relaxed);
        let mut pause = Duration::from_millis(50);
        loop {
            let why = match self.client.post(url).header("Idempotency-Key", &*key_of(key)).json(body).send().await {
                Ok(answer) => {
                    let status = answer.status();
                    if !status.is_server_error() && status != StatusCode::TOO_MANY_REQUESTS {
                        match answer.bytes().await {
                            Ok(bytes) => {
                                self.answered.fetch_add(1, Ordering::Relaxed);
                                return Ok(Answer::Given(status, serde_json::from_slice(&bytes).unwrap_or(Value::Null)));
                            }
                            Err(error) => error.to_string(),
                        }
                    } else {
                        format!("{status}: {}", answer.text().await.unwrap_or_default())
                    }
                }
                Err(error) => error.to_string(),
            };
            if Instant::now() > until && self.answered.load(Ordering::Relaxed) > answered {
                return Ok(Answer::Trouble(why));
            }
            if Instant::now() > until {
                bail!("{url} did not answer within {} s: {why}", PATIENCE.as_secs());
            }
            self.retries.fetch_add(1, Ordering::Relaxed);
            tokio::time::sleep(pause).await;
            pause = (pause * 2).min(Duration::from_secs(2));
        }
    }
}

/// `key` as a header takes it: what stands in a file may have blanks and other letters in it, and any length.
fn key_of(key: &str) -> Cow<'_, str> {
    if key.len() <= 200 && key.bytes().all(|b| b.is_ascii_graphic()) {
        return Cow::Borrowed(key);
    }
    let digest = Sha256::digest(key);
    Cow::Owned(digest.iter().fold("import-sha256-".to_owned(), |name, byte| format!("{name}{byte:02x}")))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn any_text_is_a_key_and_two_are_two() {
        assert_eq!(key_of("import-receipt-85123A"), "import-receipt-85123A");
        let keys =
            ["import-85123 A", "import-85123  A", "import-caf\u{e9}", &"x".repeat(201)].map(|key| key_of(key).into_owned());
        assert!(keys.iter().all(|key| key.len() < 200 && key.bytes().all(|b| b.is_ascii_graphic())));
        assert_eq!(keys.iter().collect::<std::collections::BTreeSet<_>>().len(), keys.len());
    }
}
