//! Rows while events are folded by the million: what a try changed can be taken back, what is known not to be stored isn't looked for,
//! and what changed is written by `COPY`.
//!
//! Only `evolve` knows which rows an event changes. So it is tried on what is held; where a row is missing, all that the try changed is
//! taken back, the rows are loaded, and it is tried again. Most events make a row or change one that is held.

use std::collections::BTreeMap;

use fastbloom::BloomFilter;
use futures_util::TryStreamExt as _;
use sqlx::postgres::{PgArgumentBuffer, Postgres};
use sqlx::{AssertSqlSafe, Encode, PgConnection};

use super::{Key as _, Row, Slot, Table};

/// Tries for which a row that was written is kept: rows that several aggregates change (stock, sums) would be read back otherwise.
const KEPT: u64 = 8;
/// One in so many keys that aren't stored is looked for all the same.
const FALSE_POSITIVES: f64 = 0.01;
/// Keys that a filter is made for: with more of them it lets more through, and they are looked for. Some 60 MB.
const LARGEST: usize = 50_000_000;
/// Bytes that are sent at once.
const PIECE: usize = 1 << 18;

/// What a fold knows of the rows in the database.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Stored {
    /// Nothing, and others may write there: each row is looked for and locked.
    Shared,
    /// That nobody else writes there, and about how many there will be.
    Own {
        /// Rows of one table, at most.
        expected: usize,
    },
}

/// A table's part of a fold.
#[derive(Debug)]
pub(super) struct Folding<R> {
    /// Keys that may be stored; none: any may.
    stored: Option<BloomFilter>,
    /// What rows were before this try; `None` of one that wasn't held.
    before: Vec<(String, Option<Option<R>>)>,
    /// Counts the tries.
    tries: u64,
    /// Whether rows can be written by `COPY`, once it is known.
    copies: Option<bool>,
}

impl<R: Row> Folding<R> {
    /// Whether a row that isn't held isn't stored either.
    pub(super) fn is_absent(&self, key: &str) -> bool {
        self.stored.as_ref().is_some_and(|stored| !stored.contains(key))
    }

    /// Notes what the row is before it is changed, the first time in a try; makes a place for one that isn't stored.
    pub(super) fn change(&mut self, rows: &mut BTreeMap<String, Slot<R>>, key: &str) {
        match rows.get_mut(key) {
            Some(slot) if slot.changed == self.tries => {}
            Some(slot) => {
                slot.changed = self.tries;
                self.before.push((key.to_owned(), Some(slot.now.clone())));
            }
            None if self.is_absent(key) => {
                rows.insert(key.to_owned(), Slot { stored: None, now: None, changed: self.tries });
                self.before.push((key.to_owned(), None));
            }
            None => {}
        }
    }
}

impl<R: Row> Table<R> {
    /// From here on events are folded, into rows of which this much is known.
    #[doc(hidden)]
    pub fn fold(&mut self, stored: Stored) {
        let stored = match stored {
            Stored::Shared => None,
            Stored::Own { expected } => {
                Some(BloomFilter::with_false_pos(FALSE_POSITIVES).expected_items(expected.clamp(1_000, LARGEST)))
            }
        };
        self.folding = Some(Box::new(Folding { stored, before: Vec::new(), tries: 0, copies: None }));
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

    /// Writes what changed: new rows by `COPY`, if their types allow for it. Then lets go of all rows but those of the last tries. Says how
    /// many were written.
    ///
    /// # Errors
    /// The database's.
    #[doc(hidden)]
    pub async fn write_out(&mut self, conn: &mut PgConnection) -> sqlx::Result<u64> {
        let Some(mut folding) = self.folding.take() else { return Ok(0) };
        let done = self.write(conn, &mut folding).await;
        self.folding = Some(folding);
        done
    }

    async fn write(&mut self, conn: &mut PgConnection, folding: &mut Folding<R>) -> sqlx::Result<u64> {
        let copies = match folding.copies {
            Some(copies) => copies,
            None => *folding.copies.insert(Self::copies(conn).await?),
        };
        let (mut rows, mut written) = (CopyRows::default(), 0_u64);
        let mut changed = Vec::new();
        for (key, slot) in self.rows.iter().filter(|(_, slot)| slot.now != slot.stored) {
            let Some(row) = &slot.now else { continue };
            if let (Some(stored), None) = (&mut folding.stored, &slot.stored) {
                stored.insert(key);
            }
            if copies && slot.stored.is_none() {
                rows.add(row)?;
            } else {
                changed.push(row);
            }
            written += 1;
        }
        let change = Self::upsert(&changed);
        if let Some(pieces) = rows.pieces() {
            let mut copy =
                conn.copy_in_raw(&format!("copy {} ({}) from stdin (format binary)", R::TABLE, R::COLUMNS.join(", "))).await?;
            for piece in pieces {
                copy.send(piece).await?;
            }
            copy.finish().await?;
        }
        if let Some(change) = change {
            change.execute(&mut *conn).await?;
        }
        self.delete_gone(conn).await?;
        let oldest = folding.tries.saturating_sub(KEPT);
        self.rows.retain(|_, slot| slot.changed > oldest);
        self.rows.values_mut().filter(|slot| slot.now != slot.stored).for_each(|slot| slot.stored = slot.now.clone());
        Ok(written)
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

    /// Reads the keys of all rows that are stored, for a fold that goes on.
    ///
    /// # Errors
    /// The database's.
    #[doc(hidden)]
    pub async fn recall(&mut self, conn: &mut PgConnection) -> sqlx::Result<()> {
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

/// Rows as a binary `COPY` has them, in pieces.
#[derive(Debug, Default)]
pub struct CopyRows {
    pieces: Vec<Vec<u8>>,
    bytes: Vec<u8>,
}

impl CopyRows {
    fn add<R: Row>(&mut self, row: &R) -> sqlx::Result<()> {
        if self.pieces.is_empty() && self.bytes.is_empty() {
            self.bytes.extend_from_slice(b"PGCOPY\n\xff\r\n\0");
            self.bytes.extend([0; 8]); // no flags, no extension
        }
        self.bytes.extend(i16::try_from(R::COLUMNS.len()).unwrap_or(i16::MAX).to_be_bytes());
        row.copy(self)?;
        if self.bytes.len() >= PIECE {
            self.pieces.push(std::mem::replace(&mut self.bytes, Vec::with_capacity(PIECE)));
        }
        Ok(())
    }

    /// All of it; none without a row.
    fn pieces(mut self) -> Option<Vec<Vec<u8>>> {
        if self.pieces.is_empty() && self.bytes.is_empty() {
            return None;
        }
        self.bytes.extend((-1_i16).to_be_bytes());
        self.pieces.push(self.bytes);
        Some(self.pieces)
    }

    /// Adds a column's value.
    ///
    /// # Errors
    /// When it can't be written.
    pub fn column<T: for<'q> Encode<'q, Postgres>>(&mut self, value: &T) -> sqlx::Result<()> {
        let mut buffer = PgArgumentBuffer::default();
        if value.encode_by_ref(&mut buffer).map_err(sqlx::Error::Encode)?.is_null() {
            self.bytes.extend((-1_i32).to_be_bytes());
            return Ok(());
        }
        let length = i32::try_from(buffer.len()).map_err(|_| sqlx::Error::Protocol("a value of 2 GiB or more".to_owned()))?;
        self.bytes.extend(length.to_be_bytes());
        self.bytes.extend_from_slice(&buffer);
        Ok(())
    }
}
