//! What happens in it.

use crate::explore::Seen;
use crate::position::world::{BOTH, CONFLICT, FENCED, Guards, Phase, SET_BACK, Step, UNKNOWN_DONE, UNKNOWN_LOST, Worker, World};

/// What happens.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Act {
    /// The partition is assigned: the worker reads its position. The one before may go on.
    Assign(usize),
    /// A worker that has nothing to read looks whether its step is the newest: `Worker::is_moved`, by its number alone.
    Look(usize),
    /// A batch of so many records begins.
    Begin(usize, u8),
    /// The statement that takes the step looks.
    Compare(usize),
    /// And inserts.
    Insert(usize),
    /// The transaction commits.
    Commit(usize),
    /// It commits, or doesn't, and the worker is told of an error.
    Fail(usize, bool),
    /// The worker tries the batch again.
    Retry(usize),
    /// The worker ends, and its session with it.
    End(usize),
    /// The oldest step is trimmed: `step::trim`.
    Trim,
    /// A backup is taken.
    Backup,
    /// The database is set back to it; sessions end.
    Restore,
}

/// The model.
pub struct Positions {
    pub guards: Guards,
    pub seen: Seen,
}

impl Positions {
    /// A refused worker starts again from what the database says.
    pub fn refuse(&self, world: &mut World, at: usize) {
        if let (false, Some(Worker { next, phase: Phase::Begun(n) | Phase::Compared(n, _), .. })) =
            (self.guards.refused_rolls_back, world.workers[at])
        {
            world.db.applied.extend(next..next + n);
        }
        world.workers[at] = None;
    }

    pub fn commit(&self, world: &mut World, worker: Worker, n: u8) {
        world.commits += 1;
        let number = worker.step.unwrap_or(0) + 1;
        let next = worker.next + n;
        if self.guards.one_transaction {
            world.db.applied.extend(worker.next..next);
        }
        world.db.steps.push(Step { number, next, written: world.commits });
        world.db.steps.sort_by_key(|step| (step.number, step.written));
    }

    pub fn go(&self, world: &mut World, at: usize, act: &Act) -> Option<()> {
        let worker = world.workers[at]?;
        let set = |world: &mut World, phase| world.workers[at] = Some(Worker { phase, ..worker });
        match (act, worker.phase) {
            (Act::Begin(_, n), _) => set(world, Phase::Begun(*n)),
            (Act::Compare(_), Phase::Begun(n)) => {
                let newest = world.db.newest().map(|step| (step.number, step.next));
                if worker.life != world.life {
                    self.seen.note(SET_BACK);
                    if self.guards.still && newest != worker.step.map(|step| (step, worker.next)) {
                        self.refuse(world, at);
                        return Some(());
                    }
                }
                if self.guards.comparison && newest.map(|(number, _)| number) != worker.step {
                    self.seen.note(FENCED);
                    self.refuse(world, at);
                    return Some(());
                }
                if world.workers[1 - at].is_some_and(|w| matches!(w.phase, Phase::Compared(..) | Phase::Inserted(_))) {
                    self.seen.note(BOTH);
                }
                set(world, Phase::Compared(n, world.commits));
            }
            (Act::Insert(_), Phase::Compared(n, _)) => {
                let number = worker.step.unwrap_or(0) + 1;
                let other = world.workers[1 - at];
                let waits = other.is_some_and(|w| matches!(w.phase, Phase::Inserted(_)) && w.step == worker.step);
                if self.guards.primary_key && waits {
                    return None;
                }
                if self.guards.primary_key && world.db.steps.iter().any(|step| step.number == number) {
                    self.seen.note(CONFLICT);
                    self.refuse(world, at);
                    return Some(());
                }
                if !self.guards.one_transaction {
                    world.db.applied.extend(worker.next..worker.next + n);
                }
                set(world, Phase::Inserted(n));
            }
            (Act::Commit(_), Phase::Inserted(n)) => {
                self.commit(world, worker, n);
                let (step, next) = (Some(worker.step.unwrap_or(0) + 1), worker.next + n);
                world.workers[at] = Some(Worker { step, next, life: world.life, phase: Phase::Standing });
            }
            (Act::Fail(_, happened), Phase::Inserted(n)) => {
                world.unknown -= 1;
                if *happened {
                    self.commit(world, worker, n);
                }
                self.seen.note(if *happened { UNKNOWN_DONE } else { UNKNOWN_LOST });
                set(world, Phase::Unknown(n));
            }
            (Act::Retry(_), Phase::Unknown(n)) => {
                let step = if self.guards.same_step { worker.step } else { world.db.newest().map(|step| step.number) };
                world.workers[at] = Some(Worker { step, phase: Phase::Begun(n), ..worker });
            }
            _ => return None,
        }
        Some(())
    }
}
