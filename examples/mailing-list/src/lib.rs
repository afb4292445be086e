//! A mailing list: a schema that was there before, and a handler that writes into it what a topic says.
//!
//! Each record's mails and the position behind it are one transaction: no mail is missing and none is there twice, however often
//! this is killed.
use farandole::handler::{Error, Handler, Repeating};
use farandole::{Codec, Record, Tx};
use serde::Deserialize;

/// Writes a mail to each subscriber who has to do with an invoice.
#[derive(Debug)]
pub struct MailingList {
    codec: Codec,
}

/// As far as it matters here; billing says more.
#[derive(Debug, Deserialize)]
struct InvoiceIssued {
    invoice: i64,
    customer: String,
    cents: i64,
}

const ISSUED: &str = "billing.InvoiceIssued";

impl MailingList {
    /// A mailing list that reads values with `codec`.
    pub fn new(codec: Codec) -> Self {
        Self { codec }
    }
}

impl Handler for MailingList {
    // Who is given an invoice again writes its mails again.
    const REPEATING: Repeating = Repeating::Adds;

    async fn handle(&self, tx: &mut Tx<'_>, records: &[Record]) -> Result<(), Error> {
        let (mut customers, mut subjects) = (Vec::new(), Vec::new());
        for record in records.iter().filter(|record| record.kind() == Some(ISSUED)) {
            // What can't be read parks under its key, with this error as the reason.
            let InvoiceIssued { invoice, customer, cents } = record.decode(&self.codec, ISSUED)?;
            if cents <= 0 {
                return Err(Error::Refused(format!("invoice {invoice} is of {cents} cents")));
            }
            subjects.push(format!("{customer}: invoice {invoice} of {}.{:02}", cents / 100, cents % 100));
            customers.push(customer);
        }
        // A subject that is too long is the database's to refuse; that record parks just the same.
        sqlx::query(
            "insert into mails (email, subject)
             select email, subject from unnest($1::text[], $2::text[]) with ordinality as said(customer, subject, n)
             join subscribers using (customer) order by n",
        )
        .bind(customers)
        .bind(subjects)
        .execute(&mut **tx)
        .await?;
        Ok(())
    }
}
