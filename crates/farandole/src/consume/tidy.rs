//! Clean-up: answers of commands, ids of foreign records, inputs that a heal found applied.
//!
//! **Guarantee.** None of these tables grows for ever: a row goes within minutes of its time, however many come. Whatever is left of
//! the kit's tables is bounded by what is open, parked or unsent; ARCHITECTURE.md lists all of them.
//!
//! **How.** Once a minute, in small statements that each walk an index from its old end, until nothing is left that is old enough. Two
//! replicas pass over each other's rows.
//!
//! **How it would fail without**: a fixed number of rows a minute is less than a busy service adds; one statement for all of a large
//! rest holds its rows' locks, and the log of the database, for minutes.

use std::time::Duration;

use sqlx::PgConnection;
use tokio_util::sync::CancellationToken;

use crate::consume::intake;
use crate::database::sessions::{Sessions, with_conn};
use crate::ground::error::chain_of;

/// Between two looks.
const EVERY: Duration = Duration::from_secs(60);
/// Rows a statement: some ten milliseconds' work.
pub const ROWS: i64 = 2_000;
/// Between two statements while there is more, so that others get their turn: some 50,000 rows a second at the most.
const PAUSE: Duration = Duration::from_millis(20);
/// Foreign records are remembered for longer than any producer tries to send, and than a topic's usual retention of a week.
pub const STRANGERS: Duration = Duration::from_secs(8 * 24 * 60 * 60);

/// What goes by its age, oldest first: `$1` seconds, `$2` rows.
pub const ANSWERS_SQL: &str = "
delete from farandole.idempotency where ctid = any (array(
  select ctid from farandole.idempotency where at < clock_timestamp() - make_interval(secs => $1)
  order by at limit $2 for update skip locked))";

/// The same of foreign records.
pub const STRANGERS_SQL: &str = "
delete from farandole.strangers where ctid = any (array(
  select ctid from farandole.strangers where seen_at < clock_timestamp() - make_interval(secs => $1)
  order by seen_at limit $2 for update skip locked))";

/// What the positions of reader `$2` are behind, `$1` rows of each partition; `$3` is what their scopes begin with. From partition to partition by the index, whatever lies in one.
pub const APPLIED_SQL: &str = "
with recursive parts as (
  (select topic, partition from farandole.applied where reader = $2 order by topic, partition limit 1)
  union all
  select n.topic, n.partition from parts p cross join lateral (
    select a.topic, a.partition from farandole.applied a where a.reader = $2 and (a.topic, a.partition) > (p.topic, p.partition)
    order by a.topic, a.partition limit 1) n
)
delete from farandole.applied where ctid = any (array(
  select a.ctid from parts p
  cross join lateral (select (state->>'next_offset')::bigint as next from farandole.steps
                      where scope = $3 || p.topic || '/' || p.partition order by step desc limit 1) s
  cross join lateral (select ctid from farandole.applied a
                      where a.reader = $2 and a.topic = p.topic and a.partition = p.partition and a.record_offset < s.next
                      order by a.record_offset limit $1 for update skip locked) a))";

/// Forgets, until `shutdown`, what is old enough; of what a heal found only `reader`'s, and answers of commands after `answers`. Answers
/// are the service's whose database it is, and so is the setting: who reads beside it gives none, and leaves them alone.
pub async fn run(sessions: &Sessions, reader: &str, answers: Option<Duration>, shutdown: &CancellationToken) {
    while shutdown.run_until_cancelled(tokio::time::sleep(EVERY)).await.is_some() {
        for what in answers.map(What::Answers).into_iter().chain([What::Strangers, What::Applied(reader)]) {
            let all = shutdown.run_until_cancelled(async {
                loop {
                    match with_conn!(sessions, conn => forget(conn, what)) {
                        Ok(gone) if gone < ROWS.unsigned_abs() => return,
                        Ok(_) => tokio::time::sleep(PAUSE).await,
                        Err(error) => {
                            tracing::warn!(error = chain_of(&error), ?what, "clean-up failed; retrying in a minute");
                            return;
                        }
                    }
                }
            });
            if all.await.is_none() {
                return;
            }
        }
    }
}

/// What is forgotten.
#[derive(Debug, Clone, Copy)]
pub enum What<'a> {
    /// Answers of commands, after this time.
    Answers(Duration),
    /// Which foreign records were applied.
    Strangers,
    /// What a heal found to be applied by this reader.
    Applied(&'a str),
}

/// Forgets some, and says how many.
pub async fn forget(conn: &mut PgConnection, what: What<'_>) -> sqlx::Result<u64> {
    let done = match what {
        What::Answers(after) => sqlx::query(ANSWERS_SQL).bind(after.as_secs_f64()).bind(ROWS).execute(conn).await?,
        What::Strangers => sqlx::query(STRANGERS_SQL).bind(STRANGERS.as_secs_f64()).bind(ROWS).execute(conn).await?,
        What::Applied(reader) => {
            let applied = sqlx::query(APPLIED_SQL).bind(ROWS).bind(reader).bind(intake::all_of(reader));
            applied.execute(conn).await?
        }
    };
    Ok(done.rows_affected())
}
