//! An order's events as they happen, as server-sent events.
//!
//! One task asks the database for all orders that are watched, so a thousand watchers cost as much as one.

use std::collections::HashMap;
use std::convert::Infallible;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use axum::response::sse::{Event, KeepAlive, Sse};
use farandole::Problem;
use farandole::table::Row as _;
use futures_util::stream::{self, Stream};
use serde_json::json;
use sqlx::PgPool;
use tokio::sync::watch;
use uuid::Uuid;

use super::views::{Happened, OrderView};
use crate::tables::Order;

/// Between two looks: soon enough for a person who watches.
const LOOK: Duration = Duration::from_millis(200);
/// Between two looks when the database doesn't answer.
const PAUSE: Duration = Duration::from_secs(2);
/// Within the time after which proxies take a silent connection for dead, and well within the service's own.
const ALIVE: Duration = Duration::from_secs(10);
/// Streams at once: each is a connection and some kilobytes.
const MOST: usize = 1_000;

/// The orders that somebody watches.
#[derive(Debug, Clone)]
pub struct Watching {
    orders: Arc<Mutex<HashMap<Uuid, watch::Sender<Arc<Order>>>>>,
    pool: PgPool,
}

impl Watching {
    pub fn new(pool: PgPool) -> Self {
        Self { orders: Arc::default(), pool }
    }

    /// The events of `order` after the first `seen`, and what comes, until the order has ended.
    pub fn stream(
        &self,
        order: Order,
        seen: usize,
    ) -> Result<Sse<impl Stream<Item = Result<Event, Infallible>> + use<>>, Problem> {
        let receiver = self.watch(order)?;
        let events = stream::unfold((receiver, seen, false), |(mut receiver, seen, done)| async move {
            if done {
                return None;
            }
            loop {
                let order = Arc::clone(&receiver.borrow_and_update());
                if let Some(happened) = order.history.0.get(seen) {
                    let event = one(seen + 1, Happened::of(happened.clone()));
                    return Some((Ok(event), (receiver, seen + 1, false)));
                }
                if order.state.is_final() {
                    return Some((Ok(end(&order)), (receiver, seen, true)));
                }
                // Nobody looks any more: the service stops.
                receiver.changed().await.ok()?;
            }
        });
        Ok(Sse::new(events).keep_alive(KeepAlive::new().interval(ALIVE)))
    }

    /// Begins to watch, and to look when nobody did before.
    fn watch(&self, order: Order) -> Result<watch::Receiver<Arc<Order>>, Problem> {
        let mut orders = self.lock();
        let watchers: usize = orders.values().map(watch::Sender::receiver_count).sum();
        if watchers >= MOST {
            return Err(Problem::unavailable(format!("{MOST} orders are watched already; ask for the order itself"), 5));
        }
        let looks = !orders.is_empty();
        let id = order.order_id;
        let order = Arc::new(order);
        let sender = orders.entry(id).or_insert_with(|| watch::channel(Arc::clone(&order)).0);
        let receiver = sender.subscribe();
        sender.send_if_modified(|known| newer(known, order));
        if !looks {
            tokio::spawn(self.clone().look());
        }
        Ok(receiver)
    }

    /// Looks until nobody watches.
    async fn look(self) {
        loop {
            tokio::time::sleep(LOOK).await;
            let (ids, known): (Vec<Uuid>, Vec<i32>) = {
                let mut orders = self.lock();
                orders.retain(|_, sender| sender.receiver_count() > 0);
                if orders.is_empty() {
                    return;
                }
                let length =
                    |sender: &watch::Sender<Arc<Order>>| i32::try_from(sender.borrow().history.len()).unwrap_or(i32::MAX);
                orders.iter().map(|(id, sender)| (*id, length(sender))).unzip()
            };
            match self.changed(&ids, &known).await {
                Ok(changed) => {
                    let orders = self.lock();
                    for order in changed {
                        if let Some(sender) = orders.get(&order.order_id) {
                            sender.send_if_modified(|known| newer(known, Arc::new(order)));
                        }
                    }
                }
                Err(error) => {
                    tracing::warn!(%error, "watched orders can't be read; trying again");
                    tokio::time::sleep(PAUSE).await;
                }
            }
        }
    }

    /// Those of which more has happened than is known.
    async fn changed(&self, ids: &[Uuid], known: &[i32]) -> sqlx::Result<Vec<Order>> {
        let rows = sqlx::query(
            "select o.order_id, customer, currency, total, lines, placed_at, state, history
             from orders o join unnest($1::uuid[], $2::int4[]) as w(order_id, known) on o.order_id = w.order_id
             where jsonb_array_length(history) > known",
        )
        .bind(ids)
        .bind(known)
        .fetch_all(&self.pool)
        .await?;
        rows.iter().map(Order::from_row).collect()
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<Uuid, watch::Sender<Arc<Order>>>> {
        self.orders.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Takes what is newer. A look that began before another ends may end after it.
fn newer(known: &mut Arc<Order>, order: Arc<Order>) -> bool {
    let is_newer = order.history.len() > known.history.len();
    if is_newer {
        *known = order;
    }
    is_newer
}

fn one(number: usize, happened: Happened) -> Event {
    let kind = happened.kind().to_owned();
    written(Event::default().id(number.to_string()).event(kind), &json!(happened))
}

/// Tells who listens that nothing more comes, and why.
fn end(order: &Order) -> Event {
    let (state, reason) = OrderView::ending(&order.state);
    written(Event::default().event("end"), &json!({ "state": state, "reason": reason }))
}

/// JSON has no line breaks, so it is one line of the stream.
fn written(event: Event, data: &serde_json::Value) -> Event {
    event.data(data.to_string())
}
