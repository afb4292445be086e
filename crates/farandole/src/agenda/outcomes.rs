//! Finished attempts: outcomes are committed, others released until their next attempt; in batches of whatever is pending.

use std::time::Duration;

use tokio::sync::mpsc;

use crate::agenda::call::Ended;
use crate::agenda::claims::{self, Claim, Next};
use crate::agenda::commit::Committer;
use crate::agenda::inbox::{Inbox, News};
use crate::agenda::source::Held;
use crate::agenda::target::{Asked, Ready};
use crate::database::sessions::with_conn;
use crate::engine::tasks::Id;
use crate::engine::{Work, read};
use crate::ground::error::chain_of;
use crate::participant::{Body, OutcomeOf, Participant};

/// An ended attempt.
#[derive(Debug)]
pub(super) struct Finished<P: Participant> {
    pub ready: Ready<Asked<P>>,
    pub claim: Claim,
    pub ended: Ended<OutcomeOf<P>>,
}

/// Runs until all senders are gone and all that they sent is settled.
pub(super) async fn run<P: Participant>(
    committer: Committer<'_, P>,
    batch: usize,
    mut finished: mpsc::Receiver<Finished<P>>,
    inbox: &Inbox<Asked<P>>,
) {
    let mut buffer = Vec::with_capacity(batch);
    while finished.recv_many(&mut buffer, batch).await > 0 {
        let (mut works, mut held, mut later) = (Vec::new(), Vec::new(), Vec::new());
        for Finished { ready, claim, ended } in buffer.drain(..) {
            match ended {
                Ended::Outcome(outcome) => {
                    held.push(Held { id: ready.id.clone(), claim });
                    works.push(work(ready, outcome));
                }
                Ended::Again { after, maybe } => {
                    later.push((Ready { claim: Claim { maybe, idle: true, ..claim }, ..ready }, after))
                }
            }
        }
        if !later.is_empty() {
            inbox.tell(give_back(&committer, later).await);
        }
        if !works.is_empty() {
            let gone: Vec<Id> = held.iter().map(|h| h.id.clone()).collect();
            committer.commit(works, held).await;
            inbox.tell(gone.into_iter().map(News::Gone));
        }
    }
}

fn work<P: Participant>(ready: Ready<Asked<P>>, outcome: OutcomeOf<P>) -> Work<P> {
    let Ready { id, correlation, traceparent, effect: Asked { about, effect }, .. } = ready;
    read::input(&id, about, correlation, traceparent, Body::Outcome { effect, outcome })
}

/// Writes when the next attempts may begin.
async fn give_back<P: Participant>(committer: &Committer<'_, P>, later: Vec<(Ready<Asked<P>>, Duration)>) -> Vec<News<Asked<P>>> {
    let next: Vec<(&Id, Next)> = later.iter().map(|(ready, until)| (&ready.id, ready.claim.until(*until))).collect();
    match with_conn!(committer.engine.sessions(), conn => claims::defer(conn, committer.worker, &next)) {
        Ok(noted) => later
            .into_iter()
            .zip(noted)
            .map(|((ready, after), noted)| match noted {
                Some(claim) => News::Again(Ready { claim, ..ready }, after),
                None => News::Gone(ready.id),
            })
            .collect(),
        Err(error) => {
            tracing::warn!(
                error = chain_of(&error),
                tasks = later.len(),
                "attempts couldn't be released; they are retried when their leases expire"
            );
            later.into_iter().map(|(ready, _)| News::Gone(ready.id)).collect()
        }
    }
}
