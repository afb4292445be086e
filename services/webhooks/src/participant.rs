//! The business of webhooks, whole and pure.
//!
//! **One at a time.** What goes of an order to a subscriber stands in a queue, and only an event that ends one delivery comes with the
//! request for the next. No deadline ends a delivery: an effect that may have started can't be taken back, so beside a deadline the next
//! message could overtake. The effect itself gives up after its time, and what it says then is the end of its last attempt.
//!
//! **Who is told** stands in one row, the directory, which each event of an order reads and only a registration or a removal changes. Rows
//! that a batch reads are locked, so lanes of the intake take turns at it; one lane, the default, doesn't notice.

mod delivering;
mod subscribing;
#[cfg(test)]
mod tests;

use farandole::{Answer, Body, Decision, Input, Keys, Never, Participant, Refusal, Task, Tasks, Timestamp};
use schemas::webhooks::DeliveryRequested;
use serde::{Deserialize, Serialize};
use sqlx::types::Json;
use uuid::Uuid;

use crate::deliver::{Deliver, Effect};
use crate::id::{Id, SUBSCRIPTIONS};
use crate::kinds;
use crate::messages::{Event, Heard};
use crate::tables::{Delivery, Directory, Live, Queue, State, Subscription, Tables};
use delivering::Case;

/// The participant.
#[derive(Debug, Clone, Copy)]
pub struct Webhooks;

/// What callers may ask.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum Command {
    /// Tell this address of orders.
    Register {
        /// Where messages go.
        url: String,
        /// Which.
        types: Vec<String>,
        /// What they are signed with, sealed.
        secret: String,
    },
    /// Send nothing there any more.
    Remove {
        /// The subscription.
        subscription_id: Uuid,
    },
    /// Try this message again, which is dead.
    Retry {
        /// The subscription.
        subscription_id: Uuid,
        /// The message.
        message_id: String,
    },
}

impl Participant for Webhooks {
    const NAME: &'static str = "webhooks";
    type Id = Id;
    type Event = Event;
    type Heard = Heard;
    type Command = Command;
    type Deadline = Never;
    type Effect = Effect;
    type Tables = Tables;

    fn touches(&self, id: &Id, input: &Input<Self>) -> Keys {
        let directory = || Keys::of::<Directory>([SUBSCRIPTIONS.to_owned()]);
        match (id, &input.body) {
            (Id::Subscriptions, Body::Command(Command::Register { .. })) => directory().and::<Subscription>([input.id]),
            (Id::Subscriptions, Body::Command(Command::Remove { subscription_id })) => {
                directory().and::<Subscription>([*subscription_id])
            }
            (Id::Order(_), Body::Heard(_)) => directory(),
            (Id::Order(order_id), Body::Command(Command::Retry { subscription_id, .. })) => {
                Keys::of::<Queue>([(*order_id, *subscription_id)]).and::<Subscription>([*subscription_id])
            }
            (Id::Order(order_id), Body::Outcome { effect: Effect::Deliver(of), .. }) => {
                Keys::of::<Queue>([(*order_id, of.subscription_id)])
            }
            (Id::Subscriptions | Id::Order(_), _) => Keys::default(),
        }
    }

    fn touches_more(&self, tables: &Tables, id: &Id, input: &Input<Self>) -> Keys {
        match (id, &input.body) {
            (Id::Order(order_id), Body::Heard(heard)) => {
                let kind = kinds::of(heard);
                Keys::of::<Queue>(live(tables).iter().filter(|live| live.wants(kind)).map(|l| (*order_id, l.subscription_id)))
            }
            _ => Keys::default(),
        }
    }

    fn decide(&self, tables: &Tables, id: &Id, input: &Input<Self>) -> Result<Decision<Event>, Refusal> {
        let at = input.at;
        match (id, &input.body) {
            (Id::Subscriptions, Body::Command(Command::Register { url, types, secret })) => {
                subscribing::register(live(tables), input.id, url, types, secret, at)
            }
            (Id::Subscriptions, Body::Command(Command::Remove { subscription_id })) => {
                subscribing::remove(tables.subscriptions.get(subscription_id), *subscription_id, at)
            }
            (Id::Order(order_id), Body::Heard(heard)) => {
                let queue = |live: &Live| tables.queues.get(&(*order_id, live.subscription_id));
                Case { order_id: *order_id, at }.told(live(tables), queue, heard)
            }
            (Id::Order(order_id), Body::Command(Command::Retry { subscription_id, message_id })) => {
                let queue = tables.queues.get(&(*order_id, *subscription_id));
                let is_live = tables.subscriptions.get(subscription_id).is_some_and(|of| of.removed_at.is_none());
                Case { order_id: *order_id, at }.retry(queue, is_live, *subscription_id, message_id)
            }
            (Id::Order(order_id), Body::Outcome { effect: Effect::Deliver(of), outcome }) => {
                Case { order_id: *order_id, at }.ended(tables.queues.get(&(*order_id, of.subscription_id)), of, outcome)
            }
            (_, Body::Deadline(never)) => match *never {},
            (Id::Subscriptions | Id::Order(_), _) => Err(Refusal::Park(format!("`{id}` is no id for this"))),
        }
    }

    fn evolve(&self, tables: &mut Tables, event: &Event) {
        let time = Timestamp::from_micros;
        match event {
            Event::SubscriptionRegistered(e) => {
                let (subscription_id, slot) = (e.subscription_id, e.slot);
                let mut directory = directory(tables);
                directory.live.push(Live { subscription_id, slot, types: e.types.clone(), since: e.registered_at });
                tables.directory.put(directory);
                tables.subscriptions.put(Subscription {
                    subscription_id,
                    url: e.url.clone(),
                    types: Json(e.types.clone()),
                    secret: e.secret.clone(),
                    slot,
                    registered_at: e.registered_at,
                    removed_at: None,
                });
            }
            Event::SubscriptionRemoved(e) => {
                let mut directory = directory(tables);
                directory.live.retain(|live| live.subscription_id != e.subscription_id);
                tables.directory.put(directory);
                if let Some(subscription) = tables.subscriptions.get_mut(&e.subscription_id) {
                    subscription.secret = String::new();
                    subscription.removed_at = Some(e.removed_at);
                }
            }
            Event::DeliveryQueued(e) => {
                let (message_id, kind, body, since) = (e.message_id.clone(), e.kind.clone(), e.body.clone(), time(e.queued_at));
                let waiting = Delivery { message_id, kind, slot: e.slot, body, attempt: e.attempt, state: State::Waiting, since };
                queue(tables, e.order_id, e.subscription_id, |queue| queue.append(waiting));
            }
            Event::DeliveryRequested(e) => {
                let (message_id, kind, body) = (e.message_id.clone(), e.kind.clone(), e.body.clone());
                let (slot, attempt, state, since) = (e.slot, e.attempt, State::Sending, time(e.requested_at));
                let sending = Delivery { message_id, kind, slot, body, attempt, state, since };
                queue(tables, e.order_id, e.subscription_id, |queue| queue.put(sending));
            }
            Event::DeliverySucceeded(e) => {
                let delivered = State::Delivered { status: e.status };
                queue(tables, e.order_id, e.subscription_id, |queue| queue.end(&e.message_id, delivered, time(e.delivered_at)));
            }
            Event::DeliveryFailed(e) => {
                let dead = State::Dead { reason: e.reason.clone() };
                queue(tables, e.order_id, e.subscription_id, |queue| queue.end(&e.message_id, dead, time(e.failed_at)));
            }
            Event::DeliveryDropped(e) => {
                queue(tables, e.order_id, e.subscription_id, |queue| {
                    queue.end(&e.message_id, State::Dropped, time(e.dropped_at));
                });
            }
        }
    }

    fn follow_up(&self, event: &Event) -> Tasks<Self> {
        match event {
            Event::DeliveryRequested(e) => vec![Task::effect(deliver(e))],
            // None is ever closed: each ends by its own outcome.
            Event::SubscriptionRegistered(_)
            | Event::SubscriptionRemoved(_)
            | Event::DeliveryQueued(_)
            | Event::DeliverySucceeded(_)
            | Event::DeliveryFailed(_)
            | Event::DeliveryDropped(_) => Vec::new(),
        }
    }

    fn answer(&self, events: &[Event]) -> Answer {
        match events.first() {
            Some(Event::SubscriptionRegistered(e)) => subscribing::is_registered(e),
            Some(Event::DeliveryRequested(e)) => {
                Answer::accepted(delivering::is_pending(e.order_id, &e.message_id, &State::Sending, e.attempt))
            }
            Some(Event::DeliveryQueued(e)) => {
                Answer::accepted(delivering::is_pending(e.order_id, &e.message_id, &State::Waiting, e.attempt))
            }
            // A removal, and what no command leads to.
            Some(
                Event::SubscriptionRemoved(_)
                | Event::DeliverySucceeded(_)
                | Event::DeliveryFailed(_)
                | Event::DeliveryDropped(_),
            )
            | None => Answer::empty(),
        }
    }
}

fn live(tables: &Tables) -> &[Live] {
    tables.directory.get(&SUBSCRIPTIONS.to_owned()).map_or(&[], |directory| &directory.live)
}

fn directory(tables: &Tables) -> Directory {
    let none = || Directory { id: SUBSCRIPTIONS.to_owned(), live: Json(Vec::new()) };
    tables.directory.get(&SUBSCRIPTIONS.to_owned()).cloned().unwrap_or_else(none)
}

/// Changes a queue, which begins with its first delivery.
fn queue(tables: &mut Tables, order_id: Uuid, subscription_id: Uuid, change: impl FnOnce(&mut Queue)) {
    let key = (order_id, subscription_id);
    if tables.queues.get(&key).is_none() {
        tables.queues.put(Queue::new(order_id, subscription_id));
    }
    if let Some(queue) = tables.queues.get_mut(&key) {
        change(queue);
    }
}

fn deliver(e: &DeliveryRequested) -> Deliver {
    Deliver {
        order_id: e.order_id,
        subscription_id: e.subscription_id,
        slot: e.slot,
        message_id: e.message_id.clone(),
        kind: e.kind.clone(),
        body: e.body.clone(),
        attempt: e.attempt,
    }
}
