//! The state of a world: what each participant's database and topic hold, and what may still come from outside.
//!
//! Parts are shared between states: a step copies one participant's lists of pointers, and makes anew what it changes.

use std::any::Any;
use std::fmt;
use std::hash::{Hash, Hasher};
use std::sync::Arc;

use farandole::table::AnyRow;
use farandole::{Answer, Keys};
use uuid::Uuid;

use crate::fault::Fault;
use crate::prints::{Prints, add, take};

/// The whole state.
#[derive(Clone)]
pub struct State {
    /// Logical time: microseconds since the world began.
    pub(crate) at: i64,
    pub(crate) locals: Vec<Arc<Local>>,
    /// What is left of each command.
    pub(crate) commands: Vec<Asked>,
    /// How often inputs may be delivered again.
    pub(crate) redeliveries: u8,
    /// How often an operator may drop a parked input.
    pub(crate) drops: u8,
    /// What the last step did that no participant may do.
    pub(crate) fault: Option<Arc<Fault>>,
    pub(crate) print: u64,
}

/// What callers have done with a command.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Asked {
    pub left: u8,
    pub repeats: u8,
}

impl fmt::Debug for State {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "State({:016x})", self.print)
    }
}

impl Hash for State {
    fn hash<H: Hasher>(&self, hasher: &mut H) {
        hasher.write_u64(self.print);
    }
}

impl PartialEq for State {
    fn eq(&self, other: &Self) -> bool {
        self.print == other.print
    }
}

/// What one participant has.
#[derive(Clone)]
pub(crate) struct Local {
    /// By table and key.
    pub rows: Vec<Arc<Stored>>,
    /// Its topic, by key.
    pub logs: Vec<Arc<Log>>,
    /// How many records that it handles it has had of each log, by participant and key.
    pub reads: Vec<Read>,
    /// By name, key and cause.
    pub tasks: Vec<Arc<Task>>,
    /// What the outside world has done for it, by idempotency key.
    pub books: Vec<Arc<Booked>>,
    /// In the order in which it was parked.
    pub parked: Vec<Arc<Parked>>,
    /// Answers by idempotency key.
    pub known: Vec<Arc<Known>>,
    pub prints: Prints,
}

/// A row that changed, or is no more: table, key, row.
pub(crate) type Changed = (&'static str, String, Option<Arc<dyn AnyRow>>);

/// A row.
pub(crate) struct Stored {
    pub table: &'static str,
    pub key: String,
    pub row: Arc<dyn AnyRow>,
    pub prints: Prints,
}

/// The events of one key.
#[derive(Clone)]
pub(crate) struct Log {
    pub key: Arc<str>,
    pub entries: Vec<Arc<Entry>>,
}

/// An event.
pub(crate) struct Entry {
    pub kind: &'static str,
    pub payload: Vec<u8>,
    /// The participant's own type.
    pub event: Arc<dyn Any + Send + Sync>,
    pub cause: String,
    /// The event that led to it; none if a caller did, or nobody says.
    pub parent: Option<Place>,
    /// Which rows deciding had, which are those that `evolve` may look at.
    pub keys: Arc<Keys>,
    /// Which participants handle it, a bit each.
    pub heard_by: u32,
    pub prints: Prints,
}

/// Where an event stands: participant, key, place in the key's log.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Place {
    pub of: usize,
    pub key: Arc<str>,
    pub at: usize,
}

/// How far a log has been read.
#[derive(Clone)]
pub(crate) struct Read {
    pub from: usize,
    pub key: Arc<str>,
    pub had: usize,
    pub prints: Prints,
}

/// A deadline or effect.
#[derive(Clone)]
pub(crate) struct Task {
    pub name: String,
    pub key: String,
    pub cause: Uuid,
    /// The same as `cause`, in words: the key of the event that opened it, and its place there.
    pub from: String,
    pub due: i64,
    pub effect: Option<Asking>,
    pub prints: Prints,
}

/// How far an effect has come.
#[derive(Clone)]
pub(crate) struct Asking {
    pub effect: serde_json::Value,
    pub idempotency: Uuid,
    /// How many answers there are.
    pub outcomes: usize,
    pub started: bool,
    pub closed: bool,
    /// How often an answer was lost on the way.
    pub lost: u8,
}

/// What the outside world has done once.
pub(crate) struct Booked {
    /// Who asked under this key first, which is what was done.
    pub first: Arc<Task>,
    pub idempotency: Uuid,
    pub outcome: usize,
    /// `(P::Effect, OutcomeOf<P>)`.
    pub both: Arc<dyn Any + Send + Sync>,
    pub text: String,
    /// Whose answers the participant has had, by name, key and cause.
    pub told: Vec<Arc<Task>>,
    pub prints: Prints,
}

/// An input that is parked.
pub(crate) struct Parked {
    pub given: Given,
    pub aggregate: String,
    pub key: String,
    pub why: String,
    pub cause: String,
    pub prints: Prints,
}

/// An answer that was given under a key.
pub(crate) struct Known {
    pub at: (String, String),
    pub hash: Vec<u8>,
    pub answer: Answer,
    pub prints: Prints,
}

/// One input.
#[derive(Clone)]
pub(crate) enum Given {
    /// The record of participant `from` at place `at` of a key's log.
    Record { from: usize, key: Arc<str>, at: usize },
    /// A command, asked for the `nth` time.
    Command { which: usize, nth: u8 },
    /// A deadline.
    Deadline { task: Arc<Task> },
    /// What the outside world answered about a task.
    Outcome { task: Arc<Task>, booked: Arc<Booked> },
}

impl Local {
    pub fn new(prints: Prints) -> Self {
        let (rows, logs, reads, tasks) = (Vec::new(), Vec::new(), Vec::new(), Vec::new());
        Self { rows, logs, reads, tasks, books: Vec::new(), parked: Vec::new(), known: Vec::new(), prints }
    }

    pub fn row(&self, table: &str, key: &str) -> Option<&Arc<Stored>> {
        self.rows.binary_search_by(|row| (row.table, row.key.as_str()).cmp(&(table, key))).ok().map(|i| &self.rows[i])
    }

    /// The row itself.
    pub fn stored(&self, table: &str, key: &str) -> Option<Arc<dyn AnyRow>> {
        self.row(table, key).map(|stored| Arc::clone(&stored.row))
    }

    /// Stores a row in the place of the one of its key, or takes that away.
    pub fn put(&mut self, table: &'static str, key: &str, row: Option<Stored>) {
        match (self.rows.binary_search_by(|row| (row.table, row.key.as_str()).cmp(&(table, key))), row) {
            (Ok(i), Some(row)) => {
                take(&mut self.prints, &self.rows[i].prints);
                add(&mut self.prints, &row.prints);
                self.rows[i] = Arc::new(row);
            }
            (Ok(i), None) => take(&mut self.prints, &self.rows.remove(i).prints),
            (Err(i), Some(row)) => {
                add(&mut self.prints, &row.prints);
                self.rows.insert(i, Arc::new(row));
            }
            (Err(_), None) => {}
        }
    }

    pub fn log(&self, key: &str) -> Option<&Arc<Log>> {
        self.logs.binary_search_by(|log| (*log.key).cmp(key)).ok().map(|i| &self.logs[i])
    }

    pub fn append(&mut self, key: &str, entry: Entry) {
        add(&mut self.prints, &entry.prints);
        match self.logs.binary_search_by(|log| (*log.key).cmp(key)) {
            Ok(i) => Arc::make_mut(&mut self.logs[i]).entries.push(Arc::new(entry)),
            Err(i) => self.logs.insert(i, Arc::new(Log { key: key.into(), entries: vec![Arc::new(entry)] })),
        }
    }

    pub fn had(&self, from: usize, key: &str) -> usize {
        let place = self.reads.binary_search_by(|read| (read.from, &*read.key).cmp(&(from, key)));
        place.map_or(0, |i| self.reads[i].had)
    }

    pub fn read_to(&mut self, read: Read) {
        match self.reads.binary_search_by(|other| (other.from, &*other.key).cmp(&(read.from, &*read.key))) {
            Ok(i) => {
                take(&mut self.prints, &self.reads[i].prints);
                add(&mut self.prints, &read.prints);
                self.reads[i] = read;
            }
            Err(i) => {
                add(&mut self.prints, &read.prints);
                self.reads.insert(i, read);
            }
        }
    }

    pub fn open(&mut self, task: Task) {
        add(&mut self.prints, &task.prints);
        let at = |task: &Task| (task.name.clone(), task.key.clone(), task.cause);
        match self.tasks.binary_search_by(|other| at(other).cmp(&at(&task))) {
            Ok(i) => self.tasks[i] = Arc::new(task),
            Err(i) => self.tasks.insert(i, Arc::new(task)),
        }
    }

    /// Takes a task away, if it is there.
    pub fn end(&mut self, name: &str, key: &str, cause: Uuid) -> Option<Arc<Task>> {
        let i = self.tasks.iter().position(|task| task.cause == cause && task.name == name && task.key == key)?;
        let task = self.tasks.remove(i);
        take(&mut self.prints, &task.prints);
        Some(task)
    }

    pub fn booked(&self, idempotency: Uuid) -> Option<&Arc<Booked>> {
        self.books.iter().find(|booked| booked.idempotency == idempotency)
    }

    pub fn book(&mut self, booked: Arc<Booked>) {
        add(&mut self.prints, &booked.prints);
        match self.books.iter().position(|other| other.idempotency == booked.idempotency) {
            Some(i) => {
                take(&mut self.prints, &self.books[i].prints);
                self.books[i] = booked;
            }
            None => self.books.push(booked),
        }
    }

    pub fn park(&mut self, parked: Parked) {
        add(&mut self.prints, &parked.prints);
        self.parked.push(Arc::new(parked));
    }

    pub fn unpark(&mut self, i: usize) {
        let parked = self.parked.remove(i);
        take(&mut self.prints, &parked.prints);
    }

    /// Replaces a parked input's fingerprint.
    pub fn reprint(&mut self, i: usize, prints: Prints) {
        let parked = &*self.parked[i];
        if parked.prints == prints {
            return;
        }
        take(&mut self.prints, &parked.prints);
        add(&mut self.prints, &prints);
        let Parked { given, aggregate, key, why, cause, .. } = parked;
        let (given, aggregate, key) = (given.clone(), aggregate.clone(), key.clone());
        self.parked[i] = Arc::new(Parked { given, aggregate, key, why: why.clone(), cause: cause.clone(), prints });
    }

    pub fn know(&mut self, known: Known) {
        add(&mut self.prints, &known.prints);
        self.known.push(Arc::new(known));
    }
}
