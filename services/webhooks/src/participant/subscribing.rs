//! Who is told: registrations and removals.

use farandole::{Answer, Decision, Problem, Refusal, Timestamp};
use schemas::webhooks::{SubscriptionRegistered, SubscriptionRemoved};
use serde_json::json;
use uuid::Uuid;

use crate::messages::Event;
use crate::tables::{Live, Subscription};
use crate::targets::{self, MOST};

/// Each takes the first place that is free.
pub(super) fn register(
    live: &[Live],
    subscription_id: Uuid,
    url: &str,
    types: &[String],
    secret: &str,
    at: Timestamp,
) -> Result<Decision<Event>, Refusal> {
    let Some(slot) = (0..MOST).find(|slot| live.iter().all(|live| live.slot != *slot)) else {
        let detail = format!("there are {MOST} subscriptions already; remove one that isn't needed");
        return Err(Problem::conflict("too-many-subscriptions", detail).into());
    };
    let (url, types, secret, registered_at) = (url.to_owned(), types.to_vec(), secret.to_owned(), at.micros());
    Ok(Decision::event(SubscriptionRegistered { subscription_id, url, types, secret, slot, registered_at }))
}

/// What is pending there is dropped once its attempt looks for the address and finds none.
pub(super) fn remove(there: Option<&Subscription>, subscription_id: Uuid, at: Timestamp) -> Result<Decision<Event>, Refusal> {
    match there {
        None => Err(Problem::not_found(format!("there is no subscription {subscription_id}")).into()),
        Some(Subscription { removed_at: Some(_), .. }) => Ok(Decision::answered(Answer::empty())),
        Some(_) => Ok(Decision::event(SubscriptionRemoved { subscription_id, removed_at: at.micros() })),
    }
}

pub(super) fn is_registered(e: &SubscriptionRegistered) -> Answer {
    let body = json!({
        "subscription_id": e.subscription_id, "url": e.url, "types": e.types, "state": "live", "target": targets::name(e.slot),
        "registered_at": Timestamp::from_micros(e.registered_at).to_string(), "removed_at": null,
    });
    Answer::created(body).at(format!("/subscriptions/{}", e.subscription_id))
}
