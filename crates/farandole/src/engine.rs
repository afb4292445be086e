//! One batch of inputs, one transaction: load and lock, decide, evolve, store, outbox, agenda, position, commit.
//!
//! **Guarantees.** All of a batch's effects on the database happen, or none; each decision sees what those before it in the
//! batch changed; a source that has lost its position or claim commits nothing.
//!
//! **Locks** are taken in one order everywhere: [the one that a heal wants alone](writes), idempotency keys, aggregates and shared rows table by table, tasks, position;
//! sorted within each. Two batches can still wait for each other in a ring when a row appears between a look and the second
//! look; PostgreSQL then ends one, whose owner runs it again. Callers never see that.
//!
//! **How it would fail without**: with one order of locks dropped, two batches of strangers deadlock under load; with the
//! claim read before the rows are locked, a batch and the closing of its task wait for each other; with the position moved
//! in a transaction of its own, a crash between the two applies an input twice or never.

mod idempotency;
mod plan;
pub mod session;
pub(crate) mod sessions;
mod transaction;
pub(crate) mod writes;

pub(crate) use plan::{KEYED, guarded, guarded_async, op};
pub(crate) use session::LIMIT;
pub use sessions::Sessions;
pub(crate) use transaction::given_up;
pub use transaction::{Engine, Wake};

use std::future::Future;

use sqlx::PgConnection;
use uuid::Uuid;

use crate::codec::Codec;
use crate::parking::input::Task;
use crate::parking::journal::Journal;
use crate::participant::{Body, Input, Participant};
use crate::problem::{Answer, Problem};
use crate::record::{Record, Said};
use crate::time::Timestamp;
use crate::trouble::{Trouble, Troubled};

/// One input and where it came from.
#[derive(Debug)]
pub struct Work<P: Participant> {
    /// What is to be decided. The engine sets its time.
    pub input: Input<P>,
    /// Where it came from.
    pub origin: Origin,
}

impl<P: Participant> Work<P> {
    /// An input with a fresh id.
    pub fn new(body: Body<P>, origin: Origin) -> Self {
        Self { input: Input { id: Uuid::now_v7(), at: Timestamp::default(), body }, origin }
    }
}

/// Where an input came from: what its events' headers will say.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Origin {
    /// `topic/partition/offset`, `command/<id>`, and for tasks `deadline/<name>/<id of the event that opened it>` or `outcome/…`.
    pub cause: String,
    /// Shared by everything that one first command led to; `None` begins a new one.
    pub correlation: Option<Uuid>,
    /// W3C trace context of the cause.
    pub traceparent: Option<String>,
    /// For commands that came with a key: who asked, the key, and what was asked.
    pub idempotency: Option<Idempotency>,
    /// The name of a record's or task's key: what is parked under it holds this up as well.
    pub key: Option<String>,
}

/// A caller's `Idempotency-Key`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Idempotency {
    /// Caller and route: two callers' equal keys are two keys.
    pub scope: String,
    /// The key.
    pub key: String,
    /// SHA-256 of what was asked.
    pub body_hash: [u8; 32],
}

/// What became of an input.
#[derive(Debug, Clone, PartialEq)]
pub enum Verdict {
    /// Decided and stored; with the caller's answer if it was a command.
    Done(Option<Answer>),
    /// A command that was refused, with the problem for its caller.
    Refused(Problem),
    /// The input can't be processed; the caller of the engine parks it.
    Parked(Fault),
    /// Its aggregate or key is parked, so this input has to wait behind what is.
    Held {
        /// Under what.
        behind: String,
    },
    /// Its claim no longer stands: somebody else has done it. Nothing was decided.
    Lost,
}

/// Why an input can't be processed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Fault {
    /// In words, for the operator.
    pub reason: String,
    /// Whether it isn't the input that is wrong: what it needs may still come, or the system is in trouble. It doesn't count as a failure.
    pub passing: bool,
}

/// Where a batch's inputs come from, inside the batch's transaction: positions, claims, parked rows.
pub trait Source<W>: Send {
    /// Called once the batch's rows are locked: says which inputs still stand, one a work.
    fn claim(&mut self, conn: &mut PgConnection, works: &[W]) -> impl Future<Output = Result<Vec<bool>, Error>> + Send;
    /// Called first: the number of the comparison that this batch rests on; none where nothing is compared. What a source remembers of
    /// the database from batch to batch is worth nothing under another one.
    fn rests_on(&mut self, _comparison: Option<u64>) {}
    /// Whether these inputs come from the parked ones, so that what is parked doesn't hold them.
    fn releases(&self) -> bool {
        false
    }
    /// Called last before the commit: moves the position, settles the claims, parks what must be.
    fn settle(
        &mut self,
        conn: &mut PgConnection,
        works: &[W],
        verdicts: &[Verdict],
    ) -> impl Future<Output = Result<(), Error>> + Send;
}

/// What the intake hands records to: an [`Engine`] with its participant, or [`Handling`](crate::handler::Handling) with a handler
/// over tables of its own. Positions, chain, lanes and parking are the same for both.
pub trait Processor: std::fmt::Debug + Send + Sync + 'static {
    /// What a record becomes.
    type Work: Send + Sync + 'static;
    /// Whose positions, parked inputs and memories these are, among all that read topics into this database.
    fn reader(&self) -> &str;
    /// Where batches run.
    fn sessions(&self) -> &Sessions;
    /// What values are read with.
    fn codec(&self) -> &Codec;
    /// Where it is told what was parked and released; none for who has no topic.
    fn journal(&self) -> Option<Journal>;
    /// What a record says, judged by its headers and value alone.
    fn read(&self, record: &Record) -> Said<Self::Work>;
    /// What a parked task of the agenda brought.
    fn task(&self, task: &Task) -> Said<Self::Work>;
    /// Under what `work` parks when it can't be processed: a [name](crate::parking::name).
    ///
    /// # Errors
    /// When that can't be told.
    fn aggregate(&self, work: &Self::Work) -> Result<String, Error>;
    /// Runs all of `works` in one transaction.
    ///
    /// # Errors
    /// As [`Engine::run`].
    fn run<S: Source<Self::Work>>(
        &self,
        works: &mut [Self::Work],
        source: &mut S,
    ) -> impl Future<Output = Result<Vec<Verdict>, Error>> + Send;
}

/// What a record says to `processor`. Its code is the service's, and may panic: that is the record's fault.
pub(crate) fn read<P: Processor>(processor: &P, record: &Record) -> Said<P::Work> {
    guarded(|| processor.read(record)).unwrap_or_else(|e| Said::Fault(Fault { reason: e.to_string(), passing: false }))
}

/// Why a batch was not committed. Nothing of it has happened.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The database's word.
    #[error("batch of {inputs} input(s): {doing}")]
    Database {
        /// What was being done.
        doing: &'static str,
        /// How many inputs.
        inputs: usize,
        /// The cause.
        #[source]
        source: sqlx::Error,
    },
    /// Somebody else has moved on from where this batch began: this owner has lost its partition or claim.
    #[error("fenced: {0}")]
    Fenced(String),
    /// No more can be parked.
    #[error("{0}")]
    Full(String),
    /// The database isn't known to be what the topics continue: nothing is decided on it; see
    /// [`History`](crate::relay::History).
    #[error("{0}")]
    Parted(String),
    /// An event that could not be encoded: a fault of the service.
    #[error("encoding an event of {name}")]
    Encode {
        /// Its type.
        name: &'static str,
        /// The cause.
        #[source]
        source: crate::codec::Error,
    },
    /// The decision read a row that `touches` didn't name: a fault of the participant.
    #[error("decide or evolve read row {0}, which touches() doesn't name")]
    Untouched(String),
    /// The participant or handler panicked.
    #[error("the service's code panicked: {0}")]
    Panicked(String),
    /// A handler's word on a record of the batch.
    #[error("refused: {0}")]
    Refused(String),
    /// A handler's word on something that will be there later.
    #[error("not yet: {0}")]
    NotYet(String),
}

impl Error {
    /// Adds where it happened to a database error.
    pub fn database(doing: &'static str, inputs: usize) -> impl FnOnce(sqlx::Error) -> Self {
        move |source| Self::Database { doing, inputs, source }
    }

    /// Whether trying each owner's part alone may help: everything but a dependency that is away for all.
    pub(crate) fn is_somebodys(&self) -> bool {
        !matches!(self, Self::Database { .. } | Self::Parted(_)) || self.trouble() != Trouble::Dependency
    }

    /// Whether the batch may have happened although it failed: nobody knows how its commit ended.
    pub(crate) fn maybe_happened(&self) -> bool {
        match self {
            Self::Database { doing: ANSWER, .. } => true,
            // An answer of the server's other than that it ends means that nothing was committed.
            Self::Database { doing: COMMIT, source, .. } => matches!(source.trouble(), Trouble::Session | Trouble::Dependency),
            _ => false,
        }
    }
}

/// Words for what was being done, where it makes a difference.
pub(crate) const CONNECT: &str = "waiting for a connection";
pub(crate) const COMMIT: &str = "commit";
pub(crate) const ANSWER: &str = "waiting for the database's answer";

impl Troubled for Error {
    fn trouble(&self) -> Trouble {
        match self {
            // Whatever keeps us from connecting or beginning (a heal is under way), no input is the cause.
            Self::Database { doing: CONNECT | writes::BEGIN, .. } => Trouble::Dependency,
            // It took too long, so perhaps there is too much of it. A database that is away refuses the next connection.
            Self::Database { doing: ANSWER, .. } => Trouble::Size,
            Self::Database { source, .. } => source.trouble(),
            Self::Encode { .. } | Self::Untouched(_) | Self::Panicked(_) | Self::Refused(_) => Trouble::Input,
            Self::Fenced(_) => Trouble::Owner,
            Self::Full(_) => Trouble::Person,
            Self::NotYet(_) | Self::Parted(_) => Trouble::Dependency,
        }
    }
}

/// An error and its causes in one line.
pub fn chain_of(error: &(dyn std::error::Error + 'static)) -> String {
    let mut text = error.to_string();
    let mut next = error.source();
    while let Some(cause) = next {
        text.push_str(": ");
        text.push_str(&cause.to_string());
        next = cause.source();
    }
    text
}

/// A source with nothing to move: commands.
#[derive(Debug, Clone, Copy, Default)]
pub struct NoSource;

impl<W: Sync> Source<W> for NoSource {
    async fn claim(&mut self, _conn: &mut PgConnection, works: &[W]) -> Result<Vec<bool>, Error> {
        Ok(vec![true; works.len()])
    }
    async fn settle(&mut self, _conn: &mut PgConnection, _works: &[W], _verdicts: &[Verdict]) -> Result<(), Error> {
        Ok(())
    }
}
