//! Kinds of records, with a number each.

use std::collections::{BTreeMap, HashMap};

use farandole::record::Record;

/// Kinds that are told apart: more than any choreography has, and few enough that what is kept of each pair of them is bounded.
const MOST: usize = 1_000;
/// Bytes of a header that are kept.
const LONGEST: usize = 1_024;

/// Records of one topic, source and type.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Kind {
    /// The topic.
    pub topic: String,
    /// `ce_source`; empty if there is none.
    pub source: String,
    /// `ce_type`; empty if there is none.
    pub event: String,
    /// How many were counted.
    pub records: u64,
    /// The offset of the first, by partition.
    pub first: BTreeMap<i32, i64>,
}

impl Kind {
    /// Where the first of them is.
    pub fn place(&self) -> String {
        self.first
            .first_key_value()
            .map_or_else(String::new, |(partition, offset)| format!("{}/{partition}@{offset}", self.topic))
    }
}

/// The kinds that were met.
#[derive(Debug, Default)]
pub struct Kinds {
    all: Vec<Kind>,
    /// Numbers by topic, source and type: looked up for each record, without copies.
    numbers: HashMap<String, HashMap<String, HashMap<String, u16>>>,
    /// Records of kinds beyond those that are told apart.
    pub others: u64,
}

impl Kinds {
    /// The number of a record's kind; none if too many were met before.
    pub fn of(&mut self, record: &Record) -> Option<u16> {
        let header = |name| {
            let text = record.header(name).unwrap_or_default();
            &text[..text.floor_char_boundary(LONGEST)]
        };
        let (topic, source, event) = (record.topic.as_str(), header("ce_source"), header("ce_type"));
        let known = self.numbers.get(topic).and_then(|sources| sources.get(source)?.get(event));
        if let Some(number) = known {
            return Some(*number);
        }
        let number = u16::try_from(self.all.len()).ok().filter(|number| usize::from(*number) < MOST)?;
        let [topic, source, event] = [topic, source, event].map(str::to_owned);
        self.all.push(Kind { topic: topic.clone(), source: source.clone(), event: event.clone(), ..Kind::default() });
        self.numbers.entry(topic).or_default().entry(source).or_default().insert(event, number);
        Some(number)
    }

    /// Counts a record, and gives its kind's number.
    pub fn count(&mut self, record: &Record) -> Option<u16> {
        let Some(number) = self.of(record) else {
            self.others += 1;
            return None;
        };
        let kind = &mut self.all[usize::from(number)];
        kind.records += 1;
        let first = kind.first.entry(record.partition).or_insert(record.offset);
        *first = record.offset.min(*first);
        Some(number)
    }

    /// The kind of a number that was given.
    pub fn get(&self, number: u16) -> &Kind {
        &self.all[usize::from(number)]
    }

    /// All that were met.
    pub fn all(&self) -> &[Kind] {
        &self.all
    }
}

#[cfg(test)]
mod tests {
    use farandole::record::Header;

    use super::*;

    fn record(source: &str, event: &str, offset: i64) -> Record {
        let header = |name: &str, value: &str| Header { name: name.to_owned(), value: value.to_owned() };
        Record {
            topic: "t".to_owned(),
            offset,
            headers: vec![header("ce_source", source), header("ce_type", event)],
            ..Record::default()
        }
    }

    #[test]
    fn kinds_are_counted_and_told_apart_up_to_a_bound() {
        let mut kinds = Kinds::default();
        for n in 0..MOST as i64 + 5 {
            let kind = kinds.count(&record("/s", &format!("e{n}"), n + 7));
            assert_eq!(kind.is_some(), n < MOST as i64);
            kinds.count(&record("/s", "e0", 3));
        }
        assert_eq!((kinds.all().len(), kinds.others), (MOST, 5));
        let first = kinds.get(0);
        assert_eq!((first.records, first.place().as_str()), (MOST as u64 + 6, "t/0@3"));
        let long = "é".repeat(LONGEST);
        assert_eq!(Kinds::default().of(&record(&long, &long, 0)), Some(0));
    }
}
