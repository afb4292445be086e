//! The memory of keys, the ledger's pages and the totals.

use super::*;
use crate::authorisation::Reason;

const RETENTION: SignedDuration = SignedDuration::from_secs(60);

fn second(number: i64) -> Timestamp {
    Timestamp::from_second(number).unwrap()
}

fn record(number: u128, reference: &str, state: State) -> Authorisation {
    Authorisation {
        id: Uuid::from_u128(number),
        merchant_reference: reference.into(),
        amount: 1_000,
        currency: Currency::parse("EUR").unwrap(),
        created_at: second(0),
        updated_at: second(0),
        state,
    }
}

fn key(name: &str, request: &str, at: i64) -> Remembered {
    Remembered {
        key: Digest::of(name),
        request: Digest::of(request),
        at: second(at),
        operation: Operation::Authorise,
        id: Uuid::from_u128(1),
        state: State::Authorised,
        updated_at: second(at),
    }
}

fn book(records: &[(u128, &str, State)], keys: &[Remembered]) -> Book {
    let mut book = Book::new(RETENTION);
    for &(number, reference, state) in records {
        book.apply(Line { authorisation: Some(record(number, reference, state)), key: None });
    }
    for key in keys {
        book.apply(Line { authorisation: None, key: Some(key.clone()) });
    }
    book
}

#[test]
fn a_key_is_remembered_for_its_time_and_no_longer() {
    // The last one is used a second time after its retention; the second was made by a clock that then went back.
    let mut book = book(&[], &[key("a", "1", 0), key("late", "1", 30), key("b", "1", 10), key("a", "2", 61)]);
    for (now, name, found) in [
        (0, "nobody", None),
        (59, "b", Some("1")),
        (60, "a", Some("2")),
        (69, "b", Some("1")),
        (70, "b", None),
        (89, "late", Some("1")),
        (90, "late", None),
        (120, "a", Some("2")),
        (121, "a", None),
    ] {
        book.forget(second(now));
        let request = book.remembered(&Digest::of(name), second(now)).map(|key| key.request);
        assert_eq!(request, found.map(Digest::of), "{name} at {now}");
    }
    assert_eq!(book.totals().keys, 0);
}

#[test]
fn the_ledger_pages_in_the_order_of_arrival() {
    let book = book(&[3, 1, 2].map(|number| (number, "o", State::Authorised)), &[]);
    for (after, limit, expected) in [
        (None, 2, Some((vec![3, 1], true))),
        (None, 3, Some((vec![3, 1, 2], false))),
        (Some(3), 1, Some((vec![1], true))),
        (Some(1), 9, Some((vec![2], false))),
        (Some(2), 9, Some((vec![], false))),
        (Some(7), 9, None),
    ] {
        let page = book.page(after.map(Uuid::from_u128), limit);
        let seen = page.map(|(records, more)| (records.iter().map(|r| r.id.as_u128()).collect(), more));
        assert_eq!(seen, expected, "{after:?} {limit}");
    }
}

#[test]
fn totals_count_sum_and_find_duplicates() {
    let declined = State::Declined { reason: Reason::LostCard };
    let captured = State::Captured { captured: 600, refunded: 100 };
    let refunded = State::Captured { captured: 600, refunded: 600 };
    let book = book(
        &[
            (1, "once", State::Authorised),
            (2, "retried", declined),
            (3, "retried", State::Authorised),
            (4, "twice", captured),
            (5, "twice", State::Authorised),
            (6, "undone", State::Voided),
            (7, "undone", refunded),
        ],
        &[],
    );
    let totals = book.totals();
    assert_eq!((totals.authorisations, totals.references), (7, 4));
    assert_eq!((totals.duplicates, totals.duplicates_live), (2, 1));
    let json = serde_json::to_value(&totals.by_status).unwrap();
    for (status, count, amount, captured, refunded) in [
        ("authorised", 3, 3_000, 0, 0),
        ("captured", 1, 1_000, 600, 100),
        ("refunded", 1, 1_000, 600, 600),
        ("declined", 1, 1_000, 0, 0),
        ("voided", 1, 1_000, 0, 0),
    ] {
        let sums = serde_json::json!({ "amount": amount, "captured": captured, "refunded": refunded });
        assert_eq!(json[status], serde_json::json!({ "count": count, "sums": { "EUR": sums } }), "{status}");
    }
}

#[test]
fn its_lines_give_the_same_book_again() {
    let first = book(&[(2, "o", State::Voided), (1, "o", State::Authorised)], &[key("a", "1", 0)]);
    let mut second = Book::new(RETENTION);
    for line in first.lines() {
        // Through JSON, as the log does it.
        second.apply(serde_json::from_str(&serde_json::to_string(&line).unwrap()).unwrap());
    }
    assert_eq!(first.records, second.records);
    assert_eq!(first.positions, second.positions);
}
