//! The cases that were reached, and what came of them.

use std::collections::{BTreeMap, BTreeSet};

use farandole::engine::Verdict;
use farandole::testing;

use crate::actor::Ran;
use crate::model::short;

/// By participant, case (state and input), what came of it.
#[derive(Debug, Default)]
pub(crate) struct Reached(pub BTreeMap<&'static str, BTreeMap<(String, String), BTreeSet<String>>>);

impl Reached {
    pub fn note(&mut self, of: &'static str, case: &(String, String), ran: &Ran) {
        let cases = self.0.entry(of).or_default();
        let cell = cell(ran);
        match cases.get_mut(case) {
            Some(cells) if cells.contains(&cell) => {}
            Some(cells) => drop(cells.insert(cell)),
            None => drop(cases.insert(case.clone(), BTreeSet::from([cell]))),
        }
    }
}

/// What came of an input, in the words of a state table.
fn cell(ran: &Ran) -> String {
    let answer = match &ran.verdict {
        Verdict::Refused(problem) => return testing::refused(problem),
        Verdict::Parked(fault) if fault.transient => return testing::WAITS.to_owned(),
        Verdict::Parked(_) => return testing::PARKS.to_owned(),
        Verdict::Held { .. } => return "waits behind what is parked".to_owned(),
        // With events it is made of them.
        Verdict::Done(answer) => answer.as_ref().filter(|_| ran.events.is_empty()),
        Verdict::Lost => None,
    };
    testing::decided(ran.events.iter().map(|event| short(event.kind)), answer, ran.tasks.iter().cloned())
}
