//! What is decided about one order at one moment.

use std::time::Duration;

use farandole::{Decision, Refusal, Timestamp};
use schemas::payments::{
    AuthorisationExpired, CaptureFailed, CaptureRequested, PaymentAbandoned, PaymentAuthorised, PaymentCaptured, PaymentDeclined,
    PaymentExpected, PaymentRefunded, PaymentRequested, PaymentTerms, PaymentVoided, PaymentWrittenOff, RefundExpected,
    RefundRequested, Seen, VoidRequested,
};
use uuid::Uuid;

use super::asked::{Authorise, Effect, Outcome};
use crate::messages::Event;
use crate::tables::{Hold, State};

/// The acquirer's code of what can't be voided or captured since it is captured.
const CAPTURED: &str = "captured";
/// Its code of a hold that has ended by itself.
const EXPIRED: &str = "expired";

type Decided = Result<Decision<Event>, Refusal>;

/// One order at one moment.
pub(super) struct Case {
    pub order_id: Uuid,
    pub at: Timestamp,
    pub hold_for: Duration,
    pub write_off_after: Duration,
}

impl Case {
    pub fn expected(&self, seen: Seen, terms: Option<PaymentTerms>) -> Decision<Event> {
        Decision::event(PaymentExpected { order_id: self.order_id, seen, terms, expected_at: self.now() })
    }

    pub fn requested(&self, terms: PaymentTerms) -> Decision<Event> {
        let PaymentTerms { amount, currency, card_token } = terms;
        Decision::event(PaymentRequested { order_id: self.order_id, amount, currency, card_token, requested_at: self.now() })
    }

    /// The order ended without its parcel leaving. Remembered even when nothing was known of it, so that a late reservation starts nothing.
    pub fn ended(&self, state: Option<&State>, reason: &str) -> Decided {
        Ok(match state {
            None | Some(State::AwaitingStock { .. } | State::AwaitingOrder | State::Requested { .. }) => {
                let reason = reason.to_owned();
                Decision::event(PaymentAbandoned { order_id: self.order_id, reason, abandoned_at: self.now() })
            }
            Some(State::Authorised(hold)) => Decision::events([self.void(hold)]),
            Some(
                State::Declined { .. }
                | State::Abandoned { .. }
                | State::Expired(_)
                | State::VoidRequested(_)
                | State::Voided(_)
                | State::RefundRequested(_)
                | State::Refunded(_),
            ) => Decision::nothing(),
            Some(State::CaptureRequested { .. } | State::Captured(_) | State::WrittenOff { .. }) => {
                return Err(self.park(&format!("{reason} after its parcel left"), state));
            }
        })
    }

    /// The parcel has left: the money is due. An expired hold is asked for, too; it is the acquirer that says no.
    pub fn dispatched(&self, state: Option<&State>) -> Decided {
        match state {
            Some(State::Authorised(hold) | State::Expired(hold)) => Ok(Decision::events([self.capture(hold)])),
            Some(
                State::CaptureRequested { .. }
                | State::Captured(_)
                | State::WrittenOff { .. }
                | State::RefundRequested(_)
                | State::Refunded(_),
            ) => Ok(Decision::nothing()),
            _ => Err(self.park("its parcel left", state)),
        }
    }

    /// The parcel is lost: what was taken is given back, or what is being taken will be.
    pub fn lost(&self, state: Option<&State>) -> Decided {
        match state {
            Some(State::Captured(hold)) => Ok(Decision::events([self.refund(hold)])),
            Some(State::CaptureRequested { hold, refund_expected: false }) => {
                let (order_id, authorisation_id) = (self.order_id, hold.authorisation_id.clone());
                Ok(Decision::event(RefundExpected { order_id, authorisation_id, expected_at: self.now() }))
            }
            // Shipping tells of the dispatch first, on the same topic.
            Some(State::Authorised(_) | State::Expired(_)) => Err(self.park("its parcel is lost and never left", state)),
            _ => Ok(Decision::nothing()),
        }
    }

    /// The hold's time is over.
    pub fn expire(&self, state: Option<&State>) -> Decision<Event> {
        match state {
            Some(State::Authorised(hold)) => Decision::events([self.expired(hold)]),
            _ => Decision::nothing(),
        }
    }

    /// The money wasn't taken in time. The acquirer may still answer.
    pub fn write_off(&self, state: Option<&State>) -> Decision<Event> {
        match state {
            Some(State::CaptureRequested { hold, .. }) => Decision::events([self.written_off(hold, true)]),
            _ => Decision::nothing(),
        }
    }

    /// The acquirer answered.
    pub fn answered(&self, state: Option<&State>, effect: &Effect, outcome: &Outcome) -> Decided {
        match (outcome, effect) {
            (Outcome::Authorised { authorisation_id: id }, Effect::Authorise(asked)) => self.is_authorised(state, asked, id),
            (Outcome::Authorised { authorisation_id: id }, _) => {
                Err(self.park(&format!("authorisation {id} wasn't asked for"), state))
            }
            (Outcome::Declined { reason }, _) => Ok(self.is_declined(state, reason)),
            (Outcome::Voided | Outcome::VoidRefused { .. }, _) => self.is_voided(state, outcome),
            (Outcome::Captured | Outcome::CaptureRefused { .. }, _) => self.is_captured(state, outcome),
            (Outcome::Refunded | Outcome::RefundRefused { .. }, _) => self.is_refunded(state, outcome),
        }
    }

    fn is_authorised(&self, state: Option<&State>, asked: &Authorise, id: &str) -> Decided {
        let hold = Hold { authorisation_id: id.to_owned(), amount: asked.amount, currency: asked.currency.clone() };
        match state {
            Some(State::Requested { .. }) => Ok(Decision::events([self.authorised(&hold)])),
            // Nobody needs it any more.
            Some(State::Abandoned { .. }) => Ok(Decision::events([self.authorised(&hold), self.void(&hold)])),
            Some(now) if now.hold().is_some_and(|had| had.authorisation_id == id) => Ok(Decision::nothing()),
            _ => Err(self.park(&format!("authorisation {id} is one too many"), state)),
        }
    }

    fn is_declined(&self, state: Option<&State>, reason: &str) -> Decision<Event> {
        match state {
            Some(State::Requested { .. } | State::Abandoned { in_flight: true }) => {
                let (order_id, reason) = (self.order_id, reason.to_owned());
                Decision::event(PaymentDeclined { order_id, reason, declined_at: self.now() })
            }
            _ => Decision::nothing(),
        }
    }

    fn is_voided(&self, state: Option<&State>, outcome: &Outcome) -> Decided {
        let Some(State::VoidRequested(hold) | State::WrittenOff { hold, .. }) = state else { return Ok(Decision::nothing()) };
        match outcome {
            // Nothing of an order that ended, or was given up, is kept.
            Outcome::VoidRefused { reason } if reason == CAPTURED => {
                Ok(Decision::events([self.captured(hold), self.refund(hold)]))
            }
            Outcome::VoidRefused { reason } if reason == EXPIRED => Ok(Decision::events([self.expired(hold)])),
            Outcome::VoidRefused { reason } => Err(self.refused(hold, "voided", reason)),
            _ => {
                let Hold { authorisation_id, amount, currency } = hold.clone();
                let (order_id, voided_at) = (self.order_id, self.now());
                Ok(Decision::event(PaymentVoided { order_id, authorisation_id, amount, currency, voided_at }))
            }
        }
    }

    fn is_captured(&self, state: Option<&State>, outcome: &Outcome) -> Decided {
        match (outcome, state) {
            (Outcome::CaptureRefused { reason }, Some(State::CaptureRequested { hold, .. } | State::WrittenOff { hold, .. }))
                if reason == CAPTURED =>
            {
                // Another amount was taken, by hand: neither unpaid nor paid.
                Err(self.refused(hold, "captured whole", reason))
            }
            (Outcome::CaptureRefused { reason }, Some(State::CaptureRequested { hold, .. })) => {
                Ok(Decision::events([self.capture_failed(hold, reason), self.written_off(hold, false)]))
            }
            (Outcome::CaptureRefused { reason }, Some(State::WrittenOff { hold, in_flight: true })) => {
                Ok(Decision::events([self.capture_failed(hold, reason)]))
            }
            (Outcome::CaptureRefused { .. }, _) => Ok(Decision::nothing()),
            (_, Some(State::CaptureRequested { hold, refund_expected: false })) => Ok(Decision::events([self.captured(hold)])),
            // The parcel is lost, or the order has ended as unpaid: what comes late is given back.
            (_, Some(State::CaptureRequested { hold, refund_expected: true } | State::WrittenOff { hold, .. })) => {
                Ok(Decision::events([self.captured(hold), self.refund(hold)]))
            }
            (_, Some(State::Captured(_) | State::RefundRequested(_) | State::Refunded(_))) => Ok(Decision::nothing()),
            _ => Err(self.park("captured unasked", state)),
        }
    }

    fn is_refunded(&self, state: Option<&State>, outcome: &Outcome) -> Decided {
        let Some(State::RefundRequested(hold)) = state else { return Ok(Decision::nothing()) };
        if let Outcome::RefundRefused { reason } = outcome {
            return Err(self.refused(hold, "refunded", reason));
        }
        let Hold { authorisation_id, amount, currency } = hold.clone();
        let (order_id, refunded_at) = (self.order_id, self.now());
        Ok(Decision::event(PaymentRefunded { order_id, authorisation_id, amount, currency, refunded_at }))
    }

    pub fn authorised(&self, hold: &Hold) -> Event {
        let Hold { authorisation_id, amount, currency } = hold.clone();
        let (order_id, hold_for) = (self.order_id, self.hold_for);
        let expires_at = (!hold_for.is_zero()).then(|| self.at.plus(hold_for).micros());
        PaymentAuthorised { order_id, authorisation_id, amount, currency, expires_at, authorised_at: self.now() }.into()
    }

    pub fn void(&self, hold: &Hold) -> Event {
        let Hold { authorisation_id, amount, currency } = hold.clone();
        VoidRequested { order_id: self.order_id, authorisation_id, amount, currency, requested_at: self.now() }.into()
    }

    pub fn expired(&self, hold: &Hold) -> Event {
        let Hold { authorisation_id, amount, currency } = hold.clone();
        AuthorisationExpired { order_id: self.order_id, authorisation_id, amount, currency, expired_at: self.now() }.into()
    }

    pub fn capture(&self, hold: &Hold) -> Event {
        let Hold { authorisation_id, amount, currency } = hold.clone();
        let (order_id, write_off_by) = (self.order_id, self.at.plus(self.write_off_after).micros());
        CaptureRequested { order_id, authorisation_id, amount, currency, write_off_by, requested_at: self.now() }.into()
    }

    pub fn captured(&self, hold: &Hold) -> Event {
        let Hold { authorisation_id, amount, currency } = hold.clone();
        PaymentCaptured { order_id: self.order_id, authorisation_id, amount, currency, captured_at: self.now() }.into()
    }

    pub fn capture_failed(&self, hold: &Hold, reason: &str) -> Event {
        let (authorisation_id, reason) = (hold.authorisation_id.clone(), reason.to_owned());
        CaptureFailed { order_id: self.order_id, authorisation_id, reason, failed_at: self.now() }.into()
    }

    pub fn written_off(&self, hold: &Hold, in_flight: bool) -> Event {
        let Hold { authorisation_id, amount, currency } = hold.clone();
        let (order_id, written_off_at) = (self.order_id, self.now());
        PaymentWrittenOff { order_id, authorisation_id, amount, currency, in_flight, written_off_at }.into()
    }

    pub fn refund(&self, hold: &Hold) -> Event {
        let Hold { authorisation_id, amount, currency } = hold.clone();
        RefundRequested { order_id: self.order_id, authorisation_id, amount, currency, requested_at: self.now() }.into()
    }

    fn now(&self) -> i64 {
        self.at.micros()
    }

    /// What doesn't go with the payment's state: an operator has to see it.
    fn park(&self, what: &str, state: Option<&State>) -> Refusal {
        let state = state.map_or("unknown", State::name);
        Refusal::Park(format!("order {}: {what}, and its payment is {state}", self.order_id))
    }

    fn refused(&self, hold: &Hold, done: &str, reason: &str) -> Refusal {
        Refusal::Park(format!("authorisation {} of order {} can't be {done}: {reason}", hold.authorisation_id, self.order_id))
    }
}
