//! What a rebuild takes of the live tables and of its role, looked at before anything is folded.

use sqlx::PgConnection;

use crate::rebuild::Error;
use crate::rebuild::error::database;
use crate::rebuild::shadow::Declared;

/// Columns that can't be written: `not null`, without a default, and no event fills them; a trigger does so in the live table, perhaps.
const UNFILLED: &str = "
select a.attname::text from pg_attribute a
where a.attrelid = to_regclass(format('%I.%I', $1::text, $2::text)) and a.attnum > 0 and not a.attisdropped and a.attnotnull
  and not a.atthasdef and a.attidentity = '' and a.attgenerated = '' and not a.attname = any($3) order by a.attnum limit 1";

/// What the role lacks, and the statement that gives it; none if it lacks nothing. $4: what is to be made in the database.
const LACKS: &str = "
select what, grants from (
  select 1 as place, format('the ownership of table %I.%I', $1::text, c.relname) as what,
         format('`alter table %I.%I owner to %I`, or run it as %s', $1::text, c.relname, current_user, pg_get_userbyid(c.relowner)) as grants
  from pg_class c where $3 and c.relnamespace = to_regnamespace(quote_ident($1)) and c.relname = any($2) and not pg_has_role(c.relowner, 'usage')
  union all
  select 2, format('the right %s on database %I', upper($4), current_database()),
         format('`grant %s on database %I to %I`', $4, current_database(), current_user)
  where not has_database_privilege(current_database(), $4)) lacks
order by place, what limit 1";

/// What is going to be done.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Purpose {
    /// Tables in a schema of their own.
    Beside,
    /// The same, to be put in the live ones' place.
    Swap,
    /// Temporary tables.
    Temporary,
}

/// Refuses what would end in the middle.
pub(super) async fn check(conn: &mut PgConnection, live: &str, tables: &[Declared], purpose: Purpose) -> Result<(), Error> {
    let doing = database("looking at tables and rights");
    for (table, columns, _) in tables {
        let unfilled = sqlx::query_scalar(UNFILLED).bind(live).bind(table).bind(columns).fetch_optional(&mut *conn);
        let unfilled: Option<String> = unfilled.await.map_err(&doing)?;
        if let Some(column) = unfilled {
            let why = format!(
                "column {column} is `not null`, has no default, and no event fills it, so no row can be written: give it a default"
            );
            return Err(Error::Table { table, why });
        }
    }
    let names: Vec<&str> = tables.iter().map(|(table, ..)| *table).collect();
    let making = if purpose == Purpose::Temporary { "temporary" } else { "create" };
    let lacks = sqlx::query_as(LACKS).bind(live).bind(names).bind(purpose == Purpose::Swap).bind(making);
    let lacks: Option<(String, String)> = lacks.fetch_optional(conn).await.map_err(doing)?;
    match lacks {
        None => Ok(()),
        Some((what, grant)) => Err(Error::Right { what, grant }),
    }
}
