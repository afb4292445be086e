//! The pure part of a batch: each input is decided on the rows as the previous ones left them.

use std::borrow::Cow;
use std::collections::HashSet;
use std::panic::{AssertUnwindSafe, catch_unwind};

use futures_util::FutureExt as _;
use serde_json::Value;
use uuid::Uuid;

use crate::engine::idempotency::IdempotencyCache;
use crate::engine::tasks::{Kind, Op};
use crate::engine::{Error, Verdict, Work};
use crate::ground::text::name;
use crate::ground::time::Timestamp;
use crate::parking::Fault;
use crate::participant::problem::Problem;
use crate::participant::table::Tables;
use crate::participant::task::{Effect as _, IdempotencyKey, Task, What, each_once};
use crate::participant::{Body, Participant, Refusal};
use crate::publish::outbox;
use crate::wire::chain::escape;
use crate::wire::codec::Codec;
use crate::wire::message::Message;

/// Events of one decision: an order of the most lines that fits a record, an event a line, twice over. Their number is told in each
/// record's header, in 15 bits; what is beyond would be cut off.
const MAX_EVENTS: usize = 10_000;
/// Bytes of one decision's records: sixteen of the largest. All of them are in memory, in one statement and in one transaction, beside
/// those of the batch's other inputs.
const MAX_BYTES: usize = 16 * outbox::MAX_RECORD;
/// Deadlines and effects that one decision opens or closes: as many as it has events at most.
const MAX_TASKS: usize = MAX_EVENTS;

/// What a batch will write beside its rows.
#[derive(Debug, Default)]
pub struct Plan {
    pub verdicts: Vec<Verdict>,
    pub outbox: Vec<outbox::Row>,
    pub tasks: Vec<Op>,
}

/// What the decisions of a batch rest on, beside the rows.
pub struct DecisionContext<'a, P: Participant> {
    pub participant: &'a P,
    pub codec: &'a Codec,
    pub topic: &'a str,
    pub standing: &'a [bool],
    /// Gives the id of the plan's event of that number.
    pub event_id: &'a (dyn Fn(usize) -> Uuid + Sync),
}

/// The id of a new event, whatever its number.
pub fn fresh_id(_: usize) -> Uuid {
    Uuid::now_v7()
}

impl<P: Participant> DecisionContext<'_, P> {
    /// Decides every input in order. `tables` and `known` change as the inputs take effect, and `parked` grows by the names of those
    /// whose inputs can't be processed: what follows for them is held.
    pub fn plan(
        &self,
        works: &[Work<P>],
        aggregates: &[String],
        tables: &mut P::Tables,
        known: &mut IdempotencyCache,
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
                    let name = name(aggregate.as_bytes());
                    let mut names = std::iter::once(name.as_ref()).chain(work.origin.key.as_deref());
                    let verdict = match names.find(|name| parked.contains(*name)) {
                        Some(name) => Verdict::Held { behind: name.to_owned() },
                        None => self.one(work, aggregate, tables, known, &mut plan)?,
                    };
                    if matches!(verdict, Verdict::Parked(_) | Verdict::Held { .. }) {
                        parked.insert(name.into_owned());
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
        known: &mut IdempotencyCache,
        plan: &mut Plan,
    ) -> Result<Verdict, Error> {
        let is_command = matches!(work.input.body, Body::Command(_));
        let asked = work.origin.idempotency.as_ref();
        match asked.and_then(|asked| known.find(asked)) {
            Some(Ok(answer)) => return Ok(Verdict::Done(Some(answer))),
            Some(Err(problem)) => return Ok(Verdict::Refused(problem)),
            None => {}
        }
        // Without a key there is no order, and no consumer takes its events.
        if aggregate.is_empty() {
            let detail = "this is about something whose id is empty";
            let refusal =
                if is_command { Problem::new(422, "empty-id", detail).into() } else { Refusal::Park(detail.to_owned()) };
            return Ok(refused(refusal, is_command));
        }
        let decision = match self.participant.decide(tables, &work.id, &work.input) {
            Ok(decision) => decision,
            Err(refusal) => return Ok(refused(refusal, is_command)),
        };
        if decision.events.is_empty() {
            return Ok(Verdict::Done(decision.answer));
        }
        let too_large = |kind, detail| Ok(refused(Refusal::Answer(Problem::new(413, kind, detail)), is_command));
        let Some(of) = i16::try_from(decision.events.len()).ok().filter(|_| decision.events.len() <= MAX_EVENTS) else {
            let detail = format!("the decision has {} events; the limit is {MAX_EVENTS}", decision.events.len());
            return too_large("decision-too-large", detail);
        };
        let mut rows = self.rows(work, aggregate, &decision.events, of, plan.outbox.len())?;
        let mut ops = Vec::new();
        for (event, row) in decision.events.iter().zip(&mut rows) {
            match follow(self.participant, event, row) {
                Ok(these) => ops.extend(these),
                Err(reason) => return Ok(refused(Refusal::Park(reason), is_command)),
            }
        }
        if ops.len() > MAX_TASKS {
            let detail = format!("the decision opens or closes {} deadlines and effects; the limit is {MAX_TASKS}", ops.len());
            return too_large("decision-too-large", detail);
        }
        if let Some(row) = rows.iter().find(|r| r.size() > outbox::MAX_RECORD) {
            let detail =
                format!("{} would be {} bytes with its headers; the limit is {}", row.kind, row.size(), outbox::MAX_RECORD);
            return too_large("event-too-large", detail);
        }
        let bytes: usize = rows.iter().map(outbox::Row::size).sum();
        if bytes > MAX_BYTES {
            let detail = format!("{of} events would be {bytes} bytes with their headers; the limit is {MAX_BYTES}");
            return too_large("decision-too-large", detail);
        }
        decision.events.iter().for_each(|event| self.participant.evolve(tables, event));
        plan.tasks.extend(ops);
        plan.outbox.extend(rows);
        let answer = is_command.then(|| self.participant.answer(&decision.events));
        if let (Some(asked), Some(answer)) = (asked, &answer) {
            known.remember(asked, answer);
        }
        Ok(Verdict::Done(answer))
    }

    fn rows(
        &self,
        work: &Work<P>,
        aggregate: &str,
        events: &[P::Event],
        n: i16,
        before: usize,
    ) -> Result<Vec<outbox::Row>, Error> {
        let command = work.origin.idempotency.as_ref().map(|asked| {
            let hash: String = asked.body_hash.iter().map(|b| format!("{b:02x}")).collect();
            format!("{},{},{hash}", escape(&asked.scope), escape(&asked.key))
        });
        (1..=n)
            .zip(events)
            .enumerate()
            .map(|(k, (i, event))| {
                let payload = event.encode(self.codec).map_err(|source| Error::Encode { name: event.name(), source })?;
                Ok(outbox::Row {
                    topic: self.topic.to_owned(),
                    id: (self.event_id)(before + k),
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
pub fn guarded<T>(code: impl FnOnce() -> T) -> Result<T, Error> {
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
        (Refusal::Answer(problem), false) => Verdict::Parked(Fault { reason: problem.detail, transient: false }),
        (Refusal::Retry(reason), true) => Verdict::Refused(Problem::unavailable(reason, 1)),
        (Refusal::Retry(reason), false) => Verdict::Parked(Fault { reason, transient: true }),
        (Refusal::Park(reason), true) => Verdict::Refused(Problem::new(500, "cannot-be-decided", reason)),
        (Refusal::Park(reason), false) => Verdict::Parked(Fault { reason, transient: false }),
    }
}

/// The header of events whose effects have [keys of their own](idempotency_key), and how those are made: a heal makes the same ones
/// from it.
pub(crate) const KEYED: &str = "farandole-effects";
/// As [`Participant::idempotency`] says: which of its choices isn't in the header, since a heal asks the participant again. A service whose
/// `idempotency` was changed asks again under other keys for what a heal brings back. Builds before wrote `keyed`, for keys made from the event, or no header.
const BY_CHOICE: &str = "chosen";
/// From the input: what builds wrote that didn't wait for the event to be published before they asked.
const BY_INPUT: &str = "input";

/// What the event in `row` opens and closes; the row says how its effects are keyed.
fn follow<P: Participant>(participant: &P, event: &P::Event, row: &mut outbox::Row) -> Result<Vec<Op>, String> {
    let tasks = participant.follow_up(event);
    each_once(&tasks, &row.aggregate).map_err(|twice| format!("follow_up() of {} {twice}", row.kind))?;
    if tasks.iter().any(|task| matches!(task.what, What::Effect(_))) {
        row.headers.get_or_insert_with(|| serde_json::json!({}))[KEYED] = BY_CHOICE.into();
    }
    tasks.into_iter().map(|task| op(participant, task, row)).collect()
}

/// What an event opens and closes, for who has no row of it.
///
/// # Errors
/// As for the row: when it opens two tasks of a name and key, or an effect can't be written.
pub fn follow_up<P: Participant>(participant: &P, event: &P::Event, aggregate: &str, id: Uuid) -> Result<Vec<Op>, String> {
    let mut row = outbox::Row {
        topic: P::NAME.to_owned(),
        id,
        aggregate_type: P::NAME,
        aggregate: aggregate.to_owned(),
        kind: event.name(),
        payload: Vec::new(),
        time: Timestamp::default(),
        cause: String::new(),
        correlation: Uuid::nil(),
        of: (1, 1),
        traceparent: None,
        command: None,
        headers: None,
    };
    follow(participant, event, &mut row)
}

/// A task that the event in `row` opens or closes.
pub(crate) fn op<P: Participant>(participant: &P, task: Task<P::Deadline, P::Effect>, row: &outbox::Row) -> Result<Op, String> {
    let name = task.name();
    let key = task.of.unwrap_or_else(|| row.aggregate.clone());
    let (kind, due, effect, idempotency_key) = match task.what {
        What::Close(_) => return Ok(Op::Close { name: name.to_owned(), key }),
        What::Deadline(_, due) => (Kind::Deadline, due, None, None),
        What::Effect(effect) => {
            let choice = participant.idempotency(&effect);
            let effect =
                effect.to_json().map_err(|error| format!("effect `{name}` of {key:?} can't be written as JSON: {error}"))?;
            let asked = idempotency_key(row, name, &key, &effect, &choice);
            (Kind::Effect, row.time, Some(effect), Some(asked))
        }
    };
    Ok(Op::Open {
        kind,
        name: name.to_owned(),
        cause: row.id,
        idempotency_key,
        key,
        due,
        target: None,
        effect,
        correlation: row.correlation,
        traceparent: row.traceparent.clone(),
    })
}

/// Under what an effect is asked for, as the participant chooses. What is made from the event is made from the effect's name and key as
/// well: a provider that was asked for two effects of one event would answer the second with what became of the first. What is made from
/// the effect holds all that makes it the same request, so that nothing else is asked for under that key.
///
/// An event's id is enough where the key is the event's, since nothing is asked for before its event is published: no database comes back
/// in which the input would be decided again, and what follows be another event, without its topic telling what it lacks.
fn idempotency_key(row: &outbox::Row, name: &str, key: &str, effect: &Value, choice: &IdempotencyKey) -> Uuid {
    // Lengths keep `ab` of `c` and `a` of `bc` apart.
    let of = |space: &Uuid, text: &str| Uuid::new_v5(space, format!("{}/{name}{text}", name.len()).as_bytes());
    let service = || Uuid::new_v5(&Uuid::NAMESPACE_URL, format!("farandole:{}", row.aggregate_type).as_bytes());
    let whole = || format!("{}/{key}{effect}", key.len());
    let how = row.headers.as_ref().and_then(|headers| headers.get(KEYED)).and_then(Value::as_str);
    match (how, choice) {
        (None, _) => row.id,
        (Some(_), IdempotencyKey::Of(text)) => of(&service(), text),
        (Some(BY_CHOICE), IdempotencyKey::Stable) => of(&Uuid::new_v5(&service(), b"stable"), &whole()),
        (Some(BY_INPUT), _) => match input(row) {
            Some(input) => of(&Uuid::new_v5(&service(), format!("{}/{input}", row.of.0).as_bytes()), &whole()),
            None => of(&row.id, key),
        },
        (Some(_), _) => of(&row.id, key),
    }
}

/// What the input that led to an event is called whenever it is given: none of one that nobody gives again under that name.
fn input(row: &outbox::Row) -> Option<Cow<'_, str>> {
    match &row.command {
        Some(command) => Some(Cow::Owned(format!("command/{command}"))),
        None => Some(row.cause.as_str()).filter(|cause| !cause.is_empty() && !cause.starts_with("command/")).map(Cow::Borrowed),
    }
}
