//! Shipping, told as stories.

use farandole::testing::{Story, Tell, Told, committed, state_table};
use schemas::orders::CancellationReason;

use super::*;

const ID: Uuid = Uuid::from_u128(7);
const NOW: i64 = 1_000_000;
const SHIPPING: Shipping = Shipping {
    dispatch_after: Duration::from_secs(10),
    book_within: Duration::from_secs(20),
    deliver_within: Duration::from_secs(60),
    track_within: Duration::from_secs(30),
};
/// What is due from now.
const DISPATCH_AT: i64 = NOW + 10_000_000;
const BOOK_BY: i64 = NOW + 20_000_000;
const DELIVER_BY: i64 = NOW + 60_000_000;
const ANSWER_BY: i64 = NOW + 30_000_000;

fn story() -> Story<Shipping> {
    let mut story = Story::new(SHIPPING, ID, farandole::rows![Tables; shipments: Shipment[ID]]);
    story.at = Timestamp::from_micros(NOW);
    story
}
fn given(events: impl IntoIterator<Item = Event>) -> Story<Shipping> {
    story().given(events)
}

fn prepared() -> Event {
    Event::from(ShipmentPrepared { order_id: ID, recipient: "anna".into(), dispatch_at: DISPATCH_AT, prepared_at: NOW })
}
fn started() -> Event {
    Event::from(DispatchStarted { order_id: ID, recipient: "anna".into(), book_by: BOOK_BY, started_at: NOW })
}
fn dispatched() -> Event {
    Event::from(ShipmentDispatched { order_id: ID, tracking: "p-1".into(), deliver_by: DELIVER_BY, dispatched_at: NOW })
}
fn sought() -> Event {
    Event::from(TrackingRequested { order_id: ID, tracking: "p-1".into(), answer_by: ANSWER_BY, requested_at: NOW })
}
fn delivered() -> Event {
    Event::from(ShipmentDelivered { order_id: ID, tracking: "p-1".into(), delivered_at: NOW })
}
fn lost(reason: &str) -> Event {
    Event::from(ShipmentLost { order_id: ID, tracking: "p-1".into(), reason: reason.into(), lost_at: NOW })
}
fn found() -> Event {
    Event::from(ShipmentFound { order_id: ID, tracking: "p-1".into(), found_at: NOW })
}
fn failed_of(reason: &str) -> Event {
    Event::from(ShipmentFailed { order_id: ID, reason: reason.into(), failed_at: NOW })
}
fn failed() -> Event {
    failed_of("address_refused")
}
fn recalling(tracking: Option<&str>) -> Event {
    Event::from(RecallRequested { order_id: ID, tracking: tracking.map(Into::into), requested_at: NOW })
}
fn recalled(how: &str) -> Event {
    Event::from(RecallEnded { order_id: ID, how: how.into(), ended_at: NOW })
}
fn cancelled() -> Event {
    Event::from(ShipmentCancelled { order_id: ID, cancelled_at: NOW })
}
fn refused() -> Event {
    Event::from(CancellationRefused { order_id: ID, refused_at: NOW })
}

fn confirmed() -> Body<Shipping> {
    Body::Heard(OrderConfirmed { order_id: ID, customer: "anna".into(), confirmed_at: 1 }.into())
}
fn to_be_cancelled() -> Body<Shipping> {
    let reason = CancellationReason::CustomerRequest;
    Body::Heard(OrderCancellationRequested { order_id: ID, reason, requested_at: 1 }.into())
}
fn book() -> Book {
    Book { order_id: ID, recipient: "anna".into() }
}
fn track() -> Track {
    Track { tracking: "p-1".into() }
}
fn recall(tracking: Option<&str>) -> Recall {
    Recall { order_id: ID, tracking: tracking.map(Into::into) }
}
fn called_back(outcome: Outcome) -> Body<Shipping> {
    Body::Outcome { effect: recall(None).into(), outcome }
}
fn booked(tracking: &str) -> Body<Shipping> {
    Body::Outcome { effect: book().into(), outcome: Outcome::Booked { tracking: tracking.into() } }
}
fn not_booked() -> Body<Shipping> {
    Body::Outcome { effect: book().into(), outcome: Outcome::Refused { reason: "address_refused".into() } }
}
fn tracked(outcome: Outcome) -> Body<Shipping> {
    Body::Outcome { effect: track().into(), outcome }
}
fn report_of(tracking: &str, fate: Fate) -> Body<Shipping> {
    Body::Command(Report { tracking: tracking.into(), fate })
}
fn report(fate: Fate) -> Body<Shipping> {
    report_of("p-1", fate)
}

/// What settles a parcel that the carrier has.
fn under_way() -> [Task<Deadline, Effect>; 3] {
    let deliver = Task::deadline(Deadline::Deliver, Timestamp::from_micros(DELIVER_BY));
    [Task::close_effect::<Book>(), Task::close(Deadline::BookBy), deliver]
}
fn settled() -> [Task<Deadline, Effect>; 3] {
    [Task::close(Deadline::Deliver), Task::close(Deadline::TrackBy), Task::close_effect::<Track>()]
}
/// What begins with the first question.
fn asked() -> [Task<Deadline, Effect>; 2] {
    [Task::effect(book()), Task::deadline(Deadline::BookBy, Timestamp::from_micros(BOOK_BY))]
}
fn asked_where() -> [Task<Deadline, Effect>; 2] {
    [Task::effect(track()), Task::deadline(Deadline::TrackBy, Timestamp::from_micros(ANSWER_BY))]
}
fn not_taken() -> [Task<Deadline, Effect>; 2] {
    [Task::close_effect::<Book>(), Task::close(Deadline::BookBy)]
}

/// It is so already, and the carrier hears 200.
#[track_caller]
fn already(told: Told<Shipping>, state: &str) {
    let answer = told.nothing().decided.as_ref().unwrap().answer.clone();
    assert_eq!(answer, Some(Answer::ok(json!({ "order_id": ID, "state": state }))));
}

#[test]
fn a_confirmed_order_is_packed_handed_over_and_delivered() {
    let mut story = story();
    let due = |at| Timestamp::from_micros(at);
    story.when(confirmed()).then([prepared()]).tasks([Task::deadline(Deadline::Dispatch, due(DISPATCH_AT))]);
    story.when(confirmed()).nothing();
    story.due(Deadline::Dispatch).then([started()]).tasks(asked());
    let outcome = Outcome::Booked { tracking: "p-1".into() };
    story.answered::<Book>(outcome).then([dispatched()]).tasks(under_way());
    let told = story.when(report(Fate::Delivered));
    told.then([delivered()]).tasks(settled());
    let answer = SHIPPING.answer(&told.decided.unwrap().events);
    assert_eq!(answer, Answer::ok(json!({ "order_id": ID, "state": "delivered" })));
    already(story.when(report(Fate::Delivered)), "delivered");
}

#[test]
fn an_order_can_be_cancelled_until_the_carrier_is_asked() {
    let mut story = given([prepared()]);
    story.when(to_be_cancelled()).then([cancelled()]).tasks([Task::close(Deadline::Dispatch)]);
    story.when(to_be_cancelled()).nothing();
    // It had fallen due before.
    story.when(Body::Deadline(Deadline::Dispatch)).nothing();

    let on_its_way = [prepared(), started(), dispatched(), sought()];
    for steps in 2..=on_its_way.len() {
        let mut story = given(on_its_way[..steps].to_vec());
        let before = story.tables.shipments.get(&ID).cloned();
        story.when(to_be_cancelled()).then([refused()]).tasks([]);
        assert_eq!(story.tables.shipments.get(&ID).cloned(), before);
    }
}

#[test]
fn what_the_carrier_does_not_take_fails() {
    let mut story = given([prepared(), started()]);
    let outcome = || Outcome::Refused { reason: "address_refused".into() };
    story.answered::<Book>(outcome()).then([failed()]).tasks(not_taken());
    story.when(not_booked()).nothing();
    story.when(to_be_cancelled()).nothing();
    story.when(report(Fate::Delivered)).refused("another-parcel");
}

/// The report says that it is booked, too; the answer says nothing new then, unless it names another parcel.
#[test]
fn a_report_may_be_faster_than_the_answer_to_the_booking() {
    for (fate, then) in [(Fate::Delivered, delivered()), (Fate::Lost, lost("reported lost")), (Fate::Recalled, lost("recalled"))]
    {
        let mut story = given([prepared(), started()]);
        story.when(report(fate)).then([dispatched(), then]).tasks(under_way().into_iter().chain(settled()));
        story.when(booked("p-1")).nothing();
        assert!(matches!(story.when(booked("p-2")).decided, Err(Refusal::Park(_))));
        assert!(matches!(story.when(not_booked()).decided, Err(Refusal::Park(_))));
    }
}

#[test]
fn a_parcel_of_which_nothing_is_heard_is_asked_about() {
    use Fate::*;
    let table = [
        (Outcome::Ended(Delivered), delivered()),
        (Outcome::Ended(Lost), lost("reported lost")),
        (Outcome::Ended(Recalled), lost("recalled")),
        (Outcome::UnderWay, lost("not delivered in time")),
        (Outcome::Unknown, lost("unknown to the carrier")),
    ];
    for (outcome, then) in table {
        let mut story = given([prepared(), started(), dispatched()]);
        story.due(Deadline::Deliver).then([sought()]).tasks(asked_where());
        story.answered::<Track>(outcome).then([then]).tasks(settled());
    }
}

#[test]
fn an_answer_that_a_report_has_overtaken_decides_nothing() {
    for outcome in [Outcome::Ended(Fate::Lost), Outcome::UnderWay, Outcome::Unknown] {
        let mut story = given([prepared(), started(), dispatched(), sought()]);
        story.when(report(Fate::Delivered)).then([delivered()]).tasks(settled());
        story.answered::<Track>(outcome).nothing();
    }
    let mut story = given([prepared(), started(), dispatched(), sought()]);
    story.when(report(Fate::Lost)).then([lost("reported lost")]).tasks(settled());
    story.answered::<Track>(Outcome::Ended(Fate::Delivered)).then([found()]).tasks([]);
}

#[test]
fn a_lost_parcel_may_be_found_once() {
    let mut story = given([prepared(), started(), dispatched()]);
    story.when(report(Fate::Lost)).then([lost("reported lost")]);
    already(story.when(report(Fate::Lost)), "lost");
    already(story.when(report(Fate::Recalled)), "lost");
    story.when(report(Fate::Delivered)).then([found()]);
    already(story.when(report(Fate::Delivered)), "found");
    already(story.when(report(Fate::Lost)), "found");
}

#[test]
fn what_is_delivered_stays_delivered() {
    let mut story = given([prepared(), started(), dispatched(), delivered()]);
    for fate in [Fate::Lost, Fate::Recalled, Fate::Delivered] {
        already(story.when(report(fate)), "delivered");
    }
    story.when(Body::Deadline(Deadline::Deliver)).nothing();
    story.when(to_be_cancelled()).then([refused()]);
}

#[test]
fn a_report_of_no_parcel_of_the_orders_is_refused() {
    given([]).when(report(Fate::Delivered)).refused("not-found");
    given([prepared()]).when(report(Fate::Delivered)).refused("another-parcel");
    given([prepared(), cancelled()]).when(report(Fate::Lost)).refused("another-parcel");
    given([prepared(), started(), dispatched()]).when(report_of("p-2", Fate::Lost)).refused("another-parcel");
}

/// Every parcel ends, though the carrier never answers. What it took without our knowing is called back.
#[test]
fn a_carrier_that_does_not_answer_in_time_is_asked_to_give_it_back() {
    let given_up = || given([prepared(), started(), failed_of("no_answer"), recalling(None)]);
    let mut story = given([prepared(), started()]);
    let told = story.due(Deadline::BookBy);
    told.then([failed_of("no_answer"), recalling(None)]).tasks(not_taken().into_iter().chain([Task::effect(recall(None))]));
    story.when(Body::Deadline(Deadline::BookBy)).nothing();
    story.when(not_booked()).nothing();
    story.when(to_be_cancelled()).nothing();
    already(story.when(report(Fate::Delivered)), "recalling");
    for (outcome, how) in [
        (Outcome::Unknown, "none"),
        (Outcome::Ended(Fate::Recalled), "recalled"),
        (Outcome::Ended(Fate::Delivered), "delivered"),
        (Outcome::Ended(Fate::Lost), "lost"),
    ] {
        given_up().when(called_back(outcome)).then([recalled(how)]).tasks([]);
    }
    // It was booked after the look-up, as its late answer says, or a report.
    for mut story in [given_up(), given([prepared(), started(), failed_of("no_answer"), recalling(None), recalled("none")])] {
        story.when(booked("p-1")).then([recalling(Some("p-1"))]).tasks([Task::effect(recall(Some("p-1")))]);
    }
    let mut story = given([prepared(), started(), failed_of("no_answer"), recalling(None), recalled("none")]);
    story.when(report(Fate::Delivered)).then([recalling(Some("p-1"))]);
    story.when(called_back(Outcome::Ended(Fate::Delivered))).then([recalled("delivered")]);
    already(story.when(report(Fate::Delivered)), "recalled");
}

#[test]
fn a_carrier_that_does_not_say_where_it_is_has_lost_it() {
    let mut story = given([prepared(), started(), dispatched(), sought()]);
    story.due(Deadline::TrackBy).then([lost("no answer from the carrier")]).tasks(settled());
    story.answered::<Track>(Outcome::Ended(Fate::Delivered)).then([found()]);
    given([prepared(), started(), dispatched(), delivered()]).when(Body::Deadline(Deadline::TrackBy)).nothing();
}

#[test]
fn every_state_answers_every_input() {
    let on_its_way = [prepared(), started(), dispatched()];
    let after = |more: &[Event]| on_its_way.iter().chain(more).cloned().collect::<Vec<_>>();
    let states = [
        ("none", vec![]),
        ("prepared", vec![prepared()]),
        ("dispatching", vec![prepared(), started()]),
        ("dispatched", after(&[])),
        ("tracking", after(&[sought()])),
        ("delivered", after(&[delivered()])),
        ("lost", after(&[lost("reported lost")])),
        ("found", after(&[lost("reported lost"), found()])),
        ("failed", vec![prepared(), started(), failed()]),
        ("recalling", vec![prepared(), started(), failed_of("no_answer"), recalling(None)]),
        ("recalled", vec![prepared(), started(), failed_of("no_answer"), recalling(None), recalled("recalled")]),
        ("recalled: none", vec![prepared(), started(), failed_of("no_answer"), recalling(None), recalled("none")]),
        ("cancelled", vec![prepared(), cancelled()]),
    ];
    let inputs: [(&str, Tell<'_, Shipping>); 20] = [
        ("OrderConfirmed", &|story| story.when(confirmed())),
        ("OrderCancellationRequested", &|story| story.when(to_be_cancelled())),
        ("deadline `dispatch`", &|story| story.when(Body::Deadline(Deadline::Dispatch))),
        ("deadline `book_by`", &|story| story.when(Body::Deadline(Deadline::BookBy))),
        ("deadline `deliver`", &|story| story.when(Body::Deadline(Deadline::Deliver))),
        ("deadline `track_by`", &|story| story.when(Body::Deadline(Deadline::TrackBy))),
        ("outcome booked", &|story| story.when(booked("p-1"))),
        ("outcome booked under a second number", &|story| story.when(booked("p-2"))),
        ("outcome refused", &|story| story.when(not_booked())),
        ("outcome delivered", &|story| story.when(tracked(Outcome::Ended(Fate::Delivered)))),
        ("outcome lost", &|story| story.when(tracked(Outcome::Ended(Fate::Lost)))),
        ("outcome recalled", &|story| story.when(tracked(Outcome::Ended(Fate::Recalled)))),
        ("outcome under way", &|story| story.when(tracked(Outcome::UnderWay))),
        ("outcome unknown", &|story| story.when(tracked(Outcome::Unknown))),
        ("outcome called back", &|story| story.when(called_back(Outcome::Ended(Fate::Recalled)))),
        ("outcome nothing to call back", &|story| story.when(called_back(Outcome::Unknown))),
        ("report delivered", &|story| story.when(report(Fate::Delivered))),
        ("report lost", &|story| story.when(report(Fate::Lost))),
        ("report recalled", &|story| story.when(report(Fate::Recalled))),
        ("report of another parcel", &|story| story.when(report_of("p-2", Fate::Delivered))),
    ];
    committed(concat!(env!("CARGO_MANIFEST_DIR"), "/STATES.md"), &state_table(story, &states, &inputs));
}
