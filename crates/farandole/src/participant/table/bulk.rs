//! Rows while events are folded by the million: what a try changed can be taken back, and what is known not to be stored isn't looked for.
//!
//! Only `evolve` knows which rows an event changes. So it is tried on what is held; where a row is missing, all that the try changed is
//! taken back, the rows are loaded, and it is tried again. Most events make a row or change one that is held.

use std::collections::BTreeMap;

use fastbloom::BloomFilter;
use sqlx::PgConnection;
use sqlx::postgres::{PgArguments, Postgres};
use sqlx::query::Query;

use super::row::Row;

/// One in so many keys that aren't stored is looked for all the same.
const FALSE_POSITIVES: f64 = 0.01;
/// Keys that a filter is made for: with more of them it lets more through, and they are looked for. Some 60 MB.
const LARGEST: usize = 50_000_000;

/// A row's place: what is stored, and what it is now.
#[derive(Debug)]
pub(super) struct Slot<R> {
    pub stored: Option<R>,
    pub now: Option<R>,
    /// The try of a fold that changed it last.
    pub changed: u64,
}

impl<R: Clone> Slot<R> {
    pub fn loaded(row: Option<R>) -> Self {
        Self { stored: row.clone(), now: row, changed: 0 }
    }
}

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
    pub stored: Option<BloomFilter>,
    /// What rows were before this try; `None` of one that wasn't held.
    pub before: Vec<(String, Option<Option<R>>)>,
    /// Counts the tries.
    pub tries: u64,
    /// Whether rows can be written by `COPY`.
    pub copies: bool,
}

impl<R: Row> Folding<R> {
    pub(super) fn new(stored: Stored) -> Self {
        let stored = match stored {
            Stored::Shared => None,
            Stored::Own { expected } => {
                Some(BloomFilter::with_false_pos(FALSE_POSITIVES).expected_items(expected.clamp(1_000, LARGEST)))
            }
        };
        Self { stored, before: Vec::new(), tries: 0, copies: false }
    }

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

/// What is to be written, in order.
#[doc(hidden)]
#[derive(Default)]
pub struct Out(pub(super) Vec<Write>);

pub(super) enum Write {
    /// A `COPY`, and what it is given.
    Copy(String, Vec<Vec<u8>>),
    Query(Box<Query<'static, Postgres, PgArguments>>),
}

impl std::fmt::Debug for Out {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_tuple("Out").field(&self.0.len()).finish()
    }
}

impl Out {
    /// Writes it.
    ///
    /// # Errors
    /// The database's.
    pub async fn write(self, conn: &mut PgConnection) -> sqlx::Result<()> {
        for write in self.0 {
            match write {
                Write::Copy(sql, pieces) => {
                    let mut copy = conn.copy_in_raw(&sql).await?;
                    for piece in pieces {
                        copy.send(piece).await?;
                    }
                    copy.finish().await?;
                }
                Write::Query(query) => {
                    query.execute(&mut *conn).await?;
                }
            }
        }
        Ok(())
    }
}
