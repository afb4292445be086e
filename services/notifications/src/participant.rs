//! The business of notifications, whole and pure.

#[cfg(test)]
mod tests;

use std::time::Duration;

use farandole::{Answer, Body, Decision, Input, Participant, Problem, Refusal, Tasks, Timestamp};
use schemas::notifications::{
    NotificationExpected, NotificationFailed, NotificationLine, NotificationRequested, NotificationSent,
};
use schemas::orders::{OrderLine, OrderPlaced};
use serde::{Deserialize, Serialize};
use serde_json::json;
use sqlx::types::Json;
use uuid::Uuid;

use crate::kinds::{self, Deadline, Effect, Kind, Mail, Outcome};
use crate::messages::{Event, Heard};
use crate::tables::{Details, MailState, Notification, State, Tables};
use crate::words;

/// The participant.
#[derive(Debug, Clone, Copy)]
pub struct Notifications {
    /// How long a mail is tried before it is given up.
    pub give_up_after: Duration,
}

/// What operators may ask.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum Command {
    /// Try this mail again, which has failed.
    Retry(Kind),
}

impl Participant for Notifications {
    const NAME: &'static str = "notifications";
    type Id = Uuid; // of the order
    type Event = Event;
    type Heard = Heard;
    type Command = Command;
    type Deadline = Deadline;
    type Effect = Effect;
    type Tables = Tables;

    /// The topics are read at their own pace, so what shipping and payments say may come before the order itself: it is noted, and requested
    /// with the order. Waiting for it wouldn't do, for a parked input holds up all that comes after it, the order as well.
    fn decide(&self, tables: &Tables, &order_id: &Uuid, input: &Input<Self>) -> Result<Decision<Event>, Refusal> {
        let order = tables.notifications.get(&order_id);
        let case = Case { order_id, at: input.at, send_by: input.at.plus(self.give_up_after) };
        match &input.body {
            Body::Heard(Heard::OrderPlaced(placed)) => Ok(match order.map(|order| (&order.details.0, &order.mails.0)) {
                Some((Some(_), _)) => Decision::nothing(),
                Some((None, expected)) => case.placed(placed, expected),
                None => case.placed(placed, &[]),
            }),
            Body::Heard(heard) => {
                let (kind, detail) = words::of(heard);
                Ok(match order.map(|order| (order.mail(kind), &order.details.0)) {
                    Some((Some(_), _)) => Decision::nothing(),
                    Some((None, Some(details))) => Decision::events([case.requested(details, kind, 1, detail)]),
                    Some((None, None)) | None => case.expected(kind, detail),
                })
            }
            Body::Command(Command::Retry(kind)) => case.retry(order, *kind),
            Body::Deadline(deadline) => Ok(match order.and_then(|order| order.mail(deadline.kind())) {
                Some(MailState { kind, state: State::Requested, .. }) => {
                    case.failed(*kind, format!("no mail server had taken it by {}", input.at))
                }
                _ => Decision::nothing(),
            }),
            Body::Outcome { effect, outcome } => case.answered(order, effect.mail(), outcome),
        }
    }

    fn evolve(&self, tables: &mut Tables, event: &Event) {
        let (order_id, kind, at, state) = match event {
            Event::NotificationExpected(e) => (e.order_id, e.kind, e.expected_at, State::Expected),
            Event::NotificationRequested(e) => (e.order_id, e.kind, e.requested_at, State::Requested),
            Event::NotificationSent(e) => (e.order_id, e.kind, e.sent_at, State::Sent { message_id: e.message_id.clone() }),
            Event::NotificationFailed(e) => (e.order_id, e.kind, e.failed_at, State::Failed { reason: e.reason.clone() }),
        };
        if tables.notifications.get(&order_id).is_none() {
            tables.notifications.put(Notification::new(order_id));
        }
        let Some(order) = tables.notifications.get_mut(&order_id) else { return };
        let (attempt, detail) = match event {
            Event::NotificationExpected(e) => (0, e.detail.clone()),
            Event::NotificationRequested(e) => {
                order.details = Json(Some(details_of(e)));
                (e.attempt, e.detail.clone())
            }
            Event::NotificationSent(_) | Event::NotificationFailed(_) => {
                order.mail(kind).map_or_else(Default::default, |mail| (mail.attempt, mail.detail.clone()))
            }
        };
        order.put(MailState { kind, attempt, detail, state, since: Timestamp::from_micros(at) });
    }

    fn follow_up(&self, event: &Event) -> Tasks<Self> {
        match event {
            Event::NotificationExpected(_) => Vec::new(),
            Event::NotificationRequested(e) => kinds::open(mail_of(e), Timestamp::from_micros(e.send_by)),
            // Of an effect that may have started the outcome still comes.
            Event::NotificationSent(e) => kinds::close(e.kind),
            Event::NotificationFailed(e) => kinds::close(e.kind),
        }
    }

    fn answer(&self, events: &[Event]) -> Answer {
        match events.first() {
            Some(Event::NotificationRequested(e)) => Answer::accepted(is_requested(e.order_id, e.kind, e.attempt)),
            // No command leads to these.
            Some(Event::NotificationExpected(_) | Event::NotificationSent(_) | Event::NotificationFailed(_)) | None => {
                Answer::empty()
            }
        }
    }
}

/// One order at one moment.
struct Case {
    order_id: Uuid,
    at: Timestamp,
    send_by: Timestamp,
}

impl Case {
    /// The order's first mail, and those that were expected already. Their events keep what all others need.
    fn placed(&self, placed: &OrderPlaced, expected: &[MailState]) -> Decision<Event> {
        let line =
            |line: &OrderLine| NotificationLine { sku: line.sku.clone(), quantity: line.quantity, unit_price: line.unit_price };
        let details = Details {
            customer: placed.customer.clone(),
            currency: placed.currency.clone(),
            total: placed.total,
            lines: placed.lines.iter().map(line).collect(),
        };
        let taken = self.requested(&details, Kind::Taken, 1, String::new());
        let others = expected.iter().map(|mail| self.requested(&details, mail.kind, 1, mail.detail.clone()));
        Decision::events(std::iter::once(taken).chain(others))
    }

    fn expected(&self, kind: Kind, detail: String) -> Decision<Event> {
        Decision::event(NotificationExpected { order_id: self.order_id, kind, detail, expected_at: self.at.micros() })
    }

    fn requested(&self, details: &Details, kind: Kind, attempt: i32, detail: String) -> Event {
        let Details { customer, currency, total, lines } = details.clone();
        let (order_id, requested_at, send_by) = (self.order_id, self.at.micros(), self.send_by.micros());
        let e =
            NotificationRequested { order_id, kind, attempt, customer, currency, total, lines, detail, requested_at, send_by };
        e.into()
    }

    fn retry(&self, order: Option<&Notification>, kind: Kind) -> Result<Decision<Event>, Refusal> {
        let (order_id, name) = (self.order_id, kinds::name(kind));
        let Some((order, mail)) = order.and_then(|order| Some((order, order.mail(kind)?))) else {
            return Err(Problem::not_found(format!("there is no mail `{name}` of order {order_id}")).into());
        };
        match (&mail.state, &order.details.0) {
            (State::Failed { .. }, Some(details)) => {
                let again = self.requested(details, kind, mail.attempt.saturating_add(1), mail.detail.clone());
                Ok(Decision::events([again]))
            }
            (State::Requested, _) => Ok(Decision::answered(Answer::ok(is_requested(order_id, kind, mail.attempt)))),
            (State::Expected, _) | (State::Failed { .. }, None) => {
                let detail = format!("order {order_id} isn't known here yet; the mail `{name}` is sent once it is");
                Err(Problem::conflict("order-unknown", detail).into())
            }
            (State::Sent { .. }, _) => {
                Err(Problem::conflict("already-sent", format!("the mail `{name}` of order {order_id} has been sent")).into())
            }
        }
    }

    fn failed(&self, kind: Kind, reason: String) -> Decision<Event> {
        Decision::event(NotificationFailed { order_id: self.order_id, kind, reason, failed_at: self.at.micros() })
    }

    /// The mail server's word. One of an attempt that was given up may come late: sent is sent, whichever attempt it was.
    fn answered(&self, order: Option<&Notification>, of: &Mail, outcome: &Outcome) -> Result<Decision<Event>, Refusal> {
        let (order_id, kind) = (self.order_id, of.kind);
        let Some(mail) = order.and_then(|order| order.mail(kind)) else {
            return Err(Refusal::Park(format!("the outcome of a mail of order {order_id} that was never requested")));
        };
        Ok(match (outcome, &mail.state) {
            (Outcome::Sent { message_id }, State::Requested | State::Failed { .. }) => {
                Decision::event(NotificationSent { order_id, kind, message_id: message_id.clone(), sent_at: self.at.micros() })
            }
            (Outcome::Refused { reason }, State::Requested) if of.attempt == mail.attempt => self.failed(kind, reason.clone()),
            (Outcome::Sent { .. } | Outcome::Refused { .. }, _) => Decision::nothing(),
        })
    }
}

fn details_of(e: &NotificationRequested) -> Details {
    Details { customer: e.customer.clone(), currency: e.currency.clone(), total: e.total, lines: e.lines.clone() }
}

fn mail_of(e: &NotificationRequested) -> Mail {
    Mail {
        order_id: e.order_id,
        kind: e.kind,
        attempt: e.attempt,
        customer: e.customer.clone(),
        currency: e.currency.clone(),
        total: e.total,
        lines: e.lines.clone(),
        detail: e.detail.clone(),
    }
}

fn is_requested(order_id: Uuid, kind: Kind, attempt: i32) -> serde_json::Value {
    json!({ "order_id": order_id, "kind": kinds::name(kind), "state": "requested", "attempt": attempt })
}
