//! Effects on the outside world: what you write is an [`EffectHandler`], usually over [HTTP](over_http). How deadlines and effects are
//! run follows.
//!
//! A participant's `follow_up` says which tasks an event opens and closes. [`apply`] writes them with the batch that wrote the
//! event; [`Agenda`] comes back with deadlines that fell due and runs effects, and what comes of them is an input like any other.
//!
//! **Guarantees**
//! 1. A task is there exactly if the event that opened it is: same transaction. It ends with the transaction that decided or
//!    parked its deadline or outcome, or that closed it.
//! 2. A deadline is decided once, not before it is due by the database's clock.
//! 3. An effect starts only once the event that opened it is published, and is attempted until it has an outcome, always under the
//!    same idempotency key, which no other effect has. At most one worker at a time has the claim, and an outcome commits only with
//!    the newest claim.
//! 4. Closing an effect that may have started does not take it back: it is marked, goes on until it has an outcome, and the
//!    outcome is delivered, to be compensated. Only an effect that was never started, or whose every attempt said that
//!    nothing happened, is removed.
//! 5. Tasks are told apart by the event that opened them: what two events open under one name and key is two tasks. Opening
//!    replaces nothing; who wants a deadline moved closes it and opens it anew. Closing closes all that is open of the name and key.
//! 6. A target that fails gets fewer calls, not more: bulkhead and breaker stand before each target.
//!    Which effect starts when is one machine without I/O, `agenda/schedule.rs`, tested by tables.
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
//! - *An effect waits for its event's acknowledgement.* Otherwise a database that is set back to before it knows nothing of the call, nor
//!   does the topic: the input is decided again, maybe otherwise, and what was asked for is nobody's.
//! - *A timeout is "may have happened".* Otherwise the close of 4 removes what was done.
//!
//! **How it fails.** Database gone: outcomes stay in memory (bounded by [`Config::held`]) and are tried again; after a crash the
//! leases run out and the effects are attempted again under their keys. What a task brought that can't be decided (refused, faulty
//! data, a parked aggregate) parks with all other inputs of its aggregate, in order, and is the task's no more; see
//! [`parking`](crate::parking). At a limit of what may be parked the task waits and comes again, with a warning and
//! `farandole_agenda_deferred_total`. Retries never end:
//! `farandole_agenda_oldest_effect_seconds` and warnings at attempts 10, 20, 40, … tell.

#[doc(hidden)]
pub mod breaker;
mod call;
mod claims;
mod commit;
mod config;
mod deadlines;
mod effects;
mod inbox;
pub(crate) mod metrics;
mod outcomes;
mod outside;
#[cfg(feature = "http")]
pub mod over_http;
mod poke;
pub(crate) mod sample;
pub(crate) mod scan;
mod schedule;
mod source;
mod target;

use std::sync::Arc;

use tokio::sync::mpsc;
use tokio_util::sync::CancellationToken;
use uuid::Uuid;

use crate::database::sessions::Sessions;
use crate::engine::Engine;
use crate::participant::Participant;
use commit::Committer;

#[doc(hidden)]
pub use crate::ground::backoff::Backoff;
#[doc(hidden)]
pub use config::Config;
pub use outside::{Call, EffectError, EffectHandler};
#[doc(hidden)]
pub use poke::Poke;

#[doc(hidden)]
pub use crate::engine::ops::apply;
#[doc(hidden)]
pub use crate::engine::tasks::{Kind, Op, Opened};

/// Runs the tasks of one service. Several may run at once, in one process or many.
#[doc(hidden)]
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

impl<P: Participant, E: EffectHandler<P>> Agenda<P, E> {
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
        let inbox = Arc::new(inbox::Inbox::new());
        let history = engine.history().cloned();
        let dispatcher =
            effects::Dispatcher::new(sessions.clone(), effects, config.clone(), worker, Arc::clone(&inbox), sender, history);
        let all = async {
            tokio::join!(
                deadlines::run(committer(), &config, &poke, &shutdown),
                dispatcher.run(&poke, &shutdown),
                outcomes::run(committer(), config.batch, receiver, &inbox),
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
