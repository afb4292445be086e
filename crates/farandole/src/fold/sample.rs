//! What `evolve` and `follow_up` make of the first events of the topic: by that a build whose fold is another one is noticed.
//!
//! **Guarantee.** A build that would give other rows, or other deadlines and effects, than the one that wrote the tables is told so at its
//! start, as far as the topic's first events show it. Without, the tables would hold what neither of the two has made, and nothing would say so.
//!
//! **How.** The first events of each partition never change. What the fold makes of them, from no rows at all, is kept in the step log beside
//! the tables, and compared at each start; it grows with the topic until it has [`EVENTS`]. A row is compared by the columns that both builds
//! know. An event at which the participant panics, since what it needs lies in another partition's later part, counts for itself.
//!
//! **Bounds**: events and bytes, so that a start costs one short read, and a step some hundred kilobytes.

use std::collections::BTreeMap;
use std::sync::Arc;

use rdkafka::ClientConfig;
use serde::{Deserialize, Serialize};
use sqlx::PgConnection;
use uuid::Uuid;

use crate::engine::guarded;
use crate::fold::{Error, Events, Folder, follow};
use crate::participant::Participant;
use crate::participant::table::{Stored, Tables as _};
use crate::publish::relay;
use crate::publish::relay::ends::blocking;
use crate::publish::relay::own::Own;
use crate::wire::chain::{Link, Place};
use crate::wire::extent::{Client, View};
use crate::wire::record::Record;

/// Events of a sample, and their bytes: of every kind that a service has, mostly, and read in some ten milliseconds.
const EVENTS: usize = 400;
const BYTES: usize = 256 * 1024;
/// Records that are looked at for them: others' may stand between.
const LOOKED_AT: i64 = 10_000;
/// Differences that are told.
const TOLD: usize = 20;

/// What the fold makes of a topic's first events.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Sample {
    /// The number of the last event of each partition that is in it.
    pub upto: BTreeMap<i32, i64>,
    /// Rows by table and key: columns and values.
    pub rows: BTreeMap<String, BTreeMap<String, String>>,
    /// Tasks by the event that they follow from.
    pub tasks: BTreeMap<String, Vec<String>>,
    /// Events at which the participant panicked.
    pub failed: BTreeMap<String, String>,
}

/// An event of the service's own.
type OwnRecord = (Record, Uuid, Link);

/// The first events of `topic`, in the order of partitions: as many as a sample has, and at least those up to the numbers `least`. None if the
/// topic's beginning has expired.
async fn first(
    kafka: ClientConfig,
    own: Own,
    topic: String,
    least: BTreeMap<i32, i64>,
) -> Result<Option<Vec<OwnRecord>>, relay::Error> {
    blocking("reading the topic's first events", move || {
        let client = Client::new(&kafka, View::Everything)?;
        let mut extents = client.extents(&topic)?;
        if extents.iter().any(|extent| extent.low > 0) {
            return Ok(None);
        }
        let most = EVENTS.div_ceil(extents.len().max(1));
        extents.iter_mut().for_each(|extent| extent.high = extent.high.min(LOOKED_AT));
        let mut found: BTreeMap<i32, Vec<OwnRecord>> = BTreeMap::new();
        let mut bytes = 0;
        for extent in extents {
            let of = found.entry(extent.partition).or_default();
            let least = least.get(&extent.partition).copied().unwrap_or(0);
            let mut place: Option<Place> = None;
            client.each(&[extent], |record| {
                let Some((id, link)) = own.link(&record) else { return Ok(true) };
                if place.is_some_and(|place| link.place <= place) {
                    return Ok(true);
                }
                place = Some(link.place);
                let beyond = link.place.number > least && (of.len() >= most || bytes > BYTES);
                if !beyond {
                    bytes += record.size();
                    of.push((record, id, link));
                }
                Ok::<_, relay::Error>(!beyond)
            })?;
        }
        Ok(Some(found.into_values().flatten().collect()))
    })
    .await
}

impl Sample {
    /// What the fold of `P` makes of the first events of `topic`: of those that are in `kept`, if one is, and of as many as a sample has by now.
    /// None if the topic's beginning has expired: then it can't be told.
    pub async fn take<P: Participant>(
        conn: &mut PgConnection,
        (kafka, own, topic): (&ClientConfig, &Own, &str),
        (participant, events): (&Arc<P>, &Events<P>),
        kept: Option<&Self>,
    ) -> Result<Option<(Option<Self>, Self)>, Error> {
        let least = kept.map(|kept| kept.upto.clone()).unwrap_or_default();
        let read = first(kafka.clone(), own.clone(), topic.to_owned(), least).await;
        let Some(records) = read.map_err(Error::Reading)? else { return Ok(None) };
        events.prepare(records.iter().filter_map(|(record, ..)| record.schema_id())).await?;
        let again = match kept {
            None => None,
            Some(kept) => {
                let is_in = |(record, _, link): &&OwnRecord| {
                    kept.upto.get(&record.partition).is_some_and(|last| link.place.number <= *last)
                };
                Some(Self::of(conn, (participant, events), records.iter().filter(is_in)).await?)
            }
        };
        Ok(Some((again, Self::of(conn, (participant, events), records.iter()).await?)))
    }

    async fn of<'a, P: Participant>(
        conn: &mut PgConnection,
        (participant, events): (&Arc<P>, &Events<P>),
        records: impl Iterator<Item = &'a OwnRecord>,
    ) -> Result<Self, Error> {
        let mut folder = Folder::new(Arc::clone(participant), Stored::Own { expected: EVENTS });
        let mut sample = Self::default();
        for (record, id, link) in records {
            let event = events.read(record)?;
            sample.upto.insert(record.partition, link.place.number);
            let place = format!("{}/{} of {}", record.partition, link.place.number, record.kind().unwrap_or_default());
            match folder.fold(conn, std::slice::from_ref(&event)).await {
                Ok(()) => {}
                Err(Error::Evolve(why)) => {
                    folder.tables.back();
                    sample.failed.insert(place.clone(), why);
                }
                Err(other) => return Err(other),
            }
            match guarded(|| follow(&**participant, (record, *id, link), &event)) {
                Ok(Ok(ops)) if ops.is_empty() => {}
                Ok(Ok(ops)) => drop(sample.tasks.insert(place, ops.iter().map(|op| format!("{op:?}")).collect())),
                Ok(Err(why)) => drop(sample.failed.insert(format!("{place}, what follows"), why)),
                Err(why) => drop(sample.failed.insert(format!("{place}, what follows"), why.to_string())),
            }
        }
        folder.tables.texts(&mut |table, key, columns, texts| {
            let columns = columns.iter().map(|column| (*column).to_owned());
            sample.rows.insert(format!("{table} {key}"), columns.zip(texts).collect());
        });
        Ok(sample)
    }

    /// In what `now`, made of the same events by this build, differs: a sentence each, and how many there are.
    pub fn differences(&self, now: &Self) -> (Vec<String>, usize) {
        let mut found = Vec::new();
        for key in self.rows.keys().chain(now.rows.keys().filter(|key| !self.rows.contains_key(*key))) {
            match (self.rows.get(key), now.rows.get(key)) {
                (Some(before), Some(after)) => {
                    // A column that only one of them knows is a migration's.
                    let both = before.iter().filter_map(|(column, before)| Some((column, before, after.get(column)?)));
                    let other = both.filter(|(_, before, after)| before != after);
                    found.extend(other.map(|(column, before, after)| format!("{key}: {column} was {before}, would be {after}")));
                }
                (before, _) if before.is_some() => found.push(format!("{key}: the row is there, and wouldn't be")),
                _ => found.push(format!("{key}: there is no row, and one would be")),
            }
        }
        found.extend(unlike("what follows from event", &joined(&self.tasks), &joined(&now.tasks)));
        found.extend(unlike("a panic at event", &self.failed, &now.failed));
        let count = found.len();
        found.truncate(TOLD);
        (found, count)
    }
}

fn joined(tasks: &BTreeMap<String, Vec<String>>) -> BTreeMap<String, String> {
    tasks.iter().map(|(event, tasks)| (event.clone(), tasks.join(", "))).collect()
}

fn unlike(what: &str, before: &BTreeMap<String, String>, after: &BTreeMap<String, String>) -> Vec<String> {
    let keys = before.keys().chain(after.keys().filter(|key| !before.contains_key(*key)));
    let text = |of: &BTreeMap<String, String>, key: &String| of.get(key).cloned().unwrap_or_else(|| "none".to_owned());
    let pairs = keys.map(|key| (key, text(before, key), text(after, key))).filter(|(_, was, is)| was != is);
    pairs.map(|(key, was, is)| format!("{what} {key}: was {was}, would be {is}")).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sample(rows: &[(&str, &[(&str, &str)])]) -> Sample {
        let row = |columns: &[(&str, &str)]| columns.iter().map(|(c, v)| ((*c).to_owned(), (*v).to_owned())).collect();
        Sample { rows: rows.iter().map(|(key, columns)| ((*key).to_owned(), row(columns))).collect(), ..Sample::default() }
    }

    #[test]
    fn what_is_another_is_named() {
        let before = sample(&[("tills k1", &[("total", "3"), ("old", "1")]), ("tills k2", &[("total", "4")])]);
        assert_eq!(before.differences(&before.clone()), (Vec::new(), 0));
        let mut now = sample(&[("tills k1", &[("total", "5"), ("new", "1")]), ("tills k3", &[("total", "4")])]);
        now.tasks.insert("0/7 of test.Counted".to_owned(), vec!["Insure".to_owned()]);
        now.failed.insert("0/9 of test.Insured".to_owned(), "it was counted".to_owned());
        let (told, count) = before.differences(&now);
        assert_eq!(
            told,
            [
                "tills k1: total was 3, would be 5",
                "tills k2: the row is there, and wouldn't be",
                "tills k3: there is no row, and one would be",
                "what follows from event 0/7 of test.Counted: was none, would be Insure",
                "a panic at event 0/9 of test.Insured: was none, would be it was counted",
            ]
        );
        assert_eq!(count, 5);
    }
}
