//! The business of payments, whole and pure.

mod asked;
mod case;
#[cfg(test)]
mod tests;

use std::time::Duration;

use farandole::{Body, Decision, Input, Never, Participant, Refusal, Task, Tasks, Timestamp};
use schemas::orders::OrderPlaced;
use schemas::payments::{PaymentTerms, Seen};
use sqlx::types::Json;
use uuid::Uuid;

pub use asked::{Authorise, Capture, Effect, Outcome, Refund, Void};

use crate::messages::{Event, Heard};
use crate::tables::{Hold, Payment, State, Tables};
use case::Case;

/// The participant.
#[derive(Debug, Clone, Copy)]
pub struct Payments {
    /// How long the acquirer holds what isn't captured; zero where a hold doesn't end.
    pub hold_for: Duration,
    /// How long a capture may take.
    pub write_off_after: Duration,
}

farandole::deadlines! {
    /// When payments looks again.
    pub enum Deadline {
        /// The hold ends by itself.
        Expire,
        /// The money is taken by then.
        WriteOff,
    }
}

impl Participant for Payments {
    const NAME: &'static str = "payments";
    type Id = Uuid; // of the order
    type Event = Event;
    type Heard = Heard;
    type Command = Never;
    type Deadline = Deadline;
    type Effect = Effect;
    type Tables = Tables;

    /// Order, reservation and parcel come in any order, and so may the order's end.
    fn decide(&self, tables: &Tables, &order_id: &Uuid, input: &Input<Self>) -> Result<Decision<Event>, Refusal> {
        let state = tables.payments.get(&order_id).map(|payment| &payment.state.0);
        let case = Case { order_id, at: input.at, hold_for: self.hold_for, write_off_after: self.write_off_after };
        match &input.body {
            Body::Heard(Heard::OrderPlaced(placed)) => Ok(match state {
                None => case.expected(Seen::OrderPlaced, Some(terms_of(placed))),
                Some(State::AwaitingOrder) => case.requested(terms_of(placed)),
                Some(_) => Decision::nothing(),
            }),
            Body::Heard(Heard::StockReserved(_)) => Ok(match state {
                None => case.expected(Seen::StockReserved, None),
                Some(State::AwaitingStock { terms }) => case.requested(terms.clone()),
                Some(_) => Decision::nothing(),
            }),
            // The order's rejection follows, and ends the payment.
            Body::Heard(Heard::StockShort(_)) => Ok(Decision::nothing()),
            Body::Heard(Heard::OrderRejected(_)) => case.ended(state, "order rejected"),
            Body::Heard(Heard::OrderCancelled(_)) => case.ended(state, "order cancelled"),
            Body::Heard(Heard::ShipmentDispatched(_)) => case.dispatched(state),
            Body::Heard(Heard::ShipmentLost(_)) => case.lost(state),
            Body::Deadline(Deadline::Expire) => Ok(case.expire(state)),
            Body::Deadline(Deadline::WriteOff) => Ok(case.write_off(state)),
            Body::Outcome { effect, outcome } => case.answered(state, effect, outcome),
            Body::Command(none) => match *none {},
        }
    }

    fn evolve(&self, tables: &mut Tables, event: &Event) {
        let before = |id: &Uuid| tables.payments.get(id).map(|payment| &payment.state.0);
        let hold = |id: &String, amount: i64, currency: &String| Hold {
            authorisation_id: id.clone(),
            amount,
            currency: currency.clone(),
        };
        let (order_id, state) = match event {
            Event::PaymentExpected(e) => match &e.terms {
                Some(terms) => (e.order_id, State::AwaitingStock { terms: terms.clone() }),
                None => (e.order_id, State::AwaitingOrder),
            },
            Event::PaymentRequested(e) => (e.order_id, State::Requested { amount: e.amount, currency: e.currency.clone() }),
            Event::PaymentAuthorised(e) => (e.order_id, State::Authorised(hold(&e.authorisation_id, e.amount, &e.currency))),
            Event::PaymentDeclined(e) => match before(&e.order_id) {
                Some(State::Abandoned { .. }) => (e.order_id, State::Abandoned { in_flight: false }),
                _ => (e.order_id, State::Declined { reason: e.reason.clone() }),
            },
            Event::PaymentAbandoned(e) => {
                let in_flight = matches!(before(&e.order_id), Some(State::Requested { .. }));
                (e.order_id, State::Abandoned { in_flight })
            }
            Event::VoidRequested(e) => (e.order_id, State::VoidRequested(hold(&e.authorisation_id, e.amount, &e.currency))),
            Event::PaymentVoided(e) => {
                (e.order_id, let_go(before(&e.order_id), State::Voided, hold(&e.authorisation_id, e.amount, &e.currency)))
            }
            Event::AuthorisationExpired(e) => {
                (e.order_id, let_go(before(&e.order_id), State::Expired, hold(&e.authorisation_id, e.amount, &e.currency)))
            }
            Event::CaptureRequested(e) => {
                let hold = hold(&e.authorisation_id, e.amount, &e.currency);
                (e.order_id, State::CaptureRequested { hold, refund_expected: false })
            }
            Event::PaymentCaptured(e) => (e.order_id, State::Captured(hold(&e.authorisation_id, e.amount, &e.currency))),
            Event::CaptureFailed(e) => match before(&e.order_id) {
                Some(State::CaptureRequested { hold, .. } | State::WrittenOff { hold, .. }) => {
                    (e.order_id, State::WrittenOff { hold: hold.clone(), in_flight: false })
                }
                _ => return,
            },
            Event::PaymentWrittenOff(e) => {
                let hold = hold(&e.authorisation_id, e.amount, &e.currency);
                (e.order_id, State::WrittenOff { hold, in_flight: e.in_flight })
            }
            Event::RefundExpected(e) => match before(&e.order_id) {
                Some(State::CaptureRequested { hold, .. }) => {
                    (e.order_id, State::CaptureRequested { hold: hold.clone(), refund_expected: true })
                }
                _ => return,
            },
            Event::RefundRequested(e) => (e.order_id, State::RefundRequested(hold(&e.authorisation_id, e.amount, &e.currency))),
            Event::PaymentRefunded(e) => (e.order_id, State::Refunded(hold(&e.authorisation_id, e.amount, &e.currency))),
        };
        tables.payments.put(Payment { order_id, state: Json(state) });
    }

    fn follow_up(&self, event: &Event) -> Tasks<Self> {
        match event {
            Event::PaymentRequested(e) => {
                let (currency, card_token) = (e.currency.clone(), e.card_token.clone());
                vec![Task::effect(Authorise { order_id: e.order_id, amount: e.amount, currency, card_token })]
            }
            Event::PaymentAuthorised(e) => {
                e.expires_at.map(|at| Task::deadline(Deadline::Expire, Timestamp::from_micros(at))).into_iter().collect()
            }
            // Closing what was never opened is nothing; one that may have started still has its outcome decided.
            Event::PaymentAbandoned(_) => vec![Task::close_effect::<Authorise>()],
            Event::VoidRequested(e) => {
                vec![Task::close(Deadline::Expire), Task::effect(Void { authorisation_id: e.authorisation_id.clone() })]
            }
            Event::CaptureRequested(e) => vec![
                Task::close(Deadline::Expire),
                Task::effect(Capture { authorisation_id: e.authorisation_id.clone(), amount: e.amount }),
                Task::deadline(Deadline::WriteOff, Timestamp::from_micros(e.write_off_by)),
            ],
            // It may have been taken, or be held still: the void's answer tells.
            Event::PaymentWrittenOff(e) if e.in_flight => {
                vec![Task::close_effect::<Capture>(), Task::effect(Void { authorisation_id: e.authorisation_id.clone() })]
            }
            Event::PaymentCaptured(_) | Event::PaymentWrittenOff(_) => vec![Task::close(Deadline::WriteOff)],
            Event::RefundRequested(e) => {
                vec![Task::effect(Refund { authorisation_id: e.authorisation_id.clone(), amount: e.amount })]
            }
            Event::PaymentExpected(_)
            | Event::PaymentDeclined(_)
            | Event::PaymentVoided(_)
            | Event::AuthorisationExpired(_)
            | Event::CaptureFailed(_)
            | Event::RefundExpected(_)
            | Event::PaymentRefunded(_) => Vec::new(),
        }
    }
}

/// What is held no more; what was written off stays so.
fn let_go(before: Option<&State>, ended: fn(Hold) -> State, hold: Hold) -> State {
    match before {
        Some(State::WrittenOff { .. }) => State::WrittenOff { hold, in_flight: false },
        _ => ended(hold),
    }
}

fn terms_of(placed: &OrderPlaced) -> PaymentTerms {
    PaymentTerms { amount: placed.total, currency: placed.currency.clone(), card_token: placed.card_token.clone() }
}
