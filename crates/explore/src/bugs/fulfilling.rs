//! Bugs from the confirmation of an order to its end.

use farandole::{Body, Decision, IdempotencyKey, Participant, Task};
use inventory::Inventory;
use orders::Orders;
use payments::tables::State as Payment;
use payments::{Capture, Heard, Outcome, Payments};
use schemas::inventory::StockAdjusted;
use schemas::orders::{CancellationReason, OrderCancelled};
use schemas::payments::{CaptureRequested, PaymentRefunded, RefundRequested};
use schemas::shipping::{ShipmentCancelled, ShipmentDispatched, ShipmentLost};
use shipping::tables::State as Shipment;
use shipping::{Fate, Shipping};

use crate::bug::Bug;
use crate::changed::Changed;
use crate::fulfilling::{
    adjusted, cancelled_or_dispatched, lost_parcel, no_capture, refused_refund, report_before_the_answer, silent_capture,
    wrong_acquirer,
};
use crate::shop::{orders, payments, shipping};

/// Of a confirmed order.
pub const BUGS: &[Bug] = &[
    Bug {
        name: "a cancellation is granted once the carrier is being asked",
        violates: "unfinished business",
        world: || cancelled_or_dispatched((orders(), payments(), grants_late_cancellations())),
    },
    Bug {
        name: "a confirmed order is cancelled without asking shipping",
        violates: "at most one parcel an order, and none of one that is cancelled",
        world: || cancelled_or_dispatched((cancels_by_itself(), payments(), shipping())),
    },
    Bug {
        name: "that nobody carries the parcel isn't heard",
        violates: "every order has ended",
        world: || cancelled_or_dispatched((ignores_failed_shipments(), payments(), shipping())),
    },
    Bug {
        name: "the hold of an order that is cancelled after it was confirmed isn't undone",
        violates: "what ended without goods holds neither stock nor money",
        world: || cancelled_or_dispatched((orders(), keeps_the_hold(), shipping())),
    },
    Bug {
        name: "a repeated dispatch has the money taken again, under a key of its own",
        violates: "at most one capture and one refund an order at the acquirer",
        world: || cancelled_or_dispatched((orders(), captures_twice(), shipping())).losses(1, 0),
    },
    Bug {
        name: "the booking's answer dispatches what a report has delivered",
        violates: "at most one parcel an order, and none of one that is cancelled",
        world: || report_before_the_answer((orders(), payments(), dispatches_twice())),
    },
    Bug {
        name: "a loss that is heard while the money is taken is forgotten",
        violates: "every order has ended",
        world: || lost_parcel((orders(), forgets_the_loss(), shipping())),
    },
    Bug {
        name: "a late report of a loss undoes a delivery",
        violates: "who was delivered has paid, and who lost has the money back",
        world: || lost_parcel((orders(), payments(), loses_the_delivered())),
    },
    Bug {
        name: "nothing ends the wait for the money",
        violates: "every order has ended",
        world: || no_capture((orders(), waits_for_the_money(), shipping())),
    },
    Bug {
        name: "what is taken after it was written off is kept",
        violates: "who was delivered has paid, and who lost has the money back",
        world: || silent_capture((orders(), keeps_late_captures(), shipping())),
    },
    Bug {
        name: "a parcel that nobody hears of again is waited for, for ever",
        violates: "every order has ended",
        world: || silent_capture((orders(), payments(), waits_for_the_parcel())),
    },
    Bug {
        name: "a refund that was refused is taken for done",
        violates: "who is told of a refund has it",
        world: || refused_refund((orders(), takes_no_for_yes(), shipping())),
    },
    Bug {
        name: "what can't be undone is asked for again, for ever",
        violates: "a cycle without progress",
        world: || wrong_acquirer((orders(), voids_for_ever())),
    },
    Bug {
        name: "what can't be voided is given back, whyever",
        violates: "what is refunded was captured",
        world: || wrong_acquirer((orders(), refunds_whatever())),
    },
    Bug {
        name: "a count is put right below what is set aside",
        violates: "stock adds up",
        world: || adjusted((orders(), adjusts_below(), shipping())),
    },
    Bug {
        name: "goods that leave stay in the books",
        violates: "what has left is out of the books, and what hasn't is in them",
        world: || adjusted((orders(), forgets_what_left(), shipping())),
    },
];

fn grants_late_cancellations() -> Changed<Shipping> {
    Changed::new(shipping()).decide(|shipping, tables, id, input| {
        let state = tables.shipments.get(id).map(|shipment| &*shipment.state);
        match (&input.body, state) {
            (Body::Heard(shipping::Heard::OrderCancellationRequested(_)), Some(Shipment::Dispatching)) => {
                Ok(Decision::event(ShipmentCancelled { order_id: *id, cancelled_at: input.at.micros() }))
            }
            _ => shipping.decide(tables, id, input),
        }
    })
}

fn cancels_by_itself() -> Changed<Orders> {
    Changed::new(orders()).decide(|orders, tables, &id, input| match &input.body {
        Body::Command(orders::Command::Cancel)
            if tables.orders.get(&id).is_some_and(|order| matches!(*order.state, orders::tables::State::Confirmed(_))) =>
        {
            let reason = CancellationReason::CustomerRequest;
            Ok(Decision::event(OrderCancelled { order_id: id, reason, cancelled_at: input.at.micros() }))
        }
        _ => orders.decide(tables, &id, input),
    })
}

fn ignores_failed_shipments() -> Changed<Orders> {
    Changed::new(orders()).decide(|orders, tables, id, input| match &input.body {
        Body::Heard(orders::Heard::ShipmentFailed(_)) => Ok(Decision::nothing()),
        _ => orders.decide(tables, id, input),
    })
}

/// How far the order's payment has come.
fn payment<'a>(tables: &'a payments::tables::Tables, order: &uuid::Uuid) -> Option<&'a Payment> {
    tables.payments.get(order).map(|payment| &*payment.state)
}

fn keeps_the_hold() -> Changed<Payments> {
    Changed::new(payments()).decide(|payments, tables, id, input| match &input.body {
        Body::Heard(Heard::OrderCancelled(_)) => Ok(Decision::nothing()),
        _ => payments.decide(tables, id, input),
    })
}

fn captures_twice() -> Changed<Payments> {
    let twice = Changed::new(payments()).decide(|payments, tables, id, input| match (&input.body, payment(tables, id)) {
        (Body::Heard(Heard::ShipmentDispatched(_)), Some(Payment::CaptureRequested { hold, .. })) => {
            Ok(Decision::event(CaptureRequested {
                order_id: *id,
                authorisation_id: hold.authorisation_id.clone(),
                amount: hold.amount,
                currency: hold.currency.clone(),
                write_off_by: input.at.plus(payments.write_off_after).micros(),
                requested_at: input.at.micros(),
            }))
        }
        _ => payments.decide(tables, id, input),
    });
    twice.idempotency(|_| IdempotencyKey::EachEvent)
}

fn dispatches_twice() -> Changed<Shipping> {
    Changed::new(shipping()).decide(|shipping, tables, id, input| match &input.body {
        Body::Outcome { outcome: shipping::Outcome::Booked { tracking }, .. } => Ok(Decision::event(ShipmentDispatched {
            order_id: *id,
            tracking: tracking.clone(),
            deliver_by: input.at.plus(shipping.deliver_within).micros(),
            dispatched_at: input.at.micros(),
        })),
        _ => shipping.decide(tables, id, input),
    })
}

fn forgets_the_loss() -> Changed<Payments> {
    Changed::new(payments()).decide(|payments, tables, id, input| match (&input.body, payment(tables, id)) {
        (Body::Heard(Heard::ShipmentLost(_)), Some(Payment::CaptureRequested { .. })) => Ok(Decision::nothing()),
        _ => payments.decide(tables, id, input),
    })
}

fn loses_the_delivered() -> Changed<Shipping> {
    Changed::new(shipping()).decide(|shipping, tables, id, input| match &input.body {
        Body::Command(report) if report.fate == Fate::Lost => Ok(Decision::event(ShipmentLost {
            order_id: *id,
            tracking: report.tracking.clone(),
            reason: "reported lost".to_owned(),
            lost_at: input.at.micros(),
        })),
        _ => shipping.decide(tables, id, input),
    })
}

fn waits_for_the_money() -> Changed<Payments> {
    Changed::new(payments()).follow_up(|payments, event| match event {
        payments::Event::CaptureRequested(e) => {
            vec![Task::effect(Capture { authorisation_id: e.authorisation_id.clone(), amount: e.amount })]
        }
        _ => payments.follow_up(event),
    })
}

fn keeps_late_captures() -> Changed<Payments> {
    Changed::new(payments()).decide(|payments, tables, id, input| {
        let is_late = matches!(payment(tables, id), Some(Payment::WrittenOff { .. }));
        let mut decision = payments.decide(tables, id, input)?;
        if is_late {
            decision.events.retain(|event| !matches!(event, payments::Event::RefundRequested(_)));
        }
        Ok(decision)
    })
}

fn waits_for_the_parcel() -> Changed<Shipping> {
    Changed::new(shipping()).follow_up(|shipping, event| match event {
        shipping::Event::ShipmentDispatched(_) => Vec::new(),
        _ => shipping.follow_up(event),
    })
}

fn takes_no_for_yes() -> Changed<Payments> {
    Changed::new(payments()).decide(|payments, tables, id, input| match (&input.body, payment(tables, id)) {
        (Body::Outcome { outcome: Outcome::RefundRefused { .. }, .. }, Some(Payment::RefundRequested(hold))) => {
            Ok(Decision::event(PaymentRefunded {
                order_id: *id,
                authorisation_id: hold.authorisation_id.clone(),
                amount: hold.amount,
                currency: hold.currency.clone(),
                refunded_at: input.at.micros(),
            }))
        }
        _ => payments.decide(tables, id, input),
    })
}

fn voids_for_ever() -> Changed<Payments> {
    Changed::new(payments()).decide(|payments, tables, id, input| match (&input.body, payment(tables, id)) {
        (Body::Outcome { outcome: Outcome::VoidRefused { .. }, .. }, Some(Payment::VoidRequested(hold))) => {
            let (authorisation_id, currency) = (hold.authorisation_id.clone(), hold.currency.clone());
            let requested_at = input.at.micros();
            let again =
                schemas::payments::VoidRequested { order_id: *id, authorisation_id, amount: hold.amount, currency, requested_at };
            Ok(Decision::event(again))
        }
        _ => payments.decide(tables, id, input),
    })
}

fn refunds_whatever() -> Changed<Payments> {
    Changed::new(payments()).decide(|payments, tables, id, input| match (&input.body, payment(tables, id)) {
        (Body::Outcome { outcome: Outcome::VoidRefused { .. }, .. }, Some(Payment::VoidRequested(hold))) => {
            Ok(Decision::event(RefundRequested {
                order_id: *id,
                authorisation_id: hold.authorisation_id.clone(),
                amount: hold.amount,
                currency: hold.currency.clone(),
                requested_at: input.at.micros(),
            }))
        }
        _ => payments.decide(tables, id, input),
    })
}

fn adjusts_below() -> Changed<Inventory> {
    Changed::new(Inventory).decide(|inventory, tables, id, input| match (id, &input.body) {
        (inventory::Id::Article(sku), Body::Command(inventory::Command::Adjust { quantity, reason })) => {
            Ok(Decision::event(StockAdjusted {
                adjustment_id: input.id,
                sku: sku.clone(),
                quantity: *quantity,
                reason: reason.clone(),
                adjusted_at: input.at.micros(),
            }))
        }
        _ => inventory.decide(tables, id, input),
    })
}

fn forgets_what_left() -> Changed<Inventory> {
    Changed::new(Inventory).decide(|inventory, tables, id, input| match &input.body {
        Body::Heard(inventory::Heard::ShipmentDispatched(_)) => Ok(Decision::nothing()),
        _ => inventory.decide(tables, id, input),
    })
}
