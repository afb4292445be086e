//! What customers are told, when, and what operators can do about it.

use farandole::testing::{Story, Tell, committed, state_table};
use farandole::{Task, rows};
use schemas::orders::{CancellationReason, OrderCancelled, OrderConfirmed, OrderRejected, RejectionReason};
use schemas::payments::PaymentRefunded;
use schemas::shipping::{ShipmentDelivered, ShipmentDispatched};

use super::*;
use crate::kinds::{ALL, SendConfirmed, SendTaken};
use crate::tables::Notification;

const ID: Uuid = Uuid::from_u128(7);
const DAY: Duration = Duration::from_secs(24 * 60 * 60);
const DAY_MICROS: i64 = 86_400_000_000;

fn story() -> Story<Notifications> {
    Story::new(Notifications { give_up_after: DAY }, ID, rows![Tables; notifications: Notification[ID]])
}
fn given(events: impl IntoIterator<Item = Event>) -> Story<Notifications> {
    story().given(events)
}

fn order_placed() -> Heard {
    let lines = vec![OrderLine { sku: "tea".into(), quantity: 2, unit_price: 250 }];
    let (customer, currency, card_token) = ("anna".into(), "EUR".into(), "tok_1".into());
    OrderPlaced { order_id: ID, customer, currency, total: 500, lines, card_token, placed_at: 0, confirm_by: 9 }.into()
}
fn order_confirmed() -> Heard {
    OrderConfirmed { order_id: ID, customer: "anna".into(), confirmed_at: 0 }.into()
}
fn order_rejected() -> Heard {
    let (reason, detail, skus) = (RejectionReason::CardDeclined, "lost_card".into(), Vec::new());
    OrderRejected { order_id: ID, reason, detail, skus, rejected_at: 0 }.into()
}
fn order_cancelled() -> Heard {
    OrderCancelled { order_id: ID, reason: CancellationReason::CustomerRequest, cancelled_at: 0 }.into()
}
fn shipment_dispatched() -> Heard {
    ShipmentDispatched { order_id: ID, tracking: "PX-1".into(), deliver_by: 9, dispatched_at: 0 }.into()
}
fn shipment_delivered() -> Heard {
    ShipmentDelivered { order_id: ID, tracking: "PX-1".into(), delivered_at: 0 }.into()
}
fn payment_refunded() -> Heard {
    let (authorisation_id, currency) = ("a-1".into(), "EUR".into());
    PaymentRefunded { order_id: ID, authorisation_id, amount: 500, currency, refunded_at: 0 }.into()
}

fn mail(kind: Kind, attempt: i32, detail: &str) -> Mail {
    let lines = vec![NotificationLine { sku: "tea".into(), quantity: 2, unit_price: 250 }];
    let (customer, currency, detail) = ("anna".into(), "EUR".into(), detail.into());
    Mail { order_id: ID, kind, attempt, customer, currency, total: 500, lines, detail }
}
fn requested(kind: Kind, attempt: i32, detail: &str) -> Event {
    let Mail { order_id, kind, attempt, customer, currency, total, lines, detail } = mail(kind, attempt, detail);
    let (requested_at, send_by) = (0, DAY_MICROS);
    let e = NotificationRequested { order_id, kind, attempt, customer, currency, total, lines, detail, requested_at, send_by };
    e.into()
}
fn taken() -> Event {
    requested(Kind::Taken, 1, "")
}
fn confirmed() -> Event {
    requested(Kind::Confirmed, 1, "")
}
fn expected(kind: Kind, detail: &str) -> Event {
    NotificationExpected { order_id: ID, kind, detail: detail.into(), expected_at: 0 }.into()
}
fn sent(kind: Kind) -> Event {
    NotificationSent { order_id: ID, kind, message_id: "<m-1>".into(), sent_at: 0 }.into()
}
fn failed(kind: Kind, reason: &str) -> Event {
    NotificationFailed { order_id: ID, kind, reason: reason.into(), failed_at: 0 }.into()
}
fn late(kind: Kind) -> Event {
    failed(kind, "no mail server had taken it by 1970-01-01T00:00:00.000000Z")
}

fn is_sent() -> Outcome {
    Outcome::Sent { message_id: "<m-1>".into() }
}
fn is_refused() -> Outcome {
    Outcome::Refused { reason: "550 no such user".into() }
}
fn outcome(effect: impl Into<Effect>, outcome: Outcome) -> Body<Notifications> {
    Body::Outcome { effect: effect.into(), outcome }
}

#[test]
fn each_event_tells_the_customer_once() {
    let table = [
        (order_confirmed(), Kind::Confirmed, ""),
        (order_rejected(), Kind::Rejected, "Your card was declined"),
        (order_cancelled(), Kind::Cancelled, "You asked us to cancel it"),
        (shipment_dispatched(), Kind::Dispatched, "PX-1"),
        (shipment_delivered(), Kind::Delivered, "PX-1"),
        (payment_refunded(), Kind::Refunded, "€5.00"),
    ];
    let mut story = given([]);
    let by = Timestamp::from_micros(DAY_MICROS);
    let opened = [Task::effect(SendTaken(mail(Kind::Taken, 1, ""))), Task::deadline(Deadline::GiveUpTaken, by)];
    story.hears(order_placed()).then([taken()]).tasks(opened);
    story.hears(order_placed()).nothing();
    // All of them are under way at once, and none stands in another's way.
    for (heard, kind, detail) in table {
        story.hears(heard.clone()).then([requested(kind, 1, detail)]);
        story.hears(heard).nothing();
    }
    assert_eq!(story.tables.notifications.get(&ID).unwrap().mails.len(), ALL.len());
    story.answered::<SendConfirmed>(is_sent()).then([sent(Kind::Confirmed)]);
    story.due(Deadline::GiveUpTaken).then([late(Kind::Taken)]);
    story.hears(order_confirmed()).nothing();
}

/// Guard: shipping and payments may be read before orders. Without, the mail has no customer, or there is none at all; and were it parked,
/// the order would wait behind it for ever.
#[test]
fn what_comes_before_the_order_is_sent_with_it() {
    let mut story = given([]);
    story.hears(shipment_dispatched()).then([expected(Kind::Dispatched, "PX-1")]).tasks([]);
    story.hears(shipment_dispatched()).nothing();
    story.hears(payment_refunded()).then([expected(Kind::Refunded, "€5.00")]);
    story.asked(Command::Retry(Kind::Refunded)).refused("order-unknown");
    let all = [taken(), requested(Kind::Dispatched, 1, "PX-1"), requested(Kind::Refunded, 1, "€5.00")];
    let told = story.hears(order_placed());
    told.then(all);
    assert_eq!(told.tasks.iter().filter(|task| task.opens()).count(), 6, "an effect and a deadline each");
    story.hears(order_placed()).nothing();
    story.hears(shipment_dispatched()).nothing();
    story.hears(shipment_delivered()).then([requested(Kind::Delivered, 1, "PX-1")]);
}

#[test]
fn sent_or_refused_it_is_done_with() {
    let closed = || [Task::close_effect::<SendTaken>(), Task::close(Deadline::GiveUpTaken)];
    given([taken()]).answered::<SendTaken>(is_sent()).then([sent(Kind::Taken)]).tasks(closed());
    let mut story = given([taken()]);
    story.answered::<SendTaken>(is_refused()).then([failed(Kind::Taken, "550 no such user")]).tasks(closed());
    story.when(Body::Deadline(Deadline::GiveUpTaken)).nothing();
    story.when(outcome(SendTaken(mail(Kind::Taken, 1, "")), is_refused())).nothing();
    assert!(story.tables.notifications.get(&ID).unwrap().failed);
}

#[test]
fn a_mail_that_was_given_up_and_is_sent_all_the_same_counts_as_sent() {
    let mut story = given([taken()]);
    story.due(Deadline::GiveUpTaken).then([late(Kind::Taken)]);
    story.answered::<SendTaken>(is_sent()).then([sent(Kind::Taken)]);
    assert!(!story.tables.notifications.get(&ID).unwrap().failed);
    story.asked(Command::Retry(Kind::Taken)).refused("already-sent");
}

#[test]
fn an_operator_has_a_failed_mail_tried_again() {
    let mut story = given([taken(), failed(Kind::Taken, "550 no such user")]);
    story.asked(Command::Retry(Kind::Confirmed)).refused("not-found");
    let again = requested(Kind::Taken, 2, "");
    let by = Timestamp::from_micros(DAY_MICROS);
    let opened = [Task::effect(SendTaken(mail(Kind::Taken, 2, ""))), Task::deadline(Deadline::GiveUpTaken, by)];
    story.asked(Command::Retry(Kind::Taken)).then([again]).tasks(opened);
    let told = story.asked(Command::Retry(Kind::Taken));
    assert_eq!(told.decided.unwrap().answer.unwrap().status(), 200, "it is being tried already");
    assert!(!story.tables.notifications.get(&ID).unwrap().failed);

    // The first attempt, given up but under way, is answered after all. Its refusal says nothing of the second.
    let first = || SendTaken(mail(Kind::Taken, 1, ""));
    story.when(outcome(first(), is_refused())).nothing();
    story.when(outcome(first(), is_sent())).then([sent(Kind::Taken)]);
    story.when(outcome(SendTaken(mail(Kind::Taken, 2, "")), is_refused())).nothing();
    given([]).asked(Command::Retry(Kind::Taken)).refused("not-found");
}

#[test]
fn a_kind_of_a_newer_build_is_left_to_it() {
    let mut story = given([taken(), requested(Kind::Other, 1, "")]);
    assert!(Notifications { give_up_after: DAY }.follow_up(&requested(Kind::Other, 1, "")).is_empty());
    story.hears(order_confirmed()).then([confirmed()]);
}

#[test]
fn every_state_answers_every_input() {
    let after = |more: &[Event]| [taken()].iter().chain(more).cloned().collect::<Vec<_>>();
    let states = [
        ("none", vec![]),
        ("dispatched expected", vec![expected(Kind::Dispatched, "PX-1")]),
        ("taken requested", vec![taken()]),
        ("taken sent", after(&[sent(Kind::Taken)])),
        ("taken failed", after(&[late(Kind::Taken)])),
        ("taken requested again", after(&[late(Kind::Taken), requested(Kind::Taken, 2, "")])),
        ("taken, confirmed requested", after(&[confirmed()])),
        ("taken requested, confirmed sent", after(&[confirmed(), sent(Kind::Confirmed)])),
        ("taken sent, confirmed failed", after(&[sent(Kind::Taken), confirmed(), late(Kind::Confirmed)])),
    ];
    let first = || SendTaken(mail(Kind::Taken, 1, ""));
    let confirms = || SendConfirmed(mail(Kind::Confirmed, 1, ""));
    let inputs: [(&str, Tell<'_, Notifications>); 15] = [
        ("OrderPlaced", &|story| story.hears(order_placed())),
        ("OrderConfirmed", &|story| story.hears(order_confirmed())),
        ("OrderRejected", &|story| story.hears(order_rejected())),
        ("OrderCancelled", &|story| story.hears(order_cancelled())),
        ("ShipmentDispatched", &|story| story.hears(shipment_dispatched())),
        ("ShipmentDelivered", &|story| story.hears(shipment_delivered())),
        ("PaymentRefunded", &|story| story.hears(payment_refunded())),
        ("outcome of taken: sent", &|story| story.when(outcome(first(), is_sent()))),
        ("outcome of taken: refused", &|story| story.when(outcome(first(), is_refused()))),
        ("outcome of confirmed: sent", &|story| story.when(outcome(confirms(), is_sent()))),
        ("outcome of confirmed: refused", &|story| story.when(outcome(confirms(), is_refused()))),
        ("deadline `give_up_taken`", &|story| story.when(Body::Deadline(Deadline::GiveUpTaken))),
        ("deadline `give_up_confirmed`", &|story| story.when(Body::Deadline(Deadline::GiveUpConfirmed))),
        ("command Retry taken", &|story| story.asked(Command::Retry(Kind::Taken))),
        ("command Retry confirmed", &|story| story.asked(Command::Retry(Kind::Confirmed))),
    ];
    committed(concat!(env!("CARGO_MANIFEST_DIR"), "/STATES.md"), &state_table(story, &states, &inputs));
}
