//! Restarts: `kill -9` of the real process, and an orderly stop.

use std::collections::BTreeMap;

use crate::kit::Carrier;
use crate::receiver::Receiver;

#[tokio::test]
async fn a_killed_carrier_keeps_its_webhooks() {
    let (dir, mut receiver) = (tempfile::tempdir().unwrap(), Receiver::start().await);
    receiver.answers(&[], 503);
    let carrier = Carrier::start(dir.path(), "1ms", &["--webhook-url", &receiver.url]);
    for number in 0..10 {
        carrier.book(&format!("o-{number}"), "Anna").await;
    }
    let mut refused = BTreeMap::new();
    while refused.len() < 10 {
        let one = receiver.next().await;
        refused.insert(one.id.clone(), one.body);
    }
    drop(carrier);
    receiver.answers(&[], 200);
    let carrier = Carrier::start(dir.path(), "1ms", &["--webhook-url", &receiver.url]);
    assert_eq!(carrier.until_sent().await["delivered"], 10);
    let mut taken = BTreeMap::new();
    while !receiver.is_empty() {
        let one = receiver.next().await;
        assert!(one.verified.is_ok());
        taken.insert(one.id.clone(), one.body);
    }
    assert_eq!(taken, refused);
}

/// Some have changed when the carrier is killed, some not yet: each is heard of all the same, and is the parcel that was booked.
#[tokio::test]
async fn parcels_that_were_due_while_nobody_ran_are_reported_then() {
    let (dir, mut receiver) = (tempfile::tempdir().unwrap(), Receiver::start().await);
    let mut booked = BTreeMap::new();
    for round in 0..3 {
        let carrier = Carrier::start(dir.path(), "300ms", &["--webhook-url", &receiver.url]);
        for number in 0..10 {
            let reference = format!("o-{round}-{number}");
            booked.insert(reference.clone(), carrier.book(&reference, "Anna").await.text("tracking"));
        }
    }
    let carrier = Carrier::start(dir.path(), "300ms", &["--webhook-url", &receiver.url]);
    let mut heard = BTreeMap::new();
    while heard.len() < booked.len() {
        let one = receiver.next().await;
        assert!(one.verified.is_ok());
        let (reference, tracking) = (one.reference().to_owned(), one.body["tracking"].as_str().unwrap().to_owned());
        // One that was taken in the last moment before a kill comes again, under its id.
        let before = heard.insert(reference, (tracking, one.id.clone()));
        assert!(before.is_none_or(|(_, id)| id == one.id));
    }
    let heard: BTreeMap<_, _> = heard.into_iter().map(|(reference, (tracking, _))| (reference, tracking)).collect();
    assert_eq!(heard, booked);
    assert_eq!(carrier.until_sent().await["waiting"], 0);
    assert_eq!(carrier.get("/totals").await.body["by_status"]["delivered"]["count"], 30);
}

/// What is under way is waited for, so that it needn't be sent again.
#[tokio::test]
async fn an_orderly_stop_ends_what_is_under_way() {
    let (dir, mut receiver) = (tempfile::tempdir().unwrap(), Receiver::start().await);
    receiver.open(false);
    let carrier = Carrier::start(dir.path(), "1ms", &["--webhook-url", &receiver.url]);
    carrier.book("o", "Anna").await;
    receiver.next().await;
    carrier.terminate();
    receiver.open(true);
    assert_eq!(tokio::task::spawn_blocking(|| carrier.ended()).await.unwrap(), Some(0));
    let carrier = Carrier::start(dir.path(), "1ms", &["--webhook-url", &receiver.url]);
    assert_eq!(carrier.until_sent().await["delivered"], 1);
    assert!(receiver.is_empty());
}
