//! The business of shipping, whole and pure.

#[cfg(test)]
mod tests;

use std::time::Duration;

use farandole::{Answer, Body, Decision, Input, Participant, Problem, Refusal, Task, Tasks, Timestamp};
use schemas::orders::{
    OrderCancellationRequested, OrderCancelled, OrderCompleted, OrderConfirmed, OrderPlaced, OrderProgressed, OrderRejected,
};
use schemas::shipping::{
    CancellationRefused, DispatchStarted, RecallEnded, RecallRequested, ShipmentCancelled, ShipmentDelivered, ShipmentDispatched,
    ShipmentFailed, ShipmentFound, ShipmentLost, ShipmentPrepared, TrackingRequested,
};
use serde_json::json;
use sqlx::types::Json;
use uuid::Uuid;

use crate::carrier::{Book, Effect, Fate, Outcome, Recall, Report, Track};
use crate::tables::{Shipment, State, Tables};

/// How a recall ends when the carrier has no parcel of the order.
const NOTHING_THERE: &str = "none";

/// The participant.
#[derive(Debug, Clone, Copy)]
pub struct Shipping {
    /// How long a parcel waits before it is handed over.
    pub dispatch_after: Duration,
    /// How long the carrier is asked to take a parcel.
    pub book_within: Duration,
    /// How long nothing may be heard of a parcel before the carrier is asked.
    pub deliver_within: Duration,
    /// How long it is asked, before the parcel is taken for lost.
    pub track_within: Duration,
}

farandole::messages! {
    /// What shipping publishes.
    pub enum Event {
        ShipmentPrepared, DispatchStarted, ShipmentDispatched, TrackingRequested, ShipmentDelivered, ShipmentLost, ShipmentFound,
        ShipmentFailed, ShipmentCancelled, CancellationRefused, RecallRequested, RecallEnded,
    }
    ends { DispatchStarted, TrackingRequested, ShipmentFound, RecallRequested, RecallEnded }
}

farandole::messages! {
    /// What shipping subscribes to.
    pub enum Heard { OrderConfirmed, OrderCancellationRequested }
    ignores {
        OrderPlaced, OrderProgressed, OrderCompleted, OrderRejected,
        OrderCancelled, // of a confirmed order it follows what shipping itself published
    }
}

farandole::deadlines! {
    /// When shipping looks again.
    pub enum Deadline {
        /// A parcel is handed over then.
        Dispatch,
        /// A parcel that the carrier hasn't taken by then fails.
        BookBy,
        /// A parcel of which nothing was heard is asked about then.
        Deliver,
        /// A parcel of which the carrier hasn't said anything by then is lost.
        TrackBy,
    }
}

impl Participant for Shipping {
    const NAME: &'static str = "shipping";
    type Id = Uuid; // of the order
    type Event = Event;
    type Heard = Heard;
    type Command = Report;
    type Deadline = Deadline;
    type Effect = Effect;
    type Tables = Tables;

    /// What the carrier says may come late, repeated, in another order, and by two ways: as an answer and as a report.
    fn decide(&self, tables: &Tables, &order_id: &Uuid, input: &Input<Self>) -> Result<Decision<Event>, Refusal> {
        let shipment = tables.shipments.get(&order_id);
        let state = shipment.map(|shipment| &shipment.state.0);
        let case = Case { order_id, at: input.at, deliver_by: input.at.plus(self.deliver_within) };
        let at = input.at.micros();
        match &input.body {
            Body::Heard(Heard::OrderConfirmed(confirmed)) => Ok(match state {
                None => {
                    let dispatch_at = input.at.plus(self.dispatch_after).micros();
                    let recipient = confirmed.customer.clone();
                    Decision::event(ShipmentPrepared { order_id, recipient, dispatch_at, prepared_at: at })
                }
                Some(_) => Decision::nothing(),
            }),
            Body::Heard(Heard::OrderCancellationRequested(_)) => case.to_be_cancelled(state),
            Body::Deadline(Deadline::Dispatch) => Ok(match shipment {
                Some(Shipment { recipient, state: Json(State::Prepared { .. }), .. }) => {
                    let book_by = input.at.plus(self.book_within).micros();
                    Decision::event(DispatchStarted { order_id, recipient: recipient.clone(), book_by, started_at: at })
                }
                _ => Decision::nothing(),
            }),
            // The carrier may have the parcel all the same.
            Body::Deadline(Deadline::BookBy) => Ok(match state {
                Some(State::Dispatching) => Decision::events([case.failed("no_answer".to_owned()), case.recall(None)]),
                _ => Decision::nothing(),
            }),
            Body::Deadline(Deadline::Deliver) => Ok(match state {
                Some(State::Dispatched { tracking, .. }) => {
                    let answer_by = input.at.plus(self.track_within).micros();
                    Decision::event(TrackingRequested { order_id, tracking: tracking.clone(), answer_by, requested_at: at })
                }
                _ => Decision::nothing(),
            }),
            Body::Deadline(Deadline::TrackBy) => Ok(match state {
                Some(State::Tracking { tracking }) => Decision::events([case.lost(tracking, "no answer from the carrier")]),
                _ => Decision::nothing(),
            }),
            Body::Outcome { effect, outcome } => case.answered(state, effect, outcome),
            Body::Command(report) => case.reported(state, report),
        }
    }

    fn evolve(&self, tables: &mut Tables, event: &Event) {
        let (order_id, state) = match event {
            Event::ShipmentPrepared(e) => {
                let state = Json(State::Prepared { dispatch_at: Timestamp::from_micros(e.dispatch_at) });
                return tables.shipments.put(Shipment { order_id: e.order_id, recipient: e.recipient.clone(), state });
            }
            Event::DispatchStarted(e) => (e.order_id, State::Dispatching),
            Event::ShipmentDispatched(e) => {
                let deliver_by = Timestamp::from_micros(e.deliver_by);
                (e.order_id, State::Dispatched { tracking: e.tracking.clone(), deliver_by })
            }
            Event::TrackingRequested(e) => (e.order_id, State::Tracking { tracking: e.tracking.clone() }),
            Event::ShipmentDelivered(e) => (e.order_id, State::Delivered { tracking: e.tracking.clone() }),
            Event::ShipmentLost(e) => (e.order_id, State::Lost { tracking: e.tracking.clone(), reason: e.reason.clone() }),
            Event::ShipmentFound(e) => (e.order_id, State::Found { tracking: e.tracking.clone() }),
            Event::ShipmentFailed(e) => (e.order_id, State::Failed { reason: e.reason.clone() }),
            Event::ShipmentCancelled(e) => (e.order_id, State::Cancelled),
            Event::RecallRequested(e) => (e.order_id, State::Recalling),
            Event::RecallEnded(e) => (e.order_id, State::Recalled { how: e.how.clone() }),
            // The parcel goes its way.
            Event::CancellationRefused(_) => return,
        };
        if let Some(shipment) = tables.shipments.get_mut(&order_id) {
            shipment.state = Json(state);
        }
    }

    fn follow_up(&self, event: &Event) -> Tasks<Self> {
        match event {
            Event::ShipmentPrepared(e) => vec![Task::deadline(Deadline::Dispatch, Timestamp::from_micros(e.dispatch_at))],
            Event::ShipmentCancelled(_) => vec![Task::close(Deadline::Dispatch)],
            Event::DispatchStarted(e) => vec![
                Task::effect(Book { order_id: e.order_id, recipient: e.recipient.clone() }),
                Task::deadline(Deadline::BookBy, Timestamp::from_micros(e.book_by)),
            ],
            // A report may have said so before the booking's answer, which then isn't asked for again.
            Event::ShipmentDispatched(e) => {
                let deliver_by = Timestamp::from_micros(e.deliver_by);
                let deliver = Task::deadline(Deadline::Deliver, deliver_by);
                vec![Task::close_effect::<Book>(), Task::close(Deadline::BookBy), deliver]
            }
            Event::ShipmentFailed(_) => vec![Task::close_effect::<Book>(), Task::close(Deadline::BookBy)],
            Event::RecallRequested(e) => vec![Task::effect(Recall { order_id: e.order_id, tracking: e.tracking.clone() })],
            Event::TrackingRequested(e) => vec![
                Task::effect(Track { tracking: e.tracking.clone() }),
                Task::deadline(Deadline::TrackBy, Timestamp::from_micros(e.answer_by)),
            ],
            // An answer to what was asked before may still come, and decides nothing then.
            Event::ShipmentDelivered(_) | Event::ShipmentLost(_) => {
                vec![Task::close(Deadline::Deliver), Task::close(Deadline::TrackBy), Task::close_effect::<Track>()]
            }
            Event::ShipmentFound(_) | Event::CancellationRefused(_) | Event::RecallEnded(_) => Vec::new(),
        }
    }

    fn answer(&self, events: &[Event]) -> Answer {
        match events.last() {
            Some(Event::ShipmentDelivered(e)) => is_noted(e.order_id, "delivered"),
            Some(Event::ShipmentLost(e)) => is_noted(e.order_id, "lost"),
            Some(Event::ShipmentFound(e)) => is_noted(e.order_id, "found"),
            Some(Event::RecallRequested(e)) => is_noted(e.order_id, "recalling"),
            // No report leads to these.
            Some(
                Event::ShipmentPrepared(_)
                | Event::DispatchStarted(_)
                | Event::ShipmentDispatched(_)
                | Event::TrackingRequested(_)
                | Event::ShipmentFailed(_)
                | Event::ShipmentCancelled(_)
                | Event::CancellationRefused(_)
                | Event::RecallEnded(_),
            )
            | None => Answer::empty(),
        }
    }
}

/// One order at one moment.
struct Case {
    order_id: Uuid,
    at: Timestamp,
    deliver_by: Timestamp,
}

impl Case {
    /// Once the carrier is asked it may have the parcel, so it is too late then.
    fn to_be_cancelled(&self, state: Option<&State>) -> Result<Decision<Event>, Refusal> {
        let (order_id, at) = (self.order_id, self.at.micros());
        match state {
            Some(State::Prepared { .. }) => Ok(Decision::event(ShipmentCancelled { order_id, cancelled_at: at })),
            Some(State::Failed { .. } | State::Cancelled | State::Recalling | State::Recalled { .. }) => Ok(Decision::nothing()),
            Some(_) => Ok(Decision::event(CancellationRefused { order_id, refused_at: at })),
            // The same topic says first that it is confirmed.
            None => Err(Refusal::Park(format!("order {order_id} is to be cancelled, and isn't known here as confirmed"))),
        }
    }

    /// The carrier answered.
    fn answered(&self, state: Option<&State>, effect: &Effect, outcome: &Outcome) -> Result<Decision<Event>, Refusal> {
        let of = |tracking: &String| state.is_some_and(|state| state.tracking() == Some(tracking.as_str()));
        Ok(match (outcome, effect, state) {
            (Outcome::Booked { tracking }, Effect::Book(_), Some(State::Dispatching)) => {
                Decision::events([self.dispatched(tracking)])
            }
            // A report was faster.
            (Outcome::Booked { tracking }, Effect::Book(_), _) if of(tracking) => Decision::nothing(),
            (Outcome::Refused { reason }, Effect::Book(_), Some(State::Dispatching)) => {
                Decision::events([self.failed(reason.clone())])
            }
            (
                Outcome::Refused { .. },
                Effect::Book(_),
                Some(State::Failed { .. } | State::Recalling | State::Recalled { .. }),
            ) => Decision::nothing(),
            // It was given up, and came about all the same. What was looked up before may have missed it.
            (Outcome::Booked { tracking }, Effect::Book(_), Some(State::Recalling | State::Recalled { .. })) => {
                Decision::events([self.recall(Some(tracking))])
            }
            (Outcome::Ended(_) | Outcome::Unknown, Effect::Recall(_), Some(State::Recalling | State::Recalled { .. })) => {
                let how = match outcome {
                    Outcome::Ended(fate) => fate.name(),
                    _ => NOTHING_THERE,
                };
                Decision::event(RecallEnded { order_id: self.order_id, how: how.to_owned(), ended_at: self.at.micros() })
            }
            (Outcome::Ended(fate), Effect::Track(Track { tracking }), Some(state)) if of(tracking) => {
                Decision::events(self.ended(state, tracking, *fate))
            }
            (Outcome::UnderWay | Outcome::Unknown, Effect::Track(Track { tracking }), Some(state)) if of(tracking) => {
                let why = if *outcome == Outcome::Unknown { "unknown to the carrier" } else { "not delivered in time" };
                match state {
                    State::Tracking { .. } => Decision::events([self.lost(tracking, why)]),
                    // A report was faster.
                    _ => Decision::nothing(),
                }
            }
            _ => {
                let (order_id, is) = (self.order_id, state.map_or("unknown here", State::name));
                return Err(Refusal::Park(format!("the carrier answered {outcome:?} about order {order_id}, which is {is}")));
            }
        })
    }

    /// The carrier reported something. One that is already so is no error: reports come again, and overtake each other.
    fn reported(&self, state: Option<&State>, report: &Report) -> Result<Decision<Event>, Refusal> {
        let (order_id, Report { tracking, fate }) = (self.order_id, report);
        let Some(state) = state else {
            return Err(Problem::not_found(format!("nothing is shipped of order {order_id}")).into());
        };
        let events = match state.tracking() {
            Some(known) if known == tracking => self.ended(state, tracking, *fate),
            // The answer to the booking is still to come; this says as much.
            None if *state == State::Dispatching => vec![self.dispatched(tracking), self.reached(tracking, *fate)],
            // It is being called back, or the carrier has said what became of it.
            None if *state == State::Recalling => Vec::new(),
            None if let State::Recalled { how } = state => match how == NOTHING_THERE {
                true => vec![self.recall(Some(tracking))],
                false => Vec::new(),
            },
            _ => {
                let detail = format!("order {order_id} is {}, and has no parcel {tracking}", state.name());
                return Err(Problem::conflict("another-parcel", detail).into());
            }
        };
        Ok(match events.is_empty() {
            true => Decision::answered(is_noted(order_id, state.name())),
            false => Decision::events(events),
        })
    }

    /// What it comes to that this became of a parcel that the carrier has.
    fn ended(&self, state: &State, tracking: &str, fate: Fate) -> Vec<Event> {
        match (state, fate) {
            (State::Dispatched { .. } | State::Tracking { .. }, _) => vec![self.reached(tracking, fate)],
            (State::Lost { .. }, Fate::Delivered) => {
                let (order_id, tracking) = (self.order_id, tracking.to_owned());
                vec![ShipmentFound { order_id, tracking, found_at: self.at.micros() }.into()]
            }
            // Settled.
            _ => Vec::new(),
        }
    }

    fn reached(&self, tracking: &str, fate: Fate) -> Event {
        match fate {
            Fate::Delivered => {
                let (order_id, tracking) = (self.order_id, tracking.to_owned());
                ShipmentDelivered { order_id, tracking, delivered_at: self.at.micros() }.into()
            }
            Fate::Lost => self.lost(tracking, "reported lost"),
            Fate::Recalled => self.lost(tracking, "recalled"),
        }
    }

    fn dispatched(&self, tracking: &str) -> Event {
        let (deliver_by, dispatched_at) = (self.deliver_by.micros(), self.at.micros());
        ShipmentDispatched { order_id: self.order_id, tracking: tracking.to_owned(), deliver_by, dispatched_at }.into()
    }

    fn failed(&self, reason: String) -> Event {
        ShipmentFailed { order_id: self.order_id, reason, failed_at: self.at.micros() }.into()
    }

    fn recall(&self, tracking: Option<&String>) -> Event {
        let (order_id, tracking) = (self.order_id, tracking.cloned());
        RecallRequested { order_id, tracking, requested_at: self.at.micros() }.into()
    }

    fn lost(&self, tracking: &str, reason: &str) -> Event {
        let (tracking, reason) = (tracking.to_owned(), reason.to_owned());
        ShipmentLost { order_id: self.order_id, tracking, reason, lost_at: self.at.micros() }.into()
    }
}

/// What the carrier is told about a report that was taken.
fn is_noted(order_id: Uuid, state: &str) -> Answer {
    Answer::ok(json!({ "order_id": order_id, "state": state }))
}
