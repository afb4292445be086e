//! Writes what a batch opens and closes.

use std::collections::BTreeMap;

use serde_json::Value;
use sqlx::PgConnection;
use uuid::Uuid;

use crate::engine::Error;
use crate::engine::tasks::{Kind, Op};
use crate::ground::time::Timestamp;
use crate::parking::close_deadlines;
use crate::parking::journal::Journal;

/// Name and key. The order is that of the locks.
#[doc(hidden)]
pub type TaskKey = (String, String);

/// What opens at a place.
#[derive(Debug, PartialEq)]
pub struct Opening {
    /// What it is.
    pub kind: Kind,
    /// Of an effect.
    pub idempotency_key: Option<Uuid>,
    /// When, by the database's clock.
    pub due: Timestamp,
    target: Option<String>,
    /// What is asked.
    pub effect: Option<Value>,
    correlation: Uuid,
    traceparent: Option<String>,
}

/// What a batch's operations come to.
#[derive(Debug, Default, PartialEq)]
pub struct Net {
    /// Places whose tasks of earlier batches are no longer wanted.
    pub close: Vec<TaskKey>,
    /// What is open at the end of the batch, by its place and the event that opened it.
    pub open: BTreeMap<(TaskKey, Uuid), Opening>,
}

/// Applies `ops`, in order, within the caller's transaction. The aggregates of their keys must be locked.
///
/// A deadline that is parked is given up when it is closed, and the journal, if there is one, says so.
///
/// A task that the same batch opens and closes is never written. Two statements when places are closed, one when they are opened.
///
/// # Errors
/// The database's.
pub async fn apply(conn: &mut PgConnection, service: &str, journal: Option<&Journal>, ops: Vec<Op>) -> Result<(), Error> {
    let net = net(ops);
    if !net.close.is_empty() {
        let (names, keys): (Vec<&str>, Vec<&str>) = net.close.iter().map(|p| (p.0.as_str(), p.1.as_str())).unzip();
        close_deadlines(conn, service, journal, &names, &keys).await?;
    }
    store(conn, net).await.map_err(Error::database("storing tasks", 1))
}

async fn store(conn: &mut PgConnection, net: Net) -> sqlx::Result<()> {
    if !net.close.is_empty() {
        close(conn, &net.close).await?;
    }
    if !net.open.is_empty() {
        insert(conn, &net.open).await?;
    }
    Ok(())
}

/// What `ops`, in order, come to.
pub fn net(ops: Vec<Op>) -> Net {
    let mut net = Net::default();
    for op in ops {
        match op {
            Op::Open { kind, name, key, cause, idempotency_key, due, target, effect, correlation, traceparent } => {
                let opening = Opening { kind, idempotency_key, due, target, effect, correlation, traceparent };
                net.open.insert(((name, key), cause), opening);
            }
            Op::Close { name, key } => {
                let place = (name, key);
                let range = (place.clone(), Uuid::nil())..=(place.clone(), Uuid::max());
                let gone: Vec<_> = net.open.range(range).map(|(id, _)| id.clone()).collect();
                gone.iter().for_each(|id| drop(net.open.remove(id)));
                net.close.push(place);
            }
        }
    }
    net.close.sort_unstable();
    net.close.dedup();
    net
}

async fn insert(conn: &mut PgConnection, open: &BTreeMap<(TaskKey, Uuid), Opening>) -> Result<(), sqlx::Error> {
    type All = BTreeMap<(TaskKey, Uuid), Opening>;
    fn column<'a, T>(open: &'a All, of: impl Fn(&'a TaskKey, &'a Opening) -> T) -> Vec<T> {
        open.iter().map(|((place, _), opening)| of(place, opening)).collect()
    }
    sqlx::query(
        r#"insert into farandole.tasks (kind, name, key, cause, due, target, effect, correlation, traceparent, idempotency_key)
           select kind, name, key, cause, 'epoch'::timestamptz + micros * interval '1 microsecond',
                  target, effect, correlation, traceparent, idempotency_key
           from unnest($1::text[], $2::text[], $3::text[], $4::uuid[], $5::bigint[], $6::text[], $7::jsonb[], $8::uuid[],
                       $9::text[], $10::uuid[]) with ordinality
                as t(kind, name, key, cause, micros, target, effect, correlation, traceparent, idempotency_key, ord)
           order by ord"#,
    )
    .bind(column(open, |_, o| o.kind.as_str()))
    .bind(column(open, |p, _| p.0.as_str()))
    .bind(column(open, |p, _| p.1.as_str()))
    .bind(open.keys().map(|(_, cause)| *cause).collect::<Vec<_>>())
    .bind(column(open, |_, o| o.due.micros()))
    .bind(column(open, |_, o| o.target.as_deref()))
    .bind(column(open, |_, o| o.effect.as_ref()))
    .bind(column(open, |_, o| o.correlation))
    .bind(column(open, |_, o| o.traceparent.as_deref()))
    .bind(column(open, |_, o| o.idempotency_key))
    .execute(conn)
    .await?;
    Ok(())
}

async fn close(conn: &mut PgConnection, places: &[TaskKey]) -> Result<(), sqlx::Error> {
    let names: Vec<&str> = places.iter().map(|p| p.0.as_str()).collect();
    let keys: Vec<&str> = places.iter().map(|p| p.1.as_str()).collect();
    // First the locks, then, in a statement of its own and so with a snapshot of its own, the look at the claims: a worker
    // that is claiming holds the row's lock, and a snapshot from before its commit would not show the claim. The task would
    // be deleted under a running effect.
    let found = sqlx::query(
        r#"select from farandole.tasks t join unnest($1::text[], $2::text[]) x(name, key) on t.name = x.name and t.key = x.key
           where not t.closed order by t.name, t.key, t.cause for update of t"#,
    )
    .bind(&names)
    .bind(&keys)
    .fetch_all(&mut *conn)
    .await?;
    if found.is_empty() {
        return Ok(());
    }
    // An effect that was claimed may have started. Unless its claims were all given back with the word that nothing happened
    // (idle, not maybe), it stays, and its outcome comes.
    sqlx::query(
        r#"with x as materialized (
             select t.name, t.key, t.cause, c.scope,
                    t.kind = 'deadline' or s.state is null
                      or ((s.state->>'idle')::boolean and not (s.state->>'maybe')::boolean) as unstarted
             from farandole.tasks t
             join unnest($1::text[], $2::text[]) p(name, key) on t.name = p.name and t.key = p.key
             cross join lateral (select farandole.claim(t.name, t.key, t.cause) as scope) c
             left join lateral (select state from farandole.steps where scope = c.scope order by step desc limit 1) s on true
             where not t.closed
           ), gone as (
             delete from farandole.tasks t using x
             where x.unstarted and t.name = x.name and t.key = x.key and t.cause = x.cause
           ), claims as (
             delete from farandole.steps s using x where x.unstarted and s.scope = x.scope
           )
           update farandole.tasks t set closed = true from x
           where not x.unstarted and t.name = x.name and t.key = x.key and t.cause = x.cause"#,
    )
    .bind(&names)
    .bind(&keys)
    .execute(conn)
    .await?;
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn open(name: &str, cause: u128) -> Op {
        Op::Open {
            kind: Kind::Deadline,
            name: name.to_owned(),
            key: "k".to_owned(),
            cause: Uuid::from_u128(cause),
            idempotency_key: None,
            due: Timestamp::default(),
            target: None,
            effect: None,
            correlation: Uuid::nil(),
            traceparent: None,
        }
    }

    fn close(name: &str) -> Op {
        Op::Close { name: name.to_owned(), key: "k".to_owned() }
    }

    /// Guard: what is open goes by its event as well. Without, the second of one name and key replaces the first.
    #[test]
    fn operations_on_one_place_come_to_what_no_later_one_closes() {
        type Left<'a> = (&'a [&'a str], &'a [(&'a str, u128)]);
        let table: [(Vec<Op>, Left<'_>); 7] = [
            (vec![], (&[], &[])),
            (vec![open("a", 1)], (&[], &[("a", 1)])),
            (vec![open("a", 1), close("a")], (&["a"], &[])),
            (vec![close("a"), open("a", 1)], (&["a"], &[("a", 1)])),
            (vec![open("a", 1), open("a", 2)], (&[], &[("a", 1), ("a", 2)])),
            (vec![open("a", 1), open("a", 2), close("a"), open("a", 3), open("b", 3)], (&["a"], &[("a", 3), ("b", 3)])),
            (vec![close("b"), open("c", 1), close("a"), close("b")], (&["a", "b"], &[("c", 1)])),
        ];
        for (ops, (closed, opened)) in table {
            let said = format!("{ops:?}");
            let net = net(ops);
            assert_eq!(net.close.iter().map(|p| p.0.as_str()).collect::<Vec<_>>(), closed, "{said}");
            let left: Vec<(&str, u128)> = net.open.keys().map(|(p, cause)| (p.0.as_str(), cause.as_u128())).collect();
            assert_eq!(left, opened, "{said}");
        }
    }
}
