//! Reading topics to their ends, as they were when the reading began and as consumers see them.

use std::collections::{BTreeMap, BTreeSet};

use anyhow::{Context as _, bail};
use farandole::extent::{Client, Error, Extent, View};
use farandole::record::Record;
use indicatif::{ProgressBar, ProgressStyle};
use rdkafka::config::ClientConfig;

use super::kinds::Kinds;
use super::window::{There, Window, windows};

/// Offsets whose kinds are held at once: 64 MiB of them.
pub const WINDOW: i64 = 32 << 20;
/// Records between two looks at the progress bar.
const TICK: u64 = 1_000;
/// Pairs of what led to a record and what the record is: more than any choreography has.
const MOST: usize = 10_000;
/// Bytes of a deadline's or effect's name.
const LONGEST: usize = 256;

/// Records of one kind that came of one kind of input.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Came {
    /// How many.
    pub records: u64,
    /// Partition and offset of the first.
    pub first: (i32, i64),
}

/// What the topics hold.
#[derive(Debug, Default)]
pub struct Seen {
    /// The stretches that were read.
    pub extents: Vec<Extent>,
    /// Topics that aren't there.
    pub missing: Vec<String>,
    /// The kinds of records.
    pub kinds: Kinds,
    /// What came of what: kind of the cause, kind of the record.
    pub reactions: BTreeMap<(u16, u16), Came>,
    /// What came of inputs that are no records: kind of the record, the input in words.
    pub inputs: BTreeMap<(u16, String), Came>,
    /// Causes in topics that weren't read: kind of the record, topic.
    pub elsewhere: BTreeMap<(u16, String), Came>,
}

/// Reads `topics`.
pub(super) fn read(kafka: &ClientConfig, topics: &[&str], window: i64, progress: bool) -> anyhow::Result<Seen> {
    let client = Client::new(kafka, View::Committed)?;
    let there = client.topics()?;
    let mut seen = Seen::default();
    for topic in topics {
        if there.contains_key(*topic) {
            seen.extents.extend(client.extents(topic).with_context(|| format!("asking for topic {topic}"))?);
        } else {
            seen.missing.push((*topic).to_owned());
        }
    }
    if seen.extents.is_empty() {
        bail!(
            "none of the topics is there: {}; do the descriptions have the prefix of these brokers' topics?",
            topics.join(", ")
        );
    }
    let windows = windows(&seen.extents, window);
    let size = |extents: &[Extent]| extents.iter().map(|e| u64::try_from(e.high - e.low).unwrap_or(0)).sum::<u64>();
    let bar = bar(size(&seen.extents) * (1 + windows.len() as u64), progress);
    let extents = seen.extents.clone();
    for (n, stretches) in windows.iter().enumerate() {
        let mut window = Window::over(stretches);
        each(&client, stretches, &bar, |record| {
            window.note(&record.topic, record.partition, record.offset, seen.kinds.count(record));
        })?;
        each(&client, &extents, &bar, |record| seen.resolve(record, &window, n == 0, topics))?;
    }
    bar.finish_and_clear();
    Ok(seen)
}

impl Seen {
    /// Notes what a record came of, if that is in this window, or in a topic that isn't read.
    fn resolve(&mut self, record: &Record, window: &Window, is_first: bool, topics: &[&str]) {
        let Ok(Some((_, link))) = record.link() else { return };
        let Some(kind) = self.kinds.of(record) else { return };
        let Some((topic, partition, offset)) = place(&link.cause) else {
            if let Some(input) = input(&link.cause).filter(|_| is_first) {
                add(&mut self.inputs, (kind, input), record);
            }
            return;
        };
        if let There::Kind(cause) = window.at(topic, partition, offset) {
            add(&mut self.reactions, (cause, kind), record);
        } else if is_first && !topics.contains(&topic) {
            add(&mut self.elsewhere, (kind, topic.to_owned()), record);
        }
    }
}

/// Counts a record, unless it would be one thing too many.
fn add<T: Ord>(all: &mut BTreeMap<T, Came>, of: T, record: &Record) {
    let place = (record.partition, record.offset);
    if let Some(came) = all.get_mut(&of) {
        came.records += 1;
        came.first = came.first.min(place);
    } else if all.len() < MOST {
        all.insert(of, Came { records: 1, first: place });
    }
}

/// An input that is no record, in words: a command, a transaction of the program's own, a deadline or an effect's outcome.
fn input(cause: &str) -> Option<String> {
    let (what, rest) = cause.split_once('/')?;
    match what {
        "command" | "transaction" => Some(what.to_owned()),
        "deadline" | "outcome" => {
            let name = rest.split('/').next()?;
            (name.len() <= LONGEST).then(|| format!("{what} {name}"))
        }
        _ => None,
    }
}

/// The record that a cause names, if it is one: `topic/partition/offset`. Other causes have no numbers at their ends.
fn place(cause: &str) -> Option<(&str, i32, i64)> {
    let (rest, offset) = cause.rsplit_once('/')?;
    let (topic, partition) = rest.rsplit_once('/')?;
    let number = |text: &str| text.bytes().all(|b| b.is_ascii_digit());
    if topic.is_empty() || topic.contains('/') || !number(partition) || !number(offset) {
        return None;
    }
    Some((topic, partition.parse().ok()?, offset.parse().ok()?))
}

/// Lends every record of `stretches`, topic by topic.
fn each(client: &Client, stretches: &[Extent], bar: &ProgressBar, mut take: impl FnMut(&Record)) -> anyhow::Result<()> {
    let topics: BTreeSet<&str> = stretches.iter().map(|extent| extent.topic.as_str()).collect();
    let mut ticks = 0;
    for topic in topics {
        let stretches: Vec<Extent> = stretches.iter().filter(|extent| extent.topic == topic).cloned().collect();
        client.lend(&stretches, |record| {
            take(record);
            ticks += 1;
            if ticks >= TICK {
                bar.inc(std::mem::take(&mut ticks));
            }
            Ok::<_, Error>(true)
        })?;
    }
    Ok(())
}

fn bar(total: u64, progress: bool) -> ProgressBar {
    let bar = if progress { ProgressBar::new(total) } else { ProgressBar::hidden() };
    let style = ProgressStyle::with_template("{wide_bar} {percent:>3} %  {per_sec}  {eta} left");
    bar.set_style(style.unwrap_or_else(|_| ProgressStyle::default_bar()));
    bar
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn causes_that_are_records_are_told_from_others() {
        assert_eq!(place("a.orders/3/42"), Some(("a.orders", 3, 42)));
        for cause in [
            "",
            "command/019aa0f1-0000-7000-8000-000000000000",
            "deadline/confirm/019aa0f1-0000-7000-8000-000000000000",
            "deadline/confirm",
            "outcome/pay/order-1/019aa0f1-0000-7000-8000-000000000000",
            "transaction/7",
            "/3/42",
            "a/b/3/42",
            "orders/-3/42",
            "orders/3/+42",
            "orders/3/99999999999999999999",
        ] {
            assert_eq!(place(cause), None, "{cause}");
        }
    }

    #[test]
    fn inputs_that_are_no_records_are_told_by_kind_and_name() {
        let cases = [
            ("command/019aa0f1-0000-7000-8000-000000000000", Some("command")),
            ("deadline/confirm/019aa0f1-0000-7000-8000-000000000000", Some("deadline confirm")),
            ("outcome/pay/019aa0f1-0000-7000-8000-000000000000", Some("outcome pay")),
            ("outcome/pay", Some("outcome pay")),
            ("transaction/7", Some("transaction")),
            ("anything/7", None),
            ("", None),
        ];
        for (cause, expected) in cases {
            assert_eq!(input(cause).as_deref(), expected, "{cause}");
        }
    }

    /// Guard: whatever records name, what is kept of it is bounded.
    #[test]
    fn as_many_pairs_are_kept_as_may_be() {
        let mut all = BTreeMap::new();
        for n in 0..MOST + 5 {
            add(&mut all, n, &Record { offset: 9, ..Record::default() });
            add(&mut all, 0, &Record { offset: 3, ..Record::default() });
        }
        assert_eq!((all.len(), all[&0].records, all[&0].first), (MOST, MOST as u64 + 6, (0, 3)));
    }
}
