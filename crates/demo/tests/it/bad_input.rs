//! Bad requests and bad records: each has a decided answer, and nothing is lost.

use std::time::Duration;

use serde_json::{Value, json};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};

use crate::kit::{self, Own, order};
use crate::records::{foreign, of_key, parked, send};

#[tokio::test(flavor = "multi_thread")]
async fn the_ways_of_an_order() {
    let own = kit::open().await;
    own.receive("11111", 10).await;

    let confirmed = own.place("11111", 4, "tok_a").await;
    own.until(&confirmed, "confirmed").await;
    assert_eq!(own.stock("11111").await, (10, 4));

    let short = own.place("11111", 7, "tok_a").await;
    let body = own.until(&short, "rejected").await;
    assert_eq!(body["reason"], "OUT_OF_STOCK");
    assert_eq!(own.stock("11111").await, (10, 4), "nothing of a rejected order is reserved");

    let unknown = own.place("99999", 1, "tok_a").await;
    assert_eq!(own.until(&unknown, "rejected").await["reason"], "UNKNOWN_SKU");

    let declined = own.place("11111", 2, "tok_decline_a").await;
    assert_eq!(own.until(&declined, "rejected").await["reason"], "CARD_DECLINED");
    kit::eventually("the stock of the declined order to be released", async || {
        (own.stock("11111").await == (10, 4)).then_some(())
    })
    .await;

    // Cancelled by the customer after confirmation: shipping keeps the parcel, the card is voided, the stock released.
    let (status, _) = own.post("orders", &format!("/orders/{confirmed}/cancel"), None, "{}").await;
    assert!(status.is_success(), "{status}");
    assert_eq!(own.until(&confirmed, "cancelled").await["reason"], "CUSTOMER_REQUEST");
    own.until_at("shipping", &confirmed, "cancelled").await;
    kit::eventually("stock and card to be given back", async || {
        let (_, payment) = own.get("payments", &format!("/payments/{confirmed}")).await;
        (own.stock("11111").await == (10, 0) && payment["state"] == "voided").then_some(())
    })
    .await;

    // A cancel of a settled order: again is the same answer, of a rejected one a conflict. Neither is an event.
    let (status, body) = own.post("orders", &format!("/orders/{confirmed}/cancel"), None, "{}").await;
    assert_eq!((status.as_u16(), &body["state"]), (200, &json!("cancelled")));
    let (status, body) = own.post("orders", &format!("/orders/{short}/cancel"), None, "{}").await;
    assert_eq!(status, 409, "{body}");
}

#[tokio::test(flavor = "multi_thread")]
async fn requests_that_are_wrong() {
    let own = kit::open().await;
    own.receive("11111", 100).await;

    let line = |quantity: Value, price: Value| json!({ "customer": "c1", "card_token": "t", "currency": "GBP", "lines": [{ "sku": "11111", "quantity": quantity, "unit_price": price }] });
    let cases = [
        ("a negative quantity", line(json!(-1), json!(1)), "lines[0].quantity"),
        ("a quantity of none", line(json!(0), json!(1)), "lines[0].quantity"),
        ("a wrong type", line(json!("six"), json!(1)), "lines[0].quantity"),
        ("an amount that overflows", line(json!(1_000_000), json!(i64::MAX)), "lines[0].unit_price"),
        ("no lines", json!({ "customer": "c1", "card_token": "t", "currency": "GBP", "lines": [] }), "lines"),
        (
            "a currency in small letters",
            json!({ "customer": "c1", "card_token": "t", "currency": "gbp", "lines": [{ "sku": "1", "quantity": 1, "unit_price": 1 }] }),
            "currency",
        ),
    ];
    for (what, body, field) in cases {
        let (status, problem) = own.post("orders", "/orders", None, body.to_string()).await;
        assert!((400..=422).contains(&status.as_u16()), "{what}: {status} {problem}");
        let fields: Vec<&str> = problem["errors"].as_array().into_iter().flatten().filter_map(|e| e["field"].as_str()).collect();
        assert!(fields.iter().any(|f| f.starts_with(field)), "{what}: {problem}");
    }

    let (status, _) = own.post("orders", "/orders", None, "{not json").await;
    assert_eq!(status, 400, "no JSON");
    assert!(announced(&own, 3 << 20).await.starts_with("HTTP/1.1 413 "), "an oversized body");
    let (status, _) = own.get("orders", "/orders/0193fd0e-0000-7000-8000-000000000000").await;
    assert_eq!(status, 404, "an order that nobody placed");
    let (status, _) = own.post("orders", "/orders/0193fd0e-0000-7000-8000-000000000000/cancel", None, "{}").await;
    assert_eq!(status, 404, "a cancel of an order that nobody placed");
    let (status, _) = own.get("orders", "/orders/none").await;
    assert_eq!(status, 400, "an id that is none");

    // Idempotency: the same again is the same order, another body isn't.
    let body = order("11111", 1, "tok_a").to_string();
    let (status, first) = own.post("orders", "/orders", Some("k1"), body.clone()).await;
    assert_eq!(status, 201);
    let (status, again) = own.post("orders", "/orders", Some("k1"), body).await;
    assert_eq!((status.as_u16(), &again), (201, &first));
    let (status, problem) = own.post("orders", "/orders", Some("k1"), order("11111", 2, "tok_a").to_string()).await;
    assert_eq!(status, 422, "{problem}");
    own.until(first["order_id"].as_str().unwrap(), "confirmed").await;
    assert_eq!(own.stock("11111").await.1, 1, "one order was placed");
}

/// What orders answers to the announcement of a body of `length` bytes, before any of it is sent: a client that writes on may
/// meet a closed connection instead of the answer.
async fn announced(own: &Own, length: usize) -> String {
    let url = own.shop.url("orders");
    let mut stream = tokio::net::TcpStream::connect(url.trim_start_matches("http://")).await.unwrap();
    let head =
        format!("POST /orders HTTP/1.1\r\nHost: orders\r\nContent-Type: application/json\r\nContent-Length: {length}\r\n\r\n");
    stream.write_all(head.as_bytes()).await.unwrap();
    let mut answer = vec![0; 4096];
    let n = tokio::time::timeout(Duration::from_secs(10), stream.read(&mut answer)).await.unwrap().unwrap();
    String::from_utf8_lossy(&answer[..n]).into_owned()
}

/// F33: fifty at once under one key are one order.
#[tokio::test(flavor = "multi_thread")]
async fn one_key_is_one_order_however_many_ask() {
    let own = kit::open().await;
    own.receive("11111", 100).await;
    let body = order("11111", 1, "tok_a").to_string();
    let answers: Vec<_> = (0..50).map(|_| own.post("orders", "/orders", Some("same"), body.clone())).collect();
    let mut ids = std::collections::BTreeSet::new();
    for answer in futures_util::future::join_all(answers).await {
        assert_eq!(answer.0, 201, "{}", answer.1);
        ids.insert(answer.1["order_id"].as_str().unwrap().to_owned());
    }
    assert_eq!(ids.len(), 1);
}

/// F29, D9: a topic with records that can't be read, or are newer than this build, goes on for every other key, and keeps what it
/// can't read. Guard: a type that was unknown at the build parks; one that is skipped is named by the service.
#[tokio::test(flavor = "multi_thread")]
async fn records_that_are_wrong_park_their_key_alone() {
    let own = kit::open().await;
    own.receive("11111", 100).await;
    let before = own.place("11111", 1, "tok_a").await;
    own.until(&before, "confirmed").await;

    let (known, newer) = ("farandole.payments.PaymentAuthorised", "farandole.payments.SomethingNewer");
    let damaged = "l=1;n=many;p=-;c=x/0/0;k=0193fd0e-0000-7000-8000-000000000000;i=1/1";
    // What is wrong, key, type, value, a further header.
    type Bad = (&'static str, &'static str, &'static str, Option<&'static [u8]>, Option<(&'static str, &'static str)>);
    let bad: [Bad; 9] = [
        ("no Avro", "k-noavro", known, Some(b"\x00\xff\xff\xff\xff"), None),
        ("not framed", "k-frame", known, Some(b"hello"), None),
        ("an unknown schema id", "k-id", known, Some(&[0, 0, 15, 66, 64, 1, 2, 3]), None),
        ("an unknown type", "k-type", newer, Some(b"\x00\x00\x00\x00\x01x"), None),
        ("no value", "k-null", known, None, None),
        ("no type", "k-notype", "", Some(b"\x00\x00\x00\x00\x01x"), None),
        ("an empty key", "", known, Some(b"\x00\x00\x00\x00\x01x"), None),
        ("a damaged header", "k-damaged", known, Some(b"\x00\x00\x00\x00\x01x"), Some(("farandole", damaged))),
        ("a header without its source", "k-nosource", known, None, Some(("farandole", "l=1;n=1;p=-"))),
    ];
    for (i, (_, key, kind, value, header)) in bad.iter().enumerate() {
        let id = format!("0193fd0e-0000-7000-8000-00000000000{i}");
        let mut headers = vec![("ce_source", "/foreign"), ("ce_id", id.as_str())];
        headers.extend((!kind.is_empty()).then_some(("ce_type", *kind)));
        headers.extend(*header);
        send(&own, "payments", key, &headers, *value).await;
    }
    let rows = kit::eventually("all to be parked", async || {
        let rows = parked(&own, "orders").await;
        (rows.len() == bad.len()).then_some(rows)
    })
    .await;
    for (what, key, ..) in &bad {
        // What has no key parks under its place.
        let under = |aggregate: &str| if key.is_empty() { aggregate.contains("payments/") } else { aggregate == *key };
        assert!(rows.iter().any(|(aggregate, reason)| under(aggregate) && !reason.is_empty()), "{what}: {rows:?}");
    }
    let reason = |key: &str| rows.iter().find(|(aggregate, _)| aggregate == key).map(|(_, reason)| reason.clone()).unwrap();
    assert!(reason("k-damaged").contains("field `n` is no number"), "{rows:?}");
    assert!(reason("k-id").contains("1000000"), "{rows:?}");
    // What comes later for a parked key queues behind it; other keys go on.
    foreign(&own, "payments", "k-null", "farandole.payments.PaymentAuthorised", None).await;
    let after = own.place("11111", 1, "tok_a").await;
    own.until(&after, "confirmed").await;
    assert!(parked(&own, "orders").await.len() >= bad.len(), "nothing is dropped");
}

/// A foreign producer's record that comes twice is applied once, also when the service was killed in between.
#[tokio::test(flavor = "multi_thread")]
async fn a_foreign_record_is_applied_once() {
    let own = kit::open().await;
    own.receive("11111", 10).await;
    let order = own.place("11111", 1, "tok_a").await;
    own.until(&order, "confirmed").await;
    // The same order under another id, placed by somebody without a chain.
    let pool = own.shop.pool("orders").await.unwrap();
    let placed: Vec<u8> =
        sqlx::query_scalar("select payload from farandole.outbox where type like '%OrderPlaced'").fetch_one(&pool).await.unwrap();
    pool.close().await;
    let twin = uuid::Uuid::now_v7().to_string();
    let at = placed.windows(36).position(|w| w == order.as_bytes()).expect("the id is in the event");
    let mut payload = placed.clone();
    payload[at..at + 36].copy_from_slice(twin.as_bytes());
    let headers = [
        ("ce_type", "farandole.orders.OrderPlaced"),
        ("ce_source", "/foreign"),
        ("ce_id", "0193fd0e-0000-7000-8000-00000000000a"),
    ];
    for _ in 0..3 {
        send(&own, "orders", &twin, &headers, Some(&payload)).await;
    }
    kit::eventually("the foreign order's stock", async || (own.stock("11111").await == (10, 2)).then_some(())).await;
    own.shop.restart("inventory").await.unwrap();
    send(&own, "orders", &twin, &headers, Some(&payload)).await;
    let after = own.place("11111", 1, "tok_a").await;
    own.until(&after, "confirmed").await;
    let pool = own.shop.pool("inventory").await.unwrap();
    let names: i64 = sqlx::query_scalar("select count(*) from farandole.strangers").fetch_one(&pool).await.unwrap();
    pool.close().await;
    assert_eq!((names, own.stock("11111").await), (1, (10, 3)));
}

/// A record that claims to come next in a service's chain, far ahead of it, would make everything true after it look like a
/// repetition. The partition stops at the first true record, and says so; the others go on.
#[tokio::test(flavor = "multi_thread")]
async fn a_forged_chain_is_noticed() {
    let own = kit::open().await;
    own.receive("11111", 100).await;
    let first = own.place("11111", 1, "tok_a").await;
    own.until(&first, "confirmed").await;
    // The last link of the partition in which this order's payment is.
    let (_, link) = of_key(&own, "payments", &first).await.last().unwrap().link().unwrap().unwrap();
    let (lineage, number) = (link.place.lineage, link.place.number);
    let header = format!("l={lineage};n=9000000000000000000;p={lineage}:{number};c=x/0/0;k={};i=1/1", uuid::Uuid::now_v7());
    let headers = [
        ("ce_type", "farandole.payments.PaymentExpected"),
        ("ce_source", "/farandole/payments"),
        ("ce_id", "0193fd0e-0000-7000-8000-000000000000"),
        ("farandole", header.as_str()),
    ];
    send(&own, "payments", &first, &headers, Some(b"forged")).await;
    // The next true event of that partition: the payment's void.
    let (status, _) = own.post("orders", &format!("/orders/{first}/cancel"), None, "{}").await;
    assert!(status.is_success(), "{status}");
    kit::eventually("orders to say that the chain is broken", async || {
        let (_, ready) = own.get("orders", "/readyz").await;
        ready.to_string().contains("it starts a second history (fork)").then_some(())
    })
    .await;
}
