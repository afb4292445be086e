//! Whether a service's tables are in another schema than the one that its migrations would be applied in.
//!
//! Migrations name no schema: their tables, and the one that says which were applied, are made in the first schema of the search path that
//! is there. With `"$user", public`, the default, that is another one from the day on which somebody makes a schema of the role's name;
//! so it is for a role of another name, or after a change of the path.
//!
//! **How it would fail without**: the migrations begin at the first again, beside tables that are full, and the service goes on with a
//! second set that is empty. Nothing else notices, since the kit's own tables are always in `farandole`.

use sqlx::migrate::Migrator;
use sqlx::{AssertSqlSafe, PgConnection};

use crate::service::error::{Elsewhere, Error};

/// Tables that are named as the one of the service's migrations: schema, table, whether new ones would go there, whether it may be read.
const TABLES: &str = "
select quote_ident(n.nspname), quote_ident(n.nspname) || '.' || quote_ident(c.relname), n.nspname is not distinct from current_schema(),
       has_schema_privilege(n.oid, 'usage') and has_table_privilege(c.oid, 'select')
from pg_class c join pg_namespace n on n.oid = c.relnamespace
where c.relname = $1 and c.relkind in ('r', 'p') and n.nspname <> 'farandole' and n.nspname !~ '^pg_'
order by n.nspname is not distinct from current_schema() desc, n.nspname";

/// Refuses when `service`, which is `name`'s, was migrated in this database, and would begin anew in another schema. Others that share
/// the database have other migrations.
pub(super) async fn refuse(conn: &mut PgConnection, name: &str, service: &Migrator) -> Result<(), Error> {
    let failed = |source| Error::Database { doing: "looking where migrations were applied", source };
    let first = service.iter().filter(|m| !m.migration_type.is_down_migration()).min_by_key(|m| m.version);
    let Some(first) = first else { return Ok(()) };
    let tables: Vec<(String, String, bool, bool)> =
        sqlx::query_as(TABLES).bind(service.table_name.as_ref()).fetch_all(&mut *conn).await.map_err(failed)?;
    for (there, table, is_here, readable) in tables {
        let applied: bool = if readable {
            // Here another checksum is another trouble, which is told where it is met.
            let sql = format!("select exists (select from {table} where version = $1 and ($2 or checksum = $3))");
            let asked = sqlx::query_scalar(AssertSqlSafe(sql)).bind(first.version).bind(is_here).bind(first.checksum.as_ref());
            asked.fetch_one(&mut *conn).await.map_err(failed)?
        } else {
            // Whose database it is was written once this service had tables here.
            let sql = "select exists (select from farandole.owner where service = $1)";
            sqlx::query_scalar(sql).bind(name).fetch_one(&mut *conn).await.map_err(failed)?
        };
        match (applied, is_here) {
            (true, true) => return Ok(()),
            (true, false) => {
                let (here, path, role, database): (Option<String>, String, String, String) = sqlx::query_as(
                    "select quote_ident(current_schema()), current_setting('search_path'), quote_ident(current_user),
                            quote_ident(current_database())",
                )
                .fetch_one(&mut *conn)
                .await
                .map_err(failed)?;
                let found = Elsewhere { service: name.to_owned(), there, seen: readable, here, path, role, database };
                return Err(Error::Elsewhere(Box::new(found)));
            }
            (false, _) => {}
        }
    }
    Ok(())
}
