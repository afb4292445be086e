//! Reading a topic from its beginning, all partitions side by side, on a thread of its own: the chain rule, and decoding.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use rdkafka::ClientConfig;
use serde::{Deserialize, Serialize};
use tokio::runtime::Handle;
use tokio::sync::mpsc;
use tokio::task::JoinHandle;

use crate::fold::Events;
use crate::participant::Participant;
use crate::publish::relay::own::Own;
use crate::publish::relay::state::Head;
use crate::publish::relay::walk::{RecordClass, Walk, Wrong};
use crate::rebuild::Error;
use crate::wire::extent::{Client, Extent, View};
use crate::wire::record::Record;

/// Bytes of events that are folded at once.
const BYTES: usize = 1 << 20;
/// Bytes of a partition that are fetched at once, if its batches aren't larger: what happened to an aggregate at one time comes together
/// then, and its row is held still. By default it is four times as much.
const FETCHED: usize = 1 << 18;

/// Chunks that are read ahead.
pub(super) const AHEAD: usize = 3;

/// How far a partition was folded: the record that was last, and where it stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Mark {
    pub offset: i64,
    pub head: Head,
}

/// Events of several partitions, each partition's in order.
#[derive(Debug)]
pub(super) struct Chunk<E> {
    pub events: Vec<E>,
    /// How far each of the partitions is when these are folded.
    pub marks: BTreeMap<i32, Mark>,
    /// Bytes of the events' values; records read, others' included.
    pub bytes: usize,
    pub records: u64,
}

impl<E> Default for Chunk<E> {
    fn default() -> Self {
        Self { events: Vec::new(), marks: BTreeMap::new(), bytes: 0, records: 0 }
    }
}

/// A partition, as far as it was read.
struct Partition {
    walk: Walk,
    /// The offset to go on from.
    next: i64,
}

/// Reads the events of a service.
pub(super) struct Reader<P> {
    client: Arc<Client>,
    events: Events<P>,
    topic: String,
    own: Own,
    passed: BTreeSet<String>,
    until: Option<i64>,
    /// The key of the one aggregate whose events are wanted.
    only: Option<Vec<u8>>,
    partitions: BTreeMap<i32, Partition>,
    /// Events that are folded at once.
    at_once: usize,
    /// Ids of schemas that are known.
    schemas: BTreeSet<i32>,
}

/// A client that all of a rebuild asks and reads with: connecting takes as long as a hundred thousand events.
pub(super) fn client(mut kafka: ClientConfig) -> Result<Arc<Client>, Error> {
    kafka.set("fetch.message.max.bytes", FETCHED.to_string());
    Ok(Arc::new(Client::new(&kafka, View::Everything)?))
}

/// What a service's topic holds as of now.
pub(super) async fn extents(client: &Arc<Client>, topic: &str) -> Result<Vec<Extent>, Error> {
    let (client, asked) = (Arc::clone(client), topic.to_owned());
    let asking = tokio::task::spawn_blocking(move || client.extents(&asked));
    let extents = asking.await.map_err(|_| Error::Thread)??;
    if extents.is_empty() { Err(Error::NoTopic { topic: topic.to_owned() }) } else { Ok(extents) }
}

impl<P: Participant> Reader<P> {
    /// From the beginning, or from where `marks` says that an earlier one was.
    pub fn new(
        client: Arc<Client>,
        (events, topic): (Events<P>, &str),
        own: Own,
        (until, passed): (Option<i64>, BTreeSet<String>),
        marks: &BTreeMap<i32, Mark>,
        at_once: usize,
    ) -> Self {
        let resumed = |(partition, mark): (&i32, &Mark)| {
            // From the record itself: a walk looks for it by its id.
            let walk = Walk::new(own.clone(), Some(mark.head), true).passing(passed.clone());
            (*partition, Partition { walk, next: mark.offset })
        };
        let partitions = marks.iter().map(resumed).collect();
        let topic = topic.to_owned();
        Self { client, events, topic, own, passed, until, only: None, partitions, at_once, schemas: BTreeSet::new() }
    }

    /// The same, for the events of one aggregate; the chain is followed through those of all.
    pub fn only(self, aggregate: &str) -> Self {
        Self { only: Some(aggregate.as_bytes().to_vec()), ..self }
    }

    /// Reads up to the ends of `extents`; gives itself back.
    pub fn start(mut self, extents: Vec<Extent>, chunks: mpsc::Sender<Chunk<P::Event>>) -> JoinHandle<Result<Self, Error>> {
        let handle = Handle::current();
        tokio::task::spawn_blocking(move || {
            let mut chunk = Chunk::default();
            let stretches: Vec<Extent> = extents.iter().map(|extent| self.stretch(extent)).collect();
            let client = Arc::clone(&self.client);
            client.lend(&stretches, |record| {
                self.take(&handle, record, &mut chunk)?;
                if chunk.events.len() < self.at_once && chunk.bytes < BYTES {
                    return Ok(true);
                }
                // Who folds has gone: nobody waits for the rest.
                Ok::<_, Error>(chunks.blocking_send(std::mem::take(&mut chunk)).is_ok())
            })?;
            for extent in &extents {
                if let Some(partition) = self.partitions.get_mut(&extent.partition) {
                    partition.next = partition.next.max(extent.high);
                }
            }
            let _ = chunks.blocking_send(chunk); // as above
            // Where an earlier run ended has expired, or is of a topic that is gone: what follows it was never looked at.
            match self.partitions.iter().find(|(_, partition)| !partition.walk.has_met_head()) {
                Some((partition, _)) => {
                    Err(Error::MarkGone { service: P::NAME, topic: self.topic.clone(), partition: *partition })
                }
                None => Ok(self),
            }
        })
    }

    fn stretch(&mut self, extent: &Extent) -> Extent {
        let Self { own, passed, .. } = self;
        let new = || Partition { walk: Walk::new(own.clone(), None, false).passing(passed.clone()), next: extent.low };
        let partition = self.partitions.entry(extent.partition).or_insert_with(new);
        Extent { low: partition.next.max(extent.low), ..extent.clone() }
    }

    fn take(&mut self, handle: &Handle, record: &Record, chunk: &mut Chunk<P::Event>) -> Result<(), Error> {
        chunk.records += 1;
        let Some(partition) = self.partitions.get_mut(&record.partition) else { return Ok(()) };
        partition.next = record.offset + 1;
        let before = partition.walk.last;
        let found = partition.walk.next(record).map_err(|wrong| broken(P::NAME, record, &wrong))?;
        // One that is passed over may be the chain's last all the same.
        if let Some(head) = partition.walk.last.filter(|head| before != Some(*head)) {
            chunk.marks.insert(record.partition, Mark { offset: record.offset, head });
        }
        let RecordClass::Beyond(new) = found else { return Ok(()) };
        let number = new.link.place.number;
        if self.until.is_some_and(|until| number > until) || self.only.is_some() && record.key != self.only {
            return Ok(());
        }
        if let Some(id) = record.schema_id().filter(|id| !self.schemas.contains(id)) {
            handle.block_on(self.events.prepare([id]))?;
            self.schemas.insert(id);
        }
        chunk.bytes += record.value.as_ref().map_or(0, Vec::len);
        chunk.events.push(self.events.read(record)?);
        Ok(())
    }

    /// Records up to the ends of `extents` that weren't read yet.
    pub fn left(&self, extents: &[Extent]) -> i64 {
        let next = |extent: &Extent| self.partitions.get(&extent.partition).map_or(extent.low, |partition| partition.next);
        extents.iter().map(|extent| (extent.high - next(extent)).max(0)).sum()
    }
}

pub(super) fn broken(service: &'static str, record: &Record, wrong: &Wrong) -> Error {
    let (topic, place) = (record.topic.clone(), record.at());
    Error::Broken { service, topic, place, reason: wrong.to_string() }
}
