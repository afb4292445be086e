//! The kit's connection pool.
//!
//! **Guarantees.** Each runs under the kit's [settings](crate::database::session). A connection whose other end is gone without a word, as after a firewall forgot it, costs one use, and its place
//! is free again at once. One that answers but can't do its work is replaced: what its last use failed of says so
//! ([`Trouble::Session`]). None is handed out that is too old, or that leads to a server which takes no writes; who waits for one is
//! told why, and so is `/readyz`.
//!
//! **How it would fail without**: sqlx's pool asks a connection that comes back whether it lives, and waits for the answer however
//! long that takes; one that was forgotten between the last answer and that question never gives its place back, and a part with
//! one place stands still for good. So ours don't come back to the pool that opened them: one that was used to the end is kept here,
//! unasked, and every other is dropped, which closes its socket. And after a fail-over a session to what is a stand-by now answers
//! every question, and refuses every batch for as long as it is kept.

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use sqlx::pool::PoolOptions;
use sqlx::{PgConnection, PgPool, Postgres, Row as _};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio::time::error::Elapsed;

use crate::database::session::{IDLE, Purpose, ping, prepare};
use crate::ground::error::chain_of;
use crate::ground::trouble::{Trouble, Troubled, denied};

/// Between two tries while no connection is to be had.
const AGAIN: Duration = Duration::from_secs(1);
/// Why a server takes no writes, if it takes none.
const READ_ONLY: &str = "select case when pg_is_in_recovery() then 'it is a standby'
    when current_setting('transaction_read_only') = 'on' then 'default_transaction_read_only is on' end";

/// At most as many connections as the pool that opens them allows.
#[derive(Debug, Clone)]
pub struct Sessions(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    opener: PgPool,
    purpose: Purpose,
    room: Arc<Semaphore>,
    kept: Mutex<Vec<Kept>>,
    /// Why no connection is to be had, since the last that was.
    away: Mutex<Option<String>>,
    /// What the last batch failed of, if not of its inputs.
    failing: Mutex<Option<String>>,
    /// A use since the last [`Sessions::was_denied`] failed for want of a right.
    denied: AtomicBool,
    /// Batches in which something was done.
    passed: AtomicU64,
}

#[derive(Debug)]
struct Kept {
    conn: PgConnection,
    opened: Instant,
    since: Instant,
}

impl Kept {
    /// Whether the pool's bounds on age and idleness let it be used again.
    fn is_young(&self, options: &PoolOptions<Postgres>) -> bool {
        options.get_max_lifetime().is_none_or(|longest| self.opened.elapsed() < longest)
            && options.get_idle_timeout().is_none_or(|longest| self.since.elapsed() < longest)
    }
}

impl From<PgPool> for Sessions {
    fn from(opener: PgPool) -> Self {
        Self::new(opener, Purpose::Any)
    }
}

impl From<&PgPool> for Sessions {
    fn from(opener: &PgPool) -> Self {
        opener.clone().into()
    }
}

impl Sessions {
    /// Sessions that an [`Engine`](crate::engine::Engine) decides on.
    pub fn deciding(opener: PgPool) -> Self {
        Self::new(opener, Purpose::Lookups)
    }

    fn new(opener: PgPool, purpose: Purpose) -> Self {
        let room = Arc::new(Semaphore::new(opener.options().get_max_connections() as usize));
        let (away, failing, denied, passed) = (Mutex::default(), Mutex::default(), AtomicBool::default(), AtomicU64::default());
        Self(Arc::new(Inner { opener, purpose, room, kept: Mutex::default(), away, failing, denied, passed }))
    }

    /// Where they connect to.
    pub fn opener(&self) -> &PgPool {
        &self.0.opener
    }

    /// A connection, waiting as long as the pool would.
    pub async fn acquire(&self) -> sqlx::Result<Session> {
        let limit = Instant::now() + self.0.opener.options().get_acquire_timeout();
        let room = tokio::time::timeout_at(limit.into(), Arc::clone(&self.0.room).acquire_owned()).await;
        let room = room.map_err(|_| sqlx::Error::PoolTimedOut)?.map_err(|_| sqlx::Error::PoolClosed)?;
        let opened = tokio::time::timeout_at(limit.into(), self.open()).await.unwrap_or(Err(sqlx::Error::PoolTimedOut));
        *locked(&self.0.away) = opened.as_ref().err().map(|error| chain_of(error));
        let (conn, opened) = opened?;
        Ok(Session { conn, opened, room, home: self.clone() })
    }

    /// The connection that was used last, or a new one, to a server that takes writes; and when it was opened.
    async fn open(&self) -> sqlx::Result<(PgConnection, Instant)> {
        if let Some(mut kept) = self.last() {
            if kept.since.elapsed() < IDLE || ping(&mut kept.conn).await.is_ok() {
                return Ok((kept.conn, kept.opened));
            }
            // The others have been idle for longer: they are as dead, and asking each would take as long again.
            self.kept().clear();
        }
        let mut conn = self.0.opener.acquire().await?.detach();
        prepare(&mut conn, self.0.purpose).await?;
        let read_only: Option<String> = sqlx::raw_sql(READ_ONLY).fetch_one(&mut conn).await?.try_get(0)?;
        match read_only {
            Some(why) => Err(sqlx::Error::Io(std::io::Error::other(format!("the database is read-only: {why}")))),
            None => Ok((conn, Instant::now())),
        }
    }

    /// Why no connection is to be had, if the last try failed.
    pub fn away(&self) -> Option<String> {
        locked(&self.0.away).clone()
    }

    /// What the last batch failed of, if that was neither its inputs nor a collision.
    pub fn failing(&self) -> Option<String> {
        locked(&self.0.failing).clone()
    }

    /// Batches, so far, in which something was done: where some pass, what fails isn't everybody's trouble.
    pub fn passed(&self) -> u64 {
        self.0.passed.load(Ordering::Relaxed)
    }

    /// Notes that a batch did something.
    pub fn pass(&self) {
        self.0.passed.fetch_add(1, Ordering::Relaxed);
        *locked(&self.0.failing) = None;
    }

    /// Notes what a batch failed of.
    pub fn fail(&self, why: String) {
        *locked(&self.0.failing) = Some(why);
    }

    /// Whether a use has failed for want of a right since the last call.
    pub fn was_denied(&self) -> bool {
        self.0.denied.swap(false, Ordering::Relaxed)
    }

    /// While no connection is to be had, tries for one: [`Sessions::away`] is true although nobody uses any. Never ends.
    pub async fn watch(&self) -> ! {
        loop {
            tokio::time::sleep(AGAIN).await;
            if self.away().is_some()
                && let Ok(session) = self.acquire().await
            {
                session.keep();
            }
        }
    }

    /// Closes what is kept, and opens no more.
    pub async fn close(&self) {
        self.0.room.close();
        self.kept().clear();
        self.0.opener.close().await;
    }

    fn last(&self) -> Option<Kept> {
        let mut kept = self.kept();
        kept.retain(|kept| kept.is_young(self.0.opener.options()));
        kept.pop()
    }

    fn kept(&self) -> MutexGuard<'_, Vec<Kept>> {
        locked(&self.0.kept)
    }
}

/// Whole at any time: what is held is only ever replaced, or gains and loses whole entries.
fn locked<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// A connection in use. Dropped, it is closed; see [`Session::release`].
#[derive(Debug)]
pub struct Session {
    /// To work on.
    pub conn: PgConnection,
    opened: Instant,
    room: OwnedSemaphorePermit,
    home: Sessions,
}

impl Session {
    /// Keeps the connection if what was `done` on it came to an end and it can go on, and gives its result, or `late` if it came to
    /// none.
    pub async fn release<T, E: Troubled>(self, done: Result<Result<T, E>, Elapsed>, late: impl FnOnce() -> E) -> Result<T, E> {
        match done {
            Ok(Ok(value)) => {
                self.keep();
                Ok(value)
            }
            Ok(Err(error)) => {
                self.failed(denied(&error), error.trouble()).await;
                Err(error)
            }
            Err(_) => Err(late()),
        }
    }

    /// Keeps the connection if it can go on after a failure.
    async fn failed(mut self, denied: bool, about: Trouble) {
        if denied {
            self.home.0.denied.store(true, Ordering::Relaxed);
        }
        if about == Trouble::Session {
            // The others were opened at the same server, mostly. Each costs a connection; a batch refused costs its callers more.
            self.home.kept().clear();
        } else if ping(&mut self.conn).await.is_ok() {
            // Its transaction ends with the answer, and so do its locks.
            self.keep();
        }
    }

    fn keep(self) {
        let Self { conn, opened, room, home } = self;
        let kept = Kept { conn, opened, since: Instant::now() };
        if kept.is_young(home.0.opener.options()) && !home.0.opener.is_closed() {
            home.kept().push(kept);
        }
        drop(room); // only now: who waits for it finds the connection
    }
}

/// `with_conn!(sessions, conn => work)`: the result of a future over a connection, which is waited for [`LIMIT`](crate::database::session::LIMIT) at most.
#[doc(hidden)]
#[macro_export]
macro_rules! with_conn {
    ($sessions:expr, $conn:ident => $work:expr) => {
        async {
            let mut session = $sessions.acquire().await?;
            let done = {
                let $conn: &mut sqlx::PgConnection = &mut session.conn;
                tokio::time::timeout($crate::database::session::LIMIT, $work).await
            };
            session.release(done, || sqlx::Error::PoolTimedOut).await
        }
        .await
    };
}
pub use with_conn;
