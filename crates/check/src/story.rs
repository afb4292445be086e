//! How a state is reached, for people: a numbered story, a sequence diagram, and a test to paste.

use std::fmt::{self, Write as _};
use std::sync::Arc;

use farandole::engine::Verdict;

use crate::actor::Ran;
use crate::ask::Command;
use crate::fault::Fault;
use crate::model::{Happening, short};
use crate::state::{Given, Local, State, Stored};
use crate::step::Step;
use crate::typed::guarded;
use crate::world::World;

/// What doesn't hold.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Broken {
    Fault(Fault),
    Invariant { which: usize, why: String },
    Unfinished(String),
}

/// A way to a state in which something doesn't hold.
#[derive(Debug, Clone)]
pub struct Counterexample {
    /// What doesn't hold: an invariant's name, or what is wrong.
    pub violated: String,
    /// What the invariant says of the state.
    pub why: String,
    /// What a participant may not do, if it is that.
    pub fault: Option<Fault>,
    /// What happened, in order.
    pub chapters: Vec<Chapter>,
    /// Whether there is no shorter way: with several threads it is looked for once more with one, and the bounds may end that.
    pub shortest: bool,
    world: String,
    /// Who takes part, for the diagram.
    actors: Vec<&'static str>,
}

/// One step of a story.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Chapter {
    /// What happened: by these words a [`Story`](crate::Story) finds the step again.
    pub step: String,
    /// What came of it.
    pub led_to: String,
    /// Rows that changed: where, before, and after.
    pub rows: Vec<(String, String, String)>,
    /// From whom to whom, for the diagram.
    arrow: Option<(String, String, String)>,
}

const OUTSIDE: &str = "outside";
const CALLER: &str = "caller";

impl World {
    /// The text with ids as the world calls them.
    pub(crate) fn named(&self, text: &str) -> String {
        let mut text = text.to_owned();
        for (id, name) in &self.called {
            text = text.replace(id, name);
        }
        text
    }

    /// What a step is, in words.
    pub(crate) fn tell(&self, state: &State, step: &Step) -> String {
        let who = |i: &usize| self.actors[*i].name();
        let words = match step {
            Step::Deliver { to, from, key } => {
                let kind = match self.input(state, step) {
                    Some((_, Given::Record { at, .. })) => state.locals[*from].log(key).map(|log| short(log.entries[at].kind)),
                    _ => None,
                };
                format!("{} hears {} about {key} from {}", who(to), kind.unwrap_or("nothing"), who(from))
            }
            Step::Ask { which } => {
                let command = &self.commands[*which];
                format!("a caller asks {}: {}, about {}", who(&command.of), command.label, command.about)
            }
            Step::Repeat { which } => {
                let command = &self.commands[*which];
                format!(
                    "the caller repeats under the same key to {}: {}, about {}",
                    who(&command.of),
                    command.label,
                    command.about
                )
            }
            Step::Clock { to } => format!("time goes on to {}", seconds(*to)),
            Step::Due { of, task } => format!("the deadline `{}` of {} fires at {}", task.name, task.key, who(of)),
            Step::Start { of, task } => format!("{} starts `{}` of {}", who(of), task.name, task.key),
            Step::Answer { of, task, outcome } => {
                format!(
                    "the outside world answers {} about `{}` of {}: {}",
                    who(of),
                    task.name,
                    task.key,
                    self.answer(state, *of, task, *outcome)
                )
            }
            Step::Lost { of, task, outcome } => {
                let answer = self.answer(state, *of, task, *outcome);
                format!("the outside world's answer to {} about `{}` of {} is lost: {answer}", who(of), task.name, task.key)
            }
            Step::Again { to, from, key, at } => {
                format!(
                    "{}'s position is lost: what it heard about {key} from {} comes again from record {} on",
                    who(to),
                    who(from),
                    at + 1
                )
            }
            Step::AnswerAgain { of, idempotency } => match state.locals[*of].booked(*idempotency) {
                Some(booked) => {
                    format!(
                        "the answer to {} about `{}` of {} comes again: {}",
                        who(of),
                        booked.task.name,
                        booked.task.key,
                        booked.text
                    )
                }
                None => "an answer comes again".to_owned(),
            },
            Step::Release { of, at } => {
                let parked = state.locals[*of].parked.get(*at);
                let what = parked.map_or_else(|| "nothing".to_owned(), |parked| self.cause(&parked.given));
                format!("{} tries what it has parked again: {what}", who(of))
            }
        };
        self.named(&words)
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
        self.named(&format!("{}: {}", self.actors[*of].name(), words(ran)))
    }

    fn chapter(&self, before: &State, step: &Step, next: &State, happening: Option<&Happening>) -> Chapter {
        let changed = |i: usize| -> Vec<(String, String, String)> {
            let (old, new) = (&*before.locals[i], &*next.locals[i]);
            rows(old, new)
                .into_iter()
                .map(|(at, a, b)| (self.named(&format!("{}.{at}", self.actors[i].name())), self.named(&a), self.named(&b)))
                .collect()
        };
        let rows = (0..self.actors.len()).flat_map(changed).collect();
        let arrow = self.arrow(before, step);
        Chapter { led_to: self.led_to(happening, next), rows, arrow, step: self.tell(before, step) }
    }

    /// From whom to whom, and what: time goes from nobody to nobody.
    fn arrow(&self, before: &State, step: &Step) -> Option<(String, String, String)> {
        let name = |i: &usize| self.actors[*i].name().to_owned();
        let outside = || OUTSIDE.to_owned();
        let (from, to, what) = match step {
            Step::Deliver { to, from, key } => {
                let entry = match self.input(before, step) {
                    Some((_, Given::Record { at, .. })) => before.locals[*from].log(key).map(|log| Arc::clone(&log.entries[at])),
                    _ => None,
                };
                (name(from), name(to), entry.map_or_else(String::new, |entry| format!("{} of {key}", short(entry.kind))))
            }
            Step::Ask { which } | Step::Repeat { which } => {
                let Command { of, label, about, .. } = &self.commands[*which];
                (CALLER.to_owned(), name(of), format!("{label}, {about}"))
            }
            Step::Start { of, task } => (name(of), outside(), format!("{} of {}", task.name, task.key)),
            Step::Answer { of, task, outcome } => (outside(), name(of), self.answer(before, *of, task, *outcome)),
            Step::Lost { of, task, outcome } => {
                (outside(), outside(), format!("{}, and the answer is lost", self.answer(before, *of, task, *outcome)))
            }
            Step::AnswerAgain { of, .. } => (outside(), name(of), "the answer once more".to_owned()),
            Step::Due { of, task } => (name(of), name(of), format!("deadline {} of {}", task.name, task.key)),
            Step::Release { of, .. } => (name(of), name(of), "what was parked, again".to_owned()),
            Step::Again { to, from, .. } => (name(to), name(to), format!("the position in {} is lost", name(from))),
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

fn seconds(micros: i64) -> String {
    format!("{:.3} s", micros as f64 / 1e6)
}

impl Counterexample {
    pub(crate) fn of(world: &World, steps: Vec<Step>, shortest: bool) -> Self {
        let mut state = world.begin();
        let mut chapters = Vec::new();
        for step in steps {
            let Some((next, happening)) = world.next(&state, &step, true, false) else { continue };
            chapters.push(world.chapter(&state, &step, &next, happening.as_ref()));
            state = next;
        }
        let broken =
            world.broken(&state).unwrap_or_else(|| Broken::Unfinished("nothing: it held when it was told again".to_owned()));
        let (violated, why, fault) = match broken {
            Broken::Fault(fault) => (world.named(&fault.to_string()), String::new(), Some(fault)),
            Broken::Invariant { which, why } => (world.invariants[which].name.clone(), world.named(&why), None),
            Broken::Unfinished(why) => ("unfinished business".to_owned(), world.named(&why), None),
        };
        Self { violated, why, fault, chapters, shortest, world: world.name.clone(), actors: world.names.clone() }
    }

    /// The story as a Mermaid sequence diagram.
    pub fn mermaid(&self) -> String {
        let mut text = "sequenceDiagram\n    autonumber\n".to_owned();
        let all = std::iter::once(&CALLER).chain(&self.actors).chain(std::iter::once(&OUTSIDE));
        for name in all {
            let _ = writeln!(text, "    participant {name}");
        }
        let clean = |words: &str| words.replace([';', '#', '\n'], ",");
        let mut last = CALLER;
        for Chapter { step, arrow, led_to, .. } in &self.chapters {
            let Some((from, to, what)) = arrow else {
                let _ = writeln!(text, "    Note over {CALLER},{OUTSIDE}: {}", clean(step));
                continue;
            };
            let _ = writeln!(text, "    {from}->>{to}: {}", clean(what));
            let led_to = led_to.strip_prefix(&format!("{to}: ")).unwrap_or(led_to);
            if !led_to.is_empty() {
                let _ = writeln!(text, "    Note over {to}: {}", clean(led_to));
            }
            last = to;
        }
        let _ = writeln!(text, "    Note over {last}: violated: {}", clean(&self.violated));
        text
    }

    /// A test that goes the same way, and fails as long as what is wrong is.
    pub fn test(&self) -> String {
        let words = self.violated.split(|c: char| !c.is_ascii_alphanumeric()).filter(|word| !word.is_empty()).take(10);
        let name = words.map(str::to_ascii_lowercase).collect::<Vec<_>>().join("_");
        // A function's name begins with a letter.
        let name = if name.starts_with(|c: char| c.is_ascii_alphabetic()) { name } else { format!("it_holds_{name}") };
        let (last, before) = self.chapters.split_last().map_or((None, &[][..]), |(last, before)| (Some(last), before));
        let mut text = format!(
            "#[test]\nfn {}() {{\n    // The world {:?}.\n    world()\n        .story()\n        .given([\n",
            name, self.world
        );
        for chapter in before {
            let _ = writeln!(text, "            {:?},", chapter.step);
        }
        let _ = writeln!(text, "        ])");
        let _ = writeln!(text, "        .when({:?})", last.map_or("", |last| last.step.as_str()));
        let _ = writeln!(text, "        .then({:?});\n}}", self.violated);
        text
    }
}

impl fmt::Display for Counterexample {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let why = if self.why.is_empty() { String::new() } else { format!(": {}", self.why) };
        let longer = if self.shortest { "" } else { " (there may be a shorter way than this)" };
        writeln!(f, "violated: {}{why}{longer}\n", self.violated)?;
        for (i, chapter) in self.chapters.iter().enumerate() {
            writeln!(f, "{:>3}. {}", i + 1, chapter.step)?;
            if !chapter.led_to.is_empty() {
                writeln!(f, "     → {}", chapter.led_to)?;
            }
            for (at, before, after) in &chapter.rows {
                writeln!(f, "       {at}\n         before: {before}\n         after:  {after}")?;
            }
        }
        writeln!(f, "\nAs a diagram:\n\n{}\nAs a test:\n\n{}", self.mermaid(), self.test())
    }
}
