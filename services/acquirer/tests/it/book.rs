//! The memory of keys, the ledger's pages and the totals, by clocks of the tests' own.

use acquirer::authorisation::{Command, Deed, Purchase};
use acquirer::book::{Answer, Asked, Book};
use jiff::{SignedDuration, Timestamp};
use serde_json::json;
use uuid::Uuid;

const RETENTION: SignedDuration = SignedDuration::from_secs(60);

fn authorise(reference: &str, token: &str) -> Command {
    let (merchant_reference, currency, card_token) = (reference.to_owned(), "EUR".to_owned(), token.to_owned());
    Command::Authorise(Purchase { merchant_reference, amount: 1_000, currency, card_token })
}

fn asked(key: &str, command: Command, second: i64) -> Asked {
    Asked { key: key.to_owned(), command, decline_all: false, now: Timestamp::from_second(second).unwrap() }
}

/// One command in a transaction of its own; whether it was told again, or the reason why not.
fn one(book: &Book, key: &str, command: Command, second: i64) -> Result<(Uuid, bool), String> {
    let answer = book.execute(&[asked(key, command, second)]).unwrap().pop().unwrap();
    answer.map(|Answer { authorisation, again }| (authorisation.id, again)).map_err(|problem| problem.to_string())
}

#[test]
fn a_key_is_remembered_for_its_time_and_no_longer() {
    let dir = tempfile::tempdir().unwrap();
    let book = Book::open(dir.path(), RETENTION).unwrap();
    let is_again = |key, reference, second| one(&book, key, authorise(reference, "t"), second).map(|(_, again)| again);
    let reused = Err("this Idempotency-Key was used for another request".to_owned());
    for (second, key, reference, expected) in [
        (0, "a", "1", Ok(false)),
        // By a clock that then goes back.
        (30, "late", "1", Ok(false)),
        (10, "b", "1", Ok(false)),
        (59, "a", "1", Ok(true)),
        (59, "a", "2", reused.clone()),
        // A second time, after its retention.
        (60, "a", "2", Ok(false)),
        (60, "a", "1", reused.clone()),
        (69, "b", "2", reused.clone()),
        (70, "b", "2", Ok(false)),
        (89, "late", "2", reused.clone()),
        (90, "late", "2", Ok(false)),
        (119, "a", "2", Ok(true)),
        (120, "a", "1", Ok(false)),
    ] {
        assert_eq!(is_again(key, reference, second), expected, "{key} {reference} at {second}");
    }
    drop(book);
    let book = Book::open(dir.path(), RETENTION).unwrap();
    assert_eq!(one(&book, "a", authorise("1", "t"), 179).map(|(_, again)| again), Ok(true), "after a restart");
    // Those that are over go with the next commands that are executed, a few with each.
    assert_eq!(book.totals().unwrap()["keys"], 3);
    for number in 0..100 {
        one(&book, &format!("n-{number}"), authorise("3", "t"), 200).unwrap();
    }
    for number in 0..26 {
        one(&book, &format!("m-{number}"), authorise("3", "t"), 300).unwrap();
    }
    assert_eq!(book.totals().unwrap()["keys"], 26);
}

#[test]
fn a_refused_command_keeps_its_key_free_and_takes_no_other_of_its_group_with_it() {
    let dir = tempfile::tempdir().unwrap();
    let book = Book::open(dir.path(), RETENTION).unwrap();
    let (id, _) = one(&book, "first", authorise("o", "t"), 0).unwrap();
    let group = [
        asked("a", Command::Change(id, Deed::Refund(1)), 1),
        asked("b", Command::Change(id, Deed::Capture(600)), 1),
        asked("a", Command::Change(id, Deed::Refund(1)), 1),
        asked("a", Command::Change(id, Deed::Refund(1)), 1),
        asked("c", Command::Change(Uuid::nil(), Deed::Void), 1),
        asked("a", Command::Change(id, Deed::Void), 1),
    ];
    let answers: Vec<_> = book.execute(&group).unwrap();
    let told: Vec<_> =
        answers.into_iter().map(|a| a.map(|a| (a.authorisation.refunded, a.again)).map_err(|p| p.to_string())).collect();
    let expected = [
        Err("nothing is captured yet".to_owned()),
        Ok((0, false)),
        Ok((1, false)),
        Ok((1, true)),
        Err("there is no authorisation 00000000-0000-0000-0000-000000000000".to_owned()),
        Err("this Idempotency-Key was used for another request".to_owned()),
    ];
    assert_eq!(told, expected);
    assert_eq!(book.totals().unwrap()["keys"], 3);
}

#[test]
fn under_one_key_no_request_passes_for_another() {
    let dir = tempfile::tempdir().unwrap();
    let book = Book::open(dir.path(), RETENTION).unwrap();
    let id = |key| one(&book, key, authorise("o", "t"), 0).unwrap().0;
    let (a, b) = (id("a"), id("b"));
    let commands = [
        Command::Change(a, Deed::Capture(1)),
        Command::Change(a, Deed::Capture(2)),
        Command::Change(b, Deed::Capture(1)),
        Command::Change(a, Deed::Refund(1)),
        Command::Change(a, Deed::Void),
        authorise("o", "t"),
        authorise("o", "u"),
        authorise("ot", ""),
    ];
    one(&book, "key", commands[5].clone(), 0).unwrap();
    for (at, command) in commands.into_iter().enumerate() {
        let again = one(&book, "key", command, 0).map(|(_, again)| again);
        let expected = if at == 5 { Ok(true) } else { Err("this Idempotency-Key was used for another request".to_owned()) };
        assert_eq!(again, expected, "command {at}");
    }
}

#[test]
fn the_ledger_pages_in_the_order_of_arrival() {
    let dir = tempfile::tempdir().unwrap();
    let book = Book::open(dir.path(), RETENTION).unwrap();
    // In one group, so within one millisecond.
    let group: Vec<_> = (0..100).map(|number| asked(&number.to_string(), authorise("o", "t"), 0)).collect();
    let ids: Vec<_> = book.execute(&group).unwrap().into_iter().map(|answer| answer.unwrap().authorisation.id).collect();
    for (after, limit, expected, expected_more) in [
        (None, 2, &ids[..2], true),
        (None, 100, &ids[..], false),
        (Some(ids[0]), 1, &ids[1..2], true),
        (Some(ids[97]), 2, &ids[98..], false),
        (Some(ids[98]), 9, &ids[99..], false),
        (Some(ids[99]), 9, &[], false),
    ] {
        let (page, more) = book.page(after, limit).unwrap();
        let seen: Vec<_> = page.iter().map(|record| record.id).collect();
        assert_eq!((seen.as_slice(), more), (expected, expected_more), "{after:?} {limit}");
    }
    assert_eq!(book.page(Some(Uuid::nil()), 9).unwrap_err().to_string(), "after there is no such authorisation");
}

#[test]
fn totals_count_sum_and_find_duplicates() {
    let dir = tempfile::tempdir().unwrap();
    let book = Book::open(dir.path(), RETENTION).unwrap();
    let none = json!({ "authorisations": 0, "references": 0, "duplicates": 0, "duplicates_live": 0, "keys": 0, "by_status": {} });
    assert_eq!(book.totals().unwrap(), none);
    let (taken, given_back) = ([Deed::Capture(600), Deed::Refund(100)], [Deed::Capture(600), Deed::Refund(600)]);
    let table: [(&str, &str, &[Deed]); 7] = [
        ("once", "t", &[]),
        ("retried", "tok_lost", &[]),
        ("retried", "t", &[]),
        ("twice", "t", &taken),
        ("twice", "t", &[]),
        ("undone", "t", &[Deed::Void]),
        ("undone", "t", &given_back),
    ];
    for (row, (reference, token, deeds)) in table.into_iter().enumerate() {
        let (id, _) = one(&book, &row.to_string(), authorise(reference, token), 0).unwrap();
        for deed in deeds {
            one(&book, &format!("{row} {deed:?}"), Command::Change(id, *deed), 0).unwrap();
        }
    }
    let part = |count: u64, amount: u64, captured: u64, refunded: u64| json!({ "count": count, "sums": { "EUR": { "amount": amount, "captured": captured, "refunded": refunded } } });
    let by_status = json!({
        "authorised": part(3, 3_000, 0, 0),
        "captured": part(1, 1_000, 600, 100),
        "refunded": part(1, 1_000, 600, 600),
        "declined": part(1, 1_000, 0, 0),
        "voided": part(1, 1_000, 0, 0),
    });
    let expected = json!({ "authorisations": 7, "references": 4, "duplicates": 2, "duplicates_live": 1, "keys": 12, "by_status": by_status });
    assert_eq!(book.totals().unwrap(), expected);
}
