//! The shop as it really ran.

use std::time::Duration;

use farandole_check::{Recording, World};
use inventory::Inventory;
use notifications::Notifications;
use orders::basket::Basket;
use orders::{Command, Orders};
use payments::{Outcome, Payments};
use shipping::{Fate, Report, Shipping};

use crate::{cases, invariants};

/// The shop of this run: which command, and which answer of the outside world, led to events. Within which time things were due, the events
/// say themselves.
pub fn ran(run: &Recording) -> World {
    let between = |service: &str, kind: &str, to: &str, from: &str| {
        let such = run.events.get(service).into_iter().flatten().filter(|event| event.kind.ends_with(kind));
        let span = such.filter_map(|event| Some(event.value[to].as_i64()? - event.value[from].as_i64()?)).next();
        Duration::from_micros(span.and_then(|micros| u64::try_from(micros).ok()).unwrap_or(0))
    };
    let orders = Orders { confirm_within: between("orders", ".OrderPlaced", "confirm_by", "placed_at") };
    let payments = Payments {
        hold_for: between("payments", ".PaymentAuthorised", "expires_at", "authorised_at"),
        write_off_after: between("payments", ".CaptureRequested", "write_off_by", "requested_at"),
    };
    let shipping = Shipping {
        dispatch_after: between("shipping", ".ShipmentPrepared", "dispatch_at", "prepared_at"),
        book_within: between("shipping", ".DispatchStarted", "book_by", "started_at"),
        track_within: between("shipping", ".TrackingRequested", "answer_by", "requested_at"),
        deliver_within: between("shipping", ".ShipmentDispatched", "deliver_by", "dispatched_at"),
    };
    let world =
        World::new("the shop as it ran").participant(orders).participant(Inventory).participant(payments).participant(shipping);
    // Nobody waits for notifications, so they may take no part.
    let give_up_after = between("notifications", ".NotificationRequested", "send_by", "requested_at");
    let world = match run.events.contains_key("notifications") {
        true => telling(world.participant(Notifications { give_up_after })),
        false => world,
    };
    let world = cases::payments::<Payments>(cases::inventory::<Inventory>(cases::orders::<Orders>(world)));
    let world = invariants::placing::<Orders, Inventory, Payments>(cases::shipping::<Shipping>(world));
    invariants::fulfilling::<Orders, Payments, Shipping>(world)
        .asked_by::<Orders>(|events| match events {
            [orders::Event::OrderPlaced(e)] => Some(Command::Place(Basket {
                customer: e.customer.clone(),
                card_token: e.card_token.clone(),
                currency: e.currency.clone(),
                lines: e.lines.clone(),
                stale: Vec::new(),
            })),
            [orders::Event::OrderCancelled(_) | orders::Event::OrderCancellationRequested(_)] => Some(Command::Cancel),
            _ => None,
        })
        .asked_by::<Inventory>(|events| match events {
            [inventory::Event::StockReceived(e)] => Some(inventory::Command::Receive { quantity: e.quantity }),
            [inventory::Event::StockAdjusted(e)] => {
                Some(inventory::Command::Adjust { quantity: e.quantity, reason: e.reason.clone() })
            }
            _ => None,
        })
        .asked_by::<Shipping>(|events| {
            let (tracking, fate) = match events.last()? {
                shipping::Event::ShipmentDelivered(e) => (&e.tracking, Fate::Delivered),
                shipping::Event::ShipmentFound(e) => (&e.tracking, Fate::Delivered),
                shipping::Event::ShipmentLost(e) if e.reason == "recalled" => (&e.tracking, Fate::Recalled),
                shipping::Event::ShipmentLost(e) => (&e.tracking, Fate::Lost),
                // Whatever was reported of it.
                shipping::Event::RecallRequested(e) => (e.tracking.as_ref()?, Fate::Delivered),
                _ => return None,
            };
            Some(Report { tracking: tracking.clone(), fate })
        })
        .answered_by::<Payments>(|effect, events| match events.first()? {
            payments::Event::PaymentAuthorised(e) => Some(Outcome::Authorised { authorisation_id: e.authorisation_id.clone() }),
            payments::Event::PaymentDeclined(e) => Some(Outcome::Declined { reason: e.reason.clone() }),
            payments::Event::PaymentVoided(_) => Some(Outcome::Voided),
            payments::Event::AuthorisationExpired(_) => Some(Outcome::VoidRefused { reason: "expired".to_owned() }),
            payments::Event::PaymentCaptured(_) => Some(match effect {
                payments::Effect::Void(_) => Outcome::VoidRefused { reason: "captured".to_owned() },
                _ => Outcome::Captured,
            }),
            payments::Event::CaptureFailed(e) => Some(Outcome::CaptureRefused { reason: e.reason.clone() }),
            payments::Event::PaymentRefunded(_) => Some(Outcome::Refunded),
            _ => None,
        })
        .answered_by::<Shipping>(|_, events| match events.last()? {
            shipping::Event::ShipmentDispatched(e) => Some(shipping::Outcome::Booked { tracking: e.tracking.clone() }),
            shipping::Event::ShipmentFailed(e) => Some(shipping::Outcome::Refused { reason: e.reason.clone() }),
            shipping::Event::ShipmentDelivered(_) | shipping::Event::ShipmentFound(_) => {
                Some(shipping::Outcome::Ended(Fate::Delivered))
            }
            shipping::Event::ShipmentLost(e) => Some(match e.reason.as_str() {
                "recalled" => shipping::Outcome::Ended(Fate::Recalled),
                "not delivered in time" => shipping::Outcome::UnderWay,
                "unknown to the carrier" => shipping::Outcome::Unknown,
                _ => shipping::Outcome::Ended(Fate::Lost),
            }),
            shipping::Event::RecallRequested(e) => Some(shipping::Outcome::Booked { tracking: e.tracking.clone()? }),
            shipping::Event::RecallEnded(e) => {
                Some(Fate::named(&e.how).map_or(shipping::Outcome::Unknown, shipping::Outcome::Ended))
            }
            _ => None,
        })
}

/// What operators asked of notifications, and what the mail server said.
fn telling(world: World) -> World {
    world
        .asked_by::<Notifications>(|events| match events {
            [notifications::Event::NotificationRequested(e)] => Some(notifications::Command::Retry(e.kind)),
            _ => None,
        })
        .answered_by::<Notifications>(|_, events| match events.first()? {
            notifications::Event::NotificationSent(e) => {
                Some(notifications::kinds::Outcome::Sent { message_id: e.message_id.clone() })
            }
            notifications::Event::NotificationFailed(e) => {
                Some(notifications::kinds::Outcome::Refused { reason: e.reason.clone() })
            }
            _ => None,
        })
}
