//! Records in JSON beside those in Avro: `content-type` decides, and what can't be read parks with the field that is wrong.

use serde_json::{Value, json};
use uuid::Uuid;

use crate::kit::{self, Own};
use crate::records::{parked, send};

fn placed(order: Uuid) -> Value {
    json!({
        "order_id": order, "customer": "c1", "currency": "GBP", "total": 500,
        "lines": [{ "sku": "11111", "quantity": 2, "unit_price": 250 }],
        "card_token": "tok_a", "placed_at": 1_700_000_000_000_000_i64, "confirm_by": 9_000_000_000_000_000_i64,
    })
}

async fn order_in_json(own: &Own, order: Uuid, value: &[u8]) {
    let id = Uuid::now_v7().to_string();
    let headers = [
        ("ce_type", "farandole.orders.OrderPlaced"),
        ("ce_source", "/foreign"),
        ("ce_id", id.as_str()),
        ("content-type", "application/json; charset=utf-8"),
    ];
    send(own, "orders", &order.to_string(), &headers, Some(value)).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_order_in_json_is_read_and_a_damaged_one_parks_with_its_field() {
    let own = kit::open().await;
    own.receive("11111", 10).await;
    let good = Uuid::now_v7();
    order_in_json(&own, good, placed(good).to_string().as_bytes()).await;
    kit::eventually("the stock of an order in JSON", async || (own.stock("11111").await == (10, 2)).then_some(())).await;

    let mut bad: Vec<(Uuid, Vec<u8>, &str)> = Vec::new();
    let mut damage = |words: &'static str, change: &dyn Fn(&mut Value)| {
        let id = Uuid::now_v7();
        let mut value = placed(id);
        change(&mut value);
        bad.push((id, value.to_string().into_bytes(), words));
    };
    damage("field `lines[0].quantity`", &|v| v["lines"][0]["quantity"] = json!("two"));
    damage("field `currency`", &|v| v["currency"] = Value::Null);
    damage("field `order_id`", &|v| v["order_id"] = json!("o-1"));
    damage("missing field `customer`", &|v| drop(v.as_object_mut().unwrap().remove("customer")));
    damage("not a JSON object", &|v| *v = Value::Null);
    damage("not a JSON object", &|v| *v = json!([v.clone()]));
    let trailing = Uuid::now_v7();
    bad.push((trailing, format!("{}{{}}", placed(trailing)).into_bytes(), "trailing characters"));
    let avro = Uuid::now_v7();
    bad.push((avro, b"\x00\x00\x00\x00\x01x".to_vec(), "not a JSON object"));
    for (id, value, _) in &bad {
        order_in_json(&own, *id, value).await;
    }
    let rows = kit::eventually("all to be parked", async || {
        let rows = parked(&own, "inventory").await;
        (rows.len() == bad.len()).then_some(rows)
    })
    .await;
    for (id, _, words) in &bad {
        let reason = rows.iter().find(|(aggregate, _)| *aggregate == id.to_string()).map(|(_, reason)| reason);
        assert!(reason.is_some_and(|reason| reason.contains(words)), "{words}: {reason:?}");
    }
    // The others go on, in Avro as before.
    let after = own.place("11111", 1, "tok_a").await;
    own.until(&after, "confirmed").await;
}
