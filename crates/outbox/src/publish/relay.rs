//! The relay: publishes the outbox to Kafka, each row at least once, under one number, in order for each key.
//!
//! It publishes **snapshot batches**: the rows visible in snapshot B and not in snapshot A, then those visible in C and not in B,
//! and so on. No late commit is skipped, for a row is in exactly one batch whenever its transaction commits; nothing stalls
//! behind a long-running transaction elsewhere; no row is updated or deleted; no replication slot holds back the log.
//!
//! What it guarantees, once a row's transaction has committed durably:
//! - the row is published, and again after a crash, under the same number: consumers drop repetitions by that number;
//! - rows of one key reach their partition in the order of their commits;
//! - each record names the number of the one before it in its partition, so a missing one is noticed;
//! - a record is never published for a transaction that didn't commit, or that a crash of the database took back.
//!
//! What that rests on:
//! - a row is appended while its aggregate is locked, so that for one key seq follows commits;
//! - snapshots come from the primary and transaction numbers from one cluster: both are checked;
//! - a topic's partition count doesn't change: checked, at the start and every half minute;
//! - nobody else publishes to the service's topics.
//!
//! **Invariant:** publishing follows from the newest step of scope `relay` alone. Whoever takes the next step is the owner.
//! The modules: `term` is the round and says how it would fail without each step; `read` the queries; `numbers` numbers, links
//! and partitions; `publish` hands over; `produce` the acknowledgements; `log` steps and lease; `continuity` the check against the topics,
//! `ends` and `walk` reading them; `history` what deciders rest on; [`partitions`] the outbox's tables; `upkeep` what goes on beside.

mod config;
#[doc(hidden)]
pub mod continuity;
#[doc(hidden)]
pub mod ends;
mod error;
#[doc(hidden)]
pub mod headers;
#[doc(hidden)]
pub mod history;
#[doc(hidden)]
pub mod log;
#[doc(hidden)]
pub mod numbers;
#[doc(hidden)]
pub mod own;
#[doc(hidden)]
pub mod owner;
pub mod partitions;
#[doc(hidden)]
pub mod produce;
mod publish;
#[doc(hidden)]
pub mod read;
#[doc(hidden)]
pub mod state;
mod status;
mod term;
#[doc(hidden)]
pub mod upkeep;
#[cfg(test)]
mod vectors;
#[doc(hidden)]
pub mod walk;

use std::sync::Arc;
use std::time::Duration;

use sqlx::{PgConnection, PgPool};
use tokio::sync::Notify;
use tokio_util::sync::CancellationToken;
use uuid::Uuid;

use crate::database::surroundings;
use crate::ground::backoff::Backoff;
use crate::ground::running::{Health, Running};
use crate::publish::metrics;
use continuity::AllowedRows;
use log::{Lease, Look, Purpose};
use term::{Round, Term};

pub use config::Config;
#[doc(hidden)]
pub use config::refused_source;
pub use error::Error;
pub use history::History;
pub use status::{Role, Status};

/// The first wait after rows of another process were found: more may be on their way. It doubles up to [`Config::idle_max`]. Who wakes the
/// relay wakes it for the next ones, too.
const IDLE_MIN: Duration = Duration::from_millis(1);
/// How often a stand-by looks whether the lease is free.
const STANDBY_EVERY: Duration = Duration::from_millis(500);

/// Wakes the relay after a commit of this process, so that it needn't find out by looking, which takes up to
/// [`Config::idle_max`]. Clones wake the same relay.
#[derive(Debug, Clone, Default)]
pub struct Wakeup(Arc<Notify>);

impl Wakeup {
    /// Something was committed to the outbox. Returns at once; called too often, it costs a look at the outbox each time.
    pub fn wake(&self) {
        self.0.notify_one();
    }
}

/// The relay of one service. Several may run; one publishes, the others stand by.
///
/// ```no_run
/// use farandole_outbox::{Relay, RelayConfig};
///
/// # async fn run(pool: sqlx::PgPool) -> Result<(), Box<dyn std::error::Error>> {
/// let config = RelayConfig { topics: vec!["billing".to_owned()], ..RelayConfig::new("billing", "127.0.0.1:9092") };
/// let (relay, wakeup) = Relay::new(pool, config);
/// let status = relay.status(); // figures, for as long as it runs
/// let mut relay = relay.start();
/// wakeup.wake(); // after a commit, or it looks for itself
/// println!("{} rows wait; {:?}", status.unsent(), relay.health());
/// relay.ended().await?; // an error: somebody must act first
/// # Ok(())
/// # }
/// ```
pub struct Relay {
    pool: PgPool,
    config: Arc<Config>,
    status: Arc<Status>,
    history: History,
    wakeup: Wakeup,
    me: Uuid,
}

impl Relay {
    /// A relay of the outbox behind `pool`, and what wakes it.
    ///
    /// It opens its connections by the pool and takes them out of it, so that the pool has their places back at once: one publishes, one
    /// keeps the lease, one tends the tables, and there are more for moments. What they run under it sets by itself. A small pool of its own
    /// (`max_connections(3)`) keeps what else a pool is used for from making it wait. Nothing is done before [`Relay::start`].
    pub fn new(pool: PgPool, config: Config) -> (Self, Wakeup) {
        let (wakeup, history) = (Wakeup::default(), History::default());
        let (config, status) = (Arc::new(config), Arc::new(Status::new()));
        let relay = Self { pool, config, status, history, wakeup: wakeup.clone(), me: Uuid::now_v7() };
        (relay, wakeup)
    }

    /// Whether the database may be decided on; stays valid while the relay runs.
    pub fn history(&self) -> History {
        self.history.clone()
    }

    /// Figures of this relay; stays valid while it runs.
    pub fn status(&self) -> Arc<Status> {
        self.status.clone()
    }

    /// Publishes, or stands by, until it is told to stop; then finishes what is in flight and hands the lease back. Trouble with
    /// Kafka or PostgreSQL is waited out, and shows in its [health](Running::health). It ends with an error when somebody must act
    /// first: [`Error::is_fatal`].
    pub fn start(self) -> Running<Error> {
        let status = self.status();
        let health = Health::new(move || status.role().trouble().into_iter().collect());
        Running::start("the relay", health, |stop| self.run(stop))
    }

    /// Like [`Relay::start`], for callers that own the task: check its result.
    ///
    /// # Errors
    /// When somebody must act first: [`Error::is_fatal`].
    #[doc(hidden)]
    pub async fn run(self, shutdown: CancellationToken) -> Result<(), Error> {
        let property = produce::refused(&self.config.kafka).into_iter().next().map(|why| Error::Property { why });
        let source = || config::refused_source(self.config.source.as_ref()?).map(|want| Error::Source { want });
        let name = || config::refused_service(&self.config.service).map(|want| Error::Name { want });
        if let Some(error) = property.or_else(source).or_else(name) {
            self.refuse(&error);
            return Err(error);
        }
        let upkeep = upkeep::run(self.pool.clone(), self.status.clone());
        tokio::select! {
            ended = self.terms(&shutdown) => ended,
            never = upkeep => match never {},
        }
    }

    async fn terms(&self, shutdown: &CancellationToken) -> Result<(), Error> {
        let (mut trouble, mut fit) = (Trouble::default(), false);
        while !shutdown.is_cancelled() {
            let term = async {
                if !fit {
                    let check = async { surroundings::check(&self.pool, &[]).await.map_err(Error::Surroundings) };
                    log::with_timeout("checking the environment requirements", check).await?;
                    fit = true;
                }
                self.term(shutdown, &mut trouble).await
            };
            match term.await {
                Ok(()) => {}
                Err(e) if e.is_fatal() => {
                    self.refuse(&e);
                    return Err(e);
                }
                Err(e) if e.is_fenced() => {
                    tracing::warn!("another relay took over; standing by");
                    metrics::FENCED.add(1, []);
                    self.status.set_role(Role::Starting);
                }
                Err(e) => {
                    self.status.set_role(Role::Waiting(e.chain()));
                    metrics::TROUBLES.add(1, []);
                    let wait = trouble.wait(&e);
                    tokio::select! { () = tokio::time::sleep(wait) => {}, () = shutdown.cancelled() => {} }
                }
            }
        }
        self.status.set_role(Role::Stopped);
        Ok(())
    }

    fn refuse(&self, error: &Error) {
        tracing::error!(reason = error.chain(), "relay refuses to publish");
        self.history.refuse(error.chain());
        self.status.set_role(Role::Refused(error.chain()));
    }

    async fn term(&self, shutdown: &CancellationToken, trouble: &mut Trouble) -> Result<(), Error> {
        let (log, state) = loop {
            match log::take(&self.pool, &self.config, self.me, Purpose::Publish, &self.history).await? {
                Lease::Acquired(log, state) => break (log, state),
                Lease::HeldBy(left, look, mut conn) => {
                    tokio::select! { done = self.stand_by(look, &mut conn) => done?, () = shutdown.cancelled() => return Ok(()) }
                    self.status.set_role(Role::Standby);
                    let wait = left.clamp(IDLE_MIN, STANDBY_EVERY);
                    tokio::select! { () = tokio::time::sleep(wait) => {}, () = shutdown.cancelled() => return Ok(()) }
                }
            }
        };
        let mut term = Term::begin(&self.pool, self.config.clone(), self.status.clone(), log, state, trouble.refused).await?;
        // After trouble only once a round has gone well: that trouble is what keeps rows from going out.
        if trouble.tries == 0 {
            self.status.set_role(Role::Active);
            tracing::info!(owner = %self.me, "relay is active");
        }
        match self.rounds(&mut term, shutdown, trouble).await {
            Ok(()) => term.release().await,
            Err(e) => {
                term.abandon().await;
                Err(e)
            }
        }
    }

    /// Sees to it that the database is one whose history this process has compared, for its owner's word is only in the database:
    /// a backup that was taken within a lease has that word, too.
    async fn stand_by(&self, mut look: Look, conn: &mut PgConnection) -> Result<(), Error> {
        if log::holds(conn, &self.history).await? {
            look.step.into_iter().for_each(|step| self.history.advance(step));
            return Ok(());
        }
        self.status.set_role(Role::Starting);
        let kafka = self.config.client();
        let mut again = true;
        loop {
            let topics = continuity::topics(&self.config, &look.state);
            let compared =
                continuity::check(conn, &kafka, &self.config.service, &look.state, topics, AllowedRows::Committed).await;
            match compared {
                // The owner may have dropped a whole partition of the outbox between the look and the comparison.
                Err(Error::Continuity { .. }) if again => {
                    again = false;
                    look = log::with_timeout("looking at the relay's state", log::look(conn)).await?;
                    look.adopt(&self.config)?;
                }
                Err(error) => return Err(error),
                Ok(()) => break,
            }
        }
        look.step.into_iter().for_each(|step| self.history.hold(look.at, step, look.state.lineage));
        tracing::info!("database and topics agree; standing by");
        Ok(())
    }

    async fn rounds(&self, term: &mut Term, shutdown: &CancellationToken, trouble: &mut Trouble) -> Result<(), Error> {
        let (mut idle, mut woken) = (IDLE_MIN, false);
        while !shutdown.is_cancelled() {
            if self.history.trouble().is_some() {
                return Err(Error::Doubted);
            }
            let round = term.round(shutdown).await?;
            if trouble.over() {
                self.status.set_role(Role::Active);
            }
            match round {
                Round::Busy => idle = if woken { self.config.idle_max } else { IDLE_MIN },
                Round::Idle => {
                    tokio::select! {
                        () = self.wakeup.0.notified() => woken = true,
                        () = tokio::time::sleep(idle) => (idle, woken) = ((idle * 2).min(self.config.idle_max), false),
                        () = shutdown.cancelled() => {}
                    }
                }
            }
        }
        Ok(())
    }
}

/// Waits that grow, and one warning per reason.
#[derive(Default)]
struct Trouble {
    reason: String,
    tries: u32,
    /// The brokers have refused a record, and will again.
    refused: bool,
}

impl Trouble {
    fn wait(&mut self, error: &Error) -> Duration {
        let reason = error.chain();
        if reason != self.reason {
            if error.needs_somebody() {
                tracing::error!(reason, "relay is waiting; this needs an operator");
            } else {
                tracing::warn!(reason, "relay is waiting");
            }
            self.reason = reason;
        }
        self.refused = matches!(error, Error::Row { .. } | Error::Produce { .. }) && error.needs_somebody();
        self.tries = self.tries.saturating_add(1);
        Backoff::SERVER.wait(self.tries)
    }

    /// Whether there was any.
    fn over(&mut self) -> bool {
        let was = self.tries > 0;
        if was {
            tracing::info!("relay continues");
            *self = Self::default();
        }
        was
    }
}
