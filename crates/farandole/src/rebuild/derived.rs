//! What no event fills: columns and tables that a service makes of its rows by a function of its own (a search index, a cache).
//!
//! Rebuilt rows have such a column's default. So a swap calls these functions once it is done, and refuses a column that holds something
//! and that nobody says how to fill.
//!
//! **How it would fail without**: a swap that is right in every row that events make empties the search, or forgets what was noted by hand.

use std::fmt;

use futures_util::future::BoxFuture;
use serde::Serialize;
use sqlx::{AssertSqlSafe, PgConnection};

use crate::database::session;
use crate::rebuild::Error;
use crate::rebuild::compare::left_out;
use crate::rebuild::error::database;
use crate::rebuild::shadow::{Declared, quoted};

/// Fills it, in a transaction of its own.
type Fill = Box<dyn for<'c> Fn(&'c mut PgConnection) -> BoxFuture<'c, sqlx::Result<()>> + Send + Sync>;

/// A column (`table.column`) or table that no event fills, and how it is filled.
pub struct Derived {
    /// Which.
    pub what: &'static str,
    fill: Fill,
}

impl fmt::Debug for Derived {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Derived").field(&self.what).finish()
    }
}

impl Derived {
    /// Filled by `fill`, from the service's tables.
    pub fn new(
        what: &'static str,
        fill: impl for<'c> Fn(&'c mut PgConnection) -> BoxFuture<'c, sqlx::Result<()>> + Send + Sync + 'static,
    ) -> Self {
        Self { what, fill: Box::new(fill) }
    }
}

/// What was filled, or would be.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Filled {
    /// Columns (`table.column`) and tables.
    pub what: Vec<String>,
    /// Whether it was done.
    pub done: bool,
}

impl fmt::Display for Filled {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.what.is_empty() {
            return writeln!(f, "events fill every column and table of this service");
        }
        self.what.iter().try_for_each(|what| writeln!(f, "{what}"))?;
        writeln!(f, "{}", if self.done { "filled" } else { "nothing was changed; fill them with --execute" })
    }
}

/// Fills all of it, each in a transaction of its own.
pub(super) async fn fill(conn: &mut PgConnection, service: &'static str, derived: &[Derived]) -> Result<(), Error> {
    for Derived { what, fill } in derived {
        tracing::info!("filling {what}");
        let filling = async {
            let mut tx = session::begin(conn).await?;
            fill(&mut tx).await?;
            tx.commit().await
        };
        filling.await.map_err(|source| Error::Derived { service, what, source })?;
    }
    Ok(())
}

/// Refuses a swap that would put defaults in the place of something: in a column that neither events nor the service fill.
pub(super) async fn refuse(conn: &mut PgConnection, live: &str, tables: &[Declared], derived: &[Derived]) -> Result<(), Error> {
    let doing = database("looking at columns that no event fills");
    let mut lost = Vec::new();
    for declared in tables {
        let table = declared.0;
        for column in left_out(conn, live, *declared).await? {
            let name = format!("{table}.{column}");
            if derived.iter().any(|derived| derived.what == name || derived.what == table) {
                continue;
            }
            let sql = "select pg_get_expr(d.adbin, d.adrelid) from pg_attrdef d join pg_attribute a on a.attrelid = d.adrelid and a.attnum = d.adnum
                       where d.adrelid = to_regclass(format('%I.%I', $1::text, $2::text)) and a.attname = $3";
            let query = sqlx::query_scalar(sql).bind(live).bind(table).bind(&column);
            let default: Option<String> = query.fetch_optional(&mut *conn).await.map_err(&doing)?;
            let (from, default) = (format!("{}.{}", quoted(live), quoted(table)), default.unwrap_or_else(|| "null".to_owned()));
            // As text: some types have no equality.
            let sql =
                format!("select exists (select from {from} where {}::text is distinct from ({default})::text)", quoted(&column));
            if sqlx::query_scalar(AssertSqlSafe(sql)).fetch_one(&mut *conn).await.map_err(&doing)? {
                lost.push(name);
            }
        }
    }
    if lost.is_empty() { Ok(()) } else { Err(Error::Defaults { columns: lost }) }
}
