//! What of one order goes to whom, and what became of it.

use farandole::{Answer, Decision, Problem, Refusal, Timestamp};
use schemas::webhooks::{DeliveryDropped, DeliveryFailed, DeliveryQueued, DeliveryRequested, DeliverySucceeded};
use serde_json::{Value, json};
use uuid::Uuid;

use crate::deliver::{Deliver, Outcome};
use crate::message::Message;
use crate::messages::{Event, Heard};
use crate::tables::{Delivery, Live, Queue, State};

/// One order at one moment.
pub(super) struct Case {
    pub order_id: Uuid,
    pub at: Timestamp,
}

impl Case {
    /// Everybody who wants to know is told, each once; but not of what happened before it subscribed. It may be read long after that: by a
    /// service that is new, or behind.
    pub fn told<'a>(
        &self,
        live: &[Live],
        queue: impl Fn(&Live) -> Option<&'a Queue>,
        heard: &Heard,
    ) -> Result<Decision<Event>, Refusal> {
        let message = Message::of(self.order_id, heard);
        let Message { id, kind, at, body } = message.map_err(|error| Refusal::Park(format!("it can't be written: {error}")))?;
        let wanting = live.iter().filter(|live| live.wants(kind) && live.since <= at);
        let events = wanting.filter_map(|live| {
            let queue = queue(live);
            let (message_id, kind, body, slot) = (id.clone(), kind.to_owned(), body.clone(), live.slot);
            let new = Delivery { message_id, kind, slot, body, attempt: 1, state: State::Waiting, since: self.at };
            let is_known = queue.is_some_and(|queue| queue.find(&id).is_some());
            (!is_known).then(|| self.enqueued(queue, live.subscription_id, &new))
        });
        Ok(Decision::events(events))
    }

    /// An operator's word. What was dead has been overtaken, so it goes behind all that is there.
    pub fn retry(
        &self,
        queue: Option<&Queue>,
        is_live: bool,
        subscription_id: Uuid,
        message_id: &str,
    ) -> Result<Decision<Event>, Refusal> {
        let Some(delivery) = queue.and_then(|queue| queue.find(message_id)) else {
            let detail = format!("there is no message `{message_id}` of order {} to {subscription_id}", self.order_id);
            return Err(Problem::not_found(detail).into());
        };
        match &delivery.state {
            State::Dead { .. } if is_live => {
                let again = Delivery { attempt: delivery.attempt.saturating_add(1), ..delivery.clone() };
                Ok(Decision::events([self.enqueued(queue, subscription_id, &again)]))
            }
            State::Waiting | State::Sending => {
                let pending = is_pending(self.order_id, message_id, &delivery.state, delivery.attempt);
                Ok(Decision::answered(Answer::ok(pending)))
            }
            State::Delivered { .. } => {
                Err(Problem::conflict("already-delivered", format!("message `{message_id}` has been delivered")).into())
            }
            State::Dead { .. } | State::Dropped => {
                let detail = format!("subscription {subscription_id} was removed; nothing is sent there any more");
                Err(Problem::conflict("subscription-removed", detail).into())
            }
        }
    }

    /// A delivery has ended, and the next begins. An outcome that comes again, or of an attempt before, ends nothing; but what was taken
    /// after all counts as delivered.
    pub fn ended(&self, queue: Option<&Queue>, of: &Deliver, outcome: &Outcome) -> Result<Decision<Event>, Refusal> {
        let Some((queue, delivery)) = queue.and_then(|queue| Some((queue, queue.find(&of.message_id)?))) else {
            return Err(Refusal::Park(format!("the outcome of a message that was never requested: {}", of.message_id)));
        };
        let to = of.subscription_id;
        let is_of_now = delivery.state == State::Sending && delivery.attempt == of.attempt;
        let next = queue.waiting().next().map(|next| self.requested(to, next));
        Ok(match outcome {
            Outcome::Delivered { status } if is_of_now => {
                Decision::events(std::iter::once(self.delivered(of, *status)).chain(next))
            }
            Outcome::GivenUp { reason } if is_of_now => Decision::events(std::iter::once(self.failed(of, reason)).chain(next)),
            Outcome::Removed if is_of_now => {
                let waiting = queue.waiting().map(|waiting| self.dropped(to, &waiting.message_id));
                Decision::events(std::iter::once(self.dropped(to, &of.message_id)).chain(waiting))
            }
            Outcome::Delivered { status } if matches!(delivery.state, State::Dead { .. }) => {
                Decision::events([self.delivered(of, *status)])
            }
            Outcome::Delivered { .. } | Outcome::GivenUp { .. } | Outcome::Removed => Decision::nothing(),
        })
    }

    /// It is sent, or waits for those before it.
    fn enqueued(&self, queue: Option<&Queue>, subscription_id: Uuid, delivery: &Delivery) -> Event {
        if queue.is_some_and(Queue::is_sending) {
            self.queued(subscription_id, delivery)
        } else {
            self.requested(subscription_id, delivery)
        }
    }

    fn queued(&self, subscription_id: Uuid, delivery: &Delivery) -> Event {
        let Delivery { message_id, kind, slot, body, attempt, .. } = delivery.clone();
        let (order_id, queued_at) = (self.order_id, self.at.micros());
        DeliveryQueued { order_id, subscription_id, message_id, slot, kind, body, attempt, queued_at }.into()
    }

    fn requested(&self, subscription_id: Uuid, delivery: &Delivery) -> Event {
        let Delivery { message_id, kind, slot, body, attempt, .. } = delivery.clone();
        let (order_id, requested_at) = (self.order_id, self.at.micros());
        DeliveryRequested { order_id, subscription_id, message_id, slot, kind, body, attempt, requested_at }.into()
    }

    fn delivered(&self, of: &Deliver, status: u16) -> Event {
        let (order_id, subscription_id, message_id) = (self.order_id, of.subscription_id, of.message_id.clone());
        let (status, delivered_at) = (status.into(), self.at.micros());
        DeliverySucceeded { order_id, subscription_id, message_id, status, delivered_at }.into()
    }

    fn failed(&self, of: &Deliver, reason: &str) -> Event {
        let (order_id, subscription_id, message_id) = (self.order_id, of.subscription_id, of.message_id.clone());
        let (reason, failed_at) = (reason.to_owned(), self.at.micros());
        DeliveryFailed { order_id, subscription_id, message_id, reason, failed_at }.into()
    }

    fn dropped(&self, subscription_id: Uuid, message_id: &str) -> Event {
        let (order_id, message_id, dropped_at) = (self.order_id, message_id.to_owned(), self.at.micros());
        DeliveryDropped { order_id, subscription_id, message_id, dropped_at }.into()
    }
}

/// What is told of a message that is under way.
pub(super) fn is_pending(order_id: Uuid, message_id: &str, state: &State, attempt: i32) -> Value {
    json!({ "order_id": order_id, "message_id": message_id, "state": state.name(), "attempt": attempt })
}
