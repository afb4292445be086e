//! Maintenance beside the rounds, on every replica and regardless of Kafka: partitions created ahead and dropped when published,
//! old steps removed, gauges sampled. No event waits for it.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::{Duration, Instant};

use sqlx::{PgConnection, PgPool, Row as _};

use crate::database::step;
use crate::ground::told::Told;
use crate::publish::metrics;
use crate::publish::relay::error::Error;
use crate::publish::relay::log::{alone, with_timeout};
use crate::publish::relay::partitions;
use crate::publish::relay::state::{SCOPE, State};
use crate::publish::relay::status::{Role, Status};

/// Writers fill a partition in ten seconds at the very best, and two more stand ready.
const EVERY: Duration = Duration::from_secs(2);
/// Steps that stay to be looked at; the newest is all that the relay needs.
const KEEP: u32 = 100;
/// Figures, and a look for partitions to drop.
const SAMPLE_EVERY: Duration = Duration::from_secs(10);
/// More than this isn't counted: the answer is "many", and counting takes some 20 ms.
pub const COUNT_TO: i64 = 100_000;

/// Of its connection: no table is read whole to find what an index finds, however little there was when the plan was made.
pub const SETTINGS: &str = "set enable_seqscan = off; set enable_indexscan = on; set jit = off";

/// Who keeps old row versions from being cleaned up, and since how many transactions. Roles without `pg_read_all_stats` see
/// their own sessions only.
pub const HOLDER: &str = "
select pid, age(backend_xmin), coalesce(application_name, '') from pg_stat_activity
where backend_xmin is not null and datname = current_database() and pid <> pg_backend_pid() order by 2 desc limit 1";

pub const UNSENT: &str = "
select count(*), coalesce((extract(epoch from clock_timestamp() - min(time)) * 1000000)::bigint, 0)
from (select time from farandole.outbox where xid >= $1::xid8
      union all select time from farandole.outbox where xid = any($2::xid8[]) limit $3) as unsent";

/// Runs until it is dropped.
pub async fn run(pool: PgPool, status: Arc<Status>) -> std::convert::Infallible {
    // Outside the pool, for as long as it works; at the first trouble it is dropped.
    let mut kept: Option<PgConnection> = None;
    let mut sampled: Option<Instant> = None;
    let mut seen = BTreeMap::new();
    let mut first_step = 0;
    let mut told = Told::default();
    loop {
        let due = sampled.is_none_or(|at| at.elapsed() >= SAMPLE_EVERY);
        let done = async {
            let conn = match &mut kept {
                Some(conn) => conn,
                None => kept.insert(alone(&pool, SETTINGS).await?),
            };
            // What follows doesn't rest on it, and without the right to make any it never succeeds.
            let made = with_timeout("creating outbox partitions", partitions::make(conn)).await;
            if due || made.is_err() {
                status.sample_room(with_timeout("checking the room in the outbox", partitions::room(conn)).await?);
            }
            if status.role() == Role::Active {
                first_step = with_timeout("removing old steps", step::trim(conn, SCOPE, first_step, KEEP)).await?;
            }
            if due {
                sample(conn, &status).await?;
            }
            let last = made?;
            if due { retire(conn, &pool, &status, last, &mut seen).await } else { Ok(()) }
        };
        match done.await {
            Ok(()) => {
                told.over();
                status.upkeep_is(None);
            }
            Err(e) => {
                kept = None;
                let reason = e.chain();
                if told.is_due(&reason) {
                    tracing::warn!(reason, room = status.room(), "outbox maintenance failed; retrying");
                }
                status.upkeep_is(Some(reason));
            }
        }
        if due {
            sampled = Some(Instant::now());
        }
        tokio::time::sleep(EVERY).await;
    }
}

async fn retire(
    conn: &mut PgConnection,
    pool: &PgPool,
    status: &Status,
    last: i64,
    seen: &mut BTreeMap<i64, i64>,
) -> Result<(), Error> {
    if status.role() != Role::Active {
        return Ok(());
    }
    let latest = with_timeout("reading the relay's state", step::latest::<State>(conn, SCOPE)).await?;
    if let Some((_, state)) = latest
        && partitions::retire(pool, &state.acked, &state.published, last, seen).await? > 0
    {
        seen.clear();
    }
    Ok(())
}

async fn sample(conn: &mut PgConnection, status: &Status) -> Result<(), Error> {
    let doing = "sampling the outbox";
    let Some((_, state)) = with_timeout(doing, step::latest::<State>(conn, SCOPE)).await? else { return Ok(()) };
    let row = with_timeout(doing, async {
        let query = sqlx::query(UNSENT).bind(state.acked.xmax()).bind(state.acked.xip()).bind(COUNT_TO);
        query.fetch_one(&mut *conn).await.map_err(Error::database(doing))
    })
    .await?;
    let read = || Ok::<_, sqlx::Error>((row.try_get(0)?, row.try_get(1)?));
    let (unsent, oldest) = read().map_err(Error::database(doing))?;
    status.sample(unsent, oldest);
    let holder =
        with_timeout(doing, async { sqlx::query(HOLDER).fetch_optional(&mut *conn).await.map_err(Error::database(doing)) })
            .await?;
    let age: i32 = holder.as_ref().and_then(|row| row.try_get(1).ok()).unwrap_or(0);
    metrics::XMIN_AGE_TRANSACTIONS.set(f64::from(age), []);
    Ok(())
}
