//! Reads due tasks in order, page by page.
//!
//! Tasks become due in the order of the index, nearly: a transaction may commit a task a little after the time it gave it, a
//! deadline may be opened in the past, a lease may run out. So after the last page the cursor stays a second behind the
//! clock, and every now and then it starts again from the beginning. Always from the beginning would be simpler, and would
//! walk all tasks that wait for their next attempt, and all that are deleted and not yet vacuumed, for every new one.
//!
//! An effect waits until the event that opened it is acknowledged by Kafka: the relay's newest step has the snapshot of what is, and the
//! task has its transaction. Without, a database that is set back to before the event would know nothing of a call that was made, nor would
//! the topic, and what is then decided may be something else.

use std::time::{Duration, Instant};

use sqlx::Row as _;
use sqlx::postgres::PgRow;
use uuid::Uuid;

use crate::agenda::claims::{Claim, Task};
use crate::database::sessions::{Sessions, with_conn};
use crate::engine::tasks::{Id, Kind};
use crate::ground::time::Timestamp;

/// How far behind the clock the cursor stays: what commits later than this waits for the next sweep.
const SLACK: Duration = Duration::from_secs(1);

/// Sweeps begin at least this far apart, and take a tenth of the time at most.
const SWEEP: Duration = Duration::from_secs(1);

/// The wait of a task whose event isn't published, as [`PAGE`] has it.
const UNPUBLISHED: Duration = Duration::from_micros(1);

/// A page: of kind `$1`, due within `$2` microseconds, after a row (`$3` to `$6`), `$7` of them. Where `$8`, those
/// whose events the relay doesn't know to be acknowledged wait.
pub const PAGE: &str = r#"
with n as (select (extract(epoch from statement_timestamp()) * 1000000)::bigint as now),
out as (select (state->>'a')::pg_snapshot as a from farandole.steps where $8 and scope = 'relay' order by step desc limit 1),
page as (
  select t.*, (extract(epoch from t.due) * 1000000)::bigint as micros
  from farandole.tasks t
  where t.kind = $1 and t.due <= statement_timestamp() + $2 * interval '1 microsecond'
    and (t.due, t.name, t.key, t.cause) >
        (coalesce('epoch'::timestamptz + $3 * interval '1 microsecond', '-infinity'), $4, $5, $6)
  order by t.due, t.name, t.key, t.cause limit $7
)
select n.now, p.micros, p.name, p.key, p.cause, p.correlation, p.traceparent,
       case when greatest(p.micros, (c.state->>'until')::bigint) <= n.now then p.effect end,
       coalesce(c.step, 0), (c.state->>'attempt')::int, (c.state->>'first')::bigint,
       (c.state->>'idle')::boolean, (c.state->>'maybe')::boolean,
       greatest(p.micros, (c.state->>'until')::bigint,
                case when $8 and p.xid is not null and pg_visible_in_snapshot(p.xid, (select a from out)) is not true then n.now + 1 end)
         - n.now,
       coalesce(p.idempotency_key, p.cause)
from n left join page p on true
left join lateral (
  select s.step, s.state from farandole.steps s
  where s.scope = farandole.claim(p.name, p.key, p.cause) order by s.step desc limit 1
) c on true
order by p.due, p.name, p.key, p.cause"#;

/// A page of due tasks.
#[derive(Debug)]
pub(super) struct Page {
    pub tasks: Vec<Task>,
    /// There may be more right behind.
    pub full: bool,
    /// How long until something of what was read, or something that isn't due yet, can be claimed.
    pub next: Option<Duration>,
    /// Something of it only waits for its event to be published, or something behind it may.
    pub unpublished: bool,
}

/// Reads one kind of task.
#[derive(Debug)]
pub(super) struct Scanner {
    kind: Kind,
    limit: usize,
    /// Tasks that will be due within this are looked at, to know when.
    ahead: Duration,
    /// Whether a relay publishes the events that open tasks, and they wait for it.
    published: bool,
    /// The last row read.
    after: Option<(i64, Id)>,
    /// When this sweep began.
    sweep: Option<Instant>,
    /// When the next begins.
    next_sweep: Instant,
    /// `after` and `sweep` before the last page.
    before: (Option<(i64, Id)>, Option<Instant>),
}

impl Scanner {
    pub fn new(kind: Kind, limit: usize, ahead: Duration, published: bool) -> Self {
        let now = Instant::now();
        Self { kind, limit, ahead, published, after: None, sweep: Some(now), next_sweep: now, before: (None, Some(now)) }
    }

    /// The next page.
    pub async fn page(&mut self, sessions: &Sessions) -> sqlx::Result<Page> {
        let began = Instant::now();
        if self.sweep.is_none() && began >= self.next_sweep {
            (self.after, self.sweep) = (None, Some(began));
        }
        self.before = (self.after.clone(), self.sweep);
        let (due, id) = match &self.after {
            Some((due, id)) => (Some(*due), id.clone()),
            None => (None, Id { name: String::new(), key: String::new(), cause: Uuid::nil() }),
        };
        // Payloads of what can't be claimed yet stay where they are.
        let page = sqlx::query(PAGE)
            .bind(self.kind.as_str())
            .bind(i64::try_from(self.ahead.as_micros()).unwrap_or(i64::MAX / 4))
            .bind(due)
            .bind(&id.name)
            .bind(&id.key)
            .bind(id.cause)
            .bind(i64::try_from(self.limit).unwrap_or(i64::MAX))
            .bind(self.published);
        let rows = with_conn!(sessions, conn => page.fetch_all(conn))?;
        self.read(&rows, began)
    }

    /// Reads the last page once more the next time.
    pub fn again(&mut self) {
        (self.after, self.sweep) = self.before.clone();
    }

    fn read(&mut self, rows: &[PgRow], began: Instant) -> sqlx::Result<Page> {
        let mut page = Page { tasks: Vec::new(), full: false, next: None, unpublished: false };
        let (mut now, mut last, mut ahead, mut seen) = (0, None, false, 0);
        for row in rows {
            now = row.try_get(0)?;
            let Some(due) = row.try_get::<Option<i64>, _>(1)? else { continue };
            let task = task(row, now, due)?;
            seen += 1;
            ahead |= due > now;
            if task.wait.is_zero() {
                last = Some((due, task.id.clone()));
                page.tasks.push(task);
            } else {
                page.next = Some(page.next.map_or(task.wait, |next| next.min(task.wait)));
                page.unpublished |= self.published && task.wait <= UNPUBLISHED;
                last = Some((due, task.id));
            }
        }
        page.full = seen >= self.limit && !ahead;
        page.unpublished |= page.full;
        if page.full {
            self.after = last;
        } else {
            let slack = i64::try_from(SLACK.as_micros()).unwrap_or(i64::MAX);
            self.after = Some((now - slack, Id { name: String::new(), key: String::new(), cause: Uuid::nil() }));
            if let Some(sweep) = self.sweep.take() {
                let took = sweep.elapsed();
                self.next_sweep = began + took + SWEEP.max(took * 9);
            }
        }
        Ok(page)
    }
}

fn task(row: &PgRow, now: i64, due: i64) -> sqlx::Result<Task> {
    let micros = |n: i64| Duration::from_micros(u64::try_from(n).unwrap_or(0));
    let attempt: Option<i32> = row.try_get(9)?;
    let first: Option<i64> = row.try_get(10)?;
    Ok(Task {
        id: Id { name: row.try_get(2)?, key: row.try_get(3)?, cause: row.try_get(4)? },
        correlation: row.try_get(5)?,
        traceparent: row.try_get(6)?,
        effect: row.try_get(7)?,
        claim: Claim {
            step: row.try_get(8)?,
            attempt: attempt.and_then(|n| u32::try_from(n).ok()).unwrap_or(0),
            first: first.map(Timestamp::from_micros),
            idle: row.try_get::<Option<bool>, _>(11)?.unwrap_or(true),
            maybe: row.try_get::<Option<bool>, _>(12)?.unwrap_or(false),
        },
        late: micros(now.saturating_sub(due)),
        wait: micros(row.try_get(13)?),
        // Builds that stored none used the event's id.
        idempotency_key: row.try_get(14)?,
    })
}
