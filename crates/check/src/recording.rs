//! What really ran, as its topics tell it.

use std::collections::{BTreeMap, BTreeSet};

use farandole::{Codec, Message, Participant, Record, Timestamp};
use serde::{Deserialize, Serialize};
use uuid::Uuid;

/// A run: the events of all its services, in the order of each service's numbers.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct Recording {
    /// By service.
    pub events: BTreeMap<String, Vec<Recorded>>,
    /// What the services' journals say was parked, by place: `topic/partition/offset`, or a task's cause.
    pub parked: BTreeMap<String, BTreeSet<String>>,
}

/// An event that was published.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Recorded {
    /// `ce_id`.
    pub id: Uuid,
    /// `ce_type`.
    pub kind: String,
    /// The aggregate.
    pub key: String,
    /// Where it stands: topic, partition, offset.
    pub place: String,
    /// Lineage and number.
    pub number: (i64, i64),
    /// What led to it: `topic/partition/offset`, `command/…`, `deadline/<name>/<event>`, `outcome/<name>/<event>`.
    pub cause: String,
    /// The first command's input, of what it led to.
    pub correlation: Uuid,
    /// It is this one of so many events of one input.
    pub of: (i16, i16),
    /// `ce_time`, in microseconds.
    pub at: i64,
    /// Its value, as JSON.
    pub value: serde_json::Value,
}

/// Why a record can't be part of a recording.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Unreadable(pub String);

impl std::fmt::Display for Unreadable {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(&self.0)
    }
}

impl std::error::Error for Unreadable {}

impl Recording {
    /// Adds a record of `P`'s topic, one that a consumer would apply. `codec` must know its schema.
    ///
    /// # Errors
    /// When it isn't an event of `P`'s.
    pub fn event<P: Participant>(&mut self, record: &Record, codec: &Codec) -> Result<(), Unreadable> {
        let place = format!("{}/{}/{}", record.topic, record.partition, record.offset);
        let wrong = |what: String| Unreadable(format!("{place}: {what}"));
        let (_, link) =
            record.link().map_err(|fault| wrong(fault.to_string()))?.ok_or_else(|| wrong("no farandole header".to_owned()))?;
        let header = |name: &'static str| record.header(name).ok_or_else(|| wrong(format!("no header {name}")));
        let kind = header("ce_type")?.to_owned();
        let index = P::Event::find(&kind).ok_or_else(|| wrong(format!("{kind} is no event of {}", P::NAME)))?;
        let value = record.value.as_deref().ok_or_else(|| wrong("no value".to_owned()))?;
        let event = P::Event::decode(index, codec, value).map_err(|error| wrong(error.to_string()))?;
        let json = event.encode(&Codec::json()).map_err(|error| wrong(error.to_string()))?;
        let recorded = Recorded {
            id: header("ce_id")?.parse().map_err(|_| wrong("ce_id is no UUID".to_owned()))?,
            kind,
            key: String::from_utf8_lossy(record.key.as_deref().unwrap_or_default()).into_owned(),
            number: (link.place.lineage, link.place.number),
            cause: link.cause,
            correlation: link.correlation,
            of: link.of,
            at: Timestamp::parse(header("ce_time")?).map_or(0, Timestamp::micros),
            value: serde_json::from_slice(&json).map_err(|error| wrong(error.to_string()))?,
            place: place.clone(),
        };
        let events = self.events.entry(P::NAME.to_owned()).or_default();
        let at = events.partition_point(|other| other.number < recorded.number);
        events.insert(at, recorded);
        Ok(())
    }
}
