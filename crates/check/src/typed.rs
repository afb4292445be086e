//! A participant of a known type: its real functions, run by the engine's own plan on rows in memory.

use std::any::Any;
use std::collections::HashSet;
use std::sync::Arc;

use farandole::agenda::Op;
use farandole::engine::{
    DecisionContext, Decoded, Error, Idempotency, IdempotencyCache, Net, Origin, Plan, Unknown, Verdict, Work, net_of_tasks,
    read_heard,
};
use farandole::table::Find;
use farandole::task::Effect as _;
use farandole::testing;
use farandole::{Body, Codec, IdempotencyKey, Keys, Message, OutcomeOf, Participant, Tables, Timestamp};
use farandole_outbox::RecordType;
use uuid::Uuid;

use crate::actor::{Actor, Answered, Ground, Happened, Ran, Real};
use crate::fault::Fault;
use crate::prints::hash;
use crate::quiet::quietly;
use crate::state::{Changed, Given, Local, Task};

/// An effect's possible answers.
pub(crate) type Outside<P> = Box<dyn Fn(&<P as Participant>::Effect) -> Vec<OutcomeOf<P>> + Send + Sync>;
/// State and input in the words of a state table.
pub(crate) type Case<P> =
    Box<dyn Fn(&<P as Participant>::Tables, &<P as Participant>::Id, &Body<P>) -> (String, String) + Send + Sync>;

/// Which command led to these events.
pub(crate) type AskedBy<P> = Box<dyn Fn(&[<P as Participant>::Event]) -> Option<<P as Participant>::Command> + Send + Sync>;
/// Which answer to an effect led to these events.
pub(crate) type AnsweredBy<P> =
    Box<dyn Fn(&<P as Participant>::Effect, &[<P as Participant>::Event]) -> Option<OutcomeOf<P>> + Send + Sync>;

/// A participant of a known type.
pub(crate) struct Typed<P: Participant> {
    pub participant: P,
    pub outside: Option<Outside<P>>,
    pub case: Option<Case<P>>,
    pub asked: Option<AskedBy<P>>,
    pub answered: Option<AnsweredBy<P>>,
}

/// The id of an event, from what it is: the same in every way to get there. Its place in its log stands in the last bits.
pub(crate) fn event_id(actor: &str, aggregate: &str, at: usize) -> Uuid {
    Uuid::from_u64_pair(hash(&format!("{actor}/{aggregate}")), at as u64)
}

/// The events of `P` among these.
fn own<P: Participant>(events: &[Arc<dyn Any + Send + Sync>]) -> Vec<P::Event> {
    events.iter().filter_map(|event| event.downcast_ref::<P::Event>().cloned()).collect()
}

/// The id of an input: a UUIDv7 of its time, as the engine's. The same cause that comes another time has another.
pub(crate) fn input_id(cause: &str, left: u8, at: i64) -> Uuid {
    let (high, low) = (hash(&format!("{cause} {left}")), hash(&format!("{cause} {left}.")));
    let mut random = [0; 10];
    random[..8].copy_from_slice(&high.to_be_bytes());
    random[8..].copy_from_slice(&low.to_be_bytes()[..2]);
    let millis = u64::try_from(at / 1000).unwrap_or(0);
    uuid::Builder::from_unix_timestamp_millis(millis, &random).into_uuid()
}

impl<P: Participant> Typed<P> {
    /// The input, as the intake, the commands or the agenda would hand it over.
    pub(crate) fn work(&self, ground: &Ground<'_>, given: &Given) -> Result<Work<P>, Verdict> {
        let parked = |reason: String| Verdict::Parked(farandole::parking::Fault { reason, transient: false });
        let (id, body, key, idempotency) = match given {
            Given::Record { from, key, at } => {
                let entry = ground.state.locals[*from].log(key).and_then(|log| log.entries.get(*at));
                let Some(entry) = entry else { return Err(parked("the record is gone".to_owned())) };
                let record = (entry.kind, Some(key.as_bytes()), Some(entry.payload.as_slice()));
                match read_heard(&self.participant, record, ground.codec, Unknown::default()) {
                    Decoded::Input((id, heard)) => (id, Body::Heard(heard), Some(key.to_string()), None),
                    Decoded::Ignored | Decoded::Unknown => return Err(Verdict::Done(None)),
                    Decoded::Fault(fault) => return Err(Verdict::Parked(fault)),
                }
            }
            Given::Command { which, nth } => {
                let command = &ground.commands[*which];
                let made = (command.make)().downcast::<P::Command>();
                let (Ok(made), Ok(id)) = (made, command.about.parse::<P::Id>()) else {
                    return Err(parked(format!("{:?} is no id, or the command is none, of {}", command.about, P::NAME)));
                };
                // Each time has a key of its own: only repeating is under the same.
                let idempotency = Some(Idempotency {
                    scope: P::NAME.to_owned(),
                    key: format!("{}/{}/{nth}", command.about, command.label),
                    body_hash: [0; 32],
                });
                (id, Body::Command(*made), None, idempotency)
            }
            Given::Deadline { task } => {
                let deadline = <P::Deadline as farandole::task::Deadline>::find(&task.name);
                match (deadline, task.key.parse::<P::Id>()) {
                    (Some(deadline), Ok(id)) => (id, Body::Deadline(deadline), Some(task.key.clone()), None),
                    _ => return Err(parked(format!("{:?} is no id of {}", task.key, P::NAME))),
                }
            }
            Given::Outcome { task, booked } => {
                let Some(asking) = &task.effect else { return Err(parked("no effect".to_owned())) };
                let effect = P::Effect::from_json(&task.name, asking.effect.clone());
                let (Ok(effect), Ok(id)) = (effect, task.key.parse::<P::Id>()) else {
                    return Err(parked(format!("an effect that can't be read, or {:?} is no id of {}", task.key, P::NAME)));
                };
                // What was done first under this key is what is answered.
                let first = booked
                    .first
                    .effect
                    .as_ref()
                    .and_then(|first| P::Effect::from_json(&booked.first.name, first.effect.clone()).ok());
                let first = first.as_ref().unwrap_or(&effect);
                let mut outcomes = self.outside.as_ref().map_or_else(Vec::new, |outside| outside(first));
                if booked.outcome >= outcomes.len() {
                    return Err(parked(crate::fault::FICKLE.to_owned()));
                }
                let outcome = outcomes.swap_remove(booked.outcome);
                (id, Body::Outcome { effect, outcome }, Some(task.key.clone()), None)
            }
        };
        let origin = Origin { cause: ground.cause.clone(), idempotency, key, ..Origin::default() };
        let mut work = Work::new(id, body, origin);
        work.input.id = ground.id;
        work.input.at = Timestamp::from_micros(ground.state.at);
        Ok(work)
    }

    fn tables(&self, local: &Local, work: &Work<P>) -> Result<(P::Tables, Keys), Fault> {
        let find = |table: &'static str, key: &str| local.stored(table, key);
        let mut tables = P::Tables::default();
        let keys = guarded(|| {
            let mut keys = self.participant.touches(&work.id, &work.input);
            tables.load_from(&keys, &find);
            let more: Keys = self.participant.touches_more(&tables, &work.id, &work.input);
            tables.load_from(&more, &find);
            keys.merge(more);
            keys
        })?;
        match tables.take_missed() {
            Some(row) => Err(Fault::Untouched { row }),
            None => Ok((tables, keys)),
        }
    }

    /// Decides by the engine's own plan, on rows in memory.
    fn decide(&self, ground: &Ground<'_>, work: Work<P>) -> Result<Ran, Fault> {
        let local = &*ground.state.locals[ground.me];
        let (mut tables, keys) = self.tables(local, &work)?;
        let case = match &self.case {
            Some(case) if ground.cases => Some(guarded(|| case(&tables, &work.id, &work.input.body))?),
            _ => None,
        };
        // What a case looks at beyond the input's own rows is its own affair.
        tables.take_missed();
        let aggregate = work.id.to_string();
        let before = local.log(&aggregate).map_or(0, |log| log.entries.len());
        let context = DecisionContext {
            participant: &self.participant,
            codec: ground.codec,
            topic: P::NAME,
            standing: &[true],
            event_id: &|i| event_id(P::NAME, &aggregate, before + i),
        };
        let mut parked = HashSet::new();
        if !ground.releases {
            parked.extend(local.parked.iter().flat_map(|parked| [parked.aggregate.clone(), parked.key.clone()]));
        }
        let answers = work.origin.idempotency.iter().flat_map(|asked| {
            local
                .known
                .iter()
                .filter(|known| known.at.1 == asked.key)
                .map(|known| (known.at.clone(), (known.hash.clone(), known.answer.clone())))
        });
        let answers: Vec<_> = answers.collect();
        // What is answered from memory isn't decided.
        let case = case.filter(|_| answers.is_empty());
        let mut known = IdempotencyCache::given(answers);
        let key = work.origin.key.clone().unwrap_or_else(|| aggregate.clone());
        let works = [work];
        let plan = context.plan(&works, std::slice::from_ref(&aggregate), &mut tables, &mut known, &mut parked).map_err(fault)?;
        let Plan { mut verdicts, outbox, tasks } = plan;
        let verdict = verdicts.pop().unwrap_or(Verdict::Lost);
        let mut events = Vec::with_capacity(outbox.len());
        for row in outbox {
            let index = P::Event::find(row.kind).unwrap_or(usize::MAX);
            let event = P::Event::decode(index, ground.codec, &row.payload)
                .map_err(|error| Fault::Engine { words: format!("{} can't be read back: {error}", row.kind) })?;
            let text = format!("{event:?}");
            events.push(Happened { kind: row.kind, payload: row.payload, event: Arc::new(event), text });
        }
        let rows = changes(&tables);
        let told = tasks.iter().map(told).collect();
        let (net, known) = (net_of_tasks(tasks), known.fresh().collect());
        Ok(Ran { verdict, rows, events, keys: Arc::new(keys), net, known, aggregate, key, tasks: told, case })
    }
}

impl<P: Participant> Actor for Typed<P> {
    #[cfg(test)]
    fn as_any(&self) -> &dyn Any {
        self
    }

    fn as_any_mut(&mut self) -> &mut dyn Any {
        self
    }

    fn name(&self) -> &'static str {
        P::NAME
    }

    fn publishes(&self) -> &'static [RecordType] {
        P::Event::TYPES
    }

    fn lacks_answers(&self) -> bool {
        !P::Effect::NAMES.is_empty() && self.outside.is_none()
    }

    fn ends(&self, kind: &str) -> bool {
        P::Event::ENDS.iter().any(|end| end.name == kind)
    }

    fn hears(&self, kind: &str) -> bool {
        P::Heard::find(kind).is_some()
    }

    fn ignores(&self, kind: &str) -> bool {
        P::Heard::IGNORES.is_none() || P::Heard::ignores(kind)
    }

    fn handles(&self) -> &'static [RecordType] {
        P::Heard::TYPES
    }

    fn topics(&self) -> Vec<&'static str> {
        P::Heard::topics()
    }

    fn outcomes(&self, name: &str, effect: &serde_json::Value) -> usize {
        let effect = P::Effect::from_json(name, effect.clone());
        effect.ok().and_then(|effect| Some(self.outside.as_ref()?(&effect).len())).unwrap_or(0)
    }

    fn outcome(&self, name: &str, effect: &serde_json::Value, i: usize) -> Option<Answered> {
        let effect = P::Effect::from_json(name, effect.clone()).ok()?;
        let outcome = self.outside.as_ref()?(&effect).into_iter().nth(i)?;
        let text = format!("{outcome:?}");
        let value = serde_json::to_string(&outcome).unwrap_or_else(|_| text.clone());
        Some(Answered { both: Arc::new((effect, outcome)), text, value })
    }

    fn idempotency(&self, name: &str, effect: &serde_json::Value) -> Option<IdempotencyKey> {
        let effect = P::Effect::from_json(name, effect.clone()).ok()?;
        Some(self.participant.idempotency(&effect))
    }

    fn run(&self, ground: &Ground<'_>, given: &Given) -> Result<Ran, Fault> {
        let work = match self.work(ground, given) {
            Ok(work) => work,
            Err(verdict) => {
                let key = match given {
                    Given::Record { key, .. } => key.to_string(),
                    Given::Command { which, .. } => ground.commands[*which].about.clone(),
                    Given::Deadline { task } => task.key.clone(),
                    Given::Outcome { task, .. } => task.key.clone(),
                };
                return Ok(Ran {
                    verdict,
                    rows: Vec::new(),
                    events: Vec::new(),
                    keys: Arc::default(),
                    net: Net::default(),
                    known: Vec::new(),
                    aggregate: key.clone(),
                    key,
                    tasks: Vec::new(),
                    case: None,
                });
            }
        };
        self.decide(ground, work)
    }

    fn happened(&self, ground: &Ground<'_>, about: &str, real: &Real<'_>) -> Result<Option<Ran>, Fault> {
        let body = match real {
            Real::Command { led_to, .. } => self.asked.as_ref().and_then(|asked| asked(&own::<P>(led_to))).map(Body::Command),
            Real::Outcome { task, led_to } => task.effect.as_ref().and_then(|asking| {
                let effect = P::Effect::from_json(&task.name, asking.effect.clone()).ok()?;
                let outcome = self.answered.as_ref()?(&effect, &own::<P>(led_to))?;
                Some(Body::Outcome { effect, outcome })
            }),
        };
        let (Some(body), Ok(id)) = (body, about.parse::<P::Id>()) else { return Ok(None) };
        let mut work = Work::new(id, body, Origin { cause: ground.cause.clone(), ..Origin::default() });
        work.input.at = Timestamp::from_micros(ground.state.at);
        work.input.id = match real {
            Real::Command { id, .. } => *id,
            Real::Outcome { .. } => ground.id,
        };
        self.decide(ground, work).map(Some)
    }

    fn read(&self, kind: &str, payload: &[u8], codec: &Codec) -> Option<Arc<dyn Any + Send + Sync>> {
        P::Event::decode(P::Event::find(kind)?, codec, payload).ok().map(|event| Arc::new(event) as Arc<dyn Any + Send + Sync>)
    }

    fn text(&self, event: &(dyn Any + Send + Sync)) -> String {
        event.downcast_ref::<P::Event>().map_or_else(String::new, |event| format!("{event:?}"))
    }

    fn both(&self, task: &Task, led_to: &[Arc<dyn Any + Send + Sync>]) -> Option<Arc<dyn Any + Send + Sync>> {
        let effect = P::Effect::from_json(&task.name, task.effect.as_ref()?.effect.clone()).ok()?;
        let outcome = self.answered.as_ref()?(&effect, &own::<P>(led_to))?;
        Some(Arc::new((effect, outcome)))
    }

    fn evolve(&self, event: &dyn Any, keys: &Keys, find: Find<'_>) -> Result<(Vec<Changed>, Option<Keys>), Fault> {
        let Some(event) = event.downcast_ref::<P::Event>() else { return Ok((Vec::new(), None)) };
        let mut more: Option<Keys> = None;
        loop {
            let mut tables = P::Tables::default();
            tables.load_from(more.as_ref().unwrap_or(keys), find);
            // It may panic at a row that isn't loaded yet; one that it panics at with all of them is told.
            let evolved = quietly(|| guarded(|| self.participant.evolve(&mut tables, event)));
            let missed = tables.missed();
            if missed.is_empty() {
                evolved?;
                return Ok((changes(&tables), more));
            }
            more.get_or_insert_with(|| keys.clone()).merge(missed);
        }
    }

    fn follow(&self, event: &dyn Any, aggregate: &str, id: Uuid) -> Result<Net, Fault> {
        let Some(event) = event.downcast_ref::<P::Event>() else { return Ok(Net::default()) };
        let ops =
            farandole::engine::follow_up(&self.participant, event, aggregate, id).map_err(|words| Fault::Engine { words })?;
        Ok(net_of_tasks(ops))
    }
}

/// Runs code of the participant or of the world's author.
pub(crate) fn guarded<T>(code: impl FnOnce() -> T) -> Result<T, Fault> {
    farandole::engine::guarded(code).map_err(fault)
}

/// The rows that changed.
fn changes<T: Tables>(tables: &T) -> Vec<Changed> {
    let mut rows = Vec::new();
    tables.store_to(&mut |table, key, row| rows.push((table, key.to_owned(), row)));
    rows
}

/// An engine's error as a fault.
fn fault(error: Error) -> Fault {
    match error {
        Error::Untouched(row) => Fault::Untouched { row },
        Error::Panicked(words) => Fault::Panicked { words },
        other => Fault::Engine { words: farandole::engine::chain_of(&other) },
    }
}

/// What a change of the agenda is in a state table.
fn told(op: &Op) -> String {
    match op {
        Op::Open { name, .. } => testing::task(true, name),
        Op::Close { name, .. } => testing::task(false, name),
    }
}
