//! Reads the services' databases back.

use std::collections::{BTreeMap, HashMap};

use anyhow::Context as _;
use uuid::Uuid;

use crate::facts::Stock;
use crate::shop::{SERVICES, Shop};

/// What is still under way: empty when everything has come to rest.
pub async fn open_matters(shop: &Shop) -> anyhow::Result<Vec<String>> {
    let mut open = Vec::new();
    for service in SERVICES {
        let pool = shop.pool(service).await?;
        let tasks: i64 = sqlx::query_scalar("select count(*) from farandole.tasks").fetch_one(&pool).await?;
        if tasks > 0 {
            open.push(format!("{service}: {tasks} open task(s)"));
        }
        let parked = "select count(*), min(aggregate), min(reason) from farandole.parked having count(*) > 0";
        let parked: Option<(i64, String, Option<String>)> = sqlx::query_as(parked).fetch_optional(&pool).await?;
        if let Some((n, aggregate, reason)) = parked {
            let reason = reason.unwrap_or_default();
            open.push(format!("{service}: {n} parked input(s), as of {aggregate}: {reason}"));
        }
        if service == "orders" {
            let placed: i64 =
                sqlx::query_scalar("select count(*) from orders where state->>'state' = 'placed'").fetch_one(&pool).await?;
            if placed > 0 {
                open.push(format!("{placed} order(s) not decided"));
            }
        }
        pool.close().await;
    }
    Ok(open)
}

/// What the databases hold.
#[derive(Debug, Default)]
pub struct Held {
    /// Each order's state in a word.
    pub orders: HashMap<Uuid, String>,
    pub stock: BTreeMap<String, Stock>,
    /// Each order's payment in a word.
    pub payments: HashMap<Uuid, String>,
    /// Orders for which stock is set aside.
    pub reserved: HashMap<Uuid, String>,
}

/// Reads all of it.
pub async fn read(shop: &Shop) -> anyhow::Result<Held> {
    let mut held = Held::default();
    let words = async |service: &str, sql: &'static str| -> anyhow::Result<HashMap<Uuid, String>> {
        let pool = shop.pool(service).await?;
        let rows: Vec<(Uuid, String)> =
            sqlx::query_as(sql).fetch_all(&pool).await.with_context(|| format!("reading {service}"))?;
        Ok(rows.into_iter().collect())
    };
    held.orders = words("orders", "select order_id, state->>'state' from orders").await?;
    held.payments = words("payments", "select order_id, state->>'state' from payments").await?;
    held.reserved =
        words("inventory", "select order_id, state->>'state' from reservations where state->>'state' = 'reserved'").await?;
    let pool = shop.pool("inventory").await?;
    let rows: Vec<(String, i64, i64)> = sqlx::query_as("select sku, received, reserved from stock").fetch_all(&pool).await?;
    held.stock = rows.into_iter().map(|(sku, received, reserved)| (sku, Stock { received, reserved })).collect();
    Ok(held)
}
