//! Whether a recorded run is one that the participants allow: each decision is made again by the checker's transition function, from what
//! the run's own events have made of the rows, and must give what was published.
//!
//! The ids of commands are known: they are their events' correlation. Those of records, deadlines and outcomes aren't recorded, so that an event
//! that holds the `input.id` of one of these is refused.
//!
//! An input that led to nothing leaves no trace. Of such a record it is asked that there was a moment, between its publication and the next
//! record of its key that led to something, at which it would have led to nothing.

mod part;

use std::collections::{BTreeSet, HashMap};
use std::sync::Arc;

use farandole::table::Row;

use crate::actor::Happened;
use crate::invariant::{Invariant, When};
use crate::model::short;
use crate::recording::{Recorded, Recording};
use crate::seen::Seen;
use crate::state::State;
use crate::typed::guarded;
use crate::world::World;
use part::Part;

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

    pub(crate) fn happened(&self, me: usize, event: &Recorded) -> Result<Happened, String> {
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
