//! One load at one rate: what came of it.

use std::collections::HashMap;
use std::sync::Arc;
use std::sync::atomic::Ordering::Relaxed;
use std::time::{Duration, Instant};

use anyhow::{Context as _, ensure};
use uuid::Uuid;

use super::basket::Range;
use super::open::{self, Progress, Schedule, Sent};
use super::poll;
use super::shop::Running;
use super::spread::Spread;
use super::usage::Window;
use super::watch::Watch;

/// How long orders may take after the last of them is placed.
const PATIENCE: Duration = Duration::from_secs(120);

/// How fast, how long.
#[derive(Debug, Clone, Copy)]
pub struct Load {
    /// Orders a second.
    pub rate: f64,
    /// Seconds at that rate that don't count.
    pub warm_up: u64,
    /// Seconds that count.
    pub seconds: u64,
}

impl Load {
    fn orders(&self, seconds: u64) -> u64 {
        (self.rate * seconds as f64).round() as u64
    }
}

/// An order that counts.
#[derive(Debug, Clone, Copy)]
pub struct Order {
    pub due: Instant,
    pub answered: Instant,
    pub confirmed: Instant,
}

/// What came of a load.
pub struct Outcome {
    /// Those of the window.
    pub orders: HashMap<Uuid, Order>,
    /// Placed in all, warm-up included.
    pub placed: u64,
    /// Refused in all, with an example.
    pub refused: u64,
    pub refusal: Option<String>,
    pub held_back: u64,
    /// From when they were due.
    pub answer: Spread,
    pub confirmed: Spread,
    /// Until `GET /orders/{id}` says so, of a sample.
    pub by_http: Spread,
    /// Orders confirmed within the window, a second.
    pub rate: f64,
    pub seconds: f64,
    pub window: Window,
}

/// Places orders at a fixed rate, from number `first` on, and waits until all that were taken are confirmed.
///
/// # Errors
/// When an order is lost, or something can't be asked.
pub async fn run(shop: &Running, watch: &Watch, range: Range, load: Load, first: u64) -> anyhow::Result<Outcome> {
    watch.take();
    let settled_before = watch.counts.settled.load(Relaxed);
    let (warm, counted) = (load.orders(load.warm_up), load.orders(load.seconds));
    let schedule = Schedule::new(load.rate, warm + counted);
    let progress = Arc::new(Progress::default());
    let polls = poll::Polls::new(Arc::clone(&shop.orders), load.rate, schedule.due(warm));
    let (orders, sampled) = (Arc::clone(&shop.orders), Arc::clone(&polls));
    let sending = tokio::spawn(open::run(schedule, Arc::clone(&progress), move |k| {
        let (orders, sampled) = (Arc::clone(&orders), Arc::clone(&sampled));
        let (body, due) = (range.order(first + k), schedule.due(k));
        async move {
            let key = format!("bench-{}", first + k);
            let answer = orders.post("/orders", Some(&key), body).await?.json()?;
            let id = answer["order_id"].as_str().context("an order without an id")?.parse::<Uuid>()?;
            sampled.offer(k, id, due);
            Ok(id)
        }
    }));
    let processes = shop.processes();
    tokio::time::sleep_until(schedule.due(warm).into()).await;
    let (before, began, settled) = (processes.look().await?, Instant::now(), watch.counts.settled.load(Relaxed));
    tokio::time::sleep_until(schedule.due(warm + counted).into()).await;
    let (settled, seconds) = (watch.counts.settled.load(Relaxed) - settled, began.elapsed().as_secs_f64());
    let window = Window::between(&before, &processes.look().await?);
    let sent = sending.await.context("sending")??;
    let by_http = polls.finish().await?;

    let placed = progress.answered.load(Relaxed);
    let until = Instant::now() + PATIENCE;
    while watch.counts.settled.load(Relaxed) - settled_before < placed {
        let open = watch.counts.open();
        ensure!(Instant::now() < until, "{open} of {placed} orders aren't confirmed {PATIENCE:?} after the last was placed");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    let confirmed: HashMap<Uuid, Instant> = watch.take().into_iter().collect();
    let mut outcome = Outcome {
        orders: HashMap::new(),
        placed,
        refused: progress.refused.load(Relaxed),
        refusal: None,
        held_back: progress.held_back.load(Relaxed),
        answer: Spread::new()?,
        confirmed: Spread::new()?,
        by_http,
        rate: settled as f64 / seconds,
        seconds,
        window,
    };
    outcome.add(sent, &confirmed, schedule.due(warm))?;
    Ok(outcome)
}

impl Outcome {
    fn add(&mut self, sent: Vec<Sent<Uuid>>, confirmed: &HashMap<Uuid, Instant>, from: Instant) -> anyhow::Result<()> {
        for Sent { due, answered, answer } in sent {
            let id = match answer {
                Ok(id) => id,
                Err(why) => {
                    self.refusal.get_or_insert(why);
                    continue;
                }
            };
            let Some(seen) = confirmed.get(&id) else { continue };
            if due >= from {
                self.answer.add(answered - due);
                self.confirmed.add(seen.saturating_duration_since(due));
                self.orders.insert(id, Order { due, answered, confirmed: *seen });
            }
        }
        ensure!(!self.orders.is_empty(), "no order was confirmed: {}", self.refusal.as_deref().unwrap_or("none was placed"));
        Ok(())
    }
}
