//! Callers send the prices they saw; those that hold no more are refused with old and new.

use serde_json::{Value, json};

use crate::kit::{self, Own};

/// An order of one piece each, of an article and the price that was seen.
fn order(currency: &str, lines: &[(&str, i64)]) -> String {
    let lines: Vec<Value> = lines.iter().map(|(sku, price)| json!({ "sku": sku, "quantity": 1, "unit_price": price })).collect();
    json!({ "customer": "c1", "card_token": "tok_a", "currency": currency, "lines": lines }).to_string()
}

async fn set(own: &Own, prices: &[(&str, &str, i64)]) -> Value {
    let price = |(sku, currency, price): &(&str, &str, i64)| json!({ "sku": sku, "currency": currency, "unit_price": price });
    let body = json!({ "prices": prices.iter().map(price).collect::<Vec<_>>() }).to_string();
    let (status, answer) = own.post("orders", "/prices", None, body).await;
    assert_eq!(status, 200, "{answer}");
    answer["changed"].clone()
}

async fn place(own: &Own, key: Option<&str>, order: String) -> (u16, Value) {
    let (status, answer) = own.post("orders", "/orders", key, order).await;
    (status.as_u16(), answer)
}

#[tokio::test(flavor = "multi_thread")]
async fn a_stale_price_is_refused_with_old_and_new() {
    let own = kit::open().await;
    let before = order("GBP", &[("tea", 100)]);
    let (status, first) = place(&own, Some("k1"), before.clone()).await;
    assert_eq!(status, 201, "without a price it costs what the caller says: {first}");

    assert_eq!(set(&own, &[("tea", "GBP", 250), ("cup", "GBP", 900), ("tea", "EUR", 300)]).await, 3);
    assert_eq!(set(&own, &[("tea", "GBP", 250)]).await, 0, "the same again is no change");
    let (status, refused) = place(&own, None, order("GBP", &[("cup", 900), ("tea", 100), ("spoon", 1)])).await;
    assert_eq!((status, &refused["type"]), (409, &json!("/problems/price-changed")), "{refused}");
    let stale = &refused["prices"][0];
    assert_eq!((&stale["field"], &stale["sku"]), (&json!("lines[1].unit_price"), &json!("tea")));
    assert_eq!((&stale["seen"], &stale["now"], refused["prices"].as_array().map(Vec::len)), (&json!(100), &json!(250), Some(1)));
    assert!(refused["errors"][0]["reason"].as_str().unwrap().starts_with("tea costs 250 since 20"), "{refused}");
    // An order that was taken is taken, whatever has become of its prices.
    assert_eq!(place(&own, Some("k1"), before).await, (201, first));
    assert_eq!(place(&own, None, order("USD", &[("tea", 250)])).await.0, 409, "it has no price in dollars");

    // Whoever has seen the price before can order for a day.
    assert_eq!(set(&own, &[("tea", "GBP", 260)]).await, 1);
    for price in [250, 260] {
        assert_eq!(place(&own, None, order("GBP", &[("tea", price)])).await.0, 201, "{price}");
    }
    let (_, list) = own.get("orders", "/prices/tea").await;
    let shown: Vec<_> =
        list["prices"].as_array().unwrap().iter().map(|p| (&p["unit_price"], p["holds_until"].is_null())).collect();
    assert_eq!(shown, [(&json!(250), false), (&json!(300), true), (&json!(260), true)], "{list}");
    assert_eq!(own.get("orders", "/prices/spoon").await.0, 404);
}

#[tokio::test(flavor = "multi_thread")]
async fn prices_end_and_are_bounded() {
    let own =
        kit::open_with(&[("orders", "FARANDOLE_OWN_PRICES_KEPT_FOR", "0s"), ("orders", "FARANDOLE_OWN_PRICES_REQUIRED", "true")])
            .await;
    assert_eq!(place(&own, None, order("GBP", &[("tea", 250)])).await.0, 409, "no price, no order");
    set(&own, &[("tea", "GBP", 250)]).await;
    assert_eq!(place(&own, None, order("GBP", &[("tea", 250)])).await.0, 201);
    set(&own, &[("tea", "GBP", 260)]).await;
    let refused = kit::eventually("a replaced price to end", async || {
        let (status, answer) = place(&own, None, order("GBP", &[("tea", 250)])).await;
        (status == 409).then_some(answer)
    })
    .await;
    assert_eq!(refused["prices"][0]["now"], 260);
    // What holds no more is forgotten.
    set(&own, &[("tea", "GBP", 270)]).await;
    set(&own, &[("tea", "GBP", 280)]).await;
    let (_, list) = own.get("orders", "/prices/tea").await;
    assert!(list["prices"].as_array().unwrap().len() <= 2, "{list}");

    let (status, wrong) = own.post("orders", "/prices", None, r#"{"prices": [{"sku": "tea", "currency": "gbp"}]}"#).await;
    let fields: Vec<_> = wrong["errors"].as_array().unwrap().iter().map(|e| e["field"].clone()).collect();
    assert_eq!((status.as_u16(), fields), (422, vec![json!("prices[0].currency"), json!("prices[0].unit_price")]));
}

/// Nobody has a thousand prices of one article in a day: who sends them is told, and what is there stays.
#[tokio::test(flavor = "multi_thread")]
async fn an_article_has_so_many_prices() {
    let own = kit::open().await;
    let prices: Vec<(&str, &str, i64)> = (1..=1_000).map(|price| ("tea", "GBP", price)).collect();
    assert_eq!(set(&own, &prices).await, 1_000);
    let one = json!({ "prices": [{ "sku": "tea", "currency": "GBP", "unit_price": 2_000 }] }).to_string();
    let (status, answer) = own.post("orders", "/prices", None, one).await;
    assert_eq!((status.as_u16(), &answer["type"]), (409, &json!("/problems/too-many-prices")), "{answer}");
    assert_eq!(own.get("orders", "/prices/tea").await.1["prices"].as_array().map(Vec::len), Some(1_000));
    assert_eq!(place(&own, None, order("GBP", &[("tea", 1_000)])).await.0, 201);
}
