//! The cases that were reached, and what came of them.

use std::collections::{BTreeMap, BTreeSet};

use farandole::engine::Verdict;

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
    let mut words: Vec<String> = ran.events.iter().map(|event| short(event.kind).to_owned()).collect();
    match &ran.verdict {
        Verdict::Refused(problem) => return format!("refused: {} {}", problem.status, problem.title),
        Verdict::Parked(fault) if fault.transient => return "waits, retried".to_owned(),
        Verdict::Parked(_) => return "parks".to_owned(),
        Verdict::Held { .. } => return "waits behind what is parked".to_owned(),
        Verdict::Done(Some(answer)) if words.is_empty() => words.push(format!("answered {}", answer.status())),
        Verdict::Done(_) | Verdict::Lost => {}
    }
    if words.is_empty() {
        return "–".to_owned();
    }
    let tasks: String = ran.tasks.iter().map(|task| format!("; {task}")).collect();
    words.join(", ") + &tasks
}
