//! What requests must look like: each function reads one kind and names every wrong field.

use axum::extract::{FromRequestParts, Path, Query};
use axum::http::request::Parts;
use axum::http::{HeaderMap, Uri};
use uuid::Uuid;

use super::fields::{Fields, is_plain};
use super::problem::Problem;
use crate::authorisation::{Currency, MAX_AMOUNT, Purchase};
use crate::faults::{Faults, MAX_HANG_MS, MAX_LATENCY_MS};

/// The longest key: as long as other acquirers allow.
const MAX_KEY: usize = 255;
const MAX_REFERENCE: usize = 128;
const MAX_TOKEN: usize = 128;
/// A page of the ledger, unless told, and at most.
const PAGE: u64 = 100;
const MAX_PAGE: u64 = 1_000;

pub fn key(headers: &HeaderMap) -> Result<String, Problem> {
    let mut keys = headers.get_all("idempotency-key").iter();
    match (keys.next().map(|key| key.to_str()), keys.next()) {
        (Some(Ok(key)), None) if is_plain(key, MAX_KEY) => Ok(key.to_owned()),
        (None, _) => Err(Problem::field("Idempotency-Key", "this header is required")),
        _ => Err(Problem::field("Idempotency-Key", "must be given once, 1 to 255 printable ASCII characters")),
    }
}

/// Both, or the complaints of both.
pub fn both<A, B>(a: Result<A, Problem>, b: Result<B, Problem>) -> Result<(A, B), Problem> {
    match (a, b) {
        (Ok(a), Ok(b)) => Ok((a, b)),
        (Err(a), Err(b)) => Err(a.and(b)),
        (Err(problem), _) | (_, Err(problem)) => Err(problem),
    }
}

/// The id in a path: what can't be one names nothing.
pub struct Id(pub Uuid);

impl<S: Send + Sync> FromRequestParts<S> for Id {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Self, Problem> {
        let text = Path::<String>::from_request_parts(parts, state).await.map_or_else(|_| String::new(), |Path(text)| text);
        text.parse().map(Self).map_err(|_| Problem::no_authorisation(text))
    }
}

pub fn purchase(body: &[u8]) -> Result<Purchase, Problem> {
    let mut fields = Fields::of_json(body)?;
    let merchant_reference = fields.text("merchant_reference", MAX_REFERENCE);
    let amount = fields.integer("amount", 1..=MAX_AMOUNT);
    let currency = fields.parsed("currency", Currency::parse, "must be three upper-case letters (ISO 4217)");
    let card_token = fields.text("card_token", MAX_TOKEN);
    fields.finish()?;
    let currency = currency.ok_or_else(|| Problem::field("currency", "is required"))?;
    Ok(Purchase { merchant_reference, amount, currency, card_token })
}

pub fn amount(body: &[u8]) -> Result<u64, Problem> {
    let mut fields = Fields::of_json(body)?;
    let amount = fields.integer("amount", 1..=MAX_AMOUNT);
    fields.finish()?;
    Ok(amount)
}

/// No body, or `{}`.
pub fn nothing(body: &[u8]) -> Result<(), Problem> {
    match body.is_empty() {
        true => Ok(()),
        false => Fields::of_json(body)?.finish(),
    }
}

pub fn faults(body: &[u8]) -> Result<Faults, Problem> {
    let mut fields = Fields::of_json(body)?;
    let faults = Faults {
        latency_ms: fields.integer_or("latency_ms", 0..=MAX_LATENCY_MS, 0),
        jitter_ms: fields.integer_or("jitter_ms", 0..=MAX_LATENCY_MS, 0),
        fail_rate: fields.rate("fail_rate"),
        fail_after_rate: fields.rate("fail_after_rate"),
        timeout_rate: fields.rate("timeout_rate"),
        absurd_rate: fields.rate("absurd_rate"),
        hang_ms: fields.integer_or("hang_ms", 1..=MAX_HANG_MS, Faults::default().hang_ms),
        decline_all: fields.switch("decline_all"),
        refuse: fields.switch("refuse"),
        seed: fields.integer_or("seed", 0..=u64::MAX, 0),
    };
    fields.finish()?;
    Ok(faults)
}

pub fn reference(query: Option<&str>) -> Result<String, Problem> {
    let mut fields = pairs(query)?;
    let reference = fields.text("merchant_reference", MAX_REFERENCE);
    fields.finish()?;
    Ok(reference)
}

pub fn page(query: Option<&str>) -> Result<(Option<Uuid>, usize), Problem> {
    let mut fields = pairs(query)?;
    let after = match fields.take("after") {
        None => None,
        Some(text) => {
            let id = text.as_str().and_then(|text| text.parse().ok());
            if id.is_none() {
                fields.complain("after", "must be the id of an authorisation");
            }
            id
        }
    };
    let limit = fields.digits_or("limit", 1..=MAX_PAGE, PAGE);
    fields.finish()?;
    // At most MAX_PAGE, which any usize holds.
    Ok((after, limit as usize))
}

fn pairs(query: Option<&str>) -> Result<Fields, Problem> {
    let malformed = || Problem::malformed("the query can't be read".to_owned());
    let uri: Uri = format!("/?{}", query.unwrap_or_default()).parse().map_err(|_| malformed())?;
    let Query(pairs) = Query::<Vec<(String, String)>>::try_from_uri(&uri).map_err(|_| malformed())?;
    Ok(Fields::of_query(pairs))
}
