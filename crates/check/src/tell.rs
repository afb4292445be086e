//! What happens and what comes of it, in words.

use std::collections::HashMap;
use std::sync::Arc;

use farandole::engine::Verdict;

use crate::actor::Ran;
use crate::ask::Command;
use crate::model::{Happening, short};
use crate::prints::exchanged;
use crate::state::{Given, Local, State, Stored};
use crate::step::Step;
use crate::story::{Chapter, Side};
use crate::typed::guarded;
use crate::world::World;

impl World {
    /// The text with ids as the world calls them; an id within a longer word isn't one.
    pub(crate) fn named(&self, text: &str) -> String {
        exchanged(text, &self.called).unwrap_or_else(|| text.to_owned())
    }

    /// All that may happen, and what it is in words. Steps with the same words are counted: a masked answer, two tasks of one name.
    pub(crate) fn told(&self, state: &State) -> Vec<(Step, String)> {
        let mut steps = Vec::new();
        self.steps(state, &mut steps);
        let mut times = HashMap::<String, usize>::new();
        let each = steps.into_iter().map(|step| {
            let words = self.tell(state, &step);
            let n = times.entry(words.clone()).or_default();
            *n += 1;
            let words = match *n {
                1 => words,
                2 => format!("{words} (the 2nd of these)"),
                3 => format!("{words} (the 3rd of these)"),
                n => format!("{words} (the {n}th of these)"),
            };
            (step, words)
        });
        each.collect()
    }

    /// What a step is, in words.
    pub(crate) fn tell(&self, state: &State, step: &Step) -> String {
        let who = |i: &usize| self.actors[*i].name();
        let called = |text: &str| self.named(text);
        match step {
            Step::Deliver { to, from, key } => {
                let kind = match self.input(state, step) {
                    Some((_, Given::Record { at, .. })) => state.locals[*from].log(key).map(|log| short(log.entries[at].kind)),
                    _ => None,
                };
                format!("{} hears {} about {} from {}", who(to), kind.unwrap_or("nothing"), called(key), who(from))
            }
            Step::Ask { which } => {
                let Command { of, label, about, .. } = &self.commands[*which];
                format!("a caller asks {}: {}, about {}", who(of), called(label), called(about))
            }
            Step::Repeat { which } => {
                let Command { of, label, about, .. } = &self.commands[*which];
                format!("the caller repeats under the same key to {}: {}, about {}", who(of), called(label), called(about))
            }
            Step::Clock { to } => format!("time goes on to {}", seconds(*to)),
            Step::Due { of, task } => {
                format!("the deadline `{}` of {} fires at {}", task.name, called(&task.key), who(of))
            }
            Step::Start { of, task } => format!("{} starts `{}` of {}", who(of), task.name, called(&task.key)),
            Step::Answer { of, task, outcome } => {
                let answer = called(&self.answer(state, *of, task, *outcome));
                format!("the outside world answers {} about `{}` of {}: {answer}", who(of), task.name, called(&task.key))
            }
            Step::Lost { of, task, outcome } => {
                let (name, key) = (&task.name, called(&task.key));
                let answer = called(&self.answer(state, *of, task, *outcome));
                format!("the outside world's answer to {} about `{name}` of {key} is lost: {answer}", who(of))
            }
            Step::Again { to, from, key, at } => format!(
                "{}'s position is lost: what it heard about {} from {} comes again from record {} on",
                who(to),
                called(key),
                who(from),
                at + 1
            ),
            Step::AgainAll { to, from } => {
                format!("{}'s position is lost: all that it heard from {} comes again", who(to), who(from))
            }
            Step::AnswerAgain { of, idempotency, task } => {
                let booked = state.locals[*of].booked(*idempotency);
                let answer = booked.map_or_else(|| "nothing".to_owned(), |booked| called(&booked.text));
                format!("the answer to {} about `{}` of {} comes again: {answer}", who(of), task.name, called(&task.key))
            }
            Step::Release { of, at } => format!("{} tries what it has parked again: {}", who(of), self.parked(state, *of, *at)),
            Step::Drop { of, at } => {
                format!("an operator drops what {} has parked: {}", who(of), self.parked(state, *of, *at))
            }
        }
    }

    /// What was parked, by its cause.
    fn parked(&self, state: &State, of: usize, at: usize) -> String {
        state.locals[of].parked.get(at).map_or_else(|| "nothing".to_owned(), |parked| self.named(&parked.cause))
    }

    fn answer(&self, state: &State, of: usize, task: &crate::step::TaskId, outcome: usize) -> String {
        let local = &state.locals[of];
        let asked = task.find(&local.tasks).and_then(|task| {
            let first = local.booked(task.effect.as_ref()?.idempotency).map_or(task, |booked| &booked.first);
            Some((&first.name, &first.effect.as_ref()?.effect))
        });
        // A panic is told at its step.
        let answer = asked.and_then(|(name, effect)| guarded(|| self.actors[of].outcome(name, effect, outcome)).ok()?);
        answer.map_or_else(|| "nothing".to_owned(), |answered| answered.text)
    }

    /// What came of it.
    fn led_to(&self, happening: Option<&Happening>, next: &State) -> String {
        let Some(Happening { of, ran, .. }) = happening else {
            return next.fault.as_ref().map_or_else(String::new, |fault| self.named(&fault.to_string()));
        };
        format!("{}: {}", self.actors[*of].name(), self.named(&words(ran)))
    }

    /// A step as a story tells it.
    pub(crate) fn chapter(&self, before: &State, step: &Step, next: &State, happening: Option<&Happening>) -> Chapter {
        let changed = |i: usize| -> Vec<(String, String, String)> {
            let (old, new) = (&*before.locals[i], &*next.locals[i]);
            rows(old, new)
                .into_iter()
                .map(|(at, a, b)| (format!("{}.{}", self.actors[i].name(), self.named(&at)), self.named(&a), self.named(&b)))
                .collect()
        };
        let rows = (0..self.actors.len()).flat_map(changed).collect();
        let told = self.told(before).into_iter().find(|(other, _)| other == step);
        let words = told.map_or_else(|| self.tell(before, step), |(_, words)| words);
        Chapter { step: words, led_to: self.led_to(happening, next), rows, arrow: self.arrow(before, step) }
    }

    /// From whom to whom, and what: time goes from nobody to nobody.
    fn arrow(&self, before: &State, step: &Step) -> Option<(Side, Side, String)> {
        let who = |i: &usize| Side::Actor(self.actors[*i].name());
        let (from, to, what) = match step {
            Step::Deliver { to, from, key } => {
                let entry = match self.input(before, step) {
                    Some((_, Given::Record { at, .. })) => before.locals[*from].log(key).map(|log| Arc::clone(&log.entries[at])),
                    _ => None,
                };
                (who(from), who(to), entry.map_or_else(String::new, |entry| format!("{} of {key}", short(entry.kind))))
            }
            Step::Ask { which } | Step::Repeat { which } => {
                let Command { of, label, about, .. } = &self.commands[*which];
                (Side::Caller, who(of), format!("{label}, {about}"))
            }
            Step::Start { of, task } => (who(of), Side::Outside, format!("{} of {}", task.name, task.key)),
            Step::Answer { of, task, outcome } => (Side::Outside, who(of), self.answer(before, *of, task, *outcome)),
            Step::Lost { of, task, outcome } => {
                let answer = self.answer(before, *of, task, *outcome);
                (Side::Outside, Side::Outside, format!("{answer}, and the answer is lost"))
            }
            Step::AnswerAgain { of, .. } => (Side::Outside, who(of), "the answer once more".to_owned()),
            Step::Due { of, task } => (who(of), who(of), format!("deadline {} of {}", task.name, task.key)),
            Step::Release { of, .. } => (who(of), who(of), "what was parked, again".to_owned()),
            Step::Drop { of, .. } => (who(of), who(of), "what was parked is dropped".to_owned()),
            Step::Again { to, from, .. } | Step::AgainAll { to, from } => {
                (who(to), who(to), format!("the position in {} is lost", self.actors[*from].name()))
            }
            Step::Clock { .. } => return None,
        };
        Some((from, to, self.named(&what)))
    }
}

/// What an input led to.
fn words(ran: &Ran) -> String {
    let events: Vec<&str> = ran.events.iter().map(|event| short(event.kind)).collect();
    let what = match &ran.verdict {
        Verdict::Done(_) if events.is_empty() => "nothing".to_owned(),
        Verdict::Done(_) => events.join(", "),
        Verdict::Refused(problem) => format!("refused, {} {}", problem.status, problem.title),
        Verdict::Parked(fault) => format!("parked, {}", fault.reason),
        Verdict::Held { behind } => format!("parked behind {behind}"),
        Verdict::Lost => "lost".to_owned(),
    };
    if ran.tasks.is_empty() { what } else { format!("{what}; {}", ran.tasks.join(", ")) }
}

fn rows(old: &Local, new: &Local) -> Vec<(String, String, String)> {
    let text = |row: Option<&Arc<Stored>>| row.map_or_else(|| "no row".to_owned(), |stored| format!("{:?}", stored.row));
    let all = new.rows.iter().chain(old.rows.iter().filter(|row| new.row(row.table, &row.key).is_none()));
    let each = all.map(|row| (row, old.row(row.table, &row.key), new.row(row.table, &row.key)));
    let changed = each.filter(|(_, old, new)| !old.is_some_and(|old| new.is_some_and(|new| old.row.equals(&*new.row))));
    changed.map(|(row, old, new)| (format!("{}[{}]", row.table, row.key), text(old), text(new))).collect()
}

/// With as many places as it needs.
fn seconds(micros: i64) -> String {
    let (seconds, micros) = (micros / 1_000_000, (micros % 1_000_000).abs());
    if micros % 1000 == 0 { format!("{seconds}.{:03} s", micros / 1000) } else { format!("{seconds}.{micros:06} s") }
}
