//! The relay's throughput: draining what is there, and keeping up with what comes.

use std::collections::VecDeque;
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context as _, bail, ensure};
use stage::Stage;
use tokio::task::block_in_place;

use crate::check;
use crate::debezium::Debezium;
use crate::load::Writers;
use crate::publisher::Publisher;
use crate::report::{Figure, Side, rate_since};
use crate::topics::Ends;

/// What the peer is called.
pub const DEBEZIUM: &str = "Debezium";
/// Events a second that a drain is to reach.
const LIMIT: f64 = 200_000.0;
/// How long nothing may move before a run is given up: longer than a worker takes to start again.
const STILL: Duration = Duration::from_secs(90);
/// Between two looks at the topic's ends: twelve small requests each time.
const LOOK: Duration = Duration::from_millis(20);
/// Rows that warm the peer and the broker up; their compilers have seen everything after some tens of thousands.
const WARM_UP: u32 = 150_000;
/// Writers when as many events as possible are to come: commits share a flush, so many may wait for one.
const WRITERS: usize = 32;
/// The first rate, how much faster each next one is, and how long it is held.
const FIRST_RATE: f64 = 3_000.0;
const FASTER: f64 = 1.25;
const HELD: f64 = 5.0;
/// A row may be unsent for so long.
const OLDEST: Duration = Duration::from_secs(1);
/// Of the rate that was asked for; less means that the database doesn't take more.
const WRITTEN: f64 = 0.95;
/// CPU seconds of `relay sustained` are for so many events, since both sides' rates differ.
const PER: f64 = 100_000.0;

/// The peer, warmed up.
pub async fn peer(stage: &Stage) -> anyhow::Result<Publisher> {
    let mut peer = Publisher::Debezium(Debezium::start(stage).await?);
    eprintln!("bench: warming Debezium up");
    Way::Drain.take(&mut peer, stage, WARM_UP).await?;
    Ok(peer)
}

/// Rows a second while an outbox of `events` rows is drained, and events a second that are kept up with.
pub async fn measure(stage: &Stage, peer: &mut Option<Publisher>, events: u32, runs: u16) -> anyhow::Result<[Figure; 2]> {
    let mut drained = Figure::new("relay drain", "events/s", DEBEZIUM).limit(LIMIT).rows(events);
    let mut sustained = Figure::new("relay sustained", "events/s", DEBEZIUM);
    warm_up(stage, events).await?;
    for (way, figure) in [(Way::Drain, &mut drained), (Way::Sustain, &mut sustained)] {
        for run in 1..=runs {
            let mut ours = Publisher::relay(stage).await?;
            let mine = way.take(&mut ours, stage, events).await?;
            let theirs = match peer {
                Some(peer) => Some(way.take(peer, stage, events).await?),
                None => None,
            };
            tell(figure.measure, run, runs, &mine, theirs.as_ref());
            figure.runs.push((mine, theirs));
        }
    }
    Ok([drained, sustained])
}

/// The broker compiles its code while it first runs it: the first drain is a third slower.
pub async fn warm_up(stage: &Stage, events: u32) -> anyhow::Result<()> {
    eprintln!("bench: warming the broker up");
    Way::Drain.take(&mut Publisher::relay(stage).await?, stage, WARM_UP.min(events)).await?;
    Ok(())
}

/// How a publisher's rate is taken.
#[derive(Debug, Clone, Copy)]
enum Way {
    Drain,
    Sustain,
}

impl Way {
    /// One run of one side, which is left cleared.
    async fn take(self, side: &mut Publisher, stage: &Stage, events: u32) -> anyhow::Result<Side> {
        let taken = match self {
            Self::Drain => drain(side, stage, events).await?,
            Self::Sustain => sustain(side, stage, events).await?,
        };
        side.clear().await?;
        Ok(taken)
    }
}

/// A line about a run, for who waits.
pub fn tell(measure: &str, run: u16, runs: u16, ours: &Side, theirs: Option<&Side>) {
    let show = |side: &Side| format!("{:.2} ({:.2} s CPU, {:.0} MB)", side.value, side.cpu_s, side.peak_mb);
    let theirs = theirs.map(|side| format!(" and {}", show(side))).unwrap_or_default();
    eprintln!("bench: {measure} {run} of {runs}: {}{theirs}", show(ours));
}

/// Fills the outbox while nobody publishes, starts the publisher, and reads the topic back. CPU seconds are those from the start of
/// the publisher (ours: of its process) to the last record; the rate counts from the first records that are seen.
pub async fn drain(side: &mut Publisher, stage: &Stage, events: u32) -> anyhow::Result<Side> {
    if let Publisher::Debezium(peer) = side {
        peer.catch_up().await?;
    }
    side.stop().await?;
    let rows = side.topic().await?;
    rows.fill(side.url(), stage.postgres(), events).await?;
    let events = u64::from(events);
    let ends = Ends::of(stage.kafka(), &rows.topic)?;
    let before = side.usage()?;
    side.start().await?;
    let rate = block_in_place(|| watch(&ends, events)).with_context(|| side.said())?;
    let side_after = Side::new(rate, before, side.usage()?);
    block_in_place(|| check::topic(stage.kafka(), &rows.topic, side.shape(), events))?;
    Ok(side_after)
}

/// Waits until the topic holds `events` records, and returns how many came a second.
fn watch(ends: &Ends, events: u64) -> anyhow::Result<f64> {
    let began = Instant::now();
    let (mut first, mut last) = (None, (began, 0));
    loop {
        let (total, now) = (ends.total()?, Instant::now());
        if total > last.1 {
            first.get_or_insert((now, total));
            last = (now, total);
        }
        ensure!(now - last.0 < STILL, "{total} of {events} events, and nothing has come for {STILL:?}");
        if let Some(first) = first.filter(|_| total >= events) {
            return Ok(rate_since(began, first, last));
        }
        thread::sleep(LOOK);
    }
}

/// Raises the rate until rows wait too long, or `budget` events are written. The value is the highest rate that was held.
async fn sustain(side: &mut Publisher, stage: &Stage, budget: u32) -> anyhow::Result<Side> {
    if let Publisher::Debezium(peer) = side {
        peer.catch_up().await?;
    }
    let rows = side.topic().await?;
    side.start().await?;
    let raised = block_in_place(|| {
        let writers = Writers::connect(side.url(), &rows, WRITERS)?;
        let ends = Ends::of(stage.kafka(), &rows.topic)?;
        raise(side, writers, &ends, budget)
    });
    let (held, events) = raised.with_context(|| side.said())?;
    block_in_place(|| check::topic(stage.kafka(), &rows.topic, side.shape(), events))?;
    Ok(held)
}

/// What one rate came to.
struct Step {
    /// Events a second that were committed.
    rate: f64,
    /// How long the oldest committed row was unsent, at most.
    oldest: Duration,
}

fn raise(side: &Publisher, mut writers: Writers, ends: &Ends, budget: u32) -> anyhow::Result<(Side, u64)> {
    prime(&mut writers, ends)?;
    let (mut wanted, mut left, mut best) = (FIRST_RATE, budget, None::<Side>);
    loop {
        let count = left.min((wanted * HELD) as u32);
        left -= count;
        let before = side.usage()?;
        let step = at_rate(&mut writers, ends, wanted, count)?;
        let after = side.usage()?;
        let cpu = (after.cpu_s - before.cpu_s) * PER / f64::from(count);
        eprintln!(
            "bench:   {wanted:.0}/s asked, {:.0}/s written, oldest unsent {:.0} ms, {cpu:.2} s CPU per 100,000",
            step.rate,
            step.oldest.as_secs_f64() * 1e3
        );
        let held = step.oldest <= OLDEST;
        if held && best.as_ref().is_none_or(|best| step.rate > best.value) {
            best = Some(Side { value: step.rate, cpu_s: cpu, peak_mb: after.peak_mb });
        }
        if !held || step.rate < WRITTEN * wanted || left == 0 {
            let written = writers.committed.load(Relaxed);
            let Some(best) = best else { bail!("not even {FIRST_RATE} events a second are kept up with") };
            return Ok((best, written));
        }
        wanted *= FASTER;
    }
}

/// Some events that wake everything up, waited for.
pub fn prime(writers: &mut Writers, ends: &Ends) -> anyhow::Result<()> {
    writers.run(500.0, PRIMING)?;
    let until = Instant::now() + STILL;
    while ends.total()? < u64::from(PRIMING) {
        ensure!(Instant::now() < until, "the first events didn't arrive within {STILL:?}");
        thread::sleep(LOOK);
    }
    Ok(())
}

/// Events of [`prime`].
pub const PRIMING: u32 = 200;

/// Writes at a rate and watches how far the topic is behind, until all of it is there.
fn at_rate(writers: &mut Writers, ends: &Ends, rate: f64, count: u32) -> anyhow::Result<Step> {
    let committed = writers.committed.clone();
    let written = AtomicBool::new(false);
    thread::scope(|scope| {
        let watcher = scope.spawn(|| {
            // When how many were committed, from the oldest that isn't in the topic.
            let mut marks: VecDeque<(Instant, u64)> = VecDeque::new();
            let (mut oldest, mut moved) = (Duration::ZERO, (Instant::now(), 0));
            loop {
                let ended = written.load(Relaxed);
                let (now, total) = (Instant::now(), committed.load(Relaxed));
                marks.push_back((now, total));
                let arrived = ends.total()?;
                while marks.front().is_some_and(|(_, total)| *total <= arrived) {
                    marks.pop_front();
                }
                if let Some((since, _)) = marks.front() {
                    oldest = oldest.max(since.elapsed());
                }
                if arrived > moved.1 {
                    moved = (now, arrived);
                }
                if ended && arrived >= total {
                    return anyhow::Ok(oldest);
                }
                ensure!(moved.0.elapsed() < STILL, "{arrived} of {total} events, and nothing has come for {STILL:?}");
                thread::sleep(LOOK);
            }
        });
        let began = Instant::now();
        let sent = writers.run(rate, count);
        let seconds = began.elapsed().as_secs_f64();
        written.store(true, Relaxed);
        let oldest = watcher.join().map_err(|_| anyhow::anyhow!("the watcher panicked"))??;
        Ok(Step { rate: sent?.len() as f64 / seconds, oldest })
    })
}
