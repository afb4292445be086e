//! Effects over HTTP: sends a request under its idempotency key and sorts what comes back into *done*, *not done* and *unknown*.
//!
//! **Only documents that your handler recognises say the first two.** Whatever else comes back (a gateway's 408 or 502, a page, a
//! redirect, half a document) comes from somewhere in between, and what happened behind that isn't known: the effect is asked for again
//! under the same key. Without this rule a hold stays on a card whose order was cancelled.
//! [`EffectHandler`](crate::agenda::EffectHandler) has an example.

mod problems;
mod retry_after;

use std::time::Duration;

use reqwest::{Client, RequestBuilder, header, redirect};
use serde::de::DeserializeOwned;

use crate::agenda::{Call, EffectError};
use crate::ground::error::chain_of;

pub use problems::{Problem, Problems};
pub use retry_after::retry_after;

/// Connecting takes milliseconds; who doesn't answer within this time isn't there.
const CONNECT: Duration = Duration::from_secs(2);
/// The longest answer that is read: an outcome is a document, not a download.
const LARGEST_REPLY: usize = 256 << 10;

/// A client for effects: follows no redirects, connects within 2 s, reads 256 KiB of an answer at most. How long a call may take in all is
/// the setting `agenda.timeout`.
/// [`EffectHandler`](crate::agenda::EffectHandler) shows it in use.
#[derive(Debug, Clone)]
pub struct HttpClient {
    client: Client,
    problems: Option<Problems>,
}

/// What came back, read to its end.
#[derive(Debug, Clone)]
struct Reply {
    status: u16,
    content_type: String,
    retry_after: Option<Duration>,
    body: Vec<u8>,
    problems: Option<Problems>,
}

/// An answer while it is sorted: the first rule that recognises it decides.
#[derive(Debug)]
pub struct Sorting<T> {
    reply: Reply,
    sorted: Option<Result<T, EffectError>>,
    seen: Option<String>,
}

impl HttpClient {
    /// A client with its own connections.
    ///
    /// # Errors
    /// When there is no TLS to be had.
    pub fn new() -> reqwest::Result<Self> {
        let client = Client::builder().connect_timeout(CONNECT).redirect(redirect::Policy::none()).build()?;
        Ok(Self { client, problems: None })
    }

    /// For another side that writes its errors as [`Problems`]: those of type `application/json` then aren't its.
    #[must_use]
    pub fn problems(self, problems: Problems) -> Self {
        Self { problems: Some(problems), ..self }
    }

    /// A POST to `url`.
    pub fn post(&self, url: &str) -> RequestBuilder {
        self.client.post(url)
    }

    /// A GET of `url`: to look up what became of an earlier attempt.
    pub fn get(&self, url: &str) -> RequestBuilder {
        self.client.get(url)
    }

    /// Sends `request` with the call's `Idempotency-Key` and `traceparent`; what came back is to be sorted.
    ///
    /// # Errors
    /// [`EffectError::Retry`] when it was never sent, [`EffectError::Unknown`] when it may have been received.
    pub async fn send<T>(&self, call: &Call, mut request: RequestBuilder) -> Result<Sorting<T>, EffectError> {
        request = request.header("Idempotency-Key", call.idempotency_key.to_string());
        if let Some(traceparent) = &call.traceparent {
            request = request.header("traceparent", traceparent);
        }
        let mut response = request.send().await.map_err(|error| match error.is_connect() || error.is_builder() {
            true => EffectError::Retry { reason: chain_of(&error), after: None },
            false => unknown(chain_of(&error)),
        })?;
        let kind = response.headers().get(header::CONTENT_TYPE).and_then(|value| value.to_str().ok()).unwrap_or_default();
        let content_type = kind.split(';').next().unwrap_or_default().trim().to_ascii_lowercase();
        let (status, retry_after) = (response.status().as_u16(), retry_after(response.headers()));
        let mut body = Vec::new();
        while let Some(chunk) = response.chunk().await.map_err(|e| unknown(format!("reading the answer: {}", chain_of(&e))))? {
            if body.len() + chunk.len() > LARGEST_REPLY {
                return Err(unknown(format!("the answer is longer than {LARGEST_REPLY} bytes")));
            }
            body.extend_from_slice(&chunk);
        }
        let reply = Reply { status, content_type, retry_after, body, problems: self.problems };
        Ok(Sorting { reply, sorted: None, seen: None })
    }
}

impl Reply {
    /// The document that came with this status: JSON, of the type `application/json`, or `application/problem+json` from 400 on.
    fn document<D: DeserializeOwned>(&self, status: u16) -> Option<D> {
        let kind = match self.content_type.as_str() {
            "application/json" => status < 400 || self.problems.is_none(),
            "application/problem+json" => status >= 400,
            _ => false,
        };
        (self.status == status && kind).then(|| serde_json::from_slice(&self.body).ok()).flatten()
    }
}

impl<T> Sorting<T> {
    /// An answer with this status and a document `D` of which `outcome` makes one is the outcome: it was done, or it was refused for good. Let
    /// `outcome` check that the document is about what was asked for.
    #[must_use]
    pub fn done<D: DeserializeOwned>(mut self, status: u16, outcome: impl FnOnce(D) -> Option<T>) -> Self {
        if self.sorted.is_none() {
            self.sorted = self.reply.document(status).and_then(outcome).map(Ok);
        }
        self
    }

    /// An answer with this status and a document `D` for which `reason` gives a word says that nothing was done: it is attempted again, not
    /// before its `Retry-After`.
    #[must_use]
    pub fn not_done<D: DeserializeOwned>(mut self, status: u16, reason: impl FnOnce(D) -> Option<String>) -> Self {
        if self.sorted.is_none() {
            let reason = self.reply.document(status).and_then(reason);
            let retry = |reason| EffectError::Retry { reason: format!("HTTP {status}: {reason}"), after: self.reply.retry_after };
            self.sorted = reason.map(retry).map(Err);
        }
        self
    }

    /// A word for the log on a document that says neither. Whatever isn't recognised isn't logged: it may contain anything.
    #[must_use]
    pub fn seen<D: DeserializeOwned>(mut self, word: impl FnOnce(D) -> Option<String>) -> Self {
        self.seen = self.reply.document(self.reply.status).and_then(word);
        self
    }

    /// An answer with this status and a [problem](Problems) of one of these codes is the outcome: it was refused for good.
    #[must_use]
    pub fn refused(self, status: u16, codes: &[&str], outcome: impl FnOnce(Problem) -> T) -> Self {
        let problems = self.reply.problems;
        self.done(status, |p: Problem| (p.is_of(problems) && codes.contains(&&*p.code)).then(|| outcome(p)))
    }

    /// What the other side's [problems](Problems) say wasn't done is attempted again, not before its `Retry-After`; anything else is unknown.
    ///
    /// # Errors
    /// Where no rule found an outcome.
    pub fn or_not_done(self) -> Result<T, EffectError> {
        let problems = self.reply.problems;
        let mut sorting = self;
        for (status, code) in problems.iter().flat_map(|problems| problems.not_done) {
            sorting = sorting.not_done(*status, |p: Problem| (p.is_of(problems) && p.code == *code).then_some(p.code));
        }
        sorting.seen(|p: Problem| p.is_of(problems).then_some(p.code)).or_unknown()
    }

    /// Anything else is unknown.
    ///
    /// # Errors
    /// Where no rule found an outcome.
    pub fn or_unknown(self) -> Result<T, EffectError> {
        let status = self.reply.status;
        let word = self.seen.unwrap_or_else(|| "no answer that is known here".to_owned());
        self.sorted.unwrap_or_else(|| Err(unknown(format!("HTTP {status}: {word}"))))
    }
}

fn unknown(reason: String) -> EffectError {
    EffectError::Unknown { reason }
}
