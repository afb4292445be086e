//! Commands from callers, in batches.
//!
//! Whatever waits when a batch begins goes into it, so a lone command waits for nothing and a crowd shares one transaction.
//! Each caller gets its own answer; one's refusal is not another's.

use std::sync::Arc;
use std::time::Duration;

use tokio::sync::{mpsc, oneshot};
use tokio_util::sync::CancellationToken;
use uuid::Uuid;

use crate::engine::{self, Engine, Idempotency, NoSource, Origin, Verdict, Work};
use crate::ground::told::Told;
use crate::ground::trouble::{Trouble, Troubled as _};
use crate::participant::problem::{Answer, Problem};
use crate::participant::{Body, Participant};

/// Commands that may wait. More than a few batches' worth would only wait to time out, so further ones are told to come back.
const WAITING: usize = 2_000;
/// Commands a batch: round trips are shared by so many that more gain nothing, and a batch stays within some 10 ms.
const BATCH: usize = 500;
/// Tries of a batch that the database ended because it met another one, or on sessions that can't work; beyond that it is trouble that the caller should know of.
const TRIES: u32 = 5;

/// Where commands are submitted. Routes use a [`Caller`](crate::http::Caller), which fills in key and trace context; this is for other code of the
/// service, such as a job of its own. Up to 500 that wait share one transaction; more than 2,000 waiting are refused with 503.
#[derive(Debug)]
pub struct Commands<P: Participant> {
    queue: mpsc::Sender<Asked<P>>,
}

impl<P: Participant> Clone for Commands<P> {
    fn clone(&self) -> Self {
        Self { queue: self.queue.clone() }
    }
}

#[derive(Debug)]
struct Asked<P: Participant> {
    work: Work<P>,
    reply: oneshot::Sender<Result<Answer, Problem>>,
}

/// Runs what is submitted.
#[derive(Debug)]
pub struct Runner<P: Participant> {
    engine: Arc<Engine<P>>,
    queue: mpsc::Receiver<Asked<P>>,
    told: Told,
}

impl<P: Participant> Commands<P> {
    /// The place to submit commands, and what runs them.
    #[doc(hidden)]
    pub fn new(engine: Arc<Engine<P>>) -> (Self, Runner<P>) {
        let (queue, waiting) = mpsc::channel(WAITING);
        (Self { queue }, Runner { engine, queue: waiting, told: Told::default() })
    }

    /// Has `command` decided about the aggregate `id`, and gives its answer once everything is committed. `idempotency` is from
    /// [`http::idempotency`](crate::http::idempotency), `traceparent` a W3C trace context.
    ///
    /// # Errors
    /// The refusal, or 503 when the answer isn't known: then the same command under the same idempotency key is safe.
    pub async fn submit(
        &self,
        id: P::Id,
        command: P::Command,
        idempotency: Option<Idempotency>,
        traceparent: Option<String>,
    ) -> Result<Answer, Problem> {
        self.hand_in(Work::new(id, Body::Command(command), Origin { idempotency, traceparent, ..Origin::default() })).await
    }

    /// The same for a command that creates an aggregate: its id is new, a UUIDv7.
    ///
    /// # Errors
    /// As [`Commands::submit`].
    pub async fn create(
        &self,
        command: P::Command,
        idempotency: Option<Idempotency>,
        traceparent: Option<String>,
    ) -> Result<Answer, Problem>
    where
        P::Id: From<Uuid>,
    {
        self.hand_in(Work::fresh(command, Origin { idempotency, traceparent, ..Origin::default() })).await
    }

    async fn hand_in(&self, mut work: Work<P>) -> Result<Answer, Problem> {
        work.origin.cause = format!("command/{}", work.input.id);
        let (reply, answer) = oneshot::channel();
        self.queue
            .try_send(Asked { work, reply })
            .map_err(|_| Problem::unavailable("too many commands are queued; try again", 1))?;
        answer.await.unwrap_or_else(|_| Err(unknown()))
    }
}

fn unknown() -> Problem {
    Problem::unavailable("the request could not be stored; send it again with the same Idempotency-Key", 1)
}

impl<P: Participant> Runner<P> {
    /// Runs batches until `shutdown`, then what was handed in before.
    pub async fn run(mut self, shutdown: CancellationToken) {
        let mut waiting = Vec::with_capacity(BATCH);
        loop {
            tokio::select! {
                biased;
                n = self.queue.recv_many(&mut waiting, BATCH) => if n == 0 { return },
                () = shutdown.cancelled() => break,
            }
            self.batch(std::mem::take(&mut waiting)).await;
        }
        self.queue.close();
        while self.queue.recv_many(&mut waiting, BATCH).await > 0 {
            self.batch(std::mem::take(&mut waiting)).await;
        }
    }

    async fn batch(&mut self, asked: Vec<Asked<P>>) {
        // A batch that the database refuses is split until what it refuses is alone, or small enough: one's fault isn't another's.
        let mut parts = vec![asked];
        while let Some(part) = parts.pop() {
            let (mut works, mut replies): (Vec<_>, Vec<_>) = part.into_iter().map(|a| (a.work, a.reply)).unzip();
            match self.decide(&mut works).await {
                Ok(verdicts) => {
                    self.told.over();
                    for (verdict, reply) in verdicts.into_iter().zip(replies) {
                        let _ = reply.send(told(verdict)); // a caller that has gone needs no answer
                    }
                }
                Err(error) if error.trouble().halves() && !error.maybe_happened() && works.len() > 1 => {
                    let half = works.len() / 2;
                    let (late_works, late_replies) = (works.split_off(half), replies.split_off(half));
                    for (works, replies) in [(late_works, late_replies), (works, replies)] {
                        parts.push(works.into_iter().zip(replies).map(|(work, reply)| Asked { work, reply }).collect());
                    }
                }
                Err(error) => {
                    let (why, theirs) = (engine::chain_of(&error), error.trouble() == Trouble::Input);
                    // What troubles all is told once: callers come back several times a second, for as long as it lasts.
                    if theirs || self.told.is_due(&why) {
                        tracing::error!(error = why, commands = works.len(), "commands not decided");
                    }
                    let problem = match error {
                        engine::Error::Parted(why) => Problem::unavailable(why, 1),
                        _ if theirs => {
                            Problem::new(500, "cannot-be-stored", "this request can't be stored; an operator has been notified")
                        }
                        _ => unknown(),
                    };
                    for reply in replies {
                        let _ = reply.send(Err(problem.clone()));
                    }
                }
            }
        }
    }

    async fn decide(&self, works: &mut [Work<P>]) -> Result<Vec<Verdict>, engine::Error> {
        let mut tries = 1;
        loop {
            match self.engine.run(works, &mut NoSource).await {
                // On a session that can't work nothing has happened; the next one may.
                Err(error)
                    if matches!(error.trouble(), Trouble::Collision | Trouble::Session)
                        && !error.maybe_happened()
                        && tries < TRIES =>
                {
                    tokio::time::sleep(Duration::from_millis(u64::from(tries) * 5)).await;
                    tries += 1;
                }
                other => return other,
            }
        }
    }
}

fn told(verdict: Verdict) -> Result<Answer, Problem> {
    match verdict {
        Verdict::Done(Some(answer)) => Ok(answer),
        Verdict::Done(None) => Ok(Answer::empty()),
        Verdict::Refused(problem) => Err(problem),
        Verdict::Held { .. } => Err(Problem::unavailable(
            "an earlier event for this aggregate could not be processed; an operator has been notified",
            30,
        )),
        // Neither is said of a command: it has no claim, and what it can't do is a refusal.
        Verdict::Parked(fault) => Err(Problem::new(500, "cannot-be-decided", fault.reason)),
        Verdict::Lost => Err(unknown()),
    }
}
