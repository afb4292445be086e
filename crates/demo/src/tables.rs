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
        let parked: i64 = sqlx::query_scalar("select count(*) from farandole.parked").fetch_one(&pool).await?;
        for (n, what) in [(tasks, "open task(s)"), (parked, "parked input(s)")] {
            if n > 0 {
                open.push(format!("{service}: {n} {what}"));
            }
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
