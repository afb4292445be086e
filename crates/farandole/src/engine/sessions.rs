//! Connections that the kit works on, kept between two uses.
//!
//! **Guarantee.** A connection whose other end is gone without a word, as after a firewall forgot it, costs one use, and its place
//! is free again at once.
//!
//! **How it would fail without**: sqlx's pool asks a connection that comes back whether it lives, and waits for the answer however
//! long that takes; one that was forgotten between the last answer and that question never gives its place back, and a part with
//! one place stands still for good. So ours don't come back to the pool that opened them: one that was used to the end is kept here,
//! unasked, and every other is dropped, which closes its socket.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::Instant;

use sqlx::{PgConnection, PgPool};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio::time::error::Elapsed;

use super::session::{IDLE, lives};

/// At most as many connections as the pool that opens them allows.
#[derive(Debug, Clone)]
pub struct Sessions(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    opener: PgPool,
    room: Arc<Semaphore>,
    kept: Mutex<Vec<Kept>>,
}

#[derive(Debug)]
struct Kept {
    conn: PgConnection,
    opened: Instant,
    since: Instant,
}

impl From<PgPool> for Sessions {
    fn from(opener: PgPool) -> Self {
        let room = Arc::new(Semaphore::new(opener.options().get_max_connections() as usize));
        Self(Arc::new(Inner { opener, room, kept: Mutex::default() }))
    }
}

impl From<&PgPool> for Sessions {
    fn from(opener: &PgPool) -> Self {
        opener.clone().into()
    }
}

impl Sessions {
    /// A connection, waiting as long as the pool would.
    pub(crate) async fn hold(&self) -> sqlx::Result<Session> {
        let hold = async {
            let room = Arc::clone(&self.0.room).acquire_owned().await.map_err(|_| sqlx::Error::PoolClosed)?;
            if let Some(mut kept) = self.last() {
                if kept.since.elapsed() < IDLE || lives(&mut kept.conn).await.is_ok() {
                    return Ok(Session { conn: kept.conn, opened: kept.opened, room, home: self.clone() });
                }
                // The others have been idle for longer: they are as dead, and asking each would take as long again.
                self.kept().clear();
            }
            let conn = self.0.opener.acquire().await?.detach();
            Ok(Session { conn, opened: Instant::now(), room, home: self.clone() })
        };
        let done = tokio::time::timeout(self.0.opener.options().get_acquire_timeout(), hold).await;
        done.unwrap_or(Err(sqlx::Error::PoolTimedOut))
    }

    /// Closes what is kept, and opens no more.
    pub(crate) async fn close(&self) {
        self.0.room.close();
        self.kept().clear();
        self.0.opener.close().await;
    }

    fn last(&self) -> Option<Kept> {
        self.kept().pop()
    }

    fn kept(&self) -> std::sync::MutexGuard<'_, Vec<Kept>> {
        self.0.kept.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// A connection in use. Dropped, it is closed; see [`Session::after`].
#[derive(Debug)]
pub(crate) struct Session {
    pub conn: PgConnection,
    opened: Instant,
    room: OwnedSemaphorePermit,
    home: Sessions,
}

impl Session {
    /// Keeps the connection if what was `done` on it came to an end, and gives its result, or `late` if it came to none.
    pub(crate) async fn after<T, E>(mut self, done: Result<Result<T, E>, Elapsed>, late: impl FnOnce() -> E) -> Result<T, E> {
        match done {
            Ok(Ok(value)) => {
                self.keep();
                Ok(value)
            }
            Ok(Err(error)) => {
                // Its transaction ends with the answer, and so do its locks.
                if lives(&mut self.conn).await.is_ok() {
                    self.keep();
                }
                Err(error)
            }
            Err(_) => Err(late()),
        }
    }

    fn keep(self) {
        let Self { conn, opened, room, home } = self;
        let options = home.0.opener.options();
        let mut kept = home.kept();
        if options.get_max_lifetime().is_none_or(|longest| opened.elapsed() < longest) && !home.0.opener.is_closed() {
            kept.push(Kept { conn, opened, since: Instant::now() });
        }
        if let Some(longest) = options.get_idle_timeout() {
            kept.retain(|kept| kept.since.elapsed() < longest);
        }
        drop(kept);
        drop(room); // only now: who waits for it finds the connection
    }
}

/// `asked!(sessions, conn => work)`: the result of a future over a connection, which is waited for [`LIMIT`](super::LIMIT) at most.
macro_rules! asked {
    ($sessions:expr, $conn:ident => $work:expr) => {
        async {
            let mut session = $sessions.hold().await?;
            let done = {
                let $conn: &mut sqlx::PgConnection = &mut session.conn;
                tokio::time::timeout($crate::engine::session::LIMIT, $work).await
            };
            session.after(done, || sqlx::Error::PoolTimedOut).await
        }
        .await
    };
}
pub(crate) use asked;
