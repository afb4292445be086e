//! The kinds of the records of some stretches of partitions, two bytes an offset.
//!
//! A cause is a place, and what stands there may have been read long before. So kinds are kept by place, for as many offsets at once as fit
//! into a bound; longer topics are read again for each further window.

use std::collections::HashMap;

use farandole::extent::Extent;

/// No record is there, or none whose kind is told.
const NONE: u16 = u16::MAX;

/// What is known of a place.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum There {
    /// A record of this kind.
    Kind(u16),
    /// Nothing in this window.
    Nothing,
}

/// Kinds by place.
#[derive(Debug, Default)]
pub struct Window(HashMap<String, HashMap<i32, (i64, Vec<u16>)>>);

impl Window {
    /// Nothing known yet of these stretches.
    pub fn over(stretches: &[Extent]) -> Self {
        let mut window = Self::default();
        for Extent { topic, partition, low, high } in stretches {
            let length = usize::try_from(high - low).unwrap_or(0);
            window.0.entry(topic.clone()).or_default().insert(*partition, (*low, vec![NONE; length]));
        }
        window
    }

    /// Notes the kind of the record at a place of these stretches.
    pub fn note(&mut self, topic: &str, partition: i32, offset: i64, kind: Option<u16>) {
        let part = self.0.get_mut(topic).and_then(|parts| parts.get_mut(&partition));
        let place = part.and_then(|(low, kinds)| kinds.get_mut(usize::try_from(offset - *low).ok()?));
        if let Some((place, kind)) = place.zip(kind) {
            *place = kind;
        }
    }

    /// What is at a place.
    pub fn at(&self, topic: &str, partition: i32, offset: i64) -> There {
        let kind =
            self.0.get(topic).and_then(|parts| parts.get(&partition)).and_then(|(low, kinds)| {
                kinds.get(usize::try_from(offset.checked_sub(*low)?).ok()?).filter(|kind| **kind != NONE)
            });
        kind.map_or(There::Nothing, |kind| There::Kind(*kind))
    }
}

/// `extents`, cut into windows of at most `most` offsets each.
pub fn windows(extents: &[Extent], most: i64) -> Vec<Vec<Extent>> {
    let most = most.max(1);
    let (mut windows, mut room) = (vec![Vec::new()], most);
    for extent in extents {
        let mut low = extent.low;
        while low < extent.high {
            if room == 0 {
                windows.push(Vec::new());
                room = most;
            }
            let high = extent.high.min(low.saturating_add(room));
            if let Some(window) = windows.last_mut() {
                window.push(Extent { low, high, ..extent.clone() });
            }
            room -= high - low;
            low = high;
        }
    }
    windows
}

#[cfg(test)]
mod tests {
    use super::*;

    fn extent(partition: i32, low: i64, high: i64) -> Extent {
        Extent { topic: "t".to_owned(), partition, low, high }
    }

    #[test]
    fn every_offset_is_in_one_window_and_none_is_too_large() {
        let extents = [extent(0, 5, 12), extent(1, 0, 0), extent(2, 0, 3)];
        for most in 1..12 {
            let windows = windows(&extents, most);
            let sizes: Vec<i64> = windows.iter().map(|window| window.iter().map(|e| e.high - e.low).sum()).collect();
            assert!(sizes.iter().all(|size| *size <= most), "{most}: {windows:?}");
            let mut all: Vec<(i32, i64)> =
                windows.iter().flatten().flat_map(|e| (e.low..e.high).map(|n| (e.partition, n))).collect();
            let expected: Vec<(i32, i64)> = extents.iter().flat_map(|e| (e.low..e.high).map(|n| (e.partition, n))).collect();
            all.sort_unstable();
            assert_eq!(all, expected, "{most}");
        }
        assert_eq!(windows(&[], 7), [[]; 1]);
    }

    #[test]
    fn a_place_is_known_once_it_was_noted() {
        let mut window = Window::over(&[extent(0, 5, 8)]);
        window.note("t", 0, 6, Some(3));
        window.note("t", 0, 7, None);
        window.note("t", 0, 8, Some(3));
        window.note("u", 0, 6, Some(3));
        assert_eq!(window.at("t", 0, 6), There::Kind(3));
        for (topic, partition, offset) in
            [("t", 0, 5), ("t", 0, 7), ("t", 0, 8), ("t", 0, 4), ("t", 1, 6), ("u", 0, 6), ("t", 0, i64::MIN)]
        {
            assert_eq!(window.at(topic, partition, offset), There::Nothing, "{topic}/{partition}/{offset}");
        }
    }
}
