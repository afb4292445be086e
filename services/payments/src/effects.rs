//! The acquirer, over HTTP: authorise and void.
//!
//! An attempt says one of three things: an outcome; "not done", when the request was never sent or the acquirer says that it did
//! nothing; or "unknown", which is asked again under the same key. A decline and a request that the acquirer finds wrong are
//! outcomes: asking again wouldn't change them. **Invariant:** no message here holds a card token.

#[cfg(test)]
mod tests;

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use farandole::Timestamp;
use farandole::agenda::{Call, EffectError, Effects};
use reqwest::{Client, RequestBuilder, Response, StatusCode, header};
use serde::Deserialize;
use serde_json::json;
use uuid::Uuid;

use crate::participant::{Effect, Outcome, Payments};

/// Connecting takes milliseconds; who doesn't answer within this time isn't there.
const CONNECT: Duration = Duration::from_secs(2);

/// A client of the acquirer.
#[derive(Debug, Clone)]
pub struct Acquirer {
    http: Client,
    url: String,
    key_retention: Duration,
}

/// An authorisation, as far as it matters here.
#[derive(Debug, Deserialize)]
struct Authorisation {
    id: String,
    status: String,
    reason: Option<String>,
}

#[derive(Debug, Deserialize)]
struct Found {
    authorisations: Vec<Authorisation>,
}

/// Problem details, as far as they matter here.
#[derive(Debug, Default, Deserialize)]
struct Problem {
    code: Option<String>,
    reason: Option<String>,
}

impl Effects<Payments> for Acquirer {
    fn target(&self, _effect: &Effect) -> &'static str {
        "acquirer"
    }

    async fn run(&self, call: &Call, effect: &Effect) -> Result<Outcome, EffectError> {
        match effect {
            Effect::Authorise { order_id, amount, currency, card_token } => {
                if self.key_is_forgotten(call)
                    && let Some(outcome) = self.look_up(call, *order_id).await?
                {
                    return Ok(outcome);
                }
                let body = json!({
                    "merchant_reference": order_id, "amount": amount, "currency": currency, "card_token": card_token,
                });
                let request = self.http.post(format!("{}/authorisations", self.url)).json(&body);
                authorised(send(call, request).await?).await
            }
            Effect::Void { authorisation_id } => {
                let request = self.http.post(format!("{}/authorisations/{authorisation_id}/void", self.url));
                voided(send(call, request).await?).await
            }
        }
    }
}

impl Acquirer {
    /// A client of the acquirer at `url` that remembers keys for at least `key_retention`.
    ///
    /// # Errors
    /// When there is no TLS to be had.
    pub fn new(url: &str, key_retention: Duration) -> reqwest::Result<Self> {
        let http = Client::builder().connect_timeout(CONNECT).build()?;
        Ok(Self { http, url: url.trim_end_matches('/').to_owned(), key_retention })
    }

    /// Whether asking again could do it twice.
    #[expect(clippy::disallowed_methods, reason = "the age of a key in hours; nothing is decided or remembered by it")]
    fn key_is_forgotten(&self, call: &Call) -> bool {
        let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        let now = Timestamp::from_micros(i64::try_from(now.as_micros()).unwrap_or(i64::MAX));
        call.attempt > 1 && now > call.first_attempt_at.plus(self.key_retention)
    }

    /// What became of earlier attempts, if they did anything. An authorisation counts before a decline.
    async fn look_up(&self, call: &Call, order_id: Uuid) -> Result<Option<Outcome>, EffectError> {
        let request = self.http.get(format!("{}/authorisations?merchant_reference={order_id}", self.url));
        let response = send(call, request).await?;
        if response.status() != StatusCode::OK {
            return Err(unknown(format!("looking up what became of it: HTTP {}", response.status())));
        }
        let found: Found = read(response).await?;
        let (declined, held): (Vec<_>, Vec<_>) = found.authorisations.into_iter().partition(|a| a.status == "declined");
        let held = held.into_iter().next().map(|a| Outcome::Authorised { authorisation_id: a.id });
        let declined = declined.into_iter().next().map(|a| Outcome::Declined { reason: a.reason.unwrap_or(a.status) });
        Ok(held.or(declined))
    }
}

async fn authorised(response: Response) -> Result<Outcome, EffectError> {
    match response.status() {
        StatusCode::CREATED | StatusCode::OK => {
            let authorisation: Authorisation = read(response).await?;
            Ok(Outcome::Authorised { authorisation_id: authorisation.id })
        }
        StatusCode::PAYMENT_REQUIRED => Ok(Outcome::Declined { reason: problem(response).await }),
        StatusCode::BAD_REQUEST | StatusCode::PAYLOAD_TOO_LARGE => Ok(Outcome::Declined { reason: problem(response).await }),
        _ => Err(trouble(response).await),
    }
}

async fn voided(response: Response) -> Result<Outcome, EffectError> {
    match response.status() {
        StatusCode::OK => Ok(Outcome::Voided),
        StatusCode::CONFLICT | StatusCode::NOT_FOUND => Ok(Outcome::VoidRefused { reason: problem(response).await }),
        _ => Err(trouble(response).await),
    }
}

/// Sends, and says whether anything may have been done when that fails.
async fn send(call: &Call, mut request: RequestBuilder) -> Result<Response, EffectError> {
    request = request.header("Idempotency-Key", call.idempotency_key.to_string());
    if let Some(traceparent) = &call.traceparent {
        request = request.header("traceparent", traceparent);
    }
    request.send().await.map_err(|error| match error.is_connect() || error.is_builder() {
        true => EffectError::Retry { reason: chain(&error), after: None },
        false => unknown(chain(&error)),
    })
}

async fn read<T: serde::de::DeserializeOwned>(response: Response) -> Result<T, EffectError> {
    response.json().await.map_err(|error| unknown(format!("reading the answer: {}", chain(&error))))
}

/// The acquirer's word for why not: the card's reason, else the problem's code, else the status.
async fn problem(response: Response) -> String {
    let status = response.status();
    let Problem { code, reason } = response.json().await.unwrap_or_default();
    reason.or(code).unwrap_or_else(|| format!("HTTP {}", status.as_u16()))
}

/// Neither done nor refused for good. Only a plain "no" (4xx, 503) says that nothing was done.
async fn trouble(response: Response) -> EffectError {
    let status = response.status();
    let after = response.headers().get(header::RETRY_AFTER).and_then(|v| v.to_str().ok()?.parse().ok()).map(Duration::from_secs);
    let reason = format!("HTTP {}: {}", status.as_u16(), problem(response).await);
    match status.is_client_error() || status == StatusCode::SERVICE_UNAVAILABLE {
        true => EffectError::Retry { reason, after },
        false => unknown(reason),
    }
}

fn unknown(reason: String) -> EffectError {
    EffectError::Unknown { reason }
}

/// An error and its causes: reqwest's own words leave them out.
fn chain(error: &reqwest::Error) -> String {
    let mut text = error.to_string();
    let mut source = std::error::Error::source(error);
    while let Some(cause) = source {
        text = format!("{text}: {cause}");
        source = cause.source();
    }
    text
}
