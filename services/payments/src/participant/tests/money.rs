//! What becomes of a hold once the parcel leaves, and of the money.

use super::*;

fn left(more: &[Event]) -> Story<Payments> {
    given([order_seen(), requested(), authorised(), capture_requested()]).given(more.iter().cloned())
}

fn state(story: &Story<Payments>) -> &State {
    &story.tables.payments.get(&ID).unwrap().state.0
}

#[track_caller]
fn parks(story: &mut Story<Payments>, body: Body<Payments>, words: &str) {
    match story.when(body).decided {
        Err(Refusal::Park(why)) => assert!(why.contains(words) && why.contains(&ID.to_string()), "{why}"),
        other => panic!("{other:?}"),
    }
}

#[test]
fn a_hold_ends_when_the_acquirer_says_so() {
    let mut story = given([order_seen(), requested()]);
    let told = story.answered::<Authorise>(Outcome::Authorised { authorisation_id: "a-1".into() });
    told.then([authorised()]).tasks([Task::deadline(Deadline::Expire, START.plus(HOUR))]);
    story.due(Deadline::Expire).then([expired()]).tasks([]);
    story.when(order_cancelled()).nothing();
    story.when(is_authorised()).nothing();

    // Where holds don't end, there is no deadline.
    let mut story = of(Payments { hold_for: Duration::ZERO, ..PAYMENTS }, [order_seen(), requested()]);
    let told = story.answered::<Authorise>(Outcome::Authorised { authorisation_id: "a-1".into() });
    let Ok(Decision { events, .. }) = &told.decided else { panic!("{told:?}") };
    assert!(matches!(&events[..], [Event::PaymentAuthorised(e)] if e.expires_at.is_none()), "{events:?}");
    told.tasks([]);
}

#[test]
fn the_money_is_taken_once_the_parcel_has_left() {
    let mut story = given([order_seen(), requested(), authorised()]);
    let write_off = Task::deadline(Deadline::WriteOff, START.plus(PAYMENTS.write_off_after));
    let tasks = [Task::close(Deadline::Expire), Task::effect(capture()), write_off];
    story.when(dispatched()).then([capture_requested()]).tasks(tasks);
    story.when(dispatched()).nothing();
    story.answered::<Capture>(Outcome::Captured).then([captured()]).tasks([Task::close(Deadline::WriteOff)]);
    for late in [is_captured(), is_not_captured("expired"), Body::Deadline(Deadline::WriteOff), dispatched()] {
        story.when(late).nothing();
    }
}

#[test]
fn what_was_taken_for_a_lost_parcel_is_given_back_once() {
    let mut story = left(&[captured()]);
    story.when(lost()).then([refund_requested()]).tasks([Task::effect(refund())]);
    story.when(lost()).nothing();
    story.answered::<Refund>(Outcome::Refunded).then([refunded()]).tasks([]);
    for late in [lost(), is_refunded(), is_captured(), is_not_refunded()] {
        story.when(late).nothing();
    }
    parks(&mut left(&[captured(), refund_requested()]), is_not_refunded(), "can't be refunded: refund_exceeds_captured");
}

#[test]
fn a_loss_that_is_heard_of_before_the_capture_is_remembered() {
    let mut story = left(&[]);
    story.when(lost()).then([refund_expected()]).tasks([]);
    story.when(lost()).nothing();
    let tasks = [Task::close(Deadline::WriteOff), Task::effect(refund())];
    story.answered::<Capture>(Outcome::Captured).then([captured(), refund_requested()]).tasks(tasks);

    let unpaid = [capture_failed("expired"), written_off(false)];
    left(&[refund_expected()]).when(is_not_captured("expired")).then(unpaid).tasks([Task::close(Deadline::WriteOff)]);
    left(&[refund_expected()]).due(Deadline::WriteOff).then([written_off(true)]);
}

#[test]
fn a_refused_capture_is_written_off() {
    let mut story = left(&[]);
    let unpaid = [capture_failed("voided"), written_off(false)];
    story.answered::<Capture>(Outcome::CaptureRefused { reason: "voided".into() }).then(unpaid);
    assert_eq!(*state(&story), State::WrittenOff { hold: hold(), in_flight: false });
    story.when(lost()).nothing();
    story.when(is_not_captured("voided")).nothing();

    // A hold that has ended is asked for all the same: it is the acquirer that says no.
    let mut story = given([order_seen(), requested(), authorised(), expired()]);
    story.when(dispatched()).then([capture_requested()]);
    story.when(is_not_captured("expired")).then([capture_failed("expired"), written_off(false)]);
}

#[test]
fn what_is_taken_after_the_write_off_is_given_back() {
    let mut story = left(&[]);
    let tasks = [Task::close_effect::<Capture>(), Task::effect(void())];
    story.due(Deadline::WriteOff).then([written_off(true)]).tasks(tasks);
    story.when(lost()).nothing();
    story.answered::<Capture>(Outcome::Captured).then([captured(), refund_requested()]);
    story.answered::<Refund>(Outcome::Refunded).then([refunded()]);

    let mut story = left(&[written_off(true)]);
    story.when(is_not_captured("expired")).then([capture_failed("expired")]).tasks([]);
    assert_eq!(*state(&story), State::WrittenOff { hold: hold(), in_flight: false });
}

/// Guard: a hold that wasn't taken in time is let go. Without, it stays on the card until it ends by itself, if it does.
#[test]
fn what_is_held_after_the_write_off_is_let_go() {
    let over = || State::WrittenOff { hold: hold(), in_flight: false };
    let mut story = left(&[written_off(true)]);
    story.answered::<Void>(Outcome::Voided).then([voided()]).tasks([]);
    assert_eq!(*state(&story), over());
    // Both answers contradict each other: then the money counts.
    story.when(is_captured()).then([captured(), refund_requested()]);

    let mut story = left(&[written_off(true)]);
    story.when(is_not_voided("captured")).then([captured(), refund_requested()]);
    story.when(is_captured()).nothing();

    let mut story = left(&[written_off(true)]);
    story.when(is_not_voided("expired")).then([expired()]);
    assert_eq!(*state(&story), over());
}

#[test]
fn a_void_that_comes_too_late_ends_as_the_acquirer_says() {
    let ended = || given([order_seen(), requested(), authorised(), void_requested()]);
    let mut story = ended();
    story.when(is_not_voided("captured")).then([captured(), refund_requested()]);
    story.answered::<Refund>(Outcome::Refunded).then([refunded()]);
    story.when(order_cancelled()).nothing();

    let mut story = ended();
    story.when(is_not_voided("expired")).then([expired()]).tasks([]);
    story.when(order_rejected()).nothing();
    parks(&mut ended(), is_not_voided("not_found"), "can't be voided: not_found");
}

/// Guard: what can't be is seen by somebody. Without, goods leave unpaid, or money of a cancelled order is kept.
#[test]
fn what_does_not_go_together_parks() {
    parks(&mut given([]), dispatched(), "its parcel left, and its payment is unknown");
    parks(&mut given([order_seen(), requested(), authorised(), void_requested()]), dispatched(), "is void_requested");
    parks(&mut given([order_seen(), requested(), authorised()]), lost(), "lost and never left");
    parks(&mut given([order_seen(), requested(), authorised()]), is_captured(), "captured unasked");
    parks(&mut left(&[]), is_not_captured("captured"), "can't be captured whole: captured");
    parks(&mut left(&[written_off(true)]), is_not_captured("captured"), "can't be captured whole: captured");
    for more in [&[][..], &[captured()], &[written_off(true)]] {
        parks(&mut left(more), order_cancelled(), "order cancelled after its parcel left");
    }
}
