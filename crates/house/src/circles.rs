//! Circles: sets of modules each of which leads to each other one.

use std::collections::{BTreeMap, BTreeSet};

use crate::arrow::Arrow;

pub(crate) fn of(arrows: &[Arrow]) -> Vec<BTreeSet<String>> {
    let mut next = BTreeMap::<&str, BTreeSet<&str>>::new();
    for arrow in arrows {
        next.entry(&arrow.from).or_default().insert(&arrow.to);
    }
    let reach = |from: &str| {
        let (mut seen, mut waiting) = (BTreeSet::new(), vec![from]);
        while let Some(at) = waiting.pop() {
            for to in next.get(at).into_iter().flatten() {
                if seen.insert(*to) {
                    waiting.push(to);
                }
            }
        }
        seen
    };
    let reached: BTreeMap<&str, BTreeSet<&str>> = next.keys().map(|from| (*from, reach(from))).collect();
    let mut circles = BTreeSet::new();
    for (from, to) in &reached {
        if to.contains(from) {
            let circle = to.iter().filter(|other| reached.get(*other).is_some_and(|back| back.contains(from)));
            circles.insert(circle.map(|name| (*name).to_owned()).collect::<BTreeSet<String>>());
        }
    }
    circles.into_iter().collect()
}
