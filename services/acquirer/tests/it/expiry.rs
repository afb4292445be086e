//! Holds that nobody captured in time.

use std::path::Path;

use acquirer::authorisation::{Authorisation, Command as Asks, Deed, Purchase, Status};
use acquirer::book::{Asked, Book, Cards};
use jiff::{SignedDuration, Timestamp};
use serde_json::json;
use uuid::Uuid;

use crate::kit::{Process, order};

const HOLD: SignedDuration = SignedDuration::from_secs(60);

fn book(dir: &Path) -> Book {
    Book::open_for(dir, SignedDuration::from_hours(24), Cards { hold_for: HOLD }).unwrap()
}

fn one(book: &Book, key: &str, command: Asks, now: Timestamp) -> Result<Authorisation, String> {
    let asked = Asked { key: key.to_owned(), command, decline_all: false, now };
    let answer = book.execute(&[asked]).unwrap().pop().unwrap();
    answer.map(|answer| answer.authorisation).map_err(|problem| problem.to_string())
}

fn authorise(book: &Book, key: &str, now: Timestamp) -> Uuid {
    let purchase =
        Purchase { merchant_reference: key.into(), amount: 1_000, currency: "EUR".into(), card_token: "tok_visa".into() };
    one(book, key, Asks::Authorise(purchase), now).unwrap().id
}

#[test]
fn a_hold_can_be_captured_or_voided_until_it_is_over_and_not_after() {
    let dir = tempfile::tempdir().unwrap();
    let book = book(dir.path());
    let begin = Timestamp::UNIX_EPOCH;
    let (last, over) = (begin + HOLD - SignedDuration::from_millis(1), begin + HOLD);
    let expired = Err("the money is no longer held".to_owned());
    for (row, (deed, at, expected)) in [
        (Deed::Capture(600), last, Ok(Status::Captured)),
        (Deed::Void, last, Ok(Status::Voided)),
        (Deed::Capture(600), over, expired.clone()),
        (Deed::Void, over, expired.clone()),
        (Deed::Refund(1), over, expired),
    ]
    .into_iter()
    .enumerate()
    {
        let id = authorise(&book, &format!("new {row}"), begin);
        let done = one(&book, &format!("deed {row}"), Asks::Change(id, deed), at).map(|changed| changed.status);
        assert_eq!(done, expected, "row {row}");
    }
    // What was captured in time stays so: it can be given back.
    let id = authorise(&book, "taken", begin);
    one(&book, "take", Asks::Change(id, Deed::Capture(1_000)), last).unwrap();
    assert_eq!(one(&book, "back", Asks::Change(id, Deed::Refund(1_000)), over).unwrap().status, Status::Refunded);
}

/// Time alone changes what is shown: in views, ledger and totals.
#[test]
fn an_expired_hold_shows_as_such() {
    let dir = tempfile::tempdir().unwrap();
    let book = book(dir.path());
    let over = authorise(&book, "o", Timestamp::now() - HOLD);
    let held = authorise(&book, "p", Timestamp::now() + HOLD);
    for (id, status) in [(over, Status::Expired), (held, Status::Authorised)] {
        let found = book.find(id).unwrap();
        assert_eq!(found.status, status);
        assert_eq!(book.of_reference(&found.merchant_reference).unwrap(), std::slice::from_ref(&found));
        assert!(book.page(None, 9).unwrap().0.contains(&found));
    }
    let totals = book.totals().unwrap();
    for status in ["expired", "authorised"] {
        let sums = json!({ "EUR": { "amount": 1_000, "captured": 0, "refunded": 0 } });
        assert_eq!(totals["by_status"][status], json!({ "count": 1, "sums": sums }), "{status}");
    }
}

#[tokio::test]
async fn a_process_says_that_a_hold_has_expired() {
    let dir = tempfile::tempdir().unwrap();
    let (_process, caller) = Process::start_with(dir.path(), &["--hold-for", "1ms"]).await;
    let made = caller.authorise("k", order("o")).await;
    assert_eq!(made.body["status"], "authorised", "as it was when it was created");
    let path = format!("/authorisations/{}", made.text("id"));
    while caller.get(&path).await.body["status"] != "expired" {}
    let capture = caller.post(&format!("{path}/capture"), "c", json!({ "amount": 1 })).await;
    assert_eq!(capture.code(), (409, "expired"));
    assert_eq!(caller.post(&format!("{path}/void"), "v", json!({})).await.code(), (409, "expired"));
}
