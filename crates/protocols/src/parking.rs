//! Park and release: inputs of one aggregate from two partitions, a second name, a fault that heals later, and two replicas that release.
//!
//! Which rows a release may run together is the kit's [`in_order`](farandole::release::in_order). Locks are PostgreSQL's: of rows and of
//! names, held until the transaction ends; each statement sees what was committed when it began.

mod steps;
mod table;
mod world;

use stateright::{Model, Property};

use crate::explore;
use crate::explore::{Found, Protocol, Seen};
use table::{FAULTY, INPUTS, PARTITIONS, Row, names, shared};
use world::{BEHIND, EMPTIED, Intake, KEY, PARTLY, Phase, TWICE};

pub use steps::{Act, Parking};
pub use world::{Guards, World};

/// The kit's lines that the steps stand for.
pub const STANDS_FOR: &[(&str, &str)] = &[
    ("crates/farandole/src/engine/transaction.rs", "tables.load(conn, &more)"),
    ("crates/farandole/src/engine/transaction.rs", "parking::among(conn, P::NAME, &names, seen.as_ref())"),
    ("crates/farandole/src/engine/plan.rs", "match names.find(|name| parked.contains(*name))"),
    ("crates/farandole/src/engine/plan.rs", "parked.extend(work.origin.key.clone());"),
    ("crates/farandole/src/parking.rs", "queue::lock(conn, reader, names.iter().copied())"),
    ("crates/farandole/src/parking.rs", "let head = !p.names().any(|name| taken.contains(name));"),
    ("crates/farandole/src/parking/queue.rs", "update farandole.parked set head = true, retry_at = clock_timestamp()"),
    (
        "crates/farandole/src/consume/intake/lane.rs",
        "parking::park(conn, self.reader, self.journal.as_ref(), &parked, self.limits)",
    ),
    ("crates/farandole/src/consume/release.rs", "where reader = $2 and head and retry_at <= clock_timestamp()"),
    ("crates/farandole/src/consume/release.rs", "queue::lock(conn, &self.reader, names)"),
    ("crates/farandole/src/consume/release.rs", "select seq from farandole.parked where seq = any($1)"),
];

/// Explores it.
pub fn explore(guards: Guards) -> Found {
    explore::explore(|| Parking { guards, seen: Seen::new(&[BEHIND, KEY, EMPTIED, TWICE, PARTLY]) })
}

/// Inputs that share a name take effect in the order in which they came.
pub const IN_ORDER: &str = "inputs under one name take effect in the order in which they came";

/// No input takes effect twice.
pub const ONCE: &str = "no input takes effect twice";

/// What the position is behind is parked or has taken effect.
pub const KEPT: &str = "what the position is behind is parked or has taken effect";

/// What nothing older is parked under any of its names of is a head, whenever no transaction is open.
pub const HEADS: &str = "what is the oldest under its names is a head";

impl Model for Parking {
    type State = World;
    type Action = Act;

    fn init_states(&self) -> Vec<World> {
        let world = |faulty: &[usize]| World {
            faulty: faulty.to_vec(),
            parked: Vec::new(),
            next_seq: 1,
            positions: Default::default(),
            intakes: Default::default(),
            releases: Default::default(),
            came: Vec::new(),
            effects: Vec::new(),
            crashes: 1,
        };
        FAULTY.map(world).into()
    }

    fn actions(&self, world: &World, acts: &mut Vec<Act>) {
        for (at, intake) in world.intakes.iter().enumerate() {
            let Some(intake) = intake else {
                acts.extend((world.positions[at] < PARTITIONS[at].len()).then_some(Act::Begin(at)));
                continue;
            };
            match (&intake.phase, intake.has_row, self.guards.asks_under_lock) {
                (Phase::Begun, false, true) | (Phase::Asked(_), false, false) => acts.push(Act::Lock(at)),
                (Phase::Begun, _, false) | (Phase::Locked, ..) => acts.push(Act::Ask(at)),
                (Phase::Asked(_), ..) => acts.push(Act::Settle(at)),
                (Phase::Done(_), ..) => {
                    acts.push(Act::Commit(at));
                    acts.extend((!self.guards.one_transaction && world.crashes > 0).then_some(Act::Half(at)));
                }
                _ => {}
            }
            acts.extend((world.crashes > 0).then_some(Act::RollBack(true, at)));
        }
        for (at, release) in world.releases.iter().enumerate() {
            let Some(release) = release else {
                // They are alike.
                if world.releases[..at].iter().all(Option::is_some) {
                    let all = |row: &Row| {
                        self.firsts(&self.names(row.input), world.parked.iter()).iter().all(|first| *first == row.seq)
                    };
                    acts.extend(world.parked.iter().filter(|row| row.head && all(row)).map(|row| Act::Look(at, row.seq)));
                }
                continue;
            };
            acts.push(match (release.has_rows, &release.ran) {
                (false, _) => Act::LockAll(at),
                (true, None) => Act::Run(at),
                (true, Some(_)) => Act::CommitAll(at),
            });
            acts.extend((world.crashes > 0).then_some(Act::RollBack(false, at)));
        }
        acts.extend(world.faulty.iter().map(|input| Act::Mend(*input)));
    }

    fn next_state(&self, last: &World, act: Act) -> Option<World> {
        let mut world = last.clone();
        match act {
            Act::Begin(at) => {
                let input = PARTITIONS[at][world.positions[at]];
                world.intakes[at] = Some(Intake { input, phase: Phase::Begun, has_row: false, has_names: false });
            }
            Act::Lock(at) => {
                let intake = world.intakes[at].as_ref()?;
                if !Self::is_free(&world, INPUTS[intake.input].aggregate) {
                    return None;
                }
                let intake = world.intakes[at].as_mut()?;
                intake.has_row = true;
                if intake.phase == Phase::Begun {
                    intake.phase = Phase::Locked;
                }
            }
            Act::Ask(at) => {
                let parked = self.parked_under(&world, &self.names(world.intakes[at].as_ref()?.input));
                world.intakes[at].as_mut()?.phase = Phase::Asked(parked);
            }
            Act::Settle(at) => self.settle(&mut world, at)?,
            Act::Commit(at) => Self::commit(&mut world, at, true)?,
            Act::Half(at) => {
                world.crashes -= 1;
                Self::commit(&mut world, at, false)?;
            }
            Act::Look(at, seq) => self.look(&mut world, at, seq)?,
            Act::LockAll(at) => {
                let rows = &world.releases[at].as_ref()?.rows;
                if !rows.iter().all(|row| Self::is_free(&world, INPUTS[row.input].aggregate)) {
                    return None;
                }
                world.releases[at].as_mut()?.has_rows = true;
            }
            Act::Run(at) => self.run(&mut world, at)?,
            Act::CommitAll(at) => self.commit_all(&mut world, at)?,
            Act::RollBack(is_intake, at) => {
                world.crashes -= 1;
                if is_intake {
                    world.intakes[at] = None;
                } else {
                    world.releases[at] = None;
                }
            }
            Act::Mend(input) => world.faulty.retain(|faulty| *faulty != input),
        }
        Some(world)
    }

    fn properties(&self) -> Vec<Property<Self>> {
        explore::properties()
    }
}

impl Protocol for Parking {
    fn invariants() -> Vec<Property<Self>> {
        vec![
            Property::always(IN_ORDER, |_, world: &World| {
                let done = |input: &usize| world.effects.iter().position(|effect| effect == input);
                let pairs =
                    world.came.iter().enumerate().flat_map(|(at, first)| world.came[at + 1..].iter().map(move |l| (first, l)));
                pairs.filter(|(first, later)| first != later && shared(**first, **later)).all(|(first, later)| {
                    match done(later) {
                        Some(later) => done(first).is_some_and(|first| first < later),
                        None => true,
                    }
                })
            }),
            Property::always(ONCE, |_, world: &World| {
                let times = |input: usize| world.effects.iter().filter(|effect| **effect == input).count();
                (0..INPUTS.len()).all(|input| times(input) <= 1)
            }),
            Property::always(KEPT, |_, world: &World| {
                let behind = PARTITIONS.iter().zip(world.positions).flat_map(|(inputs, position)| &inputs[..position]);
                let is_kept = |input: &usize| world.effects.contains(input) || world.parked.iter().any(|r| r.input == *input);
                behind.into_iter().all(is_kept)
            }),
            Property::always(HEADS, |_, world: &World| {
                let is_quiet = world.intakes.iter().all(Option::is_none) && world.releases.iter().all(Option::is_none);
                let first = |name: &str| world.parked.iter().find(|row| names(row.input).contains(&name));
                let marked = |row: &Row| row.head || !names(row.input).iter().all(|name| first(name) == Some(row));
                !is_quiet || world.parked.iter().all(marked)
            }),
        ]
    }

    fn is_finished(&self, world: &World) -> bool {
        world.effects.len() == INPUTS.len()
    }

    fn seen(&self) -> &Seen {
        &self.seen
    }
}
