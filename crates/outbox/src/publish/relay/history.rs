//! Whether this process may decide on the database as it is now.
//!
//! A database can be set back at any time: a backup restored, a data directory put back under a server that is started again at
//! the same address, a fail-over to a copy that lacked the last commits. A service that went on deciding would decide again what
//! its topic already tells, and make each effect again, until its relay refuses. So nothing is decided and no effect starts
//! - before this process has compared the database with the topics (the relay's [`continuity`](super::continuity) check, by the
//!   owner at each take-over and by each stand-by itself), nor
//! - unless the transaction that decides finds the database to be the one that was compared: the same server since the same
//!   start, the same database in it, in its step log the relay's step that this process saw last, and still the same lineage. Of
//!   what was set back, one of these is another. A restart that lost nothing looks the same at first, and costs a comparison.
//!
//! **What a process remembers** of a database it remembers under the comparison that this came after ([`Seen::comparison`]), and
//! under another one it asks again. A process that slept (a paused machine, whose sessions the server ended) may have missed a heal
//! and all that came before; the lineage, of which each heal opens a new one, tells it so even where the server went on and its step
//! is still there or was trimmed.
//!
//! Whoever finds it otherwise closes this for the whole process; the relay, told by that, compares again and opens it or refuses.
//!
//! **How it would fail without**: a stand-by that trusts the lease in a backup says that it is ready, and orders are placed and
//! cards charged twice before that lease is over; a session that connects again to a server that was set back decides on the
//! older state at once, while the relay is still waiting for its next look.

use std::sync::{Arc, Mutex, PoisonError};

use tokio::sync::Notify;

/// Whether the database's history was compared, as of when. Clones are the same.
#[derive(Debug, Clone)]
pub struct History(Arc<(Mutex<Now>, Notify)>);

#[derive(Debug)]
struct Now {
    /// None while nothing may be decided, for `why`.
    seen: Option<Seen>,
    why: String,
    comparisons: u64,
}

/// By what a database and its history are known.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Seen {
    /// When the server started, in microseconds.
    pub server: i64,
    /// The database's oid.
    pub database: i64,
    /// The relay's newest step, and when it was taken, in microseconds: two histories share the number, never both.
    pub step: i64,
    pub taken: i64,
    /// The lineage that the relay's state was in: a heal opens the next.
    pub lineage: i64,
    /// Of which comparison this comes.
    comparison: u64,
}

/// True if the database is the one of `$seen` ([`Seen::values`]; null for who needs none), and its relay's log, of scope `$scope`,
/// goes on from there. A step that isn't there any more, before newer ones, was trimmed: only an owner does that, and only once its
/// own comparison has held. Not during a heal, nor after one that was broken off.
#[doc(hidden)]
#[macro_export]
macro_rules! holds_sql {
    ($scope:literal, $seen:literal) => {
        concat!(
            "(",
            $seen,
            "::bigint[] is null or coalesce((
               select (extract(epoch from pg_postmaster_start_time()) * 1000000)::bigint = (",
            $seen,
            "::bigint[])[1]
                  and (select oid::bigint from pg_database where datname = current_database()) = (",
            $seen,
            "::bigint[])[2]
                  and not newest.healing
                  and newest.lineage = (",
            $seen,
            "::bigint[])[5]
                  and coalesce((select (extract(epoch from taken_at) * 1000000)::bigint from farandole.steps
                                where scope = ",
            $scope,
            " and step = (",
            $seen,
            "::bigint[])[3]) = (",
            $seen,
            "::bigint[])[4], newest.step > (",
            $seen,
            "::bigint[])[3])
               from (select step, state ? 'healing' as healing, (state->>'lineage')::bigint as lineage from farandole.steps
                     where scope = ",
            $scope,
            " order by step desc limit 1) newest), false))"
        )
    };
}
pub use holds_sql;

impl Seen {
    /// As `holds_sql` wants it.
    pub fn values(&self) -> Vec<i64> {
        vec![self.server, self.database, self.step, self.taken, self.lineage]
    }

    /// Of which comparison this comes: what is remembered under another one may be of another history.
    pub fn comparison(&self) -> u64 {
        self.comparison
    }
}

impl Default for History {
    fn default() -> Self {
        let why = "the database hasn't been compared with the topics yet".to_owned();
        Self(Arc::new((Mutex::new(Now { seen: None, why, comparisons: 0 }), Notify::new())))
    }
}

impl History {
    /// Why nothing may be decided now; none when all is well.
    pub fn trouble(&self) -> Option<String> {
        let now = self.lock();
        now.seen.is_none().then(|| now.why.clone())
    }

    /// What was seen last.
    ///
    /// # Errors
    /// Why nothing may be decided now.
    pub fn seen(&self) -> Result<Seen, String> {
        let now = self.lock();
        now.seen.ok_or_else(|| now.why.clone())
    }

    /// The comparison has held, for this server and database as of this step, which is of this lineage.
    pub fn hold(&self, (server, database): (i64, i64), (step, taken): (i64, i64), lineage: i64) {
        let mut now = self.lock();
        now.comparisons += 1;
        now.seen = Some(Seen { server, database, step, taken, lineage, comparison: now.comparisons });
    }

    /// A further step was taken, or seen, in the database of the last comparison.
    pub fn advance(&self, (step, taken): (i64, i64)) {
        if let Some(seen) = self.lock().seen.as_mut().filter(|seen| seen.step < step) {
            (seen.step, seen.taken) = (step, taken);
        }
    }

    /// The relay of this process has noted progress: what it published before is acknowledged.
    pub fn goes_on(&self) {
        self.0.1.notify_one();
    }

    /// Waits for [`History::goes_on`], for one who waits.
    pub async fn went_on(&self) {
        self.0.1.notified().await;
    }

    /// Somebody found that the database isn't what it was when `seen` was. Gives the reason.
    pub fn doubt(&self, seen: &Seen) -> String {
        let why = "the database was restarted, replaced, rolled back or is being healed: nothing is decided until it has been \
                   compared with the topics";
        let mut now = self.lock();
        // A comparison may have held meanwhile, and what was found be older than that.
        if now.seen.is_some_and(|held| held.comparison == seen.comparison) {
            tracing::warn!(why, "pausing decisions");
            (now.seen, now.why) = (None, why.to_owned());
        }
        why.to_owned()
    }

    /// The comparison didn't hold.
    pub fn refuse(&self, why: String) {
        let mut now = self.lock();
        (now.seen, now.why) = (None, why);
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, Now> {
        self.0.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_opens_with_a_comparison_and_closes_with_a_doubt() {
        let history = History::default();
        assert!(history.trouble().is_some_and(|why| why.contains("yet")));
        history.advance((7, 70));
        assert!(history.seen().is_err(), "a step is no comparison");
        history.hold((1, 2), (7, 70), 1);
        let old = history.seen().unwrap();
        history.advance((9, 90));
        history.advance((8, 80));
        assert_eq!(history.seen().unwrap().values(), [1, 2, 9, 90, 1]);
        history.hold((3, 2), (10, 100), 1);
        assert_ne!(history.seen().unwrap().comparison(), old.comparison());
        history.doubt(&old);
        assert_eq!(history.trouble(), None, "what was found before the last comparison says nothing");
        history.doubt(&history.seen().unwrap());
        assert!(history.trouble().is_some_and(|why| why.contains("rolled back")));
        history.advance((11, 110));
        assert!(history.seen().is_err());
        history.hold((3, 2), (12, 120), 2);
        history.refuse("no".to_owned());
        assert_eq!(history.trouble().as_deref(), Some("no"));
    }
}
