//! Orders, cancellations and receipts at an even rate, each sent again under its key until it is answered.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use anyhow::Context as _;
use reqwest::{Client, StatusCode};
use serde_json::{Value, json};
use tokio::sync::Semaphore;
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;
use uuid::Uuid;

use super::ledger::Ledger;
use crate::plan::Draw;

/// How long one request is sent again: longer than any fault and recovery.
const PATIENCE: Duration = Duration::from_secs(180);
/// How long one answer may take; less than the services give themselves (10 s), so that the same key is under way twice.
const TIMEOUT: Duration = Duration::from_secs(4);
/// Between two tries.
const PAUSE: Duration = Duration::from_millis(100);
/// Orders under way at most: at the usual rate those of 25 s. Beyond that none are placed: callers wait too.
const UNDER_WAY: usize = 512;
/// Articles; few, so that decisions share rows.
const SKUS: u64 = 12;
/// Pieces of each at the start: they run short within a minute, and orders are turned away until more come.
const FIRST: i64 = 150;
/// Pieces that come in now and then.
const MORE: i64 = 40;
/// How the names of customers begin with whose parcels something happens: the carrier's words for it.
const FATES: [&str; 4] = ["lost", "found", "nowhere", "slow"];
/// Of so many customers there is one of each, and one whom no mail reaches.
const FATE: u64 = 40;
/// Orders of a probe: enough to fall in all partitions of each topic, nearly always.
const PROBES: u64 = 12;
/// Of what probes order there is always enough.
const PROBE: (&str, i64) = ("probe", 1_000_000);

/// The shop's callers.
#[derive(Debug)]
pub struct Load {
    pub client: Client,
    orders: String,
    inventory: String,
    seed: u64,
    rate: u32,
    shared: Arc<Mutex<Shared>>,
}

#[derive(Debug, Default)]
struct Shared {
    ledger: Ledger,
    probes: u64,
    supplied: bool,
}

/// One caller's request, sent until it is answered.
#[derive(Debug, Clone)]
struct Caller {
    client: Client,
    orders: String,
    inventory: String,
    shared: Arc<Mutex<Shared>>,
}

impl Load {
    /// Callers of the services at these addresses.
    ///
    /// # Errors
    /// When the system gives no HTTP client.
    pub fn new(seed: u64, rate: u32, orders: &str, inventory: &str) -> anyhow::Result<Self> {
        let client = Client::builder().timeout(TIMEOUT).build().context("making an HTTP client")?;
        let (orders, inventory) = (format!("http://{orders}"), format!("http://{inventory}"));
        Ok(Self { client, orders, inventory, seed, rate, shared: Arc::default() })
    }

    /// What was acknowledged so far.
    pub fn ledger(&self) -> Ledger {
        self.lock().ledger.clone()
    }

    fn lock(&self) -> MutexGuard<'_, Shared> {
        self.shared.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn caller(&self) -> Caller {
        let Self { client, orders, inventory, shared, .. } = self;
        Caller { client: client.clone(), orders: orders.clone(), inventory: inventory.clone(), shared: Arc::clone(shared) }
    }

    /// Places orders until told to stop, then waits for the answers.
    pub async fn run(&self, stop: CancellationToken) -> anyhow::Result<String> {
        let mut draw = Draw::new(self.seed ^ 0x10AD);
        for sku in 0..SKUS {
            self.caller().receive(&format!("first-{sku}"), &sku_name(sku), FIRST).await;
        }
        let slots = Arc::new(Semaphore::new(UNDER_WAY));
        let mut flying = JoinSet::new();
        let mut ticks = tokio::time::interval(Duration::from_secs(1) / self.rate.max(1));
        ticks.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
        let began = Instant::now();
        let mut n = 0_u64;
        while !stop.is_cancelled() {
            tokio::select! { _ = ticks.tick() => {}, () = stop.cancelled() => break }
            while flying.try_join_next().is_some() {}
            let Ok(slot) = Arc::clone(&slots).try_acquire_owned() else { continue };
            n += 1;
            let (caller, order, n) = (self.caller(), Order::draw(&mut draw), n);
            flying.spawn(async move {
                let _slot = slot;
                caller.order(n, &order).await;
            });
            if n.is_multiple_of(30) {
                let (caller, sku) = (self.caller(), sku_name(draw.below(SKUS)));
                flying.spawn(async move { caller.receive(&format!("more-{n}"), &sku, MORE).await });
            }
        }
        let took = began.elapsed();
        while flying.join_next().await.is_some() {}
        let ledger = self.ledger();
        let answers: Vec<String> = ledger.answers.iter().map(|(status, n)| format!("{n} × {status}")).collect();
        Ok(format!(
            "{} orders in {:.0} s, {} of them cancelled on request at once, {} asked to be; answers: {}",
            ledger.placed(),
            took.as_secs_f64(),
            ledger.cancelled.len(),
            ledger.asked.len(),
            answers.join(", ")
        ))
    }

    /// Places orders and waits until all of them are delivered and paid; one that missed a deadline is placed anew.
    pub async fn probe(&self) {
        let number = {
            let mut shared = self.lock();
            shared.probes += 1;
            shared.probes
        };
        let caller = self.caller();
        if !self.lock().supplied {
            caller.receive("probe", PROBE.0, PROBE.1).await;
            self.lock().supplied = true;
        }
        let mut probes: JoinSet<()> = (0..PROBES)
            .map(|n| {
                let caller = caller.clone();
                async move {
                    for again in 0.. {
                        let key = format!("probe-{number}-{n}-{again}");
                        if let Some(id) = caller.place(&key, &Order::probe(n).body()).await
                            && caller.completed(id).await
                        {
                            return;
                        }
                    }
                }
            })
            .collect();
        while probes.join_next().await.is_some() {}
    }
}

/// Whether a cancellation is refused because there is nothing to cancel, or not any more.
pub fn is_settled(answer: &Value) -> bool {
    matches!(answer["type"].as_str(), Some("/problems/order-rejected" | "/problems/too-late"))
}

fn sku_name(n: u64) -> String {
    format!("sku-{n}")
}

/// An order to place.
#[derive(Debug)]
struct Order {
    customer: String,
    card: &'static str,
    lines: Vec<(String, u64)>,
    /// Sent again under the same key after it was answered.
    repeated: bool,
    /// Cancelled by the customer.
    cancelled: Option<When>,
}

/// When a customer cancels.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum When {
    /// So long after the order was taken.
    After(Duration),
    /// As soon as it is confirmed: while its parcel waits.
    Confirmed,
}

impl Order {
    fn draw(draw: &mut Draw) -> Self {
        let first = draw.below(SKUS);
        let count = 1 + draw.below(3);
        // Neighbours: different articles, in any order.
        let lines = (0..count).map(|n| (sku_name((first + n * 5) % SKUS), 1 + draw.below(2))).collect();
        let card = if draw.below(15) == 0 { "tok_decline_load" } else { "tok_load" };
        let repeated = draw.below(8) == 0;
        let cancelled = match draw.below(14) {
            0 | 1 => Some(When::After(Duration::from_millis(draw.below(2_500)))),
            2 => Some(When::Confirmed),
            _ => None,
        };
        let fate = FATES.iter().chain([&stage::mail::BOUNCES]).nth(draw.below(FATE) as usize).copied().unwrap_or("c");
        Self { customer: format!("{fate}{}", draw.below(50)), card, lines, repeated, cancelled }
    }

    fn probe(n: u64) -> Self {
        let (customer, lines) = (format!("c{}", 1_000 + n), vec![(PROBE.0.into(), 1)]);
        Self { customer, card: "tok_probe", lines, repeated: false, cancelled: None }
    }

    fn body(&self) -> Value {
        let lines: Vec<Value> =
            self.lines.iter().map(|(sku, quantity)| json!({ "sku": sku, "quantity": quantity, "unit_price": 250 })).collect();
        json!({ "customer": self.customer, "card_token": self.card, "currency": "GBP", "lines": lines })
    }
}

impl Caller {
    fn with_ledger<T>(&self, what: impl FnOnce(&mut Ledger) -> T) -> T {
        what(&mut self.shared.lock().unwrap_or_else(PoisonError::into_inner).ledger)
    }

    async fn order(&self, n: u64, order: &Order) {
        let (key, body) = (format!("order-{n}"), order.body());
        let Some(id) = self.place(&key, &body).await else { return };
        if order.repeated {
            self.place(&key, &body).await;
        }
        match order.cancelled {
            Some(When::After(time)) => tokio::time::sleep(time).await,
            // Of one that never is the audit tells.
            Some(When::Confirmed) => drop(tokio::time::timeout(PATIENCE, self.state(id, |state| state != "placed")).await),
            None => return,
        }
        self.cancel(n, id).await;
    }

    async fn place(&self, key: &str, body: &Value) -> Option<Uuid> {
        let (status, answer) = self.post(&format!("{}/orders", self.orders), key, body).await?;
        let id = answer.get("order_id").and_then(Value::as_str).and_then(|id| id.parse().ok());
        self.with_ledger(|ledger| match id.filter(|_| status.is_success()) {
            Some(id) => {
                ledger.orders.entry(key.to_owned()).or_default().insert(id);
            }
            None => ledger.failed.push(format!("{key}: {status} {answer}")),
        });
        id
    }

    async fn cancel(&self, n: u64, id: Uuid) {
        let url = format!("{}/orders/{id}/cancel", self.orders);
        let Some((status, answer)) = self.post(&url, &format!("cancel-{n}"), &json!({})).await else { return };
        self.with_ledger(|ledger| match status {
            _ if status.is_success() => ledger.cancellation(id, &answer),
            StatusCode::CONFLICT if is_settled(&answer) => {}
            _ => ledger.failed.push(format!("cancelling {id}: {status} {answer}")),
        });
    }

    async fn receive(&self, key: &str, sku: &str, quantity: i64) {
        let body = json!({ "sku": sku, "quantity": quantity });
        let Some((status, answer)) = self.post(&format!("{}/receipts", self.inventory), key, &body).await else { return };
        self.with_ledger(|ledger| {
            if status.is_success() {
                *ledger.received.entry(sku.to_owned()).or_default() += quantity;
            } else {
                ledger.failed.push(format!("{key}: {status} {answer}"));
            }
        });
    }

    /// Waits until an order is in a state that is `so`, and says in which.
    async fn state(&self, id: Uuid, so: impl Fn(&str) -> bool) -> String {
        loop {
            if let Ok(answer) = self.client.get(format!("{}/orders/{id}", self.orders)).send().await
                && let Ok(order) = answer.json::<Value>().await
                && let Some(state) = order.get("state").and_then(Value::as_str)
                && so(state)
            {
                return state.to_owned();
            }
            tokio::time::sleep(PAUSE).await;
        }
    }

    /// Waits until an order is completed; false when it ended otherwise.
    async fn completed(&self, id: Uuid) -> bool {
        self.state(id, |state| !matches!(state, "placed" | "confirmed")).await == "completed"
    }

    /// Sends a request until it is answered with anything but "come again"; `None` when it never was, which is noted.
    async fn post(&self, url: &str, key: &str, body: &Value) -> Option<(StatusCode, Value)> {
        let until = Instant::now() + PATIENCE;
        loop {
            let sent = self.client.post(url).header("Idempotency-Key", key).json(body).send().await;
            let why = match sent {
                Ok(answer) => {
                    let status = answer.status();
                    self.with_ledger(|ledger| ledger.answered(status.as_u16()));
                    match answer.json::<Value>().await {
                        Ok(body) if !status.is_server_error() && status != StatusCode::TOO_MANY_REQUESTS => {
                            return Some((status, body));
                        }
                        Ok(body) => format!("{status} {body}"),
                        Err(error) => format!("{status}, then {error}"),
                    }
                }
                Err(error) => {
                    self.with_ledger(|ledger| ledger.answered("none"));
                    error.to_string()
                }
            };
            if Instant::now() > until {
                let waited = PATIENCE.as_secs();
                self.with_ledger(|ledger| ledger.failed.push(format!("{key}: not answered within {waited} s, last {why}")));
                return None;
            }
            tokio::time::sleep(PAUSE).await;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Few enough that most mails come, and enough that some fail in any run.
    #[test]
    fn some_customers_cannot_be_reached() {
        let mut draw = Draw::new(7);
        let all: Vec<Order> = (0..4_000).map(|_| Order::draw(&mut draw)).collect();
        for fate in FATES.iter().chain([&stage::mail::BOUNCES]) {
            let drawn = all.iter().filter(|order| order.customer.starts_with(fate)).count();
            assert!((50..200).contains(&drawn), "{drawn} of {} are {fate}", all.len());
        }
    }
}
