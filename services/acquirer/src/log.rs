//! The append-only file behind the book: JSON lines, one per executed request, written and synced in groups.
//!
//! One thread owns the file. Whoever appends gets a number and waits until that number is on disk; the thread takes all lines that
//! wait, writes them at once, syncs once and publishes the highest number. Under load the groups grow by themselves, so the rate is
//! bound by processor and disk bandwidth and not by the time of one sync.
//!
//! At start the file is replayed and rewritten without what is superseded. A last line that can't be read was torn by a crash before
//! anybody was answered: it is dropped. Any other unreadable line stops the start: then the file was damaged, and guessing loses money.
//!
//! **How it fails:** when the disk refuses a write or a sync, the thread ends, everybody who waits gets [`Error::Failed`], and so does
//! everybody after; [`Log::ended`] tells the server to stop. What is on disk after that is found out by the next start.

use std::fs::{self, File, OpenOptions};
use std::io::{self, BufRead, BufReader, BufWriter, Write};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread::JoinHandle;

use tokio::sync::watch;

use crate::book::Line;

/// Bytes that may wait for the disk: some 8,000 requests, far more than are in flight unless the disk hangs.
const MAX_WAITING: usize = 4 << 20;
/// Room that the buffer keeps between groups.
const USUAL_GROUP: usize = 64 << 10;

const FILE: &str = "acquirer.log";
const REWRITTEN: &str = "acquirer.log.new";
const LOCK: &str = "acquirer.lock";

/// What the log can't do.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    #[error("data directory {dir} is in use by another process")]
    InUse { dir: PathBuf },
    #[error("{what} {path}")]
    Io {
        what: &'static str,
        path: PathBuf,
        #[source]
        source: io::Error,
    },
    #[error("{path}, line {line} can't be read: restore the file or move it away")]
    Damaged {
        path: PathBuf,
        line: u64,
        #[source]
        source: serde_json::Error,
    },
    #[error("a record can't be written as JSON")]
    Encode(#[source] serde_json::Error),
    #[error("too many requests wait for the disk")]
    Full,
    #[error("the log can't be written any more")]
    Failed,
}

/// What the replay found.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Replayed {
    pub lines: u64,
    /// Whether a torn last line was dropped.
    pub torn: bool,
}

/// A data directory, locked against a second process.
pub struct Directory {
    dir: PathBuf,
    /// Held for its lock, which the system releases with the process.
    lock: File,
}

/// The open log. Dropping it writes what waits and ends the thread.
pub struct Log {
    shared: Arc<Shared>,
    durable: watch::Receiver<u64>,
    writer: Option<JoinHandle<()>>,
    _lock: File,
}

struct Shared {
    waiting: Mutex<Waiting>,
    wake: Condvar,
}

struct Waiting {
    bytes: Vec<u8>,
    /// The number of the last line appended.
    last: u64,
    closed: bool,
}

// === impl Directory ===

impl Directory {
    pub fn open(dir: &Path) -> Result<Self, Error> {
        fs::create_dir_all(dir).map_err(|source| failed("creating", dir, source))?;
        let path = dir.join(LOCK);
        let lock = File::create(&path).map_err(|source| failed("creating", &path, source))?;
        match lock.try_lock() {
            Ok(()) => Ok(Self { dir: dir.to_owned(), lock }),
            Err(fs::TryLockError::WouldBlock) => Err(Error::InUse { dir: dir.to_owned() }),
            Err(fs::TryLockError::Error(source)) => Err(failed("locking", &path, source)),
        }
    }

    /// Hands every line of the log to `apply`, oldest first.
    pub fn replay(&self, mut apply: impl FnMut(Line)) -> Result<Replayed, Error> {
        let path = self.dir.join(FILE);
        let mut file = match File::open(&path) {
            Ok(file) => BufReader::new(file),
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Replayed::default()),
            Err(source) => return Err(failed("opening", &path, source)),
        };
        let mut replayed = Replayed::default();
        let mut bytes = Vec::new();
        while file.read_until(b'\n', &mut bytes).map_err(|source| failed("reading", &path, source))? > 0 {
            match serde_json::from_slice(&bytes) {
                Ok(line) => apply(line),
                Err(source) => {
                    let at_end = file.fill_buf().map_err(|source| failed("reading", &path, source))?.is_empty();
                    if !at_end {
                        return Err(Error::Damaged { path, line: replayed.lines + 1, source });
                    }
                    replayed.torn = true;
                    break;
                }
            }
            replayed.lines += 1;
            bytes.clear();
        }
        Ok(replayed)
    }

    /// Replaces the log by these lines and opens it for appending. A crash on the way leaves the old log whole.
    pub fn rewrite(self, lines: impl Iterator<Item = Line>) -> Result<Log, Error> {
        let (new, path) = (self.dir.join(REWRITTEN), self.dir.join(FILE));
        let file = write_all(&new, lines)?;
        fs::rename(&new, &path).map_err(|source| failed("renaming", &new, source))?;
        // The new name is safe only once the directory is.
        File::open(&self.dir).and_then(|dir| dir.sync_all()).map_err(|source| failed("syncing", &self.dir, source))?;
        Log::start(file, path, self.lock)
    }
}

fn write_all(path: &Path, lines: impl Iterator<Item = Line>) -> Result<File, Error> {
    let io = |source| failed("writing", path, source);
    let file = OpenOptions::new().create(true).write(true).truncate(true).open(path).map_err(io)?;
    let mut out = BufWriter::new(file);
    for line in lines {
        serde_json::to_writer(&mut out, &line).map_err(Error::Encode)?;
        out.write_all(b"\n").map_err(io)?;
    }
    let file = out.into_inner().map_err(|error| io(error.into_error()))?;
    file.sync_all().map_err(io)?;
    Ok(file)
}

// === impl Log ===

impl Log {
    fn start(file: File, path: PathBuf, lock: File) -> Result<Self, Error> {
        let waiting = Waiting { bytes: Vec::new(), last: 0, closed: false };
        let shared = Arc::new(Shared { waiting: Mutex::new(waiting), wake: Condvar::new() });
        let (publish, durable) = watch::channel(0);
        let theirs = Arc::clone(&shared);
        let told = path.clone();
        let writer = std::thread::Builder::new()
            .name("log-writer".to_owned())
            .spawn(move || {
                if let Err(error) = write_groups(file, &theirs, &publish) {
                    tracing::error!(path = %told.display(), %error, "writing the log failed");
                }
                // `publish` ends here: whoever waits learns that nothing more becomes durable.
            })
            .map_err(|source| failed("starting the writer of", &path, source))?;
        Ok(Self { shared, durable, writer: Some(writer), _lock: lock })
    }

    /// Queues a line; it is written after all that were appended before. Gives the number to wait for.
    pub fn append(&self, line: &Line) -> Result<u64, Error> {
        let mut waiting = self.shared.lock();
        if waiting.bytes.len() > MAX_WAITING {
            return Err(Error::Full);
        }
        let whole = waiting.bytes.len();
        if let Err(error) = serde_json::to_writer(&mut waiting.bytes, line) {
            waiting.bytes.truncate(whole);
            return Err(Error::Encode(error));
        }
        waiting.bytes.push(b'\n');
        waiting.last += 1;
        self.shared.wake.notify_one();
        Ok(waiting.last)
    }

    /// The number of the last line appended.
    pub fn last(&self) -> u64 {
        self.shared.lock().last
    }

    /// Waits until that line is on disk.
    pub async fn durable(&self, number: u64) -> Result<(), Error> {
        let mut durable = self.durable.clone();
        durable.wait_for(|reached| *reached >= number).await.map(drop).map_err(|_| Error::Failed)
    }

    /// Waits for the end of the writer, which comes before that of the log only by a failure.
    pub async fn ended(&self) {
        let mut durable = self.durable.clone();
        while durable.changed().await.is_ok() {}
    }
}

impl Drop for Log {
    fn drop(&mut self) {
        self.shared.lock().closed = true;
        self.shared.wake.notify_one();
        if let Some(writer) = self.writer.take() {
            // A writer that panicked has nothing left to save.
            let _ = writer.join();
        }
    }
}

// === impl Shared ===

impl Shared {
    /// No code panics between two changes that belong together, so a poisoned lock guards whole data.
    fn lock(&self) -> MutexGuard<'_, Waiting> {
        self.waiting.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn write_groups(mut file: File, shared: &Shared, publish: &watch::Sender<u64>) -> io::Result<()> {
    let mut group = Vec::new();
    loop {
        let mut waiting = shared.lock();
        while waiting.bytes.is_empty() && !waiting.closed {
            waiting = shared.wake.wait(waiting).unwrap_or_else(PoisonError::into_inner);
        }
        if waiting.bytes.is_empty() {
            return Ok(());
        }
        std::mem::swap(&mut group, &mut waiting.bytes);
        let last = waiting.last;
        drop(waiting);
        file.write_all(&group)?;
        file.sync_data()?;
        publish.send_replace(last);
        group.clear();
        group.shrink_to(USUAL_GROUP);
    }
}

fn failed(what: &'static str, path: &Path, source: io::Error) -> Error {
    Error::Io { what, path: path.to_owned(), source }
}

#[cfg(test)]
mod tests;
