//! Compares rebuilt tables with the live ones, row by row, in the database.

use sqlx::{AssertSqlSafe, Executor as _, PgConnection, Row as _};

use crate::rebuild::error::database;
use crate::rebuild::shadow::{Declared, Shadow, quoted};
use crate::rebuild::{Difference, Error, TableReport};

/// Rows that are printed.
pub(super) const EXAMPLES: usize = 20;

/// Begins a transaction that sees the tables as they are now, for as long as the comparison takes.
pub(super) async fn snapshot(conn: &mut PgConnection) -> Result<(), Error> {
    let sql = "begin isolation level repeatable read read only; select 1";
    conn.execute(sql).await.map(drop).map_err(database("taking a snapshot"))
}

/// Ends it.
pub(super) async fn end(conn: &mut PgConnection) -> Result<(), Error> {
    conn.execute("commit").await.map(drop).map_err(database("comparing tables"))
}

/// What differs, table by table.
pub(super) async fn tables(conn: &mut PgConnection, shadow: &Shadow) -> Result<Vec<TableReport>, Error> {
    let mut reports = Vec::new();
    let mut left = EXAMPLES;
    for table in &shadow.tables {
        let side = |schema: &str| Side { table: format!("{schema}.{}", quoted(table.0)), only: String::new() };
        let mut report = compared(conn, *table, (&side(&quoted(&shadow.live)), &side(&shadow.schema))).await?;
        report.examples.truncate(left);
        left -= report.examples.len();
        report.left_out = left_out(conn, &shadow.live, *table).await?;
        reports.push(report);
    }
    Ok(reports)
}

/// Rows to compare: of a table, as SQL names it, and which of them (` where …`).
pub(super) struct Side {
    pub table: String,
    pub only: String,
}

impl Side {
    fn count(&self) -> String {
        format!("(select count(*) from {}{})", self.table, self.only)
    }
}

/// What differs in one table, with the first [`EXAMPLES`]; the live side is the first.
pub(super) async fn compared(
    conn: &mut PgConnection,
    (table, columns, key): Declared,
    (live, rebuilt): (&Side, &Side),
) -> Result<TableReport, Error> {
    let doing = database("comparing tables");
    let listed = |columns: &[&str]| columns.iter().map(|column| quoted(column)).collect::<Vec<_>>().join(", ");
    let (all, keys) = (listed(columns), listed(&columns[..key]));
    // As text: some types have no equality. A side that lacks the row is null.
    let differing = format!(
        "(select {all} from {}{}) l full join (select {all} from {}{}) r using ({keys})
         where l::text is distinct from r::text",
        live.table, live.only, rebuilt.table, rebuilt.only
    );
    let sql = format!("select {}, {}, (select count(*) from {differing})", live.count(), rebuilt.count());
    let (live_rows, rebuilt, different): (i64, i64, i64) =
        sqlx::query_as(AssertSqlSafe(sql)).fetch_one(&mut *conn).await.map_err(&doing)?;
    let mut examples = Vec::new();
    if different > 0 {
        let texts = columns[..key].iter().map(|column| format!("{}::text", quoted(column))).collect::<Vec<_>>().join(", ");
        // Of a row, `is not null` means that none of its columns is.
        let side = |side: &str| format!("case when not {side} is null then to_jsonb({side}) end");
        let sql = format!(
            "select concat_ws('/', {texts}), {}, {}, {} from {differing} order by {keys} limit {EXAMPLES}",
            side("l"),
            side("r"),
            format_args!("{}::text", quoted(columns[0]))
        );
        for row in sqlx::query(AssertSqlSafe(sql)).fetch_all(&mut *conn).await.map_err(&doing)? {
            let difference = || -> sqlx::Result<Difference> {
                let (key, live, rebuilt, aggregate) = (row.try_get(0)?, row.try_get(1)?, row.try_get(2)?, row.try_get(3)?);
                Ok(Difference { key, aggregate, live, rebuilt, last: None })
            };
            examples.push(difference().map_err(&doing)?);
        }
    }
    Ok(TableReport { table: table.to_owned(), live: live_rows, rebuilt, different, examples, left_out: Vec::new() })
}

/// Columns of the table in `schema` that no event fills.
pub(super) async fn left_out(conn: &mut PgConnection, schema: &str, (table, columns, _): Declared) -> Result<Vec<String>, Error> {
    sqlx::query_scalar(
        "select attname::text from pg_attribute where attrelid = to_regclass(format('%I.%I', $1::text, $2::text)) and attnum > 0 and not attisdropped
           and attgenerated = '' and not attname = any($3::text[]) order by attnum",
    )
    .bind(schema)
    .bind(table)
    .bind(columns)
    .fetch_all(conn)
    .await
    .map_err(database("comparing tables"))
}
