//! Who is told, in which order, and what becomes of it.

use farandole::testing::{Story, Tell, committed, state_table};
use farandole::{IdempotencyKey, Task, rows};
use schemas::orders::{
    CancellationReason, Completion, OrderCancellationRequested, OrderCancelled, OrderCompleted, OrderConfirmed, OrderLine,
    OrderPlaced, OrderProgressed, OrderRejected, OrderStep, RejectionReason,
};
use schemas::webhooks::{
    DeliveryDropped, DeliveryFailed, DeliveryQueued, DeliverySucceeded, SubscriptionRegistered, SubscriptionRemoved,
};

use super::*;
use crate::deliver::Outcome;
use crate::message::Message;
use crate::targets::MOST;

const ORDER: Uuid = Uuid::from_u128(7);
const ANNA: Uuid = Uuid::from_u128(1); // of the story's inputs
const BEN: Uuid = Uuid::from_u128(2);

fn story() -> Story<Webhooks> {
    let rows = rows![Tables;
        directory: Directory[SUBSCRIPTIONS.to_owned()],
        subscriptions: Subscription[ANNA], subscriptions: Subscription[BEN],
        queues: Queue[(ORDER, ANNA)], queues: Queue[(ORDER, BEN)],
    ];
    Story::new(Webhooks, Id::Order(ORDER), rows)
}
fn given(events: impl IntoIterator<Item = Event>) -> Story<Webhooks> {
    story().given(events)
}

fn order_placed() -> Heard {
    let lines = vec![OrderLine { sku: "tea".into(), quantity: 2, unit_price: 250 }];
    let (customer, currency, card_token) = ("anna".into(), "EUR".into(), "tok_1".into());
    OrderPlaced { order_id: ORDER, customer, currency, total: 500, lines, card_token, placed_at: 0, confirm_by: 9 }.into()
}
fn order_confirmed() -> Heard {
    OrderConfirmed { order_id: ORDER, customer: "anna".into(), confirmed_at: 1 }.into()
}
fn order_rejected() -> Heard {
    let (reason, detail, skus) = (RejectionReason::CardDeclined, "lost_card".into(), Vec::new());
    OrderRejected { order_id: ORDER, reason, detail, skus, rejected_at: 1 }.into()
}
fn cancellation_requested() -> Heard {
    OrderCancellationRequested { order_id: ORDER, reason: CancellationReason::CustomerRequest, requested_at: 2 }.into()
}
fn order_cancelled() -> Heard {
    OrderCancelled { order_id: ORDER, reason: CancellationReason::CustomerRequest, cancelled_at: 3 }.into()
}
fn order_progressed(step: OrderStep) -> Heard {
    OrderProgressed { order_id: ORDER, step, tracking: None, until: None, progressed_at: 2 }.into()
}
fn order_completed() -> Heard {
    OrderCompleted { order_id: ORDER, how: Completion::Delivered, completed_at: 3 }.into()
}

fn registered_in(subscription_id: Uuid, slot: i32, types: &[&str]) -> Event {
    let types = types.iter().map(|kind| (*kind).to_owned()).collect();
    let (url, secret) = ("https://a.example/".into(), "1.sealed".into());
    SubscriptionRegistered { subscription_id, url, types, secret, slot, registered_at: 0 }.into()
}
fn registered(subscription_id: Uuid, slot: i32) -> Event {
    registered_in(subscription_id, slot, &kinds::ALL)
}
fn removed(subscription_id: Uuid) -> Event {
    SubscriptionRemoved { subscription_id, removed_at: 0 }.into()
}
fn id(heard: &Heard) -> String {
    Message::of(ORDER, heard).unwrap().id
}
fn delivery(to: Uuid, slot: i32, heard: &Heard, attempt: i32) -> Deliver {
    let Message { id: message_id, kind, body, .. } = Message::of(ORDER, heard).unwrap();
    Deliver { order_id: ORDER, subscription_id: to, slot, message_id, kind: kind.into(), body, attempt }
}
fn requested(to: Uuid, slot: i32, heard: &Heard, attempt: i32) -> Event {
    let Deliver { order_id, subscription_id, slot, message_id, kind, body, attempt } = delivery(to, slot, heard, attempt);
    DeliveryRequested { order_id, subscription_id, slot, message_id, kind, body, attempt, requested_at: 0 }.into()
}
fn queued(to: Uuid, slot: i32, heard: &Heard, attempt: i32) -> Event {
    let Deliver { order_id, subscription_id, slot, message_id, kind, body, attempt } = delivery(to, slot, heard, attempt);
    DeliveryQueued { order_id, subscription_id, slot, message_id, kind, body, attempt, queued_at: 0 }.into()
}
fn succeeded(subscription_id: Uuid, heard: &Heard) -> Event {
    DeliverySucceeded { order_id: ORDER, subscription_id, message_id: id(heard), status: 204, delivered_at: 0 }.into()
}
fn failed(subscription_id: Uuid, heard: &Heard) -> Event {
    let reason = "HTTP 500".into();
    DeliveryFailed { order_id: ORDER, subscription_id, message_id: id(heard), reason, failed_at: 0 }.into()
}
fn dropped(subscription_id: Uuid, heard: &Heard) -> Event {
    DeliveryDropped { order_id: ORDER, subscription_id, message_id: id(heard), dropped_at: 0 }.into()
}

fn is_delivered() -> Outcome {
    Outcome::Delivered { status: 204 }
}
fn is_given_up() -> Outcome {
    Outcome::GivenUp { reason: "HTTP 500".into() }
}
fn outcome(of: Deliver, outcome: Outcome) -> Body<Webhooks> {
    Body::Outcome { effect: of.into(), outcome }
}
fn register() -> Command {
    let types = vec!["order.placed".to_owned()];
    Command::Register { url: "https://a.example/".into(), types, secret: "1.sealed".into() }
}
fn retry(subscription_id: Uuid, heard: &Heard) -> Command {
    Command::Retry { subscription_id, message_id: id(heard) }
}

#[test]
fn who_asked_for_it_is_told_once() {
    let mut story = given([registered(ANNA, 0), registered_in(BEN, 1, &["order.confirmed"])]);
    let told = story.hears(order_placed());
    told.then([requested(ANNA, 0, &order_placed(), 1)]).tasks([Task::effect(delivery(ANNA, 0, &order_placed(), 1))]);
    story.hears(order_placed()).nothing();
    // One waits for its turn; the other has nothing before it.
    let told = story.hears(order_confirmed());
    told.then([queued(ANNA, 0, &order_confirmed(), 1), requested(BEN, 1, &order_confirmed(), 1)]);
    assert_eq!(told.tasks, [Task::effect(delivery(BEN, 1, &order_confirmed(), 1))]);
    story.hears(order_confirmed()).nothing();
    given([]).hears(order_placed()).nothing();
    given([registered(ANNA, 0), removed(ANNA)]).hears(order_placed()).nothing();
}

/// Guard: the event's own time. Without, a service that is new, or behind, tells subscribers of orders from before they were there.
#[test]
fn nobody_is_told_of_what_happened_before_it_subscribed() {
    let types = vec!["order.placed".to_owned(), "order.confirmed".to_owned()];
    let (url, secret) = ("https://a.example/".into(), "1.sealed".into());
    let at_1 = SubscriptionRegistered { subscription_id: ANNA, url, types, secret, slot: 0, registered_at: 1 };
    let mut story = given([at_1.into()]);
    story.hears(order_placed()).nothing(); // at 0
    story.hears(order_confirmed()).then([requested(ANNA, 0, &order_confirmed(), 1)]); // at 1
}

/// Guard: the next is requested by the event that ends the one before. Without, a subscriber reads "confirmed" before "placed".
#[test]
fn messages_of_an_order_go_one_after_the_other() {
    let mut story = given([registered(ANNA, 0)]);
    story.hears(order_placed());
    story.hears(order_confirmed()).then([queued(ANNA, 0, &order_confirmed(), 1)]).tasks([]);
    for step in [OrderStep::Prepared, OrderStep::Dispatched] {
        story.hears(order_progressed(step)).then([queued(ANNA, 0, &order_progressed(step), 1)]).tasks([]);
    }
    let told = story.answered::<Deliver>(is_delivered());
    told.then([succeeded(ANNA, &order_placed()), requested(ANNA, 0, &order_confirmed(), 1)]);
    assert_eq!(told.tasks, [Task::effect(delivery(ANNA, 0, &order_confirmed(), 1))]);
    // A dead one holds up nothing.
    let prepared = order_progressed(OrderStep::Prepared);
    story.answered::<Deliver>(is_given_up()).then([failed(ANNA, &order_confirmed()), requested(ANNA, 0, &prepared, 1)]);
    let dispatched = order_progressed(OrderStep::Dispatched);
    story.answered::<Deliver>(is_delivered()).then([succeeded(ANNA, &prepared), requested(ANNA, 0, &dispatched, 1)]);
    story.answered::<Deliver>(is_delivered()).then([succeeded(ANNA, &dispatched)]).tasks([]);
    let queue = story.tables.queues.get(&(ORDER, ANNA)).unwrap();
    assert!(queue.dead && !queue.pending);
    let bodies: Vec<bool> = queue.deliveries.iter().map(|delivery| delivery.body.is_empty()).collect();
    assert_eq!(bodies, [true, false, true, true], "only what is dead may be needed again");
    story.hears(order_completed()).then([requested(ANNA, 0, &order_completed(), 1)]);
}

#[test]
fn what_is_pending_of_a_removed_subscription_is_dropped() {
    let mut story = given([registered(ANNA, 0)]);
    story.hears(order_placed());
    story.hears(order_confirmed());
    story.about(Id::Subscriptions).asked(Command::Remove { subscription_id: ANNA }).then([removed(ANNA)]);
    let there = story.tables.subscriptions.get(&ANNA).unwrap();
    assert!(there.secret.is_empty() && there.removed_at == Some(0), "its secret is forgotten");
    story.about(Id::Order(ORDER)).hears(order_completed()).nothing();
    let all = [dropped(ANNA, &order_placed()), dropped(ANNA, &order_confirmed())];
    story.answered::<Deliver>(Outcome::Removed).then(all).tasks([]);
    assert!(!story.tables.queues.get(&(ORDER, ANNA)).unwrap().pending);
    story.asked(retry(ANNA, &order_placed())).refused("subscription-removed");
    // Of one that was dead already.
    let mut story =
        given([registered(ANNA, 0), requested(ANNA, 0, &order_placed(), 1), failed(ANNA, &order_placed()), removed(ANNA)]);
    story.asked(retry(ANNA, &order_placed())).refused("subscription-removed");
}

#[test]
fn an_operator_has_a_dead_message_tried_again() {
    let mut story = given([registered(ANNA, 0)]);
    story.asked(retry(ANNA, &order_placed())).refused("not-found");
    story.hears(order_placed());
    assert_eq!(story.asked(retry(ANNA, &order_placed())).decided.unwrap().answer.unwrap().status(), 200, "it is being tried");
    story.answered::<Deliver>(is_given_up());
    let told = story.asked(retry(ANNA, &order_placed()));
    told.then([requested(ANNA, 0, &order_placed(), 2)]).tasks([Task::effect(delivery(ANNA, 0, &order_placed(), 2))]);
    // What the attempt before is said to have come to ends nothing.
    story.when(outcome(delivery(ANNA, 0, &order_placed(), 1), is_given_up())).nothing();
    story.answered::<Deliver>(is_delivered()).then([succeeded(ANNA, &order_placed())]);
    story.asked(retry(ANNA, &order_placed())).refused("already-delivered");

    // Behind what waits: it was overtaken already.
    let mut story = given([registered(ANNA, 0), requested(ANNA, 0, &order_placed(), 1), failed(ANNA, &order_placed())]);
    story.hears(order_confirmed()).then([requested(ANNA, 0, &order_confirmed(), 1)]);
    story.asked(retry(ANNA, &order_placed())).then([queued(ANNA, 0, &order_placed(), 2)]).tasks([]);
    story.hears(order_completed()).then([queued(ANNA, 0, &order_completed(), 1)]);
    story
        .when(outcome(delivery(ANNA, 0, &order_confirmed(), 1), is_delivered()))
        .then([succeeded(ANNA, &order_confirmed()), requested(ANNA, 0, &order_placed(), 2)]);
}

#[test]
fn what_was_taken_after_all_is_delivered() {
    let mut story = given([registered(ANNA, 0), requested(ANNA, 0, &order_placed(), 1), failed(ANNA, &order_placed())]);
    story.when(outcome(delivery(ANNA, 0, &order_placed(), 1), is_delivered())).then([succeeded(ANNA, &order_placed())]);
    assert!(!story.tables.queues.get(&(ORDER, ANNA)).unwrap().dead);
    story.when(outcome(delivery(ANNA, 0, &order_placed(), 1), is_delivered())).nothing();
}

#[test]
fn each_live_subscription_has_a_place_and_there_are_so_many() {
    let mut story = given([registered(BEN, 0)]);
    let at = |slot, types: &[&str]| [registered_in(ANNA, slot, types)];
    let told = story.about(Id::Subscriptions).asked(register());
    told.then(at(1, &["order.placed"]));
    let answer = Webhooks.answer(&told.decided.unwrap().events);
    assert_eq!((answer.status(), answer.location), (201, Some(format!("/subscriptions/{ANNA}"))));
    assert!(!answer.body.to_string().contains("sealed"), "{}", answer.body);
    // A place that is free again is taken first.
    let mut story = given([registered(BEN, 0), removed(BEN)]);
    story.about(Id::Subscriptions).asked(register()).then(at(0, &["order.placed"]));

    let live = |slot| Live { subscription_id: Uuid::from_u128(slot as u128 + 100), slot, types: Vec::new(), since: 0 };
    let full: Vec<Live> = (0..MOST).map(live).collect();
    let asked =
        |live: &[Live]| subscribing::register(live, ANNA, "https://a.example/", &[], "1.sealed", Timestamp::from_micros(0));
    assert!(matches!(asked(&full), Err(Refusal::Answer(problem)) if problem.kind == "/problems/too-many-subscriptions"));
    assert!(asked(&full[1..]).is_ok());
}

/// Guard: without, a message that is tried again is answered with what became of it before.
#[test]
fn each_attempt_of_an_operators_is_asked_anew() {
    let (one, two) = (delivery(ANNA, 0, &order_placed(), 1), delivery(ANNA, 0, &order_placed(), 2));
    assert_eq!(Webhooks.idempotency(&one.clone().into()), IdempotencyKey::Stable);
    assert_ne!(serde_json::to_value(one).unwrap(), serde_json::to_value(two).unwrap());
}

#[test]
fn every_state_answers_every_input() {
    let placed = order_placed;
    let after = |more: &[Event]| [registered(ANNA, 0)].iter().chain(more).cloned().collect::<Vec<_>>();
    let sending = requested(ANNA, 0, &placed(), 1);
    let states = [
        ("nobody subscribed", vec![]),
        ("subscribed", after(&[])),
        ("placed sending", after(std::slice::from_ref(&sending))),
        ("placed sending, confirmed waiting", after(&[sending.clone(), queued(ANNA, 0, &order_confirmed(), 1)])),
        ("placed delivered", after(&[sending.clone(), succeeded(ANNA, &placed())])),
        ("placed dead", after(&[sending.clone(), failed(ANNA, &placed())])),
        ("placed dead, subscription removed", after(&[sending.clone(), failed(ANNA, &placed()), removed(ANNA)])),
        ("placed sending again", after(&[sending.clone(), failed(ANNA, &placed()), requested(ANNA, 0, &placed(), 2)])),
        ("placed sending, subscription removed", after(&[sending.clone(), removed(ANNA)])),
        ("placed dropped", after(&[sending, removed(ANNA), dropped(ANNA, &placed())])),
    ];
    let first = || delivery(ANNA, 0, &order_placed(), 1);
    let inputs: [(&str, Tell<'_, Webhooks>); 13] = [
        ("OrderPlaced", &|story| story.hears(order_placed())),
        ("OrderConfirmed", &|story| story.hears(order_confirmed())),
        ("OrderRejected", &|story| story.hears(order_rejected())),
        ("OrderCancellationRequested", &|story| story.hears(cancellation_requested())),
        ("OrderCancelled", &|story| story.hears(order_cancelled())),
        ("OrderProgressed", &|story| story.hears(order_progressed(OrderStep::Prepared))),
        ("OrderCompleted", &|story| story.hears(order_completed())),
        ("outcome of placed: delivered", &|story| story.when(outcome(first(), is_delivered()))),
        ("outcome of placed: given up", &|story| story.when(outcome(first(), is_given_up()))),
        ("outcome of placed: removed", &|story| story.when(outcome(first(), Outcome::Removed))),
        ("command Retry placed", &|story| story.asked(retry(ANNA, &order_placed()))),
        ("command Register", &|story| {
            story.id = BEN;
            story.about(Id::Subscriptions).asked(register())
        }),
        ("command Remove", &|story| story.about(Id::Subscriptions).asked(Command::Remove { subscription_id: ANNA })),
    ];
    committed(concat!(env!("CARGO_MANIFEST_DIR"), "/STATES.md"), &state_table(story, &states, &inputs));
}

/// What doesn't belong together is no order's, whoever keyed it so.
#[test]
fn an_event_under_another_key_parks() {
    let told = given([]).about(Id::Subscriptions).hears(order_placed());
    assert!(matches!(told.decided, Err(Refusal::Park(_))), "{told:?}");
    assert_eq!(
        [Id::Subscriptions, Id::Order(ORDER)].map(|id| id.to_string().parse::<Id>().unwrap()),
        [Id::Subscriptions, Id::Order(ORDER)]
    );
    assert!("anything".parse::<Id>().is_err());
}
