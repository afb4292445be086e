//! Commits decisions about tasks, in batches that get smaller around what fails.

use tokio_util::sync::CancellationToken;
use uuid::Uuid;

use crate::agenda::claims;
use crate::agenda::metrics;
use crate::agenda::source::{Claims, Doomed, Held, ParkingTarget};
use crate::database::sessions::with_conn;
use crate::engine::{Engine, Error, Verdict, Work};
use crate::ground::backoff::Backoff;
use crate::ground::error::chain_of;
use crate::ground::trouble::{Trouble, Troubled as _};
use crate::parking::Fault;
use crate::parking::Limits;
use crate::participant::Participant;

/// Tries of a task that fails alone for a reason that isn't clearly its own, before the others go first.
const ALONE: u32 = 3;

/// Runs batches for one worker.
pub(super) struct Committer<'a, P: Participant> {
    pub engine: &'a Engine<P>,
    pub worker: Uuid,
    /// How much may be parked.
    pub limits: Limits,
    /// For tasks that can neither be decided nor parked.
    pub backoff: Backoff,
    /// When it is cancelled, what isn't committed stays with its claim until the lease is over.
    pub stop: &'a CancellationToken,
}

/// Tasks to decide, or a single one to park, since deciding it failed.
struct Batch<P: Participant> {
    works: Vec<Work<P>>,
    held: Vec<Held>,
    doomed: Option<Fault>,
}

impl<P: Participant> Batch<P> {
    fn halves(mut self) -> [Self; 2] {
        let half = self.works.len() / 2;
        let (works, held) = (self.works.split_off(half), self.held.split_off(half));
        [Self { works, held, doomed: None }, self]
    }
}

impl<P: Participant> Committer<'_, P> {
    /// Decides and commits all of `works`. Trouble of the database is waited out. A batch that fails because of something in it, because
    /// there is too much of it, or for want of room for what parks, is halved until what fails is alone. Then that parks, or waits for
    /// room: the others don't wait for it.
    pub async fn commit(&self, works: Vec<Work<P>>, held: Vec<Held>) {
        let place = ParkingTarget { service: P::NAME, journal: self.engine.journal(), limits: self.limits };
        let mut batches = vec![Batch { works, held, doomed: None }];
        let mut tries = 0;
        while let Some(mut batch) = batches.pop() {
            let alone = batch.works.len() <= 1;
            match self.run(&mut batch, &place).await {
                Ok(verdicts) => {
                    tries = 0;
                    let lost = verdicts.iter().filter(|v| matches!(v, Verdict::Lost)).count();
                    metrics::LOST.add(lost as u64, []);
                }
                Err(Error::Fenced(what)) if alone => tracing::info!(what, "claim lost to another worker"),
                Err(error) if !alone && (error.trouble().halves() || matches!(error, Error::Fenced(_))) => {
                    batches.extend(batch.halves());
                }
                Err(error @ Error::Full(_)) => self.put_off(batch.held.iter().map(|held| (held, &error)), "full").await,
                Err(error) if error.trouble() == Trouble::Input || error.trouble().halves() && tries >= ALONE => {
                    tries = 0;
                    if batch.doomed.is_some() {
                        self.put_off(batch.held.iter().map(|held| (held, &error)), "failed").await;
                    } else {
                        let fault = Fault { reason: chain_of(&error), transient: false };
                        batches.push(Batch { doomed: Some(fault), ..batch });
                    }
                }
                Err(error) => {
                    tries += 1;
                    let (error, tasks) = (chain_of(&error), batch.works.len());
                    tracing::warn!(error, tasks, tries, "agenda batch not committed; retrying");
                    let wait = Backoff::SERVER.wait(tries);
                    batches.push(batch);
                    tokio::select! {
                        () = tokio::time::sleep(wait) => {}
                        () = self.stop.cancelled() => {
                            tracing::warn!("stopping with undecided tasks; they are retried when their leases expire");
                            return;
                        }
                    }
                }
            }
        }
    }

    async fn run(&self, batch: &mut Batch<P>, place: &ParkingTarget) -> Result<Vec<Verdict>, Error> {
        let Batch { works, held, doomed } = batch;
        match (doomed, &works[..], &held[..]) {
            (Some(fault), [work], [held]) => self.engine.run(&mut [], &mut Doomed { held, work, fault, place }).await,
            _ => self.engine.run(works, &mut Claims { held, place }).await,
        }
    }

    /// Makes tasks wait that can neither be decided nor parked, each with its error.
    pub(super) async fn put_off<'h>(&self, held: impl IntoIterator<Item = (&'h Held, &'h Error)>, why: &'static str) {
        let mut later = Vec::new();
        for (held, error) in held {
            let (id, next) = (&held.id, held.later(&self.backoff));
            tracing::error!(name = id.name, key = id.key, error = chain_of(error), wait = ?next.until,
                "a task can be neither decided nor parked; retrying later");
            metrics::DEFERRED.add(1, [id.name.clone().into(), why.into()]);
            later.push((id, next));
        }
        let noted = with_conn!(self.engine.sessions(), conn => claims::defer(conn, self.worker, &later));
        if let Err(error) = noted {
            tracing::warn!(error = chain_of(&error), "the task could not be postponed; it is retried when its lease expires");
        }
    }
}
