//! Effects: find what is due, claim what may start, run it, hand on how it ended. What and when says the [schedule](super::schedule);
//! here is what touches the world.

use std::error::Error;
use std::sync::Arc;
use std::time::{Duration, Instant};

use serde_json::Value;
use tokio::sync::mpsc;
use tokio::task::{JoinError, JoinSet};
use tokio_util::sync::CancellationToken;
use uuid::Uuid;

use crate::agenda::call::Caller;
use crate::agenda::claims::{self, Claim, Next, Task};
use crate::agenda::inbox::{Inbox, News};
use crate::agenda::outcomes::Finished;
use crate::agenda::poke::Poke;
use crate::agenda::scan::Scanner;
use crate::agenda::schedule::Schedule;
use crate::agenda::target::{Asked, Ready};
use crate::agenda::{Config, EffectHandler, metrics};
use crate::database::sessions::{Sessions, with_conn};
use crate::engine::tasks::{Id, Kind};
use crate::engine::{guarded, read};
use crate::ground::error::chain_of;
use crate::ground::time::later;
use crate::participant::Participant;
use crate::participant::task::Effect as _;
use crate::publish::relay::History;

/// Between two looks while something is going on.
const BUSY: Duration = Duration::from_millis(50);

/// What a look at a page came to.
struct Looked {
    /// Something new was there.
    found: bool,
    /// There may be more behind.
    full: bool,
    /// Some of it may only wait for the relay.
    unpublished: bool,
}

/// Finds, claims and starts effects for one worker, as its [`Schedule`] says.
pub(super) struct Dispatcher<P: Participant, E> {
    sessions: Sessions,
    config: Arc<Config>,
    worker: Uuid,
    scanner: Scanner,
    schedule: Schedule<Asked<P>>,
    inbox: Arc<Inbox<Asked<P>>>,
    caller: Arc<Caller<E>>,
    calls: JoinSet<()>,
    finished: mpsc::Sender<Finished<P>>,
    history: Option<History>,
    /// What could not be used since the last look; the next one puts it off.
    unusable: Vec<(Id, Claim)>,
}

impl<P: Participant, E: EffectHandler<P>> Dispatcher<P, E> {
    pub fn new(
        sessions: Sessions,
        effects: E,
        config: Config,
        worker: Uuid,
        inbox: Arc<Inbox<Asked<P>>>,
        finished: mpsc::Sender<Finished<P>>,
        history: Option<History>,
    ) -> Self {
        let (config, published) = (Arc::new(config), history.is_some());
        Self {
            sessions,
            worker,
            scanner: Scanner::new(Kind::Effect, config.batch, Duration::ZERO, published),
            schedule: Schedule::new(Arc::clone(&config)),
            inbox,
            caller: Arc::new(Caller::new(effects, Arc::clone(&config))),
            config,
            calls: JoinSet::new(),
            finished,
            history,
            unusable: Vec::new(),
        }
    }

    /// Runs until `shutdown`, then waits for the calls that run; each is bounded by its timeout.
    pub async fn run(mut self, poke: &Poke, shutdown: &CancellationToken) {
        let mut poll = BUSY;
        // Something was opened since the last look, or it saw what isn't published yet.
        let (mut look_at, mut awaits) = (Instant::now(), false);
        let history = self.history.clone();
        while !shutdown.is_cancelled() {
            while let Some(ended) = self.calls.try_join_next() {
                whole(ended);
            }
            if self.schedule.may_look(Instant::now()) && Instant::now() >= look_at {
                match self.look().await {
                    Ok(looked) => {
                        awaits = looked.unpublished;
                        poll = if looked.found { BUSY } else { poll.saturating_mul(2).min(self.config.idle) };
                        look_at = later(if looked.full { Duration::ZERO } else { poll });
                    }
                    Err(error) => {
                        tracing::warn!(error = chain_of(&error), "reading effects failed; retrying");
                        look_at = later(self.config.idle);
                    }
                }
            }
            self.hear();
            match self.start().await {
                // Claims that weren't had may have left room for others.
                Ok(true) => continue,
                Ok(false) => {}
                Err(error) => {
                    tracing::warn!(error = chain_of(&error), "claiming effects failed; retrying");
                    look_at = later(self.config.idle);
                }
            }
            let look = if self.schedule.may_look(Instant::now()) { look_at } else { Instant::now() + BUSY };
            let until = self.schedule.wake_at().map_or(look, |at| at.min(look));
            tokio::select! {
                // What was opened is known before what was published.
                biased;
                () = tokio::time::sleep_until(until.into()) => {}
                () = self.inbox.changed.notified() => {}
                () = poke.effects() => {
                    // With a relay, what has just been opened isn't published yet.
                    let soon = Instant::now() + if history.is_some() { BUSY } else { Duration::ZERO };
                    (poll, look_at, awaits) = (BUSY, look_at.min(soon), true);
                }
                // What was opened a moment ago may have been published.
                () = went_on(history.as_ref()) => {
                    if awaits {
                        look_at = Instant::now();
                    }
                }
                () = shutdown.cancelled() => {}
            }
        }
        // A second more than any call may take: after that there is nothing to wait for.
        let all = async {
            while let Some(ended) = self.calls.join_next().await {
                whole(ended);
            }
        };
        if tokio::time::timeout(self.config.timeout.saturating_add(Duration::from_secs(1)), all).await.is_err() {
            tracing::warn!("stopping while effects are running; they are retried under the same keys when their leases expire");
        }
    }

    /// Passes on what was told since.
    fn hear(&mut self) {
        for news in self.inbox.take() {
            match news {
                News::Ended { id, well } => self.schedule.ended(Instant::now(), &id, well),
                News::Gone(id) => self.schedule.gone(&id),
                // Whom it calls is asked anew for each attempt.
                News::Again(ready, after) => match guarded(|| self.caller.effects.target(&ready.effect.effect)) {
                    Ok(target) => self.schedule.again(Instant::now(), Ready { target, ..ready }, after),
                    Err(error) => {
                        self.schedule.gone(&ready.id);
                        self.unusable(ready.id, ready.claim, &error);
                    }
                },
            }
        }
    }

    /// Reads a page.
    async fn look(&mut self) -> sqlx::Result<Looked> {
        let page = self.scanner.page(&self.sessions).await?;
        let (mut found, mut usable) = (false, Vec::new());
        for Task { id, claim, effect, idempotency_key, correlation, traceparent, .. } in page.tasks {
            if self.schedule.knows(&id) {
                continue;
            }
            found = true;
            // An attempt whose lease ran out may have happened.
            let claim = Claim { maybe: claim.maybe || !claim.idle, ..claim };
            match self.read(&id, effect) {
                Ok((effect, target)) => {
                    usable.push(Ready { id, target, claim, effect, idempotency_key, correlation, traceparent });
                }
                Err(error) => self.unusable(id, claim, &*error),
            }
        }
        let again = self.schedule.found(Instant::now(), usable, page.full);
        if again {
            self.scanner.again();
        }
        self.put_off().await?;
        Ok(Looked { found: found || again, full: page.full || again, unpublished: page.unpublished || again })
    }

    /// An effect as it was stored, and whom it calls.
    fn read(&self, id: &Id, stored: Option<Value>) -> Result<(Asked<P>, &'static str), Box<dyn Error>> {
        let about = read::id::<P>(&id.key)?;
        let effect = guarded(|| P::Effect::from_json(&id.name, stored.unwrap_or_default()))??;
        let target = guarded(|| self.caller.effects.target(&effect))?;
        Ok((Asked { about, effect }, target))
    }

    /// An effect that this build can't do anything with. The others go on.
    fn unusable(&mut self, id: Id, claim: Claim, error: &dyn Error) {
        tracing::error!(
            name = id.name,
            key = id.key,
            %error,
            "a stored effect can't be read by this build; it is kept and retried, and needs a build that knows it"
        );
        self.unusable.push((id, claim));
    }

    async fn put_off(&mut self) -> sqlx::Result<()> {
        let unusable = std::mem::take(&mut self.unusable);
        if unusable.is_empty() {
            return Ok(());
        }
        let wait = |claim: &Claim| self.config.undecided.ceiling(claim.attempt.saturating_add(1));
        let next: Vec<(&Id, Next)> = unusable.iter().map(|(id, claim)| (id, claim.next(true, wait(claim)))).collect();
        // With a look at the tasks: the steps of one that was closed meanwhile would be nobody's, and stay for ever.
        with_conn!(self.sessions, conn => claims::take(conn, self.worker, &next, None))?;
        Ok(())
    }

    /// Claims, in one statement, and starts what may start; says whether there was anything.
    async fn start(&mut self) -> sqlx::Result<bool> {
        let (seen, most) = match self.history.as_ref().map(History::seen).transpose() {
            Ok(seen) => (seen, self.config.batch),
            // It says so itself, and they stay lined up.
            Err(_) => (None, 0),
        };
        let started = self.schedule.start(Instant::now(), most);
        for (target, number) in self.schedule.breakers() {
            metrics::BREAKER_STATE.set(number, [target.into()]);
        }
        if started.is_empty() {
            return Ok(false);
        }
        let next: Vec<(&Id, Next)> = started.iter().map(|r| (&r.id, r.claim.next(false, self.config.lease))).collect();
        let claimed = with_conn!(self.sessions, conn => claims::take(conn, self.worker, &next, seen.as_ref()));
        let claimed = claimed.and_then(|had| match (&self.history, &seen) {
            (Some(history), Some(seen)) if !had.holds => Err(sqlx::Error::Protocol(history.doubt(seen))),
            _ if !had.free => Err(sqlx::Error::Protocol("the database is being healed".to_owned())),
            _ => Ok(had.claims),
        });
        let claimed = match claimed {
            Ok(claimed) => claimed,
            Err(error) => {
                // Whether they were claimed isn't known: they are looked at anew.
                started.iter().for_each(|ready| self.schedule.gone(&ready.id));
                return Err(error);
            }
        };
        for (ready, claim) in started.into_iter().zip(claimed) {
            match claim {
                Some(claim) => self.spawn(ready, claim),
                // Closed, or somebody else's.
                None => self.schedule.gone(&ready.id),
            }
        }
        Ok(true)
    }

    fn spawn(&mut self, ready: Ready<Asked<P>>, claim: Claim) {
        let (caller, inbox, finished) = (Arc::clone(&self.caller), Arc::clone(&self.inbox), self.finished.clone());
        self.calls.spawn(async move {
            let (ended, well) = caller.attempt::<P>(&ready, claim).await;
            // First: what comes of an end is news only of what has ended.
            inbox.tell([News::Ended { id: ready.id.clone(), well }]);
            // The receiver outlives the calls, and the channel has room for all claims held.
            let _ = finished.send(Finished { ready, claim, ended }).await;
        });
    }
}

/// The next step of the relay that publishes here; never without one.
async fn went_on(history: Option<&History>) {
    match history {
        Some(history) => history.went_on().await,
        None => std::future::pending().await,
    }
}

/// What a call's code does is guarded; whatever else panicked around it has left an effect that nobody comes back to, so the agenda
/// ends, and the service with it.
fn whole(ended: Result<(), JoinError>) {
    if let Err(error) = ended
        && error.is_panic()
    {
        std::panic::resume_unwind(error.into_panic());
    }
}
