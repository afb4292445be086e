//! One partition's walk. Pure.

use std::collections::{BTreeMap, HashMap};

use farandole::chain::{Head, Link, Place, Verdict, judge};
use serde::Serialize;

/// Places shown of what is wrong; all of it is counted.
pub(super) const EXAMPLES: usize = 20;

/// What a record's headers say of its place.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Seen {
    /// No `farandole` header.
    Foreign,
    /// One that can't be read, and why.
    Damaged(String),
    /// A link of a source's chain.
    Link {
        /// `ce_source`.
        source: String,
        /// This record.
        place: Place,
        /// The one before it.
        previous: Option<Place>,
    },
}

impl Seen {
    /// From what [`farandole::record::Record::link`] says.
    pub fn of(link: Result<Option<(&str, Link)>, String>) -> Self {
        match link {
            Ok(None) => Self::Foreign,
            Ok(Some((source, link))) => Self::Link { source: source.to_owned(), place: link.place, previous: link.previous },
            Err(why) => Self::Damaged(why),
        }
    }
}

/// Counts of one source and lineage.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize)]
pub struct Tally {
    /// Records that follow the one before them.
    pub links: u64,
    /// Records that were there before: a relay that crashed sent them again.
    pub duplicates: u64,
    /// Records whose predecessor isn't there.
    pub gaps: u64,
    /// Records that begin a second history.
    pub forks: u64,
    /// Records of an older lineage, after a newer one began.
    pub ghosts: u64,
}

impl Tally {
    /// Adds another partition's.
    pub fn add(&mut self, other: Self) {
        self.links += other.links;
        self.duplicates += other.duplicates;
        self.gaps += other.gaps;
        self.forks += other.forks;
        self.ghosts += other.ghosts;
    }
}

/// One partition as far as it was walked.
#[derive(Debug, Default)]
pub struct Walk {
    name: String,
    /// The topic's beginning is gone (retention): the first link of a source may name a predecessor.
    cut: bool,
    heads: HashMap<String, Head>,
    /// By source and lineage.
    pub tallies: BTreeMap<(String, i64), Tally>,
    /// Records walked.
    pub records: u64,
    /// Without a header.
    pub foreign: u64,
    /// With one that can't be read.
    pub damaged: u64,
    /// Where the first violations are.
    pub examples: Vec<String>,
}

impl Walk {
    /// A walk over partition `name` (`topic/partition`), whose beginning may have been `cut` off.
    pub fn new(name: String, cut: bool) -> Self {
        Self { name, cut, ..Self::default() }
    }

    /// The next record.
    pub fn record(&mut self, offset: i64, seen: Seen) {
        self.records += 1;
        let (source, place, previous) = match seen {
            Seen::Foreign => return self.foreign += 1,
            Seen::Damaged(why) => {
                self.damaged += 1;
                return self.example(offset, &why);
            }
            Seen::Link { source, place, previous } => (source, place, previous),
        };
        let head = self.heads.get(&source).copied();
        let verdict = match judge(head, place, previous) {
            Verdict::NoStart if self.cut => Verdict::Apply,
            verdict => verdict,
        };
        let tally = self.tallies.entry((source.clone(), place.lineage)).or_default();
        match verdict {
            Verdict::Apply => tally.links += 1,
            Verdict::Drop if head.is_some_and(|h| place.lineage < h.place.lineage) => tally.ghosts += 1,
            Verdict::Drop => tally.duplicates += 1,
            Verdict::Ahead | Verdict::NoStart => tally.gaps += 1,
            Verdict::Fork => tally.forks += 1,
        }
        if verdict == Verdict::Drop {
            return;
        }
        if verdict != Verdict::Apply {
            let show = |place: Option<Place>| place.map_or_else(|| "nothing".to_owned(), |p| p.to_string());
            let what = if verdict == Verdict::Fork { "a fork" } else { "a gap" };
            let (after, last) = (show(previous), show(head.map(|h| h.place)));
            self.example(
                offset,
                &format!("{what}: {source} {place} names {after} as its predecessor, but the previous record here is {last}"),
            );
        }
        // One violation is counted once: the walk goes on from what it found.
        self.heads.insert(source, Head { place, previous });
    }

    fn example(&mut self, offset: i64, what: &str) {
        if self.examples.len() < EXAMPLES {
            self.examples.push(format!("{}@{offset}: {what}", self.name));
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn link(number: i64, previous: Option<i64>) -> Seen {
        let at = |number| Place { lineage: 1, number };
        Seen::Link { source: "/farandole/x".to_owned(), place: at(number), previous: previous.map(at) }
    }

    fn walk(records: impl IntoIterator<Item = Seen>) -> Walk {
        let mut walk = Walk::new("x/0".to_owned(), false);
        records.into_iter().enumerate().for_each(|(offset, seen)| walk.record(offset as i64, seen));
        walk
    }

    fn tally(walk: &Walk) -> Tally {
        let mut all = Tally::default();
        walk.tallies.values().for_each(|tally| all.add(*tally));
        all
    }

    /// A true history of numbers that grow by 1 to 3.
    fn history(steps: &[i64]) -> Vec<Seen> {
        let mut last = None;
        let next = |step: &i64| {
            let number = last.unwrap_or(0) + step;
            link(number, last.replace(number))
        };
        steps.iter().map(next).collect()
    }

    proptest! {
        /// Batches that are sent again, once or more, are duplicates and nothing else.
        #[test]
        fn repetitions_are_harmless(steps in prop::collection::vec(1i64..4, 1..60), again in prop::collection::vec((0usize..60, 1usize..8), 0..6)) {
            let mut records = history(&steps);
            let mut repeated = 0;
            for (end, count) in again {
                let end = end.min(records.len() - 1) + 1;
                let from = end.saturating_sub(count);
                let batch: Vec<Seen> = records[from..end].to_vec();
                repeated += batch.len() as u64;
                records.splice(end..end, batch);
            }
            let t = tally(&walk(records));
            prop_assert_eq!(t, Tally { links: steps.len() as u64, duplicates: repeated, ..Tally::default() });
        }

        /// A record that is gone is one gap, wherever it was, unless it was the last.
        #[test]
        fn a_lost_record_is_one_gap(steps in prop::collection::vec(1i64..4, 2..60), lost in 0usize..59) {
            let mut records = history(&steps);
            let lost = lost % (records.len() - 1);
            records.remove(lost);
            let t = tally(&walk(records));
            prop_assert_eq!((t.gaps, t.forks, t.duplicates), (1, 0, 0));
        }
    }

    #[test]
    fn a_forged_successor_is_a_fork() {
        let t = tally(&walk([link(1, None), link(1_000, Some(1)), link(2, Some(1)), link(3, Some(2))]));
        assert_eq!((t.links, t.forks, t.gaps), (3, 1, 0));
    }

    #[test]
    fn foreign_and_damaged_records_are_told_apart() {
        let walk = walk([Seen::Foreign, Seen::Damaged("no".to_owned()), link(1, None)]);
        assert_eq!((walk.foreign, walk.damaged, walk.records), (1, 1, 3));
        assert_eq!(walk.examples, ["x/0@1: no"]);
    }

    #[test]
    fn a_topic_that_was_cut_may_begin_anywhere() {
        let mut cut = Walk::new("x/0".to_owned(), true);
        cut.record(7, link(5, Some(4)));
        cut.record(8, link(6, Some(5)));
        assert_eq!(tally(&cut), Tally { links: 2, ..Tally::default() });
        assert_eq!(tally(&walk([link(5, Some(4))])).gaps, 1);
    }
}
