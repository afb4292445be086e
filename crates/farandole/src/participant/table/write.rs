//! A table that events are folded into: tries, and writing what came of them.

use std::collections::BTreeMap;

use futures_util::TryStreamExt as _;
use sqlx::{AssertSqlSafe, PgConnection};

use super::Table;
use super::bulk::{Folding, Held, Out, Stored, Write};
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
            folding.mark();
        }
    }

    /// Takes back what this try changed.
    #[doc(hidden)]
    pub fn back(&mut self) {
        if let Some(folding) = &mut self.folding {
            folding.back();
        }
    }

    /// How many rows are to be written.
    #[doc(hidden)]
    pub fn changed(&self) -> usize {
        self.folding.as_ref().map_or(0, |folding| folding.changed)
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

    /// Takes out what changed, to be written: new rows by `COPY`, if their types allow for it. They stay held until they are let go of.
    ///
    /// # Errors
    /// When a row can't be encoded.
    #[doc(hidden)]
    pub fn take_out(&mut self, out: &mut Out) -> sqlx::Result<()> {
        let Some(folding) = &mut self.folding else { return Ok(()) };
        let Folding { rows, stored, copies, outs, changed, .. } = &mut **folding;
        (*outs, *changed) = (*outs + 1, 0);
        let mut taken: Vec<(&String, &mut Held<R>)> = rows.iter_mut().filter(|(_, held)| held.is_changed).collect();
        // In the order of their keys: indexes are filled from one end then, and rows are locked in one order.
        taken.sort_unstable_by_key(|(key, _)| *key);
        let mut copied = CopyRows::default();
        let (mut changed, mut gone) = (Vec::new(), Vec::new());
        for (key, held) in taken {
            let was_stored = std::mem::replace(&mut held.is_stored, held.now.is_some());
            (held.is_changed, held.out) = (false, *outs);
            match &held.now {
                None if was_stored => gone.push(key.as_str()),
                None => {}
                Some(row) if was_stored || !*copies => changed.push(row),
                Some(row) => copied.add(row)?,
            }
            if let (Some(stored), true, false) = (&mut *stored, held.is_stored, was_stored) {
                stored.insert(key);
            }
        }
        if let Some(pieces) = copied.pieces() {
            let sql = format!("copy {} ({}) from stdin (format binary)", R::TABLE, R::COLUMNS.join(", "));
            out.0.push(Write::Copy(sql, pieces));
        }
        out.0.extend(Self::upsert(&changed).map(|query| Write::Query(Box::new(query))));
        if !gone.is_empty() {
            out.0.push(Write::Query(Box::new(Self::deletion(&gone)?)));
        }
        Ok(())
    }

    /// Lets go of rows that weren't changed for some tries, but for what was taken out last: all before that has to be written, so that
    /// whatever isn't held can be looked for.
    #[doc(hidden)]
    pub fn let_go(&mut self) {
        let Some(folding) = &mut self.folding else { return };
        let (outs, oldest) = (folding.outs, folding.tries.saturating_sub(KEPT));
        folding.rows.retain(|_, held| held.is_changed || held.out == outs || held.tried > oldest);
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::participant::table::{Keys, Tables as _};

    crate::tables! { pub struct Few { counts: Count in "counts" { id: i64, n: i64 } } }

    fn folding() -> Few {
        let mut tables = Few::default();
        tables.fold(Stored::Own { expected: 10 });
        tables.mark();
        tables
    }

    /// D13. Guard: rows that were taken out stay held until the next ones are. Without, one that isn't written yet is looked for in the
    /// database, isn't found, and begins anew.
    #[test]
    fn what_may_not_be_written_yet_is_held() {
        let mut tables = folding();
        tables.counts.put(Count { id: 1, n: 1 });
        (0..2 * KEPT).for_each(|_| tables.mark());
        assert_eq!((tables.take_out().unwrap().0.len(), tables.changed()), (1, 0));
        tables.let_go();
        assert_eq!(tables.counts.get(&1), Some(&Count { id: 1, n: 1 }));
        assert!(tables.missed().is_empty());
        // Those before were written by then: it is let go of, and known to be in the database.
        tables.counts.put(Count { id: 2, n: 1 });
        assert_eq!(tables.take_out().unwrap().0.len(), 1);
        tables.let_go();
        assert_eq!(tables.counts.get(&1), None);
        assert_eq!(tables.missed(), Keys::of::<Count>([1]));
        // What never was isn't looked for.
        assert_eq!(tables.counts.get(&3), None);
        assert!(tables.missed().is_empty());
    }

    /// D13. Guard: what a try changed is taken back as a whole. Without, a sum has the try in it twice.
    #[test]
    fn a_try_that_is_taken_back_leaves_nothing() {
        let mut tables = folding();
        tables.counts.put(Count { id: 1, n: 1 });
        tables.mark();
        tables.counts.put(Count { id: 1, n: 2 });
        tables.counts.put(Count { id: 2, n: 1 });
        assert_eq!(tables.changed(), 2);
        tables.back();
        assert_eq!((tables.counts.get(&1), tables.counts.get(&2), tables.changed()), (Some(&Count { id: 1, n: 1 }), None, 1));
        tables.mark();
        tables.counts.delete(&1);
        assert!(tables.take_out().unwrap().0.is_empty(), "what was never stored needn't be deleted");
    }
}
