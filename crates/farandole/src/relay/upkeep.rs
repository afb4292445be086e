//! What goes on beside the rounds, on every replica and whatever state Kafka is in: partitions made ahead and dropped when
//! they are out, old steps removed, figures sampled. No event waits for it.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::{Duration, Instant};

use sqlx::{PgConnection, PgPool, Row as _};

use super::error::Error;
use super::log::{connect, within};
use super::partitions;
use super::state::{SCOPE, State};
use super::status::{Role, Status};
use crate::step;

/// Writers fill a partition in ten seconds at the very best, and two more stand ready.
const EVERY: Duration = Duration::from_secs(2);
/// Steps that stay to be looked at; the newest is all that the relay needs.
const KEEP: u32 = 100;
/// Figures, and a look for partitions to drop.
const SAMPLE_EVERY: Duration = Duration::from_secs(10);
/// More than this isn't counted: the answer is "many".
const COUNT_TO: i64 = 1_000_000;

/// Of its connection: no table is read whole to find what an index finds, however little there was when the plan was made.
const SETTINGS: &str = "set lock_timeout = '10s'; set enable_seqscan = off; set jit = off";

/// Who keeps old row versions from being cleaned up, and since how many transactions. Roles without `pg_read_all_stats` see
/// their own sessions only.
const HOLDER: &str = "
select pid, age(backend_xmin), coalesce(application_name, '') from pg_stat_activity
where backend_xmin is not null and datname = current_database() and pid <> pg_backend_pid() order by 2 desc limit 1";

const UNSENT: &str = "
select count(*), coalesce((extract(epoch from clock_timestamp() - min(time)) * 1000000)::bigint, 0)
from (select time from farandole.outbox where xid >= $1::xid8
      union all select time from farandole.outbox where xid = any($2::xid8[]) limit $3) as unsent";

/// Runs until it is dropped.
pub(crate) async fn run(pool: PgPool, status: Arc<Status>) -> std::convert::Infallible {
    // Outside the pool, for as long as it works; at the first trouble it is dropped.
    let mut kept: Option<PgConnection> = None;
    let mut sampled: Option<Instant> = None;
    let mut seen = BTreeMap::new();
    let mut first_step = 0;
    let mut trouble = String::new();
    loop {
        let due = sampled.is_none_or(|at| at.elapsed() >= SAMPLE_EVERY);
        let done = async {
            let conn = match &mut kept {
                Some(conn) => conn,
                None => kept.insert(connect(&pool, SETTINGS).await?),
            };
            within("making outbox partitions", partitions::make(conn)).await?;
            if status.role() == Role::Active {
                first_step = within("removing old steps", step::trim(conn, SCOPE, first_step, KEEP)).await?;
            }
            if due { sample(conn, &pool, &status, &mut seen).await } else { Ok(()) }
        };
        match done.await {
            Ok(()) => trouble.clear(),
            Err(e) => {
                kept = None;
                let reason = e.chain();
                if reason != trouble {
                    tracing::warn!(reason, "outbox upkeep failed; trying again");
                    trouble = reason;
                }
            }
        }
        if due {
            sampled = Some(Instant::now());
        }
        tokio::time::sleep(EVERY).await;
    }
}

async fn sample(conn: &mut PgConnection, pool: &PgPool, status: &Status, seen: &mut BTreeMap<i64, i64>) -> Result<(), Error> {
    let doing = "sampling the outbox";
    let Some((_, state)) = within(doing, step::latest::<State>(conn, SCOPE)).await? else { return Ok(()) };
    let row = within(doing, async {
        let query = sqlx::query(UNSENT).bind(state.a.xmax()).bind(state.a.xip()).bind(COUNT_TO);
        query.fetch_one(&mut *conn).await.map_err(Error::database(doing))
    })
    .await?;
    let read = || Ok::<_, sqlx::Error>((row.try_get(0)?, row.try_get(1)?));
    let (unsent, oldest) = read().map_err(Error::database(doing))?;
    status.sample(unsent, oldest);
    let holder =
        within(doing, async { sqlx::query(HOLDER).fetch_optional(&mut *conn).await.map_err(Error::database(doing)) }).await?;
    let age: i32 = holder.as_ref().and_then(|row| row.try_get(1).ok()).unwrap_or(0);
    metrics::gauge!("farandole_xmin_age_transactions").set(f64::from(age));
    if status.role() == Role::Active && partitions::retire(pool, &state.a, &state.published, seen).await? > 0 {
        seen.clear();
    }
    Ok(())
}
