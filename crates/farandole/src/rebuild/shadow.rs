//! The schema in which tables are rebuilt: made like the live ones, filled, and finished.
//!
//! Which indexes and constraints there are is asked of PostgreSQL, which says how to make each. Only what makes keys unique is there while
//! rows are written.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use sqlx::{AssertSqlSafe, Executor as _, PgConnection, Row as _};

use crate::database::{locks, session};
use crate::rebuild::error::database;
use crate::rebuild::read::Mark;
use crate::rebuild::{Error, attached};

/// The schema of tables that are to be swapped in.
pub(super) const SHADOW: &str = "farandole_rebuild";
/// And what those begin with that show the past.
pub(super) const UNTIL: &str = "farandole_until_";

/// Name, columns, and how many of these are the key.
pub(super) type Declared = (&'static str, &'static [&'static str], usize);

/// What is made of a table, and when.
#[derive(Debug, Clone, Copy)]
enum Makes {
    /// What makes its key unique: before any row.
    Key,
    /// Further indexes, and rights: when the rows are there.
    Indexes,
    /// Constraints on values, and triggers: with the swap. Until then rows may be sums of a part of the events.
    Checks,
}

/// The schema.
#[derive(Debug)]
pub(super) struct Shadow {
    pub schema: String,
    /// Where the live tables are.
    pub live: String,
    pub tables: Vec<Declared>,
    /// Somebody had begun.
    pub resumed: bool,
    /// How far each partition was folded.
    pub marks: BTreeMap<i32, Mark>,
    is_finished: bool,
    /// How the live tables were made when it was begun.
    made: String,
}

/// What a schema is for: another topic's, another build's, or one that was begun before the live tables were changed, is made anew.
#[derive(Debug, PartialEq, Eq, Serialize, Deserialize)]
struct About {
    service: String,
    topic: String,
    until: Option<i64>,
    columns: Vec<String>,
    /// How the live tables are made, and which program folds.
    #[serde(default)]
    made: String,
    #[serde(default)]
    build: String,
}

impl Shadow {
    /// Opens the schema, or makes it; from here on this session finds tables there. One rebuild at a time works on it.
    pub async fn open(
        conn: &mut PgConnection,
        service: &'static str,
        topic: &str,
        tables: Vec<Declared>,
        until: Option<i64>,
    ) -> Result<Self, Error> {
        if tables.is_empty() {
            return Err(Error::NoTables { service });
        }
        let doing = database("looking at the tables");
        let live = live(conn).await?;
        for (table, ..) in &tables {
            let sql = "select n.nspname::text from pg_class c join pg_namespace n on n.oid = c.relnamespace where c.oid = to_regclass($1)";
            let found: Option<String> = sqlx::query_scalar(sql).bind(table).fetch_optional(&mut *conn).await.map_err(&doing)?;
            let why = match found {
                _ if table.contains('.') => {
                    "is declared with a schema in `tables!`; leave the schema to `search_path`".to_owned()
                }
                None => format!("isn't there: run `{service} migrate`"),
                Some(found) if found != live => {
                    format!("is in schema {found}, and new tables come into {live}: set `search_path` to {found}")
                }
                Some(_) => continue,
            };
            return Err(Error::Table { table, why });
        }
        let schema = until.map_or_else(|| SHADOW.to_owned(), |until| format!("{UNTIL}{until}"));
        alone(conn, service, &schema).await?;
        let columns = tables.iter().map(|(table, columns, key)| format!("{table}({}) {key}", columns.join(","))).collect();
        let names: Vec<&str> = tables.iter().map(|(table, ..)| *table).collect();
        let made = attached::definition(conn, &live, &live, &names).await?;
        let (service, topic, build) = (service.to_owned(), topic.to_owned(), attached::build());
        let about = About { service, topic, until, columns, made: made.clone(), build };
        let mut shadow = Self { schema, live, tables, resumed: false, marks: BTreeMap::new(), is_finished: false, made };
        if !shadow.resume(conn, &about).await? {
            shadow.make(conn, &about).await?;
        }
        shadow.enter(conn).await?;
        Ok(shadow)
    }

    /// Whether an earlier run's schema is there, and is of the same.
    async fn resume(&mut self, conn: &mut PgConnection, about: &About) -> Result<bool, Error> {
        let doing = database("looking for an earlier rebuild");
        let progress = format!("{}.farandole_progress", self.schema);
        let there: bool = sqlx::query_scalar("select to_regclass($1) is not null")
            .bind(&progress)
            .fetch_one(&mut *conn)
            .await
            .map_err(&doing)?;
        if !there {
            return Ok(false);
        }
        let sql = format!("select about, marks, finished from {progress}");
        let row = sqlx::query(AssertSqlSafe(sql)).fetch_optional(&mut *conn).await.map_err(&doing)?;
        let Some(row) = row else { return Ok(false) };
        let decode = || -> sqlx::Result<(About, BTreeMap<i32, Mark>, bool)> {
            let json = |i: usize| row.try_get::<serde_json::Value, _>(i);
            let about = serde_json::from_value(json(0)?).map_err(sqlx::Error::decode)?;
            Ok((about, serde_json::from_value(json(1)?).map_err(sqlx::Error::decode)?, row.try_get(2)?))
        };
        let (found, marks, finished) = decode().map_err(&doing)?;
        // What isn't there any more would be looked for in the live schema, which comes next.
        let names: Vec<&str> = self.tables.iter().map(|(table, ..)| *table).collect();
        let whole = "select bool_and(to_regclass(format('%I.%I', $1::text, t)) is not null) from unnest($2::text[]) t";
        let whole: bool = sqlx::query_scalar(whole).bind(&self.schema).bind(names).fetch_one(conn).await.map_err(&doing)?;
        if found != *about || !whole {
            return Ok(false);
        }
        (self.resumed, self.marks, self.is_finished) = (true, marks, finished);
        Ok(true)
    }

    async fn make(&self, conn: &mut PgConnection, about: &About) -> Result<(), Error> {
        let doing = database("creating the tables to rebuild");
        let mut tx = session::begin(conn).await.map_err(&doing)?;
        let (schema, live) = (&self.schema, quoted(&self.live));
        let mut sql = format!(
            "drop schema if exists {schema} cascade; create schema {schema};
             create table {schema}.farandole_progress (about jsonb not null, marks jsonb not null, finished bool not null);"
        );
        for (table, ..) in &self.tables {
            let table = quoted(table);
            sql += &format!(
                "create table {schema}.{table} (like {live}.{table} including defaults including generated including identity
                     including storage including compression including comments);"
            );
        }
        tx.execute(AssertSqlSafe(sql)).await.map_err(&doing)?;
        for (table, columns, key) in &self.tables {
            let key = &columns[..*key];
            let Some(make) = self.statements(&mut tx, table, key, Makes::Key).await?.into_iter().next() else {
                let why = format!("has no primary key or unique index on ({}), its key in `tables!`", key.join(", "));
                return Err(Error::Table { table, why });
            };
            tx.execute(AssertSqlSafe(make)).await.map_err(&doing)?;
        }
        let sql = format!("insert into {schema}.farandole_progress values ($1, '{{}}', false)");
        sqlx::query(AssertSqlSafe(sql)).bind(serde_json::json!(about)).execute(&mut *tx).await.map_err(&doing)?;
        tx.commit().await.map_err(doing)
    }

    /// Refuses to take the live tables' place if something belongs to those that can't come along, or if they were changed since this was begun.
    pub async fn replaces(&self, conn: &mut PgConnection) -> Result<(), Error> {
        let names: Vec<&str> = self.tables.iter().map(|(table, ..)| *table).collect();
        attached::refuse(conn, &self.live, &names).await?;
        match attached::definition(conn, &self.live, &self.live, &names).await? {
            made if made == self.made => Ok(()),
            _ => Err(Error::Migrated),
        }
    }

    /// Adds what isn't made before the swap: constraints on values, not looked at yet, and triggers.
    pub async fn arm(&self, conn: &mut PgConnection) -> Result<(), Error> {
        for (table, ..) in &self.tables {
            for make in self.statements(conn, table, &[], Makes::Checks).await? {
                conn.execute(AssertSqlSafe(make)).await.map_err(database("creating constraints and triggers"))?;
            }
        }
        Ok(())
    }

    /// Has PostgreSQL look at the rows of constraints that were added after them. The tables are live, and everybody works meanwhile.
    pub async fn validate(&self, conn: &mut PgConnection) -> Result<(), Error> {
        let doing = database("validating constraints of the rebuilt tables");
        for (table, ..) in &self.tables {
            let sql = "select format('alter table %I.%I validate constraint %I', $1::text, $2::text, conname) from pg_constraint
                       where conrelid = to_regclass(format('%I.%I', $1::text, $2::text)) and not convalidated";
            let makes: Vec<String> =
                sqlx::query_scalar(sql).bind(&self.live).bind(table).fetch_all(&mut *conn).await.map_err(&doing)?;
            for make in makes {
                conn.execute(AssertSqlSafe(make)).await.map_err(&doing)?;
            }
        }
        Ok(())
    }

    /// How to make some of what the live table has beside its columns; `key` are those of the key.
    async fn statements(&self, conn: &mut PgConnection, table: &str, key: &[&str], which: Makes) -> Result<Vec<String>, Error> {
        sqlx::query_scalar(
            "with t as (select to_regclass(format('%I.%I', $1::text, $3::text)) as live),
             made as (
               select case when c.contype in ('c', 'f') then 5 else 1 end as place, c.conname::text as name, format('alter table %I.%I add constraint %I %s', $2::text, $3::text, c.conname,
                        replace(pg_get_constraintdef(c.oid), format('REFERENCES %I.', $1::text), format('REFERENCES %I.', $2::text))) as statement,
                      c.contype in ('p', 'u') and (select array_agg(a.attname::text order by a.attname::text) from pg_attribute a
                        where a.attrelid = c.conrelid and a.attnum = any(c.conkey)) = $4::text[] as is_key
               from pg_constraint c, t where c.conrelid = t.live and c.contype in ('p', 'u', 'c', 'x', 'f')
               union all
               select 2, i.indexrelid::regclass::text, replace(pg_get_indexdef(i.indexrelid), format(' ON %I.%I ', $1::text, $3::text), format(' ON %I.%I ', $2::text, $3::text)),
                      i.indisunique and i.indpred is null and i.indexprs is null and (select array_agg(a.attname::text order by a.attname::text) from pg_attribute a
                        where a.attrelid = i.indrelid and a.attnum = any(i.indkey)) = $4::text[]
               from pg_index i, t where i.indrelid = t.live and not exists (select from pg_constraint c where c.conindid = i.indexrelid and c.conrelid = i.indrelid)
               union all
               select 3, g.tgname::text, replace(pg_get_triggerdef(g.oid), format(' ON %I.%I ', $1::text, $3::text), format(' ON %I.%I ', $2::text, $3::text)), false
               from pg_trigger g, t where g.tgrelid = t.live and not g.tgisinternal
               union all
               select 4, p.privilege_type, format('grant %s on %I.%I to %s%s', p.privilege_type, $2::text, $3::text,
                        case when p.grantee = 0 then 'public' else quote_ident(pg_get_userbyid(p.grantee)) end, case when p.is_grantable then ' with grant option' else '' end), false
               from pg_class c, t, aclexplode(c.relacl) p where c.oid = t.live and p.grantee <> c.relowner
               union all
               select 4, 'options', format('alter table %I.%I set (%s)', $2::text, $3::text, array_to_string(c.reloptions, ', ')), false
               from pg_class c, t where c.oid = t.live and c.reloptions is not null
               union all
               select 4, a.attname::text, format('alter table %I.%I alter column %I set statistics %s', $2::text, $3::text, a.attname, a.attstattarget), false
               from pg_attribute a, t where a.attrelid = t.live and a.attnum > 0 and not a.attisdropped and a.attstattarget > 0
             )
             select case place when 5 then regexp_replace(statement, '( NOT VALID)?$', ' not valid') else statement end from made
             where case when is_key then 'Key' when place in (3, 5) then 'Checks' else 'Indexes' end = $5 order by place, name",
        )
        .bind(&self.live)
        .bind(&self.schema)
        .bind(table)
        .bind({
            let mut key = key.to_vec();
            key.sort_unstable();
            key
        })
        .bind(format!("{which:?}"))
        .fetch_all(conn)
        .await
        .map_err(database("asking for constraints and indexes"))
    }

    /// The statement that notes how far each partition was folded, if that is where it was before, and what it is given.
    pub fn note(&self) -> (String, serde_json::Value) {
        (format!("update {}.farandole_progress set marks = $1 where marks = $2", self.schema), serde_json::json!(self.marks))
    }

    /// From here on this session finds the rebuilt tables.
    pub async fn enter(&self, conn: &mut PgConnection) -> Result<(), Error> {
        let path = format!("set search_path = {}, {}", self.schema, quoted(&self.live));
        conn.execute(AssertSqlSafe(path)).await.map(drop).map_err(database("setting the search path"))
    }

    /// Makes the further indexes, now that the rows are there.
    pub async fn finish(&mut self, conn: &mut PgConnection) -> Result<(), Error> {
        if self.is_finished {
            return Ok(());
        }
        let doing = database("creating indexes of the rebuilt tables");
        let mut tx = session::begin(conn).await.map_err(&doing)?;
        for (table, columns, key) in &self.tables {
            let key = &columns[..*key];
            // The first of those that make the key unique is there.
            let more = self.statements(&mut tx, table, key, Makes::Key).await?.into_iter().skip(1);
            for make in more.chain(self.statements(&mut tx, table, key, Makes::Indexes).await?) {
                tx.execute(AssertSqlSafe(make)).await.map_err(&doing)?;
            }
            tx.execute(AssertSqlSafe(format!("analyze {}.{}", self.schema, quoted(table)))).await.map_err(&doing)?;
        }
        tx.execute(AssertSqlSafe(format!("update {}.farandole_progress set finished = true", self.schema)))
            .await
            .map_err(&doing)?;
        tx.commit().await.map_err(doing)?;
        self.is_finished = true;
        Ok(())
    }

    /// Rows of each rebuilt table.
    pub async fn rows(&self, conn: &mut PgConnection) -> Result<BTreeMap<String, i64>, Error> {
        let mut rows = BTreeMap::new();
        for (table, ..) in &self.tables {
            let sql = format!("select count(*) from {}.{}", self.schema, quoted(table));
            let count = sqlx::query_scalar(AssertSqlSafe(sql)).fetch_one(&mut *conn).await.map_err(database("counting rows"))?;
            rows.insert((*table).to_owned(), count);
        }
        Ok(rows)
    }
}

/// The schema of the live tables.
pub(super) async fn live(conn: &mut PgConnection) -> Result<String, Error> {
    let live = sqlx::query_scalar("select current_schema()::text").fetch_one(conn).await;
    live.map_err(database("looking for the tables' schema"))
}

/// Refuses where another session works on the schema; holds it until this one ends.
pub(super) async fn alone(conn: &mut PgConnection, service: &'static str, schema: &str) -> Result<(), Error> {
    let doing = database("looking for another rebuild");
    locks::alone(conn, schema).await.map_err(doing)?.map_err(|who| Error::Running { service, who })
}

/// An identifier of SQL.
pub(super) fn quoted(name: &str) -> String {
    format!("\"{}\"", name.replace('"', "\"\""))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_quoted() {
        assert_eq!(quoted("orders"), "\"orders\"");
        assert_eq!(quoted("a\"b"), "\"a\"\"b\"");
    }
}
