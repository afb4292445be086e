//! At which moments logical time stands.
//!
//! Time goes from one deadline to the next, and to the moments that a world names. Besides, it goes to a moment just after a deadline that
//! hasn't fired, where something that may happen then comes out otherwise than at the deadline: code that compares `input.at` with what a
//! deadline was set for. Where nothing does, the two moments are one.

use std::collections::HashMap;
use std::hash::{DefaultHasher, Hash as _, Hasher as _};
use std::sync::{Arc, PoisonError};

use crate::actor::{Ground, Ran};
use crate::fault::Fault;
use crate::quiet::quietly;
use crate::state::{Asked, Given, State};
use crate::step::{Step, is_never};
use crate::typed::guarded;
use crate::world::World;

/// So many answers are kept, of 20 bytes each.
const KEPT: usize = 10_000_000;

impl World {
    /// Deadlines that may still fire. What is due at the end of all time never does.
    fn dues<'a>(&self, state: &'a State) -> impl Iterator<Item = i64> + 'a {
        let tasks = state.locals.iter().flat_map(|local| &local.tasks);
        tasks.filter(|task| task.effect.is_none() && !is_never(task.due)).map(|task| task.due)
    }

    /// Whether time goes on by itself: a deadline will fire.
    pub(crate) fn is_awaited(&self, state: &State) -> bool {
        self.dues(state).next().is_some()
    }

    /// Time goes on, beside these steps.
    pub(crate) fn clock(&self, state: &State, steps: &mut Vec<Step>) {
        let moments = self.dues(state).chain(self.moments.iter().copied()).filter(|moment| *moment > state.at);
        let next = moments.min();
        let after = state.at + 1;
        if next != Some(after) && self.dues(state).any(|due| due == state.at) && self.is_other(state, after, steps) {
            steps.push(Step::Clock { to: after });
        }
        steps.extend(next.map(|to| Step::Clock { to }));
    }

    /// Whether one of these steps comes out otherwise at that moment.
    fn is_other(&self, state: &State, at: i64, steps: &[Step]) -> bool {
        let mut after = None;
        steps.iter().any(|step| {
            let Some(known) = self.known_by(state, step) else { return false };
            let find = |moments: &HashMap<u64, bool>| moments.get(&known).copied();
            if let Some(other) = find(&self.others.lock().unwrap_or_else(PoisonError::into_inner)) {
                return other;
            }
            let after = after.get_or_insert_with(|| State { at, ..state.clone() });
            let other = match (self.tried(state, step), self.tried(after, step)) {
                (Some(Ok(now)), Some(Ok(then))) => !is_alike(&now, &then),
                (Some(now), Some(then)) => now.err() != then.err(),
                _ => false,
            };
            let mut others = self.others.lock().unwrap_or_else(PoisonError::into_inner);
            if others.len() < KEPT {
                others.insert(known, other);
            }
            other
        })
    }

    /// All that an input of this step rests on: most of it is the same in many states.
    fn known_by(&self, state: &State, step: &Step) -> Option<u64> {
        let mut hasher = DefaultHasher::new();
        (state.at, state.redeliveries, step).hash(&mut hasher);
        let of = match step {
            Step::Deliver { to, .. } => *to,
            Step::Ask { which } | Step::Repeat { which } => {
                let Asked { left, repeats } = state.commands[*which];
                (left, repeats).hash(&mut hasher);
                self.commands[*which].of
            }
            Step::Due { of, .. } | Step::Answer { of, .. } | Step::AnswerAgain { of, .. } | Step::Release { of, .. } => *of,
            _ => return None,
        };
        // A record is another's.
        if let Some((_, Given::Record { from, key, at })) = self.input(state, step) {
            state.locals[from].log(&key)?.entries.get(at)?.prints[0].hash(&mut hasher);
        }
        state.locals[of].prints[0].hash(&mut hasher);
        Some(hasher.finish())
    }

    /// What an input of this step is decided to be; none if it hands over none.
    fn tried(&self, state: &State, step: &Step) -> Option<Result<Ran, Fault>> {
        let (of, given) = match step {
            Step::Answer { of, task, outcome } => {
                let booked = guarded(|| self.book(*of, &state.locals[*of], task, *outcome, true)).ok()?.ok()??;
                let task = Arc::clone(task.find(&state.locals[*of].tasks)?);
                (*of, Given::Outcome { task, booked: Arc::new(booked) })
            }
            step => self.input(state, step)?,
        };
        let cause = self.cause(&given);
        let (id, releases) = (self.id(state, step, &given, &cause), matches!(step, Step::Release { .. }));
        let ground = Ground { state, commands: &self.commands, codec: &self.codec, me: of, releases, cause, id, cases: false };
        // What panics here is told when the step is taken.
        Some(quietly(|| guarded(|| self.actors[of].run(&ground, &given))).and_then(|ran| ran))
    }
}

/// Whether what was decided differs at most in the moment itself.
fn is_alike(a: &Ran, b: &Ran) -> bool {
    let text = |ran: &Ran| format!("{:?} {:?}", ran.verdict, ran.net);
    let payload = |ran: &Ran, i: usize| String::from_utf8_lossy(&ran.events[i].payload).into_owned();
    a.events.len() == b.events.len()
        && (0..a.events.len()).all(|i| a.events[i].kind == b.events[i].kind && differ_by_a_moment(&payload(a, i), &payload(b, i)))
        && differ_by_a_moment(&text(a), &text(b))
}

/// Whether two texts are the same but for long numbers that are one apart.
fn differ_by_a_moment(a: &str, b: &str) -> bool {
    a == b || {
        let (mut a, mut b) = (parts(a), parts(b));
        loop {
            match (a.next(), b.next()) {
                (None, None) => return true,
                (Some(a), Some(b)) if a == b => {}
                (Some(a), Some(b)) => {
                    let (Ok(x), Ok(y)) = (a.parse::<i64>(), b.parse::<i64>()) else { return false };
                    if a.len() < LONG || y.checked_sub(x) != Some(1) {
                        return false;
                    }
                }
                _ => return false,
            }
        }
    }
}

/// A second in microseconds has seven digits, and what counts things has few.
const LONG: usize = 6;

/// Runs of digits, and what stands between them.
fn parts(text: &str) -> impl Iterator<Item = &str> {
    let mut rest = text;
    std::iter::from_fn(move || {
        let is_number = rest.chars().next()?.is_ascii_digit();
        let end = rest.find(|c: char| c.is_ascii_digit() != is_number).unwrap_or(rest.len());
        let (part, more) = rest.split_at(end);
        rest = more;
        Some(part)
    })
}
