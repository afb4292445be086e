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
/// Between two looks.
const LOOK: Duration = Duration::from_millis(5);

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
        conn.execute("set lock_timeout = '10s'").await.map_err(&doing)?;
        locked.map(|()| Self { since }).map_err(|holders| Error::Busy { service, holders, seconds: WAIT.as_secs() })
    }

    /// Lets them go on. Gives how long they had to wait, in milliseconds.
    pub async fn give(self, conn: &mut PgConnection) -> Result<f64, Error> {
        gate::release(conn).await.map_err(database("letting the service go on"))?;
        Ok(self.since.elapsed().as_secs_f64() * 1e3)
    }
}

/// Waits until the relay has published all that the outbox holds.
pub(super) async fn drained(conn: &mut PgConnection, service: &'static str) -> Result<(), Error> {
    let began = Instant::now();
    loop {
        let look = log::look(conn).await?;
        let sql = "select count(*) from farandole.outbox o where not pg_visible_in_snapshot(o.xid, $1::pg_snapshot)";
        let rows: i64 = sqlx::query_scalar(sql)
            .bind(&look.state.acked.0)
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
    tx.execute(AssertSqlSafe(sql)).await.map_err(&doing)?;
    let kept = kept::trim(&mut tx, keep).await?;
    tx.commit().await.map_err(doing)?;
    Ok((replaced, kept))
}
