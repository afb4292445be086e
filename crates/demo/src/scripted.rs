//! Orders that go ways which real ones seldom go: parcels that get lost, are found, are refused or never heard of again, customers who
//! cancel just in time or too late, and customers whom no mail reaches.

use std::time::{Duration, Instant};

use anyhow::{Context as _, bail, ensure};
use reqwest::StatusCode;
use serde_json::{Value, json};

use crate::shop::Shop;

/// What is sold in them, and received once.
const SKU: &str = "SCRIPTED";
const RECEIVED: i64 = 1_000;
/// Customers by what becomes of their parcels, as the README of the carrier has them, and of their mails. (Their cards are all good.)
const CUSTOMERS: [&str; 10] =
    ["lost-1", "lost-2", "found-1", "nowhere-1", "nowhere-2", "slow-1", "late-1", "early-1", "bounce-1", "bounce-2"];
/// How long a step may take.
const PATIENCE: Duration = Duration::from_secs(60);

/// What was asked for, and how it was answered.
#[derive(Debug, Default)]
pub struct Scripted {
    /// Orders placed.
    pub placed: u64,
    /// Cancellations of confirmed orders that were taken, and that came too late.
    pub cancels_taken: u64,
    pub cancels_late: u64,
}

/// Plays them.
///
/// # Errors
/// When the shop answers what it shouldn't.
pub async fn play(shop: &Shop) -> anyhow::Result<Scripted> {
    let client = reqwest::Client::builder().timeout(Duration::from_secs(15)).build()?;
    let post = async |service: &str, path: String, key: String, body: Value| -> anyhow::Result<(StatusCode, Value)> {
        let request = client.post(format!("{}{path}", shop.url(service))).header("Idempotency-Key", key).json(&body);
        let answer = request.send().await?;
        Ok((answer.status(), answer.json().await.unwrap_or(Value::Null)))
    };
    let receipt = json!({ "sku": SKU, "quantity": RECEIVED });
    let (status, answer) = post("inventory", "/receipts".to_owned(), "scripted-receipt".to_owned(), receipt).await?;
    ensure!(status.is_success(), "receiving {SKU}: {status} {answer}");
    let broken = json!({ "sku": SKU, "quantity": -3, "reason": "broken on the shelf" });
    let (status, answer) = post("inventory", "/adjustments".to_owned(), "scripted-count".to_owned(), broken).await?;
    ensure!(status.is_success(), "putting the count of {SKU} right: {status} {answer}");
    let mut scripted = Scripted::default();
    let (mut late, mut early) = (String::new(), String::new());
    for customer in CUSTOMERS {
        let lines = json!([{ "sku": SKU, "quantity": 2, "unit_price": 450 }]);
        let order =
            json!({ "customer": customer, "card_token": format!("tok_card_{customer}"), "currency": "GBP", "lines": lines });
        let (status, answer) = post("orders", "/orders".to_owned(), format!("scripted-{customer}"), order).await?;
        ensure!(status == StatusCode::CREATED, "placing the order of {customer}: {status} {answer}");
        let id = answer["order_id"].as_str().context("an order has an id")?.to_owned();
        scripted.placed += 1;
        match customer {
            "late-1" => late = id,
            "early-1" => early = id,
            _ => {}
        }
    }
    // Confirmed, and in the house for a while yet.
    until(&client, shop, &early, |order| order["state"] != "placed").await?;
    let (status, answer) = post("orders", format!("/orders/{early}/cancel"), "scripted-early".to_owned(), json!({})).await?;
    match status {
        StatusCode::ACCEPTED => scripted.cancels_taken += 1,
        StatusCode::CONFLICT => scripted.cancels_late += 1,
        _ => bail!("cancelling {early}: {status} {answer}"),
    }
    // The carrier has it.
    until(&client, shop, &late, |order| order["fulfilment"]["tracking"].is_string() || order["state"] == "completed").await?;
    let (status, answer) = post("orders", format!("/orders/{late}/cancel"), "scripted-late".to_owned(), json!({})).await?;
    ensure!(status == StatusCode::CONFLICT, "cancelling {late}, which the carrier has: {status} {answer}");
    scripted.cancels_late += 1;
    Ok(scripted)
}

async fn until(client: &reqwest::Client, shop: &Shop, order: &str, is_so: fn(&Value) -> bool) -> anyhow::Result<()> {
    let by = Instant::now() + PATIENCE;
    loop {
        let order: Value = client.get(format!("{}/orders/{order}", shop.url("orders"))).send().await?.json().await?;
        if is_so(&order) {
            return Ok(());
        }
        ensure!(Instant::now() < by, "order {order} stays as it is");
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
}
