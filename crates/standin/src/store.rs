//! The book and who waits for it: one writer executes commands in groups, and nobody is answered before their group is on disk.
//!
//! The writer takes all commands that wait, executes them in one transaction, syncs once and answers all of them. Under load the groups
//! grow by themselves, so the rate isn't bound by the time of one sync. A caller who goes away leaves nothing half done.
//!
//! **How it fails:** when the disk refuses a write or a sync, the writer ends, everybody who waits gets a 500, and so does everybody
//! after; [`Store::failed`] tells the server to stop. What is on disk after that is found out by the next start.

use std::sync::Arc;
use std::thread::{Builder, JoinHandle};

use anyhow::Context as _;
use tokio::sync::mpsc::error::TrySendError;
use tokio::sync::{Semaphore, mpsc, oneshot};

use crate::book::{Book, Trade};
use crate::problem::Problem;

/// Commands that wait for the writer: as many as the server lets in at a time. More come only while the disk hangs.
const QUEUE: usize = 2_048;
/// Commands of one transaction: the pages that they change fit into the book's memory.
const BATCH: usize = 512;
/// Reads at a time, each on a thread of its own; others wait, no more than there are connections.
const READERS: usize = 4;

type Waiting<T> = (<T as Trade>::Asked, oneshot::Sender<Result<<T as Trade>::Answer, Problem>>);

/// The open book and its writer. Dropping it writes what waits and closes the book.
pub struct Store<T: Trade> {
    book: Arc<Book<T>>,
    readers: Semaphore,
    /// There until the drop, as the writer is.
    queue: Option<mpsc::Sender<Waiting<T>>>,
    writer: Option<JoinHandle<()>>,
}

impl<T: Trade> Store<T> {
    pub fn new(book: Book<T>) -> anyhow::Result<Self> {
        let book = Arc::new(book);
        let (queue, waiting) = mpsc::channel(QUEUE);
        let theirs = Arc::clone(&book);
        let writer =
            Builder::new().name("writer".to_owned()).spawn(move || write(&theirs, waiting)).context("starting the writer")?;
        Ok(Self { book, readers: Semaphore::new(READERS), queue: Some(queue), writer: Some(writer) })
    }

    /// Executes a command, or finds what the same key and request gave before.
    pub async fn execute(&self, asked: T::Asked) -> Result<T::Answer, Problem> {
        let (answer, answered) = oneshot::channel();
        match self.queue.as_ref().map(mpsc::Sender::try_reserve) {
            Some(Ok(place)) => place.send((asked, answer)),
            Some(Err(TrySendError::Full(()))) => return Err(Problem::new("unavailable", "too many requests wait for the disk")),
            // The writer has ended.
            _ => return Err(Problem::internal()),
        }
        answered.await.unwrap_or_else(|_| Err(Problem::internal()))
    }

    /// Reads what is on disk.
    pub async fn read<V, F>(&self, look: F) -> Result<V, Problem>
    where
        V: Send + 'static,
        F: FnOnce(&Book<T>) -> anyhow::Result<V> + Send + 'static,
    {
        let _turn = self.readers.acquire().await;
        let book = Arc::clone(&self.book);
        Ok(tokio::task::spawn_blocking(move || look(&book)).await.context("reading")??)
    }

    /// Waits for the end of the writer, which comes before that of the store only by a failure.
    pub async fn failed(&self) {
        if let Some(queue) = &self.queue {
            queue.closed().await;
        }
    }
}

impl<T: Trade> Drop for Store<T> {
    fn drop(&mut self) {
        drop(self.queue.take());
        // A writer that panicked has nothing left to save.
        let _ = self.writer.take().map(JoinHandle::join);
    }
}

fn write<T: Trade>(book: &Book<T>, mut waiting: mpsc::Receiver<Waiting<T>>) {
    let mut group = Vec::new();
    while waiting.blocking_recv_many(&mut group, BATCH) > 0 {
        let (asked, callers): (Vec<_>, Vec<_>) = group.drain(..).unzip();
        match book.execute(&asked) {
            // A caller who went away needs no answer.
            Ok(answers) => callers.into_iter().zip(answers).for_each(|(caller, answer)| drop(caller.send(answer))),
            Err(error) => return tracing::error!(error = format!("{error:#}"), "writing the database failed"),
        }
    }
}
