//! The relay's step log, and the lease that it carries.
//!
//! The lease keeps two relays from doing the same work; **nothing else rests on it**. An owner whose lease ran out unnoticed
//! (a paused process, a clock that jumped) goes on publishing at most the batch that its last step names, which the new owner
//! publishes too, under the same numbers. Its next step is taken, and that ends its term.
//!
//! Every step renews the lease, so a busy relay writes nothing extra; an idle one takes a step each third of the lease.

use std::time::{Duration, Instant};

use sqlx::{AssertSqlSafe, Executor as _, PgConnection, PgPool};
use uuid::Uuid;

use crate::database::{session, step};
use crate::publish::relay::config::Config;
use crate::publish::relay::error::Error;
use crate::publish::relay::history::{History, holds_sql};
use crate::publish::relay::owner;
use crate::publish::relay::state::{SCOPE, State};

/// No question to the database takes longer than this, or the connection is given up.
pub const TIMEOUT: Duration = Duration::from_secs(30);

/// What a look at the lease gave.
pub enum Lease {
    /// It is ours: the log at our own step, and the state to go on from.
    Acquired(Log, State),
    /// Another's, for this long at least; what was looked at, and on which connection.
    HeldBy(Duration, Look, PgConnection),
}

/// An owner's log.
pub struct Log {
    conn: PgConnection,
    me: Uuid,
    step: i64,
    lease: Duration,
    /// The database's clock, in microseconds, and when it was read.
    clock: (i64, Instant),
    renewed: Instant,
    /// The server's start and the database, for [`Log::hold`]; the last durable step, and when it was taken.
    at: (i64, i64),
    durable: (i64, i64),
    history: History,
}

/// Waits for the database, but not for ever.
pub async fn with_timeout<T, E: Into<Error>>(doing: &'static str, work: impl Future<Output = Result<T, E>>) -> Result<T, Error> {
    match tokio::time::timeout(TIMEOUT, work).await {
        Ok(result) => result.map_err(Into::into),
        Err(_) => Err(Error::Silent { doing, seconds: TIMEOUT.as_secs() }),
    }
}

/// A connection of the relay's own, outside its pool, so that ending a term ends the session whatever it was doing.
pub async fn connect(pool: &PgPool, settings: &'static str) -> Result<PgConnection, Error> {
    with_timeout("connecting to the database", async {
        let mut conn = pool.acquire().await.map_err(Error::database("connecting to the database"))?.detach();
        session::prepare(&mut conn, session::Purpose::Any).await.map_err(Error::database("preparing a session"))?;
        conn.execute(settings).await.map_err(Error::database("preparing a session"))?;
        Ok::<_, Error>(conn)
    })
    .await
}

/// [`connect`], for statements of the kit alone: nothing but PostgreSQL's and the kit's is looked for, and a policy on the kit's rows,
/// which would hide some, is an error.
pub async fn alone(pool: &PgPool, settings: &'static str) -> Result<PgConnection, Error> {
    let mut conn = connect(pool, settings).await?;
    execute(&mut conn, "preparing a session", "set search_path = pg_catalog; set row_security = off".to_owned()).await?;
    Ok(conn)
}

/// Settings of the connection that takes steps. A step's flush comes after the commit records of every row in its batch, so
/// once it is durable, so are they: nothing is published that a crash of the database could take back.
const SETTINGS: &str = "set synchronous_commit = on";

/// And its plans: made once, and for a log that has grown. While the table is small the planner would read it whole, and go on so.
const PLANS: &str =
    "set plan_cache_mode = force_generic_plan; set enable_seqscan = off; set enable_bitmapscan = off; set jit = off";

/// The newest state, and the server that it was read from.
pub struct Look {
    /// None when the log hasn't begun; and when it was taken.
    pub step: Option<(i64, i64)>,
    pub state: State,
    /// Of the server.
    pub system: String,
    /// When the server started, in microseconds, and the database's oid.
    pub at: (i64, i64),
    /// The database's clock in microseconds.
    pub now: i64,
}

/// Looks at the newest state.
pub async fn look(conn: &mut PgConnection) -> Result<Look, Error> {
    let (standby, system, server, database, now): (bool, String, i64, i64, i64) = sqlx::query_as(
        "select pg_is_in_recovery(), (select system_identifier::text from pg_control_system()),
                (extract(epoch from pg_postmaster_start_time()) * 1000000)::bigint,
                (select oid::bigint from pg_database where datname = current_database()),
                (extract(epoch from clock_timestamp()) * 1000000)::bigint",
    )
    .fetch_one(&mut *conn)
    .await
    .map_err(Error::database("reading the database's clock"))?;
    if standby {
        return Err(Error::Standby);
    }
    let (step, state) = match step::latest_at::<State>(conn, SCOPE).await? {
        Some((step, state)) => (Some(step), state),
        None => (None, State::first(system.clone())),
    };
    Ok(Look { step, state, system, at: (server, database), now })
}

impl Look {
    /// Takes the source that `config` names for what was never published from; else it has to be what the records name.
    pub fn adopt(&mut self, config: &Config) -> Result<(), Error> {
        match &config.source {
            Some(source) if self.step.is_none() => self.state.source = Some(source.clone()),
            Some(source) if *source != self.state.source(&config.service) => {
                let published = self.state.source(&config.service);
                return Err(Error::OtherSource { published, configured: source.clone() });
            }
            _ => {}
        }
        Ok(())
    }
}

/// Whether the database is still the one that `history` was compared in, and the relay's log goes on from there.
pub async fn holds(conn: &mut PgConnection, history: &History) -> Result<bool, Error> {
    let Ok(seen) = history.seen() else { return Ok(false) };
    let doing = "checking that the database is still the one that was compared";
    let asked = sqlx::query_scalar(concat!("select ", holds_sql!("$1", "$2"))).bind(SCOPE).bind(seen.values());
    with_timeout(doing, async { asked.fetch_one(conn).await.map_err(Error::database(doing)) }).await
}

/// What a lease is taken for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Purpose {
    /// On a state that fits this server.
    Publish,
    /// On any state, marked so that nobody publishes on it before the heal has ended.
    Heal,
}

/// Takes the lease when it is free, lapsed or already `me`'s. Durable steps are told to `history`.
pub async fn take(pool: &PgPool, config: &Config, me: Uuid, purpose: Purpose, history: &History) -> Result<Lease, Error> {
    let Config { service, lease, .. } = config;
    let lease = *lease;
    let mut conn = alone(pool, SETTINGS).await?;
    execute(&mut conn, "preparing a session", PLANS.to_owned()).await?;
    with_timeout("taking the lease", async {
        let asked = Instant::now();
        let mut look = look(&mut conn).await?;
        owner::claim(&mut conn, service, look.step.is_none()).await?;
        look.adopt(config)?;
        // A stand-by's too: it may be of a newer build, which publishes to more.
        if purpose == Purpose::Publish {
            owner::declare(&mut conn, &config.topics).await?;
        }
        let Look { step, state, system, at, now } = &mut look;
        let (step, at, now) = (*step, *at, *now);
        match purpose {
            Purpose::Heal => state.healing = true,
            Purpose::Publish if state.system != *system => {
                let (stored, found) = (state.system.clone(), system.clone());
                return Err(Error::SystemIdentifier { service: service.clone(), stored, found });
            }
            Purpose::Publish if state.healing => return Err(Error::Healing { service: service.clone() }),
            Purpose::Publish => {}
        }
        if state.owner.is_some_and(|owner| owner != me) && state.lease_until > now {
            let left = Duration::from_micros(u64::try_from(state.lease_until - now).unwrap_or(0));
            return Ok(Lease::HeldBy(left.min(lease), look, conn));
        }
        let clock = (now, asked);
        let step = step.map(|(step, _)| step);
        // The number is right for a log that hasn't begun as well: `append` sets it.
        let (durable, history) = ((0, 0), history.clone());
        let mut log = Log { conn, me, step: step.unwrap_or(0), lease, clock, renewed: asked, at, durable, history };
        let mut state = look.state;
        log.sign(&mut state);
        log.durable = step::append_at(&mut log.conn, SCOPE, step, &state).await?;
        log.step = log.durable.0;
        Ok(Lease::Acquired(log, state))
    })
    .await
}

impl Log {
    /// Takes a step, durably.
    pub async fn append(&mut self, state: &mut State) -> Result<(), Error> {
        self.sign(state);
        self.durable = with_timeout("taking a step", step::append_at(&mut self.conn, SCOPE, Some(self.step), state)).await?;
        self.step = self.durable.0;
        // Not notes: one that a crash of the database loses would look as if it had been set back.
        self.history.advance(self.durable);
        self.history.goes_on();
        self.renewed = Instant::now();
        Ok(())
    }

    /// The topics continue what the database knows, as of the last durable step.
    pub fn hold(&self, state: &State) {
        self.history.hold(self.at, self.durable, state.lineage);
    }

    /// Takes a step on `conn`, whose commits may be lost in a crash.
    pub async fn note(&mut self, conn: &mut PgConnection, state: &mut State) -> Result<(), Error> {
        self.sign(state);
        self.step = with_timeout("noting progress", step::append(conn, SCOPE, Some(self.step), state)).await?;
        self.history.goes_on();
        self.renewed = Instant::now();
        Ok(())
    }

    /// Hands the lease back, so that a stand-by needn't wait for it to lapse.
    pub async fn release(mut self, state: &mut State) -> Result<(), Error> {
        (state.owner, state.lease_until) = (None, 0);
        with_timeout("releasing the lease", step::append(&mut self.conn, SCOPE, Some(self.step), state)).await?;
        Ok(())
    }

    /// Whether a third of the lease has gone by without a step.
    pub fn is_due(&self) -> bool {
        self.renewed.elapsed() >= self.renew_every()
    }

    /// A third of the lease.
    pub fn renew_every(&self) -> Duration {
        self.lease / 3
    }

    fn sign(&self, state: &mut State) {
        let (then, read) = self.clock;
        // A clock that runs slower than the database's only makes the lease look shorter.
        let lease_until = then.saturating_add(micros(read.elapsed())).saturating_add(micros(self.lease));
        (state.owner, state.lease_until) = (Some(self.me), lease_until);
    }
}

fn micros(duration: Duration) -> i64 {
    i64::try_from(duration.as_micros()).unwrap_or(i64::MAX)
}

/// Only for statements without values of others in them.
pub async fn execute(conn: &mut PgConnection, doing: &'static str, sql: String) -> Result<(), Error> {
    with_timeout(doing, async { conn.execute(AssertSqlSafe(sql)).await.map_err(Error::database(doing)) }).await?;
    Ok(())
}
