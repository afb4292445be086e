//! The pure middle of a batch: each input is decided on the rows as those before it left them.

use std::collections::HashSet;
use std::panic::{AssertUnwindSafe, catch_unwind};

use futures_util::FutureExt as _;
use uuid::Uuid;

use super::idempotency::Known;
use super::{Error, Fault, Verdict, Work};
use crate::agenda;
use crate::chain::escape;
use crate::codec::Codec;
use crate::message::Message;
use crate::outbox;
use crate::participant::{Body, Participant, Refusal, Task};
use crate::problem::Problem;
use crate::table::Tables;

/// What a batch will write beside its rows.
#[derive(Debug, Default)]
pub(super) struct Plan {
    pub verdicts: Vec<Verdict>,
    pub outbox: Vec<outbox::Row>,
    pub tasks: Vec<agenda::Op>,
}

/// What the decisions of a batch rest on, beside the rows.
pub(super) struct Ground<'a, P: Participant> {
    pub participant: &'a P,
    pub codec: &'a Codec,
    pub topic: &'a str,
    pub standing: &'a [bool],
}

impl<P: Participant> Ground<'_, P> {
    /// Decides every input in order. `tables` and `known` change as the inputs take effect, and `parked` grows by the aggregates
    /// whose inputs can't be processed: what follows for them is held.
    pub(super) fn plan(
        &self,
        works: &[Work<P>],
        aggregates: &[String],
        tables: &mut P::Tables,
        known: &mut Known,
        parked: &mut HashSet<String>,
    ) -> Result<Plan, Error> {
        // A panic leaves rows half changed; the whole batch is given up, and nothing of it is looked at again.
        guarded(|| {
            let mut plan = Plan::default();
            for (i, work) in works.iter().enumerate() {
                let verdict = if self.standing.get(i) == Some(&false) {
                    Verdict::Lost
                } else {
                    let aggregate = &aggregates[i];
                    let verdict = match std::iter::once(aggregate).chain(&work.origin.key).find(|name| parked.contains(*name)) {
                        Some(name) => Verdict::Held { behind: name.clone() },
                        None => self.one(work, aggregate, tables, known, &mut plan)?,
                    };
                    if matches!(verdict, Verdict::Parked(_) | Verdict::Held { .. }) {
                        parked.insert(aggregate.clone());
                        parked.extend(work.origin.key.clone());
                    }
                    verdict
                };
                if let Some(row) = tables.take_missed() {
                    return Err(Error::Untouched(row));
                }
                plan.verdicts.push(verdict);
            }
            Ok(plan)
        })
        .flatten()
    }

    fn one(
        &self,
        work: &Work<P>,
        aggregate: &str,
        tables: &mut P::Tables,
        known: &mut Known,
        plan: &mut Plan,
    ) -> Result<Verdict, Error> {
        let is_command = matches!(work.input.body, Body::Command(_));
        let asked = work.origin.idempotency.as_ref();
        match asked.and_then(|asked| known.find(asked)) {
            Some(Ok(answer)) => return Ok(Verdict::Done(Some(answer))),
            Some(Err(problem)) => return Ok(Verdict::Refused(problem)),
            None => {}
        }
        let decision = match self.participant.decide(tables, &work.input) {
            Ok(decision) => decision,
            Err(refusal) => return Ok(refused(refusal, is_command)),
        };
        if decision.events.is_empty() {
            return Ok(Verdict::Done(decision.answer));
        }
        let rows = self.rows(work, aggregate, &decision.events)?;
        if let Some(row) = rows.iter().find(|r| r.size() > outbox::MAX_RECORD) {
            let detail =
                format!("{} would be {} bytes with its headers; the limit is {}", row.kind, row.size(), outbox::MAX_RECORD);
            return Ok(refused(Refusal::Answer(Problem::new(413, "event-too-large", detail)), is_command));
        }
        for (event, row) in decision.events.iter().zip(&rows) {
            self.participant.evolve(tables, event);
            plan.tasks.extend(self.participant.follow_up(event).into_iter().map(|task| op(task, row)));
        }
        plan.outbox.extend(rows);
        let answer = is_command.then(|| self.participant.answer(&decision.events));
        if let (Some(asked), Some(answer)) = (asked, &answer) {
            known.remember(asked, answer);
        }
        Ok(Verdict::Done(answer))
    }

    fn rows(&self, work: &Work<P>, aggregate: &str, events: &[P::Event]) -> Result<Vec<outbox::Row>, Error> {
        let n = i16::try_from(events.len()).unwrap_or(i16::MAX);
        let command = work.origin.idempotency.as_ref().map(|asked| {
            let hash: String = asked.body_hash.iter().map(|b| format!("{b:02x}")).collect();
            format!("{},{},{hash}", escape(&asked.scope), escape(&asked.key))
        });
        (1..=n)
            .zip(events)
            .map(|(i, event)| {
                let payload = event.encode(self.codec).map_err(|source| Error::Encode { name: event.name(), source })?;
                Ok(outbox::Row {
                    topic: self.topic.to_owned(),
                    id: Uuid::now_v7(),
                    aggregate_type: P::NAME,
                    aggregate: aggregate.to_owned(),
                    kind: event.name(),
                    payload,
                    time: work.input.at,
                    cause: work.origin.cause.clone(),
                    correlation: work.origin.correlation.unwrap_or(work.input.id),
                    of: (i, n),
                    traceparent: work.origin.traceparent.clone(),
                    command: command.clone(),
                    headers: self.codec.headers(),
                })
            })
            .collect()
    }
}

/// Runs a participant's code; its panic is an error of the batch.
pub(crate) fn guarded<T>(code: impl FnOnce() -> T) -> Result<T, Error> {
    catch_unwind(AssertUnwindSafe(code)).map_err(|panic| panicked(&*panic))
}

/// Runs a handler's code; its panic is an error of the batch.
pub(crate) async fn guarded_async<T>(code: impl Future<Output = T>) -> Result<T, Error> {
    AssertUnwindSafe(code).catch_unwind().await.map_err(|panic| panicked(&*panic))
}

fn panicked(panic: &(dyn std::any::Any + Send)) -> Error {
    let words = panic.downcast_ref::<String>().map(String::as_str);
    Error::Panicked(words.or(panic.downcast_ref::<&str>().copied()).unwrap_or("no words").to_owned())
}

/// A refusal is an answer for a caller, and a fault of anything else.
fn refused(refusal: Refusal, is_command: bool) -> Verdict {
    match (refusal, is_command) {
        (Refusal::Answer(problem), true) => Verdict::Refused(problem),
        (Refusal::Answer(problem), false) => Verdict::Parked(Fault { reason: problem.detail, passing: false }),
        (Refusal::Retry(reason), true) => Verdict::Refused(Problem::unavailable(reason, 1)),
        (Refusal::Retry(reason), false) => Verdict::Parked(Fault { reason, passing: true }),
        (Refusal::Park(reason), true) => Verdict::Refused(Problem::new(500, "cannot-be-decided", reason)),
        (Refusal::Park(reason), false) => Verdict::Parked(Fault { reason, passing: false }),
    }
}

/// A task that the event in `row` opens or closes.
pub(crate) fn op<F: serde::Serialize>(task: Task<F>, row: &outbox::Row) -> agenda::Op {
    let (kind, name, key, due, effect) = match task {
        Task::Close { name, key } => return agenda::Op::Close { name: name.to_owned(), key },
        Task::Deadline { name, key, due } => (agenda::Kind::Deadline, name, key, due, None),
        Task::Effect { name, key, effect } => (agenda::Kind::Effect, name, key, row.time, Some(serde_json::json!(effect))),
    };
    agenda::Op::Open {
        kind,
        name: name.to_owned(),
        key,
        cause: row.id,
        due,
        target: None,
        effect,
        correlation: row.correlation,
        traceparent: row.traceparent.clone(),
    }
}
