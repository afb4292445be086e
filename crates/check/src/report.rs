//! What exploring came to.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use crate::reached::Reached;
use crate::story::Counterexample;

/// What exploring a world came to.
#[derive(Debug)]
pub struct Report {
    /// The world's name.
    pub world: String,
    /// States that differ.
    pub states: u64,
    /// Steps from the beginning to the farthest of them.
    pub depth: usize,
    /// Whether these are all there are.
    pub exhausted: bool,
    /// Which bound ended it.
    pub(crate) cut: Option<String>,
    /// How long it took.
    pub took: Duration,
    /// What doesn't hold, with the shortest way there.
    pub violation: Option<Box<Counterexample>>,
    /// What this world says nothing about: invariants that never looked at anything, and what was to be so sometimes and never was.
    pub vacuous: Vec<String>,
    /// Events that nobody consumes.
    pub unheard: Vec<String>,
    /// Topics that a participant subscribes to and nobody in this world publishes: what comes from there isn't tried.
    pub unpublished: Vec<String>,
    /// The cases that were reached.
    pub(crate) reached: Reached,
}

impl Report {
    /// Nothing is violated, vacuous or unheard.
    pub fn holds(&self) -> bool {
        self.violation.is_none() && self.vacuous.is_empty() && self.unheard.is_empty()
    }

    /// Panics with the story unless it [holds](Self::holds) and the world was explored whole: what was cut off, on a slow machine, say, might
    /// be just what doesn't hold. It prints the whole report then, which you needn't print yourself before.
    ///
    /// # Panics
    /// With all that is wrong.
    #[track_caller]
    pub fn assert_holds(&self) -> &Self {
        assert!(self.holds(), "{self}");
        assert!(
            self.exhausted,
            "{self}the world wasn't explored whole: raise the bounds, make it smaller, or ask `assert_holds_so_far`"
        );
        self
    }

    /// The same of a world that is too large to be explored whole: nothing is violated as far as it was.
    ///
    /// # Panics
    /// With all that is wrong.
    #[track_caller]
    pub fn assert_holds_so_far(&self) -> &Self {
        assert!(self.holds(), "{self}");
        self
    }
}

impl std::fmt::Display for Report {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let Self { world, states, depth, took, .. } = self;
        let rate = *states as f64 / took.as_secs_f64().max(1e-3);
        let how = match (&self.violation, &self.cut) {
            (Some(_), _) => "stopped at a violation",
            (None, None) => "exhausted",
            (None, Some(bound)) => &format!("not exhausted: {bound}"),
        };
        writeln!(f, "{world}: {states} states, {depth} steps deep, {how}; {:.1} s, {rate:.0} states/s", took.as_secs_f64())?;
        for vacuous in &self.vacuous {
            writeln!(f, "says nothing: {vacuous}")?;
        }
        for unheard in &self.unheard {
            writeln!(f, "nobody consumes {unheard}; if that is meant, declare it an end in `messages!`")?;
        }
        for unpublished in &self.unpublished {
            writeln!(f, "{unpublished}: what comes from there isn't tried")?;
        }
        if let Some(violation) = &self.violation {
            write!(f, "{violation}")?;
        }
        Ok(())
    }
}

/// Cases by participant, for who compares several reports.
pub(crate) fn merged(reports: &[&Report]) -> BTreeMap<&'static str, BTreeMap<(String, String), BTreeSet<String>>> {
    let mut all: BTreeMap<&'static str, BTreeMap<(String, String), BTreeSet<String>>> = BTreeMap::new();
    for report in reports {
        for (of, cases) in &report.reached.0 {
            for (case, cells) in cases {
                all.entry(*of).or_default().entry(case.clone()).or_default().extend(cells.iter().cloned());
            }
        }
    }
    all
}
