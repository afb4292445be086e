//! Sets of tables beside the live ones: those that were replaced, and what rebuilds have left.

use std::fmt;

use serde::Serialize;
use sqlx::{AssertSqlSafe, Executor as _, PgConnection};

use crate::database::session;
use crate::rebuild::error::database;
use crate::rebuild::shadow::{SHADOW, UNTIL, quoted};
use crate::rebuild::{Error, attached};

/// What the schemas of tables that were replaced begin with; then the time.
const REPLACED: &str = "farandole_replaced_";

/// A schema beside the live tables.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Kept {
    /// Its name.
    pub schema: String,
    /// Its tables.
    pub tables: Vec<String>,
    /// Bytes on disk.
    pub bytes: i64,
}

impl Kept {
    /// Whether it is a set that was replaced, and can be had back.
    pub fn is_replaced(&self) -> bool {
        self.schema.starts_with(REPLACED)
    }
}

impl fmt::Display for Kept {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { schema, tables, bytes } = self;
        write!(f, "{schema}: {} table(s), {:.1} MB", tables.len(), *bytes as f64 / 1e6)
    }
}

/// Schemas beside the live tables.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Cleaned {
    /// Which, the oldest first.
    pub schemas: Vec<Kept>,
    /// Whether they were dropped.
    pub dropped: bool,
}

impl fmt::Display for Cleaned {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.schemas.iter().try_for_each(|kept| writeln!(f, "{kept}"))?;
        match (self.schemas.is_empty(), self.dropped) {
            (true, _) => writeln!(f, "nothing to drop"),
            (false, true) => writeln!(f, "dropped"),
            (false, false) => writeln!(f, "nothing was dropped; to do it, add --execute"),
        }
    }
}

/// Makes the schema for a set that is replaced now, with what it takes to know later whether something was written since.
pub(super) async fn new(conn: &mut PgConnection) -> Result<String, Error> {
    let doing = database("creating the schema of the replaced tables");
    let sql = format!("select '{REPLACED}' || to_char(clock_timestamp() at time zone 'UTC', 'YYYYMMDD_HH24MISS_US')");
    let schema: String = sqlx::query_scalar(AssertSqlSafe(sql)).fetch_one(&mut *conn).await.map_err(&doing)?;
    let sql = format!(
        "create schema {schema}; create table {schema}.farandole_swapped as select {APPENDED} as appended, {FOLD} as fold, {RELAY} as relay"
    );
    conn.execute(AssertSqlSafe(sql)).await.map_err(doing)?;
    Ok(schema)
}

/// How many rows the outbox ever had: who decides something appends.
const APPENDED: &str = "coalesce(pg_sequence_last_value(pg_get_serial_sequence('farandole.outbox', 'seq')::regclass), 0)";

/// What the relay knows: a heal puts events into tables that are in no outbox, under a new lineage.
const RELAY: &str = "(select state from farandole.steps where scope = 'relay' order by step desc limit 1)";

/// What the fold that wrote the live tables made of the topic's first events.
const FOLD: &str = "(select state from farandole.steps where scope = 'fold' order by step desc limit 1)";

/// Drops the oldest sets until `keep` are left, and gives those.
pub(super) async fn trim(conn: &mut PgConnection, keep: usize) -> Result<Vec<Kept>, Error> {
    let mut sets: Vec<Kept> = all(conn).await?.into_iter().filter(Kept::is_replaced).collect();
    let left = sets.split_off(sets.len().saturating_sub(keep));
    drop_all(conn, &sets).await?;
    Ok(left)
}

async fn drop_all(conn: &mut PgConnection, schemas: &[Kept]) -> Result<(), Error> {
    for Kept { schema, tables, .. } in schemas {
        attached::refuse(conn, schema, &tables.iter().map(String::as_str).collect::<Vec<_>>()).await?;
        let sql = format!("drop schema {} cascade", quoted(schema));
        conn.execute(AssertSqlSafe(sql)).await.map_err(database("dropping tables"))?;
    }
    Ok(())
}

/// All schemas beside the live tables, the oldest first.
pub(super) async fn all(conn: &mut PgConnection) -> Result<Vec<Kept>, Error> {
    let sql = "select n.nspname::text, coalesce(array_agg(c.relname::text order by c.relname) filter (where c.relname not like 'farandole%'), '{}'),
                      coalesce(sum(pg_total_relation_size(c.oid)), 0)::bigint
               from pg_namespace n left join pg_class c on c.relnamespace = n.oid and c.relkind in ('r', 'p')
               where n.nspname = $1 or starts_with(n.nspname, $2) or starts_with(n.nspname, $3)
               group by n.nspname order by n.nspname";
    let found: Vec<(String, Vec<String>, i64)> = sqlx::query_as(sql)
        .bind(SHADOW)
        .bind(UNTIL)
        .bind(REPLACED)
        .fetch_all(conn)
        .await
        .map_err(database("looking for tables beside the live ones"))?;
    Ok(found.into_iter().map(|(schema, tables, bytes)| Kept { schema, tables, bytes }).collect())
}

/// Drops everything beside the live tables.
pub(super) async fn clean(conn: &mut PgConnection, execute: bool) -> Result<Cleaned, Error> {
    let doing = database("dropping tables");
    let mut tx = session::begin(conn).await.map_err(&doing)?;
    let schemas = all(&mut tx).await?;
    if execute {
        drop_all(&mut tx, &schemas).await?;
    }
    tx.commit().await.map_err(doing)?;
    Ok(Cleaned { schemas, dropped: execute })
}

/// What a rollback did.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct RolledBack {
    /// Whose tables.
    pub service: String,
    /// The set that is live again, or would be.
    pub schema: String,
    /// Events that were decided since it was replaced: its rows know nothing of them.
    pub written: i64,
    /// Where the tables are that were live until then, once it was done: a second rollback takes this one back.
    pub kept: Option<String>,
    /// Whether it was done.
    pub done: bool,
}

impl fmt::Display for RolledBack {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { service, schema, written, kept, done } = self;
        writeln!(f, "{schema}: {written} event(s) were decided since it was replaced")?;
        match (done, written) {
            (true, written) => {
                writeln!(f, "it is live again; the tables before are in schema {}", kept.as_deref().unwrap_or("-"))?;
                if *written > 0 {
                    writeln!(
                        f,
                        "the live tables lack what these events made of them: `{service} rebuild --execute` brings that back"
                    )?;
                }
                Ok(())
            }
            (false, 0) => writeln!(f, "nothing was changed; to do it, add --execute"),
            (false, _) => writeln!(
                f,
                "nothing was changed: rebuild instead, or repeat with --execute --lose, and the tables lack what these events made of them"
            ),
        }
    }
}

/// Puts the set that was replaced last back. Nobody decides meanwhile.
pub(super) async fn rollback(
    conn: &mut PgConnection,
    (service, topic): (&'static str, &str),
    live: &str,
    tables: &[&str],
    execute: bool,
    lose: bool,
) -> Result<RolledBack, Error> {
    let doing = database("putting the replaced tables back");
    let mut tx = session::begin(conn).await.map_err(&doing)?;
    let last = all(&mut tx).await?.into_iter().rfind(Kept::is_replaced);
    let Some(Kept { schema, tables: kept, .. }) = last else { return Err(Error::NothingReplaced { service }) };
    // Events of the service's own topic alone: the journal is told of where it reads while nothing is decided. Of rows that are gone it isn't
    // known any more, so each counts.
    let sql = format!(
        "select greatest((select count(*) from farandole.outbox where seq > appended and topic = $1)
              + greatest(least(coalesce((select min(seq) from farandole.outbox) - 1, {APPENDED}), {APPENDED}) - appended, 0),
              case when r.now->>'lineage' <> s.relay->>'lineage' then greatest((r.now->>'next')::bigint - (s.relay->>'next')::bigint, 1) end)
         from {schema}.farandole_swapped s, (select {RELAY} as now) r"
    );
    let written: i64 = sqlx::query_scalar(AssertSqlSafe(sql)).bind(topic).fetch_one(&mut *tx).await.map_err(&doing)?;
    if let Some(table) = tables.iter().find(|table| !kept.iter().any(|kept| kept == *table)) {
        return Err(Error::NotKept { schema, table: (*table).to_owned() });
    }
    let mut kept_now = None;
    if execute {
        if written > 0 && !lose {
            return Err(Error::WrittenSince { service, written });
        }
        attached::refuse(&mut tx, live, tables).await?;
        let now = attached::definition(&mut tx, live, &schema, tables).await?;
        if now != attached::definition(&mut tx, &schema, live, tables).await? {
            return Err(Error::ChangedSince { schema });
        }
        // What was live is kept in its turn: also this can be taken back.
        let now = new(&mut tx).await?;
        let mut sql = String::new();
        for table in tables {
            let (table, live) = (quoted(table), quoted(live));
            sql += &format!("alter table {live}.{table} set schema {now}; alter table {schema}.{table} set schema {live};");
        }
        kept_now = Some(now);
        // The tables are those of the fold that wrote them.
        sql += &format!(
            "delete from farandole.steps where scope = 'fold';
             insert into farandole.steps (scope, step, state) select 'fold', 1, fold from {schema}.farandole_swapped where fold is not null;
             drop schema {schema} cascade"
        );
        tx.execute(AssertSqlSafe(sql)).await.map_err(&doing)?;
    }
    tx.commit().await.map_err(doing)?;
    Ok(RolledBack { service: service.to_owned(), schema, written, kept: kept_now, done: execute })
}
