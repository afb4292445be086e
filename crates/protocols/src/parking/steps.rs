//! What happens in it.

use std::collections::BTreeSet;

use farandole::release::in_order;

use crate::explore::Seen;
use crate::parking::table::{INPUTS, Row};
use crate::parking::world::{BEHIND, EMPTIED, Guards, Intake, KEY, PARTLY, Phase, Release, TWICE, World};

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
    pub guards: Guards,
    pub seen: Seen,
}

impl Parking {
    pub fn names(&self, input: usize) -> BTreeSet<&'static str> {
        let (aggregate, key) = (INPUTS[input].aggregate, INPUTS[input].key);
        if self.guards.second_name { BTreeSet::from([aggregate, key]) } else { BTreeSet::from([aggregate]) }
    }

    /// Whether nobody else has this aggregate's row.
    pub fn is_free(world: &World, aggregate: &str) -> bool {
        let taken = |intake: &Intake| intake.has_row && INPUTS[intake.input].aggregate == aggregate;
        let released = |r: &Release| r.has_rows && r.rows.iter().any(|row| INPUTS[row.input].aggregate == aggregate);
        !world.intakes.iter().flatten().any(taken) && !world.releases.iter().flatten().any(released)
    }

    /// Whether nobody else has one of these names.
    pub fn are_free(&self, world: &World, wanted: &BTreeSet<&str>) -> bool {
        let meets = |input: usize| self.names(input).iter().any(|name| wanted.contains(name));
        let taken = |intake: &Intake| intake.has_names && meets(intake.input);
        let released = |r: &Release| r.ran.is_some() && r.rows.iter().any(|row| meets(row.input));
        !self.guards.name_locks || !world.intakes.iter().flatten().any(taken) && !world.releases.iter().flatten().any(released)
    }

    /// Under which of the names something is parked.
    pub fn parked_under(&self, world: &World, names: &BTreeSet<&'static str>) -> BTreeSet<&'static str> {
        let under = |name: &&&str| world.parked.iter().any(|row| self.names(row.input).contains(**name));
        names.iter().filter(under).copied().collect()
    }

    /// The oldest row under each name.
    pub fn firsts<'a>(&self, names: &BTreeSet<&'static str>, rows: impl Iterator<Item = &'a Row> + Clone) -> BTreeSet<i64> {
        let first = |name: &&str| rows.clone().filter(|row| self.names(row.input).contains(*name)).map(|row| row.seq).min();
        names.iter().filter_map(first).collect()
    }

    pub fn settle(&self, world: &mut World, at: usize) -> Option<()> {
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

    pub fn commit(world: &mut World, at: usize, moves: bool) -> Option<()> {
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

    pub fn look(&self, world: &mut World, at: usize, seq: i64) -> Option<()> {
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

    pub fn run(&self, world: &mut World, at: usize) -> Option<()> {
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

    pub fn commit_all(&self, world: &mut World, at: usize) -> Option<()> {
        let (gone, heads) = world.releases[at].take()?.ran?;
        world.effects.extend(&gone);
        world.parked.retain(|row| !gone.contains(&row.input));
        for row in world.parked.iter_mut().filter(|row| heads.contains(&row.input)) {
            row.head |= self.guards.marks_heads;
        }
        Some(())
    }
}
