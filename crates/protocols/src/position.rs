//! The position of one partition, as a step log: two workers after a rebalance, each with a batch in flight, and a database that is set back.
//!
//! A worker reads records, applies them and takes the next step, in one transaction at READ COMMITTED. The statement that takes a step is two
//! steps here: its snapshot, by which it compares, and its insert, which meets what others have written since. Records are their offsets.

use stateright::{Model, Property};

use crate::explore::{self, Found, Protocol, Seen, guards};

/// The kit's lines that the steps stand for.
pub const STANDS_FOR: &[(&str, &str)] = &[
    ("crates/farandole/src/consume/intake/assigned.rs", "step::latest::<Position>(conn, scope)"),
    ("crates/farandole/src/consume/intake/worker.rs", "return Err(End::Fenced);"),
    ("crates/farandole/src/consume/intake/worker.rs", "latest.is_ok_and(|latest| latest.map(|(step, _)| step) != self.step)"),
    ("crates/farandole/src/consume/intake/worker.rs", "(works, batch) = (ran.works, ran.batch);"),
    (
        "crates/farandole/src/consume/intake/lane.rs",
        "if step != batch.step || position.is_some_and(|position| position != *batch.before)",
    ),
    ("crates/farandole/src/consume/intake/lane.rs", "expected: b.step, state: &b.after"),
    ("crates/farandole/src/engine/transaction.rs", "tx.commit().await.map_err(at(COMMIT))?;"),
    ("crates/outbox/src/database/step.rs", "where s.scope = a.scope collate \"C\") is not distinct from a.expected"),
    ("crates/outbox/src/database/step.rs", "on conflict do nothing returning scope"),
    ("crates/outbox/src/database/step.rs", "select step, age(xmin) > coalesce((select max(age(backend_xmin))"),
    ("crates/outbox/src/database/step.rs", "(select max(step) from farandole.steps where scope = $1) - $3"),
];

guards! {
    /// Two steps of one number can't both be there (`step.rs`, the primary key).
    primary_key,
    /// A step is taken only behind the one that is expected (`step.rs`, the comparison).
    comparison,
    /// The newest step is never trimmed (`step.rs`, `TRIM`).
    newest_stays,
    /// Nor one that a session may still be about to collide with (`step.rs`, `TRIM`).
    trim_waits,
    /// What is applied and the step are one transaction (`engine/transaction.rs`).
    one_transaction,
    /// Who is refused a step doesn't commit (`step.rs`, the invariant).
    refused_rolls_back,
    /// After a commit of unknown result the batch is tried again behind the same step (`worker.rs`, `part`).
    same_step,
    /// In a database that was set back, what a worker remembers is compared with what is there (`lane.rs`, `still`).
    still,
}

/// Records of the partition.
const RECORDS: u8 = 3;

#[derive(Debug, Clone, PartialEq, Eq, Hash)]
struct Step {
    number: u64,
    next: u8,
    /// After how many commits it was there.
    written: u8,
}

#[derive(Debug, Clone, Default, PartialEq, Eq, Hash)]
struct Db {
    steps: Vec<Step>,
    applied: Vec<u8>,
}

impl Db {
    fn newest(&self) -> Option<&Step> {
        self.steps.iter().max_by_key(|step| step.number)
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
enum Phase {
    /// Nothing is under way.
    Standing,
    /// A batch of so many records is.
    Begun(u8),
    /// The step's statement has its snapshot, taken after so many commits, and the comparison held.
    Compared(u8, u8),
    /// The step is inserted.
    Inserted(u8),
    /// A commit was answered by an error.
    Unknown(u8),
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
struct Worker {
    step: Option<u64>,
    next: u8,
    /// Which life of the database it knows this from.
    life: u8,
    phase: Phase,
}

/// The database, its backup, and the workers.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct World {
    db: Db,
    backup: Option<Db>,
    life: u8,
    commits: u8,
    workers: [Option<Worker>; 2],
    ends: u8,
    unknown: u8,
    trims: u8,
}

/// What happens.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Act {
    /// The partition is assigned: the worker reads its position. The one before may go on.
    Assign(usize),
    /// A worker that has nothing to read looks whether its step is the newest: `Worker::is_moved`, by its number alone.
    Look(usize),
    /// A further record comes to a worker that knows its position from before the database was set back: `LaneSource::still`.
    Wake(usize),
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
    guards: Guards,
    seen: Seen,
}

/// Explores it.
pub fn explore(guards: Guards) -> Found {
    let seen = || Seen::new(&[BOTH, FENCED, CONFLICT, UNKNOWN_DONE, UNKNOWN_LOST, TRIMMED, SET_BACK]);
    explore::explore(|| Positions { guards, seen: seen() })
}

const BOTH: &str = "two workers had a batch in flight at once";
const FENCED: &str = "a comparison didn't hold";
const CONFLICT: &str = "an insert found the number taken";
const UNKNOWN_DONE: &str = "a commit of unknown result had happened";
const UNKNOWN_LOST: &str = "a commit of unknown result hadn't happened";
const TRIMMED: &str = "a step was trimmed";
const SET_BACK: &str = "a worker from before met a database that was set back";

impl Positions {
    /// A refused worker starts again from what the database says.
    fn refuse(&self, world: &mut World, at: usize) {
        if let (false, Some(Worker { next, phase: Phase::Begun(n) | Phase::Compared(n, _), .. })) =
            (self.guards.refused_rolls_back, world.workers[at])
        {
            world.db.applied.extend(next..next + n);
        }
        world.workers[at] = None;
    }

    fn commit(&self, world: &mut World, worker: Worker, n: u8) {
        world.commits += 1;
        let number = worker.step.unwrap_or(0) + 1;
        let next = worker.next + n;
        if self.guards.one_transaction {
            world.db.applied.extend(worker.next..next);
        }
        world.db.steps.push(Step { number, next, written: world.commits });
        world.db.steps.sort_by_key(|step| (step.number, step.written));
    }

    fn go(&self, world: &mut World, at: usize, act: &Act) -> Option<()> {
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

impl Model for Positions {
    type State = World;
    type Action = Act;

    fn init_states(&self) -> Vec<World> {
        vec![World { db: Db::default(), backup: None, life: 0, commits: 0, workers: [None; 2], ends: 1, unknown: 1, trims: 2 }]
    }

    fn actions(&self, world: &World, acts: &mut Vec<Act>) {
        for (at, worker) in world.workers.iter().enumerate() {
            let Some(worker) = worker else {
                acts.push(Act::Assign(at));
                continue;
            };
            match worker.phase {
                Phase::Standing => {
                    acts.extend((1..=(RECORDS - worker.next).min(2)).map(|n| Act::Begin(at, n)));
                    let newest = world.db.newest().map(|step| (step.number, step.next));
                    if worker.next == RECORDS && newest.map(|(number, _)| number) != worker.step {
                        acts.push(Act::Look(at));
                    } else if worker.next == RECORDS && newest != worker.step.map(|step| (step, worker.next)) {
                        acts.push(Act::Wake(at));
                    }
                }
                Phase::Begun(_) => acts.push(Act::Compare(at)),
                Phase::Compared(..) => acts.push(Act::Insert(at)),
                Phase::Inserted(_) => {
                    acts.push(Act::Commit(at));
                    if world.unknown > 0 {
                        acts.extend([Act::Fail(at, true), Act::Fail(at, false)]);
                    }
                }
                Phase::Unknown(_) => acts.push(Act::Retry(at)),
            }
            if world.ends > 0 {
                acts.push(Act::End(at));
            }
        }
        if world.trims > 0 {
            acts.push(Act::Trim);
        }
        match &world.backup {
            None if world.life == 0 => acts.push(Act::Backup),
            Some(backup) if *backup != world.db => acts.push(Act::Restore),
            _ => {}
        }
    }

    fn next_state(&self, last: &World, act: Act) -> Option<World> {
        let mut world = last.clone();
        match act {
            Act::Assign(at) => {
                let (step, next) = world.db.newest().map(|step| (step.number, step.next)).unzip();
                let worker = Worker { step, next: next.unwrap_or(0), life: world.life, phase: Phase::Standing };
                world.workers[at] = Some(worker);
            }
            Act::Look(at) | Act::Wake(at) => world.workers[at] = None,
            Act::End(at) => {
                world.ends -= 1;
                world.workers[at] = None;
            }
            Act::Trim => {
                let keep = usize::from(self.guards.newest_stays);
                let oldest = world.db.steps.first().filter(|_| world.db.steps.len() > keep)?;
                let sees = |worker: &Worker| match worker.phase {
                    Phase::Compared(_, at) => at >= oldest.written,
                    _ => true,
                };
                if self.guards.trim_waits && !world.workers.iter().flatten().all(sees) {
                    return None;
                }
                world.trims -= 1;
                world.db.steps.remove(0);
                self.seen.note(TRIMMED);
            }
            Act::Backup => world.backup = Some(world.db.clone()),
            Act::Restore => {
                world.db = world.backup.take()?;
                world.life += 1;
                for worker in world.workers.iter_mut().flatten() {
                    // Its session is gone, and it tries again.
                    worker.phase = match worker.phase {
                        Phase::Compared(n, _) | Phase::Inserted(n) => Phase::Begun(n),
                        phase => phase,
                    };
                }
            }
            ref go @ (Act::Begin(at, _)
            | Act::Compare(at)
            | Act::Insert(at)
            | Act::Commit(at)
            | Act::Fail(at, _)
            | Act::Retry(at)) => self.go(&mut world, at, go)?,
        }
        Some(world)
    }

    fn properties(&self) -> Vec<Property<Self>> {
        explore::properties()
    }
}

/// No record is applied twice.
pub const ONCE: &str = "no record is applied twice";
/// What is applied is what the position is behind.
pub const WHOLE: &str = "what is applied is what the position is behind, in order";

impl Protocol for Positions {
    fn invariants() -> Vec<Property<Self>> {
        vec![
            Property::always(ONCE, |_, world: &World| {
                let applied = &world.db.applied;
                applied.iter().all(|record| applied.iter().filter(|other| *other == record).count() == 1)
            }),
            Property::always(WHOLE, |_, world: &World| {
                let next = world.db.newest().map_or(0, |step| step.next);
                world.db.applied.iter().copied().eq(0..next)
            }),
        ]
    }

    fn is_finished(&self, world: &World) -> bool {
        world.db.applied.len() == usize::from(RECORDS)
    }

    fn seen(&self) -> &Seen {
        &self.seen
    }
}
