//! One of the two sides that are measured: how it takes an order, and how it is known that one is confirmed.

use std::collections::HashMap;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Instant;

use anyhow::Context as _;
use bytes::Bytes;
use futures_util::future::BoxFuture;
use uuid::Uuid;

use super::basket::Range;
use super::http::Server;
use super::usage::Processes;
use super::watch::Watch;

/// Places order `k`; the order's id once it is taken.
pub type Place = Arc<dyn Fn(u64) -> BoxFuture<'static, anyhow::Result<Uuid>> + Send + Sync>;

/// Whom an order's confirmation is known from.
enum Confirmation {
    /// A consumer of orders' topic. And the orders service, whose pages are looked at.
    Topic(Watch, Arc<Server>),
    /// The answer itself: who asks waits until all steps are done.
    Answer(Arc<Answered>),
}

/// Orders whose answer says that they are confirmed.
#[derive(Default)]
struct Answered {
    count: AtomicU64,
    when: Mutex<HashMap<Uuid, Instant>>,
}

/// A side.
pub struct Side {
    place: Place,
    confirmation: Confirmation,
    processes: Processes,
    /// The number of the next order: no two of a shop share one.
    next: AtomicU64,
}

impl Side {
    /// Ours: orders of three lines of `range`.
    pub fn ours(orders: Arc<Server>, range: Range, watch: Watch, processes: Processes) -> Self {
        let server = Arc::clone(&orders);
        let place: Place = Arc::new(move |k| {
            let (orders, body) = (Arc::clone(&server), range.order(k));
            Box::pin(async move {
                let answer = orders.post("/orders", Some(&format!("bench-{k}")), body).await?.json()?;
                Ok(answer["order_id"].as_str().context("an order without an id")?.parse()?)
            })
        });
        Self { place, confirmation: Confirmation::Topic(watch, orders), processes, next: AtomicU64::new(0) }
    }

    /// Restate's: the server that takes calls from outside.
    pub fn restate(ingress: Arc<Server>, processes: Processes) -> Self {
        let answered: Arc<Answered> = Arc::default();
        let counted = Arc::clone(&answered);
        let place: Place = Arc::new(move |_| {
            let (ingress, answered, id) = (Arc::clone(&ingress), Arc::clone(&counted), Uuid::new_v4());
            Box::pin(async move {
                let body = Bytes::from(format!("\"{id}\""));
                let answer = ingress.post("/Orders/place", None, body).await?.json()?;
                anyhow::ensure!(answer == "confirmed", "Restate answered {answer}");
                answered.when.lock().unwrap_or_else(PoisonError::into_inner).insert(id, Instant::now());
                answered.count.fetch_add(1, Relaxed);
                Ok(id)
            })
        });
        Self { place, confirmation: Confirmation::Answer(answered), processes, next: AtomicU64::new(0) }
    }

    /// How an order is placed.
    pub fn place(&self) -> Place {
        Arc::clone(&self.place)
    }

    /// Takes `count` numbers; the first of them.
    pub fn take_numbers(&self, count: u64) -> u64 {
        self.next.fetch_add(count, Relaxed)
    }

    /// Whom to ask for an order's page, if it isn't its answer that confirms it.
    pub fn looked_at(&self) -> Option<Arc<Server>> {
        match &self.confirmation {
            Confirmation::Topic(_, orders) => Some(Arc::clone(orders)),
            Confirmation::Answer(_) => None,
        }
    }

    /// Orders that were settled so far.
    pub fn settled(&self) -> u64 {
        match &self.confirmation {
            Confirmation::Topic(watch, _) => watch.counts.settled.load(Relaxed),
            Confirmation::Answer(answered) => answered.count.load(Relaxed),
        }
    }

    /// Forgets when orders were confirmed; [`confirmed`](Self::confirmed) gives later ones only.
    pub fn forget(&self) {
        _ = self.confirmed();
    }

    /// When each was seen to be confirmed, since the last time.
    pub fn confirmed(&self) -> HashMap<Uuid, Instant> {
        match &self.confirmation {
            Confirmation::Topic(watch, _) => watch.take().into_iter().collect(),
            Confirmation::Answer(answered) => std::mem::take(&mut *answered.when.lock().unwrap_or_else(PoisonError::into_inner)),
        }
    }

    /// What works for it.
    pub fn processes(&self) -> &Processes {
        &self.processes
    }

    /// Ends what was watching.
    ///
    /// # Errors
    /// When it went wrong meanwhile.
    pub fn end(self) -> anyhow::Result<()> {
        match self.confirmation {
            Confirmation::Topic(watch, _) => watch.end(),
            Confirmation::Answer(_) => Ok(()),
        }
    }
}
