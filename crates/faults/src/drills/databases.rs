//! Databases that are copied, lost and made anew; and what is seen of their schemas.

use std::collections::BTreeMap;

use anyhow::Context as _;
use sqlx::{AssertSqlSafe, Connection as _, Executor as _, PgConnection};
use stage::Database;

use crate::shop::backup::close;

/// The superuser of the server that has them.
#[derive(Debug, Clone)]
pub struct Server {
    pub admin: String,
}

impl Server {
    /// A session of the superuser.
    async fn connect(&self) -> anyhow::Result<PgConnection> {
        PgConnection::connect(&self.admin).await.context("connecting as the superuser")
    }

    /// Where it listens.
    pub fn port(&self) -> anyhow::Result<u16> {
        let port = self.admin.rsplit_once('/').and_then(|(server, _)| server.rsplit_once(':')?.1.parse().ok());
        port.context("the superuser's address has a port")
    }

    /// Copies the database aside, as it is now, and drops it; an empty one of the same owner comes in its place. Its sessions are ended.
    /// Gives the copy's address.
    pub async fn lose(&self, database: &Database) -> anyhow::Result<Database> {
        let (name, role) = (&database.name, &database.role);
        let copy = format!("{name}_before");
        let mut admin = self.connect().await?;
        let lost = async {
            close(&mut admin, name).await?;
            for sql in [
                format!("drop database if exists \"{copy}\" with (force)"),
                format!("create database \"{copy}\" template \"{name}\" owner \"{role}\""),
                format!("drop database \"{name}\" with (force)"),
                format!("create database \"{name}\" owner \"{role}\" template template0"),
                format!("revoke connect, temporary on database \"{name}\" from public"),
            ] {
                admin.execute(AssertSqlSafe(sql)).await?;
            }
            admin.close().await
        };
        lost.await.with_context(|| format!("losing the database {name}"))?;
        let url = database.url.strip_suffix(name.as_str()).map(|server| format!("{server}{copy}"));
        Ok(Database { url: url.context("a database's address ends with its name")?, name: copy, ..database.clone() })
    }
}

/// The schemas of the kit beside its own: those that rebuilds leave.
pub async fn beside(conn: &mut PgConnection) -> anyhow::Result<Vec<String>> {
    let sql = r"select nspname::text from pg_namespace where nspname like 'farandole\_%' order by 1";
    sqlx::query_scalar(sql).fetch_all(conn).await.context("looking for schemas")
}

/// Which relation each live table is; 0 if it isn't there.
pub async fn live(conn: &mut PgConnection, tables: &[&str]) -> anyhow::Result<BTreeMap<String, i64>> {
    let sql =
        "select name, coalesce(to_regclass('public.' || quote_ident(name))::oid::bigint, 0) from unnest($1::text[]) as t (name)";
    let found: Vec<(String, i64)> =
        sqlx::query_as(sql).bind(tables).fetch_all(conn).await.context("looking for the live tables")?;
    Ok(found.into_iter().collect())
}
