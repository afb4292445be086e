//! Gauges of what is open.

use std::time::Duration;

use sqlx::Row as _;
use tokio_util::sync::CancellationToken;

use crate::engine::Sessions;
use crate::engine::sessions::asked;

/// Runs until `shutdown`.
pub(super) async fn run(sessions: &Sessions, every: Duration, shutdown: &CancellationToken) {
    loop {
        if let Err(error) = sample(sessions).await {
            tracing::debug!(%error, "open tasks can't be counted");
        }
        tokio::select! {
            () = tokio::time::sleep(every) => {}
            () = shutdown.cancelled() => return,
        }
    }
}

async fn sample(sessions: &Sessions) -> sqlx::Result<()> {
    let count = sqlx::query(
        "select k.kind, count(t.kind), coalesce(extract(epoch from clock_timestamp() - min(t.opened_at))::float8, 0)
         from (values ('deadline'), ('effect')) k(kind) left join farandole.tasks t on t.kind = k.kind group by k.kind",
    );
    let rows = asked!(sessions, conn => count.fetch_all(conn))?;
    for row in rows {
        let (kind, open, oldest): (String, i64, f64) = (row.try_get(0)?, row.try_get(1)?, row.try_get(2)?);
        if kind == "effect" {
            metrics::gauge!("farandole_agenda_oldest_effect_seconds").set(oldest);
        }
        metrics::gauge!("farandole_agenda_open", "kind" => kind).set(open as f64);
    }
    Ok(())
}
