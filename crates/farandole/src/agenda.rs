//! Deadlines and effects: what an event asks for later, and of others.
//!
//! A participant's `follow_up` says which tasks an event opens and closes. [`apply`] writes them with the batch that wrote the
//! event; [`Agenda`] comes back with deadlines that fell due and runs effects, and what comes of them is an input like any other.
//!
//! **Guarantees**
//! 1. A task is there exactly if the event that opened it is: same transaction. It ends with the transaction that decided or
//!    parked its deadline or outcome, or that closed it.
//! 2. A deadline is decided once, not before it is due by the database's clock.
//! 3. An effect is attempted until it has an outcome, always under the same idempotency key, which is made from the id of the
//!    event that opened it and the effect's name and key, so that no other effect has it. At most one worker at a time has the
//!    claim, and an outcome commits only with the newest claim.
//! 4. Closing an effect that may have started does not take it back: it is marked, goes on until it has an outcome, and the
//!    outcome is delivered, to be compensated. Only an effect that was never started, or whose every attempt said that
//!    nothing happened, is removed.
//! 5. Tasks are told apart by the event that opened them: what two events open under one name and key is two tasks. Opening
//!    replaces nothing; who wants a deadline moved closes it and opens it anew. Closing closes all that is open of the name and key.
//! 6. A target that fails gets fewer calls, not more: bulkhead, breaker and retry budget stand before each target.
//!
//! **Assumptions.** Calls are idempotent under their key for as long as they are retried, or the effect looks up what became of
//! the earlier ones ([`Call::first_attempt_at`] tells when to). An event opens one task at most of a name and key: an input whose
//! event opens more parks, with that reason. Leases outlast timeouts, with room for a commit; if one doesn't, the effect is
//! attempted twice under one key and one outcome counts.
//!
//! **Steps, and how it would fail without**
//! - *Claiming locks the task's row, and closing locks it before it looks at the claims.* Otherwise closing looks, a worker
//!   claims, closing deletes: the card is charged and nobody voids.
//! - *A claim is a step appended after the newest one read.* Otherwise two workers that saw the same expired lease both have it.
//! - *The commit locks the row and looks at the newest step once more.* Otherwise a worker that slept through its lease commits
//!   a second outcome.
//! - *The scope of the steps holds the cause.* Otherwise a claim on one task counts for another of its name and key.
//! - *The key is stored with the task.* Otherwise a build that makes keys in another way asks again under a new one.
//! - *Every wait is written as a step too.* Otherwise a restart of the service retries everything at once.
//! - *A timeout is "may have happened".* Otherwise the close of 4 removes what was done.
//!
//! **How it fails.** Database gone: outcomes stay in memory (bounded by [`Config::held`]) and are tried again; after a crash the
//! leases run out and the effects are attempted again under their keys. What a task brought that can't be decided (refused, faulty
//! data, a parked aggregate) parks with all other inputs of its aggregate, in order, and is the task's no more; see
//! [`parking`]. At a limit of what may be parked the task waits and comes again, with a warning and
//! `farandole_agenda_deferred_total`. Retries never end:
//! `farandole_agenda_oldest_effect_seconds` and warnings at attempts 10, 20, 40, … tell.

pub mod backoff;
pub mod breaker;
pub mod budget;
mod call;
mod claims;
mod commit;
mod config;
mod deadlines;
mod effects;
mod ops;
mod outcomes;
pub(crate) mod sample;
pub(crate) mod scan;
mod source;
mod target;

use std::future::Future;
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::{Notify, mpsc};
use tokio_util::sync::CancellationToken;
use uuid::Uuid;

pub use config::Config;
pub use ops::apply;

use crate::engine::{Engine, Fault, Origin, Sessions, Work};
use crate::parking::{self, input::Answered};
use crate::participant::{Body, NoEffect, Participant};
use crate::record::Said;
use crate::time::Timestamp;
use claims::Id;
use commit::Committer;

/// The two kinds of task.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// Come back at a time.
    Deadline,
    /// Ask the outside world.
    Effect,
}

impl Kind {
    /// As the table has it.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Deadline => "deadline",
            Self::Effect => "effect",
        }
    }
}

/// One change of the agenda.
#[derive(Debug, Clone, PartialEq)]
pub enum Op {
    /// A task opens, beside what is open under the same name and key.
    Open {
        /// What it is.
        kind: Kind,
        /// Kind of deadline or effect.
        name: String,
        /// The aggregate.
        key: String,
        /// Id of the event that opened it.
        cause: Uuid,
        /// Of an effect.
        idempotency_key: Option<Uuid>,
        /// When, by the database's clock.
        due: Timestamp,
        /// For the operator; [`Effects::target`] decides.
        target: Option<String>,
        /// What is asked.
        effect: Option<serde_json::Value>,
        /// Of the event.
        correlation: Uuid,
        /// Of the event.
        traceparent: Option<String>,
    },
    /// Tasks are no longer wanted; see the module's fourth guarantee. All that is open of the name and key.
    Close {
        /// Kind of deadline or effect.
        name: String,
        /// The aggregate.
        key: String,
    },
}

/// Calls to the outside world, by user code.
pub trait Effects<P: Participant>: Send + Sync + 'static {
    /// Names whom `effect` calls. Bulkhead, breaker and retry budget are one a target.
    fn target(&self, effect: &P::Effect) -> &'static str;
    /// Makes one attempt. It is dropped at the timeout ([`Config::timeout`]), and then counts as unknown.
    fn run(&self, call: &Call, effect: &P::Effect) -> impl Future<Output = Result<P::Outcome, EffectError>> + Send;
}

/// One attempt.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Call {
    /// The same for all attempts, and no other effect's.
    pub idempotency_key: Uuid,
    /// 1 is the first.
    pub attempt: u32,
    /// When the first attempt was claimed, by the database's clock. Once the key is older than the other side keeps it, look up
    /// what became of it.
    pub first_attempt_at: Timestamp,
    /// The aggregate's id.
    pub aggregate: String,
    /// W3C trace context to pass on.
    pub traceparent: Option<String>,
}

/// Why an attempt has no outcome. Both are tried again, for ever; "no" is an outcome.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum EffectError {
    /// It didn't happen.
    #[error("not done: {reason}")]
    Retry {
        /// In words.
        reason: String,
        /// Not before, if the other side said so.
        after: Option<Duration>,
    },
    /// It may have happened: it will be asked again under the same key.
    #[error("outcome unknown: {reason}")]
    Unknown {
        /// In words.
        reason: String,
    },
}

/// For participants that ask nothing of the outside world.
#[derive(Debug, Clone, Copy, Default)]
pub struct NoEffects;

impl<P: Participant<Effect = NoEffect>> Effects<P> for NoEffects {
    fn target(&self, effect: &NoEffect) -> &'static str {
        match *effect {}
    }
    async fn run(&self, _call: &Call, effect: &NoEffect) -> Result<P::Outcome, EffectError> {
        match *effect {}
    }
}

/// What a task brought, as the engine takes it.
fn input<P: Participant>(id: &Id, correlation: Uuid, traceparent: Option<String>, body: Body<P>) -> Work<P> {
    let kind = if matches!(body, Body::Deadline { .. }) { parking::input::Kind::Deadline } else { parking::input::Kind::Outcome };
    let (cause, key) = (id.cause_of(kind.as_str()), Some(parking::name(id.key.as_bytes()).into_owned()));
    Work::new(body, Origin { cause, correlation: Some(correlation), traceparent, idempotency: None, key })
}

/// What a parked task brought, as this build reads it.
pub(crate) fn read<P: Participant>(task: &parking::input::Task) -> Said<Work<P>> {
    let (name, key) = (task.name.clone(), task.key.clone());
    let body = match task.answered.clone() {
        None => Ok(Body::Deadline { name, key }),
        Some(Answered { effect, outcome }) => serde_json::from_value(effect)
            .and_then(|effect| Ok((effect, serde_json::from_value(outcome)?)))
            .map(|(effect, outcome)| Body::Outcome { name, key, effect, outcome }),
    };
    match body {
        Ok(body) => {
            let id = Id { name: task.name.clone(), key: task.key.clone(), cause: task.cause };
            Said::Input(Box::new(input(&id, task.correlation, task.traceparent.clone(), body)))
        }
        Err(error) => {
            Said::Fault(Fault { reason: format!("an effect or outcome that this build can't read: {error}"), passing: false })
        }
    }
}

/// Wakes the agenda of this process when a commit opened tasks. Without it they are found by polling.
#[derive(Debug, Clone, Default)]
pub struct Poke(Arc<(Notify, Notify)>);

impl Poke {
    /// Wakes it. Calls that come before it looks are one.
    pub fn wake(&self) {
        self.0.0.notify_one();
        self.0.1.notify_one();
    }
}

/// Runs the tasks of one service. Several may run at once, in one process or many.
pub struct Agenda<P: Participant, E> {
    engine: Arc<Engine<P>>,
    effects: E,
    sessions: Sessions,
    config: Config,
    poke: Poke,
}

impl<P: Participant, E> std::fmt::Debug for Agenda<P, E> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Agenda").field("config", &self.config).finish_non_exhaustive()
    }
}

impl<P: Participant, E: Effects<P>> Agenda<P, E> {
    /// `pool` is for reading and claiming; decisions commit on the engine's. `poke` is the one that the engine wakes.
    pub fn new(engine: Arc<Engine<P>>, effects: E, sessions: impl Into<Sessions>, config: Config, poke: Poke) -> Self {
        Self { engine, effects, sessions: sessions.into(), config, poke }
    }

    /// Runs until `shutdown`: then claims nothing more, waits for the calls that run, and commits their outcomes. Bounded by
    /// the timeout of calls and [`Config::grace`].
    pub async fn run(self, shutdown: CancellationToken) {
        let Self { engine, effects, sessions, config, poke } = self;
        let worker = Uuid::new_v4();
        let give_up = CancellationToken::new();
        let committer =
            || Committer { engine: &engine, worker, limits: config.parked, backoff: config.undecided, stop: &give_up };
        let (sender, receiver) = mpsc::channel(config.held.max(1));
        let back = Arc::new(outcomes::Back::new());
        let history = engine.history().cloned();
        let dispatcher =
            effects::Dispatcher::new(sessions.clone(), effects, config.clone(), worker, Arc::clone(&back), sender, history);
        let all = async {
            tokio::join!(
                deadlines::run(committer(), &config, &poke.0.0, &shutdown),
                dispatcher.run(&poke.0.1, &shutdown),
                outcomes::run(committer(), config.batch, receiver, &back),
                sample::run(&sessions, config.sample, &shutdown),
            );
        };
        let grace = async {
            shutdown.cancelled().await;
            tokio::time::sleep(config.timeout.saturating_add(config.grace)).await;
            give_up.cancel();
            std::future::pending::<()>().await;
        };
        tokio::select! {
            () = all => {}
            () = grace => {}
        }
    }
}
