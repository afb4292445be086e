//! Which cases of a state table the worlds reach.

use std::collections::BTreeMap;

use farandole::Participant;

use crate::report::{Report, merged};

/// A participant's state table beside what worlds reach.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Covered {
    /// Reached, and as the table says: state and input.
    pub reached: Vec<(String, String)>,
    /// In the table, and reached by no world.
    pub unreached: Vec<(String, String)>,
    /// Reached, and not in the table, or otherwise there: state and input, what came of it, what the table says.
    pub wrong: Vec<(String, String, String, String)>,
}

impl Covered {
    /// Compares `P`'s state table, as [`testing::state_table`](farandole::testing::state_table) writes it, with what was reached in these
    /// worlds. [`World::cases`](crate::World::cases) says what a case is called.
    ///
    /// An input that waits behind a parked one is no case: it is decided later.
    ///
    /// # Panics
    /// When the table can't be read.
    pub fn of<P: Participant>(table: &str, reports: &[&Report]) -> Self {
        let table = read(table);
        let mut reached = merged(reports).remove(P::NAME).unwrap_or_default();
        for cells in reached.values_mut() {
            cells.remove("waits behind what is parked");
            cells.remove("refused: 503 Service Unavailable");
        }
        reached.retain(|_, cells| !cells.is_empty());
        let mut covered = Self { reached: Vec::new(), unreached: Vec::new(), wrong: Vec::new() };
        for ((state, input), expected) in &table {
            let pair = (state.clone(), input.clone());
            match reached.remove(&pair) {
                None => covered.unreached.push(pair),
                Some(cells) => {
                    let other = cells.into_iter().filter(|cell| cell != expected);
                    let wrong: Vec<_> = other.map(|cell| (state.clone(), input.clone(), cell, expected.clone())).collect();
                    if wrong.is_empty() {
                        covered.reached.push(pair);
                    }
                    covered.wrong.extend(wrong);
                }
            }
        }
        for ((state, input), cells) in reached {
            let cells: Vec<String> = cells.into_iter().collect();
            covered.wrong.push((state, input, cells.join(" or "), "nothing: it isn't in the table".to_owned()));
        }
        covered
    }
}

impl std::fmt::Display for Covered {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        writeln!(f, "{} cases reached, {} not reached, {} wrong", self.reached.len(), self.unreached.len(), self.wrong.len())?;
        for (state, input) in &self.unreached {
            writeln!(f, "not reached: {input}, in {state}")?;
        }
        for (state, input, cell, expected) in &self.wrong {
            writeln!(f, "wrong: {input}, in {state}: {cell}; the table says {expected}")?;
        }
        Ok(())
    }
}

fn read(table: &str) -> BTreeMap<(String, String), String> {
    let rows: Vec<Vec<&str>> = table
        .lines()
        .filter_map(|line| line.strip_prefix('|')?.strip_suffix('|'))
        .map(|line| line.split('|').map(str::trim).collect())
        .collect();
    let [head, _, rows @ ..] = &rows[..] else { panic!("this is no state table: it has no rows") };
    let cells = rows.iter().flat_map(|row| {
        let input = row[0];
        head.iter().zip(row).skip(1).map(move |(state, cell)| (((*state).to_owned(), input.to_owned()), (*cell).to_owned()))
    });
    cells.collect()
}
