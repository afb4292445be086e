//! Events ignored because their type is unknown: counted, and logged once per type.

use std::collections::BTreeSet;
use std::sync::{Mutex, PoisonError};

use crate::consume::metrics;
use crate::wire::record::Record;

/// Types that are counted apart, of all topics. Whoever may write to a topic can invent types, and each is a time series.
const TYPES: usize = 100;
/// Bytes of a type's name that is counted apart.
const NAME: usize = 256;
/// What the others count as.
const OTHER: &str = "other";

static SEEN: Mutex<BTreeSet<(String, String)>> = Mutex::new(BTreeSet::new());

/// Counts a record that is passed over.
pub(super) fn count(record: &Record) {
    let kind = record.kind().unwrap_or_default();
    let label = {
        let mut seen = SEEN.lock().unwrap_or_else(PoisonError::into_inner);
        label(&mut seen, &record.topic, kind)
    };
    metrics::IGNORED.add(1, [record.topic.clone().into(), label.into()]);
}

fn label(seen: &mut BTreeSet<(String, String)>, topic: &str, kind: &str) -> String {
    let name = (topic.to_owned(), kind.to_owned());
    if seen.contains(&name) {
        return name.1;
    }
    if kind.len() > NAME || seen.len() >= TYPES {
        return OTHER.to_owned();
    }
    tracing::info!(topic, r#type = kind, "ignoring events of a type that this service doesn't know, as `intake.unknown` says");
    seen.insert(name.clone());
    name.1
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn invented_types_are_no_end_of_time_series() {
        let mut seen = BTreeSet::new();
        let labels: BTreeSet<String> = (0..1_000).map(|n| label(&mut seen, "orders", &format!("type-{n}"))).collect();
        assert_eq!((labels.len(), seen.len()), (TYPES + 1, TYPES));
        assert!(labels.contains(OTHER));
        assert_eq!(label(&mut seen, "orders", "type-1"), "type-1", "one that was seen keeps its name");
        assert_eq!(label(&mut BTreeSet::new(), "orders", &"x".repeat(NAME + 1)), OTHER);
    }
}
