//! What the receiver hears, and how often.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::json;

use crate::kit::{Carrier, NEVER};
use crate::receiver::Receiver;

#[tokio::test]
async fn each_change_is_reported_once_and_signed() {
    let (dir, mut receiver) = (tempfile::tempdir().unwrap(), Receiver::start().await);
    let carrier = Carrier::start(dir.path(), "20ms", &["--webhook-url", &receiver.url]);
    let mut trackings = BTreeMap::new();
    for recipient in ["slow", "Anna", "lost", "found"] {
        trackings.insert(recipient.to_owned(), carrier.book(recipient, recipient).await.text("tracking"));
    }
    carrier.recall(&trackings["slow"], "r").await;
    let came = receiver.take(5).await;
    let mut heard = BTreeMap::<_, Vec<_>>::new();
    for one in &came {
        assert!(one.verified.is_ok(), "{one:?}");
        let expected = json!({ "tracking": trackings[one.reference()], "reference": one.reference(), "status": one.status(),
            "at": one.body["at"] });
        assert_eq!(one.body, expected);
        heard.entry(one.reference()).or_default().push(one.status());
    }
    let expected =
        [("Anna", vec!["delivered"]), ("found", vec!["lost", "delivered"]), ("lost", vec!["lost"]), ("slow", vec!["recalled"])];
    assert_eq!(heard.into_iter().collect::<Vec<_>>(), expected);
    let ids: BTreeSet<_> = came.iter().map(|one| &one.id).collect();
    assert_eq!(ids.len(), 5);
    assert_eq!(carrier.until_sent().await, json!({ "waiting": 0, "delivered": 5, "given_up": 0 }));
    assert!(receiver.is_empty());
}

/// Nothing is heard of a slow one, nor of one that was recalled in time.
#[tokio::test]
async fn a_slow_parcel_stays_booked_and_a_recalled_one_recalled() {
    let (dir, mut receiver) = (tempfile::tempdir().unwrap(), Receiver::start().await);
    let carrier = Carrier::start(dir.path(), "2s", &["--webhook-url", &receiver.url]);
    let slow = carrier.book("slow", "slow").await.text("tracking");
    let recalled = carrier.book("recalled", "Anna").await.text("tracking");
    carrier.recall(&recalled, "r").await;
    assert_eq!(receiver.next().await.status(), "recalled");
    // Due after both.
    carrier.book("after", "Anna").await;
    assert_eq!(receiver.next().await.reference(), "after");
    assert_eq!((carrier.status(&slow).await.as_str(), carrier.status(&recalled).await.as_str()), ("booked", "recalled"));
    assert!(receiver.is_empty());
}

/// Whatever is answered but 2xx: the same id and body, a signature of its own for each attempt; redirects lead nowhere.
#[tokio::test]
async fn a_webhook_is_sent_until_it_is_taken() {
    let (dir, mut receiver) = (tempfile::tempdir().unwrap(), Receiver::start().await);
    receiver.answers(&[500, 302, 404, 307], 200);
    let carrier = Carrier::start(dir.path(), "1ms", &["--webhook-url", &receiver.url]);
    carrier.book("o", "Anna").await;
    let came = receiver.take(5).await;
    for one in &came {
        assert!(one.verified.is_ok(), "{one:?}");
        assert_eq!((&one.id, &one.body), (&came[0].id, &came[0].body));
    }
    // 0.2, 0.4, 0.8 and 1.6 s lie between them.
    assert!(came[4].timestamp - came[0].timestamp >= 2);
    assert_ne!(came[0].signature, came[4].signature);
    assert_eq!(carrier.until_sent().await["delivered"], 1);
    assert!(receiver.is_empty());
}

#[tokio::test]
async fn so_many_are_under_way_and_no_more() {
    let (dir, mut receiver) = (tempfile::tempdir().unwrap(), Receiver::start().await);
    receiver.open(false);
    let carrier = Carrier::start(dir.path(), "1ms", &["--webhook-url", &receiver.url]);
    for number in 0..80 {
        carrier.book(&format!("o-{number}"), "Anna").await;
    }
    let mut came = receiver.take(32).await;
    receiver.open(true);
    came.extend(receiver.take(48).await);
    let ids: BTreeSet<_> = came.iter().map(|one| one.id.clone()).collect();
    assert_eq!((ids.len(), receiver.most()), (80, 32));
    assert_eq!(carrier.until_sent().await["delivered"], 80);
}

#[tokio::test]
async fn without_an_address_nothing_is_reported() {
    let dir = tempfile::tempdir().unwrap();
    let carrier = Carrier::start(dir.path(), "1ms", &[]);
    let tracking = carrier.book("o", "Anna").await.text("tracking");
    carrier.until(&tracking, "delivered").await;
    assert_eq!(carrier.until_sent().await, json!({ "waiting": 0, "delivered": 0, "given_up": 0 }));
    carrier.terminate();
    assert_eq!(carrier.ended(), Some(0));
    let carrier = Carrier::start(dir.path(), NEVER, &[]);
    assert_eq!(carrier.status(&tracking).await, "delivered");
}
