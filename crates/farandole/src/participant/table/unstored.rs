//! A table whose rows lie in memory instead of a database.

use std::sync::Arc;

use super::memory::{AnyRow, Find, Put};
use super::row::Row;
use super::{Keys, Table};

impl<R: Row> Table<R> {
    /// Loads the rows of `keys` that aren't loaded yet.
    #[doc(hidden)]
    pub fn load_from(&mut self, keys: &Keys, find: Find<'_>) {
        for key in keys.table(R::TABLE) {
            if !self.is_held(key) {
                let row = find(R::TABLE, key).and_then(|row| row.as_any().downcast_ref::<R>().cloned());
                self.hold(key.clone(), row);
            }
        }
    }

    /// Gives every row that changed.
    #[doc(hidden)]
    pub fn store_to(&self, put: Put<'_>) {
        for (key, slot) in self.rows.iter().filter(|(_, slot)| slot.now != slot.stored) {
            put(R::TABLE, key, slot.now.clone().map(|row| Arc::new(row) as Arc<dyn AnyRow>));
        }
    }
}
