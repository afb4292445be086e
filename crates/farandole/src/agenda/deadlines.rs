//! Deadlines: read what is due, decide it, commit it, whole batches at a time.
//!
//! There is no claim beforehand: nothing happens outside the transaction, and in it the task's row is locked and looked at.

use std::time::{Duration, Instant};

use tokio_util::sync::CancellationToken;

use crate::agenda::Config;
use crate::agenda::claims::{Claim, Task};
use crate::agenda::commit::Committer;
use crate::agenda::metrics;
use crate::agenda::poke::Poke;
use crate::agenda::scan::Scanner;
use crate::agenda::source::Held;
use crate::engine::tasks::Kind;
use crate::engine::{Error, Work, read};
use crate::ground::time::later;
use crate::participant::{Body, Participant};

/// Between two looks, so that a burst of wake-ups is one look.
const GRAIN: Duration = Duration::from_millis(5);

/// Runs until `shutdown`.
pub(super) async fn run<P: Participant>(committer: Committer<'_, P>, config: &Config, poke: &Poke, shutdown: &CancellationToken) {
    let mut scanner = Scanner::new(Kind::Deadline, config.batch, config.idle, false);
    let mut trouble = 0;
    while !shutdown.is_cancelled() {
        poke.looks();
        let wait = match scanner.page(committer.engine.sessions()).await {
            Ok(page) => {
                trouble = 0;
                let began = Instant::now();
                let late: Vec<Duration> = page.tasks.iter().map(|t| t.late).collect();
                let (mut works, mut held, mut unknown) = (Vec::new(), Vec::new(), Vec::new());
                for task in page.tasks {
                    let (of, work) = input::<P>(task);
                    match work {
                        Ok(work) => {
                            works.push(work);
                            held.push(of);
                        }
                        Err(reason) => unknown.push((of, Error::Refused(reason))),
                    }
                }
                if !unknown.is_empty() {
                    // They need a build that knows them. The others go on.
                    committer.put_off(unknown.iter().map(|(held, error)| (held, error)), "unknown").await;
                }
                if !works.is_empty() {
                    committer.commit(works, held).await;
                    let took = began.elapsed();
                    late.iter().for_each(|l| metrics::DEADLINE_LATENESS_SECONDS.record(*l + took, []));
                }
                if page.full { Duration::ZERO } else { page.next.unwrap_or(config.idle).clamp(GRAIN, config.idle) }
            }
            Err(error) => {
                trouble += 1;
                tracing::warn!(error = crate::ground::error::chain_of(&error), "reading deadlines failed; retrying");
                config.undecided.ceiling(trouble)
            }
        };
        if wait.is_zero() {
            continue;
        }
        tokio::select! {
            () = tokio::time::sleep(wait) => {}
            () = poke.deadlines(later(wait)) => tokio::time::sleep(GRAIN).await,
            () = shutdown.cancelled() => {}
        }
    }
}

/// What is decided under, and the deadline as this build knows it.
fn input<P: Participant>(task: Task) -> (Held, Result<Work<P>, String>) {
    // Counted here, since no claim is written unless it has to wait.
    let claim = Claim { attempt: task.claim.attempt.saturating_add(1), ..task.claim };
    let known = read::deadline::<P>(&task.id.name).and_then(|deadline| Ok((deadline, read::id::<P>(&task.id.key)?)));
    let work =
        known.map(|(deadline, about)| read::input(&task.id, about, task.correlation, task.traceparent, Body::Deadline(deadline)));
    (Held { id: task.id, claim }, work)
}
