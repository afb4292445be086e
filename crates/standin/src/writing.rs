//! What a command may do to the book, within the transaction of its group.

use std::cell::Cell;
use std::marker::PhantomData;

use jiff::{SignedDuration, Timestamp};
use redb::{ReadableTable as _, WriteTransaction};
use serde::Serialize;
use uuid::Uuid;

use crate::keys;
use crate::record::{REFERENCES, Record, known, table};

/// A transaction, and whether anything in it is worth a sync.
pub struct Writing<'a, R> {
    transaction: &'a WriteTransaction,
    retention: SignedDuration,
    changed: Cell<bool>,
    records: PhantomData<fn() -> R>,
}

impl<'a, R: Record> Writing<'a, R> {
    pub(crate) fn new(transaction: &'a WriteTransaction, retention: SignedDuration) -> Self {
        Self { transaction, retention, changed: Cell::new(false), records: PhantomData }
    }

    pub(crate) fn is_changed(&self) -> bool {
        self.changed.get()
    }

    /// For the stand-in's own tables, which are about to change.
    pub fn own(&self) -> &'a WriteTransaction {
        self.changed.set(true);
        self.transaction
    }

    /// Executes a request under its key and keeps the record as it became; or finds what the same key and request gave before: that, and
    /// whether it is told again. Fails with a problem when the request is refused; then `deed` must have changed nothing.
    pub fn once(
        &self,
        key: &str,
        request: &impl Serialize,
        now: Timestamp,
        deed: impl FnOnce() -> anyhow::Result<R>,
    ) -> anyhow::Result<(R, bool)> {
        if let Some(before) = keys::recall(self.transaction, key, request, (now, self.retention))? {
            return Ok((before, true));
        }
        let record = deed()?;
        self.keep(&record)?;
        keys::remember(self.transaction, key, request, now, &record)?;
        Ok((record, false))
    }

    /// Keeps a record, new or changed.
    pub fn keep(&self, record: &R) -> anyhow::Result<()> {
        let (transaction, id) = (self.own(), record.id().as_u128());
        transaction.open_table(table::<R>())?.insert(id, serde_json::to_vec(record)?.as_slice())?;
        transaction.open_table(REFERENCES)?.insert((record.reference(), id), ())?;
        Ok(())
    }

    pub fn find(&self, id: Uuid) -> anyhow::Result<R> {
        known(&self.transaction.open_table(table::<R>())?, id)
    }

    /// An id that is higher than all before, even where the clock went back.
    pub fn new_id(&self) -> anyhow::Result<Uuid> {
        let records = self.transaction.open_table(table::<R>())?;
        let last = records.last()?.map_or(0, |(id, _)| id.value());
        Ok(Uuid::from_u128(Uuid::now_v7().as_u128().max(last.saturating_add(1))))
    }
}
