//! The relay while a foreign transaction holds xmin, against itself without one.
//!
//! Both sides have the same history: a load of [`latency::RATE`] events a second for the time that the transaction is open, so that
//! whatever bloats has bloated; then the latency of the events that follow, and a drain, with the transaction still open. It has a
//! number of its own and a snapshot, in the outbox's database: nothing that came since may be cleaned up, and every snapshot that
//! the relay takes names it.

use std::time::Duration;

use anyhow::Context as _;
use sqlx::{Connection as _, PgConnection};
use stage::Stage;

use crate::latency::{self, Latencies};
use crate::publisher::Publisher;
use crate::relay::{drain, tell, warm_up};
use crate::report::{Figure, Side};

/// Of the latency that is measured; 15 s.
const EVENTS: u32 = 30_000;

/// What one side came to.
struct Half {
    drain: Side,
    latencies: Latencies,
}

/// Rows a second of a drain, and milliseconds from commit to consumer.
pub async fn measure(stage: &Stage, held: Duration, events: u32, runs: u16) -> anyhow::Result<[Figure; 3]> {
    let peer = "ours without the transaction";
    let mut figures = [("held-xmin drain", "events/s"), ("held-xmin p50", "ms"), ("held-xmin p99", "ms")]
        .map(|(measure, unit)| Figure::new(measure, unit, peer));
    warm_up(stage, events).await?;
    for run in 1..=runs {
        // In turns, so that whatever the machine remembers favours neither.
        let (with, without) = if run % 2 == 1 {
            let with = half(stage, true, held, events).await?;
            (with, half(stage, false, held, events).await?)
        } else {
            let without = half(stage, false, held, events).await?;
            (half(stage, true, held, events).await?, without)
        };
        let sides = |half: &Half| [half.drain, half.latencies.at(0.5), half.latencies.at(0.99)];
        for ((figure, with), without) in figures.iter_mut().zip(sides(&with)).zip(sides(&without)) {
            tell(figure.measure, run, runs, &with, Some(&without));
            figure.runs.push((with, Some(without)));
        }
    }
    Ok(figures)
}

async fn half(stage: &Stage, is_held: bool, held: Duration, events: u32) -> anyhow::Result<Half> {
    let mut side = Publisher::relay(stage).await?;
    let mut holder = PgConnection::connect(side.url()).await?;
    if is_held {
        let open = "begin isolation level repeatable read; select pg_current_xact_id()";
        sqlx::raw_sql(open).execute(&mut holder).await.context("opening the transaction")?;
    }
    let lead = u32::try_from(held.as_secs())? * latency::RATE;
    let latencies = latency::one(&mut side, stage, lead, EVENTS.min(events)).await?;
    let drain = drain(&mut side, stage, events).await?;
    if is_held {
        // That it is still there is part of what is measured.
        sqlx::raw_sql("commit").execute(&mut holder).await.context("ending the transaction")?;
    }
    holder.close().await?;
    side.clear().await?;
    Ok(Half { drain, latencies })
}
