//! The statements: tables that were there before, and a handler that books in them what billing's topic says.

use farandole::handler::{Error, Handler};
use farandole::{Codec, Message as _, Record, RecordType, Tx};

use crate::billing::Event;
use crate::events::billing::{InvoiceIssued, InvoicePaid};

/// Books invoices and payments.
#[derive(Debug)]
pub struct Statements {
    codec: Codec,
}

impl Statements {
    /// What is read, in the versions of this build.
    pub const TYPES: &[RecordType] = Event::TYPES;

    /// Statements that read values with `codec`.
    pub fn new(codec: Codec) -> Self {
        Self { codec }
    }
}

impl Handler for Statements {
    async fn handle(&self, tx: &mut Tx<'_>, records: &[Record]) -> Result<(), Error> {
        for record in records {
            // What can't be read parks under its key, with the error as the reason.
            let (customer_id, words, cents, booked_on) = match record.kind() {
                Some(InvoiceIssued::NAME) => {
                    let invoice: InvoiceIssued = record.decode(&self.codec, InvoiceIssued::NAME)?;
                    (invoice.customer_id, format!("invoice {}", invoice.invoice_id), invoice.amount_cents, invoice.due_on)
                }
                Some(InvoicePaid::NAME) => {
                    let paid: InvoicePaid = record.decode(&self.codec, InvoicePaid::NAME)?;
                    (paid.customer_id, format!("payment of {}", paid.invoice_id), -paid.amount_cents, paid.paid_on)
                }
                _ => continue,
            };
            let balance = "insert into accounts values ($1, $2)
                           on conflict (customer_id) do update set balance_cents = accounts.balance_cents + $2";
            sqlx::query(balance).bind(&customer_id).bind(cents).execute(&mut **tx).await?;
            let line = "insert into lines (customer_id, booked_on, words, cents) values ($1, date '1970-01-01' + $2, $3, $4)";
            sqlx::query(line).bind(customer_id).bind(booked_on).bind(words).bind(cents).execute(&mut **tx).await?;
        }
        Ok(())
    }
}
