//! The statements on claims. Each is for a whole batch.
//!
//! A claim is a step of scope `claim/<name>/<key>/<cause>`: a step can be taken once, so of two workers one has it. The cause
//! is in the scope so that a task's steps are never those of another of its name and key.

use std::collections::HashMap;
use std::time::Duration;

use serde_json::Value;
use sqlx::{PgConnection, Row as _};
use uuid::Uuid;

use crate::database::gate;
use crate::engine::tasks::Id;
use crate::ground::time::{LONGEST, Timestamp};
use crate::publish::relay::history::{Seen, holds_sql};
use crate::publish::relay::state::SCOPE;

/// The newest step of a task's claims; all zero when there is none.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(super) struct Claim {
    /// The step's number; 0 when it was never claimed.
    pub step: i64,
    /// Attempts so far, this one included.
    pub attempt: u32,
    /// When the first attempt was claimed.
    pub first: Option<Timestamp>,
    /// No attempt is running: the step only says when the next may begin.
    pub idle: bool,
    /// Some attempt may have happened.
    pub maybe: bool,
}

impl Claim {
    /// What is written to claim one attempt more, or for a wait that counts as one.
    pub fn next(self, idle: bool, until: Duration) -> Next {
        Self { attempt: self.attempt.saturating_add(1), idle, ..self }.until(until)
    }

    /// The step that says this of the task, until then.
    pub fn until(self, until: Duration) -> Next {
        let Self { step, attempt, first, idle, maybe } = self;
        Next { after: step, attempt, first, idle, maybe, until }
    }
}

/// A task as it was read.
#[derive(Debug, Clone)]
pub(super) struct Task {
    pub id: Id,
    pub claim: Claim,
    pub effect: Option<Value>,
    pub idempotency_key: Uuid,
    pub correlation: Uuid,
    pub traceparent: Option<String>,
    /// How long it has been due.
    pub late: Duration,
    /// How long until it may be claimed; zero when it may be now.
    pub wait: Duration,
}

/// What a worker writes into a claim.
#[derive(Debug, Clone, Copy)]
pub(super) struct Next {
    /// The step that it must follow; 0 for none.
    pub after: i64,
    pub attempt: u32,
    pub first: Option<Timestamp>,
    pub idle: bool,
    pub maybe: bool,
    /// The lease, or the wait, from now by the database's clock.
    pub until: Duration,
}

/// The statement that appends claims, with or without a join to, and a lock of, the tasks' rows.
macro_rules! append_sql {
    ($tasks:literal, $lock:literal) => {
        concat!(
            "with gate as materialized (select pg_try_advisory_xact_lock_shared(",
            gate::key!(),
            ") as free, ",
            holds_sql!("$12", "$13"),
            r#" as holds),
               x as materialized (
                 select x.*, n.now
                 from gate join unnest($1::text[], $2::text[], $3::uuid[], $4::text[], $5::bigint[], $6::int[], $7::bigint[], $8::bigint[],
                             $10::boolean[], $11::boolean[])
                      as x(name, key, cause, scope, after, attempt, first, until, idle, maybe) on gate.free and gate.holds "#,
            $tasks,
            r#" cross join (select (extract(epoch from clock_timestamp()) * 1000000)::bigint as now) n "#,
            $lock,
            r#"), old as (
                 delete from farandole.steps s using x where s.scope = x.scope and s.step < x.after - 8
               ), new as (
               insert into farandole.steps (scope, step, state)
               select scope, after + 1, jsonb_build_object('worker', $9::uuid, 'until', now + until, 'attempt', attempt,
                        'first', coalesce(first, now), 'idle', idle, 'maybe', maybe)
               from x
               where coalesce((select max(s.step) from farandole.steps s where s.scope = x.scope), 0) = x.after
               order by scope
               on conflict do nothing returning scope, step, (state->>'first')::bigint as first)
               select gate.free, gate.holds, new.scope, new.step, new.first from gate left join new on true"#
        )
    };
}

/// What a claiming statement found.
#[derive(Debug, Default)]
pub(super) struct Had {
    /// No heal is under way.
    pub free: bool,
    /// The database is the one that was seen.
    pub holds: bool,
    /// The claims that were had, one a task; without both of the above, none.
    pub claims: Vec<Option<Claim>>,
}

/// Claims each task that is still there and whose newest claim is the given one, in the database that was `seen`: nothing of the
/// outside world is called before this. Beside a heal it doesn't wait, for then it would look at what was before.
pub(super) async fn take(conn: &mut PgConnection, worker: Uuid, tasks: &[(&Id, Next)], seen: Option<&Seen>) -> sqlx::Result<Had> {
    // The row's lock makes closing and claiming exclude each other. Who holds it already closes the task or claims it.
    let sql = append_sql!(
        "join farandole.tasks t on t.name = x.name and t.key = x.key and t.cause = x.cause",
        "order by t.name, t.key, t.cause for no key update of t skip locked"
    );
    append(conn, sql, worker, tasks, seen).await
}

/// Gives attempts back until later; the same conditions.
pub(super) async fn defer(conn: &mut PgConnection, worker: Uuid, tasks: &[(&Id, Next)]) -> sqlx::Result<Vec<Option<Claim>>> {
    Ok(append(conn, append_sql!("", ""), worker, tasks, None).await?.claims)
}

// Old steps go nine behind the newest, or a task retried for weeks would leave tens of thousands. A claim that a worker sent
// nine claims ago could then be taken twice; it loses at the commit, where only the newest counts.
async fn append(
    conn: &mut PgConnection,
    sql: &'static str,
    worker: Uuid,
    tasks: &[(&Id, Next)],
    seen: Option<&Seen>,
) -> sqlx::Result<Had> {
    if tasks.is_empty() {
        return Ok(Had { free: true, holds: true, claims: Vec::new() });
    }
    let ids = tasks.iter().map(|t| t.0);
    let scopes: Vec<String> = ids.clone().map(Id::scope).collect();
    let micros = |d: Duration| i64::try_from(d.min(LONGEST).as_micros()).unwrap_or(i64::MAX / 4);
    let rows = sqlx::query(sql)
        .bind(ids.clone().map(|id| id.name.as_str()).collect::<Vec<_>>())
        .bind(ids.clone().map(|id| id.key.as_str()).collect::<Vec<_>>())
        .bind(ids.map(|id| id.cause).collect::<Vec<_>>())
        .bind(&scopes)
        .bind(tasks.iter().map(|t| t.1.after).collect::<Vec<_>>())
        .bind(tasks.iter().map(|t| i32::try_from(t.1.attempt).unwrap_or(i32::MAX)).collect::<Vec<_>>())
        .bind(tasks.iter().map(|t| t.1.first.map(Timestamp::micros)).collect::<Vec<_>>())
        .bind(tasks.iter().map(|t| micros(t.1.until)).collect::<Vec<_>>())
        .bind(worker)
        .bind(tasks.iter().map(|t| t.1.idle).collect::<Vec<_>>())
        .bind(tasks.iter().map(|t| t.1.maybe).collect::<Vec<_>>())
        .bind(SCOPE)
        .bind(seen.map(Seen::values))
        .fetch_all(conn)
        .await?;
    let mut found = Had::default();
    let mut had: HashMap<String, (i64, i64)> = HashMap::with_capacity(rows.len());
    for row in rows {
        (found.free, found.holds) = (row.try_get(0)?, row.try_get(1)?);
        if let Some(scope) = row.try_get(2)? {
            had.insert(scope, (row.try_get(3)?, row.try_get(4)?));
        }
    }
    let claim = |(scope, (_, next)): (&String, &(&Id, Next))| {
        let (step, first) = *had.get(scope)?;
        let Next { attempt, idle, maybe, .. } = *next;
        Some(Claim { step, attempt, first: Some(Timestamp::from_micros(first)), idle, maybe })
    };
    Ok(Had { claims: scopes.iter().zip(tasks).map(claim).collect(), ..found })
}

/// Locks the tasks' rows and says which are there with the given step as their newest.
pub(super) async fn lock(conn: &mut PgConnection, tasks: &[(&Id, i64)]) -> sqlx::Result<Vec<bool>> {
    let ids = tasks.iter().map(|t| t.0);
    let locked = sqlx::query(
        r#"select x.ord from unnest($1::text[], $2::text[], $3::uuid[]) with ordinality as x(name, key, cause, ord)
           join farandole.tasks t on t.name = x.name and t.key = x.key and t.cause = x.cause
           order by t.name, t.key, t.cause for update of t"#,
    )
    .bind(ids.clone().map(|id| id.name.as_str()).collect::<Vec<_>>())
    .bind(ids.clone().map(|id| id.key.as_str()).collect::<Vec<_>>())
    .bind(ids.clone().map(|id| id.cause).collect::<Vec<_>>())
    .fetch_all(&mut *conn)
    .await?;
    // In a statement of its own, so that the snapshot is younger than the locks.
    let newest = sqlx::query(
        r#"select x.ord, coalesce((select max(s.step) from farandole.steps s where s.scope = x.scope), 0)
           from unnest($1::text[]) with ordinality as x(scope, ord)"#,
    )
    .bind(ids.map(Id::scope).collect::<Vec<_>>())
    .fetch_all(conn)
    .await?;
    let mut there = vec![false; tasks.len()];
    for row in locked {
        mark(&mut there, row.try_get(0)?, true);
    }
    for row in newest {
        let (ord, step): (i64, i64) = (row.try_get(0)?, row.try_get(1)?);
        let mine = usize::try_from(ord - 1).ok().and_then(|at| tasks.get(at)).is_some_and(|t| t.1 == step);
        if !mine {
            mark(&mut there, ord, false);
        }
    }
    Ok(there)
}

fn mark(flags: &mut [bool], ord: i64, value: bool) {
    if let Some(flag) = usize::try_from(ord - 1).ok().and_then(|at| flags.get_mut(at)) {
        *flag = value;
    }
}

/// Removes tasks that are done, with their claims. Their rows must be locked.
pub(super) async fn finish(conn: &mut PgConnection, tasks: &[&Id]) -> sqlx::Result<()> {
    if tasks.is_empty() {
        return Ok(());
    }
    sqlx::query(
        r#"with gone as (
             delete from farandole.tasks t using unnest($1::text[], $2::text[], $3::uuid[]) x(name, key, cause)
             where t.name = x.name and t.key = x.key and t.cause = x.cause
           )
           delete from farandole.steps where scope = any($4::text[])"#,
    )
    .bind(tasks.iter().map(|id| id.name.as_str()).collect::<Vec<_>>())
    .bind(tasks.iter().map(|id| id.key.as_str()).collect::<Vec<_>>())
    .bind(tasks.iter().map(|id| id.cause).collect::<Vec<_>>())
    .bind(tasks.iter().map(|id| id.scope()).collect::<Vec<_>>())
    .execute(conn)
    .await?;
    Ok(())
}
