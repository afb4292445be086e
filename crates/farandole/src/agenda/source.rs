//! Claims as the source of a batch: which tasks still stand, and what becomes of them with the batch.

use std::time::Duration;

use sqlx::PgConnection;
use uuid::Uuid;

use super::backoff::{Backoff, draw};
use super::claims::{self, Claim, Id, Next};
use crate::engine::{Error, Source, Verdict};

/// A task that a batch decides about: the claim under which its outcome was had, or, for a deadline, what was read.
#[derive(Debug, Clone)]
pub(super) struct Held {
    pub id: Id,
    pub claim: Claim,
}

impl Held {
    /// The step that sends the task back until later. What was decided about may have happened.
    pub fn later(&self, backoff: &Backoff) -> Next {
        Next {
            after: self.claim.step,
            attempt: self.claim.attempt,
            first: self.claim.first,
            idle: true,
            maybe: true,
            until: wait(backoff, self.claim.attempt),
        }
    }
}

/// At least half of the ceiling: a task that can't be decided isn't worth an early second look.
fn wait(backoff: &Backoff, attempt: u32) -> Duration {
    let ceiling = backoff.ceiling(attempt);
    ceiling / 2 + backoff.wait(attempt, draw()) / 2
}

/// The source of a batch of tasks, one a work, in the same order.
#[derive(Debug)]
pub(super) struct Claims<'a> {
    pub worker: Uuid,
    pub backoff: &'a Backoff,
    pub held: &'a [Held],
}

impl<W: Sync> Source<W> for Claims<'_> {
    async fn claim(&mut self, conn: &mut PgConnection, works: &[W]) -> Result<Vec<bool>, Error> {
        debug_assert_eq!(works.len(), self.held.len());
        let tasks: Vec<(&Id, i64)> = self.held.iter().map(|h| (&h.id, h.claim.step)).collect();
        claims::lock(conn, &tasks).await.map_err(Error::database("locking tasks", works.len()))
    }

    async fn settle(&mut self, conn: &mut PgConnection, works: &[W], verdicts: &[Verdict]) -> Result<(), Error> {
        let mut done = Vec::new();
        let mut later = Vec::new();
        for (held, verdict) in self.held.iter().zip(verdicts) {
            match verdict {
                Verdict::Done(_) => done.push(&held.id),
                Verdict::Parked(_) | Verdict::Held { .. } | Verdict::Refused(_) => {
                    later.push((&held.id, held.later(self.backoff)))
                }
                Verdict::Lost => {}
            }
        }
        claims::finish(conn, &done).await.map_err(Error::database("removing tasks that are done", works.len()))?;
        let noted = claims::defer(conn, self.worker, &later).await.map_err(Error::database("deferring tasks", works.len()))?;
        match noted.iter().zip(&later).find(|(noted, _)| noted.is_none()) {
            // The rows are locked and the steps were the newest: only an attempt given back late can have come between.
            Some((_, (id, _))) => Err(Error::Fenced(format!("claim of {}/{}", id.name, id.key))),
            None => Ok(()),
        }
    }
}
