//! The book and its log together: executes a command once per key, and shows only what is on disk.
//!
//! A request is decided, appended to the log and applied to the book under one lock, so the log has the order of the decisions. Then
//! the lock is let go and the caller waits for the disk. A second request with the same key finds the first one's answer and waits for
//! the same line; so one executes, whatever the timing, and a caller who goes away leaves nothing half done.

use std::path::Path;
use std::sync::{Mutex, MutexGuard, PoisonError};

use jiff::{SignedDuration, Timestamp};
use uuid::Uuid;

use crate::authorisation::{Authorisation, Command, Operation, Purchase, Refusal, State};
use crate::book::{Book, Digest, Line, Remembered, Totals};
use crate::log::{self, Directory, Log};
use crate::rules::{self, Issuer};

/// What was done, or had been done under the same key.
#[derive(Debug)]
pub struct Answer {
    pub authorisation: Authorisation,
    pub operation: Operation,
    pub replayed: bool,
}

/// Part of the ledger.
#[derive(Debug)]
pub struct Page {
    pub authorisations: Vec<Authorisation>,
    pub more: bool,
}

/// Why a command was not executed. But for `Log`, nothing changed; with [`log::Error::Failed`], nobody knows.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    #[error("the idempotency key was used for another request")]
    KeyReused,
    #[error("there is no authorisation {0}")]
    NotFound(Uuid),
    #[error("the authorisation is in another state")]
    Refused(#[source] Refusal),
    #[error("the log did not take the request")]
    Log(#[source] log::Error),
}

/// All that the acquirer knows, on disk and in memory.
pub struct Store {
    book: Mutex<Book>,
    log: Log,
}

// === impl Store ===

impl Store {
    /// Replays and compacts the log of a directory, which is made if it isn't there.
    pub fn open(dir: &Path, retention: SignedDuration, now: Timestamp) -> Result<Self, log::Error> {
        let directory = Directory::open(dir)?;
        let mut book = Book::new(retention);
        let replayed = directory.replay(|line| {
            book.apply(line);
        })?;
        book.forget(now);
        if replayed.torn {
            tracing::warn!(lines = replayed.lines, "dropped a torn last line: nobody was answered for it");
        }
        let log = directory.rewrite(book.lines())?;
        Ok(Self { book: Mutex::new(book), log })
    }

    /// Executes a command, or finds what the same key and request gave before.
    pub async fn execute(&self, key: &str, command: &Command, issuer: Issuer, now: Timestamp) -> Result<Answer, Error> {
        let (answer, number) = self.decide(key, command, issuer, now)?;
        self.log.durable(number).await.map_err(Error::Log)?;
        Ok(answer)
    }

    pub async fn find(&self, id: Uuid) -> Result<Option<Authorisation>, log::Error> {
        self.read(|book| book.find(id).cloned()).await
    }

    pub async fn of_reference(&self, reference: &str) -> Result<Vec<Authorisation>, log::Error> {
        self.read(|book| book.of_reference(reference).cloned().collect()).await
    }

    /// `None`: there is no authorisation `after`.
    pub async fn page(&self, after: Option<Uuid>, limit: usize) -> Result<Option<Page>, log::Error> {
        self.read(|book| {
            let (records, more) = book.page(after, limit)?;
            Some(Page { authorisations: records.to_vec(), more })
        })
        .await
    }

    pub async fn totals(&self) -> Result<Totals, log::Error> {
        self.read(Book::totals).await
    }

    /// Waits for the failure of the log.
    pub async fn failed(&self) {
        self.log.ended().await;
    }

    fn decide(&self, key: &str, command: &Command, issuer: Issuer, now: Timestamp) -> Result<(Answer, u64), Error> {
        let key = Digest::of(key);
        let request = Digest::of(&command.canonical());
        let mut book = self.lock();
        book.forget(now);
        if let Some(before) = book.remembered(&key, now) {
            if before.request != request {
                return Err(Error::KeyReused);
            }
            return Ok((replay(&book, before)?, self.log.last()));
        }
        let authorisation = outcome(&book, command, issuer, now)?;
        let operation = command.operation();
        let key = Remembered {
            key,
            request,
            at: now,
            operation,
            id: authorisation.id,
            state: authorisation.state,
            updated_at: authorisation.updated_at,
        };
        let line = Line { authorisation: Some(authorisation.clone()), key: Some(key) };
        let number = self.log.append(&line).map_err(Error::Log)?;
        book.apply(line);
        Ok((Answer { authorisation, operation, replayed: false }, number))
    }

    /// Reads, and waits until all that could have been read is on disk: no crash takes back what was shown.
    async fn read<T>(&self, look: impl FnOnce(&Book) -> T) -> Result<T, log::Error> {
        let (seen, number) = {
            let book = self.lock();
            (look(&book), self.log.last())
        };
        self.log.durable(number).await?;
        Ok(seen)
    }

    /// `Book::apply` is the only change and fails nowhere, so a poisoned lock guards a whole book.
    fn lock(&self) -> MutexGuard<'_, Book> {
        self.book.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The authorisation as it will be when the command is done.
fn outcome(book: &Book, command: &Command, issuer: Issuer, now: Timestamp) -> Result<Authorisation, Error> {
    let known = |id: &Uuid| book.find(*id).ok_or(Error::NotFound(*id));
    let (known, state) = match command {
        Command::Authorise(purchase) => return Ok(authorise(purchase, issuer, now)),
        Command::Capture { id, amount } => (known(id)?, known(id)?.capture(*amount)),
        Command::Void { id } => (known(id)?, known(id)?.void()),
        Command::Refund { id, amount } => (known(id)?, known(id)?.refund(*amount)),
    };
    let state = state.map_err(Error::Refused)?;
    if state == known.state {
        return Ok(known.clone());
    }
    Ok(Authorisation { state, updated_at: now, ..known.clone() })
}

fn authorise(purchase: &Purchase, issuer: Issuer, now: Timestamp) -> Authorisation {
    let state = match rules::decline(purchase, issuer) {
        Some(reason) => State::Declined { reason },
        None => State::Authorised,
    };
    Authorisation {
        id: Uuid::now_v7(),
        merchant_reference: purchase.merchant_reference.as_str().into(),
        amount: purchase.amount,
        currency: purchase.currency,
        created_at: now,
        updated_at: now,
        state,
    }
}

/// The answer as it was, whatever has happened since.
fn replay(book: &Book, before: &Remembered) -> Result<Answer, Error> {
    let known = book.find(before.id).ok_or(Error::NotFound(before.id))?;
    let authorisation = Authorisation { state: before.state, updated_at: before.updated_at, ..known.clone() };
    Ok(Answer { authorisation, operation: before.operation, replayed: true })
}
