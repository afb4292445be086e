//! Park and release: inputs of one aggregate from two partitions, a second name, a fault that heals later, and two replicas that release.
//!
//! Which rows a release may run together is the kit's [`in_order`]. Locks are PostgreSQL's: of rows and of names, held until the transaction
//! ends; each statement sees what was committed when it began.

mod table;

use std::collections::BTreeSet;

use stateright::{Model, Property};

use farandole::release::in_order;

use crate::explore::{self, Found, Protocol, Seen, guards};
use table::{FAULTY, INPUTS, PARTITIONS, Row, names, shared};

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

guards! {
    /// What comes later for a parked aggregate parks behind it (`parking.rs`).
    diverts,
    /// The key's name counts as well as the aggregate's (`parking.rs`, two names).
    second_name,
    /// What is parked is asked once the rows are locked (`engine/transaction.rs`).
    asks_under_lock,
    /// Whoever parks or releases locks the names (`parking/queue.rs`).
    name_locks,
    /// Who takes rows out leaves the oldest that is left under each name as a head (`parking/queue.rs`, `take`).
    marks_heads,
    /// A release runs rows with all that is older under their names (`release.rs`, `in_order`).
    in_order,
    /// A release looks again under the locks whether its rows are there (`release.rs`, `claim`).
    still_there,
    /// A row is written in the transaction that moves the position (`lane.rs`, `settle`).
    one_transaction,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash)]
enum Phase {
    Begun,
    /// It has the aggregate's row.
    Locked,
    /// What is parked under its names, as of a look.
    Asked(BTreeSet<&'static str>),
    /// It will take effect, or its row is written.
    Done(Option<Row>),
}

/// An intake's transaction over the next input of its partition.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
struct Intake {
    input: usize,
    phase: Phase,
    has_row: bool,
    has_names: bool,
}

/// A release of rows that were read.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
struct Release {
    rows: Vec<Row>,
    /// It has the rows of their aggregates.
    has_rows: bool,
    /// It has the names, and knows which of the rows take effect, and which of those that are left become heads.
    ran: Option<(Vec<usize>, Vec<usize>)>,
}

/// The database, and who is at it.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct World {
    /// Inputs that can't be processed.
    faulty: Vec<usize>,
    parked: Vec<Row>,
    next_seq: i64,
    /// Inputs of each partition that the position is behind.
    positions: [usize; PARTITIONS.len()],
    intakes: [Option<Intake>; PARTITIONS.len()],
    releases: [Option<Release>; 2],
    /// Inputs in the order in which they came, and in which they took effect.
    came: Vec<usize>,
    effects: Vec<usize>,
    crashes: u8,
}

/// What happens.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Act {
    /// A partition's next input is read, and its transaction begins.
    Begin(usize),
    /// It locks the aggregate's row.
    Lock(usize),
    /// It asks what is parked under its names: `parking::among`.
    Ask(usize),
    /// It parks what has to, under the names' locks: `parking::park`.
    Settle(usize),
    /// It commits.
    Commit(usize),
    /// It commits, and the process ends before the position is moved, where these are two transactions.
    Half(usize),
    /// A replica finds a head that is due and reads what it may run with it: `release`.
    Look(usize, i64),
    /// It locks the rows of the aggregates.
    LockAll(usize),
    /// It locks the names, looks which rows are there, and runs them: `Release::claim` and `settle`.
    Run(usize),
    /// It commits.
    CommitAll(usize),
    /// A transaction is rolled back: an intake's, or a release's.
    RollBack(bool, usize),
    /// What was wrong is put right.
    Mend(usize),
}

/// The model.
pub struct Parking {
    guards: Guards,
    seen: Seen,
}

/// Explores it.
pub fn explore(guards: Guards) -> Found {
    explore::explore(|| Parking { guards, seen: Seen::new(&[BEHIND, KEY, EMPTIED, TWICE, PARTLY]) })
}

const BEHIND: &str = "an input of another partition parked behind a fault";
const KEY: &str = "an input of another aggregate parked behind a key";
const EMPTIED: &str = "an input joined a queue whose last had just gone";
const TWICE: &str = "two replicas were at the same rows, and one found them gone";
const PARTLY: &str = "a release ran some of its rows and left a fault";

impl Parking {
    fn names(&self, input: usize) -> BTreeSet<&'static str> {
        let (aggregate, key) = (INPUTS[input].aggregate, INPUTS[input].key);
        if self.guards.second_name { BTreeSet::from([aggregate, key]) } else { BTreeSet::from([aggregate]) }
    }

    /// Whether nobody else has this aggregate's row.
    fn is_free(world: &World, aggregate: &str) -> bool {
        let taken = |intake: &Intake| intake.has_row && INPUTS[intake.input].aggregate == aggregate;
        let released = |r: &Release| r.has_rows && r.rows.iter().any(|row| INPUTS[row.input].aggregate == aggregate);
        !world.intakes.iter().flatten().any(taken) && !world.releases.iter().flatten().any(released)
    }

    /// Whether nobody else has one of these names.
    fn are_free(&self, world: &World, wanted: &BTreeSet<&str>) -> bool {
        let meets = |input: usize| self.names(input).iter().any(|name| wanted.contains(name));
        let taken = |intake: &Intake| intake.has_names && meets(intake.input);
        let released = |r: &Release| r.ran.is_some() && r.rows.iter().any(|row| meets(row.input));
        !self.guards.name_locks || !world.intakes.iter().flatten().any(taken) && !world.releases.iter().flatten().any(released)
    }

    /// Under which of the names something is parked.
    fn parked_under(&self, world: &World, names: &BTreeSet<&'static str>) -> BTreeSet<&'static str> {
        let under = |name: &&&str| world.parked.iter().any(|row| self.names(row.input).contains(**name));
        names.iter().filter(under).copied().collect()
    }

    /// The oldest row under each name.
    fn firsts<'a>(&self, names: &BTreeSet<&'static str>, rows: impl Iterator<Item = &'a Row> + Clone) -> BTreeSet<i64> {
        let first = |name: &&str| rows.clone().filter(|row| self.names(row.input).contains(*name)).map(|row| row.seq).min();
        names.iter().filter_map(first).collect()
    }

    fn settle(&self, world: &mut World, at: usize) -> Option<()> {
        let intake = world.intakes[at].clone()?;
        let Phase::Asked(parked) = &intake.phase else { return None };
        let behind = self.guards.diverts && !parked.is_empty();
        if !behind && !world.faulty.contains(&intake.input) {
            world.intakes[at].as_mut()?.phase = Phase::Done(None);
            return Some(());
        }
        let names = self.names(intake.input);
        if !self.are_free(world, &names) {
            return None;
        }
        let head = self.parked_under(world, &names).is_empty();
        if behind {
            let by_key = !parked.contains(INPUTS[intake.input].aggregate);
            self.seen.note(if by_key { KEY } else { BEHIND });
            if head {
                self.seen.note(EMPTIED);
            }
        }
        let row = Row { seq: world.next_seq, input: intake.input, head };
        world.next_seq += 1;
        world.intakes[at] = Some(Intake { phase: Phase::Done(Some(row)), has_names: true, ..intake });
        Some(())
    }

    fn commit(world: &mut World, at: usize, moves: bool) -> Option<()> {
        let Intake { input, phase: Phase::Done(row), .. } = world.intakes[at].take()? else { return None };
        world.came.push(input);
        match row {
            Some(row) => world.parked.push(row),
            None => world.effects.push(input),
        }
        world.parked.sort_by_key(|row| row.seq);
        world.positions[at] += usize::from(moves);
        Some(())
    }

    fn look(&self, world: &mut World, at: usize, seq: i64) -> Option<()> {
        let head = world.parked.iter().find(|row| row.seq == seq)?;
        let names: Vec<String> = self.names(head.input).into_iter().map(str::to_owned).collect();
        let under = |row: &&Row| row.names(self.guards.second_name).iter().any(|name| names.contains(name));
        let rows: Vec<(Row, Vec<String>)> =
            world.parked.iter().filter(under).map(|row| (row.clone(), row.names(self.guards.second_name))).collect();
        let rows = if self.guards.in_order { in_order(rows, &names, |(_, names)| names) } else { rows };
        let rows = rows.into_iter().map(|(row, _)| row).collect();
        world.releases[at] = Some(Release { rows, has_rows: false, ran: None });
        Some(())
    }

    fn run(&self, world: &mut World, at: usize) -> Option<()> {
        let release = world.releases[at].clone()?;
        let names: BTreeSet<&'static str> = release.rows.iter().flat_map(|row| self.names(row.input)).collect();
        if !self.are_free(world, &names) {
            return None;
        }
        let is_there = |row: &Row| world.parked.iter().any(|parked| parked.seq == row.seq);
        if !release.rows.iter().all(is_there) {
            self.seen.note(TWICE);
        }
        let (mut gone, mut held) = (Vec::new(), BTreeSet::new());
        for row in release.rows.iter().filter(|row| !self.guards.still_there || is_there(row)) {
            let names = self.names(row.input);
            if world.faulty.contains(&row.input) || names.iter().any(|name| held.contains(name)) {
                held.extend(names);
            } else {
                gone.push(row.input);
            }
        }
        if !gone.is_empty() && !held.is_empty() {
            self.seen.note(PARTLY);
        }
        let taken: BTreeSet<&'static str> = gone.iter().flat_map(|input| self.names(*input)).collect();
        let left = world.parked.iter().filter(|row| !gone.contains(&row.input));
        let firsts = self.firsts(&taken, left.clone());
        let heads = left.filter(|row| firsts.contains(&row.seq)).map(|row| row.input).collect();
        world.releases[at].as_mut()?.ran = Some((gone, heads));
        Some(())
    }

    fn commit_all(&self, world: &mut World, at: usize) -> Option<()> {
        let (gone, heads) = world.releases[at].take()?.ran?;
        world.effects.extend(&gone);
        world.parked.retain(|row| !gone.contains(&row.input));
        for row in world.parked.iter_mut().filter(|row| heads.contains(&row.input)) {
            row.head |= self.guards.marks_heads;
        }
        Some(())
    }
}

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

/// Inputs that share a name take effect in the order in which they came.
pub const IN_ORDER: &str = "inputs under one name take effect in the order in which they came";
/// No input takes effect twice.
pub const ONCE: &str = "no input takes effect twice";
/// What the position is behind is parked or has taken effect.
pub const KEPT: &str = "what the position is behind is parked or has taken effect";
/// What nothing older is parked under any of its names of is a head, whenever no transaction is open.
pub const HEADS: &str = "what is the oldest under its names is a head";

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
