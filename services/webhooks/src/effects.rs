//! A message, over HTTP to its subscriber.
//!
//! An attempt says one of two things: an outcome, or "again". Taken is what is answered with 2xx. Whatever else comes of it (a refusal, a
//! redirect, a connection that breaks) is tried again, under the same `webhook-id`: the message may have arrived, and the subscriber tells
//! by the id. Once it is tried for longer than `give_up_after`, the next attempt is the last, and its failure an outcome.
//!
//! **Invariants:** no message goes to an address that the [guard](crate::guard) refuses, follows a redirect, or goes through a proxy of the
//! environment's. No more is read of an answer than [`KEPT`] bytes. What is ours to put right (the database, the key) gives up no message.

#[cfg(test)]
mod tests;

use std::error::Error as StdError;
use std::sync::Arc;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use farandole::agenda::over_http::retry_after;
use farandole::agenda::{Call, EffectError, EffectHandler};
use reqwest::{Client, Response, redirect};

use crate::address::Rules;
use crate::deliver::{Deliver, Effect, Outcome};
use crate::endpoints::{Endpoint, Endpoints};
use crate::guard::Guarded;
use crate::participant::Webhooks;
use crate::seal::Sealer;
use crate::sign::signature;
use crate::targets;

/// Bytes of an answer that are read, and told of at most.
pub const KEPT: usize = 1_024;
/// An answer's body may take so long: it decides nothing.
const BODY: Duration = Duration::from_millis(500);
/// Connecting takes milliseconds; who doesn't answer within this time isn't there.
const CONNECT: Duration = Duration::from_secs(2);
/// The first wait between attempts; each is twice the one before, up to the longest.
const WAIT: Duration = Duration::from_secs(1);
/// How often the wait doubles at most; far beyond any longest.
const DOUBLINGS: u32 = 16;
/// As we call ourselves.
const AGENT: &str = concat!("farandole-webhooks/", env!("CARGO_PKG_VERSION"));

/// How messages are sent.
#[derive(Debug, Clone)]
pub struct Settings {
    /// How long an attempt may take; less than `agenda.timeout`.
    pub timeout: Duration,
    /// How long a message is tried before it is dead, from its first attempt on.
    pub give_up_after: Duration,
    /// The longest wait between attempts.
    pub longest_wait: Duration,
    /// Where messages may go.
    pub rules: Rules,
}

/// Sends messages to those endpoints.
#[derive(Debug)]
pub struct Sender<E> {
    client: Client,
    settings: Settings,
    sealer: Option<Arc<Sealer>>,
    endpoints: E,
}

/// An attempt that failed.
struct Failed {
    reason: String,
    after: Option<Duration>,
}

impl<E: Endpoints> EffectHandler<Webhooks> for Sender<E> {
    fn target(&self, Effect::Deliver(of): &Effect) -> &'static str {
        targets::name(of.slot)
    }

    async fn run(&self, call: &Call, Effect::Deliver(of): &Effect) -> Result<Outcome, EffectError> {
        let ours = |reason| EffectError::Retry { reason, after: None };
        let Some(endpoint) = self.endpoints.find(of.subscription_id).await.map_err(ours)? else { return Ok(Outcome::Removed) };
        let sealer = self.sealer.as_ref().ok_or_else(|| ours("`own.key_file` isn't set".to_owned()))?;
        let secret = sealer.open(&endpoint.url, &endpoint.secret).ok_or_else(|| {
            ours(format!("the secret of {} doesn't open: is the key in `own.key_file` another?", of.subscription_id))
        })?;
        let timestamp = seconds();
        let signed = signature(&secret, &of.message_id, timestamp, &of.body);
        match self.post(of, &endpoint, timestamp, signed).await {
            Ok(status) => Ok(Outcome::Delivered { status }),
            Err(Failed { reason, .. }) if call.may_be_forgotten(self.settings.give_up_after) => {
                let (subscription, order, message) = (of.subscription_id, of.order_id, of.message_id.as_str());
                tracing::warn!(%subscription, %order, message, attempts = call.attempt, reason, "a message is dead; nobody took it");
                Ok(Outcome::GivenUp { reason })
            }
            Err(Failed { reason, after }) => {
                let wait = self.wait(call.attempt).max(after.unwrap_or_default()).min(self.settings.longest_wait);
                Err(EffectError::Retry { reason, after: Some(wait) })
            }
        }
    }
}

impl<E: Endpoints> Sender<E> {
    /// Without a key every message waits for one.
    ///
    /// # Errors
    /// When there is no TLS to be had.
    pub fn new(settings: Settings, sealer: Option<Arc<Sealer>>, endpoints: E) -> reqwest::Result<Self> {
        let client = Client::builder()
            .dns_resolver(Arc::new(Guarded(Arc::clone(&settings.rules.guard))))
            .no_proxy()
            .redirect(redirect::Policy::none())
            .referer(false)
            .connect_timeout(CONNECT.min(settings.timeout))
            .timeout(settings.timeout)
            .user_agent(AGENT)
            .build()?;
        Ok(Self { client, settings, sealer, endpoints })
    }

    /// Sends it once; gives the status with which it was taken.
    async fn post(&self, of: &Deliver, to: &Endpoint, timestamp: i64, signed: String) -> Result<u16, Failed> {
        let failed = |reason| Failed { reason, after: None };
        // What was taken when it was registered may not be by now.
        let url = self.settings.rules.read(&to.url).map_err(|why| failed(format!("the address {why}")))?;
        let request = self.client.post(url).body(of.body.clone());
        let request = request.header("content-type", "application/json").header("webhook-id", &of.message_id);
        let request = request.header("webhook-timestamp", timestamp).header("webhook-signature", signed);
        // An address may hold a key of the subscriber's, so it isn't told of.
        let answer = request.send().await.map_err(|error| failed(words(&chain(&error.without_url()))))?;
        let (status, after) = (answer.status().as_u16(), retry_after(answer.headers()));
        let said = excerpt(answer).await;
        match status {
            200..=299 => Ok(status),
            300..=399 => Err(Failed { reason: format!("HTTP {status}: redirects aren't followed"), after }),
            _ if said.is_empty() => Err(Failed { reason: format!("HTTP {status}"), after }),
            _ => Err(Failed { reason: format!("HTTP {status}: {said}"), after }),
        }
    }

    fn wait(&self, attempt: u32) -> Duration {
        WAIT.saturating_mul(1 << attempt.saturating_sub(1).min(DOUBLINGS))
    }
}

/// The beginning of an answer's body. A short one is read to its end, and its connection used again.
async fn excerpt(mut answer: Response) -> String {
    let mut body = Vec::new();
    let read = async {
        while body.len() < KEPT
            && let Ok(Some(chunk)) = answer.chunk().await
        {
            body.extend_from_slice(&chunk[..chunk.len().min(KEPT - body.len())]);
        }
    };
    let _ = tokio::time::timeout(BODY, read).await; // what has come by then is enough
    words(&String::from_utf8_lossy(&body))
}

/// In one line, not too long.
fn words(text: &str) -> String {
    let mut line: String = text.trim().chars().map(|c| if c.is_control() { ' ' } else { c }).collect();
    line.truncate(line.floor_char_boundary(KEPT));
    line
}

/// An error and its causes.
fn chain(error: &dyn StdError) -> String {
    let (mut text, mut next) = (error.to_string(), error.source());
    while let Some(cause) = next {
        text.push_str(&format!(": {cause}"));
        next = cause.source();
    }
    text
}

#[expect(clippy::disallowed_methods, reason = "of a signature: the subscriber compares it with its own clock")]
fn seconds() -> i64 {
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    i64::try_from(now.as_secs()).unwrap_or(i64::MAX)
}
