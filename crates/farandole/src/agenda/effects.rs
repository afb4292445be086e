//! Effects: find what is due, claim what may start, run it, hand on how it ended.

use std::collections::{BTreeMap, HashSet};
use std::sync::Arc;
use std::time::{Duration, Instant};

use tokio::sync::{Notify, OwnedSemaphorePermit, Semaphore, mpsc};
use tokio::task::{JoinError, JoinSet};
use tokio_util::sync::CancellationToken;
use uuid::Uuid;

use crate::agenda::claims::{self, Claim, Next, Task};
use crate::agenda::outcomes::{Back, Finished, Settled};
use crate::agenda::scan::Scanner;
use crate::agenda::target::{Ready, Target};
use crate::agenda::{Config, Effects, call};
use crate::database::sessions::{Sessions, asked};
use crate::engine::guarded;
use crate::engine::tasks::{Id, Kind};
use crate::ground::error::chain_of;
use crate::ground::time::later;
use crate::participant::Participant;
use crate::publish::relay::History;

/// Between two looks while something is going on.
const BUSY: Duration = Duration::from_millis(50);

/// For so long after tasks were opened each step of the relay is followed by a look: it publishes within milliseconds. After that they are
/// found by polling.
const RECENT: Duration = Duration::from_secs(1);

/// Finds, claims and starts effects for one worker.
pub(super) struct Dispatcher<P: Participant, E> {
    sessions: Sessions,
    effects: Arc<E>,
    config: Arc<Config>,
    worker: Uuid,
    back: Arc<Back<P::Effect>>,
    finished: mpsc::Sender<Finished<P>>,
    scanner: Scanner,
    targets: BTreeMap<&'static str, Target<P::Effect>>,
    /// All that is queued, running, not yet committed, or waits in `later`.
    known: HashSet<Id>,
    /// Retries by when they begin. The number tells apart what begins at once.
    later: BTreeMap<(Instant, u64), Ready<P::Effect>>,
    retries: u64,
    /// Claims that may be held at once.
    places: Arc<Semaphore>,
    calls: JoinSet<()>,
    stall: Stall,
    history: Option<History>,
    /// What could not be used since the last look; the next one puts it off.
    unusable: Vec<(Id, Claim)>,
}

/// Reading goes no further while a queue is full, or what has no room would wait for the next sweep. But not for long, since
/// behind it may be something for another target.
#[derive(Debug, Clone, Copy)]
enum Stall {
    /// Nothing was too much since the beginning of this pass through the tasks.
    No,
    /// Until there is room, or until then.
    Until(Instant),
    /// It was long enough for this pass.
    Over,
}

/// The longest stall of a pass.
const STALL: Duration = Duration::from_secs(1);

impl<P: Participant, E: Effects<P>> Dispatcher<P, E> {
    pub fn new(
        sessions: Sessions,
        effects: E,
        config: Config,
        worker: Uuid,
        back: Arc<Back<P::Effect>>,
        finished: mpsc::Sender<Finished<P>>,
        history: Option<History>,
    ) -> Self {
        let published = history.is_some();
        Self {
            sessions,
            history,
            effects: Arc::new(effects),
            worker,
            back,
            finished,
            scanner: Scanner::new(Kind::Effect, config.batch, Duration::ZERO, published),
            targets: BTreeMap::new(),
            known: HashSet::new(),
            later: BTreeMap::new(),
            retries: 0,
            places: Arc::new(Semaphore::new(config.held)),
            calls: JoinSet::new(),
            config: Arc::new(config),
            stall: Stall::No,
            unusable: Vec::new(),
        }
    }

    /// Runs until `shutdown`, then waits for the calls that run; each is bounded by its timeout.
    pub async fn run(mut self, poke: &Notify, shutdown: &CancellationToken) {
        let mut poll = BUSY;
        let (mut look_at, mut poked) = (Instant::now(), None::<Instant>);
        let history = self.history.clone();
        while !shutdown.is_cancelled() {
            while let Some(ended) = self.calls.try_join_next() {
                whole(ended);
            }
            self.settle();
            self.ripen();
            if self.may_look() && Instant::now() >= look_at {
                match self.look().await {
                    Ok((found, full)) => {
                        poll = if found { BUSY } else { poll.saturating_mul(2).min(self.config.idle) };
                        look_at = later(if full { Duration::ZERO } else { poll });
                    }
                    Err(error) => {
                        tracing::warn!(error = chain_of(&error), "effects can't be read; trying again");
                        look_at = later(self.config.idle);
                    }
                }
            }
            match self.start().await {
                Ok(started) if started >= self.config.batch => continue,
                Ok(_) => {}
                Err(error) => {
                    tracing::warn!(error = chain_of(&error), "effects can't be claimed; trying again");
                    look_at = later(self.config.idle);
                }
            }
            let look = if self.may_look() { look_at } else { Instant::now() + BUSY };
            let until = self.wake_at(look);
            tokio::select! {
                () = tokio::time::sleep_until(until.into()) => {}
                () = self.back.changed.notified() => {}
                () = poke.notified() => (poll, look_at, poked) = (BUSY, Instant::now(), Some(Instant::now())),
                // What was opened a moment ago may have been published.
                () = went_on(history.as_ref()) => {
                    if poked.is_some_and(|at| at.elapsed() < RECENT) {
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
            tracing::warn!("stopping although effects run; they are made again, under their keys, when their leases are over");
        }
    }

    fn settle(&mut self) {
        for settled in self.back.take() {
            match settled {
                Settled::Gone(id) => {
                    self.known.remove(&id);
                }
                Settled::Again(ready, _) if self.later.len() >= self.config.queue => {
                    self.known.remove(&ready.id);
                }
                Settled::Again(ready, after) => {
                    self.retries += 1;
                    self.later.insert((later(after), self.retries), ready);
                }
            }
        }
    }

    /// Queues the retries whose time has come.
    fn ripen(&mut self) {
        let rest = self.later.split_off(&(Instant::now(), u64::MAX));
        for ready in std::mem::replace(&mut self.later, rest).into_values() {
            self.queue(ready);
        }
    }

    /// Whether it was queued, or will be found by the next sweep anyway.
    fn queue(&mut self, ready: Ready<P::Effect>) -> bool {
        let name = match guarded(|| self.effects.target(&ready.effect)) {
            Ok(name) => name,
            Err(error) => {
                self.unusable(ready.id, ready.claim, &error);
                return true;
            }
        };
        let target = self.targets.entry(name).or_insert_with(|| Target::new(name, &self.config, Instant::now()));
        let Err(id) = target.push(ready) else { return true };
        self.known.remove(&id);
        !target.is_up()
    }

    fn may_look(&mut self) -> bool {
        if let Stall::Until(end) = self.stall {
            if self.targets.values().all(|t| t.has_room() || !t.is_up()) {
                self.stall = Stall::No;
            } else if Instant::now() >= end {
                self.stall = Stall::Over;
            } else {
                return false;
            }
        }
        self.known.len() < self.config.known
    }

    /// Reads a page; says whether something new was there, and whether there may be more.
    async fn look(&mut self) -> sqlx::Result<(bool, bool)> {
        let page = self.scanner.page(&self.sessions).await?;
        let (mut found, mut all) = (false, true);
        for Task { id, claim, effect, idempotency_key, correlation, traceparent, .. } in page.tasks {
            if !self.known.insert(id.clone()) {
                continue;
            }
            found = true;
            // An attempt whose lease ran out may have happened.
            let claim = Claim { maybe: claim.maybe || !claim.idle, ..claim };
            match guarded(|| serde_json::from_value(effect.unwrap_or_default())) {
                Ok(Ok(effect)) => all &= self.queue(Ready { id, claim, effect, idempotency_key, correlation, traceparent }),
                Ok(Err(error)) => self.unusable(id, claim, &error),
                Err(error) => self.unusable(id, claim, &error),
            }
        }
        let unusable = std::mem::take(&mut self.unusable);
        self.put_off(&unusable).await?;
        if !all && matches!(self.stall, Stall::No) {
            self.scanner.again();
            self.stall = Stall::Until(Instant::now() + STALL);
            return Ok((true, true));
        }
        if !page.full {
            self.stall = Stall::No;
        }
        Ok((found, page.full))
    }

    /// An effect that this build can't do anything with. The others go on.
    fn unusable(&mut self, id: Id, claim: Claim, error: &dyn std::error::Error) {
        tracing::error!(
            name = id.name,
            key = id.key,
            %error,
            "a stored effect can't be used; it is kept and tried again later, and needs a build that knows it"
        );
        self.known.remove(&id);
        self.unusable.push((id, claim));
    }

    async fn put_off(&self, unreadable: &[(Id, Claim)]) -> sqlx::Result<()> {
        if unreadable.is_empty() {
            return Ok(());
        }
        let next: Vec<(&Id, Next)> = unreadable
            .iter()
            .map(|(id, claim)| {
                let Claim { step, attempt, first, maybe, .. } = *claim;
                let attempt = attempt.saturating_add(1);
                let until = self.config.undecided.ceiling(attempt);
                (id, Next { after: step, attempt, first, idle: true, maybe, until })
            })
            .collect();
        // With a look at the tasks: the steps of one that was closed meanwhile would be nobody's, and stay for ever.
        asked!(self.sessions, conn => claims::take(conn, self.worker, &next, None))?;
        Ok(())
    }

    /// Claims, in one statement, and starts what may start; says how much.
    async fn start(&mut self) -> sqlx::Result<usize> {
        let seen = match self.history.as_ref().map(History::seen).transpose() {
            Ok(seen) => seen,
            // It says so itself, and they stay queued.
            Err(_) => return Ok(0),
        };
        let mut most = self.config.batch.min(self.places.available_permits());
        let mut taken: Vec<(&'static str, Ready<P::Effect>, OwnedSemaphorePermit)> = Vec::new();
        for (name, target) in &mut self.targets {
            let some = target.take(Instant::now(), most);
            most -= some.len();
            taken.extend(some.into_iter().map(|(ready, bulkhead)| (*name, ready, bulkhead)));
        }
        if taken.is_empty() {
            return Ok(0);
        }
        let next: Vec<(&Id, Next)> = taken
            .iter()
            .map(|(_, Ready { id, claim, .. }, _)| {
                let Claim { step, attempt, first, maybe, .. } = *claim;
                (
                    id,
                    Next { after: step, attempt: attempt.saturating_add(1), first, idle: false, maybe, until: self.config.lease },
                )
            })
            .collect();
        let claimed = asked!(self.sessions, conn => claims::take(conn, self.worker, &next, seen.as_ref()));
        let claimed = claimed.and_then(|had| match (&self.history, &seen) {
            (Some(history), Some(seen)) if !had.holds => Err(sqlx::Error::Protocol(history.doubt(seen))),
            _ if !had.free => Err(sqlx::Error::Protocol("the database is being healed".to_owned())),
            _ => Ok(had.claims),
        });
        let claimed = match claimed {
            Ok(claimed) => claimed,
            Err(error) => {
                // Whether they were claimed isn't known: they are looked at anew.
                taken.iter().for_each(|(_, ready, _)| {
                    self.known.remove(&ready.id);
                });
                return Err(error);
            }
        };
        let started = taken.len();
        for ((target, ready, bulkhead), claim) in taken.into_iter().zip(claimed) {
            match claim {
                Some(claim) => self.spawn(target, ready, claim, bulkhead),
                // Closed, or somebody else's.
                None => {
                    self.known.remove(&ready.id);
                }
            }
        }
        Ok(started)
    }

    fn spawn(&mut self, target: &'static str, ready: Ready<P::Effect>, claim: Claim, bulkhead: OwnedSemaphorePermit) {
        // `start` took no more than there are places, and only it takes them.
        let Ok(place) = Arc::clone(&self.places).try_acquire_owned() else { return };
        let Some(at) = self.targets.get(target) else { return };
        let breaker = at.breaker.clone();
        let (effects, config) = (Arc::clone(&self.effects), Arc::clone(&self.config));
        let (finished, back) = (self.finished.clone(), Arc::clone(&self.back));
        self.calls.spawn(async move {
            let ended = call::attempt::<P, E>(&effects, &config, target, &breaker, &ready, claim).await;
            drop(bulkhead);
            // The receiver outlives the calls, and the channel has room for all places.
            let _ = finished.send(Finished { ready, claim, ended, place }).await;
            back.changed.notify_one();
        });
    }

    fn wake_at(&self, look_at: Instant) -> Instant {
        let retry = self.later.keys().next().map(|(at, _)| *at);
        let targets = self.targets.values().filter_map(Target::next);
        targets.chain(retry).fold(look_at, Instant::min)
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
