//! What belongs to a table and can't come along with a swap: found before anything is changed.
//!
//! **How it would fail without**: a view or a foreign key goes on at the replaced table, and shows or accepts what is no longer true; rows that a
//! policy hid are there for all; a default takes its value from a sequence that is dropped with the old table, and nothing can be inserted.

use sqlx::PgConnection;

use crate::rebuild::Error;
use crate::rebuild::error::database;

/// In words, each with the table, as `$1` is its schema and `$2` the tables' names.
const ATTACHED: &str = "
with t as (select c.oid, c.relname, c.relrowsecurity, c.relacl, c.relreplident, c.reltype, y.typarray as rowarray
           from pg_class c join pg_type y on y.oid = c.reltype where c.relnamespace = to_regnamespace(quote_ident($1)) and c.relname = any($2) and c.relkind in ('r', 'p'))
select format('view %s on %s', r.ev_class::regclass, t.relname) from t
  join pg_depend d on d.refclassid = 'pg_class'::regclass and d.refobjid = t.oid and d.classid = 'pg_rewrite'::regclass
  join pg_rewrite r on r.oid = d.objid where r.ev_class <> t.oid
union
select format('foreign key %s of %s on %s', c.conname, c.conrelid::regclass, t.relname) from t
  join pg_constraint c on c.contype = 'f' and c.confrelid = t.oid where c.conrelid not in (select oid from t)
union
select format('row-level security of %s', relname) from t
  where relrowsecurity or exists (select from pg_policy p where p.polrelid = t.oid)
union
select format('rights on columns of %s (%s)', t.relname, a.attname) from t
  join pg_attribute a on a.attrelid = t.oid and a.attacl is not null and not a.attisdropped
union
select format('column %s.%s, which takes its default from sequence %s', t.relname, a.attname, s.oid::regclass) from t
  join pg_depend d on d.refclassid = 'pg_class'::regclass and d.refobjid = t.oid and d.deptype = 'a'
  join pg_class s on s.oid = d.objid and s.relkind = 'S'
  join pg_attribute a on a.attrelid = t.oid and a.attnum = d.refobjsubid
union
select format('trigger %s of %s, which isn''t enabled as usual', g.tgname, t.relname) from t
  join pg_trigger g on g.tgrelid = t.oid and not g.tgisinternal and g.tgenabled <> 'O'
union
select format('replica identity of %s', relname) from t where relreplident <> 'd'
union
select format('publication %s of %s', p.pubname, t.relname) from t
  join pg_publication_rel r on r.prrelid = t.oid join pg_publication p on p.oid = r.prpubid
union
select format('inheritance of %s', t.relname) from t join pg_inherits i on t.oid in (i.inhrelid, i.inhparent)
union
select format('function %s, which is made for %s', d.objid::regprocedure, t.relname) from t
  join pg_depend d on d.classid = 'pg_proc'::regclass
   and (d.refclassid = 'pg_class'::regclass and d.refobjid = t.oid or d.refclassid = 'pg_type'::regclass and d.refobjid in (t.reltype, t.rowarray))
union
select format('column %s.%s, whose type is a row of %s', d.objid::regclass, a.attname, t.relname) from t
  join pg_depend d on d.classid = 'pg_class'::regclass and d.refclassid = 'pg_type'::regclass and d.refobjid in (t.reltype, t.rowarray) and d.objsubid > 0
  join pg_attribute a on a.attrelid = d.objid and a.attnum = d.objsubid
union
select format('extended statistics %s on %s', s.stxname, t.relname) from t join pg_statistic_ext s on s.stxrelid = t.oid
union
select format('rule %s of %s', r.rulename, t.relname) from t join pg_rewrite r on r.ev_class = t.oid
order by 1 limit 20";

/// Sets the search path, and gives the one before.
const PATH: &str = "with before as materialized (select current_setting('search_path') as path)
                    select path from before, set_config('search_path', $1, false)";

/// How a table is made: columns, indexes, constraints, triggers, rights. What changes it, changes this.
const DEFINITION: &str = "
with t as (select c.oid, c.relname, c.relacl from pg_class c
           where c.relnamespace = to_regnamespace(quote_ident($1)) and c.relname = any($2)),
     parts as (
       select t.relname as table, format('column %s %s %s %s %s %s %s', a.attname, format_type(a.atttypid, a.atttypmod), a.attnotnull, a.attidentity,
                a.attgenerated, a.attcollation, pg_get_expr(d.adbin, d.adrelid)) as part
         from t join pg_attribute a on a.attrelid = t.oid and a.attnum > 0 and not a.attisdropped
         left join pg_attrdef d on d.adrelid = t.oid and d.adnum = a.attnum
       union all select t.relname, pg_get_indexdef(i.indexrelid) from t join pg_index i on i.indrelid = t.oid
       union all select t.relname, c.conname || regexp_replace(pg_get_constraintdef(c.oid), ' NOT VALID$', '') from t join pg_constraint c on c.conrelid = t.oid
       union all select t.relname, pg_get_triggerdef(g.oid) from t join pg_trigger g on g.tgrelid = t.oid and not g.tgisinternal
       union all select t.relname, t.relacl::text from t)
select coalesce(md5(string_agg(replace(replace(format('%s %s', parts.table, part), quote_ident($1) || '.', ''), quote_ident($3) || '.', ''), chr(10) order by parts.table, part)), '') from parts";

/// Refuses tables of `schema` to which something is attached that a swap would leave behind.
pub(super) async fn refuse(conn: &mut PgConnection, schema: &str, tables: &[&str]) -> Result<(), Error> {
    let found = sqlx::query_scalar(ATTACHED).bind(schema).bind(tables).fetch_all(conn);
    let found: Vec<String> = found.await.map_err(database("looking what belongs to the tables"))?;
    if found.is_empty() { Ok(()) } else { Err(Error::Attached { found }) }
}

/// A word for how the tables of `schema` are made, whichever of this schema and `live` what belongs to them is in.
pub(super) async fn definition(conn: &mut PgConnection, schema: &str, live: &str, tables: &[&str]) -> Result<String, Error> {
    let doing = database("looking how the tables are made");
    // Names are written as the search path has them: as one has them that finds none of the tables.
    let set = async |path: String, conn: &mut PgConnection| -> Result<String, Error> {
        sqlx::query_scalar(PATH).bind(path).fetch_one(conn).await.map_err(&doing)
    };
    let before = set("pg_catalog".to_owned(), conn).await?;
    let made = sqlx::query_scalar(DEFINITION).bind(schema).bind(tables).bind(live).fetch_one(&mut *conn).await.map_err(&doing)?;
    set(before, conn).await?;
    Ok(made)
}

/// A word for this program: rows of two builds are of two folds, perhaps.
pub(super) fn build() -> String {
    let about = std::env::current_exe().and_then(std::fs::metadata);
    let about = about.and_then(|about| Ok((about.len(), about.modified()?)));
    about.map_or_else(|_| "unknown".to_owned(), |(bytes, modified)| format!("{bytes} bytes of {modified:?}"))
}
