//! What a lost database knew of its inputs, as the journal tells it: positions, and what was parked or dropped.
//!
//! **What comes of it.** Positions are those of the last checkpoint. What was parked before them is parked again, under the same names and in
//! the same order; what was dropped behind them is noted as applied, so that it doesn't come again. What was parked or released behind the
//! positions comes again by itself: it parks again, or its events say that it is applied.
//!
//! **What doesn't**: the ids by which repetitions of foreign records are told, which no topic has.

use std::collections::{BTreeMap, BTreeSet, HashMap};

use rdkafka::ClientConfig;
use serde::Deserialize;
use sqlx::PgConnection;

use tokio::runtime::Handle;

use crate::consume::intake::{Position, scope};
use crate::database::step;
use crate::ground::text::name;
use crate::parking::input::What;
use crate::parking::journal::{CHECKPOINT, DROPPED, PARKED, RELEASED, TYPES};
use crate::parking::{self, Fault, Limits, Parked, Why};
use crate::publish::relay::own::Own;
use crate::wire::chain;
use crate::wire::codec::{self, Codec};
use crate::wire::extent::{self, Client, Extent, View};
use crate::wire::record::Record;

/// Parked records that are held at once: of the largest that there are, a quarter of a gigabyte.
const AT_ONCE: usize = 256;
/// Records of a partition that lie closer together are read in one go.
const NEAR: i64 = 256;
/// It was within its limits when it was parked.
const NO_LIMITS: Limits = Limits { aggregate: u32::MAX, total: u32::MAX, a_minute: u32::MAX };

/// A record's place: topic, partition, offset.
type Place = (String, i32, i64);

/// What a journal tells.
#[derive(Debug, Default)]
pub(crate) struct Journalled {
    /// By topic/partition, as of the last checkpoint.
    pub positions: BTreeMap<String, Position>,
    /// Likewise: an event or entry of a lower number speaks of no record beyond the position, whatever place it names.
    pub since: BTreeMap<String, i64>,
    /// When the last checkpoint was taken (`ce_time`).
    pub checkpoint: Option<String>,
    /// Records that are parked, in the order in which they were: under what, and why if they don't only wait.
    pub parked: Vec<(Place, String, Option<String>)>,
    /// Records that were dropped, and the number of the entry that says so.
    pub dropped: BTreeMap<Place, i64>,
    /// Deadlines and outcomes that were dropped, as the journal names them.
    pub dropped_tasks: BTreeSet<String>,
    /// How many records the journal has.
    pub records: u64,
    /// It isn't there, or its beginning is gone.
    pub is_cut: bool,
}

/// Why what was lost can't be restored.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// Kafka's.
    #[error("reading the journal and what was parked")]
    Reading(#[from] extent::Error),
    /// A record of the journal.
    #[error("reading {place}, a record of the journal")]
    Record {
        /// Which.
        place: String,
        /// The cause.
        #[source]
        source: codec::Error,
    },
    /// An entry that isn't one.
    #[error("reading {place}, an entry of the journal")]
    Entry {
        /// Which record.
        place: String,
        /// The cause.
        #[source]
        source: serde_json::Error,
    },
    /// A checkpoint whose position is none.
    #[error("reading {place}, a checkpoint: the position of {at}")]
    Position {
        /// Which record.
        place: String,
        /// Of which partition.
        at: String,
        /// The cause.
        #[source]
        source: serde_json::Error,
    },
    /// The database's.
    #[error("{doing}")]
    Database {
        /// What was being done.
        doing: &'static str,
        /// The cause.
        #[source]
        source: sqlx::Error,
    },
    /// A position that can't be written.
    #[error("writing positions")]
    Step(#[from] step::Error),
    /// Parking's.
    #[error("parking again what was parked")]
    Parking(#[from] parking::Error),
    /// A thread that reads.
    #[error("reading the journal: the helper thread ended early")]
    Thread,
}

impl Error {
    fn database(doing: &'static str) -> impl FnOnce(sqlx::Error) -> Self {
        move |source| Self::Database { doing, source }
    }
}

#[derive(Deserialize)]
struct Entry {
    aggregate: String,
    topic: String,
    partition: i32,
    offset: i64,
    task: Option<String>,
    #[serde(default)]
    reason: Option<String>,
}

#[derive(Deserialize)]
struct Checkpoint {
    published: i64,
    positions: BTreeMap<String, String>,
}

/// A journal, as far as it was read.
struct Reading {
    codec: Codec,
    own: Own,
    /// The last record of each partition: one that isn't beyond it is a repetition.
    last: HashMap<i32, chain::Place>,
    /// Ids of schemas that are known.
    schemas: BTreeSet<i32>,
    /// What is parked, with its time and place in the reading.
    parked: HashMap<Place, (String, u64, String, Option<String>)>,
    told: Journalled,
}

/// Reads `topic`, the journal beside a service's own topic, to its end.
pub(crate) async fn read(kafka: ClientConfig, codec: Codec, own: Own, topic: String) -> Result<Journalled, Error> {
    let registered = codec.add_reader_schema(TYPES);
    registered.map_err(|source| Error::Record { place: topic.clone(), source })?;
    let handle = Handle::current();
    let read = tokio::task::spawn_blocking(move || {
        let client = Client::new(&kafka, View::Everything)?;
        let (last, schemas, parked, told) = Default::default();
        let mut reading = Reading { codec, own, last, schemas, parked, told };
        let extents = client.extents(&topic)?;
        reading.told.is_cut = extents.is_empty() || extents.iter().any(|extent| extent.low > 0);
        client.each(&extents, |record| reading.take(&handle, &record).map(|()| true))?;
        let Reading { parked, mut told, .. } = reading;
        let mut parked: Vec<_> = parked.into_iter().collect();
        parked.sort_by(|(_, a), (_, b)| (&a.0, a.1).cmp(&(&b.0, b.1)));
        told.parked = parked.into_iter().map(|(place, (_, _, aggregate, reason))| (place, aggregate, reason)).collect();
        Ok(told)
    });
    read.await.map_err(|_| Error::Thread)?
}

impl Reading {
    fn take(&mut self, handle: &Handle, record: &Record) -> Result<(), Error> {
        let Some((_, link)) = self.own.link(record) else { return Ok(()) };
        if self.last.get(&record.partition).is_some_and(|last| link.place <= *last) {
            return Ok(());
        }
        self.last.insert(record.partition, link.place);
        self.told.records += 1;
        let unreadable = |source| Error::Record { place: record.at(), source };
        if let Some(id) = record.schema_id().filter(|id| !self.schemas.contains(id)) {
            handle.block_on(self.codec.prepare([id])).map_err(unreadable)?;
            self.schemas.insert(id);
        }
        let (Some(kind), Some(value)) = (record.kind(), record.value.as_deref()) else { return Ok(()) };
        let codec = record.codec(&self.codec).into_owned();
        if kind == CHECKPOINT {
            let Checkpoint { published, positions } = codec.decode(kind, value).map_err(unreadable)?;
            for (at, position) in positions {
                let read = serde_json::from_str(&position);
                let position = read.map_err(|source| Error::Position { place: record.at(), at: at.clone(), source })?;
                self.told.since.insert(at.clone(), published);
                self.told.positions.insert(at, position);
            }
            self.told.checkpoint = record.header("ce_time").map(str::to_owned);
            return Ok(());
        }
        // What operators did, and a newer build's entries, are of no concern here.
        if ![PARKED, RELEASED, DROPPED].contains(&kind) {
            return Ok(());
        }
        // By fields and not by name: the three types have them in common.
        let fields: serde_json::Value = codec.decode(kind, value).map_err(unreadable)?;
        let entry = serde_json::from_value(fields).map_err(|source| Error::Entry { place: record.at(), source })?;
        let Entry { aggregate, topic, partition, offset, task, reason } = entry;
        let dropped = kind == DROPPED;
        if let Some(task) = task {
            // What is parked of a task comes again with the task.
            self.told.dropped_tasks.extend(dropped.then_some(task));
            return Ok(());
        }
        let place = (topic, partition, offset);
        if kind == PARKED {
            let time = record.header("ce_time").unwrap_or_default().to_owned();
            self.parked.insert(place, (time, self.told.records, aggregate, reason));
        } else {
            self.parked.remove(&place);
            self.told.dropped.extend(dropped.then_some((place, link.place.number)));
        }
        Ok(())
    }
}

impl Journalled {
    /// Whether a record lies before its partition's position, and so doesn't come again by itself.
    fn is_behind(&self, (topic, partition, offset): &Place) -> bool {
        self.positions.get(&format!("{topic}/{partition}")).is_some_and(|position| *offset < position.next_offset)
    }

    /// What has to be parked again.
    pub fn to_park(&self) -> impl Iterator<Item = &(Place, String, Option<String>)> {
        self.parked.iter().filter(|(place, ..)| self.is_behind(place))
    }

    /// Writes positions, what is parked and what was dropped for `reader`, into tables that know nothing of it. Gives the places of records
    /// that were parked and aren't there any more.
    pub async fn write(&self, conn: &mut PgConnection, reader: &str, kafka: &ClientConfig) -> Result<Vec<String>, Error> {
        for (at, position) in &self.positions {
            let Some((topic, partition)) = at.rsplit_once('/').and_then(|(t, p)| Some((t, p.parse().ok()?))) else { continue };
            step::append(conn, &scope(reader, topic, partition), None, position).await?;
        }
        // They come again, and nobody has taken the decision back.
        let since = |place: &Place| self.since.get(&format!("{}/{}", place.0, place.1)).copied().unwrap_or(0);
        let again = self.dropped.iter().filter(|(place, number)| !self.is_behind(place) && **number >= since(place));
        let again: Vec<&Place> = again.map(|(place, _)| place).collect();
        sqlx::query(
            "insert into farandole.applied (reader, topic, partition, record_offset)
             select $1::text, * from unnest($2::text[], $3::int[], $4::bigint[]) on conflict do nothing",
        )
        .bind(reader)
        .bind(again.iter().map(|place| place.0.as_str()).collect::<Vec<_>>())
        .bind(again.iter().map(|place| place.1).collect::<Vec<_>>())
        .bind(again.iter().map(|place| place.2).collect::<Vec<_>>())
        .execute(&mut *conn)
        .await
        .map_err(Error::database("noting what was dropped"))?;
        let parked: Vec<_> = self.to_park().collect();
        let mut gone = Vec::new();
        for some in parked.chunks(AT_ONCE) {
            let (kafka, places) = (kafka.clone(), some.iter().map(|(place, ..)| place.clone()).collect());
            let records = tokio::task::spawn_blocking(move || fetch(&kafka, places)).await.map_err(|_| Error::Thread)??;
            let faults: Vec<Fault> = some.iter().map(|(.., reason)| fault(reason.as_deref())).collect();
            let mut again = Vec::new();
            for ((place, aggregate, reason), fault) in some.iter().zip(&faults) {
                let Some(record) = records.get(place) else {
                    gone.push(format!("{}/{}@{}", place.0, place.1, place.2));
                    continue;
                };
                let why = if reason.is_some() { Why::Fault(fault) } else { Why::Behind(aggregate) };
                let key = record.key.as_deref().map_or_else(|| aggregate.clone(), |key| name(key).into_owned());
                again.push(Parked { aggregate: aggregate.clone(), key, what: What::Record(record), why });
            }
            parking::park(conn, reader, None, &again, NO_LIMITS).await?;
        }
        Ok(gone)
    }

    /// Closes the tasks whose deadlines or outcomes were dropped.
    pub async fn close(&self, conn: &mut PgConnection) -> Result<u64, Error> {
        let done = sqlx::query(
            "delete from farandole.tasks
             where case kind when 'effect' then 'outcome' else kind end || '/' || name || '/' || key || '/' || cause = any($1)",
        )
        .bind(Vec::from_iter(&self.dropped_tasks))
        .execute(conn)
        .await
        .map_err(Error::database("closing tasks that were dropped"))?;
        Ok(done.rows_affected())
    }
}

/// It failed before, and not by what it needs now: it counts against no limit.
fn fault(reason: Option<&str>) -> Fault {
    Fault { reason: reason.unwrap_or_default().to_owned(), transient: true }
}

/// The records at these places that are still there.
fn fetch(kafka: &ClientConfig, places: Vec<Place>) -> Result<HashMap<Place, Record>, Error> {
    let client = Client::new(kafka, View::Everything)?;
    let mut wanted: BTreeMap<(String, i32), BTreeSet<i64>> = BTreeMap::new();
    for (topic, partition, offset) in places {
        wanted.entry((topic, partition)).or_default().insert(offset);
    }
    let mut found = HashMap::new();
    for ((topic, partition), offsets) in wanted {
        let whole = client.extent(&topic, partition)?;
        let mut rest: Vec<i64> = offsets.iter().copied().filter(|offset| (whole.low..whole.high).contains(offset)).collect();
        while let Some(low) = rest.first().copied() {
            // Together what lies closely together.
            let near = rest.iter().zip(rest.iter().skip(1)).take_while(|(one, next)| *next - *one < NEAR).count() + 1;
            let high = rest[near - 1] + 1;
            rest.drain(..near);
            client.each(&[Extent { topic: topic.clone(), partition, low, high }], |record| {
                if offsets.contains(&record.offset) {
                    found.insert((topic.clone(), partition, record.offset), record);
                }
                Ok::<_, extent::Error>(true)
            })?;
        }
    }
    Ok(found)
}
