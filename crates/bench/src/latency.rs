//! From commit to consumer, at a fixed rate of arrivals.

use std::sync::atomic::{AtomicBool, Ordering::Relaxed};
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context as _, ensure};
use rdkafka::Message as _;
use stage::Stage;
use tokio::runtime::Handle;
use tokio::task::block_in_place;

use crate::check;
use crate::line::Quantiles;
use crate::load::{Sent, Writers};
use crate::machine::Usage;
use crate::publisher::Publisher;
use crate::relay::{DEBEZIUM, PRIMING, prime, tell};
use crate::report::{Figure, Side, percentile};
use crate::rows::{self, Rows};
use crate::topics::{self, Ends};

/// Events a second.
pub const RATE: u32 = 2_000;
/// Few enough that each is mostly asleep.
const WRITERS: usize = 16;
/// Events after a checkpoint until latency is as before: each page's first change goes to the log as the whole page.
const SETTLE: u32 = 20_000;
/// How long a consumer waits for what was committed.
const STILL: Duration = Duration::from_secs(60);

/// Latencies of one side, in milliseconds, and what its publisher used.
pub struct Latencies {
    sorted: Vec<f64>,
    before: Usage,
    after: Usage,
}

impl Latencies {
    /// The value below which `share` (0 to 1) lie.
    pub fn at(&self, share: f64) -> Side {
        Side::new(percentile(&self.sorted, share), self.before, self.after)
    }

    /// The same for each share, to a microsecond.
    fn all(&self, shares: &[f64]) -> Vec<f64> {
        shares.iter().map(|share| (percentile(&self.sorted, *share) * 1e3).round() / 1e3).collect()
    }
}

/// Milliseconds at the median and at the 99th percentile, over the last four fifths of `events`.
pub async fn measure(stage: &Stage, peer: &mut Option<Publisher>, events: u32, runs: u16) -> anyhow::Result<[Figure; 2]> {
    let figure = |measure, limit| Figure::new(measure, "ms", DEBEZIUM).limit(limit);
    let mut figures = [figure("latency p50", 3.0), figure("latency p99", 10.0)];
    let mut quantiles = Quantiles::new();
    // The broker compiles its code while it first runs it, which takes longer than a run.
    let mut first = Publisher::relay(stage).await?;
    one(&mut first, stage, 0, events).await?;
    first.clear().await?;
    for run in 1..=runs {
        let mut ours = Publisher::relay(stage).await?;
        let mine = one(&mut ours, stage, events / 5, events - events / 5).await?;
        ours.clear().await?;
        let mut theirs = None;
        if let Some(peer) = peer {
            theirs = Some(one(peer, stage, events / 5, events - events / 5).await?);
            peer.clear().await?;
        }
        let all = |latencies: &Latencies| latencies.all(&quantiles.shares);
        let of_run = (all(&mine), theirs.as_ref().map(all));
        quantiles.runs.push(of_run);
        for (figure, share) in figures.iter_mut().zip([0.5, 0.99]) {
            let (mine, theirs) = (mine.at(share), theirs.as_ref().map(|l| l.at(share)));
            tell(figure.measure, run, runs, &mine, theirs.as_ref());
            figure.runs.push((mine, theirs));
        }
    }
    figures[0].quantiles = Some(quantiles);
    Ok(figures)
}

/// Writes `lead` events that don't count, then `events` that do, at [`RATE`]. When the lead is long there is a checkpoint before its
/// last part, so that none comes while it counts. All are read back and checked.
pub async fn one(side: &mut Publisher, stage: &Stage, lead: u32, events: u32) -> anyhow::Result<Latencies> {
    if let Publisher::Debezium(peer) = side {
        peer.catch_up().await?;
    }
    let rows = side.topic().await?;
    side.start().await?;
    let latencies = block_in_place(|| written_and_seen(side, stage, &rows, lead, events)).with_context(|| side.said())?;
    let all = u64::from(PRIMING + lead + events);
    block_in_place(|| check::topic(stage.kafka(), &rows.topic, side.shape(), all))?;
    Ok(latencies)
}

fn written_and_seen(side: &Publisher, stage: &Stage, rows: &Rows, lead: u32, events: u32) -> anyhow::Result<Latencies> {
    let mut writers = Writers::connect(side.url(), rows, WRITERS)?;
    let ends = Ends::of(stage.kafka(), &rows.topic)?;
    let written = AtomicBool::new(false);
    thread::scope(|scope| {
        let consumer = scope.spawn(|| consume(stage.kafka(), &rows.topic, PRIMING + lead + events, &written));
        let mut work = || {
            prime(&mut writers, &ends)?;
            if let Some(long) = lead.checked_sub(SETTLE) {
                writers.run(f64::from(RATE), long)?;
                Handle::current().block_on(rows::checkpoint(stage.postgres()))?;
            }
            writers.run(f64::from(RATE), lead.min(SETTLE))?;
            let before = side.usage()?;
            let sent = writers.run(f64::from(RATE), events)?;
            anyhow::Ok((before, side.usage()?, sent))
        };
        let result = work();
        written.store(true, Relaxed);
        let seen = consumer.join().map_err(|_| anyhow::anyhow!("the consumer panicked"))?;
        let (before, after, sent) = result?;
        let sorted = latencies(&sent, &seen?)?;
        Ok(Latencies { sorted, before, after })
    })
}

/// When each event was seen, by its number; of `count` events, once they are all written.
fn consume(kafka: &str, topic: &str, count: u32, written: &AtomicBool) -> anyhow::Result<Vec<Option<Instant>>> {
    let consumer = topics::reader(kafka, topic)?;
    let mut seen = vec![None; count as usize];
    let (mut left, mut moved) = (count, Instant::now());
    while left > 0 {
        let Some(message) = consumer.poll(Duration::from_millis(100)) else {
            if !written.load(Relaxed) {
                moved = Instant::now();
            }
            ensure!(moved.elapsed() < STILL, "{left} of {count} events didn't arrive");
            continue;
        };
        let now = Instant::now();
        let message = message.context("reading")?;
        let (_, number) = message.payload().and_then(rows::read).context("not a payload that was written")?;
        if let Some(at) = seen.get_mut(number as usize).filter(|at| at.is_none()) {
            *at = Some(now);
            left -= 1;
            moved = now;
        }
    }
    Ok(seen)
}

/// Sorted milliseconds of the events that were sent.
fn latencies(sent: &[Sent], seen: &[Option<Instant>]) -> anyhow::Result<Vec<f64>> {
    let mut sorted = Vec::with_capacity(sent.len());
    for event in sent {
        let seen = seen.get(event.number as usize).copied().flatten().context("an event that was never seen")?;
        // A record may be seen before its writer has heard that the commit is done.
        sorted.push(seen.saturating_duration_since(event.at).as_secs_f64() * 1e3);
    }
    sorted.sort_by(f64::total_cmp);
    Ok(sorted)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn latencies_are_of_the_events_that_count() {
        let at = Instant::now();
        let ms = Duration::from_millis;
        let sent: Vec<Sent> = (2..4).map(|number| Sent { number, at: at + ms(number.into()) }).collect();
        let seen: Vec<Option<Instant>> = [100, 100, 7, 4].map(|n| Some(at + ms(n))).to_vec();
        assert_eq!(latencies(&sent, &seen).unwrap(), [1.0, 5.0]);
        assert!(latencies(&sent, &seen[..3]).is_err(), "the last was never seen");
    }
}
