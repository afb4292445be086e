//! Topics of other producers: their name, where the key is, what their headers are called.
//!
//! A record is mapped as it is read, before anything looks at it, and parks as it was mapped. Positions go by the topic's own name.
//! **Assumption:** records that map to one key are in one partition, or no order among them is wanted.

use std::collections::BTreeMap;

use crate::ground::text::storable;
use crate::wire::record::{Header, Record};

/// Where something of a record is taken from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Source {
    /// A header of this name.
    Header(String),
    /// A text or number in a JSON value, by its pointer (RFC 6901): `/order/id`.
    Value(String),
    /// Always this, unless the record says it itself.
    Fixed(String),
}

/// How the records of one topic are read.
///
/// ```
/// use farandole_outbox::mapping::{Mapping, Source};
///
/// // A topic of somebody's whose records have a random key, and their type in a header `event`.
/// let theirs = Mapping::new()
///     .named("acme.orders.v2")
///     .key(Source::Value("/order/id".to_owned()))
///     .header("ce_type", Source::Header("event".to_owned()))
///     .header("ce_source", Source::Fixed("acme".to_owned()))
///     .header("ce_id", Source::Value("/event_id".to_owned()))
///     .header("content-type", Source::Fixed("application/json".to_owned()));
/// assert_eq!(theirs.name(), Some("acme.orders.v2"));
/// ```
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Mapping {
    name: Option<String>,
    key: Option<Source>,
    headers: BTreeMap<String, Source>,
}

/// The header of the chain: what isn't a chain can't be made one.
const CHAIN: &str = "farandole";

impl Mapping {
    /// No mapping: the topic as it is.
    pub fn new() -> Self {
        Self::default()
    }

    /// Its name in Kafka, whole: no prefix comes in front.
    #[must_use]
    pub fn named(mut self, name: impl Into<String>) -> Self {
        self.name = Some(name.into());
        self
    }

    /// Where the key is, if it isn't the record's. If it isn't found, the record's own is kept.
    #[must_use]
    pub fn key(mut self, from: Source) -> Self {
        self.key = Some(from);
        self
    }

    /// Where the header `ours` is: `ce_type` names the event's type, `ce_source` and `ce_id` tell repetitions, `content-type`
    /// says how the value is written, `ce_time` when it happened. If it isn't found, the record's own is kept. `farandole` can't
    /// be mapped.
    #[must_use]
    pub fn header(mut self, ours: impl Into<String>, from: Source) -> Self {
        self.headers.insert(ours.into(), from);
        self.headers.remove(CHAIN);
        self
    }

    /// The topic's name in Kafka, if it is another.
    pub fn name(&self) -> Option<&str> {
        self.name.as_deref()
    }

    /// Whether it says no more than a name: records are read as they are.
    #[doc(hidden)]
    pub fn only_renames(&self) -> bool {
        self.key.is_none() && self.headers.is_empty()
    }

    /// `record` as this says. A header that is no text PostgreSQL takes is written as [`Record::copy`] writes one.
    pub fn apply(&self, mut record: Record) -> Record {
        let value =
            self.looks_inside().then(|| serde_json::from_slice(record.value.as_deref().unwrap_or_default()).ok()).flatten();
        // All are found before any is changed: headers may be swapped.
        let found = |from: &Source| find(&record, value.as_ref(), from);
        let key = self.key.as_ref().and_then(found);
        let text = |from: &Source| match (found(from)?, from) {
            (text, Source::Header(_)) => Some(text), // it is one already
            (text, Source::Value(_) | Source::Fixed(_)) => Some(storable(text.as_bytes())),
        };
        let headers: Vec<(&String, String)> = self.headers.iter().filter_map(|(ours, from)| Some((ours, text(from)?))).collect();
        let fixed = |ours: &str| matches!(self.headers.get(ours), Some(Source::Fixed(_)));
        for (name, value) in headers {
            match record.headers.iter_mut().find(|header| header.name == *name) {
                Some(_) if fixed(name) => {}
                Some(header) => header.value = value,
                None => record.headers.push(Header { name: name.clone(), value }),
            }
        }
        if let Some(key) = key.filter(|_| record.key.is_none() || !matches!(self.key, Some(Source::Fixed(_)))) {
            record.key = Some(key.into_bytes());
        }
        record
    }

    fn looks_inside(&self) -> bool {
        self.headers.values().chain(&self.key).any(|from| matches!(from, Source::Value(_)))
    }
}

fn find(record: &Record, value: Option<&serde_json::Value>, from: &Source) -> Option<String> {
    let found = match from {
        Source::Header(name) => record.header(name).map(str::to_owned),
        Source::Fixed(text) => Some(text.clone()),
        Source::Value(pointer) => match value?.pointer(pointer)? {
            serde_json::Value::String(text) => Some(text.clone()),
            serde_json::Value::Number(number) => Some(number.to_string()),
            _ => None,
        },
    };
    found.filter(|text| !text.is_empty())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn record(value: &str, headers: &[(&str, &str)]) -> Record {
        let headers = headers.iter().map(|(n, v)| Header { name: (*n).into(), value: (*v).into() }).collect();
        Record {
            topic: "acme.v1".into(),
            partition: 3,
            offset: 7,
            key: Some(b"theirs".to_vec()),
            value: Some(value.into()),
            headers,
        }
    }

    fn said(record: &Record) -> (Option<&str>, Option<&str>, String) {
        let key = String::from_utf8(record.key.clone().unwrap()).unwrap();
        (record.header("ce_type"), record.header("ce_id"), key)
    }

    #[test]
    fn what_is_named_is_taken_from_there() {
        let mapping = Mapping::new()
            .key(Source::Value("/order/id".into()))
            .header("ce_type", Source::Header("event".into()))
            .header("ce_id", Source::Value("/n".into()))
            .header("content-type", Source::Fixed("application/json".into()));
        let mapped = mapping.apply(record(r#"{"order": {"id": "o-1"}, "n": 17}"#, &[("event", "Placed"), ("ce_type", "other")]));
        assert_eq!(said(&mapped), (Some("Placed"), Some("17"), "o-1".into()));
        assert_eq!((mapped.header("content-type"), mapped.header("event")), (Some("application/json"), Some("Placed")));
        assert_eq!((mapped.topic.as_str(), mapped.partition, mapped.offset), ("acme.v1", 3, 7));
    }

    #[test]
    fn what_is_not_found_stays_as_it_is() {
        let mapping = Mapping::new()
            .key(Source::Value("/order/id".into()))
            .header("ce_type", Source::Header("event".into()))
            .header("ce_id", Source::Fixed("1".into()));
        for value in ["", "no json", "null", "{}", r#"{"order": {"id": ["o-1"]}}"#, r#"{"order": {"id": ""}}"#] {
            let mapped = mapping.apply(record(value, &[("ce_type", "Placed"), ("ce_id", "own"), ("event", "")]));
            assert_eq!(said(&mapped), (Some("Placed"), Some("own"), "theirs".into()), "{value}");
        }
    }

    #[test]
    fn headers_may_be_swapped_and_the_chain_is_left_alone() {
        let mapping = Mapping::new()
            .header("ce_type", Source::Header("ce_id".into()))
            .header("ce_id", Source::Header("ce_type".into()))
            .header("farandole", Source::Fixed("l=1;n=1".into()));
        let mapped = mapping.apply(record("{}", &[("ce_type", "a"), ("ce_id", "b")]));
        assert_eq!(said(&mapped), (Some("b"), Some("a"), "theirs".into()));
        assert_eq!(mapped.header("farandole"), None);
    }
}
