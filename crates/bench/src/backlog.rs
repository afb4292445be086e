//! What an event costs, by how many wait: an outbox of some hundredth of the rows, up to all of them, is drained.
//!
//! The cost is CPU time of the publishing process from its start (the peer's: of its connector) to the last record, so what a start
//! takes is shared by all rows of a backlog, and weighs most in a small one.

use stage::Stage;

use crate::publisher::Publisher;
use crate::relay::{DEBEZIUM, drain, tell, warm_up};
use crate::report::{Figure, Side};

/// Hundredths of all rows.
const SIZES: [u32; 5] = [1, 3, 10, 30, 100];

/// Microseconds of CPU time for an event, of backlogs of up to `events` rows.
pub async fn measure(stage: &Stage, peer: &mut Option<Publisher>, events: u32, runs: u16) -> anyhow::Result<Vec<Figure>> {
    warm_up(stage, events).await?;
    let mut figures = Vec::new();
    for size in SIZES {
        // Whole transactions of ten.
        let rows = events / 1_000 * 10 * size;
        let mut figure = Figure::new("backlog", "µs CPU/event", DEBEZIUM).rows(rows);
        for run in 1..=runs {
            let mut ours = Publisher::relay(stage).await?;
            let mine = cost(&mut ours, stage, rows).await?;
            let theirs = match peer {
                Some(peer) => Some(cost(peer, stage, rows).await?),
                None => None,
            };
            tell(&format!("backlog {rows}"), run, runs, &mine, theirs.as_ref());
            figure.runs.push((mine, theirs));
        }
        figures.push(figure);
    }
    Ok(figures)
}

/// One run of one side, which is left cleared.
async fn cost(side: &mut Publisher, stage: &Stage, rows: u32) -> anyhow::Result<Side> {
    let drained = drain(side, stage, rows).await?;
    side.clear().await?;
    Ok(Side { value: drained.cpu_s * 1e6 / f64::from(rows), ..drained })
}
