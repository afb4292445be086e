//! Inputs that can't be processed: parked, looked at, tried again, dropped; and told in the journal.

use std::process::Stdio;

use serde_json::Value;

use crate::kit::{self, Own};
use crate::records::{foreign, of_key, parked};

/// A type that no build knows yet.
const NEWER: (&str, &[u8]) = ("farandole.payments.SomethingNewer", b"\x00\x00\x00\x00\x01x");

/// The journal's entries of `key`, by type and offset of the input that they are about.
async fn journal(own: &Own, key: &str) -> Vec<(String, String)> {
    let records = of_key(own, "orders.journal", key).await;
    let ours = records.into_iter().filter(|record| record.key.as_deref() == Some(key.as_bytes()));
    ours.map(|record| {
        let (_, link) = record.link().unwrap().unwrap();
        let kind = record.header("ce_type").unwrap().trim_start_matches("farandole.journal.").to_owned();
        (kind, link.cause.rsplit('/').next().unwrap().to_owned())
    })
    .collect()
}

/// At the limit of what may be parked the partition waits and says why; when there is room it goes on, and nothing is lost.
#[tokio::test(flavor = "multi_thread")]
async fn parking_has_a_limit() {
    let own = kit::open_with(&[("orders", "FARANDOLE_INTAKE_MAX_PARKED_PER_AGGREGATE", "3")]).await;
    for _ in 0..5 {
        foreign(&own, "payments", "stuck", "farandole.payments.SomethingNewer", Some(b"\x00\x00\x00\x00\x01x")).await;
    }
    kit::eventually("orders to say that it can't park more", async || {
        let (_, ready) = own.get("orders", "/readyz").await;
        ready.to_string().contains("inputs of stuck would be parked; the limit is 3").then_some(())
    })
    .await;
    assert_eq!(parked(&own, "orders").await.len(), 3);
    let (ended, gone, _) = own.tell(&["parked", "drop", "stuck", "--all", "--reason", "a test"]).await;
    assert!(ended && gone.lines().count() == 3, "{gone}");
    kit::eventually("the rest to be parked", async || (parked(&own, "orders").await.len() == 2).then_some(())).await;
    kit::eventually("orders to be well", async || {
        let (_, ready) = own.get("orders", "/readyz").await;
        (!ready.to_string().contains("limit")).then_some(())
    })
    .await;
}

/// An event about an order that isn't known waits, and takes effect once it is released; here the order never comes, so it stays.
#[tokio::test(flavor = "multi_thread")]
async fn an_event_about_an_unknown_order_waits() {
    let own = kit::open().await;
    own.receive("11111", 5).await;
    let first = own.place("11111", 1, "tok_a").await;
    own.until(&first, "confirmed").await;
    // A real record of another shop's order: read one of payments' events and send it under another key with another id.
    let pool = own.shop.pool("payments").await.unwrap();
    let payload: Vec<u8> =
        sqlx::query_scalar("select payload from farandole.outbox where type like '%PaymentAuthorised' limit 1")
            .fetch_one(&pool)
            .await
            .unwrap();
    pool.close().await;
    let unknown = uuid::Uuid::now_v7();
    let at = payload.windows(36).position(|w| w == first.as_bytes()).expect("the id is in the event");
    let mut forged = payload.clone();
    forged[at..at + 36].copy_from_slice(unknown.to_string().as_bytes());
    foreign(&own, "payments", &unknown.to_string(), "farandole.payments.PaymentAuthorised", Some(&forged)).await;
    kit::eventually("the event to be parked", async || {
        parked(&own, "orders").await.iter().any(|(aggregate, _)| *aggregate == unknown.to_string()).then_some(())
    })
    .await;
    // When the trouble ends, so does the waiting: the order appears, and the parked event confirms it.
    let pool = own.shop.pool("orders").await.unwrap();
    sqlx::query("insert into orders select $1, customer, currency, total, lines, placed_at, '{\"state\": \"placed\", \"confirm_by\": 9000000000000000}', '[]' from orders where order_id = $2::uuid")
        .bind(unknown)
        .bind(first.parse::<uuid::Uuid>().unwrap())
        .execute(&pool)
        .await
        .unwrap();
    pool.close().await;
    own.until(&unknown.to_string(), "confirmed").await;
    kit::eventually("nothing to be parked", async || (parked(&own, "orders").await.is_empty()).then_some(())).await;
    let kinds: Vec<String> = journal(&own, &unknown.to_string()).await.into_iter().map(|(kind, _)| kind).collect();
    assert_eq!(kinds, ["Parked", "Released"]);
}

/// An operator sees what is parked, drops the input that will never be of use, and the journal tells who and why.
#[tokio::test(flavor = "multi_thread")]
async fn an_operator_drops_what_is_of_no_use() {
    let own = kit::open().await;
    let (ended, printed, said) = own.tell(&["parked"]).await;
    assert!(ended && printed.is_empty() && said.contains("nothing is parked"), "{printed}{said}");
    for _ in 0..3 {
        foreign(&own, "payments", "stuck", NEWER.0, Some(NEWER.1)).await;
    }
    kit::eventually("all to be parked", async || (parked(&own, "orders").await.len() == 3).then_some(())).await;

    let (ended, printed, said) = own.tell(&["parked", "--output", "json"]).await;
    assert!(ended, "{said}");
    let listed: Value = serde_json::from_str(&printed).unwrap();
    let queues = &listed["queues"];
    assert_eq!(listed["more"], false);
    assert_eq!((&queues[0]["aggregate"], &queues[0]["inputs"]), (&"stuck".into(), &3.into()), "{queues}");
    assert!(queues[0]["reason"].as_str().unwrap().contains("SomethingNewer is unknown to this build"), "{queues}");
    let first = queues[0]["first"].as_str().unwrap().to_owned();
    // Guard: the hooks for panics pass what is no panic on. Without, an end that is a pipe's or a disk's looks like a fault, or like success.
    let (code, said) = own.tell_nobody(&["parked"], Stdio::piped()).await;
    assert!(code == Some(141) && !said.contains("panic"), "{code:?}: {said}");
    let full = std::fs::OpenOptions::new().write(true).open("/dev/full").unwrap();
    let (code, said) = own.tell_nobody(&["parked"], full.into()).await;
    assert!(code == Some(1) && said.contains("can't write to standard output") && !said.contains("panic"), "{code:?}: {said}");

    assert!(own.tell(&["parked", "retry", "stuck"]).await.0);
    for verb in ["retry", "drop"] {
        let reason: &[&str] = if verb == "drop" { &["--reason", "none"] } else { &[] };
        let (ended, _, said) = own.tell(&[&["parked", verb, "nobody"], reason].concat()).await;
        assert!(!ended && said.contains("nothing is parked under nobody"), "{said}");
    }
    let (ended, _, said) = own.tell(&["parked", "drop", "stuck"]).await;
    assert!(!ended && said.contains("--reason"), "without a reason nothing is dropped: {said}");

    let (ended, dropped, said) = own.tell(&["parked", "drop", "stuck", "--reason", "sent by a test"]).await;
    assert!(ended && dropped.trim() == first, "the one that holds the others up: {dropped}{said}");
    assert_eq!(parked(&own, "orders").await.len(), 2);
    let (ended, dropped, said) = own.tell(&["parked", "drop", "stuck", "--all", "--reason", "sent by a test"]).await;
    assert!(ended && dropped.lines().count() == 2, "{dropped}{said}");
    assert!(parked(&own, "orders").await.is_empty());

    let told = kit::eventually("the journal to tell all of it", async || {
        Some(journal(&own, "stuck").await).filter(|entries| entries.len() == 6)
    })
    .await;
    let kinds: Vec<&str> = told.iter().map(|(kind, _)| kind.as_str()).collect();
    assert_eq!(kinds, ["Parked", "Parked", "Parked", "Dropped", "Dropped", "Dropped"]);
    let of = |range: std::ops::Range<usize>| told[range].iter().map(|(_, of)| of.clone()).collect::<Vec<_>>();
    assert_eq!(of(0..3), of(3..6), "each is told of by its place, in order");
    let last = of_key(&own, "orders.journal", "stuck").await.pop().unwrap().value.unwrap();
    let text = String::from_utf8_lossy(&last).into_owned();
    assert!(text.contains("sent by a test") && text.contains("ann"), "{text}");
}

/// Many failures within a minute are likely to have one cause: the partition waits, instead of parking its whole topic.
#[tokio::test(flavor = "multi_thread")]
async fn failures_a_minute_have_a_limit() {
    let own = kit::open_with(&[("orders", "FARANDOLE_INTAKE_MAX_FAILURES_A_MINUTE", "4")]).await;
    for i in 0..12 {
        foreign(&own, "payments", &format!("key-{i}"), NEWER.0, Some(NEWER.1)).await;
    }
    kit::eventually("orders to say that too much fails", async || {
        let (_, ready) = own.get("orders", "/readyz").await;
        let text = ready.to_string();
        (text.contains("4 inputs failed within a minute") && text.contains("SomethingNewer is unknown")).then_some(())
    })
    .await;
    assert_eq!(parked(&own, "orders").await.len(), 4);
    // A minute later there is room for some more; here the minute is made to have gone by.
    let pool = own.shop.pool("orders").await.unwrap();
    kit::eventually("the rest to be parked", async || {
        sqlx::query("update farandole.parked set failed_at = failed_at - interval '2 minutes'").execute(&pool).await.unwrap();
        (parked(&own, "orders").await.len() == 12).then_some(())
    })
    .await;
    pool.close().await;
}

/// A producer adds an event that nobody needs to know. Guard: `intake.unknown`. Without, the order's key parks, the cancellation
/// behind it goes unheard, and the card stays authorised.
#[tokio::test(flavor = "multi_thread")]
async fn a_new_event_that_nobody_needs_stops_no_service_that_says_so() {
    let ignores = r#"{ orders = "ignore" }"#;
    let ignoring = ["shipping", "payments"].map(|service| (service, "FARANDOLE_INTAKE_UNKNOWN", ignores));
    let own = kit::open_with(&ignoring).await;
    own.receive("11111", 5).await;
    let order = own.place("11111", 1, "tok_a").await;
    own.until(&order, "confirmed").await;
    foreign(&own, "orders", &order, "farandole.orders.OrderGiftWrapped", Some(b"\x00\x00\x00\x00\x01x")).await;
    let (status, answer) = own.post("orders", &format!("/orders/{order}/cancel"), None, "").await;
    assert!(status.is_success(), "{answer}");
    own.until_at("payments", &order, "voided").await;
    assert!(parked(&own, "payments").await.is_empty());
    // Inventory, which was told nothing, keeps what it doesn't know and what is behind it.
    kit::eventually("inventory to park it", async || (parked(&own, "inventory").await.len() >= 2).then_some(())).await;
    assert!(parked(&own, "inventory").await[0].1.contains("OrderGiftWrapped"));
}
