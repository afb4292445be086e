//! Who is declined, and what capture, void and refund make of each state, as tables.

use acquirer::authorisation::{Authorisation, Deed, Purchase, Reason, Status};
use jiff::Timestamp;
use serde_json::{Value, json};
use uuid::Uuid;

use crate::kit::{order, start};

fn purchase(token: &str, amount: u64) -> Purchase {
    Purchase { merchant_reference: "o-1".into(), amount, currency: "EUR".into(), card_token: token.into() }
}

#[test]
fn the_token_decides() {
    use Reason::*;
    let table = [
        ("tok_visa", 100, None),
        ("", 100, None),
        ("tok_decline", 100, Some(InsufficientFunds)),
        ("tok_declined_42", 100, Some(InsufficientFunds)),
        ("tok_lost", 100, Some(LostCard)),
        ("tok_expired_7", 100, Some(ExpiredCard)),
        ("tok_limit_5000", 4_999, None),
        ("tok_limit_5000", 5_000, None),
        ("tok_limit_5000", 5_001, Some(LimitExceeded)),
        ("tok_limit_5000_anna", 5_001, Some(LimitExceeded)),
        ("tok_limit_", 5_001, None),
        ("tok_limit_x", 5_001, None),
        ("my_tok_decline", 100, None),
    ];
    for (token, amount, reason) in table {
        assert_eq!(purchase(token, amount).decline(), reason, "{token} {amount}");
    }
}

/// Status, captured, refunded.
type State = (Status, u64, u64);

fn at((status, captured, refunded): State) -> Authorisation {
    let reason = (status == Status::Declined).then_some(Reason::LostCard);
    let new = Authorisation::new(Uuid::nil(), &purchase("tok_visa", 1_000), reason, Timestamp::UNIX_EPOCH);
    Authorisation { status, captured, refunded, ..new }
}

#[test]
fn every_state_answers_every_command() {
    use Deed::*;
    const NEW: State = (Status::Authorised, 0, 0);
    const VOIDED: State = (Status::Voided, 0, 0);
    const DECLINED: State = (Status::Declined, 0, 0);
    const REFUNDED: State = (Status::Refunded, 400, 400);
    const fn taken(captured: u64, refunded: u64) -> State {
        (Status::Captured, captured, refunded)
    }
    let table = [
        (NEW, Capture(1_000), Ok(taken(1_000, 0))),
        (NEW, Capture(400), Ok(taken(400, 0))),
        (NEW, Capture(1_001), Err("capture_exceeds_authorised")),
        (taken(400, 0), Capture(600), Err("captured")),
        (REFUNDED, Capture(1), Err("captured")),
        (VOIDED, Capture(1), Err("voided")),
        (DECLINED, Capture(1), Err("declined")),
        (NEW, Void, Ok(VOIDED)),
        (VOIDED, Void, Ok(VOIDED)),
        (taken(400, 0), Void, Err("captured")),
        (REFUNDED, Void, Err("captured")),
        (DECLINED, Void, Err("declined")),
        (taken(400, 0), Refund(399), Ok(taken(400, 399))),
        (taken(400, 0), Refund(400), Ok(REFUNDED)),
        (taken(400, 100), Refund(300), Ok(REFUNDED)),
        (taken(400, 100), Refund(301), Err("refund_exceeds_captured")),
        (REFUNDED, Refund(1), Err("refund_exceeds_captured")),
        (NEW, Refund(1), Err("not_captured")),
        (VOIDED, Refund(1), Err("voided")),
        (DECLINED, Refund(1), Err("declined")),
    ];
    for (row, (state, deed, expected)) in table.into_iter().enumerate() {
        let (before, mut after) = (at(state), at(state));
        let now = Timestamp::from_second(60).unwrap();
        let done = after.change(deed, now).map(|()| (after.status, after.captured, after.refunded));
        match (done, expected) {
            (Ok(done), Ok(expected)) => {
                assert_eq!(done, expected, "row {row}");
                assert_eq!(after.updated_at == now, done != state, "row {row}: a change says when, and nothing else does");
            }
            (Err(problem), Err(code)) => {
                assert!(format!("{problem:?}").contains(&format!("\"code\": String(\"{code}\")")), "row {row}: {problem:?}");
                assert_eq!(after, before, "row {row}");
            }
            (done, _) => panic!("row {row}: {done:?}"),
        }
    }
}

#[tokio::test]
async fn a_currency_is_three_upper_case_letters() {
    let dir = tempfile::tempdir().unwrap();
    let running = start(dir.path()).await;
    for (text, good) in
        [("EUR", true), ("eur", false), ("EU", false), ("EURO", false), ("E1R", false), ("É€", false), ("", false)]
    {
        let mut order = order("o-1");
        order["currency"] = json!(text);
        let answer = running.caller.authorise(&format!("k {}", text.escape_unicode()), order).await;
        let wrong: Value = json!([{ "field": "currency", "message": "must be three upper-case letters (ISO 4217)" }]);
        assert_eq!((answer.status == 201, answer.body["errors"] == wrong), (good, !good), "{text}: {answer:?}");
    }
    running.stop().await;
}
