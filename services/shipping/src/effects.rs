//! The carrier, over HTTP: book a parcel, and ask where it is.
//!
//! An attempt says one of three things: an outcome; "not done", when the request was never sent or the carrier says that it did
//! nothing; or "unknown", which is asked again under the same key, and looked up by the order's id once the key is forgotten. An address
//! that is refused and a request that the carrier finds wrong are outcomes: asking again wouldn't change them.
//!
//! **Only the carrier's own documents say the first two**: its parcel, of the order or number that was asked about, or its problem (RFC
//! 9457, `urn:carrier:problem:<code>`) with a code that is known here, each with the status that goes with it. Whatever else comes back
//! comes from in between, and what happened behind that isn't known. Without this rule an order is cancelled whose parcel is under way.

#[cfg(test)]
mod tests;

use std::time::Duration;

use farandole::agenda::over_http::{HttpClient, Problem, Problems};
use farandole::agenda::{Call, EffectError, EffectHandler};
use serde::Deserialize;
use serde_json::json;
use uuid::Uuid;

use crate::carrier::{Book, Effect, Fate, Outcome, Recall, Track};
use crate::participant::Shipping;
use crate::tracking;

/// What the carrier says it didn't do. "This key was used for another request" isn't among it, since that one may have been done.
const PROBLEMS: Problems = Problems { types: "urn:carrier:problem:", not_done: &[(503, "unavailable"), (404, "no_such_path")] };

/// A client of the carrier.
#[derive(Debug, Clone)]
pub struct Carrier {
    http: HttpClient,
    url: String,
    key_retention: Duration,
}

/// A parcel, as far as it matters here.
#[derive(Debug, Deserialize)]
struct Parcel {
    #[serde(deserialize_with = "tracking::read")]
    tracking: String,
    reference: String,
    status: String,
}

#[derive(Debug, Deserialize)]
struct Found {
    parcels: Vec<Parcel>,
}

impl EffectHandler<Shipping> for Carrier {
    fn target(&self, _effect: &Effect) -> &'static str {
        "carrier"
    }

    async fn run(&self, call: &Call, effect: &Effect) -> Result<Outcome, EffectError> {
        match effect {
            Effect::Book(book) => self.book(call, book).await,
            Effect::Track(track) => self.track(call, track).await,
            Effect::Recall(recall) => self.recall(call, recall).await,
        }
    }
}

impl Carrier {
    /// A client of the carrier at `url` that remembers keys for at least `key_retention`.
    ///
    /// # Errors
    /// When there is no TLS to be had.
    pub fn new(url: &str, key_retention: Duration) -> Result<Self, Box<dyn std::error::Error + Send + Sync>> {
        Ok(Self { http: HttpClient::new()?.problems(PROBLEMS), url: url.trim_end_matches('/').to_owned(), key_retention })
    }

    async fn book(&self, call: &Call, asked: &Book) -> Result<Outcome, EffectError> {
        let reference = asked.order_id.to_string();
        if call.may_be_forgotten(self.key_retention)
            && let Some(tracking) = self.look_up(call, &reference).await?
        {
            return Ok(Outcome::Booked { tracking });
        }
        let body = json!({ "reference": reference, "recipient": asked.recipient });
        let booked = |p: Parcel| {
            let ours = p.reference == reference && p.status == "booked";
            ours.then_some(Outcome::Booked { tracking: p.tracking })
        };
        let refused = |p: Problem| Outcome::Refused { reason: p.code };
        let request = self.http.post(&format!("{}/parcels", self.url)).json(&body);
        let answer = self.http.send(call, request).await?.done(201, booked).done(200, booked);
        answer
            .refused(409, &["address_refused"], refused)
            .refused(400, &["invalid_request"], refused)
            .refused(413, &["too_large"], refused)
            .or_not_done()
    }

    /// One parcel an attempt. What it came to be is looked up after that: an answer that got lost is none the worse.
    async fn recall(&self, call: &Call, asked: &Recall) -> Result<Outcome, EffectError> {
        let mut parcels = self.parcels(call, &asked.order_id.to_string()).await?;
        if let Some(tracking) = &asked.tracking {
            parcels.retain(|p| p.tracking == *tracking);
        }
        let Some(parcel) = parcels.iter().find(|p| p.status == "booked") else {
            let is = |status| parcels.iter().any(|p| p.status == status);
            // The worst counts.
            return Ok(Fate::ALL.into_iter().find(|fate| is(fate.name())).map_or(Outcome::Unknown, Outcome::Ended));
        };
        let request = self.http.post(&format!("{}/parcels/{}/recall", self.url, parcel.tracking)).json(&json!({}));
        // Each parcel's recall is a request of its own.
        let call = Call { idempotency_key: Uuid::new_v5(&call.idempotency_key, parcel.tracking.as_bytes()), ..call.clone() };
        let answer = self.http.send(&call, request).await?;
        let ended =
            |p: Parcel| (p.tracking == parcel.tracking && p.status == "recalled").then_some(Outcome::Ended(Fate::Recalled));
        let outcome = answer
            .done(200, ended)
            .refused(409, &["delivered"], |_| Outcome::Ended(Fate::Delivered))
            .refused(409, &["lost"], |_| Outcome::Ended(Fate::Lost))
            .or_not_done()?;
        match parcels.iter().filter(|p| p.status == "booked").count() {
            1 => Ok(outcome),
            more => Err(EffectError::Retry { reason: format!("{} more parcels are to be called back", more - 1), after: None }),
        }
    }

    async fn track(&self, call: &Call, asked: &Track) -> Result<Outcome, EffectError> {
        let status = |p: Parcel| {
            let outcome = match p.status.as_str() {
                "booked" => Some(Outcome::UnderWay),
                ended => Fate::named(ended).map(Outcome::Ended),
            };
            outcome.filter(|_| p.tracking == asked.tracking)
        };
        let answer = self.http.send(call, self.http.get(&format!("{}/parcels/{}", self.url, asked.tracking))).await?;
        answer.done(200, status).refused(404, &["not_found"], |_| Outcome::Unknown).or_not_done()
    }

    /// The parcel of an earlier attempt, if there is one. Of several, one that the recipient gets or has counts first.
    async fn look_up(&self, call: &Call, reference: &str) -> Result<Option<String>, EffectError> {
        let parcels = self.parcels(call, reference).await?;
        let ended = |p: &Parcel| matches!(p.status.as_str(), "lost" | "recalled");
        Ok(parcels.into_iter().min_by_key(ended).map(|p| p.tracking))
    }

    /// All that the carrier has of an order.
    async fn parcels(&self, call: &Call, reference: &str) -> Result<Vec<Parcel>, EffectError> {
        let found = |found: Found| {
            let of_this = found.parcels.iter().all(|p| p.reference == reference);
            of_this.then_some(found.parcels)
        };
        let request = self.http.get(&format!("{}/parcels?reference={reference}", self.url));
        self.http.send(call, request).await?.done(200, found).or_unknown()
    }
}
