//! Subscriptions and deliveries as callers see them.

use farandole::Timestamp;
use serde::Serialize;
use utoipa::ToSchema;
use uuid::Uuid;

use crate::tables::{Delivery, Queue, State, Subscription};
use crate::targets;

/// A subscription. Its secret isn't told.
#[derive(Debug, Serialize, ToSchema)]
pub(super) struct SubscriptionView {
    subscription_id: Uuid,
    url: String,
    types: Vec<String>,
    /// `live` or `removed`.
    state: &'static str,
    /// What it is called in metrics and logs, as `subscriber-07`; another's once it is removed.
    target: &'static str,
    /// RFC 3339.
    registered_at: String,
    /// Once it is removed.
    removed_at: Option<String>,
}

/// A page of subscriptions, newest first.
#[derive(Debug, Serialize, ToSchema)]
pub(super) struct SubscriptionPage {
    subscriptions: Vec<SubscriptionView>,
    /// What to ask `after` for the next page; null on the last one.
    next: Option<Uuid>,
}

/// What of an order went to a subscriber.
#[derive(Debug, Serialize, ToSchema)]
pub(super) struct OrderDeliveries {
    order_id: Uuid,
    /// In the order in which they are sent.
    deliveries: Vec<DeliveryView>,
}

/// One message.
#[derive(Debug, Serialize, ToSchema)]
pub(super) struct DeliveryView {
    message_id: String,
    /// As `order.confirmed`.
    #[serde(rename = "type")]
    kind: String,
    /// `waiting` (for those before it), `sending`, `delivered`, `dead` or `dropped` (the subscription was removed first).
    state: &'static str,
    /// 1, and one more each time it was tried again by an operator.
    attempt: i32,
    /// With which HTTP status it was taken.
    status: Option<i32>,
    /// Why it is dead.
    reason: Option<String>,
    /// Since when it is so, RFC 3339.
    since: String,
}

/// A page of orders, newest first.
#[derive(Debug, Serialize, ToSchema)]
pub(super) struct DeliveryPage {
    orders: Vec<OrderDeliveries>,
    /// What to ask `after` for the next page; null on the last one.
    next: Option<Uuid>,
}

/// A message that is tried again.
#[derive(Debug, ToSchema)]
#[allow(dead_code, reason = "the participant answers; this describes it")]
pub(super) struct PendingDelivery {
    order_id: Uuid,
    message_id: String,
    /// `waiting` or `sending`.
    state: String,
    attempt: i32,
}

impl SubscriptionView {
    pub fn of(of: Subscription) -> Self {
        let time = |micros| Timestamp::from_micros(micros).to_string();
        Self {
            subscription_id: of.subscription_id,
            url: of.url,
            types: of.types.0,
            state: if of.removed_at.is_some() { "removed" } else { "live" },
            target: targets::name(of.slot),
            registered_at: time(of.registered_at),
            removed_at: of.removed_at.map(time),
        }
    }
}

impl SubscriptionPage {
    /// The first `limit` of `found`; one more says that there is a next page.
    pub fn of(mut found: Vec<SubscriptionView>, limit: i64) -> Self {
        let next = cut(&mut found, limit, |of| of.subscription_id);
        Self { subscriptions: found, next }
    }
}

impl DeliveryView {
    fn of(delivery: Delivery) -> Self {
        let Delivery { message_id, kind, attempt, state, since, .. } = delivery;
        let (name, since) = (state.name(), since.to_string());
        let (status, reason) = match state {
            State::Delivered { status } => (Some(status), None),
            State::Dead { reason } => (None, Some(reason)),
            State::Waiting | State::Sending | State::Dropped => (None, None),
        };
        Self { message_id, kind, state: name, attempt, status, reason, since }
    }
}

impl DeliveryPage {
    /// The first `limit` of `found`, and of each what is wanted; one more says that there is a next page.
    pub fn of(mut found: Vec<Queue>, limit: i64, is_wanted: impl Fn(&State) -> bool) -> Self {
        let next = cut(&mut found, limit, |queue| queue.order_id);
        let orders = found.into_iter().map(|queue| {
            let deliveries = queue.deliveries.0.into_iter().filter(|delivery| is_wanted(&delivery.state));
            OrderDeliveries { order_id: queue.order_id, deliveries: deliveries.map(DeliveryView::of).collect() }
        });
        Self { orders: orders.collect(), next }
    }
}

fn cut<T>(found: &mut Vec<T>, limit: i64, id: impl Fn(&T) -> Uuid) -> Option<Uuid> {
    let limit = usize::try_from(limit).unwrap_or(usize::MAX);
    let more = found.len() > limit;
    found.truncate(limit);
    found.last().filter(|_| more).map(id)
}
