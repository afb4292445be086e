//! Whether nothing more happens by itself, and whether a rebuild would give the rows that are there.

use std::sync::Arc;

use crate::fault::Fault;
use crate::prints::Prints;
use crate::state::{Local, State, Stored};
use crate::step::Step;
use crate::world::World;

impl World {
    /// Whether nothing more happens by itself.
    pub(crate) fn is_at_end(&self, state: &State) -> bool {
        if self.is_awaited(state) {
            return false;
        }
        let mut steps = Vec::new();
        self.steps_of_now(state, &mut steps);
        steps.iter().filter(|step| Self::is_by_itself(step)).all(|step| match step {
            // A parked input that parks again is where it was.
            Step::Release { .. } => self.next(state, step, 1, false).is_none(),
            _ => false,
        })
    }

    /// Checks that folding all events again, in two orders of the keys, gives the rows that are there.
    pub(crate) fn refold(&self, state: &State) -> Result<(), Fault> {
        for (of, local) in state.locals.iter().enumerate() {
            for backwards in [false, true] {
                if backwards && local.logs.len() < 2 {
                    continue;
                }
                let mut folded = Local::new(Prints::default());
                let logs: Box<dyn Iterator<Item = _>> =
                    if backwards { Box::new(local.logs.iter().rev()) } else { Box::new(local.logs.iter()) };
                for entry in logs.flat_map(|log| &log.entries) {
                    let (rows, _) =
                        self.actors[of].evolve(&*entry.event, &entry.keys, &|table, key| folded.stored(table, key))?;
                    for (table, key, row) in rows {
                        let stored = row.map(|row| Stored { table, key: key.clone(), row, prints: Prints::default() });
                        folded.put(table, &key, stored);
                    }
                }
                self.compare(local, &folded)?;
            }
        }
        Ok(())
    }

    fn compare(&self, live: &Local, folded: &Local) -> Result<(), Fault> {
        let text = |row: Option<&Arc<Stored>>| row.map_or_else(|| "no row".to_owned(), |stored| format!("{:?}", stored.row));
        for stored in live.rows.iter().chain(&folded.rows) {
            let (live, folded) = (live.row(stored.table, &stored.key), folded.row(stored.table, &stored.key));
            if !live.is_some_and(|live| folded.is_some_and(|folded| live.row.equals(&*folded.row))) {
                let (live, folded) = (text(live), text(folded));
                return Err(Fault::Order { row: format!("{}[{}]", stored.table, stored.key), live, folded });
            }
        }
        Ok(())
    }
}
