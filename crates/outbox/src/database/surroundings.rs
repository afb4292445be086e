//! Requirements on server, database and role, beyond what the kit [sets](crate::database::session) itself.
//!
//! **Guarantee.** What is missing is found by asking for it, before anything is decided or published, and named with the sentence that
//! mends it: by services in `/readyz`, by a [`Relay`](crate::publish::relay::Relay) in its status and by a reader among its
//! troubles. ARCHITECTURE.md has the table.
//!
//! **How it would fail without**: a service whose role may not write says that it is ready and refuses every command; behind a pooler
//! that lends sessions out by transaction all settings are somebody else's; in a database that can't store every text, one foreign key
//! stops a partition.

use sqlx::postgres::PgConnectOptions;
use sqlx::{AssertSqlSafe, Connection as _, Executor as _, PgConnection, PgPool, Row as _};
use uuid::Uuid;

use crate::database::session::{self, Purpose, SETTINGS};
use crate::ground::trouble::denied;

/// The oldest PostgreSQL: partitions are detached while others write, which came with it.
const OLDEST: i32 = 14;

/// What isn't as it must be.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// No setting or right changes it: another server or database is needed.
    #[error("{0}")]
    Unfit(String),
    /// It can be mended while the service waits.
    #[error("{}", .0.join("; "))]
    Missing(Vec<String>),
    /// It couldn't be asked.
    #[error("{doing}")]
    Database {
        /// What was being done.
        doing: &'static str,
        /// The cause.
        #[source]
        source: sqlx::Error,
    },
}

impl Error {
    /// Whether it can be mended while somebody waits.
    pub fn is_transient(&self) -> bool {
        !matches!(self, Self::Unfit(_))
    }

    fn database(doing: &'static str) -> impl FnOnce(sqlx::Error) -> Self {
        move |source| Self::Database { doing, source }
    }
}

/// Checks server, sessions and rights, for the role that `pool` connects as. `tables` are the service's own, named as its statements name
/// them. The kit's tables must be there.
///
/// # Errors
/// The first kind of thing that isn't as it must be; see [`Error`].
pub async fn check(pool: &PgPool, tables: &[&str]) -> Result<(), Error> {
    let options = pool.connect_options();
    server(&options).await?;
    migrated(&options).await?;
    rights(&options, tables).await
}

/// The last of the kit's migrations, which this build's statements need.
pub const MIGRATION: i64 = 8;

/// That the kit's tables are there, and those of this build. A service has looked at each migration by then.
async fn migrated(options: &PgConnectOptions) -> Result<(), Error> {
    let mut conn = open(options).await?;
    let asked = async {
        let there: bool =
            sqlx::query_scalar("select to_regclass('farandole._sqlx_migrations') is not null").fetch_one(&mut conn).await?;
        if !there {
            return Ok(0);
        }
        let last = "select coalesce(max(version), 0) from farandole._sqlx_migrations where success";
        sqlx::query_scalar(last).fetch_one(&mut conn).await
    };
    let asked = asked.await;
    let _ = conn.close().await; // only asked
    let make = "as their owner, call `migrate` of this crate, or run `farandole migrate`, and give the role its rights anew";
    match asked {
        Ok(MIGRATION..) => Ok(()),
        Ok(0) => Err(Error::Missing(vec![format!("this database lacks the kit's tables: {make}")])),
        Ok(last) => Err(Error::Missing(vec![format!(
            "the kit's tables are as of migration {last}, and this build needs {MIGRATION}: {make}"
        )])),
        // Which right it is says the next look.
        Err(error) if denied(&error) => Ok(()),
        Err(error) => Err(Error::database("looking which migrations were applied")(error)),
    }
}

/// A session of the check's own: what it sets is nobody else's.
async fn open(options: &PgConnectOptions) -> Result<PgConnection, Error> {
    session::open(options, Purpose::Any).await.map_err(Error::database("connecting to the database"))
}

/// That there is a server of a kind that will do, and that its sessions are sessions.
pub async fn server(options: &PgConnectOptions) -> Result<(), Error> {
    let (mut one, mut other) = (open(options).await?, open(options).await?);
    let asked = async {
        kept(&mut one, &mut other).await?;
        facts(&mut one).await
    };
    let asked = asked.await;
    let _ = tokio::join!(one.close(), other.close()); // only asked
    asked
}

/// That a session stays one: what is set on it holds in its next transaction, whatever other sessions do meanwhile.
async fn kept(one: &mut PgConnection, other: &mut PgConnection) -> Result<(), Error> {
    let doing = "testing whether session settings persist";
    let marks = [Uuid::new_v4(), Uuid::new_v4()];
    for (conn, mark) in [&mut *one, other].into_iter().zip(marks) {
        // Text, and not prepared: where statements aren't kept either, that wouldn't say why.
        conn.execute(AssertSqlSafe(format!("set farandole.session = '{mark}'"))).await.map_err(Error::database(doing))?;
    }
    let names: Vec<String> = SETTINGS.iter().map(|(name, _)| format!("current_setting('{name}', true)")).collect();
    let sql = format!("select current_setting('farandole.session', true), array_to_string(array[{}], '|', '')", names.join(", "));
    let row = one.fetch_one(AssertSqlSafe(sql)).await.map_err(Error::database(doing))?;
    let read = || Ok::<(Option<String>, String), sqlx::Error>((row.try_get(0)?, row.try_get(1)?));
    let (mark, values) = read().map_err(Error::database(doing))?;
    let wrong: Vec<&str> =
        std::iter::zip(SETTINGS, values.split('|')).filter(|((_, v), is)| v != is).map(|((n, _), _)| n).collect();
    if mark == Some(marks[0].to_string()) && wrong.is_empty() {
        return Ok(());
    }
    let lost = if wrong.is_empty() { String::new() } else { format!(" ({})", wrong.join(", ")) };
    Err(Error::Missing(vec![format!(
        "session settings{lost} don't persist between transactions, so there is a pooler in transaction mode in between: \
         connect to PostgreSQL itself, or to a pooler in session mode"
    )]))
}

/// That the database can store what comes, and be asked and written.
async fn facts(conn: &mut PgConnection) -> Result<(), Error> {
    let doing = "inspecting the server";
    let row = sqlx::query(
        "select current_setting('server_version_num')::int / 10000, getdatabaseencoding()::text, current_database()::text,
                pg_is_in_recovery(), has_function_privilege('pg_control_system()', 'execute'), quote_ident(current_user),
                current_setting('fsync') = 'on' and current_setting('full_page_writes') = 'on',
                current_setting('transaction_read_only') = 'on'",
    );
    let row = row.fetch_one(conn).await.map_err(Error::database(doing))?;
    let read = || {
        Ok::<(i32, String, String, bool, bool, String, bool, bool), sqlx::Error>((
            row.try_get(0)?,
            row.try_get(1)?,
            row.try_get(2)?,
            row.try_get(3)?,
            row.try_get(4)?,
            row.try_get(5)?,
            row.try_get(6)?,
            row.try_get(7)?,
        ))
    };
    let (version, encoding, database, standby, control, role, durable, read_only) = read().map_err(Error::database(doing))?;
    if version < OLDEST {
        return Err(Error::Unfit(format!("PostgreSQL {version} is too old; {OLDEST} or later is required")));
    }
    if encoding != "UTF8" {
        return Err(Error::Unfit(format!(
            "database {database} has encoding {encoding}, which can't store all text; create one with `create database … \
             encoding 'UTF8' template template0` and move to it"
        )));
    }
    let mut missing = Vec::new();
    if standby {
        missing.push("this server is a standby and accepts no writes: connect to the primary".to_owned());
    } else if read_only {
        missing.push(format!(
            "`default_transaction_read_only` is on for {role}, this database or the server (some providers set it when a disk \
             is full): reset it where it is set"
        ));
    }
    if !control {
        missing.push(format!(
            "the role can't read the cluster's identifier: `grant execute on function pg_control_system() to {role}`"
        ));
    }
    if !durable {
        tracing::warn!(
            "fsync or full_page_writes is off on this server: a crash may lose acknowledged commits, or corrupt the database"
        );
    }
    if missing.is_empty() { Ok(()) } else { Err(Error::Missing(missing)) }
}

/// What a role must be allowed of the kit's tables and functions, and of the service's tables `$1`. Privileges are asked for by number, so
/// that a schema that may not be used is no error but the answer. Partitions are used through their parent.
const RIGHTS: &str = "
with kit as (select oid from pg_namespace where nspname = 'farandole'),
     wanted as (
         select c.oid, 'farandole.' || quote_ident(c.relname) as name, p.privilege, c.relname <> '_sqlx_migrations' as whole
         from pg_class c join kit on c.relnamespace = kit.oid
              cross join unnest(array['select', 'insert', 'update', 'delete']) as p(privilege)
         where c.relkind in ('r', 'p') and not c.relispartition and c.relname !~ '^outbox_[0-9]+$'
               and (c.relname <> '_sqlx_migrations' or p.privilege = 'select')
         union all
         select to_regclass(t.name)::oid, t.name, p.privilege, false
         from unnest($1::text[]) as t(name) cross join unnest(array['select', 'insert', 'update']) as p(privilege)
         where to_regclass(t.name) is not null),
     missing as (
         select string_agg(distinct privilege, ', ') as privileges, name from wanted
         where not has_table_privilege(oid, privilege) group by name)
select format('grant %s on %s to %s', privileges, string_agg(name, ', ' order by name), quote_ident(current_user)), null
from missing group by privileges
union all
select format('grant usage on schema farandole to %s', quote_ident(current_user)), null
from kit where not has_schema_privilege(oid, 'usage')
union all
select format('grant execute on all functions in schema farandole to %s', quote_ident(current_user)), null
from kit where exists (select from pg_proc f where f.pronamespace = kit.oid and not has_function_privilege(f.oid, 'execute'))
union all
select null, format('row security hides rows of %s from this role: `alter table %s disable row level security`', name, name)
from wanted where whole and privilege = 'select' and row_security_active(oid)
union all
select null, format('there is no table %s in the search path %s of %s: run `migrate` as a role with the same path, or `alter role %s set search_path = …`; or correct its name in `tables!`',
                    t.name, current_setting('search_path'), quote_ident(current_user), quote_ident(current_user))
from unnest($1::text[]) as t(name) where to_regclass(t.name) is null";

/// That the role may do what the service does.
pub async fn rights(options: &PgConnectOptions, tables: &[&str]) -> Result<(), Error> {
    let mut conn = open(options).await?;
    let asked = sqlx::query_as(RIGHTS).bind(tables).fetch_all(&mut conn).await;
    let _ = conn.close().await; // only asked
    let rows: Vec<(Option<String>, Option<String>)> = asked.map_err(Error::database("checking the role's privileges"))?;
    let (grants, others): (Vec<_>, Vec<_>) = rows.into_iter().unzip();
    let grants: Vec<String> = grants.into_iter().flatten().collect();
    let mut missing: Vec<String> = others.into_iter().flatten().collect();
    if !grants.is_empty() {
        missing.insert(0, format!("the role lacks privileges; run as the owner of the tables: `{}`", grants.join("; ")));
    }
    if missing.is_empty() { Ok(()) } else { Err(Error::Missing(missing)) }
}
