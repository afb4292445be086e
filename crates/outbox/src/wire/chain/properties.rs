//! What the chain rule promises, on random histories.
//!
//! It can't see what a twin says: a record under the very link of another. Nor that a partition's last record is gone (the
//! relay compares the ends), nor a forged lineage: what opens a new one is believed, and the old one's records are ghosts then.

use std::collections::BTreeMap;

use proptest::prelude::*;
use proptest::sample::Index;

use crate::wire::chain::{Head, Place, Verdict, judge};

type Source = u8;

#[derive(Debug, Clone, Copy, PartialEq)]
struct Record {
    source: Source,
    place: Place,
    previous: Option<Place>,
}

fn at(lineage: i64, number: i64) -> Place {
    Place { lineage, number }
}

/// A reader of one partition, as the intake is.
#[derive(Debug, Clone, Default)]
struct Reader {
    heads: BTreeMap<Source, Head>,
    applied: Vec<Record>,
}

impl Reader {
    fn read(&mut self, record: Record) -> Verdict {
        let Record { source, place, previous } = record;
        let verdict = judge(self.heads.get(&source).copied(), place, previous);
        if verdict == Verdict::Apply {
            self.heads.insert(source, Head { place, previous });
            self.applied.push(record);
        }
        verdict
    }
}

/// One partition of what several sources wrote to three. Numbers are a source's in all partitions and grow by `gap`; a lineage
/// begins at any number and names the last record of the one before.
fn partition(sources: Source) -> impl Strategy<Value = Vec<Record>> {
    let write = (0..sources, 0..3_u8, 1..4_i64, prop::bool::weighted(0.1));
    prop::collection::vec(write, 1..120).prop_map(|writes| {
        let mut at_source = BTreeMap::<Source, Place>::new();
        let mut last = BTreeMap::<Source, Place>::new();
        let mut records = Vec::new();
        for (source, partition, gap, rebuilt) in writes {
            let now = at_source.entry(source).or_insert(at(1, 0));
            *now = if rebuilt { at(now.lineage + 1, gap) } else { at(now.lineage, now.number + gap) };
            if partition == 0 {
                records.push(Record { source, place: *now, previous: last.insert(source, *now) });
            }
        }
        records
    })
}

/// The last record in `log` of `source`'s lineages before the newest there, as a writer that nobody told would go on from it.
fn ghost(log: &[Record], source: Source, gap: i64) -> Option<Record> {
    let of_source = || log.iter().filter(|r| r.source == source);
    let newest = of_source().map(|r| r.place.lineage).max()?;
    let last = of_source().map(|r| r.place).filter(|place| place.lineage < newest).max()?;
    Some(Record { source, place: at(last.lineage, last.number + gap), previous: Some(last) })
}

#[derive(Debug, Clone)]
enum Noise {
    /// A batch is sent again: the last so many records up to here.
    Again(Index, usize),
    /// One record that was there lands once more.
    Late(Index, Index),
    /// A writer of an older lineage wakes up.
    Ghost(Index, Source, i64),
}

fn noise() -> impl Strategy<Value = Noise> {
    prop_oneof![
        (any::<Index>(), 1..20_usize).prop_map(|(at, count)| Noise::Again(at, count)),
        (any::<Index>(), any::<Index>()).prop_map(|(at, which)| Noise::Late(at, which)),
        (any::<Index>(), 0..3_u8, 1..50_i64).prop_map(|(at, source, gap)| Noise::Ghost(at, source, gap)),
    ]
}

fn add(log: &mut Vec<Record>, noise: &Noise) {
    let (Noise::Again(at, _) | Noise::Late(at, _) | Noise::Ghost(at, ..)) = noise;
    let end = at.index(log.len()) + 1;
    let more = match noise {
        Noise::Again(_, count) => log[end.saturating_sub(*count)..end].to_vec(),
        Noise::Late(_, which) => vec![log[which.index(end)]],
        Noise::Ghost(_, source, gap) => ghost(&log[..end], *source, *gap).into_iter().collect(),
    };
    log.splice(end..end, more);
}

#[derive(Debug, Clone)]
enum Damage {
    Removed,
    Swapped,
    Forged,
    Replaced,
}

/// A link that isn't a true one, near the truth: what it says is `place` and `previous` moved by some numbers.
#[derive(Debug, Clone)]
struct Forgery {
    lineage: i64,
    number: i64,
    /// None: it names what the true record there names.
    previous: Option<Option<(i64, i64)>>,
}

fn forgery() -> impl Strategy<Value = Forgery> {
    let near = (-1..=0_i64, -6..7_i64);
    let previous = prop_oneof![2 => Just(None), 1 => Just(Some(None)), 2 => near.clone().prop_map(|near| Some(Some(near)))];
    let number = prop_oneof![4 => -6..7_i64, 1 => Just(1_000_000)];
    (-1..=0_i64, number, previous).prop_map(|(lineage, number, previous)| Forgery { lineage, number, previous })
}

impl Forgery {
    fn beside(&self, truth: Record) -> Record {
        let moved = |place: Place, by: (i64, i64)| at((place.lineage + by.0).max(0), (place.number + by.1).max(0));
        let previous = match self.previous {
            None => truth.previous,
            Some(by) => by.map(|by| moved(truth.previous.unwrap_or(truth.place), by)),
        };
        Record { place: moved(truth.place, (self.lineage, self.number)), previous, ..truth }
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(1_000))]

    /// Guards: lineages are compared before numbers; the same link again is no fork. Whatever is repeated, however late, each
    /// record is applied once, in order, and nothing stops.
    #[test]
    fn a_true_history_is_applied_once(
        truth in partition(3),
        noise in prop::collection::vec(noise(), 0..12),
        restarts in prop::collection::vec((any::<Index>(), any::<Index>(), any::<bool>()), 0..4),
    ) {
        prop_assume!(!truth.is_empty());
        let mut log = truth.clone();
        noise.iter().for_each(|noise| add(&mut log, noise));
        // The reader as it was before each offset.
        let mut was = vec![Reader::default()];
        let mut reader = Reader::default();
        for record in &log {
            let verdict = reader.read(*record);
            prop_assert!(matches!(verdict, Verdict::Apply | Verdict::Drop), "{:?} at {:?} of {:?}", verdict, record, log);
            was.push(reader.clone());
        }
        prop_assert_eq!(&reader.applied, &truth);
        // It starts again before where it was: with its database, or with one as old as the position.
        for (stopped, from, restored) in restarts {
            let stopped = stopped.index(was.len());
            let from = from.index(stopped + 1);
            let mut reader = was[if restored { from } else { stopped }].clone();
            for record in &log[from..] {
                let verdict = reader.read(*record);
                prop_assert!(matches!(verdict, Verdict::Apply | Verdict::Drop), "{:?} at {:?}, from {}", verdict, record, from);
            }
            prop_assert_eq!(&reader.applied, &truth);
        }
    }

    /// Guards: `NoStart`, `Ahead`, and both kinds of `Fork`. Damage is noticed at the next record of its source at the latest,
    /// or it had no effect; and no true record is dropped before.
    #[test]
    fn damage_is_noticed_at_the_next_record(
        truth in partition(1),
        which in any::<Index>(),
        damage in prop_oneof![Just(Damage::Removed), Just(Damage::Swapped), Just(Damage::Forged), Just(Damage::Replaced)],
        forgery in forgery(),
    ) {
        prop_assume!(truth.len() > 1);
        let at = which.index(truth.len() - 1);
        let forged = forgery.beside(truth[at]);
        // Twins of what is there can't be told apart from it.
        prop_assume!(!truth.contains(&forged));
        let mut log = truth.clone();
        match damage {
            Damage::Removed => drop(log.remove(at)),
            Damage::Swapped => log.swap(at, at + 1),
            Damage::Forged => log.insert(at, forged),
            Damage::Replaced => log[at] = forged,
        }
        let mut reader = Reader::default();
        let mut seen = Vec::new();
        for record in log.iter().take(at + 2) {
            let verdict = reader.read(*record);
            if !matches!(verdict, Verdict::Apply | Verdict::Drop) {
                return Ok(());
            }
            seen.push(verdict);
        }
        // Not noticed: then it was a forgery that was dropped and changed nothing.
        prop_assert!(matches!(damage, Damage::Forged) && seen[at] == Verdict::Drop, "{:?}: {:?} of {:?}", damage, seen, log);
        prop_assert_eq!(&reader.applied[..], &truth[..=at]);
    }
}
