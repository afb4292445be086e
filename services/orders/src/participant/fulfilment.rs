//! What becomes of a confirmed order: its parcel, its money, and whether it can still be cancelled.

use farandole::{Answer, Decision, Problem, Refusal};
use schemas::orders::{
    CancellationReason, OrderCancellationRequested, OrderCancelled, OrderCompleted, OrderProgressed, OrderStep,
};
use serde_json::json;
use uuid::Uuid;

use crate::messages::{Event, Heard};
use crate::tables::{Cancellation, Fulfilment, Money, Parcel};

/// The customer wants it no more. Shipping decides, for only it knows whether the parcel is still in the house.
pub fn cancel(order_id: Uuid, now: &Fulfilment, at: i64) -> Result<Decision<Event>, Refusal> {
    match now.cancellation {
        Cancellation::None if now.may_be_cancelled() => Ok(asked(order_id, CancellationReason::CustomerRequest, at)),
        Cancellation::Requested(_) => Ok(Decision::answered(Answer::accepted(is_asked(order_id)))),
        Cancellation::None | Cancellation::Refused => Err(too_late(order_id)),
    }
}

/// Shipping or payments has spoken. The two are heard in any order, so the parcel's loss may come after the refund that it led to.
pub fn heard(order_id: Uuid, now: &Fulfilment, heard: &Heard, at: i64) -> Decision<Event> {
    let is_under_way = !matches!(now.parcel, Parcel::Delivered | Parcel::Lost);
    let plain = |step| (step, None, None);
    let (step, tracking, until) = match heard {
        Heard::ShipmentPrepared(e) if now.parcel == Parcel::Awaited => (OrderStep::Prepared, None, Some(e.dispatch_at)),
        Heard::ShipmentDispatched(e) if now.is_in_the_house() => {
            (OrderStep::Dispatched, Some(e.tracking.clone()), Some(e.deliver_by))
        }
        Heard::ShipmentDelivered(_) if is_under_way => plain(OrderStep::Delivered),
        Heard::ShipmentLost(_) if is_under_way => plain(OrderStep::Lost),
        Heard::CancellationRefused(_) if matches!(now.cancellation, Cancellation::Requested(_)) => {
            plain(OrderStep::CancellationRefused)
        }
        Heard::PaymentCaptured(_) if now.money == Money::Held => plain(OrderStep::Captured),
        Heard::PaymentWrittenOff(_) if now.money == Money::Held => plain(OrderStep::Unpaid),
        Heard::PaymentRefunded(_) if now.money == Money::Captured => plain(OrderStep::Refunded),
        Heard::ShipmentFailed(_) if now.is_in_the_house() => return cancelled(order_id, CancellationReason::ShipmentFailed, at),
        Heard::ShipmentCancelled(_) if now.is_in_the_house() => {
            let reason = match now.cancellation {
                Cancellation::Requested(reason) => reason,
                Cancellation::None | Cancellation::Refused => CancellationReason::Other,
            };
            return cancelled(order_id, reason, at);
        }
        // Nothing is held any more; goods that are still here stay here.
        Heard::AuthorisationExpired(_) if now.may_be_cancelled() => {
            return asked(order_id, CancellationReason::AuthorisationExpired, at);
        }
        // Late, repeated, or about what is settled.
        Heard::StockShort(_)
        | Heard::PaymentAuthorised(_)
        | Heard::PaymentDeclined(_)
        | Heard::AuthorisationExpired(_)
        | Heard::PaymentCaptured(_)
        | Heard::PaymentWrittenOff(_)
        | Heard::PaymentRefunded(_)
        | Heard::ShipmentPrepared(_)
        | Heard::ShipmentDispatched(_)
        | Heard::ShipmentDelivered(_)
        | Heard::ShipmentLost(_)
        | Heard::ShipmentFailed(_)
        | Heard::ShipmentCancelled(_)
        | Heard::CancellationRefused(_) => return Decision::nothing(),
    };
    let mut after = now.clone();
    after.advance(step, None, None);
    let progressed = OrderProgressed { order_id, step, tracking, until, progressed_at: at };
    match after.ending() {
        Some(how) => Decision::events([Event::from(progressed), OrderCompleted { order_id, how, completed_at: at }.into()]),
        None => Decision::event(progressed),
    }
}

/// A cancellation that comes when the goods have left.
pub fn too_late(order_id: Uuid) -> Refusal {
    let detail = format!("the dispatch of order {order_id} has begun; it can't be cancelled any more");
    Problem::conflict("too-late", detail).into()
}

/// What the caller hears while shipping decides.
pub fn is_asked(order_id: Uuid) -> serde_json::Value {
    json!({ "order_id": order_id, "state": "confirmed", "cancellation": "requested" })
}

fn asked(order_id: Uuid, reason: CancellationReason, at: i64) -> Decision<Event> {
    Decision::event(OrderCancellationRequested { order_id, reason, requested_at: at })
}

fn cancelled(order_id: Uuid, reason: CancellationReason, at: i64) -> Decision<Event> {
    Decision::event(OrderCancelled { order_id, reason, cancelled_at: at })
}
