//! Where batches come from, and who runs them.

use std::future::{Future, ready};

use futures_util::future::BoxFuture;
use sqlx::PgConnection;

use crate::database::sessions::Sessions;
use crate::engine::error::Error;
use crate::engine::work::{Decoded, Verdict};
use crate::parking::input::Task;
use crate::parking::journal::Journal;
use crate::wire::codec::Codec;
use crate::wire::record::Record;

/// Where a batch's inputs come from, inside the batch's transaction: positions, claims, parked rows.
pub trait Source<W>: Send {
    /// Called once the batch's rows are locked: says which inputs still stand, one a work.
    fn claim<'a>(&'a mut self, conn: &'a mut PgConnection, works: &'a [W]) -> BoxFuture<'a, Result<Vec<bool>, Error>>;
    /// Called first: the number of the comparison that this batch rests on; none where nothing is compared. What a source remembers of
    /// the database from batch to batch is worth nothing under another one.
    fn rests_on(&mut self, _comparison: Option<u64>) {}
    /// Whether the inputs come again should a crash of the database take the batch back, so that its commit needn't wait for the disk. Somebody
    /// who was told of it must not find it gone.
    fn comes_again(&self) -> bool {
        false
    }
    /// Whether these inputs come from the parked ones, so that what is parked doesn't hold them.
    fn releases(&self) -> bool {
        false
    }
    /// Called last before the commit: moves the position, settles the claims, parks what must be.
    fn settle<'a>(
        &'a mut self,
        conn: &'a mut PgConnection,
        works: &'a [W],
        verdicts: &'a [Verdict],
    ) -> BoxFuture<'a, Result<(), Error>>;
}

/// What the intake hands records to: an [`Engine`](crate::engine::Engine) with its participant, or [`Handling`](crate::consume::handler::Handling) with a handler
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
    fn read(&self, record: &Record) -> Decoded<Box<Self::Work>>;
    /// What a parked task of the agenda brought.
    fn task(&self, task: &Task) -> Decoded<Box<Self::Work>>;
    /// Under what `work` parks when it can't be processed: a [name](crate::ground::text::name).
    ///
    /// # Errors
    /// When that can't be told.
    fn aggregate(&self, work: &Self::Work) -> Result<String, Error>;
    /// Runs all of `works` in one transaction.
    ///
    /// # Errors
    /// As [`Engine::run`](crate::engine::Engine::run).
    fn run(
        &self,
        works: &mut [Self::Work],
        source: &mut dyn Source<Self::Work>,
    ) -> impl Future<Output = Result<Vec<Verdict>, Error>> + Send;
}

/// A source with nothing to move: commands.
#[derive(Debug, Clone, Copy, Default)]
pub struct NoSource;

impl<W: Sync> Source<W> for NoSource {
    fn claim<'a>(&'a mut self, _conn: &'a mut PgConnection, works: &'a [W]) -> BoxFuture<'a, Result<Vec<bool>, Error>> {
        Box::pin(ready(Ok(vec![true; works.len()])))
    }
    fn settle<'a>(
        &'a mut self,
        _conn: &'a mut PgConnection,
        _works: &'a [W],
        _verdicts: &'a [Verdict],
    ) -> BoxFuture<'a, Result<(), Error>> {
        Box::pin(ready(Ok(())))
    }
}
