//! Payments, told as stories.

mod money;

use farandole::testing::{Story, Tell, committed, state_table};
use schemas::inventory::{StockReserved, StockShort};
use schemas::orders::{CancellationReason, OrderCancelled, OrderRejected, RejectionReason};
use schemas::payments::{
    PaymentAbandoned, PaymentDeclined, PaymentExpected, PaymentRefunded, PaymentRequested, PaymentVoided, RefundExpected,
};
use schemas::shipping::{ShipmentDispatched, ShipmentLost};

use super::*;

const ID: Uuid = Uuid::from_u128(7);
const HOUR: Duration = Duration::from_secs(60 * 60);
const START: Timestamp = Timestamp::from_micros(0);
const PAYMENTS: Payments = Payments { hold_for: HOUR, write_off_after: Duration::from_secs(60) };

fn given(events: impl IntoIterator<Item = Event>) -> Story<Payments> {
    of(PAYMENTS, events)
}
fn of(payments: Payments, events: impl IntoIterator<Item = Event>) -> Story<Payments> {
    Story::new(payments, ID, farandole::rows![Tables; payments: Payment[ID]]).given(events)
}

fn terms() -> PaymentTerms {
    PaymentTerms { amount: 500, currency: "EUR".into(), card_token: "tok_1".into() }
}
fn hold() -> Hold {
    Hold { authorisation_id: "a-1".into(), amount: 500, currency: "EUR".into() }
}
const NOW: Case = Case { order_id: ID, at: START, hold_for: PAYMENTS.hold_for, write_off_after: PAYMENTS.write_off_after };

fn order_seen() -> Event {
    Event::from(PaymentExpected { order_id: ID, seen: Seen::OrderPlaced, terms: Some(terms()), expected_at: 0 })
}
fn stock_seen() -> Event {
    Event::from(PaymentExpected { order_id: ID, seen: Seen::StockReserved, terms: None, expected_at: 0 })
}
fn requested() -> Event {
    let PaymentTerms { amount, currency, card_token } = terms();
    Event::from(PaymentRequested { order_id: ID, amount, currency, card_token, requested_at: 0 })
}
fn authorised() -> Event {
    NOW.authorised(&hold())
}
fn declined() -> Event {
    Event::from(PaymentDeclined { order_id: ID, reason: "lost_card".into(), declined_at: 0 })
}
fn abandoned(reason: &str) -> Event {
    Event::from(PaymentAbandoned { order_id: ID, reason: reason.into(), abandoned_at: 0 })
}
fn void_requested() -> Event {
    NOW.void(&hold())
}
fn voided() -> Event {
    let Hold { authorisation_id, amount, currency } = hold();
    Event::from(PaymentVoided { order_id: ID, authorisation_id, amount, currency, voided_at: 0 })
}
fn expired() -> Event {
    NOW.expired(&hold())
}
fn capture_requested() -> Event {
    NOW.capture(&hold())
}
fn captured() -> Event {
    NOW.captured(&hold())
}
fn capture_failed(reason: &str) -> Event {
    NOW.capture_failed(&hold(), reason)
}
fn written_off(in_flight: bool) -> Event {
    NOW.written_off(&hold(), in_flight)
}
fn refund_expected() -> Event {
    Event::from(RefundExpected { order_id: ID, authorisation_id: "a-1".into(), expected_at: 0 })
}
fn refund_requested() -> Event {
    NOW.refund(&hold())
}
fn refunded() -> Event {
    let Hold { authorisation_id, amount, currency } = hold();
    Event::from(PaymentRefunded { order_id: ID, authorisation_id, amount, currency, refunded_at: 0 })
}

fn order_placed() -> Body<Payments> {
    Body::Heard(Heard::OrderPlaced(OrderPlaced {
        order_id: ID,
        customer: "anna".into(),
        currency: "EUR".into(),
        total: 500,
        lines: vec![],
        card_token: "tok_1".into(),
        placed_at: 0,
        confirm_by: 1,
    }))
}
fn order_rejected() -> Body<Payments> {
    let (reason, detail) = (RejectionReason::OutOfStock, String::new());
    Body::Heard(OrderRejected { order_id: ID, reason, detail, skus: vec![], rejected_at: 0 }.into())
}
fn order_cancelled() -> Body<Payments> {
    Body::Heard(OrderCancelled { order_id: ID, reason: CancellationReason::CustomerRequest, cancelled_at: 0 }.into())
}
fn stock_reserved() -> Body<Payments> {
    Body::Heard(StockReserved { order_id: ID, lines: vec![], reserved_at: 0 }.into())
}
fn stock_short() -> Body<Payments> {
    Body::Heard(StockShort { order_id: ID, missing: vec![], decided_at: 0 }.into())
}
fn dispatched() -> Body<Payments> {
    let tracking = "t-1".into();
    Body::Heard(ShipmentDispatched { order_id: ID, tracking, deliver_by: 1, dispatched_at: 0 }.into())
}
fn lost() -> Body<Payments> {
    Body::Heard(ShipmentLost { order_id: ID, tracking: "t-1".into(), reason: "lost".into(), lost_at: 0 }.into())
}
fn authorise() -> Authorise {
    let PaymentTerms { amount, currency, card_token } = terms();
    Authorise { order_id: ID, amount, currency, card_token }
}
fn void() -> Void {
    Void { authorisation_id: "a-1".into() }
}
fn capture() -> Capture {
    Capture { authorisation_id: "a-1".into(), amount: 500 }
}
fn refund() -> Refund {
    Refund { authorisation_id: "a-1".into(), amount: 500 }
}
fn outcome(effect: impl Into<Effect>, outcome: Outcome) -> Body<Payments> {
    Body::Outcome { effect: effect.into(), outcome }
}
fn is_authorised() -> Body<Payments> {
    outcome(authorise(), Outcome::Authorised { authorisation_id: "a-1".into() })
}
fn is_authorised_again() -> Body<Payments> {
    outcome(authorise(), Outcome::Authorised { authorisation_id: "a-2".into() })
}
fn is_declined() -> Body<Payments> {
    outcome(authorise(), Outcome::Declined { reason: "lost_card".into() })
}
fn is_voided() -> Body<Payments> {
    outcome(void(), Outcome::Voided)
}
fn is_not_voided(reason: &str) -> Body<Payments> {
    outcome(void(), Outcome::VoidRefused { reason: reason.into() })
}
fn is_captured() -> Body<Payments> {
    outcome(capture(), Outcome::Captured)
}
fn is_not_captured(reason: &str) -> Body<Payments> {
    outcome(capture(), Outcome::CaptureRefused { reason: reason.into() })
}
fn is_refunded() -> Body<Payments> {
    outcome(refund(), Outcome::Refunded)
}
fn is_not_refunded() -> Body<Payments> {
    outcome(refund(), Outcome::RefundRefused { reason: "refund_exceeds_captured".into() })
}

#[test]
fn the_card_is_asked_once_both_are_seen_in_either_order() {
    given([]).when(order_placed()).then([order_seen()]).tasks([]);
    given([]).when(stock_reserved()).then([stock_seen()]).tasks([]);
    given([order_seen()]).when(stock_reserved()).then([requested()]).tasks([Task::effect(authorise())]);
    given([stock_seen()]).when(order_placed()).then([requested()]).tasks([Task::effect(authorise())]);
    given([order_seen()]).when(order_placed()).nothing();
    given([stock_seen()]).when(stock_reserved()).nothing();
}

#[test]
fn stock_that_is_short_before_the_order_is_seen_leaves_nothing_hanging() {
    let mut story = given([]);
    story.when(stock_short()).nothing();
    story.when(order_placed()).then([order_seen()]);
    story.when(order_rejected()).then([abandoned("order rejected")]);
    story.when(stock_reserved()).nothing();
}

#[test]
fn an_ended_order_gets_its_hold_undone() {
    let mut story = given([order_seen(), requested(), authorised()]);
    story.when(order_cancelled()).then([void_requested()]).tasks([Task::close(Deadline::Expire), Task::effect(void())]);
    story.when(order_rejected()).nothing();
    story.answered::<Void>(Outcome::Voided).then([voided()]).tasks([]);
    story.when(is_voided()).nothing();
}

#[test]
fn an_answer_that_comes_after_the_end_is_compensated() {
    let mut story = given([order_seen(), requested()]);
    story.when(order_cancelled()).then([abandoned("order cancelled")]).tasks([Task::close_effect::<Authorise>()]);
    let late = Outcome::Authorised { authorisation_id: "a-1".into() };
    let expires = Task::deadline(Deadline::Expire, START.plus(HOUR));
    let tasks = [expires, Task::close(Deadline::Expire), Task::effect(void())];
    story.answered::<Authorise>(late).then([authorised(), void_requested()]).tasks(tasks);

    let mut story = given([order_seen(), requested(), abandoned("order cancelled")]);
    story.when(is_declined()).then([declined()]);
    assert_eq!(story.tables.payments.get(&ID).unwrap().state.0, State::Abandoned { in_flight: false });
}

#[test]
fn every_state_answers_every_input() {
    let asked = [order_seen(), requested()];
    let after = |more: &[Event]| asked.iter().chain(more).cloned().collect::<Vec<_>>();
    let left = |more: &[Event]| [&after(&[authorised(), capture_requested()]), more].concat();
    let states = [
        ("none", vec![]),
        ("expected, order seen", vec![order_seen()]),
        ("expected, stock seen", vec![stock_seen()]),
        ("requested", after(&[])),
        ("authorised", after(&[authorised()])),
        ("declined", after(&[declined()])),
        ("abandoned", vec![order_seen(), abandoned("order rejected")]),
        ("abandoned in flight", after(&[abandoned("order cancelled")])),
        ("void requested", after(&[authorised(), void_requested()])),
        ("voided", after(&[authorised(), void_requested(), voided()])),
        ("expired", after(&[authorised(), expired()])),
        ("capture requested", left(&[])),
        ("capture requested, refund expected", left(&[refund_expected()])),
        ("captured", left(&[captured()])),
        ("written off", left(&[capture_failed("expired"), written_off(false)])),
        ("written off in flight", left(&[written_off(true)])),
        ("refund requested", left(&[captured(), refund_requested()])),
        ("refunded", left(&[captured(), refund_requested(), refunded()])),
    ];
    let inputs: [(&str, Tell<'_, Payments>); 21] = [
        ("OrderPlaced", &|story| story.when(order_placed())),
        ("StockReserved", &|story| story.when(stock_reserved())),
        ("StockShort", &|story| story.when(stock_short())),
        ("OrderRejected", &|story| story.when(order_rejected())),
        ("OrderCancelled", &|story| story.when(order_cancelled())),
        ("ShipmentDispatched", &|story| story.when(dispatched())),
        ("ShipmentLost", &|story| story.when(lost())),
        ("deadline `expire`", &|story| story.when(Body::Deadline(Deadline::Expire))),
        ("deadline `write_off`", &|story| story.when(Body::Deadline(Deadline::WriteOff))),
        ("outcome authorised", &|story| story.when(is_authorised())),
        ("outcome authorised under a second id", &|story| story.when(is_authorised_again())),
        ("outcome declined", &|story| story.when(is_declined())),
        ("outcome voided", &|story| story.when(is_voided())),
        ("outcome void refused: captured", &|story| story.when(is_not_voided("captured"))),
        ("outcome void refused: expired", &|story| story.when(is_not_voided("expired"))),
        ("outcome void refused: else", &|story| story.when(is_not_voided("not_found"))),
        ("outcome captured", &|story| story.when(is_captured())),
        ("outcome capture refused", &|story| story.when(is_not_captured("expired"))),
        ("outcome capture refused: captured otherwise", &|story| story.when(is_not_captured("captured"))),
        ("outcome refunded", &|story| story.when(is_refunded())),
        ("outcome refund refused", &|story| story.when(is_not_refunded())),
    ];
    // As in the explored worlds: holds don't end by themselves unless an event says so.
    let story = || of(Payments { hold_for: Duration::ZERO, ..PAYMENTS }, []);
    committed(concat!(env!("CARGO_MANIFEST_DIR"), "/STATES.md"), &state_table(story, &states, &inputs));
}
