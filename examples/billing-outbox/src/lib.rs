//! Billing: a schema and transactions that were there before, each of which now also appends an event.
//!
//! The events are published by a relay exactly if their transactions commit. Their values are JSON, so no registry is asked for.
use anyhow::Context as _;
use farandole_outbox::codec::Json;
use farandole_outbox::outbox::{self, NewEvent};
use serde_json::{Value, json};
use sqlx::PgPool;

/// The service's name, and its topic's.
pub const NAME: &str = "billing";

/// Issues an invoice and gives its number.
///
/// # Errors
/// The database's; then nothing has happened.
pub async fn issue(pool: &PgPool, topic: &str, customer: &str, cents: i64) -> anyhow::Result<i64> {
    let mut tx = pool.begin().await?;
    let insert = sqlx::query_scalar("insert into invoices (customer, cents) values ($1, $2) returning id");
    let invoice: i64 = insert.bind(customer).bind(cents).fetch_one(&mut *tx).await.context("issuing an invoice")?;
    let value = json!({ "invoice": invoice, "customer": customer, "cents": cents });
    // Nobody else sees the new row before the commit, so there is nobody whose order with this event could matter.
    outbox::append(&mut tx, &event(topic, invoice, "billing.InvoiceIssued", &value).key_is_locked()).await?;
    tx.commit().await?;
    Ok(invoice)
}

/// Takes a payment for an invoice.
///
/// # Errors
/// The database's, also when there is no such invoice; then nothing has happened.
pub async fn pay(pool: &PgPool, topic: &str, invoice: i64, cents: i64) -> anyhow::Result<()> {
    let mut tx = pool.begin().await?;
    // Two payments of one invoice may be made at once: `append` locks its key until the commit, so that they are published in order.
    let value = json!({ "invoice": invoice, "cents": cents });
    outbox::append(&mut tx, &event(topic, invoice, "billing.InvoicePaid", &value)).await?;
    let insert = sqlx::query("insert into payments (invoice, cents) values ($1, $2)");
    insert.bind(invoice).bind(cents).execute(&mut *tx).await.with_context(|| format!("paying invoice {invoice}"))?;
    Ok(tx.commit().await?)
}

fn event(topic: &str, invoice: i64, kind: &'static str, value: &Value) -> NewEvent {
    NewEvent::new(topic, invoice.to_string(), kind, Json::CONTENT_TYPE, value.to_string().into_bytes())
}
