//! From placed to delivered, by HTTP alone: what a caller sees of an order, its parcel and its money; and what the carrier may say.

use std::process::Command;
use std::time::{Duration, SystemTime};

use serde_json::{Value, json};
use standardwebhooks::Webhook;

use crate::kit::{self, Own};
use crate::records::of_key;

/// Asks for a cancellation: status and answer.
async fn cancel(own: &Own, order: &str) -> (u16, Value) {
    let (status, answer) = own.post("orders", &format!("/orders/{order}/cancel"), None, "{}").await;
    (status.as_u16(), answer)
}

/// What has happened to an order: types, and what an `OrderProgressed` says in place of its own.
fn story(order: &Value) -> Vec<&str> {
    let events = order["events"].as_array().unwrap();
    events.iter().map(|event| event["step"].as_str().or(event["type"].as_str()).unwrap()).collect()
}

/// Waits until the order's own view of itself is as `is` says.
async fn seen(own: &Own, order: &str, what: &str, is: impl Fn(&Value) -> bool) -> Value {
    kit::eventually(&format!("order {order} to be {what}"), async || {
        let (_, body) = own.get("orders", &format!("/orders/{order}")).await;
        is(&body).then_some(body)
    })
    .await
}

/// The audit's exit code and its account, as the program gives them.
async fn audit(own: &Own) -> (Option<i32>, Value) {
    let file = own.shop.audit_file().unwrap();
    let script = format!(". '{}' && exec '{}' --json", file.display(), own.shop.bin("audit").display());
    let run = move || Command::new("bash").args(["-c", &script]).output().unwrap();
    let output = tokio::task::spawn_blocking(run).await.unwrap();
    let account = serde_json::from_slice(&output.stdout);
    (output.status.code(), account.unwrap_or_else(|_| panic!("{output:?}")))
}

/// One whole life, one that ends in a refund, a cancellation just in time and one too late, and a count that is put right; then the
/// audit holds, and one piece that nobody received is found.
#[tokio::test(flavor = "multi_thread")]
async fn an_order_goes_from_placed_to_delivered() {
    let own = kit::open_shipping("2s").await;
    // Parcels that are to leave wait for a carrier that takes none.
    own.faults("carrier", json!({ "refuse": true })).await;
    own.receive("11111", 20).await;
    let early = own.place("11111", 1, "tok_a").await;
    let kept = own.place("11111", 4, "tok_a").await;
    let lost = own.place_for("lost-1", "11111", 2).await;
    let late = own.place("11111", 3, "tok_a").await;

    // In the house: shipping keeps the parcel.
    own.until(&early, "confirmed").await;
    let (status, answer) = cancel(&own, &early).await;
    assert_eq!((status, &answer["cancellation"]), (202, &json!("requested")), "{answer}");
    let cancelled = own.until(&early, "cancelled").await;
    assert_eq!((&cancelled["reason"], &cancelled["awaits"]), (&json!("CUSTOMER_REQUEST"), &Value::Null), "{cancelled}");
    own.until_at("shipping", &early, "cancelled").await;
    own.until_at("payments", &early, "voided").await;

    // Confirmed: the money is held, and the parcel has its time.
    let order = seen(&own, &kept, "prepared", |order| order["fulfilment"]["parcel"] == "prepared").await;
    assert_eq!(order["fulfilment"], json!({ "parcel": "prepared", "money": "held", "cancellation": "none", "tracking": null }));
    let (_, parcel) = own.get("shipping", &format!("/shipments/{kept}")).await;
    assert_eq!((&order["awaits"]["what"], parcel["recipient"].as_str()), (&json!("dispatch"), Some("c1")), "{order} {parcel}");
    assert!(order["awaits"]["until"].is_string(), "{order}");

    // The carrier is asked: from now on it may have the parcel, and a cancellation is refused.
    own.until_at("shipping", &late, "dispatching").await;
    assert_eq!(cancel(&own, &late).await.0, 202, "orders can't know yet");
    let refused = seen(&own, &late, "not cancelled", |order| order["fulfilment"]["cancellation"] == "refused").await;
    assert_eq!(refused["state"], "confirmed");
    let (status, answer) = cancel(&own, &late).await;
    assert_eq!((status, &answer["type"]), (409, &json!("/problems/too-late")), "{answer}");
    own.faults("carrier", json!({})).await;

    let delivered = own.until(&kept, "completed").await;
    assert_eq!(
        (&delivered["reason"], &delivered["awaits"], &delivered["fulfilment"]),
        (&json!("DELIVERED"), &Value::Null, &Value::Null)
    );
    let mut way = story(&delivered);
    // The money is taken while the parcel travels.
    way.retain(|step| *step != "CAPTURED");
    assert_eq!(way, ["OrderPlaced", "OrderConfirmed", "PREPARED", "DISPATCHED", "DELIVERED", "OrderCompleted"], "{delivered}");
    let (_, parcel) = own.get("shipping", &format!("/shipments/{kept}")).await;
    assert!(parcel["state"] == "delivered" && parcel["tracking"].is_string(), "{parcel}");
    let (_, payment) = own.get("payments", &format!("/payments/{kept}")).await;
    assert_eq!(
        ["state", "amount", "captured", "refunded"].map(|field| payment[field].clone()),
        [json!("captured"), json!(1000), json!(1000), json!(0)]
    );

    let refunded = own.until(&lost, "completed").await;
    assert_eq!(refunded["reason"], "REFUNDED", "{refunded}");
    assert!(["LOST", "CAPTURED", "REFUNDED"].iter().all(|step| story(&refunded).contains(step)), "{refunded}");
    let (_, payment) = own.get("payments", &format!("/payments/{lost}")).await;
    assert_eq!(
        ["state", "captured", "refunded"].map(|field| payment[field].clone()),
        [json!("refunded"), json!(500), json!(500)]
    );
    let (_, parcel) = own.get("shipping", &format!("/shipments/{lost}")).await;
    assert_eq!((&parcel["state"], &parcel["reason"]), (&json!("lost"), &json!("reported lost")), "{parcel}");
    assert_eq!(own.until(&late, "completed").await["reason"], "DELIVERED");
    assert_eq!(cancel(&own, &late).await.0, 409);

    counts_are_put_right(&own).await;
    let (code, account) = kit::eventually("the audit to hold", async || {
        let audit = audit(&own).await;
        println!("{}", audit.1);
        (audit.0 == Some(0)).then_some(audit)
    })
    .await;
    assert_eq!(
        (code, &account["holds"], &account["orders"], &account["articles"]),
        (Some(0), &json!(true), &json!(4), &json!(1))
    );
    let pool = own.shop.pool("inventory").await.unwrap();
    sqlx::query("update stock set received = received + 1").execute(&pool).await.unwrap();
    pool.close().await;
    let (code, account) = audit(&own).await;
    assert!(code == Some(1) && account["violations"].as_u64() > Some(0), "{account}");
}

/// 20 came in, 9 have left. What is available can be put right, and nothing else.
async fn counts_are_put_right(own: &Own) {
    let adjust = async |sku: &str, quantity: i64, key: Option<&str>| {
        let body = json!({ "sku": sku, "quantity": quantity, "reason": "counted" }).to_string();
        let (status, answer) = own.post("inventory", "/adjustments", key, body).await;
        (status.as_u16(), answer)
    };
    kit::eventually("all goods to have left", async || (own.stock("11111").await == (20, 0)).then_some(())).await;
    let (status, first) = adjust("11111", -3, Some("count-1")).await;
    assert_eq!((status, &first["quantity"], &first["reason"]), (201, &json!(-3), &json!("counted")), "{first}");
    assert_eq!(adjust("11111", -3, Some("count-1")).await, (201, first), "the same again is the same one");
    assert_eq!(adjust("11111", -9, None).await.0, 409, "8 are available");
    assert_eq!(adjust("22222", 1, None).await.0, 404, "never received");
    assert_eq!(adjust("11111", 0, None).await.0, 422);
    let (_, stock) = own.get("inventory", "/stock/11111").await;
    assert_eq!(stock, json!({ "sku": "11111", "received": 20, "adjusted": -3, "reserved": 0, "shipped": 9, "available": 8 }));
}

/// A report as the carrier posts it, `age` seconds old, signed with `secret` or not at all: status and answer.
#[expect(clippy::disallowed_methods, reason = "the carrier signs by its own clock")]
async fn report(own: &Own, secret: Option<&str>, age: u64, body: &Value) -> (u16, Value) {
    let now = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap() - Duration::from_secs(age);
    let (timestamp, body) = (now.as_secs() as i64, body.to_string());
    let url = format!("{}/carrier/reports", own.shop.url("shipping"));
    let mut request = own.client.post(url).header("content-type", "application/json").header("webhook-id", "msg_by_hand");
    request = request.header("webhook-timestamp", timestamp.to_string());
    if let Some(secret) = secret {
        let signature = Webhook::new(secret).unwrap().sign("msg_by_hand", timestamp, body.as_bytes()).unwrap();
        request = request.header("webhook-signature", signature);
    }
    let answer = request.body(body).send().await.unwrap();
    (answer.status().as_u16(), answer.json().await.unwrap_or_default())
}

/// What isn't signed by the carrier, or not now, is refused and changes nothing; what it says again is no error, and no event.
#[tokio::test(flavor = "multi_thread")]
async fn what_the_carrier_says_is_verified() {
    let own = kit::open_shipping("0s").await;
    own.receive("11111", 5).await;
    // The carrier never reports of it.
    let order = own.place_for("slow-1", "11111", 1).await;
    let parcel = own.until_at("shipping", &order, "dispatched").await;
    let env = own.shop.env("shipping", 0).unwrap();
    let secret = env.iter().find(|(name, _)| *name == "FARANDOLE_OWN_CARRIER_SECRET").map(|(_, secret)| secret.as_str());
    let said = |status: &str| json!({ "tracking": parcel["tracking"], "reference": order, "status": status, "at": "2026-01-02T03:04:05Z" });
    let others = Some("whsec_c29tZWJvZHkgZWxzZSdzIHNlY3JldCwgbm90IG91cnM=");
    let not_verified = json!("/problems/not-verified");
    for (forged, secret, age) in [("unsigned", None, 0), ("of somebody else", others, 0), ("of 11 minutes ago", secret, 660)] {
        let (status, answer) = report(&own, secret, age, &said("lost")).await;
        assert_eq!((status, &answer["type"]), (401, &not_verified), "{forged}: {answer}");
    }
    let mut another = said("delivered");
    another["tracking"] = json!("another");
    assert_eq!(report(&own, secret, 0, &another).await.0, 409, "a parcel of somebody else");
    another["reference"] = json!(uuid::Uuid::now_v7());
    assert_eq!(report(&own, secret, 0, &another).await.0, 404, "an order that nothing is shipped of");
    own.until_at("shipping", &order, "dispatched").await;
    for status in ["delivered", "delivered", "lost"] {
        let (code, answer) = report(&own, secret, 0, &said(status)).await;
        assert_eq!((code, &answer["state"]), (200, &json!("delivered")), "{answer}");
    }
    assert_eq!(own.until(&order, "completed").await["reason"], "DELIVERED");
    let of_order = of_key(&own, "shipping", &order).await;
    let ours = of_order.iter().filter(|record| record.key.as_deref() == Some(order.as_bytes()));
    let kinds: Vec<&str> = ours.filter_map(|record| record.kind()?.rsplit('.').next()).collect();
    assert_eq!(kinds, ["ShipmentPrepared", "DispatchStarted", "ShipmentDispatched", "ShipmentDelivered"]);
}
