//! Orders, told as stories.

use farandole::testing::{Story, Tell, committed, state_table};
use schemas::inventory::MissingLine;
use schemas::orders::OrderLine;

use super::*;

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
    Basket { customer: "anna".into(), card_token: "tok_1".into(), currency: "EUR".into(), lines: vec![line] }
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
    Event::from(OrderConfirmed { order_id: ID, confirmed_at: NOW })
}
fn rejected(reason: RejectionReason, detail: &str, skus: &[&str]) -> Event {
    let skus = skus.iter().map(|s| (*s).to_owned()).collect();
    Event::from(OrderRejected { order_id: ID, reason, detail: detail.into(), skus, rejected_at: NOW })
}
fn cancelled(reason: CancellationReason) -> Event {
    Event::from(OrderCancelled { order_id: ID, reason, cancelled_at: NOW })
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
    let event = PaymentAuthorised { order_id: ID, authorisation_id, amount: 500, currency: "EUR".into(), authorised_at: 1 };
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
    for settled in [confirmed(), rejected(RejectionReason::OutOfStock, "", &[]), cancelled(CancellationReason::CustomerRequest)] {
        for late in [authorised(), declined(), deadline(), short_of(&[true])] {
            given([placed(), settled.clone()]).when(late).nothing().tasks([]);
        }
    }
}

#[test]
fn until_shipping_exists_a_confirmed_order_can_be_cancelled() {
    given([placed(), confirmed()]).when(cancel()).then([cancelled(CancellationReason::CustomerRequest)]);
    given([placed(), rejected(RejectionReason::OutOfStock, "", &[])]).when(cancel()).refused("order-rejected");
    given([]).when(cancel()).refused("not-found");
}

#[test]
fn the_history_names_every_event_with_its_time() {
    let story = given([placed(), confirmed(), cancelled(CancellationReason::CustomerRequest)]);
    let history = &story.tables.orders.get(&ID).unwrap().history;
    let seen: Vec<_> = history.iter().map(|h| (h.kind.as_str(), h.at.micros())).collect();
    assert_eq!(seen, [("OrderPlaced", PLACED_AT), ("OrderConfirmed", NOW), ("OrderCancelled", NOW)]);
}

#[test]
fn every_state_answers_every_input() {
    let states = [
        ("none", vec![]),
        ("placed", vec![placed()]),
        ("confirmed", vec![placed(), confirmed()]),
        ("rejected", vec![placed(), rejected(RejectionReason::OutOfStock, "", &[])]),
        ("cancelled", vec![placed(), cancelled(CancellationReason::CustomerRequest)]),
    ];
    let short = || short_of(&[true]);
    let inputs: [(&str, Tell<'_, Orders>); 6] = [
        ("StockShort", &|story| story.when(short())),
        ("PaymentAuthorised", &|story| story.when(authorised())),
        ("PaymentDeclined", &|story| story.when(declined())),
        ("deadline `confirm`", &|story| story.when(deadline())),
        ("command Cancel", &|story| story.when(cancel())),
        // Each makes an order of its own.
        ("command Place", &|story| story.when(place())),
    ];
    committed(concat!(env!("CARGO_MANIFEST_DIR"), "/STATES.md"), &state_table(story, &states, &inputs));
}
