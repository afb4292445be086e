//! Gauges of open tasks.
//!
//! As many are counted as a look may cost; beyond that the planner's estimate is told, which `analyze` keeps within some tenths.

use std::time::Duration;

use serde_json::Value;
use sqlx::Row as _;
use sqlx::types::Json;
use tokio_util::sync::CancellationToken;

use crate::agenda::metrics;
use crate::database::sessions::{Sessions, with_conn};
use crate::engine::tasks::Kind;

/// Tasks of a kind that are counted one by one.
pub const COUNT_TO: i64 = 10_000;

/// How many, up to `$2`, and since when the first has been due: an effect is due when it is opened. Both from the index's end.
pub const COUNT: &str = "
select (select count(*) from (select from farandole.tasks where kind = $1 order by due limit $2) counted),
       coalesce(extract(epoch from clock_timestamp() - (select min(due) from farandole.tasks where kind = $1))::float8, 0)";

/// Runs until `shutdown`.
pub(super) async fn run(sessions: &Sessions, every: Duration, shutdown: &CancellationToken) {
    loop {
        for kind in [Kind::Deadline, Kind::Effect] {
            if let Err(error) = sample(sessions, kind).await {
                tracing::debug!(%error, "open tasks can't be counted");
            }
        }
        tokio::select! {
            () = tokio::time::sleep(every) => {}
            () = shutdown.cancelled() => return,
        }
    }
}

async fn sample(sessions: &Sessions, kind: Kind) -> sqlx::Result<()> {
    let count = sqlx::query(COUNT).bind(kind.as_str()).bind(COUNT_TO);
    let row = with_conn!(sessions, conn => count.fetch_one(conn))?;
    let (mut open, oldest): (i64, f64) = (row.try_get(0)?, row.try_get(1)?);
    if open >= COUNT_TO {
        open = open.max(estimate(sessions, kind).await?);
    }
    if kind == Kind::Effect {
        metrics::OLDEST_EFFECT_SECONDS.set(oldest.max(0.0), []);
    }
    metrics::OPEN.set(open as f64, [kind.as_str().into()]);
    Ok(())
}

/// How many rows the planner expects.
async fn estimate(sessions: &Sessions, kind: Kind) -> sqlx::Result<i64> {
    let plan = match kind {
        Kind::Deadline => "explain (format json) select from farandole.tasks where kind = 'deadline'",
        Kind::Effect => "explain (format json) select from farandole.tasks where kind = 'effect'",
    };
    let plan = sqlx::query_scalar::<_, Json<Value>>(plan).persistent(false);
    let plan = with_conn!(sessions, conn => plan.fetch_one(conn))?;
    Ok(plan.0.pointer("/0/Plan/Plan Rows").and_then(Value::as_i64).unwrap_or(0))
}
