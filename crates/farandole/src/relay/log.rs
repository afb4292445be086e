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

use super::error::Error;
use super::owner;
use super::state::{SCOPE, State};
use crate::step;

/// No question to the database takes longer than this, or the connection is given up.
pub(crate) const PATIENCE: Duration = Duration::from_secs(30);

/// What a look at the lease gave.
#[expect(clippy::large_enum_variant, reason = "made once a take-over and taken apart at once")]
pub(crate) enum Taken {
    /// It is ours: the log at our own step, and the state to go on from.
    Mine(Log, State),
    /// Another's, for this long at least.
    Other(Duration),
}

/// An owner's log.
pub(crate) struct Log {
    conn: PgConnection,
    me: Uuid,
    step: i64,
    lease: Duration,
    /// The database's clock, in microseconds, and when it was read.
    clock: (i64, Instant),
    renewed: Instant,
}

/// Waits for the database, but not for ever.
pub(crate) async fn within<T, E: Into<Error>>(doing: &'static str, work: impl Future<Output = Result<T, E>>) -> Result<T, Error> {
    match tokio::time::timeout(PATIENCE, work).await {
        Ok(result) => result.map_err(Into::into),
        Err(_) => Err(Error::Silent { doing, seconds: PATIENCE.as_secs() }),
    }
}

/// A connection of the relay's own, outside its pool, so that ending a term ends the session whatever it was doing.
pub(crate) async fn connect(pool: &PgPool, settings: &'static str) -> Result<PgConnection, Error> {
    within("connecting to the database", async {
        let mut conn = pool.acquire().await.map_err(Error::database("connecting to the database"))?.detach();
        conn.execute(settings).await.map_err(Error::database("preparing a session"))?;
        Ok::<_, Error>(conn)
    })
    .await
}

/// Settings of the connection that takes steps. A step's flush comes after the commit records of every row in its batch, so
/// once it is durable, so are they: nothing is published that a crash of the database could take back.
pub(crate) const SETTINGS: &str =
    "set synchronous_commit = on; set default_transaction_isolation = 'read committed'; set lock_timeout = '10s'";

/// And its plans: made once, and for a log that has grown. While the table is small the planner would read it whole, and go on so.
const PLANS: &str =
    "set plan_cache_mode = force_generic_plan; set enable_seqscan = off; set enable_bitmapscan = off; set jit = off";

/// The newest state, and the server that it was read from.
pub(crate) struct Look {
    /// None when the log hasn't begun.
    pub step: Option<i64>,
    pub state: State,
    /// Of the server.
    pub system: String,
    /// The database's clock in microseconds.
    pub now: i64,
}

/// Looks at the newest state.
pub(crate) async fn look(conn: &mut PgConnection) -> Result<Look, Error> {
    let (standby, system, now): (bool, String, i64) = sqlx::query_as(
        "select pg_is_in_recovery(), (select system_identifier::text from pg_control_system()),
                (extract(epoch from clock_timestamp()) * 1000000)::bigint",
    )
    .fetch_one(&mut *conn)
    .await
    .map_err(Error::database("reading the database's clock"))?;
    if standby {
        return Err(Error::Standby);
    }
    let (step, state) = match step::latest::<State>(conn, SCOPE).await? {
        Some((step, state)) => (Some(step), state),
        None => (None, State::first(system.clone())),
    };
    Ok(Look { step, state, system, now })
}

/// What a lease is taken for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Purpose {
    /// On a state that fits this server.
    Publish,
    /// On any state, marked so that nobody publishes on it before the heal has ended.
    Heal,
}

/// Takes the lease when it is free, lapsed or already `me`'s.
pub(crate) async fn take(pool: &PgPool, service: &str, me: Uuid, lease: Duration, purpose: Purpose) -> Result<Taken, Error> {
    let mut conn = connect(pool, SETTINGS).await?;
    execute(&mut conn, "preparing a session", PLANS.to_owned()).await?;
    within("taking the lease", async {
        let asked = Instant::now();
        let Look { step, mut state, system, now } = look(&mut conn).await?;
        owner::claim(&mut conn, service, step.is_none()).await?;
        match purpose {
            Purpose::Heal => state.healing = true,
            Purpose::Publish if state.system != system => {
                return Err(Error::SystemIdentifier { service: service.to_owned(), stored: state.system, found: system });
            }
            Purpose::Publish if state.healing => return Err(Error::Healing { service: service.to_owned() }),
            Purpose::Publish => {}
        }
        if state.owner.is_some_and(|owner| owner != me) && state.lease_until > now {
            let left = Duration::from_micros(u64::try_from(state.lease_until - now).unwrap_or(0));
            return Ok(Taken::Other(left.min(lease)));
        }
        let clock = (now, asked);
        // The number is right for a log that hasn't begun as well: `append` sets it.
        let mut log = Log { conn, me, step: step.unwrap_or(0), lease, clock, renewed: asked };
        log.sign(&mut state);
        log.step = step::append(&mut log.conn, SCOPE, step, &state).await?;
        Ok(Taken::Mine(log, state))
    })
    .await
}

impl Log {
    /// Takes a step, durably.
    pub(crate) async fn append(&mut self, state: &mut State) -> Result<(), Error> {
        self.sign(state);
        self.step = within("taking a step", step::append(&mut self.conn, SCOPE, Some(self.step), state)).await?;
        self.renewed = Instant::now();
        Ok(())
    }

    /// Takes a step on `conn`, whose commits may be lost in a crash.
    pub(crate) async fn note(&mut self, conn: &mut PgConnection, state: &mut State) -> Result<(), Error> {
        self.sign(state);
        self.step = within("noting progress", step::append(conn, SCOPE, Some(self.step), state)).await?;
        self.renewed = Instant::now();
        Ok(())
    }

    /// Hands the lease back, so that a stand-by needn't wait for it to lapse.
    pub(crate) async fn release(mut self, state: &mut State) -> Result<(), Error> {
        (state.owner, state.lease_until) = (None, 0);
        within("releasing the lease", step::append(&mut self.conn, SCOPE, Some(self.step), state)).await?;
        Ok(())
    }

    /// Whether a third of the lease has gone by without a step.
    pub(crate) fn is_due(&self) -> bool {
        self.renewed.elapsed() >= self.renew_every()
    }

    /// A third of the lease.
    pub(crate) fn renew_every(&self) -> Duration {
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
pub(crate) async fn execute(conn: &mut PgConnection, doing: &'static str, sql: String) -> Result<(), Error> {
    within(doing, async { conn.execute(AssertSqlSafe(sql)).await.map_err(Error::database(doing)) }).await?;
    Ok(())
}
