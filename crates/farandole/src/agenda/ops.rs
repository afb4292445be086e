//! Writes what a batch opens and closes.

use std::collections::BTreeMap;

use serde_json::Value;
use sqlx::{PgConnection, Row as _};
use uuid::Uuid;

use super::{Kind, Op};
use crate::time::Timestamp;

/// Name and key. The order is that of the locks.
type Place = (String, String);

/// What opens at a place.
#[derive(Debug, PartialEq)]
struct Opening {
    kind: Kind,
    cause: Uuid,
    due: Timestamp,
    target: Option<String>,
    effect: Option<Value>,
    correlation: Uuid,
    traceparent: Option<String>,
}

/// What a batch's operations come to.
#[derive(Debug, Default, PartialEq)]
struct Net {
    /// Places whose task of earlier batches is no longer wanted.
    close: Vec<Place>,
    /// What is open at the end of the batch. What an earlier batch opened at the same place gives way.
    open: BTreeMap<Place, Opening>,
}

/// Applies `ops`, in order, within the caller's transaction. The aggregates of their keys must be locked.
///
/// A task that the same batch opens and closes is never written. Opening at a place where a task is open closes that one.
/// Three statements at most when places are closed, one when they are only opened.
///
/// # Errors
/// The database's.
pub async fn apply(conn: &mut PgConnection, ops: Vec<Op>) -> Result<(), sqlx::Error> {
    let net = net(ops);
    if !net.close.is_empty() {
        close(conn, &net.close).await?;
    }
    if net.open.is_empty() {
        return Ok(());
    }
    let taken = insert(conn, &net.open).await?;
    if taken.len() == net.open.len() {
        return Ok(());
    }
    // Rare: something is open there. It gives way, and what is new is written again.
    let mut rest = net.open;
    rest.retain(|place, _| !taken.contains(place));
    close(conn, &rest.keys().cloned().collect::<Vec<_>>()).await?;
    let taken = insert(conn, &rest).await?;
    if taken.len() < rest.len() {
        return Err(sqlx::Error::Protocol("a task was opened by a transaction that didn't lock its aggregate".to_owned()));
    }
    Ok(())
}

fn net(ops: Vec<Op>) -> Net {
    let mut net = Net::default();
    for op in ops {
        match op {
            Op::Open { kind, name, key, cause, due, target, effect, correlation, traceparent } => {
                let opening = Opening { kind, cause, due, target, effect, correlation, traceparent };
                net.open.insert((name, key), opening);
            }
            Op::Close { name, key } => {
                let place = (name, key);
                net.open.remove(&place);
                net.close.push(place);
            }
        }
    }
    net.close.sort_unstable();
    net.close.dedup();
    net
}

async fn insert(conn: &mut PgConnection, open: &BTreeMap<Place, Opening>) -> Result<Vec<Place>, sqlx::Error> {
    fn column<'a, T>(open: &'a BTreeMap<Place, Opening>, of: impl Fn(&'a Place, &'a Opening) -> T) -> Vec<T> {
        open.iter().map(|(place, opening)| of(place, opening)).collect()
    }
    let rows = sqlx::query(
        r#"insert into farandole.tasks (kind, name, key, cause, due, target, effect, correlation, traceparent)
           select kind, name, key, cause, 'epoch'::timestamptz + micros * interval '1 microsecond',
                  target, effect, correlation, traceparent
           from unnest($1::text[], $2::text[], $3::text[], $4::uuid[], $5::bigint[], $6::text[], $7::jsonb[], $8::uuid[],
                       $9::text[]) with ordinality as t(kind, name, key, cause, micros, target, effect, correlation, traceparent, ord)
           order by ord
           on conflict (name, key) where not closed do nothing
           returning name, key"#,
    )
    .bind(column(open, |_, o| o.kind.as_str()))
    .bind(column(open, |p, _| p.0.as_str()))
    .bind(column(open, |p, _| p.1.as_str()))
    .bind(column(open, |_, o| o.cause))
    .bind(column(open, |_, o| o.due.micros()))
    .bind(column(open, |_, o| o.target.as_deref()))
    .bind(column(open, |_, o| o.effect.as_ref()))
    .bind(column(open, |_, o| o.correlation))
    .bind(column(open, |_, o| o.traceparent.as_deref()))
    .fetch_all(conn)
    .await?;
    rows.iter().map(|row| Ok((row.try_get(0)?, row.try_get(1)?))).collect()
}

async fn close(conn: &mut PgConnection, places: &[Place]) -> Result<(), sqlx::Error> {
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
             cross join lateral (select 'claim/' || t.name || '/' || t.key || '/' || t.cause as scope) c
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

    fn open(name: &str, due: i64) -> Op {
        Op::Open {
            kind: Kind::Deadline,
            name: name.to_owned(),
            key: "k".to_owned(),
            cause: Uuid::nil(),
            due: Timestamp::from_micros(due),
            target: None,
            effect: None,
            correlation: Uuid::nil(),
            traceparent: None,
        }
    }

    fn close(name: &str) -> Op {
        Op::Close { name: name.to_owned(), key: "k".to_owned() }
    }

    #[test]
    fn operations_on_one_place_come_to_the_last() {
        type Left<'a> = (&'a [&'a str], &'a [(&'a str, i64)]);
        let table: [(Vec<Op>, Left<'_>); 7] = [
            (vec![], (&[], &[])),
            (vec![open("a", 1)], (&[], &[("a", 1)])),
            (vec![open("a", 1), close("a")], (&["a"], &[])),
            (vec![close("a"), open("a", 1)], (&["a"], &[("a", 1)])),
            (vec![open("a", 1), open("a", 2)], (&[], &[("a", 2)])),
            (vec![open("a", 1), close("a"), open("a", 2), close("a"), open("a", 3)], (&["a"], &[("a", 3)])),
            (vec![close("b"), open("c", 1), close("a"), close("b")], (&["a", "b"], &[("c", 1)])),
        ];
        for (ops, (closed, opened)) in table {
            let said = format!("{ops:?}");
            let net = net(ops);
            assert_eq!(net.close.iter().map(|p| p.0.as_str()).collect::<Vec<_>>(), closed, "{said}");
            let left: Vec<(&str, i64)> = net.open.iter().map(|(p, o)| (p.0.as_str(), o.due.micros())).collect();
            assert_eq!(left, opened, "{said}");
        }
    }
}
