//! Faults that are switched on while the carrier runs, and what its receiver sees of them.

use std::collections::{BTreeMap, BTreeSet};

use carrier::faults::{Faults, Forgery};
use serde_json::json;

use crate::kit::Carrier;
use crate::receiver::Receiver;

#[tokio::test]
async fn a_webhook_comes_again_under_its_id() {
    let (dir, mut receiver) = (tempfile::tempdir().unwrap(), Receiver::start().await);
    let carrier = Carrier::start(dir.path(), "1ms", &["--webhook-url", &receiver.url]);
    carrier.faults(json!({ "webhook_repeat_rate": 1 })).await;
    carrier.book("o", "Anna").await;
    let came = receiver.take(2).await;
    assert!(came.iter().all(|one| one.verified.is_ok()));
    assert_eq!((&came[0].id, &came[0].body), (&came[1].id, &came[1].body));
    assert_eq!(carrier.until_sent().await["delivered"], 1);
    assert!(receiver.is_empty());
}

/// The forged one comes first, so a receiver that believes it believes a lie; of each kind there are some.
#[tokio::test]
async fn a_forged_copy_comes_before_the_true_one() {
    let (dir, mut receiver) = (tempfile::tempdir().unwrap(), Receiver::start().await);
    let carrier = Carrier::start(dir.path(), "1ms", &["--webhook-url", &receiver.url]);
    carrier.faults(json!({ "webhook_forge_rate": 1 })).await;
    for number in 0..20 {
        carrier.book(&format!("o-{number}"), "Anna").await;
    }
    let mut by_reference = BTreeMap::<_, Vec<_>>::new();
    for one in receiver.take(40).await {
        by_reference.entry(one.reference().to_owned()).or_default().push(one);
    }
    for came in by_reference.values() {
        let [forged, genuine] = came.as_slice() else { panic!("{came:?}") };
        assert!(forged.verified.is_err() && !forged.signed, "{forged:?}");
        assert!(genuine.verified.is_ok(), "{genuine:?}");
        assert_eq!((forged.status(), genuine.status()), ("lost", "delivered"));
        assert_eq!(forged.body["tracking"], genuine.body["tracking"]);
    }
    let forged = by_reference.values().map(|came| &came[0]);
    assert_eq!(forged.map(|one| one.signature.is_some()).collect::<BTreeSet<_>>().len(), 2);
    assert_eq!(carrier.until_sent().await["delivered"], 20);
}

#[tokio::test]
async fn a_late_copy_is_signed_and_too_old() {
    let (dir, mut receiver) = (tempfile::tempdir().unwrap(), Receiver::start().await);
    let carrier = Carrier::start(dir.path(), "1ms", &["--webhook-url", &receiver.url]);
    carrier.faults(json!({ "webhook_late_rate": 1 })).await;
    carrier.book("o", "Anna").await;
    let came = receiver.take(2).await;
    let [late, genuine] = came.as_slice() else { panic!("{came:?}") };
    assert!(late.signed && late.verified.is_err(), "{late:?}");
    assert!(genuine.verified.is_ok() && genuine.timestamp - late.timestamp > 600, "{genuine:?}");
    assert_eq!((&late.id, &late.body), (&genuine.id, &genuine.body));
    assert_eq!(carrier.until_sent().await["delivered"], 1);
    assert!(receiver.is_empty());
}

#[tokio::test]
async fn shuffled_webhooks_come_in_another_order() {
    let (dir, mut receiver) = (tempfile::tempdir().unwrap(), Receiver::start().await);
    let carrier = Carrier::start(dir.path(), "1ms", &["--webhook-url", &receiver.url]);
    carrier.faults(json!({ "webhook_shuffle_ms": 1_000 })).await;
    for number in 0..20 {
        carrier.book(&format!("o-{number:02}"), "Anna").await;
    }
    let order: Vec<_> = receiver.take(20).await.iter().map(|one| one.reference().to_owned()).collect();
    assert!(!order.is_sorted(), "{order:?}");
    assert_eq!(carrier.until_sent().await["delivered"], 20);
}

/// A retry finds out what was done, as with the acquirer.
#[tokio::test]
async fn a_failure_after_the_deed_is_retried_to_exactly_one() {
    let dir = tempfile::tempdir().unwrap();
    let carrier = Carrier::start(dir.path(), "1d", &[]);
    for (name, fault, status, done) in [
        ("fail", json!({ "fail_rate": 1 }), 500, false),
        ("fail-after", json!({ "fail_after_rate": 1.0 }), 500, true),
        ("hang", json!({ "timeout_rate": 1.0, "hang_ms": 20 }), 504, true),
        ("refuse", json!({ "refuse": true }), 503, false),
    ] {
        carrier.faults(fault).await;
        assert_eq!(carrier.book(name, "Anna").await.status, status, "{name}");
        carrier.faults(json!({})).await;
        let retry = carrier.book(name, "Anna").await;
        assert_eq!((retry.status, retry.replayed), (201, done), "{name}");
    }
    assert_eq!(carrier.get("/totals").await.body["duplicates"], 0);
}

/// What befalls a webhook depends on seed and number alone; rates are met, and their ends are exact.
#[test]
fn a_seed_repeats_itself_and_rates_are_met() {
    let all = |rate: f64, seed| {
        let faults = Faults {
            webhook_repeat_rate: rate,
            webhook_forge_rate: rate,
            webhook_late_rate: rate,
            webhook_shuffle_ms: 1_000,
            seed,
            ..Faults::default()
        };
        (0..10_000).map(|number| faults.fate(number)).collect::<Vec<_>>()
    };
    assert_eq!(all(0.5, 7), all(0.5, 7));
    assert_ne!(all(0.5, 7), all(0.5, 8));
    // Four standard deviations to either side.
    for (rate, low, high) in [(0.0, 0, 0), (0.1, 880, 1_120), (0.5, 4_800, 5_200), (1.0, 10_000, 10_000)] {
        let fates = all(rate, 3);
        for hits in [
            fates.iter().filter(|fate| fate.repeat.is_some()).count(),
            fates.iter().filter(|fate| fate.forge.is_some()).count(),
            fates.iter().filter(|fate| fate.late).count(),
        ] {
            assert!((low..=high).contains(&hits), "{rate}: {hits}");
        }
        assert!(fates.iter().all(|fate| fate.wait < 1_000));
    }
    for forgery in [Forgery::Unsigned, Forgery::OtherSecret, Forgery::OtherBody] {
        assert!(all(1.0, 0).iter().any(|fate| fate.forge == Some(forgery)));
    }
}
