//! The step log: state that changes with every batch; append-only.
//!
//! A scope's steps are numbered from 1 without a gap. Whoever wants to go on from step *n* inserts step *n + 1*; the primary
//! key gives it to one of them. The other is **fenced**: it finds out inside its own transaction, before anything that it
//! wrote there can commit. A log stays flat where a row updated in place slows down by nine tenths within a minute, as soon
//! as some foreign transaction keeps the dead versions from being cleaned up.
//!
//! What it rests on, and what would happen without:
//! - **The primary key.** While a take-over's step is not yet committed, a zombie still reads its own step as the newest.
//!   Its insert waits for the take-over and then finds the number taken. (If the take-over rolls back, the zombie was none.)
//! - **`max(step)` is what was expected.** Once old steps have been trimmed, the number after a zombie's step may be free
//!   again. The key alone would let it back in; the comparison doesn't.
//! - **The newest step is never trimmed**, or an idle scope would look as if it had never begun.
//! - **A step is trimmed only when no session of ours can still have a snapshot from before it.** A statement that took
//!   its snapshot before step *n + 1* and was paused before its insert has made the comparison already; if *n + 1* was taken
//!   and trimmed meanwhile, nothing would stop it. Waiting costs nothing: what an old snapshot may see can't be vacuumed.
//!
//! **Invariant:** a caller that gets an error must not commit. Transactions are READ COMMITTED; under a stricter level a lost
//! race is reported as fenced, too.

use std::borrow::Cow;

use serde::Serialize;
use serde::de::DeserializeOwned;
use sqlx::{PgConnection, Row};

/// Steps that one [`trim`] looks at: a few milliseconds' work, however many wait for an old snapshot to go.
pub const MOST: i64 = 10_000;

/// Why a step wasn't taken or read.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// Somebody else took the step: whoever sees this is no longer the owner. Roll back, read the newest step, start again.
    #[error("the step after {expected:?} of {scope} is already taken: another owner has replaced this one")]
    Fenced {
        /// Whose log.
        scope: String,
        /// The step that was thought to be the newest.
        expected: Option<i64>,
    },
    /// The state can't be written or read as JSON.
    #[error("state of {scope}")]
    State {
        /// Whose log.
        scope: String,
        /// What is wrong with it.
        #[source]
        source: serde_json::Error,
    },
    /// The database's.
    #[error("step log of {scope}")]
    Database {
        /// Whose log.
        scope: String,
        /// What it said.
        #[source]
        source: sqlx::Error,
    },
}

impl Error {
    /// Whether another owner went on.
    pub fn is_fenced(&self) -> bool {
        matches!(self, Self::Fenced { .. })
    }
}

/// One append of [`append_many`].
#[derive(Debug, Clone)]
pub struct Append<'a, T> {
    /// Whose log.
    pub scope: &'a str,
    /// The newest step as the caller knows it; none when the scope hasn't begun.
    pub expected: Option<i64>,
    /// What to remember.
    pub state: &'a T,
}

/// `name` as one part of a scope: `/` ends a part, so that two scopes are one only if all their parts are.
pub fn part(name: &str) -> Cow<'_, str> {
    if name.contains(['%', '/']) { Cow::Owned(name.replace('%', "%25").replace('/', "%2F")) } else { Cow::Borrowed(name) }
}

/// Takes the step after `expected` and returns its number.
///
/// # Errors
/// [`Error::Fenced`] when `expected` isn't the newest step.
pub async fn append(conn: &mut PgConnection, scope: &str, expected: Option<i64>, state: &impl Serialize) -> Result<i64, Error> {
    Ok(append_at(conn, scope, expected, state).await?.0)
}

/// [`append`], with when the step was taken: microseconds since 1970 on the database's clock.
pub async fn append_at(
    conn: &mut PgConnection,
    scope: &str,
    expected: Option<i64>,
    state: &impl Serialize,
) -> Result<(i64, i64), Error> {
    let state = json(scope, state)?;
    // `do nothing` waits for whoever is taking the same number, as the unique violation would, but spares the transaction.
    sqlx::query_as(
        "insert into farandole.steps (scope, step, state)
         select $1, coalesce($2, 0) + 1, $3::jsonb
         where (select max(step) from farandole.steps where scope = $1) is not distinct from $2
         on conflict do nothing returning step, (extract(epoch from taken_at) * 1000000)::bigint",
    )
    .bind(scope)
    .bind(expected)
    .bind(state)
    .fetch_optional(conn)
    .await
    .map_err(|source| database(scope, expected, source))?
    .ok_or_else(|| Error::Fenced { scope: scope.to_owned(), expected })
}

/// Takes one step in each of several scopes, all or none, in one statement. Each scope appears once.
///
/// # Errors
/// [`Error::Fenced`] names one scope whose step was taken. The caller rolls back: the steps of the others are in its
/// transaction.
pub async fn append_many<T: Serialize>(conn: &mut PgConnection, appends: &[Append<'_, T>]) -> Result<(), Error> {
    if appends.is_empty() {
        return Ok(());
    }
    let first = appends.iter().map(|a| a.scope).min().unwrap_or_default();
    let states = appends.iter().map(|a| json(a.scope, a.state)).collect::<Result<Vec<_>, _>>()?;
    // Sorted by scope, so that two owners with overlapping scopes can't deadlock.
    let taken: Vec<String> = sqlx::query_scalar(
        r#"insert into farandole.steps (scope, step, state)
           select a.scope, coalesce(a.expected, 0) + 1, a.state::jsonb
           from unnest($1::text[], $2::bigint[], $3::text[]) as a(scope, expected, state)
           where (select max(s.step) from farandole.steps s where s.scope = a.scope collate "C") is not distinct from a.expected
           order by a.scope collate "C"
           on conflict do nothing returning scope"#,
    )
    .bind(appends.iter().map(|a| a.scope).collect::<Vec<_>>())
    .bind(appends.iter().map(|a| a.expected).collect::<Vec<_>>())
    .bind(states)
    .fetch_all(conn)
    .await
    .map_err(|source| database(first, None, source))?;
    if taken.len() == appends.len() {
        return Ok(());
    }
    let lost = appends.iter().find(|a| !taken.iter().any(|scope| scope == a.scope)).unwrap_or(&appends[0]);
    Err(Error::Fenced { scope: lost.scope.to_owned(), expected: lost.expected })
}

/// The newest step of `scope` and its state; none when the scope hasn't begun.
///
/// # Errors
/// [`Error::State`] when the state isn't a `T`.
pub async fn latest<T: DeserializeOwned>(conn: &mut PgConnection, scope: &str) -> Result<Option<(i64, T)>, Error> {
    Ok(latest_at(conn, scope).await?.map(|((step, _), state)| (step, state)))
}

/// [`latest`], with when the step was taken: microseconds since 1970 on the database's clock.
pub async fn latest_at<T: DeserializeOwned>(conn: &mut PgConnection, scope: &str) -> Result<Option<((i64, i64), T)>, Error> {
    let row = sqlx::query(
        "select step, (extract(epoch from taken_at) * 1000000)::bigint, state::text
         from farandole.steps where scope = $1 order by step desc limit 1",
    )
    .bind(scope)
    .fetch_optional(conn)
    .await
    .map_err(|source| database(scope, None, source))?;
    let Some(row) = row else { return Ok(None) };
    let read = |source| database(scope, None, source);
    let at = (row.try_get(0).map_err(read)?, row.try_get(1).map_err(read)?);
    let text: &str = row.try_get(2).map_err(read)?;
    let state = serde_json::from_str(text).map_err(|source| Error::State { scope: scope.to_owned(), source })?;
    Ok(Some((at, state)))
}

/// Of scope `$1`, from step `$2` on, never the newest `$3`, `$4` at most.
pub const TRIM: &str = "
with old as materialized (
select step, age(xmin) > coalesce((select max(age(backend_xmin)) from pg_stat_activity
                                   where datname = current_database() and pid <> pg_backend_pid()
                                     and backend_type is distinct from 'autovacuum worker'), 0) as free
from farandole.steps
where scope = $1 and step >= $2 and step <= (select max(step) from farandole.steps where scope = $1) - $3
order by step limit $4),
         gone as (delete from farandole.steps where scope = $1 and step = any (array(select step from old where free)))
         select coalesce(min(step) filter (where not free), max(step) + 1, $2) from old";

/// Removes steps of `scope`, oldest first, from step `first` on and [`MOST`] at most; never the newest `keep`, nor the newest of
/// all, nor those that a session of this role may still be about to collide with. Returns the first that is left: the next
/// call begins there, for what has been removed can't be skipped cheaply while some transaction keeps it from being cleaned up.
///
/// # Errors
/// The database's.
pub async fn trim(conn: &mut PgConnection, scope: &str, first: i64, keep: u32) -> Result<i64, Error> {
    // A paused append's snapshot is as old as `backend_xmin` at least, and it doesn't see a step written after that. Sessions
    // of other roles are shown without `backend_xmin`; they can't append here, so they don't count, and nor do the server's own.
    sqlx::query_scalar(TRIM)
        .bind(scope)
        .bind(first)
        .bind(i64::from(keep.max(1)))
        .bind(MOST)
        .fetch_one(conn)
        .await
        .map_err(|source| database(scope, None, source))
}

fn json(scope: &str, state: &impl Serialize) -> Result<String, Error> {
    serde_json::to_string(state).map_err(|source| Error::State { scope: scope.to_owned(), source })
}

fn database(scope: &str, expected: Option<i64>, source: sqlx::Error) -> Error {
    let code = source.as_database_error().and_then(|e| e.code());
    match code.as_deref() {
        // unique_violation, serialization_failure
        Some("23505" | "40001") => Error::Fenced { scope: scope.to_owned(), expected },
        _ => Error::Database { scope: scope.to_owned(), source },
    }
}
