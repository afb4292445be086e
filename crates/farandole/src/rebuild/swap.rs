//! The moment in which nobody decides: the topic is whole then, and tables change places.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use sqlx::{AssertSqlSafe, Executor as _, PgConnection};

use crate::database::{gate, session};
use crate::parking::acts::Operator;
use crate::publish::relay::log;
use crate::publish::relay::state::{Head, State};
use crate::rebuild::error::database;
use crate::rebuild::read::Mark;
use crate::rebuild::shadow::{Shadow, quoted};
use crate::rebuild::{Error, Kept, kept};

/// How long deciding transactions are waited for. Those that come later wait behind this.
const WAIT: Duration = Duration::from_secs(5);
/// How long the relay may take to publish what is left: a round takes milliseconds.
const DRAIN: Duration = Duration::from_secs(5);
/// How long who uses a live table is waited for.
const IN_USE: Duration = Duration::from_secs(3);
/// The sessions that use tables of a schema ($1) of these names ($2), but for this one.
const HOLDERS: &str = "
select coalesce(string_agg(distinct format('%s (pid %s), which uses %s', coalesce(nullif(a.application_name, ''), a.usename), a.pid, c.relname), ', '),
                'whoever it was has just ended')
from pg_locks l join pg_class c on c.oid = l.relation join pg_stat_activity a on a.pid = l.pid
where l.granted and c.relname = any($2) and c.relnamespace = to_regnamespace(quote_ident($1)) and l.pid <> pg_backend_pid()";
/// Between two looks.
const LOOK: Duration = Duration::from_millis(5);

/// How long a session that has everybody wait may be silent, in seconds: folding what is left takes less.
const SILENT: u32 = 15;

/// Sets after how many seconds of silence the server ends this session; never with 0.
fn silent(seconds: u32) -> String {
    format!(
        "set idle_in_transaction_session_timeout = '{seconds}s';
         select set_config(name, '{seconds}s', false) from pg_settings where name = 'idle_session_timeout'"
    )
}

/// The lock that every deciding transaction shares, held alone.
pub(super) struct Alone {
    since: Instant,
}

impl Alone {
    /// Waits for those who decide, and has the others wait.
    pub async fn take(conn: &mut PgConnection, service: &'static str) -> Result<Self, Error> {
        let doing = database("waiting for deciding transactions to finish");
        let since = Instant::now();
        conn.execute(AssertSqlSafe(format!("set lock_timeout = '{}s'", WAIT.as_secs()))).await.map_err(&doing)?;
        let locked = gate::alone(conn).await.map_err(&doing)?;
        // Who is stopped (Ctrl-Z) while it has everybody wait is sent away by the server: its session ends, and the lock with it.
        conn.execute(AssertSqlSafe(format!("set lock_timeout = '10s'; {}", silent(SILENT)))).await.map_err(&doing)?;
        locked.map(|()| Self { since }).map_err(|holders| Error::Busy { service, holders, seconds: WAIT.as_secs() })
    }

    /// Lets them go on. Gives how long they had to wait, in milliseconds.
    pub async fn give(self, conn: &mut PgConnection) -> Result<f64, Error> {
        let doing = database("letting the service go on");
        gate::release(conn).await.map_err(&doing)?;
        conn.execute(AssertSqlSafe(silent(0))).await.map_err(&doing)?;
        Ok(self.since.elapsed().as_secs_f64() * 1e3)
    }
}

/// Waits until the relay has published all events that the outbox holds. What waits there for the journal is no event.
pub(super) async fn drained(conn: &mut PgConnection, service: &'static str, topic: &str) -> Result<(), Error> {
    let began = Instant::now();
    loop {
        let look = log::look(conn).await?;
        let sql =
            "select count(*) from farandole.outbox o where not pg_visible_in_snapshot(o.xid, $1::pg_snapshot) and o.topic = $2";
        let rows: i64 = sqlx::query_scalar(sql)
            .bind(&look.state.acked.0)
            .bind(topic)
            .fetch_one(&mut *conn)
            .await
            .map_err(database("counting events that aren't published"))?;
        if rows == 0 && look.state.in_flight.is_none() {
            return Ok(());
        }
        if began.elapsed() > DRAIN {
            return Err(Error::Unpublished { service, rows });
        }
        tokio::time::sleep(LOOK).await;
    }
}

/// Where the relay published last: in each partition of `topic`, or in `one`.
fn published<'a>(state: &'a State, topic: &str, one: Option<i32>) -> impl Iterator<Item = (i32, Head)> + 'a {
    let heads = state.heads.get(topic).into_iter().flatten().map(|(partition, head)| (*partition, *head));
    heads.filter(move |(partition, _)| one.is_none_or(|one| one == *partition))
}

/// Whether what was folded goes as far as the relay had published by `state`, at least: what a topic has lost at its end no chain shows.
pub(super) fn reached(
    state: &State,
    service: &'static str,
    topic: &str,
    (marks, one): (&BTreeMap<i32, Mark>, Option<i32>),
) -> Result<(), Error> {
    for (partition, published) in published(state, topic, one) {
        let (found, published) = (marks.get(&partition).map_or(0, |mark| mark.head.number), published.number);
        if found < published {
            return Err(Error::Incomplete { service, topic: topic.to_owned(), partition, found, published });
        }
    }
    Ok(())
}

/// Whether what was folded ends where the relay says that it has published to.
pub(super) async fn complete(
    conn: &mut PgConnection,
    service: &'static str,
    topic: &str,
    (marks, one): (&BTreeMap<i32, Mark>, Option<i32>),
) -> Result<(), Error> {
    let state = log::look(conn).await?.state;
    reached(&state, service, topic, (marks, one))?;
    for (partition, published) in published(&state, topic, one) {
        let end = marks.get(&partition).map(|mark| mark.head);
        if end.is_some_and(|end| end.number > published.number) {
            return Err(Error::Behind { service, topic: topic.to_owned(), partition });
        }
        if end.is_none_or(|end| end.id != published.id) {
            let (found, published) = (end.map_or(0, |end| end.number), published.number);
            return Err(Error::Incomplete { service, topic: topic.to_owned(), partition, found, published });
        }
    }
    Ok(())
}

/// Puts the rebuilt tables in the live ones' place, in one transaction. Those before are kept, and of sets that were kept before as many as
/// `keep` leaves. Gives the schema that they are in, and the sets that are kept.
pub(super) async fn swap(
    conn: &mut PgConnection,
    shadow: &Shadow,
    keep: usize,
    told: Option<Operator<'_>>,
    differences: Option<i64>,
) -> Result<(String, Vec<Kept>), Error> {
    let doing = database("putting the rebuilt tables in the live ones' place");
    let mut tx = session::begin(conn).await.map_err(&doing)?;
    shadow.replaces(&mut tx).await?;
    if let Some(operator) = told {
        // Before it is noted how far the outbox has come: by that a rollback knows whether something was decided since.
        let outcome = match differences {
            None => "replaced, not compared".to_owned(),
            Some(0) => "replaced; no row differed".to_owned(),
            Some(rows) => format!("replaced; {rows} row(s) differed"),
        };
        operator.did(&mut tx, "rebuild", format!("tables in schema {}", shadow.live), outcome).await.map_err(Error::Journal)?;
    }
    let replaced = kept::new(&mut tx).await?;
    shadow.arm(&mut tx).await?;
    let (schema, live) = (&shadow.schema, quoted(&shadow.live));
    let mut sql = String::new();
    for (table, ..) in &shadow.tables {
        let table = quoted(table);
        sql += &format!("alter table {live}.{table} set schema {replaced}; alter table {schema}.{table} set schema {live};");
    }
    // What they were folded by is noted at the next start: by the build that did it, or one that folds as it does.
    sql += &format!("delete from farandole.steps where scope = 'fold'; drop schema {schema} cascade");
    // Deciders wait meanwhile: somebody who reads a live table for long is named rather than waited for.
    tx.execute(AssertSqlSafe(format!("set local lock_timeout = '{}s'", IN_USE.as_secs()))).await.map_err(&doing)?;
    if let Err(error) = tx.execute(AssertSqlSafe(sql)).await {
        if error.as_database_error().is_none_or(|e| e.code().as_deref() != Some("55P03")) {
            return Err(doing(error));
        }
        let names: Vec<&str> = shadow.tables.iter().map(|(table, ..)| *table).collect();
        tx.rollback().await.map_err(&doing)?;
        let holders = sqlx::query_scalar(HOLDERS).bind(&shadow.live).bind(names).fetch_one(conn).await.map_err(&doing)?;
        return Err(Error::InUse { holders });
    }
    let kept = kept::trim(&mut tx, keep).await?;
    tx.commit().await.map_err(doing)?;
    Ok((replaced, kept))
}
