//! What callers see of an authorisation.

use axum::http::header::LOCATION;
use axum::http::{HeaderName, HeaderValue, StatusCode};
use axum::response::{IntoResponse, Response};
use jiff::Timestamp;
use serde::Serialize;
use uuid::Uuid;

use super::problem;
use crate::authorisation::{self, Currency, Operation, Reason, State, Status};
use crate::store;

/// An authorisation; amounts are minor units.
#[derive(Debug, Serialize)]
pub struct Authorisation<'a> {
    id: Uuid,
    merchant_reference: &'a str,
    status: Status,
    amount: u64,
    currency: Currency,
    captured: u64,
    refunded: u64,
    #[serde(skip_serializing_if = "Option::is_none")]
    reason: Option<Reason>,
    created_at: Timestamp,
    updated_at: Timestamp,
}

/// A page of the ledger; `next` is what to ask `after`, and absent from the last one.
#[derive(Debug, Serialize)]
pub struct Page<'a> {
    authorisations: Vec<Authorisation<'a>>,
    next: Option<Uuid>,
}

/// The problem details of a decline.
#[derive(Serialize)]
struct Declined<'a> {
    #[serde(rename = "type")]
    kind: String,
    title: &'static str,
    status: u16,
    code: &'static str,
    detail: &'static str,
    reason: Option<Reason>,
    authorisation: Authorisation<'a>,
}

// === impl Authorisation ===

impl<'a> Authorisation<'a> {
    pub fn of(record: &'a authorisation::Authorisation) -> Self {
        Self {
            id: record.id,
            merchant_reference: &record.merchant_reference,
            status: record.state.status(),
            amount: record.amount,
            currency: record.currency,
            captured: record.state.captured(),
            refunded: record.state.refunded(),
            reason: match record.state {
                State::Declined { reason } => Some(reason),
                _ => None,
            },
            created_at: record.created_at,
            updated_at: record.updated_at,
        }
    }
}

pub fn all(records: &[authorisation::Authorisation]) -> Vec<Authorisation<'_>> {
    records.iter().map(Authorisation::of).collect()
}

// === impl Page ===

impl<'a> Page<'a> {
    pub fn of(page: &'a store::Page) -> Self {
        let last = page.authorisations.last().map(|record| record.id);
        Self { authorisations: all(&page.authorisations), next: last.filter(|_| page.more) }
    }
}

/// 201 for a new authorisation, 402 for a decline, 200 for a change; and whether it is told again.
pub fn answer(answer: &store::Answer) -> Response {
    let seen = Authorisation::of(&answer.authorisation);
    let id = seen.id;
    let mut response = match answer.operation {
        Operation::Authorise if seen.status == Status::Declined => declined(seen),
        Operation::Authorise => {
            let mut response = (StatusCode::CREATED, axum::Json(seen)).into_response();
            if let Ok(place) = HeaderValue::try_from(format!("/authorisations/{id}")) {
                response.headers_mut().insert(LOCATION, place);
            }
            response
        }
        Operation::Capture | Operation::Void | Operation::Refund => axum::Json(seen).into_response(),
    };
    if answer.replayed {
        let name = HeaderName::from_static("idempotent-replayed");
        response.headers_mut().insert(name, HeaderValue::from_static("true"));
    }
    response
}

fn declined(authorisation: Authorisation<'_>) -> Response {
    let status = StatusCode::PAYMENT_REQUIRED;
    let body = Declined {
        kind: problem::kind("card_declined"),
        title: "Payment Required",
        status: status.as_u16(),
        code: "card_declined",
        detail: "the card was declined",
        reason: authorisation.reason,
        authorisation,
    };
    problem::response(status, &body)
}
