//! The watchdog: replaces a Kafka client that has gone quiet although there is something to read.
//!
//! Clients have been seen to stop delivering without an error. Liveness says nothing then (the thread polls, the group is
//! joined); only progress does. Looked at with each report of the client, some seconds apart.

use std::collections::HashMap;
use std::time::{Duration, Instant};

/// How long a partition with something to read may give nothing. Longer than any fetch, leader election or rebalance takes; a
/// new client costs the whole replica a rebalance.
const QUIET: Duration = Duration::from_secs(60);

/// A partition, as one report shows it.
#[derive(Debug, Clone)]
pub(super) struct Seen {
    /// Topic and partition.
    pub at: (String, i32),
    /// The offset after the last record that the client delivered.
    pub handed: i64,
    /// Whether it ought to deliver: it holds more, and nobody has paused it or waits for something.
    pub expected: bool,
}

/// What was seen before: each partition's offset, and since when it has been the same.
#[derive(Debug, Default)]
pub(super) struct Watch(HashMap<(String, i32), (i64, Instant)>);

impl Watch {
    /// A partition that has been quiet for too long.
    pub(super) fn quiet(&mut self, now: Instant, seen: Vec<Seen>) -> Option<(String, i32)> {
        self.0.retain(|at, _| seen.iter().any(|s| s.at == *at));
        let mut quiet = None;
        for Seen { at, handed, expected } in seen {
            let since = self.0.entry(at.clone()).or_insert((handed, now));
            if !expected || since.0 != handed {
                *since = (handed, now);
            } else if now.saturating_duration_since(since.1) > QUIET {
                quiet = Some(at);
            }
        }
        quiet
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn seen(partition: i32, handed: i64, expected: bool) -> Seen {
        Seen { at: ("orders".to_owned(), partition), handed, expected }
    }

    #[test]
    fn only_who_has_something_to_read_and_gives_nothing_is_quiet() {
        let (mut watch, start) = (Watch::default(), Instant::now());
        let at = |seconds| start + Duration::from_secs(seconds);
        let mut look = |seconds, zero: (i64, bool), one: (i64, bool)| {
            watch.quiet(at(seconds), vec![seen(0, zero.0, zero.1), seen(1, one.0, one.1)]).map(|(_, partition)| partition)
        };
        assert_eq!(look(0, (5, true), (7, false)), None, "nobody has been quiet for long");
        assert_eq!(look(50, (6, true), (7, false)), None);
        assert_eq!(look(100, (6, true), (7, false)), None, "progress counts, and so does having nothing to do");
        assert_eq!(look(111, (6, true), (7, true)), Some(0));
        assert_eq!(look(112, (7, true), (7, true)), None);
        assert_eq!(look(161, (8, true), (7, true)), Some(1), "something to read since 100, and nothing given");
    }

    #[test]
    fn a_partition_that_was_away_begins_anew() {
        let (mut watch, start) = (Watch::default(), Instant::now());
        assert_eq!(watch.quiet(start, vec![seen(0, 5, true)]), None);
        assert_eq!(watch.quiet(start + QUIET, Vec::new()), None);
        assert_eq!(watch.quiet(start + 2 * QUIET, vec![seen(0, 5, true)]), None);
        assert!(watch.quiet(start + 4 * QUIET, vec![seen(0, 5, true)]).is_some());
    }
}
