//! One load at one rate: what came of it.

use std::collections::HashMap;
use std::sync::Arc;
use std::sync::atomic::Ordering::Relaxed;
use std::time::{Duration, Instant};

use anyhow::{Context as _, ensure};
use tokio::time::sleep_until;
use uuid::Uuid;

use super::open::{self, Progress, Schedule, Sent};
use super::poll::Polls;
use super::side::Side;
use super::spread::Spread;
use super::usage::{Snapshot, Window};

/// How long orders may take after the last of them is placed.
const PATIENCE: Duration = Duration::from_secs(120);
/// Between two looks at how many are open.
const LOOK: Duration = Duration::from_millis(250);

/// How fast, how long.
#[derive(Debug, Clone, Copy)]
pub struct Load {
    /// Orders a second.
    pub rate: f64,
    /// Seconds at that rate that don't count.
    pub warm_up: u64,
    /// Seconds that count.
    pub seconds: u64,
    /// Seconds of arrivals that may be open before the load is cut short.
    pub most_open: f64,
}

impl Load {
    fn orders(&self, seconds: u64) -> u64 {
        (self.rate * seconds as f64).round().max(1.0) as u64
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
    pub load: Load,
    /// Those of the window.
    pub orders: HashMap<Uuid, Order>,
    /// Placed in all, warm-up included.
    pub placed: u64,
    /// Refused in all, with an example.
    pub refused: u64,
    pub refusal: Option<String>,
    /// Those that met the bound of what is outstanding, and waited.
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
    /// By how many seconds of arrivals more were open at the end of the window than at its beginning.
    pub lag_grew_s: f64,
    /// Whether so many were open that nothing more was sent.
    pub was_cut: bool,
}

/// Orders that are due and not settled, look by look.
#[derive(Default)]
struct Lags(Vec<f64>);

impl Lags {
    /// The last third's mean less the first third's.
    fn grew(&self) -> f64 {
        let third = (self.0.len() / 3).max(1);
        let mean = |part: &[f64]| part.iter().sum::<f64>() / part.len().max(1) as f64;
        let last = self.0.len().saturating_sub(third);
        mean(self.0.get(last..).unwrap_or_default()) - mean(self.0.get(..third).unwrap_or_default())
    }
}

/// Places orders at a fixed rate and waits until all that were taken are confirmed.
///
/// # Errors
/// When an order is lost, or something can't be asked.
pub async fn run(side: &Side, load: Load) -> anyhow::Result<Outcome> {
    let (warm, counted) = (load.orders(load.warm_up), load.orders(load.seconds));
    side.forget();
    let settled_before = side.settled();
    let schedule = Schedule::new(load.rate, warm + counted);
    let progress = Arc::new(Progress::default());
    let polls = side.looked_at().map(|orders| Polls::new(orders, load.rate, schedule.due(warm)));
    let (place, first) = (side.place(), side.take_numbers(schedule.count));
    let sampled = polls.clone();
    let sending = tokio::spawn(open::run(schedule, Arc::clone(&progress), move |k| {
        let (placed, due, sampled) = (place(first + k), schedule.due(k), sampled.clone());
        async move {
            let id = placed.await?;
            if let Some(polls) = sampled {
                polls.offer(k, id, due);
            }
            Ok(id)
        }
    }));
    let (from, to) = (schedule.due(warm), schedule.due(warm + counted));
    sleep_until(from.into()).await;
    let (before, began, settled) = (side.processes().look().await?, Instant::now(), side.settled());
    let mut lags = Lags::default();
    while Instant::now() < to {
        sleep_until((Instant::now() + LOOK).min(to).into()).await;
        let due = schedule.start.elapsed().as_secs_f64() * load.rate;
        let lag = (due - (side.settled() - settled_before) as f64 - progress.refused.load(Relaxed) as f64) / load.rate;
        lags.0.push(lag);
        if lag > load.most_open {
            progress.stopped.store(true, Relaxed);
            break;
        }
    }
    let (settled, seconds) = (side.settled() - settled, began.elapsed().as_secs_f64());
    let after: Snapshot = side.processes().look().await?;
    let sent = sending.await.context("sending")??;
    let by_http = match polls {
        Some(polls) => polls.finish().await?,
        None => Spread::new()?,
    };
    let placed = progress.answered.load(Relaxed);
    let until = Instant::now() + PATIENCE;
    while side.settled() - settled_before < placed {
        let open = placed - (side.settled() - settled_before);
        ensure!(Instant::now() < until, "{open} of {placed} orders aren't settled {PATIENCE:?} after the last was placed");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    let mut outcome = Outcome {
        load,
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
        window: Window::between(&before, &after),
        lag_grew_s: lags.grew(),
        was_cut: progress.stopped.load(Relaxed),
    };
    outcome.add(sent, side, from)?;
    Ok(outcome)
}

impl Outcome {
    /// Whether the rate could be kept up: nothing was refused, and what is open didn't grow by more than `seconds` of arrivals.
    pub fn is_held(&self, seconds: f64) -> bool {
        self.refused == 0 && !self.was_cut && self.lag_grew_s < seconds
    }

    fn add(&mut self, sent: Vec<Sent<Uuid>>, side: &Side, from: Instant) -> anyhow::Result<()> {
        let confirmed = side.confirmed();
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
        ensure!(
            !self.orders.is_empty() || self.was_cut,
            "no order was confirmed: {}",
            self.refusal.as_deref().unwrap_or("none was placed")
        );
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_grows_is_told_from_what_is_steady() {
        let grew = |lag: fn(f64) -> f64| Lags((0..40).map(|n| lag(f64::from(n))).collect()).grew();
        assert!(grew(|_| 0.3).abs() < 1e-9 && grew(|n| n / 40.0) > 0.6 && grew(|n| 1.0 - n / 40.0) < 0.0);
        assert_eq!(Lags::default().grew(), 0.0);
    }
}
