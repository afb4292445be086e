//! Rows while events are folded by the million: what a try changed can be taken back, and what is known not to be stored isn't looked for.
//!
//! Only `evolve` knows which rows an event changes. So it is tried on what is held; where a row is missing, all that the try changed is
//! taken back, the rows are loaded, and it is tried again. Most events make a row or change one that is held.

use std::collections::HashMap;
use std::collections::hash_map::Entry;

use fastbloom::BloomFilter;
use sqlx::PgConnection;
use sqlx::postgres::{PgArguments, Postgres};
use sqlx::query::Query;

use super::row::Row;

/// Bits of a filter for each key that may be stored, and how many of them a key sets. Of keys that aren't stored one in some 8,000 is
/// looked for all the same: a stretch that is tried at once (`AT_ONCE` of a rebuild) is seldom tried twice for that. With one in a hundred
/// nearly all of them were. The least bits for as few would be 19, but 13 of them a key, each somewhere else in memory.
const BITS: usize = 24;
const HASHES: u32 = 6;
/// Keys that a filter is made for: with more of them it lets more through, and they are looked for. 60 MB.
const LARGEST: usize = 20_000_000;

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

/// A row that is held, or that there is none.
#[derive(Debug, Clone)]
pub(super) struct Held<R> {
    pub now: Option<R>,
    /// Whether the database has one of this key, once all that was taken out is written.
    pub is_stored: bool,
    /// Whether it is to be written.
    pub is_changed: bool,
    /// The try that changed it last.
    pub tried: u64,
    /// When it was last taken out to be written.
    pub out: u64,
}

/// A table's part of a fold.
#[derive(Debug)]
pub(super) struct Folding<R> {
    pub rows: HashMap<String, Held<R>>,
    /// Keys that may be stored; none: any may.
    pub stored: Option<BloomFilter>,
    /// What was held before this try; `None` of what wasn't.
    before: Vec<(String, Option<Held<R>>)>,
    /// Counts the tries.
    pub tries: u64,
    /// Counts how often rows were taken out.
    pub outs: u64,
    /// How many rows are to be written.
    pub changed: usize,
    /// Whether rows can be written by `COPY`.
    pub copies: bool,
}

impl<R: Row> Folding<R> {
    pub(super) fn new(stored: Stored) -> Self {
        let stored = match stored {
            Stored::Shared => None,
            Stored::Own { expected } => Some(BloomFilter::with_num_bits(BITS * expected.clamp(1_000, LARGEST)).hashes(HASHES)),
        };
        let (rows, before) = (HashMap::new(), Vec::new());
        Self { rows, stored, before, tries: 0, outs: 0, changed: 0, copies: false }
    }

    /// The row of a key; none if it has to be looked for.
    pub(super) fn get(&self, key: &str) -> Option<Option<&R>> {
        match self.rows.get(key) {
            Some(held) => Some(held.now.as_ref()),
            None => is_absent(self.stored.as_ref(), key).then_some(None),
        }
    }

    /// The place of a row that is about to be changed; the key, if it has to be looked for.
    pub(super) fn change(&mut self, key: String) -> Result<&mut Option<R>, String> {
        let Self { rows, stored, before, tries, changed, .. } = self;
        match rows.entry(key) {
            Entry::Occupied(mut entry) => {
                // What it was is noted the first time in a try.
                if entry.get().tried < *tries {
                    before.push((entry.key().clone(), Some(entry.get().clone())));
                    let held = entry.get_mut();
                    *changed += usize::from(!held.is_changed);
                    (held.is_changed, held.tried) = (true, *tries);
                }
                Ok(&mut entry.into_mut().now)
            }
            Entry::Vacant(entry) if is_absent(stored.as_ref(), entry.key()) => {
                before.push((entry.key().clone(), None));
                *changed += 1;
                Ok(&mut entry.insert(Held { is_changed: true, tried: *tries, ..Held::loaded(None) }).now)
            }
            Entry::Vacant(entry) => Err(entry.into_key()),
        }
    }

    /// Begins a try.
    pub(super) fn mark(&mut self) {
        self.before.clear();
        self.tries += 1;
    }

    /// Takes back what this try changed.
    pub(super) fn back(&mut self) {
        for (key, before) in self.before.drain(..) {
            self.changed -= usize::from(before.as_ref().is_none_or(|held| !held.is_changed));
            match before {
                None => drop(self.rows.remove(&key)),
                Some(held) => drop(self.rows.insert(key, held)),
            }
        }
    }
}

impl<R> Held<R> {
    pub(super) fn loaded(now: Option<R>) -> Self {
        Self { is_stored: now.is_some(), now, is_changed: false, tried: 0, out: 0 }
    }
}

/// Whether a row that isn't held isn't stored either.
fn is_absent(stored: Option<&BloomFilter>, key: &str) -> bool {
    stored.is_some_and(|stored| !stored.contains(key))
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
