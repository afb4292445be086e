//! Worlds that begin with a confirmed order: its parcel, its money, and a customer who wants it no more.
//!
//! They begin in the middle, and what has happened is known to all: from the placing on, each would be too large to be explored whole.

use farandole_check::{Ask, World};
use inventory::{Id, Inventory};
use orders::{Command, Orders};
use payments::{Outcome, Payments};
use schemas::inventory::{StockLine, StockReceived, StockReserved};
use schemas::orders::{OrderConfirmed, OrderPlaced, OrderProgressed, OrderStep};
use schemas::payments::{CaptureRequested, PaymentAuthorised, PaymentCaptured, PaymentRequested};
use schemas::shipping::{DispatchStarted, ShipmentDispatched, ShipmentPrepared};
use shipping::{Fate, Report, Shipping};

use crate::like::Like;
use crate::shop::{ORDERS, TEA, basket, is_at, orders, payments, shipping};
use crate::{cases, invariants};

/// The order.
pub(crate) const ORDER: uuid::Uuid = ORDERS[0];
/// What is due then never comes.
const END: i64 = farandole::Timestamp::MAX.micros();
const HOLD: &str = "a-1";
const TRACKING: &str = "t-1";
/// Seconds from the beginning of a world, in microseconds.
const SECOND: i64 = 1_000_000;

/// Orders, payments and shipping as they run.
pub type Three = (Orders, Payments, Shipping);

/// As they run.
pub fn three() -> Three {
    (orders(), payments(), shipping())
}

/// As they run, with a shipping that doesn't ask the carrier for ever.
pub fn impatient() -> Three {
    let patience = std::time::Duration::from_secs(100);
    (orders(), payments(), Shipping { book_within: patience, track_within: patience, ..shipping() })
}

pub(crate) fn placed() -> [orders::Event; 2] {
    let basket = basket(&[(TEA, 2)]);
    let placed = OrderPlaced {
        order_id: ORDER,
        customer: basket.customer.clone(),
        currency: basket.currency,
        total: 500,
        lines: basket.lines,
        card_token: basket.card_token,
        placed_at: 0,
        confirm_by: 60 * SECOND,
    };
    [placed.into(), OrderConfirmed { order_id: ORDER, customer: basket.customer, confirmed_at: 0 }.into()]
}

pub(crate) fn progressed(step: OrderStep) -> orders::Event {
    let tracking = (step == OrderStep::Dispatched).then(|| TRACKING.to_owned());
    OrderProgressed { order_id: ORDER, step, tracking, until: None, progressed_at: 0 }.into()
}

fn held(expires_at: Option<i64>) -> payments::Event {
    let (authorisation_id, currency) = (HOLD.to_owned(), "EUR".to_owned());
    PaymentAuthorised { order_id: ORDER, authorisation_id, amount: 500, currency, expires_at, authorised_at: 0 }.into()
}

fn taking() -> payments::Event {
    let (authorisation_id, currency) = (HOLD.to_owned(), "EUR".to_owned());
    let write_off_by = 3_600 * SECOND;
    CaptureRequested { order_id: ORDER, authorisation_id, amount: 500, currency, write_off_by, requested_at: 0 }.into()
}

fn taken() -> payments::Event {
    let (authorisation_id, currency) = (HOLD.to_owned(), "EUR".to_owned());
    PaymentCaptured { order_id: ORDER, authorisation_id, amount: 500, currency, captured_at: 0 }.into()
}

fn prepared(dispatch_at: i64) -> shipping::Event {
    ShipmentPrepared { order_id: ORDER, recipient: "anna".to_owned(), dispatch_at, prepared_at: 0 }.into()
}

pub(crate) fn sent() -> [shipping::Event; 3] {
    let (recipient, tracking) = ("anna".to_owned(), TRACKING.to_owned());
    let started = DispatchStarted { order_id: ORDER, recipient, book_by: END, started_at: 0 };
    let dispatched = ShipmentDispatched { order_id: ORDER, tracking, deliver_by: 100 * SECOND, dispatched_at: 0 };
    // The deadline has fired, so the world is without it: this one never does.
    [prepared(END), started.into(), dispatched.into()]
}

fn booked() -> shipping::Outcome {
    shipping::Outcome::Booked { tracking: TRACKING.to_owned() }
}

fn refused(reason: &str) -> Outcome {
    Outcome::CaptureRefused { reason: reason.to_owned() }
}

/// The three, with what has to hold of them.
fn world<O: Like<Orders>, P: Like<Payments>, S: Like<Shipping>>(name: &str, (o, p, s): (O, P, S)) -> World {
    let world = World::new(name).participant(o).participant(p).participant(s).already_heard().losses(0, 0);
    let world = cases::shipping::<S>(cases::payments::<P>(cases::orders::<O>(world)));
    invariants::fulfilling::<O, P, S>(world).call(ORDER, "the order")
}

/// The same with a carrier that books, and knows when asked that it has delivered; money is taken, held no more, given back.
fn fair<O: Like<Orders>, P: Like<Payments>, S: Like<Shipping>>(name: &str, who: (O, P, S)) -> World {
    world(name, who).outside::<P>(money).outside::<S>(|effect| match effect {
        shipping::Effect::Book(_) => vec![booked()],
        shipping::Effect::Track(_) => vec![shipping::Outcome::Ended(Fate::Delivered)],
        shipping::Effect::Recall(_) => vec![shipping::Outcome::Ended(Fate::Recalled), shipping::Outcome::Unknown],
    })
}

fn money(effect: &payments::Effect) -> Vec<Outcome> {
    match effect {
        payments::Effect::Authorise(_) => vec![Outcome::Authorised { authorisation_id: HOLD.to_owned() }],
        payments::Effect::Void(_) => vec![Outcome::Voided],
        payments::Effect::Capture(_) => vec![Outcome::Captured],
        payments::Effect::Refund(_) => vec![Outcome::Refunded],
    }
}

fn report<S: Like<Shipping>>(label: &str, fate: Fate) -> Ask<S> {
    Ask::once(label, ORDER, move || Report { tracking: TRACKING.to_owned(), fate })
}

/// A customer cancels while the parcel may be leaving, which the carrier may refuse to take.
pub fn cancelled_or_dispatched<O: Like<Orders>, P: Like<Payments>, S: Like<Shipping>>(who: (O, P, S)) -> World {
    fair("a cancellation races the dispatch", who)
        .given::<O>(ORDER, placed().into_iter().chain([progressed(OrderStep::Prepared)]))
        .given::<P>(ORDER, [held(None)])
        .given::<S>(ORDER, [prepared(10 * SECOND)])
        .command::<O>(Ask::once("cancel it", ORDER, || Command::Cancel))
        .outside::<S>(|effect| match effect {
            shipping::Effect::Book(_) => vec![booked(), shipping::Outcome::Refused { reason: "address_refused".to_owned() }],
            shipping::Effect::Track(_) => vec![shipping::Outcome::Ended(Fate::Delivered)],
            shipping::Effect::Recall(_) => Vec::new(),
        })
        .sometimes("it is cancelled", |s| is_at(s, "cancelled"))
        .sometimes("it is delivered and paid", |s| is_at(s, "completed"))
}

/// The carrier reports what it has booked before it has answered that it has.
pub fn report_before_the_answer<O: Like<Orders>, P: Like<Payments>, S: Like<Shipping>>(who: (O, P, S)) -> World {
    fair("a report comes before the booking's answer", who)
        .given::<O>(ORDER, placed().into_iter().chain([progressed(OrderStep::Prepared)]))
        .given::<P>(ORDER, [held(None)])
        .given::<S>(ORDER, sent().into_iter().take(2))
        .command::<S>(report("report it delivered", Fate::Delivered).repeated(1))
        .losses(0, 1)
        .sometimes("it is delivered and paid", |s| is_at(s, "completed"))
}

/// The parcel is reported lost, and delivered, in any order, while the money is being taken.
pub fn lost_parcel<O: Like<Orders>, P: Like<Payments>, S: Like<Shipping>>(who: (O, P, S)) -> World {
    fair("a parcel is lost while the money is taken", who)
        .given::<O>(ORDER, placed().into_iter().chain([progressed(OrderStep::Dispatched)]))
        .given::<P>(ORDER, [taking()])
        .given::<S>(ORDER, sent())
        .command::<S>(report("report it lost", Fate::Lost))
        .command::<S>(report("report it delivered", Fate::Delivered))
        .outside::<P>(|effect| match effect {
            payments::Effect::Capture(_) => vec![Outcome::Captured, refused("voided")],
            other => money(other),
        })
        .sometimes("the money is given back", |s| s.rows::<payments::tables::Payment>().any(|p| p.state.name() == "refunded"))
}

/// The carrier may book without our hearing of it in time, and may not say where a parcel is.
pub fn silent_carrier<O: Like<Orders>, P: Like<Payments>, S: Like<Shipping>>(who: (O, P, S)) -> World {
    let by = 100 * SECOND;
    let [prepared, _, _] = sent();
    let started = DispatchStarted { order_id: ORDER, recipient: "anna".to_owned(), book_by: by, started_at: 0 };
    fair("the carrier doesn't answer in time", who)
        .given::<O>(ORDER, placed().into_iter().chain([progressed(OrderStep::Prepared)]))
        .given::<P>(ORDER, [held(None)])
        .given::<S>(ORDER, [prepared, started.into()])
        .sometimes("it is cancelled", |s| is_at(s, "cancelled"))
        .sometimes("it is delivered and paid", |s| is_at(s, "completed"))
        .sometimes("it is called back after it was booked", |s| {
            s.events::<S>().any(|e| matches!(e, shipping::Event::RecallRequested(e) if e.tracking.is_some()))
        })
}

/// Nobody answers when asked for the money, or too late.
pub fn silent_capture<O: Like<Orders>, P: Like<Payments>, S: Like<Shipping>>(who: (O, P, S)) -> World {
    fair("the money can't be taken for days", who)
        .given::<O>(ORDER, placed().into_iter().chain([progressed(OrderStep::Dispatched)]))
        .given::<P>(ORDER, [taking()])
        .given::<S>(ORDER, sent())
        .outside::<S>(|_| vec![shipping::Outcome::Ended(Fate::Delivered), shipping::Outcome::UnderWay])
        .sometimes("it ends unpaid", |s| {
            s.events::<O>()
                .any(|event| matches!(event, orders::Event::OrderCompleted(e) if e.how == schemas::orders::Completion::Unpaid))
        })
}

/// The same, and no answer ever comes.
pub fn no_capture<O: Like<Orders>, P: Like<Payments>, S: Like<Shipping>>(who: (O, P, S)) -> World {
    silent_capture(who).outside::<P>(|_| Vec::new()).without("at most one capture and one refund an order at the acquirer")
}

/// The acquirer refuses to give the money back: an operator has to see it.
pub fn refused_refund<O: Like<Orders>, P: Like<Payments>, S: Like<Shipping>>(who: (O, P, S)) -> World {
    fair("a refund is refused", who)
        .given::<O>(ORDER, placed().into_iter().chain([OrderStep::Dispatched, OrderStep::Captured].map(progressed)))
        .given::<P>(ORDER, [taken()])
        .given::<S>(ORDER, sent())
        .command::<S>(report("report it lost", Fate::Lost).repeated(1))
        .outside::<P>(|effect| match effect {
            payments::Effect::Refund(_) => {
                vec![Outcome::Refunded, Outcome::RefundRefused { reason: "refund_exceeds_captured".to_owned() }]
            }
            other => money(other),
        })
        // What was captured before the world began stands in no book.
        .without("who was delivered has paid, and who lost has the money back")
        .without("every order has ended")
        .without("every payment has ended")
        .may_stay_parked()
        .at_end("who is told of a refund has it", |s| {
            let told = s.events::<P>().any(|event| matches!(event, payments::Event::PaymentRefunded(_)));
            !told || s.done::<P>().any(|(_, outcome)| *outcome == Outcome::Refunded)
        })
}

/// The hold ends before the parcel leaves, or while it does.
pub fn expiring_hold<O: Like<Orders>, P: Like<Payments>, S: Like<Shipping>>(who: (O, P, S)) -> World {
    fair("a hold runs out", who)
        .given::<O>(ORDER, placed().into_iter().chain([progressed(OrderStep::Prepared)]))
        .given::<P>(ORDER, [held(Some(10 * SECOND))])
        .given::<S>(ORDER, [prepared(10 * SECOND)])
        .outside::<P>(|effect| match effect {
            payments::Effect::Capture(_) => vec![Outcome::Captured, refused("expired")],
            payments::Effect::Void(_) => vec![Outcome::Voided, Outcome::VoidRefused { reason: "expired".to_owned() }],
            other => money(other),
        })
        .sometimes("it is cancelled", |s| is_at(s, "cancelled"))
        .sometimes("it is delivered", |s| is_at(s, "completed"))
}

/// Payments and an acquirer that answers whatever it likes, beside orders that may be cancelled.
pub fn wrong_acquirer<O: Like<Orders>, P: Like<Payments>>((o, p): (O, P)) -> World {
    let void_refused = |reason: &str| Outcome::VoidRefused { reason: reason.to_owned() };
    let requested = PaymentRequested {
        order_id: ORDER,
        amount: 500,
        currency: "EUR".to_owned(),
        card_token: "tok_1".to_owned(),
        requested_at: 0,
    };
    let world = World::new("an acquirer that does everything wrong").participant(o).participant(p).already_heard();
    cases::payments::<P>(cases::orders::<O>(world))
        .call(ORDER, "the order")
        .given::<O>(ORDER, placed().into_iter().take(1))
        .given::<P>(ORDER, [requested.into()])
        .command::<O>(Ask::once("cancel it", ORDER, || Command::Cancel))
        .outside::<P>(move |effect| match effect {
            payments::Effect::Authorise(_) => {
                let held = |id: &str| Outcome::Authorised { authorisation_id: id.to_owned() };
                vec![held(HOLD), held("a-2"), Outcome::Declined { reason: "lost_card".to_owned() }, Outcome::Voided]
            }
            payments::Effect::Void(_) => {
                vec![
                    Outcome::Voided,
                    void_refused("captured"),
                    void_refused("expired"),
                    void_refused("declined"),
                    Outcome::Refunded,
                ]
            }
            payments::Effect::Refund(_) => {
                vec![Outcome::Refunded, Outcome::RefundRefused { reason: "not_captured".to_owned() }, refused("captured")]
            }
            payments::Effect::Capture(_) => vec![Outcome::Captured],
        })
        .ends_with("farandole.orders.OrderConfirmed")
        .ends_with("farandole.orders.OrderCancellationRequested")
        .may_stay_parked()
        .always("what is refunded was captured", |s| {
            let has = |is: fn(&payments::Event) -> bool| s.events::<P>().any(is);
            !has(|event| matches!(event, payments::Event::RefundRequested(_)))
                || has(|event| matches!(event, payments::Event::PaymentCaptured(_)))
        })
        .sometimes("what couldn't be voided is given back", |s| {
            s.rows::<payments::tables::Payment>().any(|payment| payment.state.name() == "refunded")
        })
}

/// Orders, inventory and shipping: counts are put right while goods are set aside, leave, or come back.
pub fn adjusted<O: Like<Orders>, I: Like<Inventory>, S: Like<Shipping>>((o, i, s): (O, I, S)) -> World {
    let tea = Id::Article(TEA.to_owned());
    let received = StockReceived { receipt_id: uuid::Uuid::from_u128(9), sku: TEA.to_owned(), quantity: 3, received_at: 0 };
    let lines = vec![StockLine { sku: TEA.to_owned(), quantity: 2 }];
    let adjust = |label: &str, quantity| {
        let about = Id::Article(TEA.to_owned());
        Ask::once(label, about, move || inventory::Command::Adjust { quantity, reason: "counted".to_owned() })
    };
    let world = World::new("counts are put right").participant(o).participant(i).participant(s).already_heard().losses(0, 0);
    let world = cases::shipping::<S>(cases::inventory::<I>(cases::orders::<O>(world)));
    invariants::stock(world)
        .call(ORDER, "the order")
        .given::<O>(ORDER, placed().into_iter().chain([progressed(OrderStep::Prepared)]))
        .given::<I>(tea, [received.into()])
        .given::<I>(Id::Order(ORDER), [StockReserved { order_id: ORDER, lines, reserved_at: 0 }.into()])
        .given::<S>(ORDER, [prepared(10 * SECOND)])
        .command::<I>(adjust("take away 2", -2))
        .command::<I>(adjust("take away 1", -1).repeated(1))
        .command::<O>(Ask::once("cancel it", ORDER, || Command::Cancel))
        .outside::<S>(|effect| match effect {
            shipping::Effect::Book(_) => vec![booked(), shipping::Outcome::Refused { reason: "address_refused".to_owned() }],
            shipping::Effect::Track(_) => vec![shipping::Outcome::Ended(Fate::Delivered)],
            shipping::Effect::Recall(_) => Vec::new(),
        })
        .ends_with("farandole.inventory.StockReserved")
        .ends_with("farandole.shipping.ShipmentLost")
        .at_end("what has left is out of the books, and what hasn't is in them", |s| {
            let left = s.events::<S>().any(|event| matches!(event, shipping::Event::ShipmentDispatched(_)));
            let cancelled = is_at(s, "cancelled");
            s.rows::<inventory::tables::Stock>()
                .all(|stock| (stock.shipped == 2) == left && (stock.reserved == 0) == (left || cancelled))
        })
        .sometimes("goods leave", |s| s.rows::<inventory::tables::Stock>().any(|stock| stock.shipped > 0))
        .sometimes("goods come back", |s| is_at(s, "cancelled"))
}
