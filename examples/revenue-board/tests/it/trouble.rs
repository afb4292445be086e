//! What analytics does about records and databases that aren't as they should be.

use crate::python::{Analytics, there};
use crate::shop::{Shop, eventually};

const KEY: &str = "018f0000-0000-7000-8000-00000000000a";

/// Strangers' records park, each with a reason, and hold up nobody; a broken chain stops its partition alone, until somebody has decided.
#[tokio::test(flavor = "multi_thread")]
async fn strays_hold_up_nobody_and_a_broken_chain_stops_its_partition() {
    if !there() {
        return;
    }
    let mut shop = Shop::open(17).await;
    let mut analytics = Analytics::new(&shop);
    shop.trade(40).await;
    shop.stray("orders", 0, &[], None, None).await;
    shop.stray("orders", 1, &[("ce_type", "farandole.orders.OrderConfirmed"), ("farandole", "l=1")], Some("damaged"), Some(b"x"))
        .await;
    shop.stray("payments", 0, &[("ce_type", "farandole.payments.SomethingNewer")], Some("unknown"), Some(b"x")).await;
    shop.stray("payments", 1, &[("ce_type", "farandole.payments.PaymentVoided")], Some("unframed"), Some(b"\xff\xff")).await;
    let voided = [("ce_type", "farandole.payments.PaymentVoided")];
    shop.stray("payments", 2, &voided, Some("no-schema"), Some(b"\0\x7f\xff\xff\xff\0")).await;
    shop.stray("payments", 2, &voided, Some("tombstone"), None).await;
    shop.stray_with_a_name_that_is_no_text("orders", 1, "unreadable");
    analytics.start();
    shop.trade(40).await;
    shop.settled().await;
    let parked = [
        "unknown to this build",
        "field `n` is missing",
        "`ce_type`",
        "schema id",
        "no schema with id",
        "no value",
        "can't be read",
    ];
    eventually("the strays to be parked", async || analytics.told(&["parked"]).lines().count() == 7).await;
    let said = analytics.told(&["parked"]);
    assert!(parked.iter().all(|reason| said.contains(reason)), "{said}");

    // Of another source, from nowhere: what comes after it in its partition waits.
    let link = format!("l=1;n=5;p=1:4;c=;k={KEY};i=1/1");
    shop.stray("orders", 2, &[("ce_source", "/stranger"), ("farandole", &link)], Some("x"), Some(b"x")).await;
    eventually("the partition to stop", async || analytics.said().contains("orders/2 stopped")).await;
    let before = shop.shown().await;
    shop.trade(60).await;
    eventually("the other partitions to go on", async || shop.shown().await != before).await;
    assert_ne!(shop.shown().await, shop.truth);
    // The message says what to do; the record is skipped.
    let said = analytics.said();
    let skip = said.rsplit("skip it with `analytics ").next().unwrap().split('`').next().unwrap().to_owned();
    let refused = analytics.tell(&skip.split(' ').collect::<Vec<_>>());
    assert_eq!(refused.status.code(), Some(1), "not while it runs");
    analytics.stop().await;
    analytics.told(&skip.split(' ').collect::<Vec<_>>());
    analytics.start();
    shop.settled().await;
    // One that is given up is gone.
    analytics.stop().await;
    let first = analytics.told(&["parked"]).split(' ').next().unwrap().to_owned();
    analytics.told(&["parked", "--drop", &first]);
    assert_eq!(analytics.told(&["parked"]).lines().count(), 6);
    shop.verified().await;
}

/// A database that was set back is noticed before anything is read or published; a heal goes on in a new lineage, and the board follows.
#[tokio::test(flavor = "multi_thread")]
async fn a_database_that_was_set_back_is_refused_and_healed() {
    if !there() {
        return;
    }
    let mut shop = Shop::open(23).await;
    let mut analytics = Analytics::new(&shop);
    shop.trade(50).await;
    analytics.start();
    shop.settled().await;
    analytics.stop().await;
    let backup = analytics.files();
    assert!(analytics.told(&["heal"]).contains("nothing to heal"));
    for _ in 0..3 {
        shop.trade(50).await;
        analytics.start();
        shop.settled().await;
        analytics.stop().await;
    }
    let before = shop.published().await;
    analytics.restore(&backup);
    shop.trade(50).await;
    analytics.start();
    assert_eq!(analytics.ended().await, Some(1));
    assert!(analytics.said().contains("older than the topic"), "{}", analytics.said());
    assert_eq!(shop.published().await, before, "nothing was published");

    assert!(analytics.told(&["heal"]).contains("nothing was done"));
    assert!(analytics.told(&["heal", "--execute"]).contains(" begins; "));
    analytics.start();
    shop.settled().await;
    analytics.stop().await;
    let chains = shop.verified().await;
    let lineages: Vec<i64> = chains.iter().map(|chain| chain["lineage"].as_i64().unwrap()).collect();
    assert!(lineages.len() == 2 && lineages[0] == 1 && lineages[1] > 1, "{chains:?}");
    let links: i64 = chains.iter().map(|chain| chain["links"].as_i64().unwrap()).sum();
    eventually("the board to have every report", async || shop.reports().await == links).await;
}

/// A topic that was deleted and created again is another one: of those that are read its partitions stop, of the own one nothing is published,
/// until somebody has decided. Then what the outbox still holds is published once more, in a new lineage.
#[tokio::test(flavor = "multi_thread")]
async fn topics_that_were_made_anew_are_noticed() {
    if !there() {
        return;
    }
    let mut shop = Shop::open(31).await;
    let mut analytics = Analytics::new(&shop);
    shop.trade(30).await;
    analytics.start();
    shop.settled().await;
    analytics.stop().await;
    let reports = shop.published().await.len();
    let payments = format!("{}payments", shop.prefix);

    shop.make_anew("payments").await;
    analytics.start();
    eventually("the partition to stop", async || analytics.said().contains("payments/0 stopped: the topic was deleted")).await;
    analytics.stop().await;
    assert!(analytics.told(&["positions"]).contains(&payments));
    let forgotten = analytics.told(&["positions", "--forget", &payments]);
    assert!(!forgotten.contains(&payments) && forgotten.contains("orders"), "{forgotten}");

    shop.make_anew("analytics").await;
    analytics.start();
    assert_eq!(analytics.ended().await, Some(1));
    assert!(analytics.said().contains("analytics was deleted and created again"), "{}", analytics.said());
    assert!(shop.published().await.is_empty());
    assert!(analytics.told(&["heal", "--execute"]).contains(" begins; "));
    analytics.start();
    eventually("the reports to be published again", async || shop.published().await.len() == reports).await;
    analytics.stop().await;
    let chains = shop.verified().await;
    assert!(chains.len() == 1 && chains[0]["lineage"].as_i64() > Some(1), "{chains:?}");
}
