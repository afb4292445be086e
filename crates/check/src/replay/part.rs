//! One participant's part of a run: its decisions made again, in the order of its own events.

use std::any::Any;
use std::collections::{BTreeSet, HashMap};
use std::sync::Arc;

use farandole::engine::Verdict;
use uuid::Uuid;

use crate::actor::{Ground, Ran, Real};
use crate::model::short;
use crate::recording::Recorded;
use crate::state::{Booked, Given, State, Task};
use crate::typed::{event_id, guarded, input_id};
use crate::world::World;

/// The events of each input, in the order of their first ones: those that follow one another for their key. Another key's may lie in
/// between, for transactions that have no row in common take their numbers by turns.
fn inputs(events: &[Recorded]) -> Vec<Vec<&Recorded>> {
    let (mut inputs, mut open) = (Vec::<Vec<&Recorded>>::new(), HashMap::<&str, usize>::new());
    for event in events {
        let (i, n) = event.of;
        let continued = open.remove(event.key.as_str()).filter(|_| i > 1).filter(|at| inputs[*at][0].cause == event.cause);
        let at = continued.unwrap_or(inputs.len());
        match continued {
            Some(at) => inputs[at].push(event),
            None => inputs.push(vec![event]),
        }
        if i < n {
            open.insert(&event.key, at);
        }
    }
    inputs
}

/// One participant's part of the run.
pub(super) struct Part<'a> {
    pub world: &'a World,
    pub me: usize,
    pub state: State,
    /// By place: participant, key, place in the key's log.
    pub places: &'a HashMap<&'a str, (usize, Arc<str>, usize)>,
    /// Its own events, as the checker numbers them.
    pub ids: HashMap<Uuid, Uuid>,
    /// When each record was published: participant, key.
    pub times: &'a HashMap<(usize, Arc<str>), Vec<i64>>,
    /// Records that led to events or were parked: by cause.
    pub loud: BTreeSet<&'a str>,
    /// Where records stand, by participant, key and place.
    pub at: &'a HashMap<(usize, Arc<str>, usize), &'a str>,
    pub decisions: usize,
    pub silent: usize,
    pub kinds: BTreeSet<&'static str>,
    pub refused: Vec<String>,
    pub pending: Vec<String>,
}

impl Part<'_> {
    pub fn run(&mut self, events: &[Recorded]) {
        for these in inputs(events) {
            let (first, of) = (these[0], these[0].of.1);
            let is_next = |(event, i): (&&Recorded, i16)| event.cause == first.cause && event.of == (i, of);
            if usize::try_from(of) != Ok(these.len()) || !these.iter().zip(1..).all(is_next) {
                self.refuse(first, "the events of its input don't stand together".to_owned());
                continue;
            }
            self.state.at = first.at;
            self.pass_silent(&first.key, first.at);
            if let Err(why) = guarded(|| self.decision(&these)).unwrap_or_else(|fault| Err(fault.to_string())) {
                self.refuse(first, why);
                self.take(&these);
            }
        }
        // What is left led to nothing until the end.
        let all: BTreeSet<Arc<str>> = self.times.keys().map(|(_, key)| Arc::clone(key)).collect();
        for key in all {
            self.pass_silent(&key, i64::MAX);
            let left: Vec<_> = (0..self.world.actors.len()).filter_map(|from| Some((from, self.next_of(from, &key)?))).collect();
            for (from, at) in left {
                let given = Given::Record { from, key: Arc::clone(&key), at };
                let place = self.at.get(&(from, Arc::clone(&key), at)).copied().unwrap_or_default();
                let ran = self.ran(&given);
                let name = self.world.actors[self.me].name();
                self.pending.push(match ran {
                    Ok(ran) => format!("{name}: {place} should lead to {}, and nothing tells of that", words(&ran)),
                    Err(why) => format!("{name}: {place}: {why}"),
                });
            }
        }
    }

    fn refuse(&mut self, event: &Recorded, why: String) {
        let name = self.world.actors[self.me].name();
        self.refused.push(format!("{name}: {} at {}, caused by {}: {why}", short(&event.kind), event.place, event.cause));
    }

    fn decision(&mut self, these: &[&Recorded]) -> Result<(), String> {
        let world = self.world;
        let first = these[0];
        let mut led_to: Vec<Arc<dyn Any + Send + Sync>> = Vec::new();
        let (mut texts, mut payloads) = (Vec::new(), Vec::new());
        for event in these {
            let happened = world.happened(self.me, event)?;
            led_to.push(happened.event);
            texts.push(happened.text);
            payloads.push((happened.kind, happened.payload));
        }
        let mut parts = first.cause.splitn(3, '/');
        let (kind, name, of) = (parts.next().unwrap_or_default(), parts.next().unwrap_or_default(), parts.next());
        let (given, ran, kind) = match kind {
            "command" => {
                let ground = self.ground(first.cause.clone());
                let real = Real::Command { id: first.correlation, led_to: &led_to };
                let ran = world.actors[self.me].happened(&ground, &first.key, &real).map_err(|fault| fault.to_string())?;
                (None, ran.ok_or("nobody says which command it was: `asked_by` gives none")?, "command")
            }
            "deadline" | "outcome" => {
                let task = self.task(name, of)?;
                if kind == "deadline" {
                    if task.due > first.at {
                        let early = task.due.saturating_sub(first.at);
                        return Err(format!("the deadline fired {early} µs before it was due"));
                    }
                    let given = Given::Deadline { task: Arc::clone(&task) };
                    let ran = self.ran(&given)?;
                    self.end(&task);
                    (Some(given), ran, "deadline")
                } else {
                    let ground = self.ground(first.cause.clone());
                    let real = Real::Outcome { task: &task, led_to: &led_to };
                    let ran = world.actors[self.me].happened(&ground, &task.key, &real).map_err(|fault| fault.to_string())?;
                    let ran = ran.ok_or("nobody says which answer it was: `answered_by` gives none")?;
                    self.end(&task);
                    self.book(&task, &led_to);
                    (None, ran, "outcome")
                }
            }
            _ => {
                let (from, key, at) =
                    self.places.get(first.cause.as_str()).cloned().ok_or("there is no such record in the run")?;
                if from == self.me && self.state.locals[from].log(&key).is_none_or(|log| at >= log.entries.len()) {
                    return Err("its cause is itself, or comes after it".to_owned());
                }
                self.deliver_before(from, &key, at)?;
                let given = Given::Record { from, key: Arc::clone(&key), at };
                let ran = self.ran(&given)?;
                (Some(given), ran, "record")
            }
        };
        // By value: words may mask what differs, and bytes may differ in the order of fields.
        let value = |payload: &[u8]| serde_json::from_slice::<serde_json::Value>(payload).ok();
        let again = ran.events.iter().map(|event| (event.kind, value(&event.payload)));
        if !again.eq(payloads.iter().map(|(kind, payload)| (*kind, value(payload)))) {
            let decided: Vec<&str> = ran.events.iter().map(|event| event.text.as_str()).collect();
            return Err(format!("deciding again gives {}: {decided:?}; published was {texts:?}", words(&ran)));
        }
        if let Some(other) = these.iter().find(|event| event.key != ran.aggregate) {
            return Err(format!(
                "deciding again is about {:?}; published was {} about {:?}",
                ran.aggregate,
                short(&other.kind),
                other.key
            ));
        }
        let before = self.state.locals[self.me].log(&first.key).map_or(0, |log| log.entries.len());
        let actor = world.actors[self.me].name();
        for (i, event) in these.iter().enumerate() {
            self.ids.insert(event.id, event_id(actor, &first.key, before + i));
        }
        if let Some(given) = &given {
            self.had(given);
        }
        let given = given.unwrap_or(Given::Command { which: 0, nth: 0 });
        let local = Arc::make_mut(&mut self.state.locals[self.me]);
        // What an effect opens here may have started by the time it is closed: nothing tells.
        world.apply(local, self.me, &given, ran, &first.cause);
        let fresh = local.tasks.iter_mut().filter(|task| task.effect.as_ref().is_some_and(|asking| !asking.started));
        fresh.for_each(|task| {
            if let Some(asking) = &mut Arc::make_mut(task).effect {
                asking.started = true;
            }
        });
        self.decisions += 1;
        self.kinds.insert(kind);
        Ok(())
    }

    /// What was published is what happened, whatever should have.
    fn take(&mut self, these: &[&Recorded]) {
        if let Some((from, key, at)) = self.places.get(these[0].cause.as_str()).cloned() {
            self.had(&Given::Record { from, key, at });
        }
        for event in these {
            let at = self.state.locals[self.me].log(&event.key).map_or(0, |log| log.entries.len());
            let id = event_id(self.world.actors[self.me].name(), &event.key, at);
            self.ids.insert(event.id, id);
            let local = Arc::make_mut(&mut self.state.locals[self.me]);
            // What couldn't be read has been refused for that.
            if let Ok(happened) = self.world.happened(self.me, event) {
                drop(guarded(|| self.world.take(self.me, local, &event.key, happened, &event.cause)));
            }
        }
    }

    fn ground(&self, cause: String) -> Ground<'_> {
        let World { codec, .. } = self.world;
        let id = input_id(&cause, 0, self.state.at);
        Ground { state: &self.state, commands: &[], codec, me: self.me, releases: true, cause, id, cases: false }
    }

    fn ran(&self, given: &Given) -> Result<Ran, String> {
        let cause = self.world.cause(given);
        let ran = guarded(|| self.world.actors[self.me].run(&self.ground(cause), given));
        ran.and_then(|ran| ran).map_err(|fault| fault.to_string())
    }

    fn task(&self, name: &str, of: Option<&str>) -> Result<Arc<Task>, String> {
        let id =
            of.and_then(|of| of.parse::<Uuid>().ok()).and_then(|id| self.ids.get(&id)).ok_or("it names no event before it")?;
        let task = self.state.locals[self.me].tasks.iter().find(|task| task.cause == *id && task.name == name);
        task.cloned().ok_or_else(|| format!("no `{name}` is open that this event would have opened"))
    }

    fn end(&mut self, task: &Task) {
        Arc::make_mut(&mut self.state.locals[self.me]).end(&task.name, &task.key, task.cause);
    }

    /// Notes what the outside world did, as far as the events tell.
    fn book(&mut self, task: &Arc<Task>, led_to: &[Arc<dyn Any + Send + Sync>]) {
        let actor = &self.world.actors[self.me];
        let Some(both) = actor.both(task, led_to) else { return };
        let idempotency = task.effect.as_ref().map_or(task.cause, |asking| asking.idempotency);
        let prints = self.world.exchanges.none();
        let booked = Booked {
            first: Arc::clone(task),
            idempotency,
            outcome: 0,
            both,
            text: String::new(),
            told: vec![Arc::clone(task)],
            prints,
        };
        Arc::make_mut(&mut self.state.locals[self.me]).book(Arc::new(booked));
    }

    fn had(&mut self, given: &Given) {
        self.world.had(&mut self.state, self.me, given);
    }

    /// The next record of a key that the participant handles and hasn't had.
    fn next_of(&self, from: usize, key: &str) -> Option<usize> {
        let had = self.state.locals[self.me].had(from, key);
        let log = self.state.locals[from].log(key)?;
        if from == self.me {
            return None;
        }
        let handled = log.entries.iter().enumerate().filter(|(_, entry)| entry.heard_by & (1 << self.me) != 0);
        handled.skip(had).map(|(at, _)| at).next()
    }

    /// Has what leads to nothing now, of records of this key that were published by then.
    fn pass_silent(&mut self, key: &str, by: i64) {
        for from in 0..self.world.actors.len() {
            while let Some(at) = self.next_of(from, key) {
                let key: Arc<str> = key.into();
                let published = self.times.get(&(from, Arc::clone(&key))).and_then(|log| log.get(at)).copied();
                let place = self.at.get(&(from, Arc::clone(&key), at)).copied().unwrap_or_default();
                if published.is_none_or(|published| published > by) || self.loud.contains(place) {
                    break;
                }
                let given = Given::Record { from, key, at };
                match self.ran(&given) {
                    Ok(ran) if ran.events.is_empty() && matches!(ran.verdict, Verdict::Done(_)) => {
                        self.had(&given);
                        self.silent += 1;
                    }
                    _ => break,
                }
            }
        }
    }

    /// Everything before a record that led to something has led to nothing, or was parked and led to something since.
    fn deliver_before(&mut self, from: usize, key: &Arc<str>, at: usize) -> Result<(), String> {
        while let Some(next) = self.next_of(from, key).filter(|next| *next < at) {
            let given = Given::Record { from, key: Arc::clone(key), at: next };
            let place = self.at.get(&(from, Arc::clone(key), next)).copied().unwrap_or_default();
            if !self.loud.contains(place) {
                let ran = self.ran(&given)?;
                if !ran.events.is_empty() || !matches!(ran.verdict, Verdict::Done(_)) {
                    return Err(format!("{place}, the record before its cause, should have led to {}", words(&ran)));
                }
                self.silent += 1;
            }
            self.had(&given);
        }
        Ok(())
    }
}

fn words(ran: &Ran) -> String {
    let events: Vec<&str> = ran.events.iter().map(|event| short(event.kind)).collect();
    match &ran.verdict {
        Verdict::Parked(fault) => format!("being parked ({})", fault.reason),
        Verdict::Refused(problem) => format!("being refused ({})", problem.title),
        Verdict::Held { behind } => format!("being parked behind {behind}"),
        _ if events.is_empty() => "nothing".to_owned(),
        _ => events.join(", "),
    }
}
