//! Dunning: a service that follows billing and reminds of what isn't paid in time.

use std::time::Duration;

use axum::extract::{Path, State};
use axum::routing::get;
use axum::{Json, Router};
use farandole::http;
use farandole::prelude::*;
use serde_json::{Value, json};
use uuid::Uuid;

use crate::events::billing::{InvoiceIssued, InvoicePaid};
use crate::events::dunning::{ClaimOpened, ClaimSettled, ReminderSent};

farandole::messages! {
    /// What dunning publishes.
    pub enum Event { ClaimOpened, ClaimSettled, ReminderSent }
}
farandole::messages! {
    /// What dunning subscribes to.
    pub enum Heard { InvoiceIssued, InvoicePaid }
}
farandole::deadlines! {
    /// When dunning looks again.
    pub enum Deadline { PaymentDue }
}
farandole::tables! {
    /// What dunning stores.
    pub struct Tables {
        claims: Claim in "claims" { invoice_id: Uuid, customer_id: String, cents: i64, settled: bool, reminders: i64 }
    }
}

/// The participant.
#[derive(Debug)]
pub struct Dunning;

impl Participant for Dunning {
    const NAME: &'static str = "dunning";
    type Id = Uuid; // an invoice
    type Event = Event;
    type Heard = Heard;
    type Command = Never;
    type Deadline = Deadline;
    type Effect = Never;
    type Tables = Tables;

    fn decide(&self, tables: &Tables, &invoice_id: &Uuid, input: &Input<Self>) -> Result<Decision<Event>, Refusal> {
        let claim = tables.claims.get(&invoice_id);
        Ok(match (&input.body, claim) {
            (Body::Heard(Heard::InvoiceIssued(invoice)), None) => Decision::event(ClaimOpened {
                invoice_id,
                customer_id: invoice.customer_id.clone(),
                amount_cents: invoice.amount_cents,
                due_on: invoice.due_on,
            }),
            (Body::Heard(Heard::InvoicePaid(_)), None) => {
                return Err(Refusal::Retry(format!("invoice {invoice_id} isn't known here")));
            }
            (Body::Heard(Heard::InvoicePaid(_)), Some(claim)) if !claim.settled => Decision::event(ClaimSettled { invoice_id }),
            (Body::Deadline(Deadline::PaymentDue), Some(claim)) if !claim.settled => Decision::event(ReminderSent { invoice_id }),
            // Late or repeated, and settled already.
            _ => Decision::nothing(),
        })
    }

    fn evolve(&self, tables: &mut Tables, event: &Event) {
        match event {
            Event::ClaimOpened(e) => tables.claims.put(Claim {
                invoice_id: e.invoice_id,
                customer_id: e.customer_id.clone(),
                cents: e.amount_cents,
                settled: false,
                reminders: 0,
            }),
            Event::ClaimSettled(e) => {
                if let Some(claim) = tables.claims.get_mut(&e.invoice_id) {
                    claim.settled = true;
                }
            }
            Event::ReminderSent(e) => {
                if let Some(claim) = tables.claims.get_mut(&e.invoice_id) {
                    claim.reminders += 1;
                }
            }
        }
    }

    fn follow_up(&self, event: &Event) -> Tasks<Self> {
        match event {
            Event::ClaimOpened(e) => vec![Task::deadline(Deadline::PaymentDue, end_of(e.due_on))],
            Event::ClaimSettled(_) => vec![Task::close(Deadline::PaymentDue)],
            Event::ReminderSent(_) => Vec::new(),
        }
    }
}

/// The end of a day, which Avro counts from 1970.
fn end_of(day: i32) -> Timestamp {
    const DAY: Duration = Duration::from_secs(86_400);
    Timestamp::from_micros(i64::from(day) * 86_400_000_000).plus(DAY)
}

/// The service.
pub fn service() -> Service<Dunning> {
    let routes = |api| Router::new().route("/customers/{id}", get(customer)).with_state(api);
    Service::new(Dunning, farandole::migrations!["0001_claims.sql"]).routes(routes)
}

/// What a customer owes.
async fn customer(State(api): State<Api<Dunning>>, Path(id): Path<String>) -> Result<Json<Value>, Problem> {
    let sum = "select coalesce(sum(cents), 0)::bigint, coalesce(sum(reminders), 0)::bigint
               from claims where customer_id = $1 and not settled";
    let (cents, reminders): (i64, i64) = sqlx::query_as(sum).bind(&id).fetch_one(&api.pool).await.map_err(http::database)?;
    Ok(Json(json!({ "customer": id, "open_cents": cents, "reminders": reminders })))
}
