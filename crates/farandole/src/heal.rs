//! Healing: reconciles a database with the topics that it publishes to, after one of them was rolled back.
//!
//! The relay refuses to publish when a topic doesn't end where its database thinks it does, or when the snapshots in its state
//! come from another cluster. What a heal then does:
//! - **The topic has more** (a backup was restored, a fail-over lost commits): the records that the database lacks are folded
//!   into it. They bring back rows, deadlines, effects and the answers of commands. Inputs that they name as their causes are
//!   noted, since the positions are as old as the rest: they come again and are passed over. Inputs that led to no event are
//!   decided again. All partitions' records come in the order of their numbers (`order`), so that a row which is a sum of several
//!   aggregates' events takes no value that it never had.
//! - **The snapshots mean nothing** (a dump was restored in another cluster): each row of the outbox is looked for in the topics
//!   by its id; those that aren't there are published, the others never again.
//! - **The topic has less** (a fail-over of the brokers; it was deleted and created again): rows of the outbox that it lost are published again, under new numbers,
//!   if all of them are still there.
//!
//! In the end the state holds the topics' ends as heads, the present snapshot as A, and a new lineage, whose first record in
//! each partition names the last one found. Numbers go on, so that they grow along a partition whatever happened to it.
//!
//! **Nobody publishes meanwhile**, and nobody decides: the heal holds the relay's lease, and its first step marks the state, so
//! that every relay waits, and with it each service that starts, until the heal has ended. It refuses while the service runs, and
//! holds alone the lock that every deciding transaction shares: what runs all the same, or appends to the outbox, waits for its end.
//!
//! **A record in the service's name that can't be folded or followed** stops it: a tombstone, a forgery. It says which, and goes on
//! without that one if told to ([`heal_with`]).
//!
//! **It may be broken off anywhere** and run again: a batch of records, with the heads moved past it, is one transaction, and
//! so is the end. What stays is the mark. A second run finds nothing to do. Memory is bounded by batches of some hundred
//! records of each partition, whatever the topic holds; the outbox's ids are kept in a temporary table.
//!
//! **How it would fail without**: without the causes, inputs since the backup would be applied twice; without the ids, rows that
//! were unsent at the backup would be published twice, or folded although they are there; without the mark, a service that
//! starts in the middle would decide on half of its state; without a new lineage, a relay of the life before that still runs
//! somewhere would go on unnoticed; without effects that count as started, an authorisation made after the backup might never
//! be voided.
//!
//! **Assumption:** a topic's records have expired nowhere but at its beginning.

mod act;
mod any;
mod error;
mod fold;
mod open;
mod order;
mod pass;
mod read;
mod report;
mod rows;
mod survey;
pub(crate) mod tasks;

use futures_util::future::BoxFuture;
use sqlx::PgPool;

use crate::heal::any::AnyFold;
use crate::publish::relay::own::Own;
use crate::publish::relay::{self, log};

pub use error::{Error, MissingRecord};
pub use fold::{Fold, Folding, NoFold, Skip};
pub use pass::{At, Choices};
pub use report::{Partition, Report};

/// Whether anything is changed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Mode {
    /// Only says what would be done. Reads the topics and the outbox, takes no lease and writes nothing.
    DryRun,
    /// Does it.
    Execute,
}

/// Compares the database behind `pool` with the topics that `config` and its state name, and brings them together again if
/// `mode` says so. `config` is that of the service's relay.
///
/// # Errors
/// See [`Error`].
pub async fn heal<F: Fold>(pool: &PgPool, config: &relay::Config, fold: &F, mode: Mode) -> Result<Report, Error> {
    heal_with(pool, config, fold, mode, &Choices::default()).await
}

/// [`heal`], with a person's decisions.
///
/// A record to pass over that is the next of its chain stays in the chain, since consumers have taken it so and stop at a record that doesn't name it as
/// the one before; a tombstone is such. One that isn't, or that leaves no room for numbers, or behind which the service's own went on
/// without it, is none of the service's: the relay's state remembers it, so that later starts look past it. Consumers that took it stop
/// at the next record.
///
/// # Errors
/// See [`Error`].
pub async fn heal_with<F: Fold>(
    pool: &PgPool,
    config: &relay::Config,
    fold: &F,
    mode: Mode,
    choices: &Choices,
) -> Result<Report, Error> {
    with(pool, config, fold, mode, choices).await
}

fn with<'a>(
    pool: &'a PgPool,
    config: &'a relay::Config,
    fold: &'a dyn AnyFold,
    mode: Mode,
    choices: &'a Choices,
) -> BoxFuture<'a, Result<Report, Error>> {
    Box::pin(async move {
        // It reads as much as there is, and folds into the service's own tables.
        let mut conn = log::connect(pool, "set statement_timeout = 0").await?;
        let mut look = log::look(&mut conn).await?;
        relay::owner::claim(&mut conn, &config.service, false).await?;
        look.adopt(config)?;
        if let Some(topic) =
            relay::owner::own_topic(&mut conn, &look.state).await?.filter(|own| fold.topic() != Some(own.as_str()))
        {
            return Err(Error::Service { service: config.service.clone(), topic });
        }
        let kafka = config.client();
        let own = Own::of(&config.service, &look.state);
        let surveyor = survey::Surveyor { config, kafka, fold, own, choices };
        let survey = surveyor.survey(&mut conn, &look).await?;
        let report = survey.report(&mut conn, &look, config, fold).await?;
        if mode == Mode::DryRun || report.is_whole() {
            return Ok(report);
        }
        act::act(&surveyor, pool, conn, look, survey, report).await
    })
}
