//! The acquirer, over HTTP: authorise, void, capture and refund.
//!
//! An attempt says one of three things: an outcome; "not done", when the request was never sent or the acquirer says that it did
//! nothing; or "unknown", which is asked again under the same key, and looked up by the order's id, or the authorisation's, once the key is
//! forgotten. A decline and a request that the acquirer finds wrong are outcomes: asking again wouldn't change them.
//!
//! **Only the acquirer's own documents say the first two**: its authorisation, of the order that was asked about, or its problem (RFC
//! 9457, `urn:acquirer:problem:<code>`) with a code that is known here, each with the status that goes with it. Whatever else comes back
//! (a gateway's 408 or 404, a page, a redirect, half a document) comes from in between, and what happened behind that isn't known.
//! Without this rule a hold stays on a card whose order was cancelled, or money is written off that was taken.
//!
//! **Invariant:** no message here holds a card token.

#[cfg(test)]
mod tests;

use std::time::Duration;

use farandole::agenda::over_http::{HttpClient, Problem, Problems};
use farandole::agenda::{Call, EffectError, EffectHandler};
use serde::Deserialize;
use serde_json::json;

use crate::participant::{Authorise, Capture, Effect, Outcome, Payments, Refund, Void};

/// What the acquirer says it didn't do. "This key was used for another request" isn't among it, since that one may have been done.
const PROBLEMS: Problems = Problems { types: "urn:acquirer:problem:", not_done: &[(503, "unavailable"), (404, "no_such_path")] };

/// A client of the acquirer.
#[derive(Debug, Clone)]
pub struct Acquirer {
    http: HttpClient,
    url: String,
    key_retention: Duration,
}

/// An authorisation, as far as it matters here.
#[derive(Debug, Deserialize)]
struct Authorisation {
    id: String,
    merchant_reference: String,
    status: String,
    captured: i64,
    refunded: i64,
    reason: Option<String>,
}

#[derive(Debug, Deserialize)]
struct Found {
    authorisations: Vec<Authorisation>,
}

/// What moves money: done once to an authorisation, for its whole amount.
struct Deed {
    path: &'static str,
    outcome: Outcome,
    /// Whether an authorisation shows that so much was moved.
    shows: fn(&Authorisation, i64) -> bool,
    refused: fn(String) -> Outcome,
    /// The refusal of what is done already: under a key that is forgotten, or by hand.
    already: &'static str,
    /// The other refusals.
    refusals: [&'static str; 4],
}

const CAPTURE: Deed = Deed {
    path: "capture",
    outcome: Outcome::Captured,
    shows: |a, amount| matches!(a.status.as_str(), "captured" | "refunded") && a.captured == amount,
    refused: |reason| Outcome::CaptureRefused { reason },
    already: "captured",
    refusals: ["voided", "declined", "expired", "capture_exceeds_authorised"],
};

const REFUND: Deed = Deed {
    path: "refund",
    outcome: Outcome::Refunded,
    shows: |a, amount| a.status == "refunded" && a.captured == amount && a.refunded == amount,
    refused: |reason| Outcome::RefundRefused { reason },
    already: "refund_exceeds_captured",
    refusals: ["not_captured", "voided", "declined", "expired"],
};

impl EffectHandler<Payments> for Acquirer {
    fn target(&self, _effect: &Effect) -> &'static str {
        "acquirer"
    }

    async fn run(&self, call: &Call, effect: &Effect) -> Result<Outcome, EffectError> {
        match effect {
            Effect::Authorise(authorise) => self.authorise(call, authorise).await,
            Effect::Void(void) => self.void(call, void).await,
            Effect::Capture(Capture { authorisation_id, amount }) => {
                self.do_once(call, &CAPTURE, authorisation_id, *amount).await
            }
            Effect::Refund(Refund { authorisation_id, amount }) => self.do_once(call, &REFUND, authorisation_id, *amount).await,
        }
    }
}

impl Acquirer {
    /// A client of the acquirer at `url` that remembers keys for at least `key_retention`.
    ///
    /// # Errors
    /// When there is no TLS to be had.
    pub fn new(url: &str, key_retention: Duration) -> Result<Self, Box<dyn std::error::Error + Send + Sync>> {
        Ok(Self { http: HttpClient::new()?.problems(PROBLEMS), url: url.trim_end_matches('/').to_owned(), key_retention })
    }

    async fn authorise(&self, call: &Call, asked: &Authorise) -> Result<Outcome, EffectError> {
        let reference = asked.order_id.to_string();
        if call.may_be_forgotten(self.key_retention)
            && let Some(outcome) = self.look_up(call, &reference).await?
        {
            return Ok(outcome);
        }
        let body = json!({
            "merchant_reference": reference, "amount": asked.amount, "currency": asked.currency, "card_token": asked.card_token,
        });
        let held = |a: Authorisation| {
            let ours = a.merchant_reference == reference && a.status == "authorised";
            ours.then_some(Outcome::Authorised { authorisation_id: a.id })
        };
        let declined = |p: Problem| Outcome::Declined { reason: p.code };
        let request = self.http.post(&format!("{}/authorisations", self.url)).json(&body);
        let answer = self.http.send(call, request).await?.done(201, held).done(200, held);
        answer
            .refused(402, &["card_declined"], |p| Outcome::Declined { reason: p.reason.unwrap_or(p.code) })
            .refused(400, &["invalid_request"], declined)
            .refused(413, &["too_large"], declined)
            .or_not_done()
    }

    async fn void(&self, call: &Call, asked: &Void) -> Result<Outcome, EffectError> {
        let id = &asked.authorisation_id;
        let refused = |p: Problem| Outcome::VoidRefused { reason: p.code };
        let answer = self.http.send(call, self.http.post(&format!("{}/authorisations/{id}/void", self.url))).await?;
        answer
            .done(200, |a: Authorisation| (a.id == *id && a.status == "voided").then_some(Outcome::Voided))
            .refused(409, &["captured", "declined", "expired"], refused)
            .refused(404, &["not_found"], refused)
            .or_not_done()
    }

    /// Moves the money, unless it was moved before.
    async fn do_once(&self, call: &Call, deed: &Deed, id: &str, amount: i64) -> Result<Outcome, EffectError> {
        if call.may_be_forgotten(self.key_retention) && self.is_done(call, deed, id, amount).await? {
            return Ok(deed.outcome.clone());
        }
        let request =
            self.http.post(&format!("{}/authorisations/{id}/{}", self.url, deed.path)).json(&json!({ "amount": amount }));
        let answer = self.http.send(call, request).await?;
        let refused = |p: Problem| (deed.refused)(p.code);
        let outcome = answer
            .done(200, |a: Authorisation| (a.id == id && (deed.shows)(&a, amount)).then(|| deed.outcome.clone()))
            .refused(409, &[deed.already], refused)
            .refused(409, &deed.refusals, refused)
            .refused(404, &["not_found"], refused)
            .or_not_done()?;
        let is_done = outcome == (deed.refused)(deed.already.to_owned()) && self.is_done(call, deed, id, amount).await?;
        Ok(if is_done { deed.outcome.clone() } else { outcome })
    }

    /// Whether the authorisation shows that it was done.
    async fn is_done(&self, call: &Call, deed: &Deed, id: &str, amount: i64) -> Result<bool, EffectError> {
        let answer = self.http.send(call, self.http.get(&format!("{}/authorisations/{id}", self.url))).await?;
        answer
            .done(200, |a: Authorisation| (a.id == id).then(|| (deed.shows)(&a, amount)))
            .refused(404, &["not_found"], |_| false)
            .or_unknown()
    }

    /// What became of earlier attempts, if they did anything. An authorisation counts before a decline.
    async fn look_up(&self, call: &Call, reference: &str) -> Result<Option<Outcome>, EffectError> {
        let found = |found: Found| {
            let of_this = found.authorisations.iter().all(|a| a.merchant_reference == reference);
            of_this.then_some(found.authorisations)
        };
        let request = self.http.get(&format!("{}/authorisations?merchant_reference={reference}", self.url));
        let found = self.http.send(call, request).await?.done(200, found).or_unknown()?;
        let (declined, held): (Vec<_>, Vec<_>) = found.into_iter().partition(|a| a.status == "declined");
        let held = held.into_iter().next().map(|a| Outcome::Authorised { authorisation_id: a.id });
        let declined = declined.into_iter().next().map(|a| Outcome::Declined { reason: a.reason.unwrap_or(a.status) });
        Ok(held.or(declined))
    }
}
