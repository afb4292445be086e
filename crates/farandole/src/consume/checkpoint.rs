//! Checkpoints: every few seconds the journal is told where the service reads, if that has changed.
//!
//! **What for.** Positions are the one thing that no topic tells. A service whose database is lost begins at its last checkpoint; without
//! one it would read all that it has ever subscribed to again.
//!
//! **Guarantee.** Every event that came of an input before a checkpoint's position is in its topic, acknowledged. So an input that is
//! behind the position needn't come again, whatever became of the database.
//!
//! **How.** The positions are read, then a snapshot that sees the transactions that moved them. Once the relay has had everything
//! acknowledged that this snapshot sees, the positions are appended. Only the replica whose relay publishes does it.
//!
//! **Numbers.** A checkpoint says which event was the next before the positions were read. What has a lower number came of inputs that the
//! positions are behind; if it names one beyond them, that was a record of another topic of that name, which was deleted since.
//!
//! **How it would fail without** the wait: a checkpoint goes to a partition of its own and may be acknowledged before the events that it
//! speaks for; a database that is lost in between would be rebuilt behind inputs of which nothing is left.

use std::collections::BTreeMap;
use std::time::Duration;

use sqlx::PgConnection;
use tokio_util::sync::CancellationToken;

use crate::consume::intake::{Position, positions};
use crate::database::gate;
use crate::database::sessions::{Sessions, with_conn};
use crate::database::step;
use crate::ground::error::chain_of;
use crate::ground::time::Timestamp;
use crate::ground::told::Told;
use crate::parking::journal::Journal;
use crate::publish::relay::state::{SCOPE, State};
use crate::publish::relay::{Role, Status};

/// Between two looks whether the relay has got there.
const LOOK: Duration = Duration::from_millis(250);

/// Whether nothing is unsent that snapshot `$1` sees, where `$2` is what the relay has had acknowledged.
const PUBLISHED: &str = "
select not exists (
  select from farandole.outbox where xid >= pg_snapshot_xmin($2::pg_snapshot)
    and pg_visible_in_snapshot(xid, $1::pg_snapshot) and not pg_visible_in_snapshot(xid, $2::pg_snapshot)),
  (extract(epoch from clock_timestamp()) * 1000000)::bigint";

/// What a checkpoint will say once it may: the positions that have changed, and a snapshot that sees who moved them.
struct Pending {
    moved: BTreeMap<String, Position>,
    snapshot: String,
    /// The number of the next event before the positions were read.
    published: i64,
}

/// The checkpoints of one service.
struct Checkpoints<'a> {
    reader: &'a str,
    journal: &'a Journal,
    /// As of the last.
    told: BTreeMap<String, Position>,
    pending: Option<Pending>,
}

/// Appends checkpoints of `reader`, at most one `every` so long, until `stop`.
pub async fn run(
    sessions: &Sessions,
    (reader, journal): (&str, &Journal),
    every: Duration,
    status: &Status,
    stop: &CancellationToken,
) {
    let mut checkpoints = Checkpoints { reader, journal, told: BTreeMap::new(), pending: None };
    let mut troubles = Told::default();
    loop {
        let wait = if checkpoints.pending.is_some() { LOOK.min(every) } else { every };
        if stop.run_until_cancelled(tokio::time::sleep(wait)).await.is_none() {
            return;
        }
        if status.role() != Role::Active {
            // Who publishes tells what has moved since.
            checkpoints.pending = None;
            continue;
        }
        let looked = stop.run_until_cancelled(async { with_conn!(sessions, conn => checkpoints.look(conn)) }).await;
        let Some(looked) = looked else { return };
        match looked {
            Ok(()) => troubles.over(),
            Err(error) => {
                let reason = chain_of(&error);
                if troubles.is_due(&reason) {
                    tracing::warn!(reason, "checkpoint failed; retrying");
                }
            }
        }
    }
}

impl Checkpoints<'_> {
    /// Appends what is pending if it may be told by now; looks what has changed if nothing is.
    async fn look(&mut self, conn: &mut PgConnection) -> sqlx::Result<()> {
        let relay = async |conn: &mut PgConnection| step::latest::<State>(conn, SCOPE).await.map_err(sqlx::Error::decode);
        if self.pending.is_none() {
            let published = relay(conn).await?.map_or(0, |(_, state)| state.next);
            let positions = positions(conn, self.reader).await?;
            let moved: BTreeMap<_, _> = positions.into_iter().filter(|(at, now)| self.told.get(at) != Some(now)).collect();
            if moved.is_empty() {
                return Ok(());
            }
            // After the positions: it sees at least the transactions that moved them.
            let snapshot = sqlx::query_scalar("select pg_current_snapshot()::text").fetch_one(&mut *conn).await?;
            self.pending = Some(Pending { moved, snapshot, published });
        }
        let Some(pending) = &self.pending else { return Ok(()) };
        let Some((_, relay)) = relay(conn).await? else { return Ok(()) };
        let published = sqlx::query_as(PUBLISHED).bind(&pending.snapshot).bind(&relay.acked.0).fetch_one(&mut *conn);
        let (published, now): (bool, i64) = published.await?;
        if !published {
            return Ok(());
        }
        let mut tx = gate::begin(conn).await?;
        self.journal.checkpoint(&mut tx, Timestamp::from_micros(now), self.reader, (pending.published, &pending.moved)).await?;
        tx.commit().await?;
        self.told.extend(self.pending.take().into_iter().flat_map(|pending| pending.moved));
        Ok(())
    }
}
