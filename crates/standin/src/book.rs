//! What a stand-in knows, in tables of a database in one file: its records in the order they came, and the idempotency keys that are
//! still remembered.
//!
//! **Invariant:** what is executed in one transaction is there as a whole, on disk, or not at all; readers see whole transactions that
//! are on disk, and nothing else.

use std::fs::{self, File};
use std::ops::Bound;
use std::path::Path;

use anyhow::{Context as _, Error, ensure};
use jiff::{SignedDuration, Timestamp};
use redb::{Database, DatabaseError, ReadTransaction, ReadableDatabase as _, ReadableTable as _};
use redb::{ReadableTableMetadata as _, TableHandle as _, WriteTransaction};
use serde_json::{Value, json};
use uuid::Uuid;

use crate::faults::Faults;
use crate::keys::{self, AGES, KEYS};
use crate::problem::Problem;
use crate::record::{REFERENCES, Record, known, table};
use crate::writing::Writing;

/// Pages of the file that are kept in memory, read and to be written: room for a full batch. Besides, there are only bitmaps of the pages.
const CACHE: usize = 8 << 20;
/// Keys that are forgotten for each command, at most: more than the one that it brings, so that old ones don't pile up.
const FORGET: usize = 4;

/// A table of a stand-in's own: its name, and what creates it.
pub type Table = (&'static str, fn(&WriteTransaction) -> anyhow::Result<()>);
/// A count of references that have more than one record of a kind: its name, and the kind.
pub type Duplicates<R> = (&'static str, fn(&R) -> bool);

/// What a stand-in does.
pub trait Trade: Send + Sync + 'static {
    type Record: Record;
    /// A command with what decides on it.
    type Asked: Send + 'static;
    type Answer: Send + 'static;
    type Faults: Faults;

    /// Besides those of records and keys.
    const TABLES: &'static [Table] = &[];
    /// Counted in the totals.
    const DUPLICATES: &'static [Duplicates<Self::Record>];

    /// When a command came.
    fn time(asked: &Self::Asked) -> Timestamp;

    /// Executes a command. Fails with a problem when it is refused; then nothing has changed.
    fn apply(&self, writing: &Writing<'_, Self::Record>, asked: &Self::Asked) -> anyhow::Result<Self::Answer>;

    /// Something was committed, and shows.
    fn committed(&self) {}

    /// A record as it shows now, where time has changed it.
    fn view(&self, record: Self::Record) -> Self::Record {
        record
    }

    /// Adds a record's amounts to those of its status, for the totals.
    fn sum(_of_status: &mut Value, _record: &Value) {}

    /// Adds to the totals what is in the stand-in's own tables.
    fn total(_totals: &mut Value, _read: &ReadTransaction) -> anyhow::Result<()> {
        Ok(())
    }
}

/// The open database, locked against a second process. No record is ever removed.
pub struct Book<T> {
    database: Database,
    retention: SignedDuration,
    trade: T,
}

impl<T: Trade + Default> Book<T> {
    pub fn open(dir: &Path, retention: SignedDuration) -> anyhow::Result<Self> {
        Self::open_for(dir, retention, T::default())
    }
}

impl<T: Trade> Book<T> {
    /// Opens the database of a directory; both are created if they aren't there. Every page is checked: guessing loses records.
    pub fn open_for(dir: &Path, retention: SignedDuration, trade: T) -> anyhow::Result<Self> {
        fs::create_dir_all(dir).with_context(|| format!("creating {}", dir.display()))?;
        let path = dir.join(format!("{}.redb", T::Record::OF));
        let unfit = || format!("{} can't be used: restore the file or move it away", path.display());
        let opened = Database::builder().set_cache_size(CACHE).set_check_integrity_on_open(true).create(&path);
        let database = opened.map_err(|error| match error {
            DatabaseError::DatabaseAlreadyOpen => {
                Error::msg(format!("data directory {} is in use by another process", dir.display()))
            }
            error => Error::new(error).context(unfit()),
        })?;
        // A new file's name is safe only once the directory is.
        File::open(dir).and_then(|dir| dir.sync_all()).with_context(|| format!("syncing {}", dir.display()))?;
        make_tables::<T>(&database).with_context(unfit)?;
        Ok(Self { database, retention, trade })
    }

    /// Executes commands one after the other and commits at most once. An error leaves all of them undone; a problem only its own.
    pub fn execute(&self, batch: &[T::Asked]) -> anyhow::Result<Vec<Result<T::Answer, Problem>>> {
        let transaction = self.database.begin_write()?;
        if let Some(last) = batch.last() {
            keys::forget(&transaction, (T::time(last), self.retention), FORGET * batch.len())?;
        }
        let (writing, mut answers) = (Writing::new(&transaction, self.retention), Vec::new());
        for asked in batch {
            answers.push(match self.trade.apply(&writing, asked) {
                Ok(answer) => Ok(answer),
                Err(error) => Err(error.downcast::<Problem>()?),
            });
        }
        // What is only told again, or refused, needs no sync.
        if writing.is_changed() {
            transaction.commit()?;
            self.trade.committed();
        }
        Ok(answers)
    }

    /// What is on disk, for the stand-in's own tables.
    pub fn read(&self) -> anyhow::Result<ReadTransaction> {
        Ok(self.database.begin_read()?)
    }

    pub fn find(&self, id: Uuid) -> anyhow::Result<T::Record> {
        Ok(self.trade.view(known(&self.read()?.open_table(table::<T::Record>())?, id)?))
    }

    /// All records of a reference, oldest first.
    pub fn of_reference(&self, reference: &str) -> anyhow::Result<Vec<T::Record>> {
        let read = self.read()?;
        let records = read.open_table(table::<T::Record>())?;
        let entries = read.open_table(REFERENCES)?.range((reference, 0)..=(reference, u128::MAX))?;
        entries.map(|entry| Ok(self.trade.view(known(&records, Uuid::from_u128(entry?.0.value().1))?))).collect()
    }

    /// At most `limit` records in the order they came, after that one (from the first, without one); whether more follow.
    pub fn page(&self, after: Option<Uuid>, limit: usize) -> anyhow::Result<(Vec<T::Record>, bool)> {
        let records = self.read()?.open_table(table::<T::Record>())?;
        let start = after.map_or(Bound::Unbounded, |id| Bound::Excluded(id.as_u128()));
        if let Bound::Excluded(id) = start {
            let missing = || Problem::wrong(&[("after".to_owned(), format!("there is no such {}", T::Record::ONE))]);
            ensure!(records.get(id)?.is_some(), missing());
        }
        let mut following = records.range((start, Bound::Unbounded))?;
        let page = following.by_ref().take(limit).map(|entry| Ok(self.trade.view(serde_json::from_slice(entry?.1.value())?)));
        let page = page.collect::<anyhow::Result<_>>()?;
        Ok((page, following.next().is_some()))
    }

    /// Counts and sums as the stand-in's README.md has them. Walks over everything, one record at a time: for audits.
    pub fn totals(&self) -> anyhow::Result<Value> {
        let read = self.read()?;
        let (records, keys) = (read.open_table(table::<T::Record>())?, read.open_table(KEYS)?.len()?);
        let mut totals = json!({ "references": 0, "keys": keys, "by_status": {} });
        totals[T::Record::MANY] = json!(records.len()?);
        for (name, _) in T::DUPLICATES {
            totals[*name] = json!(0);
        }
        let (mut reference, mut seen) = (String::new(), vec![0; T::DUPLICATES.len()]);
        for entry in read.open_table(REFERENCES)?.iter()? {
            let (entry, _) = entry?;
            let (name, id) = entry.value();
            let record = self.trade.view(known(&records, Uuid::from_u128(id))?);
            // No reference is empty.
            if name != reference {
                name.clone_into(&mut reference);
                seen.fill(0);
                add(&mut totals["references"], 1);
            }
            for ((name, counts), seen) in T::DUPLICATES.iter().zip(&mut seen) {
                if counts(&record) {
                    *seen += 1;
                    add(&mut totals[*name], u64::from(*seen == 2));
                }
            }
            let record = json!(record);
            let of_status = &mut totals["by_status"][record["status"].as_str().unwrap_or_default()];
            add(&mut of_status["count"], 1);
            T::sum(of_status, &record);
        }
        T::total(&mut totals, &read)?;
        Ok(totals)
    }
}

/// Adds to a count of the totals, which may not be there yet.
pub fn add(to: &mut Value, more: u64) {
    *to = json!(to.as_u64().unwrap_or(0) + more);
}

/// Readers find all tables; a table of somebody else's says that the file isn't ours.
fn make_tables<T: Trade>(database: &Database) -> anyhow::Result<()> {
    let (transaction, of) = (database.begin_write()?, T::Record::OF);
    let common = [T::Record::MANY, REFERENCES.name(), KEYS.name(), AGES.name()];
    let article = if of.starts_with(['a', 'e', 'i', 'o', 'u']) { "an" } else { "a" };
    for found in transaction.list_tables()? {
        let ours = common.contains(&found.name()) || T::TABLES.iter().any(|(name, _)| *name == found.name());
        ensure!(ours, "its table {:?} is none of {article} {of}'s", found.name());
    }
    drop((transaction.open_table(table::<T::Record>())?, transaction.open_table(REFERENCES)?));
    drop((transaction.open_table(KEYS)?, transaction.open_table(AGES)?));
    for (_, create) in T::TABLES {
        create(&transaction)?;
    }
    Ok(transaction.commit()?)
}
