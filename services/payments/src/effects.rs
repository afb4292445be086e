//! The acquirer, over HTTP: authorise and void.
//!
//! An attempt says one of three things: an outcome; "not done", when the request was never sent or the acquirer says that it did
//! nothing; or "unknown", which is asked again under the same key, and looked up by the order's id once the key is forgotten. A decline
//! and a request that the acquirer finds wrong are outcomes: asking again wouldn't change them.
//!
//! **Only the acquirer's own documents say the first two**: its authorisation, of the order that was asked about, or its problem (RFC
//! 9457, `urn:acquirer:problem:<code>`) with a code that is known here, each with the status that goes with it. Whatever else comes back
//! (a gateway's 408 or 404, a page, a redirect, half a document) comes from in between, and what happened behind that isn't known.
//! Without this rule a hold stays on a card whose order was cancelled.
//!
//! **Invariant:** no message here holds a card token.

#[cfg(test)]
mod tests;

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use farandole::Timestamp;
use farandole::agenda::{Call, EffectError, Effects};
use reqwest::{Client, RequestBuilder, StatusCode, header, redirect};
use serde::Deserialize;
use serde_json::json;
use uuid::Uuid;

use crate::participant::{Effect, Outcome, Payments};

/// Connecting takes milliseconds; who doesn't answer within this time isn't there.
const CONNECT: Duration = Duration::from_secs(2);
/// The longest answer that is read: hundreds of authorisations of one order.
const LARGEST_ANSWER: usize = 256 << 10;
/// The type of the acquirer's problems, before the code.
const PROBLEM: &str = "urn:acquirer:problem:";

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
    merchant_reference: String,
    status: String,
    reason: Option<String>,
}

#[derive(Debug, Deserialize)]
struct Found {
    authorisations: Vec<Authorisation>,
}

/// Problem details, as far as they matter here.
#[derive(Debug, Deserialize)]
struct Problem {
    #[serde(rename = "type")]
    kind: String,
    status: u16,
    code: String,
    reason: Option<String>,
}

/// What came back, read to its end.
struct Answer {
    status: StatusCode,
    content_type: String,
    retry_after: Option<Duration>,
    body: Vec<u8>,
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
                authorised(&send(call, request).await?, &order_id.to_string())
            }
            Effect::Void { authorisation_id } => {
                let request = self.http.post(format!("{}/authorisations/{authorisation_id}/void", self.url));
                voided(&send(call, request).await?, authorisation_id)
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
        let http = Client::builder().connect_timeout(CONNECT).redirect(redirect::Policy::none()).build()?;
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
        let answer = send(call, request).await?;
        let found: Option<Found> = answer.document(StatusCode::OK);
        let of_this = |found: &Found| found.authorisations.iter().all(|a| a.merchant_reference == order_id.to_string());
        let Some(found) = found.filter(of_this) else {
            return Err(unknown(format!("looking up what became of it: {}", answer.words())));
        };
        let (declined, held): (Vec<_>, Vec<_>) = found.authorisations.into_iter().partition(|a| a.status == "declined");
        let held = held.into_iter().next().map(|a| Outcome::Authorised { authorisation_id: a.id });
        let declined = declined.into_iter().next().map(|a| Outcome::Declined { reason: a.reason.unwrap_or(a.status) });
        Ok(held.or(declined))
    }
}

fn authorised(answer: &Answer, reference: &str) -> Result<Outcome, EffectError> {
    for status in [StatusCode::CREATED, StatusCode::OK] {
        if let Some(held) = answer.document::<Authorisation>(status)
            && (held.merchant_reference.as_str(), held.status.as_str()) == (reference, "authorised")
        {
            return Ok(Outcome::Authorised { authorisation_id: held.id });
        }
    }
    match answer.problem() {
        Some(Problem { status: 402, code, reason, .. }) if code == "card_declined" => {
            Ok(Outcome::Declined { reason: reason.unwrap_or(code) })
        }
        Some(Problem { status: 400, code, .. }) if code == "invalid_request" => Ok(Outcome::Declined { reason: code }),
        Some(Problem { status: 413, code, .. }) if code == "too_large" => Ok(Outcome::Declined { reason: code }),
        problem => Err(trouble(answer, problem)),
    }
}

fn voided(answer: &Answer, id: &str) -> Result<Outcome, EffectError> {
    if let Some(gone) = answer.document::<Authorisation>(StatusCode::OK)
        && (gone.id.as_str(), gone.status.as_str()) == (id, "voided")
    {
        return Ok(Outcome::Voided);
    }
    match answer.problem() {
        Some(Problem { status: 409, code, .. }) if matches!(code.as_str(), "captured" | "declined") => {
            Ok(Outcome::VoidRefused { reason: code })
        }
        Some(Problem { status: 404, code, .. }) if code == "not_found" => Ok(Outcome::VoidRefused { reason: code }),
        problem => Err(trouble(answer, problem)),
    }
}

/// Neither done nor refused for good. Nothing was done if the acquirer says so: it was too busy, or knows no such request. All else is
/// unknown; so is "this key was used for another request", since that one may have been done.
fn trouble(answer: &Answer, problem: Option<Problem>) -> EffectError {
    match problem {
        Some(Problem { status: 503, code, .. }) if code == "unavailable" => {
            EffectError::Retry { reason: answer.words(), after: answer.retry_after }
        }
        Some(Problem { status: 404, code, .. }) if code == "no_such_path" => {
            EffectError::Retry { reason: answer.words(), after: answer.retry_after }
        }
        _ => unknown(answer.words()),
    }
}

/// Sends, and says whether anything may have been done when that fails.
async fn send(call: &Call, mut request: RequestBuilder) -> Result<Answer, EffectError> {
    request = request.header("Idempotency-Key", call.idempotency_key.to_string());
    if let Some(traceparent) = &call.traceparent {
        request = request.header("traceparent", traceparent);
    }
    let mut response = request.send().await.map_err(|error| match error.is_connect() || error.is_builder() {
        true => EffectError::Retry { reason: chain(&error), after: None },
        false => unknown(chain(&error)),
    })?;
    let header = |name| response.headers().get(name).and_then(|value| value.to_str().ok()).unwrap_or_default();
    let retry_after = farandole::http::retry_after(response.headers());
    let content_type = header(header::CONTENT_TYPE).split(';').next().unwrap_or_default().trim().to_ascii_lowercase();
    let mut answer = Answer { status: response.status(), content_type, retry_after, body: Vec::new() };
    while let Some(chunk) = response.chunk().await.map_err(|error| unknown(format!("reading the answer: {}", chain(&error))))? {
        if answer.body.len() + chunk.len() > LARGEST_ANSWER {
            return Err(unknown(format!("the answer is longer than {LARGEST_ANSWER} bytes")));
        }
        answer.body.extend_from_slice(&chunk);
    }
    Ok(answer)
}

impl Answer {
    /// The acquirer's document that goes with this status, if that is what came.
    fn document<T: serde::de::DeserializeOwned>(&self, status: StatusCode) -> Option<T> {
        let theirs = self.status == status && self.content_type == "application/json";
        theirs.then(|| serde_json::from_slice(&self.body).ok()).flatten()
    }

    /// The acquirer's own problem, if it is one.
    fn problem(&self) -> Option<Problem> {
        let problem: Problem =
            (self.content_type == "application/problem+json").then(|| serde_json::from_slice(&self.body).ok()).flatten()?;
        let own = problem.kind.strip_prefix(PROBLEM) == Some(problem.code.as_str()) && problem.status == self.status.as_u16();
        own.then_some(problem)
    }

    /// What it is, for a log: never what somebody in between has written.
    fn words(&self) -> String {
        match self.problem() {
            Some(problem) => format!("HTTP {}: {}", self.status.as_u16(), problem.code),
            None => format!("HTTP {}: no answer of the acquirer's", self.status.as_u16()),
        }
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
