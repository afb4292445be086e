//! What a walk over a topic found.

use std::collections::BTreeMap;

use serde::Serialize;

use super::walk::{EXAMPLES, Tally, Walk};

/// What a walk over a topic found.
#[derive(Debug, Default, Serialize)]
pub struct Report {
    /// The topic.
    pub topic: String,
    /// Its partitions.
    pub partitions: usize,
    /// Records read.
    pub records: u64,
    /// By source and lineage.
    pub chains: Vec<Chain>,
    /// Records without a `farandole` header.
    pub foreign: u64,
    /// Records whose `farandole` header can't be read.
    pub damaged: u64,
    /// Gaps, forks and damaged headers.
    pub violations: u64,
    /// Where, for the first of them.
    pub examples: Vec<String>,
}

/// One source's history of one lineage.
#[derive(Debug, Serialize)]
pub struct Chain {
    /// `ce_source`.
    pub source: String,
    /// Lineage.
    pub lineage: i64,
    /// What was found.
    #[serde(flatten)]
    pub tally: Tally,
}

impl Report {
    /// The report of the partitions' walks.
    pub fn of(topic: &str, walks: Vec<Walk>) -> Self {
        let mut report = Self { topic: topic.to_owned(), partitions: walks.len(), ..Self::default() };
        let mut chains = BTreeMap::<(String, i64), Tally>::new();
        for walk in walks {
            report.records += walk.records;
            report.foreign += walk.foreign;
            report.damaged += walk.damaged;
            for (chain, tally) in walk.tallies {
                chains.entry(chain).or_default().add(tally);
            }
            report.examples.extend(walk.examples);
        }
        report.examples.truncate(EXAMPLES);
        report.violations = report.damaged + chains.values().map(|t| t.gaps + t.forks).sum::<u64>();
        report.chains = chains.into_iter().map(|((source, lineage), tally)| Chain { source, lineage, tally }).collect();
        report
    }
}
