//! What may happen next.

use std::sync::Arc;

use farandole::Timestamp;
use uuid::Uuid;

use crate::state::{Given, State, Task};
use crate::world::World;

/// One step of a world.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub enum Step {
    /// A participant takes the next record of a key that it handles.
    Deliver { to: usize, from: usize, key: Arc<str> },
    /// A caller asks.
    Ask { which: usize },
    /// A caller asks again under the same key.
    Repeat { which: usize },
    /// Time goes on, to the next moment.
    Clock { to: i64 },
    /// A deadline fires.
    Due { of: usize, task: TaskId },
    /// An effect is started.
    Start { of: usize, task: TaskId },
    /// The outside world answers.
    Answer { of: usize, task: TaskId, outcome: usize },
    /// The outside world acts, and its answer is lost.
    Lost { of: usize, task: TaskId, outcome: usize },
    /// A position is lost: what was read of a key from there on comes again.
    Again { to: usize, from: usize, key: Arc<str>, at: usize },
    /// A position is lost: all that was read of a participant comes again.
    AgainAll { to: usize, from: usize },
    /// The answer about a task comes again.
    AnswerAgain { of: usize, idempotency: Uuid, task: TaskId },
    /// A parked input is tried again.
    Release { of: usize, at: usize },
    /// An operator drops a parked input.
    Drop { of: usize, at: usize },
}

/// Which task.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct TaskId {
    pub(crate) name: String,
    pub(crate) key: String,
    pub(crate) cause: Uuid,
}

impl TaskId {
    pub(crate) fn of(task: &Task) -> Self {
        Self { name: task.name.clone(), key: task.key.clone(), cause: task.cause }
    }

    pub(crate) fn find<'a>(&self, tasks: &'a [Arc<Task>]) -> Option<&'a Arc<Task>> {
        tasks.iter().find(|task| task.cause == self.cause && task.name == self.name && task.key == self.key)
    }
}

/// Whether a deadline is at the end of all time, as far as the engine can tell it.
pub(crate) fn is_never(due: i64) -> bool {
    due >= Timestamp::MAX.micros()
}

impl World {
    /// All that may happen.
    pub(crate) fn steps(&self, state: &State, steps: &mut Vec<Step>) {
        self.steps_of_now(state, steps);
        self.clock(state, steps);
    }

    /// All but that time goes on.
    pub(crate) fn steps_of_now(&self, state: &State, steps: &mut Vec<Step>) {
        for (to, local) in state.locals.iter().enumerate() {
            for (from, other) in state.locals.iter().enumerate() {
                let mut read = 0;
                for log in &other.logs {
                    let there = log.entries.iter().filter(|entry| entry.heard_by & (1 << to) != 0).count();
                    let had = local.had(from, &log.key);
                    if had < there {
                        steps.push(Step::Deliver { to, from, key: Arc::clone(&log.key) });
                    }
                    read += usize::from(had > 0);
                    if state.redeliveries > 0 {
                        steps.extend((0..had).map(|at| Step::Again { to, from, key: Arc::clone(&log.key), at }));
                    }
                }
                // Of one key, that is what losing its position from the beginning on is.
                if state.redeliveries > 0 && read > 1 {
                    steps.push(Step::AgainAll { to, from });
                }
            }
            self.tasks(state, to, steps);
            for at in 0..local.parked.len() {
                if local.behind(at).next().is_none() {
                    steps.push(Step::Release { of: to, at });
                }
                if state.drops > 0 {
                    steps.push(Step::Drop { of: to, at });
                }
            }
        }
        for (which, asked) in state.commands.iter().enumerate() {
            if asked.left > 0 {
                steps.push(Step::Ask { which });
            }
            if asked.repeats > 0 && asked.left < self.commands[which].times {
                steps.push(Step::Repeat { which });
            }
        }
    }

    fn tasks(&self, state: &State, of: usize, steps: &mut Vec<Step>) {
        let local = &state.locals[of];
        for task in &local.tasks {
            let id = || TaskId::of(task);
            match &task.effect {
                None if task.due <= state.at && !is_never(task.due) => steps.push(Step::Due { of, task: id() }),
                None => {}
                Some(asking) if !asking.started => steps.push(Step::Start { of, task: id() }),
                Some(asking) => match local.booked(asking.idempotency) {
                    // Who asks again under the same key is told what became of it.
                    Some(booked) => steps.push(Step::Answer { of, task: id(), outcome: booked.outcome }),
                    None => {
                        steps.extend((0..asking.outcomes).map(|outcome| Step::Answer { of, task: id(), outcome }));
                        if asking.lost < self.lost_answers {
                            steps.extend((0..asking.outcomes).map(|outcome| Step::Lost { of, task: id(), outcome }));
                        }
                    }
                },
            }
        }
        if state.redeliveries > 0 {
            let told = local.books.iter().flat_map(|booked| booked.told.iter().map(|task| (booked.idempotency, task)));
            steps.extend(told.map(|(idempotency, task)| Step::AnswerAgain { of, idempotency, task: TaskId::of(task) }));
        }
    }

    /// What happens by itself, apart from callers, losses and operators. Whether time goes on is asked apart.
    pub(crate) fn is_by_itself(step: &Step) -> bool {
        match step {
            Step::Deliver { .. } | Step::Due { .. } | Step::Start { .. } | Step::Answer { .. } | Step::Release { .. } => true,
            Step::Ask { .. } | Step::Repeat { .. } | Step::Lost { .. } | Step::Drop { .. } | Step::Clock { .. } => false,
            Step::Again { .. } | Step::AgainAll { .. } | Step::AnswerAgain { .. } => false,
        }
    }

    /// The input that a step hands to a participant, and to which; none where it hands over none.
    pub(crate) fn input(&self, state: &State, step: &Step) -> Option<(usize, Given)> {
        Some(match step {
            Step::Deliver { to, from, key } => {
                let had = state.locals[*to].had(*from, key);
                let log = state.locals[*from].log(key)?;
                let mut handled = log.entries.iter().enumerate().filter(|(_, entry)| entry.heard_by & (1 << *to) != 0);
                let (at, _) = handled.nth(had)?;
                (*to, Given::Record { from: *from, key: Arc::clone(key), at })
            }
            Step::Ask { which } => (
                self.commands[*which].of,
                Given::Command { which: *which, nth: self.commands[*which].times - state.commands[*which].left },
            ),
            Step::Repeat { which } => (self.commands[*which].of, Given::Command { which: *which, nth: 0 }),
            Step::Due { of, task } => (*of, Given::Deadline { task: Arc::clone(task.find(&state.locals[*of].tasks)?) }),
            Step::AnswerAgain { of, idempotency, task } => {
                let booked = state.locals[*of].booked(*idempotency)?;
                (*of, Given::Outcome { task: Arc::clone(task.find(&booked.told)?), booked: Arc::clone(booked) })
            }
            Step::Release { of, at } => (*of, state.locals[*of].parked.get(*at)?.given.clone()),
            // The answer is booked first.
            Step::Answer { .. } | Step::Clock { .. } | Step::Start { .. } | Step::Lost { .. } => return None,
            Step::Again { .. } | Step::AgainAll { .. } | Step::Drop { .. } => return None,
        })
    }
}
