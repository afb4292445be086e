//! Deadlines and effects of folded events.
//!
//! What the agenda may forget in daily life it may not here, for its claims are as old as the backup: any effect may have been
//! started since. So an effect that is closed again stays until its outcome is in, whatever the claims say; and at the end
//! every effect that is open counts as one that may have happened. Run again under its key, it comes to the same.

use std::collections::BTreeMap;

use futures_util::future::BoxFuture;
use sqlx::{PgConnection, Row as _};
use uuid::Uuid;

use crate::engine::tasks::{Kind, Op};

/// Name and key.
type TaskKey = (String, String);

/// One change, in the order of the events.
#[derive(Debug, Clone, PartialEq)]
pub(super) enum Change {
    /// A deadline has been decided, or an effect's outcome: an event says so by its cause, which names the event that opened it.
    /// In events of older builds it doesn't.
    Settled(TaskKey, Option<Uuid>),
    /// What `follow_up` says.
    Op(Op),
}

/// A task as it stands or will stand.
#[derive(Debug, Clone, PartialEq)]
struct Task {
    kind: Kind,
    cause: Uuid,
    closed: bool,
    /// As it is opened; none when the database has it already.
    new: Option<Op>,
}

/// Changes `tasks` of one place.
fn change(tasks: &mut Vec<Task>, change: Change) {
    match change {
        Change::Settled(_, Some(cause)) => tasks.retain(|task| task.cause != cause),
        // Of several it isn't known whose outcome it was: they are run again, under their keys.
        Change::Settled(_, None) => {
            if tasks.len() == 1 {
                tasks.clear();
            }
        }
        Change::Op(Op::Close { .. }) => {
            tasks.retain(|task| task.kind == Kind::Effect);
            tasks.iter_mut().for_each(|task| task.closed = true);
        }
        Change::Op(op @ Op::Open { kind, cause, .. }) => {
            tasks.retain(|task| task.cause != cause);
            tasks.push(Task { kind, cause, closed: false, new: Some(op) });
        }
    }
}

fn place(of: &Change) -> TaskKey {
    match of {
        Change::Settled(place, _) => place.clone(),
        Change::Op(Op::Open { name, key, .. } | Op::Close { name, key }) => (name.clone(), key.clone()),
    }
}

/// Applies `changes`, in order. The aggregates of their keys must be locked.
///
/// # Errors
/// The database's.
pub(super) fn apply(conn: &mut PgConnection, changes: Vec<Change>) -> BoxFuture<'_, sqlx::Result<()>> {
    Box::pin(write_all(conn, changes))
}

async fn write_all(conn: &mut PgConnection, changes: Vec<Change>) -> sqlx::Result<()> {
    if changes.is_empty() {
        return Ok(());
    }
    let mut places: BTreeMap<TaskKey, Vec<Change>> = BTreeMap::new();
    changes.into_iter().for_each(|c| places.entry(place(&c)).or_default().push(c));
    let (names, keys): (Vec<&str>, Vec<&str>) = places.keys().map(|(name, key)| (name.as_str(), key.as_str())).unzip();
    let rows = sqlx::query(
        "select t.name, t.key, t.kind, t.cause, t.closed from farandole.tasks t
         join unnest($1::text[], $2::text[]) p(name, key) on t.name = p.name and t.key = p.key
         order by t.name, t.key, t.cause for update of t",
    )
    .bind(&names)
    .bind(&keys)
    .fetch_all(&mut *conn)
    .await?;
    // What tasks brought may be parked, and settled since the backup. A parked outcome is as good as a closed effect's: it comes.
    let parked = sqlx::query(
        "select t.task_name, t.task_key, t.task_kind, t.task_cause, true from farandole.parked t
         join unnest($1::text[], $2::text[]) p(name, key) on t.task_name = p.name and t.task_key = p.key",
    )
    .bind(names)
    .bind(keys)
    .fetch_all(&mut *conn)
    .await?;
    let mut stand: BTreeMap<TaskKey, Vec<Task>> = BTreeMap::new();
    for row in rows.iter().chain(&parked) {
        let kind = if row.try_get::<&str, _>(2)? == Kind::Deadline.as_str() { Kind::Deadline } else { Kind::Effect };
        let task = Task { kind, cause: row.try_get(3)?, closed: row.try_get(4)?, new: None };
        stand.entry((row.try_get(0)?, row.try_get(1)?)).or_default().push(task);
    }
    for (place, changes) in places {
        let before = stand.remove(&place).unwrap_or_default();
        let mut after = before.clone();
        changes.into_iter().for_each(|c| change(&mut after, c));
        write(conn, &place, &before, after).await?;
    }
    Ok(())
}

/// Stores what became of a place. A statement a task: a heal is in no hurry, and most places have one.
async fn write(conn: &mut PgConnection, (name, key): &TaskKey, before: &[Task], after: Vec<Task>) -> sqlx::Result<()> {
    for task in before {
        match after.iter().find(|t| t.cause == task.cause && t.new.is_none()) {
            None => {
                sqlx::query(
                    "with gone as (delete from farandole.tasks where name = $1 and key = $2 and cause = $3),
                          unparked as (delete from farandole.parked where task_name = $1 and task_key = $2 and task_cause = $3)
                     delete from farandole.steps where scope = farandole.claim($1, $2, $3)",
                )
                .bind(name)
                .bind(key)
                .bind(task.cause)
                .execute(&mut *conn)
                .await?;
            }
            Some(now) if now.closed != task.closed => {
                sqlx::query("update farandole.tasks set closed = true where name = $1 and key = $2 and cause = $3")
                    .bind(name)
                    .bind(key)
                    .bind(task.cause)
                    .execute(&mut *conn)
                    .await?;
            }
            Some(_) => {}
        }
    }
    for task in after {
        let Some(Op::Open { kind, idempotency_key, due, target, effect, correlation, traceparent, .. }) = task.new else {
            continue;
        };
        sqlx::query(
            "insert into farandole.tasks (kind, name, key, cause, due, target, effect, correlation, traceparent, closed, idempotency_key)
             values ($1, $2, $3, $4, 'epoch'::timestamptz + $5 * interval '1 microsecond', $6, $7, $8, $9, $10, $11)",
        )
        .bind(kind.as_str())
        .bind(name)
        .bind(key)
        .bind(task.cause)
        .bind(due.micros())
        .bind(target)
        .bind(effect)
        .bind(correlation)
        .bind(traceparent)
        .bind(task.closed)
        .bind(idempotency_key)
        .execute(&mut *conn)
        .await?;
    }
    Ok(())
}

/// Has every effect wait for what its event waits for. A join reads the outbox once: it has no index of ids, and a query for each effect
/// would read it as often.
pub const WAITS: &str = "update farandole.tasks t set xid = o.xid
                         from farandole.tasks e left join farandole.outbox o on o.id = e.cause
                         where t.kind = 'effect' and t.name = e.name and t.key = e.key and t.cause = e.cause";

/// Has every effect wait for what its event waits for: those whose events are rows that go out yet, for these; others for nothing.
///
/// # Errors
/// The database's.
pub(super) async fn wait_as_their_events(conn: &mut PgConnection) -> sqlx::Result<()> {
    sqlx::query(WAITS).execute(conn).await.map(drop)
}

/// Makes every effect in the agenda one that may have happened, first when it was opened: nobody knows what was started after
/// the backup. Who looks an old call up rather than make it again under its key goes by that.
///
/// # Errors
/// The database's.
pub(super) async fn may_have_happened(conn: &mut PgConnection, worker: Uuid) -> sqlx::Result<u64> {
    let done = sqlx::query(
        "insert into farandole.steps (scope, step, state)
         select c.scope, coalesce(s.step, 0) + 1,
                jsonb_build_object('worker', $1::uuid, 'until', n.now, 'attempt', coalesce((s.state->>'attempt')::int, 0),
                  'first', coalesce((s.state->>'first')::bigint, (extract(epoch from t.due) * 1000000)::bigint),
                  'idle', true, 'maybe', true)
         from farandole.tasks t
         cross join (select (extract(epoch from clock_timestamp()) * 1000000)::bigint as now) n
         cross join lateral (select farandole.claim(t.name, t.key, t.cause) as scope) c
         left join lateral (select step, state from farandole.steps where scope = c.scope order by step desc limit 1) s on true
         where t.kind = 'effect'",
    )
    .bind(worker)
    .execute(conn)
    .await?;
    Ok(done.rows_affected())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ground::time::Timestamp;

    fn open(kind: Kind, cause: u128) -> Change {
        Change::Op(Op::Open {
            kind,
            name: "n".to_owned(),
            key: "k".to_owned(),
            cause: Uuid::from_u128(cause),
            idempotency_key: None,
            due: Timestamp::default(),
            target: None,
            effect: None,
            correlation: Uuid::nil(),
            traceparent: None,
        })
    }

    fn close() -> Change {
        Change::Op(Op::Close { name: "n".to_owned(), key: "k".to_owned() })
    }

    /// By an older build when the cause is 0.
    fn settled(cause: u128) -> Change {
        Change::Settled(("n".to_owned(), "k".to_owned()), (cause > 0).then(|| Uuid::from_u128(cause)))
    }

    /// Causes, and whether each is closed.
    fn left(changes: Vec<Change>) -> Vec<(u128, bool)> {
        let mut tasks = Vec::new();
        changes.into_iter().for_each(|c| change(&mut tasks, c));
        tasks.iter().map(|t| (t.cause.as_u128(), t.closed)).collect()
    }

    /// What happened, the changes, what is left.
    type Case = (&'static str, Vec<Change>, &'static [(u128, bool)]);

    #[test]
    fn what_is_left_at_a_place() {
        use Kind::{Deadline, Effect};
        let table: [Case; 11] = [
            ("opened", vec![open(Effect, 1)], &[(1, false)]),
            ("an outcome ends it", vec![open(Effect, 1), settled(1)], &[]),
            ("also one that doesn't say which", vec![open(Effect, 1), settled(0)], &[]),
            ("a closed effect may have started", vec![open(Effect, 1), close()], &[(1, true)]),
            ("its outcome ends it, too", vec![open(Effect, 1), close(), settled(1)], &[]),
            ("a closed deadline is gone", vec![open(Deadline, 1), open(Deadline, 2), close()], &[]),
            ("opened anew", vec![open(Effect, 1), settled(1), open(Effect, 2)], &[(2, false)]),
            ("two of one name and key", vec![open(Effect, 1), open(Effect, 2)], &[(1, false), (2, false)]),
            ("one of them settled", vec![open(Effect, 1), open(Effect, 2), settled(1)], &[(2, false)]),
            (
                "one of two settled: which isn't known",
                vec![open(Effect, 1), open(Effect, 2), settled(0)],
                &[(1, false), (2, false)],
            ),
            ("a deadline stands beside another", vec![open(Deadline, 1), open(Deadline, 2)], &[(1, false), (2, false)]),
        ];
        for (what, changes, expected) in table {
            assert_eq!(left(changes), expected, "{what}");
        }
    }
}
