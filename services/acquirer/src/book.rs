//! What the acquirer knows, in tables of a database in one file: authorisations in the order they came, and the idempotency keys that
//! are still remembered.
//!
//! **Invariant:** what is executed in one transaction is there as a whole, on disk, or not at all; readers see whole transactions that
//! are on disk, and nothing else.

use std::fs::{self, File};
use std::ops::Bound;
use std::path::Path;

use anyhow::{Context as _, Error, ensure};
use jiff::{SignedDuration, Timestamp};
use redb::{Database, DatabaseError, ReadableDatabase as _, ReadableTable, ReadableTableMetadata as _};
use redb::{TableDefinition, TableHandle as _, WriteTransaction};
use serde::de::DeserializeOwned;
use serde_json::{Value, json};
use sha2::{Digest as _, Sha256};
use uuid::Uuid;

use crate::authorisation::{Authorisation, Command, Reason};
use crate::problem::Problem;

const FILE: &str = "acquirer.redb";
/// Pages of the file that are kept in memory, read and to be written: room for a full batch. Besides, there are only bitmaps of the pages.
const CACHE: usize = 8 << 20;
/// Keys that are forgotten for each command, at most: more than the one that it brings, so that old ones don't pile up.
const FORGET: usize = 4;

type Json = &'static [u8];
/// By id. Ids rise, so this is the order in which they came.
const AUTHORISATIONS: TableDefinition<'_, u128, Json> = TableDefinition::new("authorisations");
/// Each merchant reference with the ids of its authorisations.
const REFERENCES: TableDefinition<'_, (&str, u128), ()> = TableDefinition::new("references");
const KEYS: TableDefinition<'_, &str, Json> = TableDefinition::new("keys");
/// The keys once more, oldest first, by the millisecond of their use.
const AGES: TableDefinition<'_, (i64, &str), ()> = TableDefinition::new("ages");

/// What a key was used for: a digest of the request, so that no card token is kept; when, in milliseconds; what came of it.
type Remembered = (u128, i64, Authorisation);

/// What was done; or, when it is told again, had been done under the same key: then the authorisation is as it was.
pub struct Answer {
    pub authorisation: Authorisation,
    pub again: bool,
}

/// A command with what decides on it.
pub struct Asked {
    pub key: String,
    pub command: Command,
    /// Every card is declined, whatever its token.
    pub decline_all: bool,
    pub now: Timestamp,
}

/// The open database, locked against a second process. Nothing is ever removed but keys past their retention.
pub struct Book {
    database: Database,
    retention: SignedDuration,
}

impl Book {
    /// Opens the database of a directory; both are made if they aren't there. Every page is checked: guessing loses money.
    pub fn open(dir: &Path, retention: SignedDuration) -> anyhow::Result<Self> {
        fs::create_dir_all(dir).with_context(|| format!("creating {}", dir.display()))?;
        let path = dir.join(FILE);
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
        make_tables(&database).with_context(unfit)?;
        Ok(Self { database, retention })
    }

    /// Executes commands one after the other and commits at most once. An error leaves all of them undone; a problem only its own.
    pub fn execute(&self, batch: &[Asked]) -> anyhow::Result<Vec<Result<Answer, Problem>>> {
        let transaction = self.database.begin_write()?;
        let mut answers = Vec::new();
        if let Some(last) = batch.last() {
            self.forget(&transaction, last.now, FORGET * batch.len())?;
        }
        for asked in batch {
            answers.push(match self.apply(&transaction, asked) {
                Ok(answer) => Ok(answer),
                Err(error) => Err(error.downcast::<Problem>()?),
            });
        }
        // What is only told again, or refused, needs no sync.
        if answers.iter().any(|answer| matches!(answer, Ok(Answer { again: false, .. }))) {
            transaction.commit()?;
        }
        Ok(answers)
    }

    /// Fails with a problem when the command is refused; then nothing has changed.
    fn apply(&self, transaction: &WriteTransaction, asked: &Asked) -> anyhow::Result<Answer> {
        let Asked { key, command, decline_all, now } = asked;
        let (mut authorisations, mut keys) = (transaction.open_table(AUTHORISATIONS)?, transaction.open_table(KEYS)?);
        let (hash, at) = (Sha256::digest(serde_json::to_vec(command)?), now.as_millisecond());
        // 128 bits: nobody finds another request that has the same.
        let digest = hash.iter().take(16).fold(0, |sum, byte| sum << 8 | u128::from(*byte));
        let before = keys.get(key.as_str())?.map(|before| serde_json::from_slice::<Remembered>(before.value())).transpose()?;
        if let Some((known, _, authorisation)) = before.as_ref().filter(|(_, at, _)| !self.expired(*at, *now)) {
            let reused = "this Idempotency-Key was used for another request";
            ensure!(*known == digest, Problem::new("idempotency_key_reused", reused));
            return Ok(Answer { authorisation: authorisation.clone(), again: true });
        }
        let authorisation = match command {
            Command::Authorise(purchase) => {
                let reason = if *decline_all { Some(Reason::DoNotHonour) } else { purchase.decline() };
                // Higher than all before, even where the clock went back.
                let last = authorisations.last()?.map_or(0, |(id, _)| id.value());
                let id = Uuid::now_v7().as_u128().max(last.saturating_add(1));
                Authorisation::new(Uuid::from_u128(id), purchase, reason, *now)
            }
            Command::Change(id, deed) => {
                let mut authorisation: Authorisation = known(&authorisations, *id)?;
                authorisation.change(*deed, *now)?;
                authorisation
            }
        };
        let id = authorisation.id.as_u128();
        authorisations.insert(id, serde_json::to_vec(&authorisation)?.as_slice())?;
        transaction.open_table(REFERENCES)?.insert((authorisation.merchant_reference.as_str(), id), ())?;
        let mut ages = transaction.open_table(AGES)?;
        if let Some((_, at, _)) = before {
            ages.remove((at, key.as_str()))?;
        }
        ages.insert((at, key.as_str()), ())?;
        keys.insert(key.as_str(), serde_json::to_vec(&(digest, at, &authorisation))?.as_slice())?;
        Ok(Answer { authorisation, again: false })
    }

    /// Removes keys whose time is over, the oldest first and so many at most.
    fn forget(&self, transaction: &WriteTransaction, now: Timestamp, most: usize) -> anyhow::Result<()> {
        let (mut ages, mut keys) = (transaction.open_table(AGES)?, transaction.open_table(KEYS)?);
        for _ in 0..most {
            let Some((oldest, _)) = ages.first()? else { break };
            let (at, key) = oldest.value();
            if !self.expired(at, now) {
                break;
            }
            keys.remove(key)?;
            drop(oldest);
            ages.pop_first()?;
        }
        Ok(())
    }

    fn expired(&self, at: i64, now: Timestamp) -> bool {
        SignedDuration::from_millis(now.as_millisecond() - at) >= self.retention
    }

    pub fn find(&self, id: Uuid) -> anyhow::Result<Authorisation> {
        known(&self.database.begin_read()?.open_table(AUTHORISATIONS)?, id)
    }

    /// All authorisations of a merchant reference, oldest first.
    pub fn of_reference(&self, reference: &str) -> anyhow::Result<Vec<Authorisation>> {
        let read = self.database.begin_read()?;
        let authorisations = read.open_table(AUTHORISATIONS)?;
        let entries = read.open_table(REFERENCES)?.range((reference, 0)..=(reference, u128::MAX))?;
        entries.map(|entry| known(&authorisations, Uuid::from_u128(entry?.0.value().1))).collect()
    }

    /// At most `limit` authorisations in the order they came, after that one (from the first, without one); whether more follow.
    pub fn page(&self, after: Option<Uuid>, limit: usize) -> anyhow::Result<(Vec<Authorisation>, bool)> {
        let authorisations = self.database.begin_read()?.open_table(AUTHORISATIONS)?;
        let start = after.map_or(Bound::Unbounded, |id| Bound::Excluded(id.as_u128()));
        if let Bound::Excluded(id) = start {
            let missing = || Problem::wrong(&[("after".to_owned(), "there is no such authorisation".to_owned())]);
            ensure!(authorisations.get(id)?.is_some(), missing());
        }
        let mut following = authorisations.range((start, Bound::Unbounded))?;
        let page = following.by_ref().take(limit).map(|entry| Ok(serde_json::from_slice(entry?.1.value())?));
        let page = page.collect::<anyhow::Result<_>>()?;
        Ok((page, following.next().is_some()))
    }

    /// Counts and sums as README.md has them. Walks over everything, one record at a time: for audits.
    pub fn totals(&self) -> anyhow::Result<Value> {
        let read = self.database.begin_read()?;
        let (authorisations, keys) = (read.open_table(AUTHORISATIONS)?, read.open_table(KEYS)?.len()?);
        let mut totals = json!({ "references": 0, "duplicates": 0, "duplicates_live": 0, "keys": keys, "by_status": {} });
        totals["authorisations"] = json!(authorisations.len()?);
        let add = |to: &mut Value, more: u64| *to = json!(to.as_u64().unwrap_or(0) + more);
        let (mut reference, mut approved, mut live) = (String::new(), 0, 0);
        for entry in read.open_table(REFERENCES)?.iter()? {
            let (entry, _) = entry?;
            let (name, id) = entry.value();
            let record: Value = known(&authorisations, Uuid::from_u128(id))?;
            let (status, currency) =
                (record["status"].as_str().unwrap_or_default(), record["currency"].as_str().unwrap_or_default());
            // No reference is empty.
            if name != reference {
                (reference, approved, live) = (name.to_owned(), 0, 0);
                add(&mut totals["references"], 1);
            }
            if status != "declined" {
                approved += 1;
                add(&mut totals["duplicates"], u64::from(approved == 2));
            }
            if ["authorised", "captured"].contains(&status) {
                live += 1;
                add(&mut totals["duplicates_live"], u64::from(live == 2));
            }
            let of_status = &mut totals["by_status"][status];
            add(&mut of_status["count"], 1);
            for sum in ["amount", "captured", "refunded"] {
                add(&mut of_status["sums"][currency][sum], record[sum].as_u64().unwrap_or(0));
            }
        }
        Ok(totals)
    }
}

/// Readers find all tables; a table of somebody else's says that the file isn't ours.
fn make_tables(database: &Database) -> anyhow::Result<()> {
    let transaction = database.begin_write()?;
    let ours = [AUTHORISATIONS.name(), REFERENCES.name(), KEYS.name(), AGES.name()];
    for table in transaction.list_tables()? {
        ensure!(ours.contains(&table.name()), "its table {:?} is none of an acquirer's", table.name());
    }
    drop((transaction.open_table(AUTHORISATIONS)?, transaction.open_table(REFERENCES)?));
    drop((transaction.open_table(KEYS)?, transaction.open_table(AGES)?));
    Ok(transaction.commit()?)
}

fn known<T: DeserializeOwned>(authorisations: &impl ReadableTable<u128, Json>, id: Uuid) -> anyhow::Result<T> {
    let found =
        authorisations.get(id.as_u128())?.ok_or_else(|| Problem::new("not_found", format!("there is no authorisation {id}")))?;
    Ok(serde_json::from_slice(found.value())?)
}
