//! The relay's status, for health checks and metrics.

use std::sync::atomic::Ordering::Relaxed;
use std::sync::atomic::{AtomicI64, AtomicU64};
use std::sync::{Mutex, PoisonError};

use tokio::sync::watch;

use crate::publish::metrics;
use crate::publish::relay::state::State;

/// What the relay is doing.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Role {
    /// It looks whether the topics continue what the database knows.
    Starting,
    /// Another relay of this service publishes, and the topics continue what the database knows.
    Standby,
    /// It holds the lease and the topics continue what the database knows: it publishes, and intake, HTTP and agenda may start.
    Active,
    /// Something is in the way; it tries again. The reason is the last one.
    Waiting(String),
    /// It stopped because somebody must act first.
    Refused(String),
    /// It was told to stop, and did.
    Stopped,
}

impl Role {
    /// What keeps it from publishing; none also while it stands by.
    pub fn trouble(&self) -> Option<String> {
        match self {
            Self::Active | Self::Standby => None,
            Self::Starting => Some("it is comparing the topics with the database".to_owned()),
            Self::Waiting(why) | Self::Refused(why) => Some(why.clone()),
            Self::Stopped => Some("it is stopped".to_owned()),
        }
    }
}

/// Figures of a running relay. All of them may be read at any time.
#[derive(Debug)]
pub struct Status {
    role: watch::Sender<Role>,
    published: AtomicU64,
    lineage: AtomicI64,
    next: AtomicI64,
    unsent: AtomicI64,
    oldest_unsent_micros: AtomicI64,
    room: AtomicI64,
    upkeep: Mutex<Option<String>>,
}

impl Default for Status {
    fn default() -> Self {
        Self::new()
    }
}

impl Status {
    pub(crate) fn new() -> Self {
        Self {
            role: watch::Sender::new(Role::Starting),
            published: AtomicU64::new(0),
            lineage: AtomicI64::new(0),
            next: AtomicI64::new(0),
            unsent: AtomicI64::new(0),
            oldest_unsent_micros: AtomicI64::new(0),
            room: AtomicI64::new(i64::MAX),
            upkeep: Mutex::new(None),
        }
    }

    /// What the relay is doing.
    pub fn role(&self) -> Role {
        self.role.borrow().clone()
    }

    /// Tells each change of [`Status::role`]. Wait for [`Role::Active`] or [`Role::Standby`] before intake, HTTP and agenda start.
    pub fn watch(&self) -> watch::Receiver<Role> {
        self.role.subscribe()
    }

    /// Rows published and acknowledged since this relay started.
    pub fn published(&self) -> u64 {
        self.published.load(Relaxed)
    }

    /// The lineage in force and the number of the next record, as of the last batch.
    pub fn next(&self) -> (i64, i64) {
        (self.lineage.load(Relaxed), self.next.load(Relaxed))
    }

    /// Rows that aren't acknowledged yet, sampled every few seconds.
    pub fn unsent(&self) -> i64 {
        self.unsent.load(Relaxed)
    }

    /// Seconds since the oldest unsent row happened, sampled every few seconds.
    pub fn oldest_unsent_seconds(&self) -> f64 {
        self.oldest_unsent_micros.load(Relaxed) as f64 / 1e6
    }

    /// How many rows may be appended before another partition must have been made, sampled every few seconds; with none left every
    /// transaction that appends fails.
    pub fn room(&self) -> i64 {
        self.room.load(Relaxed)
    }

    /// What keeps the upkeep of the outbox's tables from its work, and how long that can go on.
    pub fn upkeep(&self) -> Option<String> {
        let why = self.upkeep.lock().unwrap_or_else(PoisonError::into_inner).clone()?;
        Some(format!("{why}; after {} more rows every transaction fails", self.room()))
    }

    pub(crate) fn sample_room(&self, room: i64) {
        self.room.store(room, Relaxed);
        metrics::OUTBOX_ROOM_ROWS.set(room as f64, []);
    }

    pub(crate) fn upkeep_is(&self, trouble: Option<String>) {
        *self.upkeep.lock().unwrap_or_else(PoisonError::into_inner) = trouble;
    }

    pub(crate) fn set_role(&self, role: Role) {
        metrics::ACTIVE.set(if role == Role::Active { 1.0 } else { 0.0 }, []);
        self.role.send_if_modified(|now| {
            let changed = *now != role;
            *now = role;
            changed
        });
    }

    pub(crate) fn count(&self, rows: i64, state: &State) {
        let rows = u64::try_from(rows).unwrap_or(0);
        self.published.fetch_add(rows, Relaxed);
        self.lineage.store(state.lineage, Relaxed);
        self.next.store(state.next, Relaxed);
        metrics::PUBLISHED.add(rows, []);
        metrics::BATCH_ROWS.record(rows as f64, []);
    }

    pub(crate) fn sample(&self, unsent: i64, oldest_micros: i64) {
        self.unsent.store(unsent, Relaxed);
        self.oldest_unsent_micros.store(oldest_micros, Relaxed);
        metrics::UNSENT_ROWS.set(unsent as f64, []);
        metrics::OLDEST_UNSENT_SECONDS.set(self.oldest_unsent_seconds(), []);
    }
}
