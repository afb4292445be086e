//! A table that events are folded into: tries, and writing what came of them.

use std::collections::BTreeMap;

use futures_util::TryStreamExt as _;
use sqlx::{AssertSqlSafe, PgConnection};

use super::Table;
use super::bulk::{Folding, Out, Stored, Write};
use super::key::Key as _;
use super::row::{CopyRows, Row};

/// Tries for which a row that was written is kept: rows that several aggregates change (stock, sums) would be read back otherwise.
const KEPT: u64 = 8;

impl<R: Row> Table<R> {
    /// From here on events are folded, into rows of which this much is known.
    #[doc(hidden)]
    pub fn fold(&mut self, stored: Stored) {
        self.folding = Some(Box::new(Folding::new(stored)));
    }

    /// Begins a try.
    #[doc(hidden)]
    pub fn mark(&mut self) {
        if let Some(folding) = &mut self.folding {
            folding.before.clear();
            folding.tries += 1;
        }
    }

    /// Takes back what this try changed.
    #[doc(hidden)]
    pub fn back(&mut self) {
        let Some(folding) = &mut self.folding else { return };
        for (key, before) in folding.before.drain(..) {
            match before {
                None => drop(self.rows.remove(&key)),
                Some(row) => {
                    if let Some(slot) = self.rows.get_mut(&key) {
                        slot.now = row;
                    }
                }
            }
        }
    }

    /// How many rows are held.
    #[doc(hidden)]
    pub fn held(&self) -> usize {
        self.rows.len()
    }

    /// The table's name, its columns and how many of them are its key.
    #[doc(hidden)]
    pub fn columns() -> (&'static str, &'static [&'static str], usize) {
        (R::TABLE, R::COLUMNS, R::Key::SQL.len())
    }

    /// Whether nobody else writes there.
    pub(super) fn is_alone(&self) -> bool {
        self.folding.as_ref().is_some_and(|folding| folding.stored.is_some())
    }

    /// Looks how rows can be written, and reads the keys of those that are stored if a fold goes on.
    ///
    /// # Errors
    /// The database's.
    #[doc(hidden)]
    pub async fn prepare(&mut self, conn: &mut PgConnection, resumed: bool) -> sqlx::Result<()> {
        let copies = Self::copies(conn).await?;
        let Some(folding) = &mut self.folding else { return Ok(()) };
        folding.copies = copies;
        if resumed { self.recall(conn).await } else { Ok(()) }
    }

    /// Takes out what changed, to be written: new rows by `COPY`, if their types allow for it. Then lets go of all rows but those of the last
    /// tries. Nothing may be loaded until it is written.
    ///
    /// # Errors
    /// When a row can't be encoded.
    #[doc(hidden)]
    pub fn take_out(&mut self, out: &mut Out) -> sqlx::Result<()> {
        let Some(folding) = &mut self.folding else { return Ok(()) };
        let mut rows = CopyRows::default();
        let (mut changed, mut gone) = (Vec::new(), Vec::new());
        for (key, slot) in self.rows.iter().filter(|(_, slot)| slot.now != slot.stored) {
            let Some(row) = &slot.now else {
                gone.push(key.as_str());
                continue;
            };
            if let (Some(stored), None) = (&mut folding.stored, &slot.stored) {
                stored.insert(key);
            }
            if folding.copies && slot.stored.is_none() {
                rows.add(row)?;
            } else {
                changed.push(row);
            }
        }
        if let Some(pieces) = rows.pieces() {
            let sql = format!("copy {} ({}) from stdin (format binary)", R::TABLE, R::COLUMNS.join(", "));
            out.0.push(Write::Copy(sql, pieces));
        }
        out.0.extend(Self::upsert(&changed).map(|query| Write::Query(Box::new(query))));
        if !gone.is_empty() {
            out.0.push(Write::Query(Box::new(Self::deletion(&gone)?)));
        }
        let oldest = folding.tries.saturating_sub(KEPT);
        self.rows.retain(|_, slot| slot.changed > oldest);
        self.rows.values_mut().filter(|slot| slot.now != slot.stored).for_each(|slot| slot.stored = slot.now.clone());
        Ok(())
    }

    /// Whether the columns' types are those that rows are written in: a `COPY` casts nothing.
    async fn copies(conn: &mut PgConnection) -> sqlx::Result<bool> {
        let found: Vec<(String, String)> = sqlx::query_as(
            "select a.attname::text, t.typname::text from pg_attribute a join pg_type t on t.oid = a.atttypid
             where a.attrelid = to_regclass($1) and a.attnum > 0 and not a.attisdropped",
        )
        .bind(R::TABLE)
        .fetch_all(conn)
        .await?;
        let found: BTreeMap<String, String> = found.into_iter().collect();
        Ok(R::COLUMNS.iter().zip(R::array_types()).all(|(column, ty)| {
            let ty = ty.trim_end_matches("[]").to_lowercase();
            let is = found.get(*column).map(String::as_str);
            is == Some(ty.as_str()) || ty == "text" && matches!(is, Some("varchar"))
        }))
    }

    /// Reads the keys of all rows that are stored.
    async fn recall(&mut self, conn: &mut PgConnection) -> sqlx::Result<()> {
        let Some(stored) = self.folding.as_mut().and_then(|folding| folding.stored.as_mut()) else { return Ok(()) };
        let sql = format!("select {} from {}", R::COLUMNS.join(", "), R::TABLE);
        let query = sqlx::query(AssertSqlSafe(sql));
        let mut rows = query.fetch(conn);
        while let Some(row) = rows.try_next().await? {
            stored.insert(&R::from_row(&row)?.key());
        }
        Ok(())
    }
}
