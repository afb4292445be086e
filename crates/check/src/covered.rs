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
    /// When the table is damaged, when there is no report, or when none of them has reached a case of `P`: a comparison with nothing would find
    /// nothing wrong.
    #[track_caller]
    pub fn of<P: Participant>(table: &str, reports: &[&Report]) -> Self {
        let table = read(table).unwrap_or_else(|damage| panic!("this is no state table of {}: {damage}", P::NAME));
        assert!(!reports.is_empty(), "there is no report to compare the state table of {} with", P::NAME);
        let reached = merged(reports).remove(P::NAME);
        let Some(mut reached) = reached else {
            panic!("no world has reached a case of {}: say by `.cases::<…>(…)` what they are called in its table", P::NAME)
        };
        for cells in reached.values_mut() {
            cells.remove("waits behind what is parked");
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

/// By state and input.
type Cells = BTreeMap<(String, String), String>;

fn read(table: &str) -> Result<Cells, String> {
    let lines = table.lines().map(str::trim).filter(|line| line.starts_with('|'));
    let rows: Vec<Vec<&str>> = lines
        .map(|line| {
            let inner = line.strip_prefix('|').and_then(|line| line.strip_suffix('|'));
            inner.map(|line| line.split('|').map(str::trim).collect()).ok_or_else(|| format!("{line:?} doesn't end with |"))
        })
        .collect::<Result<_, _>>()?;
    let [head, rule, rows @ ..] = &rows[..] else { return Err("it has no rows".to_owned()) };
    if rule.iter().any(|cell| cell.is_empty() || cell.contains(|c| !matches!(c, '-' | ':'))) {
        return Err(format!("below its head stands {rule:?}, and no rule"));
    }
    if rows.is_empty() || head.len() < 2 {
        return Err("it has no rows, or no columns".to_owned());
    }
    let mut cells = Cells::new();
    for row in rows {
        if row.len() != head.len() {
            return Err(format!("row {:?} has {} cells, and the head has {}", row[0], row.len(), head.len()));
        }
        for (state, cell) in head.iter().zip(row).skip(1) {
            if cells.insert(((*state).to_owned(), row[0].to_owned()), (*cell).to_owned()).is_some() {
                return Err(format!("row {:?} in column {state:?} stands there twice", row[0]));
            }
        }
    }
    Ok(cells)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Guards: a table that can't be compared isn't taken for one in which nothing is wrong.
    #[test]
    fn a_damaged_table_is_none() {
        assert_eq!(read("# Title\n\n  | input | none |\n  |:--|---|\n  | Go | Did |\n").unwrap().len(), 1);
        let damages = [
            ("| input | none |\n|---|---|\n| Go | Did |\n| Other | Did\n", "doesn't end with"),
            ("| input | none |\n| Go | Did |\n| Go | nothing |\n", "and no rule"),
            ("| input | none |\n|---|---|\n| Go | nothing |\n| Go | Did |\n", "twice"),
            ("| input | none | none |\n|---|---|---|\n| Go | nothing | nothing |\n", "twice"),
            ("| input | none | held |\n|---|---|---|\n| Go | Did |\n", "has 2 cells"),
            ("| input | none |\n|---|---|\n", "no rows"),
            ("nothing", "no rows"),
        ];
        for (table, damage) in damages {
            assert!(read(table).unwrap_err().contains(damage), "{table}");
        }
    }
}
