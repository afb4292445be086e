//! Goes through the topic for what its records say beside their events: which number a time is, and what happened to an aggregate last.
//!
//! Only records that the chain rule takes count, as for the fold: what a relay sent twice, or a replaced one sent late, happened once.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::sync::Arc;

use serde::Serialize;

use crate::ground::time::Timestamp;
use crate::publish::relay::own::Own;
use crate::publish::relay::walk::{RecordClass, Walk};
use crate::rebuild::Error;
use crate::rebuild::read::broken;
use crate::wire::extent::{Client, Extent};
use crate::wire::record::Record;

/// Where to look, and for whose records.
pub(super) struct Look {
    pub client: Arc<Client>,
    pub own: Own,
    /// Records to pass over (topic/partition@offset).
    pub passed: BTreeSet<String>,
    pub service: &'static str,
    pub extents: Vec<Extent>,
}

/// An event, as its record says.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Happened {
    /// Its type: header `ce_type`.
    pub kind: String,
    /// Its number.
    pub number: i64,
    /// When it happened: header `ce_time`.
    pub time: String,
    /// topic/partition@offset.
    pub place: String,
}

impl Happened {
    fn at(record: &Record, number: i64) -> Self {
        let header = |name| record.header(name).unwrap_or_default().to_owned();
        Self { kind: header("ce_type"), number, time: header("ce_time"), place: record.at() }
    }
}

impl Look {
    /// The event of the highest number that had happened by `time`, by the events' own times. Whichever clock an event was stamped by, all
    /// that had happened by then is up to that number.
    pub async fn last_by(self, time: Timestamp) -> Result<Option<Happened>, Error> {
        let last = move |last: &mut Option<Happened>, record: &Record, number: i64| {
            let happened = record.header("ce_time").and_then(Timestamp::parse);
            if happened.is_some_and(|happened| happened <= time) && last.as_ref().is_none_or(|last| last.number < number) {
                *last = Some(Happened::at(record, number));
            }
        };
        self.through(None, last).await
    }

    /// The last event of each of these aggregates; of those that have none, nothing.
    pub async fn last_of(&self, aggregates: Vec<String>) -> Result<HashMap<String, Happened>, Error> {
        let asked: HashMap<Vec<u8>, String> = aggregates.into_iter().map(|name| (name.clone().into_bytes(), name)).collect();
        let last = move |found: &mut HashMap<String, Happened>, record: &Record, number: i64| {
            if let Some(name) = record.key.as_ref().and_then(|key| asked.get(key)) {
                found.insert(name.clone(), Happened::at(record, number));
            }
        };
        self.through(HashMap::new(), last).await
    }

    /// Of each type of event the first aggregates that have it, with their first records: by key. At most so many aggregates of a type, records
    /// of an aggregate, and bytes of all.
    pub async fn first_of_each_type(
        &self,
        (aggregates, records, bytes): (usize, usize, usize),
    ) -> Result<BTreeMap<Vec<u8>, Vec<Record>>, Error> {
        let key = |record: &Record| record.key.clone().unwrap_or_default();
        let by_type = move |kinds: &mut HashMap<String, BTreeSet<Vec<u8>>>, record: &Record, _| {
            let keys = kinds.entry(record.kind().unwrap_or_default().to_owned()).or_default();
            if keys.len() < aggregates {
                keys.insert(key(record));
            }
        };
        let wanted: BTreeSet<Vec<u8>> = self.through(HashMap::new(), by_type).await?.into_values().flatten().collect();
        let mut left = bytes;
        let first = move |found: &mut BTreeMap<Vec<u8>, Vec<Record>>, record: &Record, _| {
            let key = key(record);
            if wanted.contains(&key) && left > record.size() {
                let of = found.entry(key).or_default();
                if of.len() < records {
                    left -= record.size();
                    of.push(record.clone());
                }
            }
        };
        self.through(BTreeMap::new(), first).await
    }

    /// Shows `see` each record that is taken, with its number.
    async fn through<T: Send + 'static>(
        &self,
        mut found: T,
        mut see: impl FnMut(&mut T, &Record, i64) + Send + 'static,
    ) -> Result<T, Error> {
        let Self { client, own, passed, service, extents } = self;
        let (client, own, passed) = (Arc::clone(client), own.clone(), passed.clone());
        let (service, extents) = (*service, extents.clone());
        let reading = tokio::task::spawn_blocking(move || {
            let mut walks: BTreeMap<i32, Walk> = BTreeMap::new();
            client.lend(&extents, |record| {
                let walk =
                    walks.entry(record.partition).or_insert_with(|| Walk::new(own.clone(), None, false).passing(passed.clone()));
                if let RecordClass::Beyond(new) = walk.next(record).map_err(|wrong| broken(service, record, &wrong))? {
                    see(&mut found, record, new.link.place.number);
                }
                Ok::<_, Error>(true)
            })?;
            Ok(found)
        });
        reading.await.map_err(|_| Error::Thread)?
    }
}
