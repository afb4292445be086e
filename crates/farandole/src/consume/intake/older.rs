//! Stale records, of a lineage that a heal has replaced: the chain rule drops them.
//!
//! A relay that is gone may have had some under way when its database was healed; they come once. Those that go on coming are written by
//! a service that goes on on an older database, beside the one that was healed (a copy of it, say), or somebody has forged a record of
//! a lineage that is not there. What is dropped is then lost to every reader, while the service that wrote it sees nothing of that.
//!
//! **How it would fail without**: orders are accepted, published, dropped by all, and end at their deadlines, while all say that they
//! are well.

use std::time::{Duration, Instant};

use crate::consume::intake::lag;
use crate::ground::text::{brief, shown};
use crate::ground::time::Timestamp;
use crate::ground::told::Told;
use crate::wire::chain::Place;
use crate::wire::record::Record;

/// Records that were under way when their lineage ended are there by then.
const AGAIN: Duration = Duration::from_secs(5);
/// After so long without one, no more come.
const OVER: Duration = Duration::from_secs(60);
/// What happened earlier isn't written now: a topic is read again, or late.
const NOW: i64 = 10 * 60 * 1_000_000;

/// A record of an older lineage than what was applied of its source.
pub struct Older {
    source: String,
    place: Place,
    head: Place,
    /// When what it tells happened, in microseconds since 1970.
    happened: Option<i64>,
}

impl Older {
    pub(super) fn new(record: &Record, source: &str, place: Place, head: Place) -> Self {
        let happened = record.header("ce_time").and_then(Timestamp::parse).map(Timestamp::micros);
        Self { source: source.to_owned(), place, head, happened }
    }

    /// Whether it was written in these minutes, by the clock of this machine: nothing is decided by it.
    fn is_new(&self) -> bool {
        self.happened.is_some_and(|happened| happened > lag::now().saturating_sub(NOW))
    }

    fn words(&self, topic: &str) -> String {
        let Self { source, place, head, .. } = self;
        format!(
            "records of {} keep arriving with lineage {}, which lineage {} has replaced. They are dropped, so every reader \
             loses them. Either a service still publishes from an older database beside a healed one: stop it, and repeat on \
             the other what it has accepted since. Or a record of lineage {} was forged: `farandole verify {topic}` shows the \
             chains",
            shown(&brief(source)),
            place.lineage,
            head.lineage,
            head.lineage
        )
    }
}

/// Whether they go on coming, of one partition.
#[derive(Default)]
pub(super) struct Coming {
    /// When the first of those that still come came, and the last.
    since: Option<(Instant, Instant)>,
    /// What was said of it.
    pub told: Told,
}

impl Coming {
    /// Notes that one has come; what to say if they go on.
    pub(super) fn note(&mut self, topic: &str, older: &Older, now: Instant) -> Option<String> {
        if !older.is_new() {
            return None;
        }
        let first = match self.since {
            Some((first, last)) if now.duration_since(last) < OVER => first,
            _ => now,
        };
        self.since = Some((first, now));
        (now.duration_since(first) >= AGAIN).then(|| older.words(topic))
    }

    /// Whether they came until now, and don't any more. Says so once.
    pub(super) fn is_over(&mut self, now: Instant) -> bool {
        let over = self.since.is_some_and(|(_, last)| now.duration_since(last) >= OVER);
        if over {
            self.since = None;
        }
        over
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn older(happened: i64) -> Older {
        let place = |lineage| Place { lineage, number: 7 };
        Older { source: "/farandole/orders".to_owned(), place: place(1), head: place(2), happened: Some(happened) }
    }

    /// Guards: what was under way, and what is read again, is no trouble. Without the first each heal could be one, without the second
    /// each position that is set back.
    #[test]
    fn those_that_go_on_coming_are_told_of() {
        let (mut coming, began, now) = (Coming::default(), Instant::now(), lag::now());
        let at = |seconds| began + Duration::from_secs(seconds);
        assert!(
            coming.note("orders", &older(now), at(0)).is_none() && coming.note("orders", &older(now), at(4)).is_none(),
            "under way"
        );
        let words = coming.note("orders", &older(now), at(5)).unwrap();
        assert!(words.contains("arriving with lineage 1, which lineage 2 has replaced"), "{words}");
        assert!(!coming.is_over(at(64)) && coming.is_over(at(65)) && !coming.is_over(at(66)));
        assert!(coming.note("orders", &older(now), at(200)).is_none(), "another time");
        assert!(
            coming.note("orders", &older(now - 2 * NOW), at(300)).is_none()
                && coming.note("orders", &older(now), at(301)).is_none(),
            "read again"
        );
        assert!(coming.note("orders", &older(now), at(370)).is_none(), "a minute without");
    }
}
