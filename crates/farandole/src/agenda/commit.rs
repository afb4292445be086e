//! Commits decisions about tasks, in batches that get smaller around what fails.

use std::time::Duration;

use tokio_util::sync::CancellationToken;
use uuid::Uuid;

use super::backoff::{Backoff, draw};
use super::claims;
use super::source::{Claims, Held};
use crate::engine::sessions::asked;
use crate::engine::{Engine, Error, Verdict, Work, chain_of};
use crate::participant::Participant;
use crate::trouble::{Trouble, Troubled as _};

/// Between tries when the database is in trouble.
const TROUBLE: Backoff = Backoff { base: Duration::from_millis(50), cap: Duration::from_secs(5) };

/// Tries of a task that fails alone for a reason that isn't clearly its own, before the others go first.
const ALONE: u32 = 3;

/// Runs batches for one worker.
pub(super) struct Committer<'a, P: Participant> {
    pub engine: &'a Engine<P>,
    pub worker: Uuid,
    /// For tasks that can't be decided.
    pub backoff: Backoff,
    /// When it is cancelled, what isn't committed stays with its claim until the lease is over.
    pub stop: &'a CancellationToken,
}

impl<P: Participant> Committer<'_, P> {
    /// Decides and commits all of `works`. Trouble of the database is waited out. A batch that fails because of something in it, or
    /// because there is too much of it, is halved until what fails is alone, and that is put off: the others don't wait for it.
    pub async fn commit(&self, works: Vec<Work<P>>, held: Vec<Held>) {
        let mut batches = vec![(works, held)];
        let mut tries = 0;
        while let Some((mut works, mut held)) = batches.pop() {
            let mut claims = Claims { worker: self.worker, backoff: &self.backoff, held: &held };
            match self.engine.run(&mut works, &mut claims).await {
                Ok(verdicts) => {
                    tries = 0;
                    report(&held, &verdicts);
                }
                Err(error) if error.trouble().halves() && works.len() > 1 => {
                    let half = works.len() / 2;
                    let (right_works, right_held) = (works.split_off(half), held.split_off(half));
                    batches.push((right_works, right_held));
                    batches.push((works, held));
                }
                Err(error) if error.trouble() == Trouble::Input || error.trouble().halves() && tries >= ALONE => {
                    tries = 0;
                    self.put_off(&held, &error).await;
                }
                Err(Error::Fenced(what)) if works.len() == 1 => {
                    tracing::info!(what, "claim lost; whoever has it now decides");
                }
                Err(Error::Fenced(_)) => {
                    let half = works.len() / 2;
                    let (right_works, right_held) = (works.split_off(half), held.split_off(half));
                    batches.push((right_works, right_held));
                    batches.push((works, held));
                }
                Err(error) => {
                    tries += 1;
                    tracing::warn!(
                        error = chain_of(&error),
                        tasks = works.len(),
                        tries,
                        "agenda batch not committed; trying again"
                    );
                    let wait = TROUBLE.ceiling(tries) / 2 + TROUBLE.wait(tries, draw()) / 2;
                    batches.push((works, held));
                    tokio::select! {
                        () = tokio::time::sleep(wait) => {}
                        () = self.stop.cancelled() => {
                            tracing::warn!("stopping with undecided tasks; they come again when their leases are over");
                            return;
                        }
                    }
                }
            }
        }
    }

    /// Makes a task that alone fails its batch wait.
    async fn put_off(&self, held: &[Held], error: &Error) {
        let later: Vec<_> = held.iter().map(|h| (&h.id, h.later(&self.backoff))).collect();
        for (id, next) in &later {
            tracing::error!(name = id.name, key = id.key, error = chain_of(error), wait = ?next.until,
                "a task can't be decided; it is tried again later, and needs a fix of the service or its data");
            metrics::counter!("farandole_agenda_deferred_total", "name" => id.name.clone(), "why" => "failed").increment(1);
        }
        let noted = asked!(self.engine.sessions(), conn => claims::defer(conn, self.worker, &later));
        if let Err(error) = noted {
            tracing::warn!(
                error = chain_of(&error),
                "the failing task could not be put off; it comes again when its lease is over"
            );
        }
    }
}

fn report(held: &[Held], verdicts: &[Verdict]) {
    for (Held { id, claim }, verdict) in held.iter().zip(verdicts) {
        let (why, reason) = match verdict {
            Verdict::Done(_) => continue,
            Verdict::Lost => {
                metrics::counter!("farandole_agenda_lost_total").increment(1);
                continue;
            }
            Verdict::Held { .. } => ("held", "its aggregate is parked"),
            Verdict::Parked(fault) => ("refused", fault.reason.as_str()),
            Verdict::Refused(problem) => ("refused", problem.detail.as_str()),
        };
        metrics::counter!("farandole_agenda_deferred_total", "name" => id.name.clone(), "why" => why).increment(1);
        tracing::warn!(
            name = id.name,
            key = id.key,
            attempt = claim.attempt,
            reason,
            "a task can't be decided now; it comes again later"
        );
    }
}
