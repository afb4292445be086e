//! Claims as the source of a batch: which tasks still stand, and what becomes of them with the batch.
//!
//! What is decided ends its task, and so does what can't be: a deadline or outcome that is refused, or that has to wait behind what
//! is parked, parks, in order with the records and other tasks of its aggregate. **How it would fail without**: put off by the
//! agenda, it would be seen by nobody, be asked for again and again, and be overtaken by whatever comes later.

use futures_util::future::BoxFuture;
use sqlx::PgConnection;

use crate::agenda::claims::{self, Claim, Next};
use crate::engine::tasks::Id;
use crate::engine::{Error, Source, Verdict, Work};
use crate::ground::backoff::Backoff;
use crate::parking::Fault;
use crate::parking::input::{Answered, Task, What};
use crate::parking::journal::Journal;
use crate::parking::{self, Limits, Parked, Why};
use crate::participant::task::Effect as _;
use crate::participant::{Body, Participant};

/// A task that a batch decides about: the claim under which its outcome was had, or, for a deadline, what was read.
#[derive(Debug, Clone)]
pub(super) struct Held {
    pub id: Id,
    pub claim: Claim,
}

impl Held {
    /// The step that sends the task back until later. What was decided about may have happened.
    pub fn later(&self, backoff: &Backoff) -> Next {
        Claim { idle: true, maybe: true, ..self.claim }.until(backoff.wait(self.claim.attempt))
    }
}

/// Where what can't be decided parks.
#[derive(Debug)]
pub(super) struct ParkingTarget {
    /// Whose the tasks are.
    pub service: &'static str,
    pub journal: Journal,
    pub limits: Limits,
}

/// What a task brought, to be parked.
struct Brought<'a> {
    aggregate: String,
    task: Task,
    why: Why<'a>,
}

impl<'a> Brought<'a> {
    fn new<P: Participant>(id: &Id, work: &Work<P>, why: Why<'a>) -> Result<Self, Error> {
        let answered = match &work.input.body {
            Body::Outcome { effect, outcome } => {
                let json = effect.to_json().and_then(|effect| Ok((effect, serde_json::to_value(outcome)?)));
                let (effect, outcome) = json.map_err(|e| {
                    Error::Refused(format!("the outcome of {}/{} can't be written as JSON: {e}", id.name, id.key))
                })?;
                Some(Answered { effect, outcome })
            }
            _ => None,
        };
        let Id { name, key, cause, .. } = id.clone();
        let correlation = work.origin.correlation.unwrap_or(work.input.id);
        let task = Task { name, key, cause, correlation, traceparent: work.origin.traceparent.clone(), answered };
        Ok(Self { aggregate: work.id.to_string(), task, why })
    }
}

impl ParkingTarget {
    /// Parks what tasks brought; the tasks' rows are locked and go.
    async fn park(&self, conn: &mut PgConnection, brought: &[Brought<'_>]) -> Result<(), Error> {
        let parked: Vec<Parked<'_>> = brought
            .iter()
            .map(|b| Parked {
                aggregate: parking::name(b.aggregate.as_bytes()).into_owned(),
                key: parking::name(b.task.key.as_bytes()).into_owned(),
                what: What::Task(&b.task),
                why: b.why,
            })
            .collect();
        Ok(parking::park(conn, self.service, Some(&self.journal), &parked, self.limits).await?)
    }
}

/// The source of a batch of tasks, one a work, in the same order.
#[derive(Debug)]
pub(super) struct Claims<'a> {
    pub held: &'a [Held],
    pub place: &'a ParkingTarget,
}

impl<P: Participant> Source<Work<P>> for Claims<'_> {
    /// A task that is there again falls due, or is asked for under its key, again.
    fn comes_again(&self) -> bool {
        true
    }

    fn claim<'a>(&'a mut self, conn: &'a mut PgConnection, works: &'a [Work<P>]) -> BoxFuture<'a, Result<Vec<bool>, Error>> {
        Box::pin(async move {
            debug_assert_eq!(works.len(), self.held.len());
            let tasks: Vec<(&Id, i64)> = self.held.iter().map(|h| (&h.id, h.claim.step)).collect();
            claims::lock(conn, &tasks).await.map_err(Error::database("locking tasks", works.len()))
        })
    }

    fn settle<'a>(
        &'a mut self,
        conn: &'a mut PgConnection,
        works: &'a [Work<P>],
        verdicts: &'a [Verdict],
    ) -> BoxFuture<'a, Result<(), Error>> {
        Box::pin(async move {
            let (mut done, mut brought) = (Vec::new(), Vec::new());
            for ((held, work), verdict) in self.held.iter().zip(works).zip(verdicts) {
                match verdict {
                    Verdict::Done(_) => {}
                    Verdict::Parked(fault) => brought.push(Brought::new(&held.id, work, Why::Fault(fault))?),
                    Verdict::Held { behind } => brought.push(Brought::new(&held.id, work, Why::Behind(behind))?),
                    // Only a command is refused.
                    Verdict::Refused(_) | Verdict::Lost => continue,
                }
                done.push(&held.id);
            }
            claims::finish(conn, &done).await.map_err(Error::database("removing tasks that are done", works.len()))?;
            self.place.park(conn, &brought).await
        })
    }
}

/// The source of a batch of nothing, that parks what one task brought without deciding it: doing that failed.
pub(super) struct Doomed<'a, P: Participant> {
    pub held: &'a Held,
    pub work: &'a Work<P>,
    pub fault: &'a Fault,
    pub place: &'a ParkingTarget,
}

impl<P: Participant> Source<Work<P>> for Doomed<'_, P> {
    fn claim<'a>(&'a mut self, _conn: &'a mut PgConnection, _works: &'a [Work<P>]) -> BoxFuture<'a, Result<Vec<bool>, Error>> {
        Box::pin(async move { Ok(Vec::new()) })
    }

    fn settle<'a>(
        &'a mut self,
        conn: &'a mut PgConnection,
        _works: &'a [Work<P>],
        _verdicts: &'a [Verdict],
    ) -> BoxFuture<'a, Result<(), Error>> {
        Box::pin(async move {
            let Held { id, claim } = self.held;
            let stands = claims::lock(conn, &[(id, claim.step)]).await.map_err(Error::database("locking a task", 1))?;
            if stands != [true] {
                return Ok(());
            }
            claims::finish(conn, &[id]).await.map_err(Error::database("removing a task that parks", 1))?;
            self.place.park(conn, &[Brought::new(id, self.work, Why::Fault(self.fault))?]).await
        })
    }
}
