//! The business of payments, whole and pure.

#[cfg(test)]
mod tests;

use farandole::{Body, Decision, Input, Never, Participant, Refusal, Task, Tasks};
use schemas::inventory::{StockReceived, StockReleased, StockReserved, StockShort};
use schemas::orders::{OrderCancelled, OrderConfirmed, OrderPlaced, OrderRejected};
use schemas::payments::{
    PaymentAbandoned, PaymentAuthorised, PaymentDeclined, PaymentExpected, PaymentRequested, PaymentTerms, PaymentVoided, Seen,
    VoidRequested,
};
use serde::{Deserialize, Serialize};
use sqlx::types::Json;
use uuid::Uuid;

use crate::tables::{Hold, Payment, State, Tables};

/// The participant.
#[derive(Debug, Clone, Copy)]
pub struct Payments;

farandole::messages! {
    /// What payments publishes.
    pub enum Event {
        PaymentExpected, PaymentRequested, PaymentAuthorised, PaymentDeclined, PaymentAbandoned, VoidRequested, PaymentVoided,
    }
    ends { PaymentExpected, PaymentRequested, PaymentAbandoned, VoidRequested, PaymentVoided }
}

farandole::messages! {
    /// What payments subscribes to.
    pub enum Heard { OrderPlaced, OrderRejected, OrderCancelled, StockReserved, StockShort }
    ignores {
        OrderConfirmed, StockReceived,
        StockReleased, // it is released because the order ended, which orders itself publishes
    }
}

/// Hold this amount.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Authorise {
    /// The merchant reference.
    pub order_id: Uuid,
    /// Minor units.
    pub amount: i64,
    /// ISO 4217 code.
    pub currency: String,
    /// The acquirer's token of the card.
    pub card_token: String,
}

/// Undo a hold.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Void {
    /// The acquirer's id.
    pub authorisation_id: String,
}

farandole::effects! {
    /// What is asked of the acquirer.
    pub enum Effect -> Outcome { Authorise, Void }
}

/// What the acquirer answered.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum Outcome {
    /// The amount is held.
    Authorised {
        /// The acquirer's id.
        authorisation_id: String,
    },
    /// Refused for good.
    Declined {
        /// The acquirer's code.
        reason: String,
    },
    /// The hold is undone.
    Voided,
    /// The hold can't be undone.
    VoidRefused {
        /// The acquirer's code.
        reason: String,
    },
}

impl Participant for Payments {
    const NAME: &'static str = "payments";
    type Id = Uuid; // of the order
    type Event = Event;
    type Heard = Heard;
    type Command = Never;
    type Deadline = Never;
    type Effect = Effect;
    type Tables = Tables;

    /// Order and reservation come in any order, and so may the order's end.
    fn decide(&self, tables: &Tables, &order_id: &Uuid, input: &Input<Self>) -> Result<Decision<Event>, Refusal> {
        let state = tables.payments.get(&order_id).map(|payment| &payment.state.0);
        let case = Case { order_id, at: input.at.micros() };
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
            Body::Heard(Heard::OrderRejected(_)) => Ok(case.ended(state, "order rejected")),
            Body::Heard(Heard::OrderCancelled(_)) => Ok(case.ended(state, "order cancelled")),
            Body::Outcome { effect, outcome } => case.answered(state, effect, outcome),
            Body::Command(none) | Body::Deadline(none) => match *none {},
        }
    }

    fn evolve(&self, tables: &mut Tables, event: &Event) {
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
            Event::PaymentDeclined(e) => match tables.payments.get(&e.order_id).map(|p| &p.state.0) {
                Some(State::Abandoned { .. }) => (e.order_id, State::Abandoned { in_flight: false }),
                _ => (e.order_id, State::Declined { reason: e.reason.clone() }),
            },
            Event::PaymentAbandoned(e) => {
                let before = tables.payments.get(&e.order_id).map(|p| &p.state.0);
                (e.order_id, State::Abandoned { in_flight: matches!(before, Some(State::Requested { .. })) })
            }
            Event::VoidRequested(e) => (e.order_id, State::VoidRequested(hold(&e.authorisation_id, e.amount, &e.currency))),
            Event::PaymentVoided(e) => (e.order_id, State::Voided(hold(&e.authorisation_id, e.amount, &e.currency))),
        };
        tables.payments.put(Payment { order_id, state: Json(state) });
    }

    fn follow_up(&self, event: &Event) -> Tasks<Self> {
        match event {
            Event::PaymentRequested(e) => {
                let (currency, card_token) = (e.currency.clone(), e.card_token.clone());
                vec![Task::effect(Authorise { order_id: e.order_id, amount: e.amount, currency, card_token })]
            }
            // Closing what was never opened is nothing; one that may have started still has its outcome decided.
            Event::PaymentAbandoned(_) => vec![Task::close_effect::<Authorise>()],
            Event::VoidRequested(e) => vec![Task::effect(Void { authorisation_id: e.authorisation_id.clone() })],
            Event::PaymentExpected(_) | Event::PaymentAuthorised(_) | Event::PaymentDeclined(_) | Event::PaymentVoided(_) => {
                Vec::new()
            }
        }
    }
}

/// One order at one moment.
struct Case {
    order_id: Uuid,
    at: i64,
}

impl Case {
    fn expected(&self, seen: Seen, terms: Option<PaymentTerms>) -> Decision<Event> {
        Decision::event(PaymentExpected { order_id: self.order_id, seen, terms, expected_at: self.at })
    }

    fn requested(&self, terms: PaymentTerms) -> Decision<Event> {
        let PaymentTerms { amount, currency, card_token } = terms;
        Decision::event(PaymentRequested { order_id: self.order_id, amount, currency, card_token, requested_at: self.at })
    }

    /// The order ended. Remembered even when nothing was known of it, so that a late reservation starts nothing.
    fn ended(&self, state: Option<&State>, reason: &str) -> Decision<Event> {
        match state {
            None | Some(State::AwaitingStock { .. } | State::AwaitingOrder | State::Requested { .. }) => {
                let reason = reason.to_owned();
                Decision::event(PaymentAbandoned { order_id: self.order_id, reason, abandoned_at: self.at })
            }
            Some(State::Authorised(hold)) => Decision::events([self.void(hold)]),
            Some(State::Declined { .. } | State::Abandoned { .. } | State::VoidRequested(_) | State::Voided(_)) => {
                Decision::nothing()
            }
        }
    }

    /// The acquirer answered.
    fn answered(&self, state: Option<&State>, effect: &Effect, outcome: &Outcome) -> Result<Decision<Event>, Refusal> {
        let order_id = self.order_id;
        match (outcome, state, effect) {
            (Outcome::Authorised { authorisation_id: id }, Some(now), Effect::Authorise(Authorise { amount, currency, .. })) => {
                let hold = Hold { authorisation_id: id.clone(), amount: *amount, currency: currency.clone() };
                match now {
                    State::Requested { .. } => Ok(Decision::events([self.authorised(hold)])),
                    // Nobody needs it any more.
                    State::Abandoned { .. } => Ok(Decision::events([self.authorised(hold.clone()), self.void(&hold)])),
                    State::Authorised(had) | State::VoidRequested(had) | State::Voided(had) if had.authorisation_id == *id => {
                        Ok(Decision::nothing())
                    }
                    other => Err(Refusal::Park(format!("authorisation {id} of order {order_id}, which is {}", other.name()))),
                }
            }
            (Outcome::Authorised { authorisation_id: id }, ..) => {
                Err(Refusal::Park(format!("authorisation {id} of order {order_id}, which never asked for one")))
            }
            (Outcome::Declined { reason }, Some(State::Requested { .. } | State::Abandoned { in_flight: true }), _) => {
                let reason = reason.clone();
                Ok(Decision::event(PaymentDeclined { order_id, reason, declined_at: self.at }))
            }
            (Outcome::Voided, Some(State::VoidRequested(hold)), _) => {
                let Hold { authorisation_id, amount, currency } = hold.clone();
                Ok(Decision::event(PaymentVoided { order_id, authorisation_id, amount, currency, voided_at: self.at }))
            }
            (Outcome::VoidRefused { reason }, Some(State::VoidRequested(hold)), _) => {
                let id = &hold.authorisation_id;
                Err(Refusal::Park(format!("authorisation {id} of order {order_id} can't be voided: {reason}")))
            }
            (Outcome::Declined { .. } | Outcome::Voided | Outcome::VoidRefused { .. }, ..) => Ok(Decision::nothing()),
        }
    }

    fn authorised(&self, hold: Hold) -> Event {
        let Hold { authorisation_id, amount, currency } = hold;
        PaymentAuthorised { order_id: self.order_id, authorisation_id, amount, currency, authorised_at: self.at }.into()
    }

    fn void(&self, hold: &Hold) -> Event {
        let Hold { authorisation_id, amount, currency } = hold.clone();
        VoidRequested { order_id: self.order_id, authorisation_id, amount, currency, requested_at: self.at }.into()
    }
}

fn terms_of(placed: &OrderPlaced) -> PaymentTerms {
    PaymentTerms { amount: placed.total, currency: placed.currency.clone(), card_token: placed.card_token.clone() }
}
