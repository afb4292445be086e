//! Ways in which such systems fail, shown on the whole shop. The letters are those of FAILURES.md's table.

use std::time::{Duration, Instant};

use futures_util::future::join_all;
use serde_json::{Value, json};

use crate::kit::{self, Own, order};
use crate::records::parked;

async fn totals(own: &Own) -> Value {
    own.get("acquirer", "/totals").await.1
}

/// F49: a thousand buyers at once for a hundred pieces. Guard: rows are locked before anything is decided about them. Without,
/// two orders are given the same piece.
#[tokio::test(flavor = "multi_thread")]
async fn a_thousand_buyers_for_a_hundred_pieces() {
    let own = kit::open().await;
    own.receive("11111", 100).await;
    let mut placed = Vec::new();
    // Beyond what is taken at once the service says so, and a buyer asks again.
    for crowd in (0..1_000).collect::<Vec<_>>().chunks(100) {
        placed.extend(join_all(crowd.iter().map(|_| own.place("11111", 1, "tok_a"))).await);
    }
    let pool = own.shop.pool("orders").await.unwrap();
    let states = kit::eventually("every order to be settled", async || {
        let states: Vec<(String, i64)> = sqlx::query_as("select state ->> 'state', count(*) from orders group by 1 order by 1")
            .fetch_all(&pool)
            .await
            .unwrap();
        states.iter().all(|(state, _)| state != "placed").then_some(states)
    })
    .await;
    pool.close().await;
    assert_eq!(placed.len(), 1_000);
    assert_eq!(states, [("confirmed".to_owned(), 100), ("rejected".to_owned(), 900)]);
    assert_eq!(own.stock("11111").await, (100, 100));
}

/// F47: a compensation that fails is tried until it is done, and done once. Three voids of four fail, half of those after the deed.
#[tokio::test(flavor = "multi_thread")]
async fn a_compensation_is_repeated_until_it_is_done_once() {
    let own = kit::open().await;
    own.receive("11111", 40).await;
    let orders = join_all((0..20).map(|_| own.place("11111", 1, "tok_a"))).await;
    for order in &orders {
        own.until(order, "confirmed").await;
    }
    own.faults("acquirer", json!({ "fail_rate": 0.5, "fail_after_rate": 0.5, "seed": 47 })).await;
    for order in &orders {
        let (status, body) = own.post("orders", &format!("/orders/{order}/cancel"), None, "{}").await;
        assert!(status.is_success(), "{status} {body}");
    }
    // The breaker opens, so this takes its pauses; then the failures end.
    tokio::time::sleep(Duration::from_secs(3)).await;
    own.faults("acquirer", json!({})).await;
    kit::eventually("every authorisation to be voided", async || {
        let totals = totals(&own).await;
        (totals["by_status"]["voided"]["count"] == 20).then_some(())
    })
    .await;
    kit::eventually("all stock to be released", async || (own.stock("11111").await == (40, 0)).then_some(())).await;
    let totals = totals(&own).await;
    assert_eq!((&totals["authorisations"], &totals["duplicates"]), (&json!(20), &json!(0)), "{totals}");
    assert!(parked(&own, "payments").await.is_empty());
}

/// F50: after a brown-out of the acquirer nothing is left of it. Guard: pauses grow and have jitter, a breaker opens. Without,
/// the retries of a minute come down on an acquirer that has just come back.
#[tokio::test(flavor = "multi_thread")]
async fn a_brown_out_leaves_nothing_behind() {
    let own = kit::open().await;
    own.receive("11111", 1_000).await;
    own.faults("acquirer", json!({ "refuse": true })).await;
    let mut orders = Vec::new();
    for _ in 0..10 {
        orders.extend(join_all((0..20).map(|_| own.place("11111", 1, "tok_a"))).await);
        tokio::time::sleep(Duration::from_millis(500)).await;
    }
    own.faults("acquirer", json!({})).await;
    let over = Instant::now();
    for order in &orders {
        own.until(order, "confirmed").await;
    }
    // Bounded by what the waits are made for, not by this machine's speed: half a minute, as the row has it, and as much again.
    assert!(over.elapsed() < Duration::from_secs(60), "{:?}", over.elapsed());
    let totals = totals(&own).await;
    assert_eq!((&totals["authorisations"], &totals["duplicates"]), (&json!(200), &json!(0)), "{totals}");
}

/// D7: a bad migration under load. Guard: only data parks; what the database says of its own tables is trouble of the system.
#[tokio::test(flavor = "multi_thread")]
async fn a_bad_migration_parks_nothing() {
    let own = kit::open().await;
    own.receive("11111", 100).await;
    let pool = own.shop.pool("payments").await.unwrap();
    sqlx::query("alter table payments rename column state to state_gone").execute(&pool).await.unwrap();
    let orders = join_all((0..20).map(|_| own.place("11111", 1, "tok_a"))).await;
    kit::eventually("payments to say what is missing", async || {
        let (_, ready) = own.get("payments", "/readyz").await;
        ready.to_string().contains("column \\\"state\\\"").then_some(())
    })
    .await;
    assert!(parked(&own, "payments").await.is_empty(), "a missing column is nobody's data");
    sqlx::query("alter table payments rename column state_gone to state").execute(&pool).await.unwrap();
    pool.close().await;
    for order in &orders {
        own.until(order, "confirmed").await;
    }
    assert!(parked(&own, "payments").await.is_empty());
}

/// F48: a service that never answers. Inventory is away for longer than the deadline: the order ends all the same, and what
/// inventory does when it is back is undone.
#[tokio::test(flavor = "multi_thread")]
async fn an_order_whose_answer_is_lost_ends() {
    let own = kit::open_with(&[("orders", "FARANDOLE_OWN_CONFIRM_WITHIN", "3s")]).await;
    own.receive("11111", 5).await;
    own.shop.kill("inventory");
    let body = order("11111", 2, "tok_a").to_string();
    let (status, answer) = own.post("orders", "/orders", None, body).await;
    assert_eq!(status, 201, "{answer}");
    let placed = answer["order_id"].as_str().unwrap();
    let settled = own.until(placed, "cancelled").await;
    assert_eq!(settled["reason"], "NOT_CONFIRMED_IN_TIME", "{settled}");
    own.shop.restart("inventory").await.unwrap();
    let pool = own.shop.pool("inventory").await.unwrap();
    kit::eventually("the stock to be reserved and released", async || {
        let told: Vec<String> = sqlx::query_scalar("select type from farandole.outbox where aggregateid = $1 order by seq")
            .bind(placed)
            .fetch_all(&pool)
            .await
            .unwrap();
        (told == ["farandole.inventory.StockReserved", "farandole.inventory.StockReleased"]).then_some(())
    })
    .await;
    pool.close().await;
    assert_eq!(own.stock("11111").await, (5, 0));
}
