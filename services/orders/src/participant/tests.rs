//! Orders, told as stories.

use farandole::testing::{Story, Tell, committed, state_table};
use schemas::inventory::MissingLine;
use schemas::orders::{Completion, OrderLine, OrderStep};

use super::*;
use crate::prices::StalePrice;
use schemas::orders::{OrderCancellationRequested, OrderCompleted, OrderProgressed};
use schemas::payments::{
    AuthorisationExpired, PaymentAuthorised, PaymentCaptured, PaymentDeclined, PaymentRefunded, PaymentWrittenOff,
};
use schemas::shipping::{
    CancellationRefused, ShipmentCancelled, ShipmentDelivered, ShipmentDispatched, ShipmentFailed, ShipmentLost, ShipmentPrepared,
};

const ID: Uuid = Uuid::from_u128(7);
const PLACED_AT: i64 = 1_000_000;
const NOW: i64 = 2_000_000;

fn story() -> Story<Orders> {
    let rows = farandole::rows![Tables; orders: Order[ID]];
    let mut story = Story::new(Orders { confirm_within: Duration::from_secs(60) }, ID, rows);
    (story.id, story.at) = (ID, Timestamp::from_micros(NOW));
    story
}

fn given(events: impl IntoIterator<Item = Event>) -> Story<Orders> {
    story().given(events)
}

fn basket() -> Basket {
    let line = OrderLine { sku: "tea".into(), quantity: 2, unit_price: 250 };
    Basket { customer: "anna".into(), card_token: "tok_1".into(), currency: "EUR".into(), lines: vec![line], stale: Vec::new() }
}

fn placed_at(at: i64) -> Event {
    Event::from(OrderPlaced {
        order_id: ID,
        customer: "anna".into(),
        currency: "EUR".into(),
        total: 500,
        lines: basket().lines,
        card_token: "tok_1".into(),
        placed_at: at,
        confirm_by: at + 60_000_000,
    })
}

fn placed() -> Event {
    placed_at(PLACED_AT)
}
fn confirmed() -> Event {
    Event::from(OrderConfirmed { order_id: ID, customer: "anna".into(), confirmed_at: NOW })
}
fn rejected(reason: RejectionReason, detail: &str, skus: &[&str]) -> Event {
    let skus = skus.iter().map(|s| (*s).to_owned()).collect();
    Event::from(OrderRejected { order_id: ID, reason, detail: detail.into(), skus, rejected_at: NOW })
}
fn cancelled(reason: CancellationReason) -> Event {
    Event::from(OrderCancelled { order_id: ID, reason, cancelled_at: NOW })
}

fn asked(reason: CancellationReason) -> Event {
    Event::from(OrderCancellationRequested { order_id: ID, reason, requested_at: NOW })
}
fn step(step: OrderStep) -> Event {
    let (tracking, until) = match step {
        OrderStep::Prepared => (None, Some(NOW + 10)),
        OrderStep::Dispatched => (Some("t-1".to_owned()), Some(NOW + 20)),
        _ => (None, None),
    };
    Event::from(OrderProgressed { order_id: ID, step, tracking, until, progressed_at: NOW })
}
fn completed(how: Completion) -> Event {
    Event::from(OrderCompleted { order_id: ID, how, completed_at: NOW })
}

/// What shipping and payments say, by the step that it is for an order.
fn says(step: OrderStep) -> Body<Orders> {
    let (order_id, tracking, authorisation_id, amount, currency) =
        (ID, "t-1".to_owned(), "a-1".to_owned(), 500, "EUR".to_owned());
    Body::Heard(match step {
        OrderStep::Prepared => {
            ShipmentPrepared { order_id, recipient: "anna".into(), dispatch_at: NOW + 10, prepared_at: 1 }.into()
        }
        OrderStep::Dispatched => ShipmentDispatched { order_id, tracking, deliver_by: NOW + 20, dispatched_at: 1 }.into(),
        OrderStep::Delivered => ShipmentDelivered { order_id, tracking, delivered_at: 1 }.into(),
        OrderStep::Lost => ShipmentLost { order_id, tracking, reason: "reported lost".into(), lost_at: 1 }.into(),
        OrderStep::Captured => PaymentCaptured { order_id, authorisation_id, amount, currency, captured_at: 1 }.into(),
        OrderStep::Unpaid => {
            PaymentWrittenOff { order_id, authorisation_id, amount, currency, in_flight: false, written_off_at: 1 }.into()
        }
        OrderStep::Refunded => PaymentRefunded { order_id, authorisation_id, amount, currency, refunded_at: 1 }.into(),
        OrderStep::CancellationRefused => CancellationRefused { order_id, refused_at: 1 }.into(),
        OrderStep::Other => AuthorisationExpired { order_id, authorisation_id, amount, currency, expired_at: 1 }.into(),
    })
}
fn expired() -> Body<Orders> {
    says(OrderStep::Other)
}
fn shipment_failed() -> Body<Orders> {
    Body::Heard(ShipmentFailed { order_id: ID, reason: "address_refused".into(), failed_at: 1 }.into())
}
fn shipment_cancelled() -> Body<Orders> {
    Body::Heard(ShipmentCancelled { order_id: ID, cancelled_at: 1 }.into())
}

fn place() -> Body<Orders> {
    Body::Command(Command::Place(basket()))
}
fn cancel() -> Body<Orders> {
    Body::Command(Command::Cancel)
}
fn deadline() -> Body<Orders> {
    Body::Deadline(Deadline::Confirm)
}
fn authorised() -> Body<Orders> {
    let authorisation_id = "a-1".into();
    let currency = "EUR".into();
    let event = PaymentAuthorised { order_id: ID, authorisation_id, amount: 500, currency, expires_at: None, authorised_at: 1 };
    Body::Heard(event.into())
}
fn declined() -> Body<Orders> {
    Body::Heard(PaymentDeclined { order_id: ID, reason: "lost_card".into(), declined_at: 1 }.into())
}
fn short_of(known: &[bool]) -> Body<Orders> {
    let line = |(i, known): (usize, &bool)| MissingLine { sku: format!("s{i}"), requested: 2, available: 1, known: *known };
    Body::Heard(StockShort { order_id: ID, missing: known.iter().enumerate().map(line).collect(), decided_at: 1 }.into())
}

#[test]
fn an_order_is_placed_with_its_deadline() {
    let due = Timestamp::from_micros(NOW + 60_000_000);
    given([]).when(place()).then([placed_at(NOW)]).tasks([Task::deadline(Deadline::Confirm, due)]);
    let answer = Orders { confirm_within: Duration::from_secs(60) }.answer(&[placed_at(NOW)]);
    assert_eq!((answer.status(), answer.location), (201, Some(format!("/orders/{ID}"))));
    assert_eq!(answer.body["confirm_by"], "1970-01-01T00:01:02.000000Z");
}

#[test]
fn a_total_above_what_a_card_is_asked_for_names_its_line() {
    let line = OrderLine { sku: "tea".into(), quantity: 3, unit_price: 11_111_111 };
    let body = Body::Command(Command::Place(Basket { lines: vec![line; 4], ..basket() }));
    let told = given([]).when(body);
    told.refused("invalid-request");
    assert!(format!("{:?}", told.decided).contains("lines[3]"));
}

#[test]
fn a_price_that_holds_no_more_is_refused() {
    let stale = StalePrice {
        field: "lines[0].unit_price".into(),
        sku: "tea".into(),
        seen: 250,
        now: Some(275),
        since: Some(Timestamp::from_micros(1)),
    };
    let told = given([]).when(Body::Command(Command::Place(Basket { stale: vec![stale], ..basket() })));
    told.refused("price-changed");
    assert_eq!(serde_json::to_value(basket()).unwrap().get("stale"), None, "it is no part of what was asked");
}

#[test]
fn a_placed_order_is_settled_by_the_first_that_speaks() {
    use {CancellationReason::*, RejectionReason::*};
    let close = || [Task::close(Deadline::Confirm)];
    given([placed()]).when(authorised()).then([confirmed()]).tasks(close());
    given([placed()]).when(declined()).then([rejected(CardDeclined, "lost_card", &[])]).tasks(close());
    given([placed()]).due(Deadline::Confirm).then([cancelled(NotConfirmedInTime)]).tasks(close());
    given([placed()]).when(cancel()).then([cancelled(CustomerRequest)]).tasks(close());
    given([placed()]).when(short_of(&[true])).then([rejected(OutOfStock, "s0: 2 wanted, 1 available", &["s0"])]);
    let words = "s0: 2 wanted, 1 available; s1: unknown";
    given([placed()]).when(short_of(&[true, false])).then([rejected(UnknownSku, words, &["s0", "s1"])]);
}

#[test]
fn a_settled_order_stays_settled() {
    let ends = [
        rejected(RejectionReason::OutOfStock, "", &[]),
        cancelled(CancellationReason::CustomerRequest),
        completed(Completion::Delivered),
    ];
    for settled in ends {
        let late = [authorised(), declined(), deadline(), short_of(&[true]), expired(), shipment_failed(), shipment_cancelled()];
        for late in late.into_iter().chain(STEPS.map(says)) {
            given([placed(), confirmed(), settled.clone()]).when(late).nothing().tasks([]);
        }
    }
}

const STEPS: [OrderStep; 8] = [
    OrderStep::Prepared,
    OrderStep::Dispatched,
    OrderStep::Delivered,
    OrderStep::Lost,
    OrderStep::Captured,
    OrderStep::Unpaid,
    OrderStep::Refunded,
    OrderStep::CancellationRefused,
];

/// Whatever comes first of parcel and money, the order ends with the other.
#[test]
fn it_ends_when_parcel_and_money_are_settled() {
    use OrderStep::*;
    let table = [
        (vec![Prepared, Dispatched, Captured, Delivered], Completion::Delivered),
        (vec![Captured, Dispatched, Delivered], Completion::Delivered),
        (vec![Prepared, Dispatched, Delivered, Captured], Completion::Delivered),
        (vec![Dispatched, Captured, Lost, Refunded], Completion::Refunded),
        // Payments heard of the loss first.
        (vec![Dispatched, Captured, Refunded, Lost], Completion::Refunded),
        (vec![Dispatched, Delivered, Unpaid], Completion::Unpaid),
        (vec![Dispatched, Unpaid, Lost], Completion::Unpaid),
    ];
    for (steps, how) in table {
        let mut story = given([placed(), confirmed()]);
        let (last, before) = steps.split_last().unwrap();
        for one in before {
            story.when(says(*one)).then([step(*one)]);
            story.when(says(*one)).nothing();
        }
        story.when(says(*last)).then([step(*last), completed(how)]);
        story.when(says(*last)).nothing();
    }
}

#[test]
fn what_comes_after_it_was_written_off_changes_nothing() {
    use OrderStep::*;
    let mut story = given([placed(), confirmed(), step(Dispatched), step(Unpaid)]);
    story.when(says(Captured)).nothing();
    story.when(says(Refunded)).nothing();
    story.when(says(Delivered)).then([step(Delivered), completed(Completion::Unpaid)]);
}

#[test]
fn shipping_decides_whether_a_confirmed_order_is_cancelled() {
    use CancellationReason::CustomerRequest;
    let mut story = given([placed(), confirmed(), step(OrderStep::Prepared)]);
    story.when(cancel()).then([asked(CustomerRequest)]).tasks([]);
    story.when(cancel()).nothing();
    story.when(shipment_cancelled()).then([cancelled(CustomerRequest)]);

    let mut story = given([placed(), confirmed(), asked(CustomerRequest)]);
    story.when(says(OrderStep::CancellationRefused)).then([step(OrderStep::CancellationRefused)]);
    story.when(cancel()).refused("too-late");
    story.when(says(OrderStep::CancellationRefused)).nothing();
    given([placed(), confirmed(), step(OrderStep::Dispatched)]).when(cancel()).refused("too-late");
    given([placed(), confirmed(), completed(Completion::Delivered)]).when(cancel()).refused("too-late");
    given([placed(), rejected(RejectionReason::OutOfStock, "", &[])]).when(cancel()).refused("order-rejected");
    given([]).when(cancel()).refused("not-found");
}

#[test]
fn a_hold_that_ran_out_cancels_what_has_not_left() {
    use CancellationReason::AuthorisationExpired;
    let mut story = given([placed(), confirmed(), step(OrderStep::Prepared)]);
    story.when(expired()).then([asked(AuthorisationExpired)]);
    story.when(expired()).nothing();
    story.when(shipment_cancelled()).then([cancelled(AuthorisationExpired)]);
    given([placed(), confirmed(), step(OrderStep::Dispatched)]).when(expired()).nothing();
    let refused = [asked(CancellationReason::CustomerRequest), step(OrderStep::CancellationRefused)];
    given([placed(), confirmed()].into_iter().chain(refused)).when(expired()).nothing();
}

#[test]
fn a_parcel_that_nobody_carries_cancels_the_order() {
    use CancellationReason::{CustomerRequest, ShipmentFailed};
    given([placed(), confirmed()]).when(shipment_failed()).then([cancelled(ShipmentFailed)]);
    given([placed(), confirmed(), asked(CustomerRequest)]).when(shipment_failed()).then([cancelled(ShipmentFailed)]);
}

#[test]
fn the_history_names_every_event_with_its_time() {
    let story = given([placed(), confirmed(), step(OrderStep::Dispatched)]);
    let history = &story.tables.orders.get(&ID).unwrap().history;
    let seen: Vec<_> = history.iter().map(|h| (h.kind.as_str(), h.step, h.at.micros())).collect();
    let dispatched = ("OrderProgressed", Some(OrderStep::Dispatched), NOW);
    assert_eq!(seen, [("OrderPlaced", None, PLACED_AT), ("OrderConfirmed", None, NOW), dispatched]);
}

#[test]
fn every_state_answers_every_input() {
    use CancellationReason::CustomerRequest;
    let after = |more: &[Event]| [placed(), confirmed()].iter().chain(more).cloned().collect::<Vec<_>>();
    // What shipping and payments have said in each.
    let fulfilment: [(&str, &[OrderStep]); 12] = [
        ("confirmed", &[]),
        ("prepared", &[OrderStep::Prepared]),
        ("in the house, captured", &[OrderStep::Captured]),
        ("in the house, unpaid", &[OrderStep::Unpaid]),
        ("in the house, refunded", &[OrderStep::Captured, OrderStep::Refunded]),
        ("dispatched, held", &[OrderStep::Dispatched]),
        ("dispatched, captured", &[OrderStep::Dispatched, OrderStep::Captured]),
        ("dispatched, unpaid", &[OrderStep::Dispatched, OrderStep::Unpaid]),
        ("dispatched, refunded", &[OrderStep::Dispatched, OrderStep::Captured, OrderStep::Refunded]),
        ("delivered, held", &[OrderStep::Dispatched, OrderStep::Delivered]),
        ("lost, held", &[OrderStep::Dispatched, OrderStep::Lost]),
        ("lost, captured", &[OrderStep::Dispatched, OrderStep::Captured, OrderStep::Lost]),
    ];
    let mut named: Vec<(String, Vec<Event>)> = Vec::new();
    for (name, steps) in fulfilment {
        let steps = steps.iter().copied().map(step);
        named.push((name.to_owned(), after(&steps.clone().collect::<Vec<_>>())));
        named.push((format!("{name}, to be cancelled"), after(&steps.chain([asked(CustomerRequest)]).collect::<Vec<_>>())));
    }
    let refused = [asked(CustomerRequest), step(OrderStep::CancellationRefused)];
    named.push(("confirmed, not cancelled".to_owned(), after(&refused)));
    let prepared = [step(OrderStep::Prepared)].into_iter().chain(refused);
    named.push(("prepared, not cancelled".to_owned(), after(&prepared.collect::<Vec<_>>())));
    let mut states = vec![("none", vec![]), ("placed", vec![placed()])];
    states.extend(named.iter().map(|(name, events)| (name.as_str(), events.clone())));
    states.extend([
        ("rejected", vec![placed(), rejected(RejectionReason::OutOfStock, "", &[])]),
        ("cancelled", vec![placed(), cancelled(CustomerRequest)]),
        ("completed", after(&[completed(Completion::Delivered)])),
    ]);
    let short = || short_of(&[true]);
    let inputs: [(&str, Tell<'_, Orders>); 17] = [
        ("StockShort", &|story| story.when(short())),
        ("PaymentAuthorised", &|story| story.when(authorised())),
        ("PaymentDeclined", &|story| story.when(declined())),
        ("AuthorisationExpired", &|story| story.when(expired())),
        ("PaymentCaptured", &|story| story.when(says(OrderStep::Captured))),
        ("PaymentWrittenOff", &|story| story.when(says(OrderStep::Unpaid))),
        ("PaymentRefunded", &|story| story.when(says(OrderStep::Refunded))),
        ("ShipmentPrepared", &|story| story.when(says(OrderStep::Prepared))),
        ("ShipmentDispatched", &|story| story.when(says(OrderStep::Dispatched))),
        ("ShipmentDelivered", &|story| story.when(says(OrderStep::Delivered))),
        ("ShipmentLost", &|story| story.when(says(OrderStep::Lost))),
        ("ShipmentFailed", &|story| story.when(shipment_failed())),
        ("ShipmentCancelled", &|story| story.when(shipment_cancelled())),
        ("CancellationRefused", &|story| story.when(says(OrderStep::CancellationRefused))),
        ("deadline `confirm`", &|story| story.when(deadline())),
        ("command Cancel", &|story| story.when(cancel())),
        // Each makes an order of its own.
        ("command Place", &|story| story.when(place())),
    ];
    committed(concat!(env!("CARGO_MANIFEST_DIR"), "/STATES.md"), &state_table(story, &states, &inputs));
}
