//! Billing: transactions that were there before, each of which now also appends an event.

use farandole_outbox::Codec;
use farandole_outbox::outbox::{self, NewEvent};
use sqlx::PgPool;
use uuid::Uuid;

use crate::events::billing::{InvoiceIssued, InvoicePaid};

/// The name under which events are published, and their topic.
pub const NAME: &str = "billing";

farandole_outbox::messages! {
    /// What billing publishes.
    pub enum Event { InvoiceIssued, InvoicePaid }
}

/// Issues an invoice that is due in `days` days.
///
/// # Errors
/// The database's, or the event's; then nothing has happened.
pub async fn issue(pool: &PgPool, codec: &Codec, customer_id: &str, cents: i64, days: i32) -> anyhow::Result<Uuid> {
    let mut tx = pool.begin().await?;
    // Avro has dates as days since 1970.
    let insert = "insert into invoices (customer_id, cents, due_on) values ($1, $2, current_date + $3)
                  returning id, due_on - date '1970-01-01'";
    let (invoice_id, due_on) =
        sqlx::query_as::<_, (Uuid, i32)>(insert).bind(customer_id).bind(cents).bind(days).fetch_one(&mut *tx).await?;
    let issued = Event::from(InvoiceIssued { invoice_id, customer_id: customer_id.to_owned(), amount_cents: cents, due_on });
    // The row is new, so nobody else can append for this key before the commit.
    let event = NewEvent::of(codec, NAME, invoice_id.to_string(), &issued)?.key_is_locked();
    outbox::append(&mut tx, &event).await?;
    tx.commit().await?;
    Ok(invoice_id)
}

/// Takes the payment of some invoice that isn't paid yet, and tells which one; none if all are paid.
///
/// # Errors
/// As [`issue`].
pub async fn pay(pool: &PgPool, codec: &Codec) -> anyhow::Result<Option<Uuid>> {
    let mut tx = pool.begin().await?;
    let update = "update invoices set paid_on = current_date
                  where id = (select id from invoices where paid_on is null limit 1 for update skip locked)
                  returning id, customer_id, cents, paid_on - date '1970-01-01'";
    let Some((invoice_id, customer_id, amount_cents, paid_on)) =
        sqlx::query_as::<_, (Uuid, String, i64, i32)>(update).fetch_optional(&mut *tx).await?
    else {
        return Ok(None);
    };
    let paid = Event::from(InvoicePaid { invoice_id, customer_id, amount_cents, paid_on });
    let event = NewEvent::of(codec, NAME, invoice_id.to_string(), &paid)?.key_is_locked();
    outbox::append(&mut tx, &event).await?;
    tx.commit().await?;
    Ok(Some(invoice_id))
}
