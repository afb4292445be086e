//! Reading a topic back: every row once, each key in order and without a gap, all headers, and the chain whole.
//!
//! Strict: a run in which something was sent twice met trouble, and is no measurement either.

use std::collections::{BTreeMap, HashMap};

use anyhow::{Context as _, bail, ensure};
use farandole::extent::{Client, View};
use farandole::record::Record;
use farandole_cli::verify::{Report, Seen, Walk};
use rdkafka::config::ClientConfig;

use crate::rows;

/// What records must look like.
#[derive(Debug, Clone, Copy)]
pub struct Shape {
    /// Headers that each of them has.
    pub headers: &'static [&'static str],
    /// Whether each names the one before it.
    pub chained: bool,
}

/// A topic as far as it was read.
pub struct Check {
    topic: String,
    shape: Shape,
    /// The next version of each key.
    next: HashMap<Vec<u8>, u64>,
    walks: BTreeMap<i32, Walk>,
    records: u64,
}

impl Check {
    /// Nothing is read yet.
    pub fn new(topic: &str, shape: Shape) -> Self {
        Self { topic: topic.to_owned(), shape, next: HashMap::new(), walks: BTreeMap::new(), records: 0 }
    }

    /// The next record of a partition.
    ///
    /// # Errors
    /// When it isn't the one that was to come.
    pub fn record(&mut self, record: &Record) -> anyhow::Result<()> {
        let at = || format!("{}/{}@{}", self.topic, record.partition, record.offset);
        let key = record.key.as_deref().with_context(|| format!("{}: no key", at()))?;
        let value = record.value.as_deref().filter(|value| value.len() == rows::PAYLOAD);
        let (version, _) = value.and_then(rows::read).with_context(|| format!("{}: not the payload that was written", at()))?;
        if let Some(missing) = self.shape.headers.iter().find(|name| record.header(name).is_none()) {
            bail!("{}: header {missing} is missing", at());
        }
        let due = self.next.get(key).copied().unwrap_or(0);
        if version != due {
            bail!("{}: version {version} of {} instead of {due}", at(), String::from_utf8_lossy(key));
        }
        match self.next.get_mut(key) {
            Some(next) => *next += 1,
            None => _ = self.next.insert(key.to_vec(), 1),
        }
        let walk = self.walks.entry(record.partition).or_insert_with(|| Walk::new(String::new(), false));
        walk.record(record.offset, Seen::of(record.link()));
        self.records += 1;
        Ok(())
    }

    /// Everything that there is has been read.
    ///
    /// # Errors
    /// When it isn't `rows` rows, or their chain isn't whole.
    pub fn finish(self, rows: u64) -> anyhow::Result<()> {
        ensure!(self.records == rows, "{}: {} records of {rows} rows", self.topic, self.records);
        let report = Report::of(&self.topic, self.walks.into_values().collect());
        let links: u64 = report.chains.iter().map(|chain| chain.tally.links).sum();
        if self.shape.chained && (links != rows || report.violations > 0) {
            bail!("{}: {links} links for {rows} rows, {} violations: {:?}", self.topic, report.violations, report.examples);
        }
        Ok(())
    }
}

/// Reads `topic` to its end and checks that it holds `rows` rows.
///
/// # Errors
/// When it can't be read, or isn't right.
pub fn topic(kafka: &str, topic: &str, shape: Shape, rows: u64) -> anyhow::Result<()> {
    let client = Client::new(ClientConfig::new().set("bootstrap.servers", kafka), View::Committed)?;
    let mut check = Check::new(topic, shape);
    client.each(&client.extents(topic)?, |record| check.record(&record).map(|()| true))?;
    check.finish(rows)
}

#[cfg(test)]
mod tests {
    use farandole::record::Header;

    use super::*;

    const SHAPE: Shape = Shape { headers: &["ce_id", "farandole"], chained: true };

    /// Record `n` (from 1) of one partition, with a version of `key`.
    fn record(n: i64, key: &str, version: u64) -> Record {
        let before = if n == 1 { "-".to_owned() } else { format!("1:{}", n - 1) };
        let header = |name: &str, value: String| Header { name: name.to_owned(), value };
        Record {
            topic: "t".into(),
            partition: 0,
            offset: n - 1,
            key: Some(key.into()),
            value: Some(rows::payload(version, 0).into_bytes()),
            headers: vec![
                header("ce_id", n.to_string()),
                header("ce_source", "/farandole/bench".into()),
                header("farandole", format!("l=1;n={n};p={before};c=x/0/0;k={};i=1/1", uuid::Uuid::nil())),
            ],
        }
    }

    fn whole() -> Vec<Record> {
        vec![record(1, "a", 0), record(2, "b", 0), record(3, "a", 1), record(4, "a", 2)]
    }

    fn checked(records: &[Record], rows: u64) -> Result<(), String> {
        let mut check = Check::new("t", SHAPE);
        records.iter().try_for_each(|record| check.record(record)).map_err(|e| e.to_string())?;
        check.finish(rows).map_err(|e| e.to_string())
    }

    #[test]
    fn a_whole_topic_passes() {
        assert_eq!(checked(&whole(), 4), Ok(()));
    }

    /// Each way in which data can be missing, and what notices it.
    #[test]
    fn a_topic_that_is_not_whole_fails() {
        type Damage = fn(&mut Vec<Record>);
        let cases: [(&str, Damage, &str); 8] = [
            ("the last of a key", |r| _ = r.pop(), "3 records of 4 rows"),
            ("one in the middle", |r| _ = r.remove(2), "version 2 of a instead of 1"),
            ("a whole key", |r| _ = r.remove(1), "3 records of 4 rows"),
            ("two in the wrong order", |r| r.swap(2, 3), "version 2 of a instead of 1"),
            ("one twice", |r| r.push(record(4, "a", 2)), "version 2 of a instead of 3"),
            ("a link", |r| r[3] = record(6, "a", 2), "1 violations"),
            ("a header", |r| _ = r[1].headers.remove(0), "header ce_id is missing"),
            ("a payload", |r| r[1].value = Some(b"0".to_vec()), "not the payload"),
        ];
        for (missing, damage, said) in cases {
            let mut records = whole();
            damage(&mut records);
            let found = checked(&records, 4).expect_err(missing);
            assert!(found.contains(said), "{missing}: {found}");
        }
    }

    /// A peer's topic has no chain, and needs none.
    #[test]
    fn without_a_chain_order_and_count_decide() {
        let mut records = whole();
        records.iter_mut().for_each(|r| r.headers.retain(|h| h.name == "ce_id"));
        let shape = Shape { headers: &["ce_id"], chained: false };
        let mut check = Check::new("t", shape);
        records.iter().for_each(|record| check.record(record).unwrap());
        check.finish(4).unwrap();
    }
}
