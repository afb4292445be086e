//! Dunning, told as stories.

use acme::dunning::{Claim, Deadline, Dunning, Tables};
use acme::events::billing::{InvoiceIssued, InvoicePaid};
use acme::events::dunning::{ClaimOpened, ClaimSettled, ReminderSent};
use farandole::testing::Story;
use farandole::{Task, Timestamp, rows};
use uuid::Uuid;

const ID: Uuid = Uuid::from_u128(7);
const DAY: i64 = 86_400_000_000;

fn story() -> Story<Dunning> {
    Story::new(Dunning, ID, rows![Tables; claims: Claim[ID]])
}

fn issued() -> InvoiceIssued {
    InvoiceIssued { invoice_id: ID, customer_id: "anna".into(), amount_cents: 1200, due_on: 3 }
}

fn paid() -> InvoicePaid {
    InvoicePaid { invoice_id: ID, customer_id: "anna".into(), amount_cents: 1200, paid_on: 2 }
}

#[test]
fn what_is_paid_in_time_is_settled_without_a_reminder() {
    let mut story = story();
    let opened = ClaimOpened { invoice_id: ID, customer_id: "anna".into(), amount_cents: 1200, due_on: 3 };
    let due = Task::deadline(Deadline::PaymentDue, Timestamp::from_micros(4 * DAY));
    story.hears(issued()).then([opened]).tasks([due]);
    story.hears(issued()).nothing();
    story.hears(paid()).then([ClaimSettled { invoice_id: ID }]).tasks([Task::close(Deadline::PaymentDue)]);
    story.hears(paid()).nothing();
}

#[test]
fn what_is_not_paid_in_time_is_reminded_of_once_and_may_still_be_paid() {
    let mut story = story();
    story.hears(issued());
    story.due(Deadline::PaymentDue).then([ReminderSent { invoice_id: ID }]).tasks([]);
    story.hears(paid()).then([ClaimSettled { invoice_id: ID }]);
}
