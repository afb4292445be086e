//! What callers were told, and how fast, as the fronts of orders and inventory see it.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use axum::body::Bytes;
use reqwest::{Method, StatusCode};
use serde_json::Value;
use uuid::Uuid;

use super::front::{Exchange, Witness};
use crate::shop::ledger::Ledger;
use crate::shop::load::is_settled;

/// Everything that was told.
#[derive(Debug, Default)]
pub struct Callers(Mutex<Told>);

#[derive(Debug, Default)]
struct Told {
    ledger: Ledger,
    /// What was acknowledged, by idempotency key.
    requests: BTreeMap<String, Request>,
    /// Orders that were acknowledged and lost.
    lost: BTreeSet<Uuid>,
    /// When each request was sent on, how long its answer took, and what it was if it wasn't a usual one.
    answers: Vec<(Instant, Duration, Option<String>)>,
}

/// A request that may be asked again.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Request {
    pub path: String,
    pub body: Bytes,
}

/// Answers within a stretch of time.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Answers {
    pub count: usize,
    pub p50: Duration,
    pub p99: Duration,
    /// Requests without an answer, or with one that asks to come again or that nobody expects.
    pub unusual: Vec<String>,
}

impl Callers {
    pub fn ledger(&self) -> Ledger {
        self.lock().ledger.clone()
    }

    /// The answers to what was sent on from `since` until now.
    pub fn answers(&self, since: Instant) -> Answers {
        let told = self.lock();
        let within: Vec<_> = told.answers.iter().filter(|(at, ..)| *at >= since).collect();
        let mut took: Vec<Duration> = within.iter().map(|(_, took, _)| *took).collect();
        took.sort_unstable();
        let of = |part: f64| took.get((took.len() as f64 * part) as usize).or(took.last()).copied().unwrap_or_default();
        let unusual = within.iter().filter_map(|(.., unusual)| unusual.clone()).collect();
        Answers { count: took.len(), p50: of(0.5), p99: of(0.99), unusual }
    }

    /// What was acknowledged under `key` is lost: it isn't counted any more, and can be asked again.
    pub fn lose(&self, key: &str) -> Option<Request> {
        let told = &mut *self.lock();
        let request = told.requests.remove(key)?;
        if let Some(order) = cancelled(&request.path) {
            told.ledger.cancelled.remove(&order);
            told.ledger.asked.remove(&order);
            // There is nothing to cancel any more.
            return Some(request).filter(|_| !told.lost.contains(&order));
        }
        match receipt(&request.body) {
            Some((sku, quantity)) => *told.ledger.received.entry(sku).or_default() -= quantity,
            None => told.lost.extend(told.ledger.orders.remove(key).into_iter().flatten()),
        }
        Some(request)
    }

    /// Notes how a request was answered that isn't a caller's own.
    pub fn note(&self, exchange: &Exchange, is_usual: bool) {
        let told = &mut *self.lock();
        told.ledger.answered(status(exchange));
        told.answers.push((exchange.at, exchange.took, (!is_usual).then(|| words(exchange))));
    }

    fn lock(&self) -> MutexGuard<'_, Told> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Witness for Callers {
    fn seen(&self, exchange: &Exchange) {
        let told = &mut *self.lock();
        told.ledger.answered(status(exchange));
        let status = exchange.status;
        let of_lost = cancelled(&exchange.path).is_some_and(|order| told.lost.contains(&order));
        let usual = match status {
            Some(status) if status.is_success() => true,
            Some(StatusCode::CONFLICT) => cancelled(&exchange.path).is_some() && is_settled(&body(&exchange.answer)),
            Some(StatusCode::NOT_FOUND) => of_lost,
            _ => false,
        };
        let unusual = (!usual).then(|| words(exchange));
        // Such a request is asked again; what is refused isn't.
        let refused = status.is_some_and(|s| !s.is_server_error() && s != StatusCode::TOO_MANY_REQUESTS);
        told.ledger.failed.extend(unusual.clone().filter(|_| refused));
        told.answers.push((exchange.at, exchange.took, unusual));
        if exchange.method == Method::POST && status.is_some_and(|status| status.is_success()) {
            told.acknowledged(exchange);
        }
    }
}

impl Told {
    fn acknowledged(&mut self, exchange: &Exchange) {
        let Some(key) = &exchange.key else { return };
        let request = Request { path: exchange.path.clone(), body: exchange.body.clone() };
        let is_first = self.requests.insert(key.clone(), request).is_none();
        if let Some(order) = cancelled(&exchange.path) {
            self.ledger.cancellation(order, &body(&exchange.answer));
        } else if let Some((sku, quantity)) = receipt(&exchange.body) {
            *self.ledger.received.entry(sku).or_default() += if is_first { quantity } else { 0 };
        } else {
            let answer = body(&exchange.answer);
            let order = answer.get("order_id").and_then(Value::as_str).and_then(|id| id.parse().ok());
            match order {
                Some(order) => drop(self.ledger.orders.entry(key.clone()).or_default().insert(order)),
                None => self.ledger.failed.push(format!("{key}: an order without an id: {answer}")),
            }
        }
    }
}

fn status(exchange: &Exchange) -> String {
    exchange.status.map_or("none".to_owned(), |status| status.as_u16().to_string())
}

/// An exchange in a line.
fn words(Exchange { method, path, status, answer, .. }: &Exchange) -> String {
    let answer = String::from_utf8_lossy(answer).chars().take(200).collect::<String>();
    let status = status.map_or("no answer".to_owned(), |status| status.to_string());
    format!("{method} {path}: {status} {answer}")
}

fn body(bytes: &Bytes) -> Value {
    serde_json::from_slice(bytes).unwrap_or_default()
}

/// The order that a path cancels.
fn cancelled(path: &str) -> Option<Uuid> {
    path.strip_prefix("/orders/")?.strip_suffix("/cancel")?.parse().ok()
}

/// What a receipt brings.
fn receipt(bytes: &Bytes) -> Option<(String, i64)> {
    let body = body(bytes);
    Some((body.get("sku")?.as_str()?.to_owned(), body.get("quantity")?.as_i64()?))
}

#[cfg(test)]
mod tests {
    use axum::http::HeaderMap;

    use super::*;

    fn exchange(path: &str, key: &str, body: &str, status: u16, answer: &str) -> Exchange {
        Exchange {
            method: Method::POST,
            path: path.to_owned(),
            key: Some(key.to_owned()),
            headers: HeaderMap::new(),
            body: Bytes::from(body.to_owned()),
            at: Instant::now(),
            took: Duration::from_millis(5),
            status: StatusCode::from_u16(status).ok(),
            answer: Bytes::from(answer.to_owned()),
        }
    }

    /// An order and a receipt, each told twice; both lost; asked again, they are others.
    #[test]
    fn what_is_lost_is_asked_again_and_counts_once() {
        let (callers, began) = (Callers::default(), Instant::now());
        let (first, second) = (Uuid::from_u128(1), Uuid::from_u128(2));
        let placed = |id: Uuid| exchange("/orders", "a", r#"{"lines": []}"#, 201, &format!(r#"{{"order_id": "{id}"}}"#));
        let received = exchange("/receipts", "b", r#"{"sku": "tea", "quantity": 4}"#, 201, "{}");
        let cancel = |id: Uuid, status| exchange(&format!("/orders/{id}/cancel"), "c", "{}", status, "{}");
        for told in [placed(first), placed(first), exchange("/receipts", "b", r#"{"sku": "tea", "quantity": 4}"#, 201, "{}")] {
            callers.seen(&told);
        }
        callers.seen(&cancel(first, 202));
        callers.seen(&received);
        let ledger = callers.ledger();
        assert_eq!((ledger.placed(), ledger.received["tea"], ledger.cancelled.len()), (1, 4, 1));

        assert!(callers.lose("a").is_some() && callers.lose("b").is_some());
        assert_eq!(callers.lose("c"), None, "its order is gone");
        assert_eq!(callers.lose("a"), None, "once");
        callers.seen(&placed(second));
        callers.seen(&received);
        callers.seen(&cancel(first, 404));
        let ledger = callers.ledger();
        assert_eq!((ledger.orders["a"].clone(), ledger.received["tea"], ledger.cancelled.len()), ([second].into(), 4, 0));
        assert_eq!((ledger.failed.len(), callers.answers(began).unusual.len()), (0, 0));
    }

    /// What shipping was asked for is told apart from what is done; too late is an answer, and any other conflict isn't.
    #[test]
    fn cancellations_are_told_apart_by_their_answers() {
        let (callers, order) = (Callers::default(), Uuid::from_u128(1));
        let cancel = |status, answer| callers.seen(&exchange(&format!("/orders/{order}/cancel"), "c", "{}", status, answer));
        cancel(202, r#"{"state": "confirmed", "cancellation": "requested"}"#);
        let ledger = callers.ledger();
        assert_eq!((ledger.asked, ledger.cancelled), ([order].into(), [].into()));
        assert!(callers.lose("c").is_some() && callers.ledger().asked.is_empty(), "lost, and to be asked again");
        cancel(409, r#"{"type": "/problems/too-late"}"#);
        cancel(409, r#"{"type": "/problems/order-rejected"}"#);
        assert_eq!(callers.ledger().failed.len(), 0);
        cancel(409, r#"{"type": "/problems/aggregate-parked"}"#);
        assert_eq!(callers.ledger().failed.len(), 1);
    }

    #[test]
    fn what_isnt_usual_is_seen() {
        let (callers, began) = (Callers::default(), Instant::now());
        for status in [201, 503, 422] {
            callers.seen(&exchange("/receipts", "b", r#"{"sku": "tea", "quantity": 4}"#, status, "{}"));
        }
        let answers = callers.answers(began);
        assert_eq!((answers.count, answers.unusual.len(), callers.ledger().failed.len()), (3, 2, 1), "{answers:?}");
        assert_eq!(answers.p99, Duration::from_millis(5));
        assert_eq!(callers.answers(Instant::now()).count, 0);
    }
}
