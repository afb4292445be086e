//! How far behind the partitions of this replica are, by what the client knows of them anyhow.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};
use std::time::{SystemTime, UNIX_EPOCH};

use rdkafka::statistics::{Partition, Statistics};

use crate::consume::metrics;
use crate::ground::time::Timestamp;
use crate::wire::record::Record;

/// Milliseconds between two reports of the client.
pub(super) const EVERY_MS: &str = "5000";

/// When the last record that a worker applied happened, in microseconds since 1970; 0 when that isn't known.
#[derive(Debug, Clone, Default)]
pub(super) struct LastEventTime(Arc<AtomicI64>);

impl LastEventTime {
    pub(super) fn set(&self, record: &Record) {
        let time = record.header("ce_time").and_then(Timestamp::parse);
        self.0.store(time.map_or(0, Timestamp::micros), Ordering::Relaxed);
    }
}

/// Whether the client ought to give more than the records before `handed`. It need not when it has said that they were the last
/// (`ended`) and knows of no later end: a marker may lie behind them, or a transaction that is open, of which it gives nothing.
pub(super) fn more(known: &Partition, handed: i64, ended: bool) -> bool {
    known.fetch_state != "active" || readable(known) > handed && !(ended && end(known).is_some())
}

/// Up to where the client may give records: to the first transaction that is open, if one is.
fn readable(known: &Partition) -> i64 {
    if known.ls_offset >= 0 { known.hi_offset.min(known.ls_offset) } else { known.hi_offset }
}

/// The end that the client has reached, if it has, and knows of no later one: offsets aren't dense, so what it gave last doesn't tell.
pub(super) fn end(known: &Partition) -> Option<i64> {
    Some(known.eof_offset).filter(|end| *end >= 0 && *end >= readable(known))
}

/// Reports the lag of each of `topics`: a name, and whether it is heard as it should be. `at` is this replica's partitions: topic,
/// partition, next offset to apply, last applied. What isn't known is no number: 0 would say that all is applied.
pub(super) fn report<'a>(
    topics: impl IntoIterator<Item = (&'a str, bool)>,
    at: Vec<(String, i32, i64, LastEventTime)>,
    statistics: &Statistics,
) {
    // Also those of which no partition is left here: else the last figures would stand.
    let zero = |heard| if heard { (0.0, 0.0, 0) } else { (f64::NAN, f64::NAN, 0) };
    let mut lags: BTreeMap<&str, (f64, f64, u32)> = topics.into_iter().map(|(topic, heard)| (topic, zero(heard))).collect();
    let now = now();
    for (topic, partition, next, applied) in &at {
        let Some(lag) = lags.get_mut(topic.as_str()) else { continue };
        lag.2 += 1;
        let known = statistics.topics.get(topic).and_then(|t| t.partitions.get(partition)).map_or(-1, |p| p.hi_offset);
        if known < 0 {
            (lag.0, lag.1) = (f64::NAN, f64::NAN);
            continue;
        }
        let behind = (known - next).max(0);
        lag.0 += behind as f64;
        let time = applied.0.load(Ordering::Relaxed);
        if behind > 0 && !lag.1.is_nan() {
            lag.1 = if time > 0 { lag.1.max((now - time) as f64 / 1e6) } else { f64::NAN };
        }
    }
    for (topic, (records, seconds, partitions)) in lags {
        metrics::PARTITIONS.set(f64::from(partitions), [topic.to_owned().into()]);
        metrics::LAG_RECORDS.set(records, [topic.to_owned().into()]);
        metrics::LAG_SECONDS.set(seconds, [topic.to_owned().into()]);
    }
}

#[expect(clippy::disallowed_methods, reason = "for a gauge and an alarm; nothing is decided or remembered by it")]
pub(super) fn now() -> i64 {
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    i64::try_from(now.as_micros()).unwrap_or(i64::MAX)
}

#[cfg(test)]
mod tests {
    use rdkafka::statistics::Topic;

    use super::*;
    use crate::wire::record::Header;

    fn gauge(name: &str, topic: &str) -> f64 {
        let line = format!("{name}{{topic=\"{topic}\"}} ");
        let text = crate::service::telemetry::render();
        let value = text.lines().find_map(|l| l.strip_prefix(&line)).unwrap_or_else(|| panic!("{line} is missing in {text}"));
        value.parse().unwrap()
    }

    #[test]
    fn an_end_is_what_the_client_has_reached_and_nothing_else() {
        let known = |eof_offset, ls_offset, hi_offset| Partition { eof_offset, ls_offset, hi_offset, ..Partition::default() };
        // A marker at 7, and the client has read past it.
        assert_eq!(end(&known(8, 8, 8)), Some(8));
        // It has not, or more has come since, or nothing is known.
        assert_eq!((end(&known(-1001, 8, 8)), end(&known(8, 9, 9)), end(&known(-1001, -1001, -1001))), (None, None, None));
        // A transaction that began at 8 is open: more is there, and none of it can be read.
        assert_eq!((end(&known(8, 8, 12)), readable(&known(8, 8, 12))), (Some(8), 8));
        assert_eq!(readable(&known(8, -1001, 12)), 12);
        let more = |eof, stable, high, handed, ended| {
            more(&Partition { fetch_state: "active".to_owned(), ..known(eof, stable, high) }, handed, ended)
        };
        assert!(!more(8, 8, 8, 7, true) && !more(-1001, 8, 12, 8, false), "a marker, and what no consumer is given yet");
        assert!(more(8, 8, 8, 7, false), "fetched, and not given");
        assert!(more(8, 9, 9, 7, true) && more(-1001, 8, 8, 7, true), "more has come, or it wasn't fetched");
    }

    #[test]
    fn records_add_up_and_the_partition_furthest_behind_tells_the_seconds() {
        crate::service::telemetry::recorder();
        let topics = [("lag.a", true), ("lag.b", true)];
        let mut statistics = Statistics::default();
        let partition = |hi_offset| Partition { hi_offset, ..Partition::default() };
        let known = [(0, partition(10)), (1, partition(25)), (2, partition(-1001))];
        statistics.topics.insert("lag.a".to_owned(), Topic { partitions: known.into(), ..Topic::default() });
        let applied = |seconds_ago: i64| {
            let time = Timestamp::from_micros(now() - seconds_ago * 1_000_000).to_string();
            let headers = vec![Header { name: "ce_time".to_owned(), value: time }];
            let record = Record { topic: "lag.a".into(), partition: 0, offset: 0, key: None, value: None, headers };
            let applied = LastEventTime::default();
            applied.set(&record);
            applied
        };
        let at = |partition, next, applied| ("lag.a".to_owned(), partition, next, applied);
        let told = |name: &str| gauge(&format!("farandole_intake_{name}"), "lag.a");
        report(topics, vec![at(0, 10, applied(1_000)), at(1, 20, applied(60))], &statistics);
        assert_eq!((told("lag_records"), told("partitions"), gauge("farandole_intake_lag_records", "lag.b")), (5.0, 2.0, 0.0));
        let seconds = told("lag_seconds");
        assert!((59.0..500.0).contains(&seconds), "{seconds}: a partition with nothing to do doesn't count");
        // There is more, and nothing of it was applied yet: behind a transaction that hangs, say.
        report(topics, vec![at(0, 10, applied(1_000)), at(1, 20, LastEventTime::default())], &statistics);
        assert!(told("lag_records") == 5.0 && told("lag_seconds").is_nan(), "0 would say that all is applied");
        // Of one of them nobody knows where it ends.
        report(topics, vec![at(0, 10, applied(1_000)), at(1, 20, applied(60)), at(2, 7, applied(500))], &statistics);
        assert!(told("lag_records").is_nan() && told("lag_seconds").is_nan(), "0 would say that all is applied");
        // The partitions have gone to another replica.
        report(topics, Vec::new(), &statistics);
        assert_eq!((told("lag_records"), told("lag_seconds"), told("partitions")), (0.0, 0.0, 0.0));
        // The topic isn't there, or this member isn't in its group.
        report([("lag.a", false)], Vec::new(), &statistics);
        assert!(told("lag_records").is_nan() && told("lag_seconds").is_nan(), "nobody knows how far behind it is");
    }
}
