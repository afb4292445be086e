//! Whether a recorded run is one that the participants allow: each decision is made again by the checker's transition function, from what
//! the run's own events have made of the rows, and must give what was published.
//!
//! The ids of commands are known: they are their events' correlation. Those of records, deadlines and outcomes aren't recorded, so that an event
//! that holds the `input.id` of one of these is refused.
//!
//! An input that led to nothing leaves no trace. Of such a record it is asked that there was a moment, between its publication and the next
//! record of its key that led to something, at which it would have led to nothing.

use std::any::Any;
use std::collections::{BTreeSet, HashMap};
use std::sync::Arc;

use farandole::engine::Verdict;
use farandole::table::Row;
use uuid::Uuid;

use crate::actor::{Ground, Happened, Ran, Real};
use crate::invariant::{Invariant, When};
use crate::model::short;
use crate::recording::{Recorded, Recording};
use crate::seen::Seen;
use crate::state::{Booked, Given, State, Task};
use crate::typed::{event_id, guarded, input_id};
use crate::world::World;

/// Refusals that are told.
const TOLD: usize = 20;

/// What replaying a run came to.
pub struct Replayed {
    /// Decisions that were made again and gave what was published.
    pub decisions: usize,
    /// Records that led to nothing, and would.
    pub silent: usize,
    /// Why the run isn't one that the participants allow; twenty reasons at most.
    pub refused: Vec<String>,
    /// Records that would lead to something and haven't yet; twenty at most. At rest there are none.
    pub pending: Vec<String>,
    /// What the run says nothing about: participants that decided nothing in it, and kinds of input that never came.
    pub vacuous: Vec<String>,
    world: World,
    state: State,
}

impl Replayed {
    /// It is a run that the participants allow, it has come to rest, and it says something about each of them.
    pub fn holds(&self) -> bool {
        self.refused.is_empty() && self.pending.is_empty() && self.vacuous.is_empty()
    }

    /// The rows that the run's events make, to be compared with the tables.
    pub fn rows<R: Row>(&self) -> Vec<R> {
        Seen::new(&self.world.names, &self.state).rows::<R>().cloned().collect()
    }

    /// Which of the world's invariants the run violates at its end, and why. It must have come to rest.
    pub fn violated(&self) -> Vec<String> {
        self.check(|when| when != When::Sometimes)
    }

    /// The same of those that hold always, for a run that hasn't come to rest.
    pub fn violated_always(&self) -> Vec<String> {
        self.check(|when| when == When::Always)
    }

    fn check(&self, when: impl Fn(When) -> bool) -> Vec<String> {
        let seen = Seen::new(&self.world.names, &self.state);
        let checked = self.world.invariants.iter().filter(|invariant| when(invariant.when));
        let why = |invariant: &Invariant| match guarded(|| (invariant.holds)(&seen)) {
            Ok(holds) => holds.err(),
            Err(fault) => Some(fault.to_string()),
        };
        checked.filter_map(|invariant| Some(format!("{}: {}", invariant.name, why(invariant)?))).collect()
    }

    /// How many invariants were checked.
    pub fn invariants(&self) -> usize {
        self.world.invariants.iter().filter(|invariant| invariant.when != When::Sometimes).count()
    }
}

/// One participant's part of the run.
struct Part<'a> {
    world: &'a World,
    me: usize,
    state: State,
    /// By place: participant, key, place in the key's log.
    places: &'a HashMap<&'a str, (usize, Arc<str>, usize)>,
    /// Its own events, as the checker numbers them.
    ids: HashMap<Uuid, Uuid>,
    /// When each record was published: participant, key.
    times: &'a HashMap<(usize, Arc<str>), Vec<i64>>,
    /// Records that led to events or were parked: by cause.
    loud: BTreeSet<&'a str>,
    /// Where records stand, by participant, key and place.
    at: &'a HashMap<(usize, Arc<str>, usize), &'a str>,
    decisions: usize,
    silent: usize,
    kinds: BTreeSet<&'static str>,
    refused: Vec<String>,
    pending: Vec<String>,
}

impl World {
    /// Replays a run.
    pub fn replay(self, run: &Recording) -> Replayed {
        let mut begin = self.begin();
        let mut refused = self.repeated(run);
        let (mut places, mut times, mut at) = (HashMap::new(), HashMap::<(usize, Arc<str>), Vec<i64>>::new(), HashMap::new());
        for (me, actor) in self.actors.iter().enumerate() {
            for event in run.events.get(actor.name()).into_iter().flatten() {
                // What can't be read is no record that anybody could have had.
                let mut happened = match self.happened(me, event) {
                    Ok(happened) => happened,
                    Err(why) => {
                        refused.push(why);
                        continue;
                    }
                };
                let key: Arc<str> = event.key.as_str().into();
                let log = times.entry((me, Arc::clone(&key))).or_default();
                places.insert(event.place.as_str(), (me, Arc::clone(&key), log.len()));
                at.insert((me, key, log.len()), event.place.as_str());
                log.push(event.at);
                let local = Arc::make_mut(&mut begin.locals[me]);
                self.append(me, local, &event.key, &mut happened, &event.cause, (None, &Arc::default()));
            }
        }
        let mut replayed = Replayed {
            decisions: 0,
            silent: 0,
            refused,
            pending: Vec::new(),
            vacuous: Vec::new(),
            state: self.begin(),
            world: self,
        };
        let world = &replayed.world;
        let mut locals = Vec::new();
        for (me, actor) in world.actors.iter().enumerate() {
            let events = run.events.get(actor.name()).map_or(&[][..], Vec::as_slice);
            let mut state = begin.clone();
            state.locals[me] = Arc::clone(&world.begin().locals[me]);
            let mut loud: BTreeSet<&str> = events.iter().map(|event| event.cause.as_str()).collect();
            loud.extend(run.parked.get(actor.name()).into_iter().flatten().map(String::as_str));
            let (ids, kinds, refused, pending) = (HashMap::new(), BTreeSet::new(), Vec::new(), Vec::new());
            let (places, times, at) = (&places, &times, &at);
            let mut part =
                Part { world, me, state, places, ids, times, loud, at, decisions: 0, silent: 0, kinds, refused, pending };
            part.run(events);
            replayed.decisions += part.decisions;
            replayed.silent += part.silent;
            replayed.refused.append(&mut part.refused);
            replayed.pending.append(&mut part.pending);
            if part.decisions == 0 {
                replayed.vacuous.push(format!("{} decided nothing in this run", actor.name()));
            } else if !actor.topics().is_empty() && !part.kinds.contains("record") {
                replayed.vacuous.push(format!("no record led {} to anything in this run", actor.name()));
            }
            locals.push(part.state.locals.swap_remove(me));
        }
        replayed.state.locals = locals;
        for told in [&mut replayed.refused, &mut replayed.pending] {
            let count = told.len();
            told.truncate(TOLD);
            if count > TOLD {
                told.push(format!("and {} more", count - TOLD));
            }
        }
        replayed
    }

    /// What stands twice in a run, and what is no participant's.
    fn repeated(&self, run: &Recording) -> Vec<String> {
        let strangers = run.events.keys().filter(|service| !self.names.contains(&service.as_str()));
        let mut refused: Vec<String> = strangers.map(|service| format!("{service} takes no part in this world")).collect();
        for (service, events) in &run.events {
            let (mut ids, mut places) = (BTreeSet::new(), BTreeSet::new());
            let (mut numbers, mut causes) = (BTreeSet::new(), BTreeSet::new());
            for (before, event) in events.iter().zip(events.iter().skip(1)).filter(|(before, event)| event.number < before.number)
            {
                let (kind, place) = (short(&event.kind), &event.place);
                refused.push(format!(
                    "{service}: {kind} at {place}: its number is lower than that of the event before, at {}",
                    before.place
                ));
            }
            for event in events {
                let is_known = [!ids.insert(event.id), !places.insert(&event.place), !numbers.insert(event.number)];
                for (what, _) in ["id", "place", "number"].iter().zip(is_known).filter(|(_, is_known)| *is_known) {
                    refused.push(format!(
                        "{service}: {} at {}: its {what} is another event's, too",
                        short(&event.kind),
                        event.place
                    ));
                }
                if event.of.0 <= 1 && !causes.insert(&event.cause) {
                    refused.push(format!(
                        "{service}: {} at {}: {} was decided before",
                        short(&event.kind),
                        event.place,
                        event.cause
                    ));
                }
            }
        }
        refused
    }

    fn happened(&self, me: usize, event: &Recorded) -> Result<Happened, String> {
        let actor = &self.actors[me];
        let payload = event.value.to_string().into_bytes();
        let kind = actor.publishes().iter().find(|of| of.name == event.kind).map(|of| of.name);
        let read = kind.and_then(|kind| Some((kind, actor.read(kind, &payload, &self.codec)?)));
        let (kind, typed) =
            read.ok_or_else(|| format!("{}: {} can't be read as an event of {}", event.place, event.kind, actor.name()))?;
        let text = actor.text(&*typed);
        Ok(Happened { kind, payload, event: typed, text })
    }
}

impl Part<'_> {
    fn run(&mut self, events: &[Recorded]) {
        let mut rest = events;
        while let Some(first) = rest.first() {
            let n = usize::try_from(first.of.1).unwrap_or(1).clamp(1, rest.len());
            let (these, later) = rest.split_at(n);
            rest = later;
            if these.iter().enumerate().any(|(i, event)| event.cause != first.cause || usize::try_from(event.of.0) != Ok(i + 1)) {
                self.refuse(first, "the events of its input don't stand together".to_owned());
                continue;
            }
            self.state.at = first.at;
            self.pass_silent(&first.key, first.at);
            if let Err(why) = guarded(|| self.decision(these)).unwrap_or_else(|fault| Err(fault.to_string())) {
                self.refuse(first, why);
                self.take(these);
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

    fn decision(&mut self, these: &[Recorded]) -> Result<(), String> {
        let world = self.world;
        let first = &these[0];
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
    fn take(&mut self, these: &[Recorded]) {
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
