//! The position of one partition, as a step log: two workers after a rebalance, each with a batch in flight, and a database that is set back.
//!
//! A worker reads records, applies them and takes the next step, in one transaction at READ COMMITTED. The statement that takes a step is two
//! steps here: its snapshot, by which it compares, and its insert, which meets what others have written since. Records are their offsets.

mod steps;
mod world;

use stateright::{Model, Property};

use crate::explore;
use crate::explore::{Found, Protocol, Seen};
use world::{BOTH, CONFLICT, Db, FENCED, Phase, RECORDS, SET_BACK, TRIMMED, UNKNOWN_DONE, UNKNOWN_LOST, Worker};

pub use steps::{Act, Positions};
pub use world::{Guards, World};

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

/// Explores it.
pub fn explore(guards: Guards) -> Found {
    let seen = || Seen::new(&[BOTH, FENCED, CONFLICT, UNKNOWN_DONE, UNKNOWN_LOST, TRIMMED, SET_BACK]);
    explore::explore(|| Positions { guards, seen: seen() })
}

/// No record is applied twice.
pub const ONCE: &str = "no record is applied twice";

/// What is applied is what the position is behind.
pub const WHOLE: &str = "what is applied is what the position is behind, in order";

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
            Act::Look(at) => world.workers[at] = None,
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
