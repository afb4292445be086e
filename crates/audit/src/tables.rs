//! Reads the services' databases back.

use std::collections::{BTreeMap, HashMap};

use anyhow::Context as _;
use uuid::Uuid;

use crate::facts::Stock;
use crate::sources::Sources;

/// What is still under way: empty when everything has come to rest.
///
/// # Errors
/// When a database can't be read.
pub async fn open_matters(shop: &Sources) -> anyhow::Result<Vec<String>> {
    let mut open = Vec::new();
    for service in shop.services() {
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
            let count = "select count(*) from orders where state->>'state' in ('placed', 'confirmed')";
            let unended: i64 = sqlx::query_scalar(count).fetch_one(&pool).await?;
            if unended > 0 {
                open.push(format!("{unended} order(s) not ended"));
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
    /// Each order's parcel in a word.
    pub shipments: HashMap<Uuid, String>,
    /// Orders for which stock is set aside.
    pub reserved: HashMap<Uuid, String>,
}

/// Reads all of it.
///
/// # Errors
/// When a database can't be read.
pub async fn read(shop: &Sources) -> anyhow::Result<Held> {
    let mut held = Held::default();
    let words = async |service: &str, sql: &'static str| -> anyhow::Result<HashMap<Uuid, String>> {
        let pool = shop.pool(service).await?;
        let rows: Vec<(Uuid, String)> =
            sqlx::query_as(sql).fetch_all(&pool).await.with_context(|| format!("reading {service}"))?;
        Ok(rows.into_iter().collect())
    };
    held.orders = words("orders", "select order_id, lower(coalesce(state->>'how', state->>'state')) from orders").await?;
    held.payments = words("payments", "select order_id, state->>'state' from payments").await?;
    held.reserved =
        words("inventory", "select order_id, state->>'state' from reservations where state->>'state' = 'reserved'").await?;
    held.shipments = words("shipping", "select order_id, state->>'state' from shipments").await?;
    let pool = shop.pool("inventory").await?;
    let sql = "select sku, received, adjusted, reserved, shipped from stock";
    let rows: Vec<(String, i64, i64, i64, i64)> = sqlx::query_as(sql).fetch_all(&pool).await?;
    let stock = |(sku, received, adjusted, reserved, shipped)| (sku, Stock { received, adjusted, reserved, shipped });
    held.stock = rows.into_iter().map(stock).collect();
    Ok(held)
}
