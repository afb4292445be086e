//! Webhooks that nobody takes, by a clock of the test's own.

use std::sync::Arc;

use carrier::book::{Answer, Asked, Bells, Book, Carriage, What};
use carrier::faults::Faults;
use carrier::parcel::{Command, Order, Status};
use carrier::tables;
use jiff::{SignedDuration, Timestamp};

const DAY: i64 = 86_400_000;

fn execute(book: &Book, what: What, at: i64) -> Answer {
    let now = Timestamp::from_millisecond(at).unwrap();
    book.execute(&[Asked { what, faults: Faults::default(), now }]).unwrap().pop().unwrap().unwrap()
}

fn start(dir: &std::path::Path) -> Book {
    let (transit, bells) = (SignedDuration::from_secs(2), Arc::new(Bells::default()));
    Book::open_for(dir, SignedDuration::from_hours(24), Carriage { transit, reports: true, bells }).unwrap()
}

fn order(book: &Book, key: &str, recipient: &str, at: i64) {
    let order = Order { reference: key.to_owned(), recipient: recipient.to_owned() };
    execute(book, What::Request(key.to_owned(), Command::Book(order)), at);
}

#[test]
fn parcels_change_when_their_time_has_come() {
    let dir = tempfile::tempdir().unwrap();
    let book = start(dir.path());
    for (key, at) in [("Anna", 0), ("lost", 1), ("found", 2), ("slow", 3)] {
        order(&book, key, key, at);
    }
    let statuses = |book: &Book| book.page(None, 9).unwrap().0.iter().map(|parcel| parcel.status).collect::<Vec<_>>();
    use Status::*;
    for (at, expected, next) in [
        (1_999, [Booked, Booked, Booked, Booked], Some(2_000)),
        (2_000, [Delivered, Booked, Booked, Booked], Some(2_001)),
        (2_500, [Delivered, Lost, Lost, Booked], Some(4_500)),
        (4_499, [Delivered, Lost, Lost, Booked], Some(4_500)),
        (4_500, [Delivered, Lost, Delivered, Booked], None),
        (9_999, [Delivered, Lost, Delivered, Booked], None),
    ] {
        execute(&book, What::Due, at);
        assert_eq!((statuses(&book).as_slice(), tables::next_due(&book.read().unwrap()).unwrap()), (&expected[..], next), "{at}");
    }
}

#[test]
fn pauses_double_up_to_half_a_minute_and_end_after_a_day() {
    let dir = tempfile::tempdir().unwrap();
    let book = start(dir.path());
    order(&book, "o", "Anna", 0);
    execute(&book, What::Due, 2_000);
    let (mut now, mut pauses) = (2_000, Vec::new());
    loop {
        let (found, _) = tables::first(&book.read().unwrap(), now, 9).unwrap();
        let [webhook] = found.as_slice() else { break };
        execute(&book, What::Sent(webhook.clone(), false), now);
        let (none, next) = tables::first(&book.read().unwrap(), now, 9).unwrap();
        assert!(none.is_empty());
        let Some(next) = next else { break };
        pauses.push(next - now);
        now = next;
    }
    assert_eq!(pauses[..9], [200, 400, 800, 1_600, 3_200, 6_400, 12_800, 25_600, 30_000]);
    assert!(pauses[9..].iter().all(|pause| *pause == 30_000));
    // The last attempt is the first after a day.
    assert!((DAY..DAY + 30_000).contains(&(now - 2_000)), "{now}");
    let totals = book.totals().unwrap();
    assert_eq!(totals["webhooks"], serde_json::json!({ "waiting": 0, "delivered": 0, "given_up": 1 }));
}
