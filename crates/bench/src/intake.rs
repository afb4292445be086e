//! Records to state, outbox and position: the kit's intake, and the plain way.

use std::sync::Arc;
use std::time::{Duration, Instant};

use crate::points::Points;
use anyhow::{Context as _, bail, ensure};
use farandole::Participant as _;
use farandole::engine::{self, Engine};
use farandole::intake::{self, Intake};
use stage::Stage;
use tokio_util::sync::CancellationToken;

use crate::events::{self, POINTS};
use crate::machine::{forget_peak, own_usage};
use crate::place::Place;
use crate::plain;
use crate::relay::tell;
use crate::report::{Figure, Side, rate_since};

/// Events a second that are to be reached.
const LIMIT: f64 = 40_000.0;
/// The plain way is slow: it gets so many of the events.
pub const PLAIN_SHARE: u32 = 30;
/// Transactions at once: while one waits for the database, another's records are decided.
const LANES: usize = 3;
/// How long a side may take.
const PATIENCE: Duration = Duration::from_secs(120);

/// The plain way, and how many consumers share the partitions.
#[derive(Debug, Clone, Copy)]
pub enum Plain {
    /// One, as ours.
    One,
    /// One a partition: its transactions wait for the disk together.
    Each,
}

impl Plain {
    fn name(self) -> &'static str {
        match self {
            Self::One => "one transaction a message",
            Self::Each => "one transaction a message, a consumer a partition",
        }
    }

    fn consumers(self) -> i32 {
        match self {
            Self::One => 1,
            Self::Each => events::PARTITIONS,
        }
    }
}

/// Events a second, with `customers` rows to be changed.
pub async fn measure(
    stage: &Stage,
    measure: &'static str,
    customers: u32,
    count: u32,
    runs: u16,
    beside: Option<Plain>,
) -> anyhow::Result<Figure> {
    let mut figure = Figure::new(measure, "events/s", beside.map_or("", Plain::name)).limit(LIMIT);
    for run in 1..=runs {
        let place = Place::new(stage, customers, count).await?;
        let ours = ours(&place).await?;
        let mut theirs = None;
        if let Some(plain) = beside {
            let place = Place::new(stage, customers, count / PLAIN_SHARE).await?;
            theirs = Some(plain::run(&place, plain.consumers()).await?);
        }
        tell(measure, run, runs, &ours, theirs.as_ref());
        figure.runs.push((ours, theirs));
    }
    Ok(figure)
}

async fn ours(place: &Place) -> anyhow::Result<Side> {
    let own = format!("{}loyalty", place.sandbox.prefix);
    let engine = Engine::new(
        Arc::new(Points),
        place.codec.clone(),
        engine::Sessions::deciding(place.pool.clone()),
        own,
        Box::new(|| {}),
        Box::new(|_| {}),
    );
    let group = format!("{}ours", place.sandbox.prefix);
    let mut config = intake::Config::new(group, &place.kafka, vec![place.topic.clone()]);
    config.lanes = LANES;
    let shutdown = CancellationToken::new();
    forget_peak()?;
    let (began, before) = (Instant::now(), own_usage()?);
    let intake = Intake::new(Arc::new(engine), config);
    let troubles = intake.troubles();
    let task = tokio::spawn(intake.run(shutdown.clone()));
    // Joining a group takes some seconds, so the clock starts with the first commit, and its events don't count.
    let mut first = None;
    let (done, at) = loop {
        let (done, now) = (read(place).await?, Instant::now());
        if done > 0 && first.is_none() {
            first = Some((now, done));
        }
        if done >= i64::from(place.events) {
            break (done, now);
        }
        ensure!(began.elapsed() < PATIENCE, "{done} of {} events after {PATIENCE:?}: {:?}", place.events, troubles.list());
        tokio::time::sleep(Duration::from_millis(20)).await;
    };
    shutdown.cancel();
    task.await.context("the intake panicked")?.context("the intake")?;
    let Some((from, at_first)) = first else { bail!("nothing was applied") };
    let after = own_usage()?;
    check(place).await?;
    let rate = rate_since(began, (from, at_first.unsigned_abs()), (at, done.unsigned_abs()));
    Ok(Side::new(rate, before, after))
}

/// How many were applied, by the positions: counting rows while they grow would cost as much as applying them.
async fn read(place: &Place) -> anyhow::Result<i64> {
    let positions = intake::positions(&mut *place.pool.acquire().await?, Points::NAME).await?;
    Ok(positions.iter().map(|(_, position)| position.next_offset).sum())
}

/// Reads back what was applied: every order once, its points, its event, and the positions at the topic's end.
async fn check(place: &Place) -> anyhow::Result<()> {
    let events = i64::from(place.events);
    let (points, orders, published): (i64, i64, i64) = sqlx::query_as(
        "select (select sum(points)::bigint from accounts), (select count(*) from earnings), (select count(*) from farandole.outbox)",
    )
    .fetch_one(&place.pool)
    .await?;
    let read = read(place).await?;
    ensure!(
        (points, orders, published, read) == (events * POINTS, events, events, events),
        "{events} events gave {points} points, {orders} orders, {published} events, and positions that add up to {read}"
    );
    Ok(())
}
