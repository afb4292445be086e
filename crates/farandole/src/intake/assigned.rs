//! What happens when partitions come and go: workers start where the database says, and end with their batches.

use std::collections::HashMap;
use std::sync::atomic::{AtomicBool, AtomicI64, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use rdkafka::client::ClientContext;
use rdkafka::config::RDKafkaLogLevel;
use rdkafka::consumer::{BaseConsumer, Consumer as _, ConsumerContext};
use rdkafka::error::KafkaError;
use rdkafka::statistics::Statistics;
use rdkafka::topic_partition_list::{Offset, TopicPartitionList};
use rdkafka::types::RDKafkaRespErr;
use sqlx::PgConnection;
use tokio::runtime::Handle;
use tokio::sync::mpsc::{self, error::TrySendError};
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;

use super::identity::{self, Ids};
use super::lag::{self, Applied};
use super::lane::Lane;
use super::position::{Position, scope};
use super::watch::{Seen, Watch};
use super::worker::{End, Worker};
use super::{Config, Troubles};
use crate::engine::sessions::asked;
use crate::engine::{Processor, chain_of};
use crate::record::Record;
use crate::step;

/// Records that wait for a worker, within twice the bytes of a batch: a full channel costs a pause and a new fetch, so it should
/// hold several batches.
pub(super) const WAITING: usize = 4_096;
/// How long a broker may take to say what a topic is; it is asked at an assignment, which has the session's time.
const METADATA: Duration = Duration::from_secs(3);
/// How long a partition's batch in flight may take to end when the partition goes: well within the session.
const REVOKE: Duration = Duration::from_secs(10);

pub(super) type At = (String, i32);

/// A partition that this member has.
pub(super) struct Assigned {
    pub records: mpsc::Sender<Record>,
    /// Bytes that wait in the channel.
    pub bytes: Arc<AtomicUsize>,
    pub worker: JoinHandle<End>,
    pub stop: CancellationToken,
    pub next: Arc<AtomicI64>,
    pub applied: Applied,
    pub told: i64,
    /// The topic that it is read of.
    pub topic_id: Option<String>,
    /// The offset after the last record that the client gave.
    pub handed: i64,
    /// The client has said since then that there are no more.
    pub ended: bool,
    /// A record that found the channel full; its partition is paused.
    pub spill: Option<Record>,
}

impl Assigned {
    /// Queues a record for the worker, unless two batches' worth wait already. An empty queue takes a record of any size.
    pub(super) fn take(&self, record: Record, max_bytes: usize) -> Result<(), TrySendError<Record>> {
        let (waiting, size) = (self.bytes.load(Ordering::Relaxed), record.size());
        if waiting > 0 && waiting + size > 2 * max_bytes {
            return Err(TrySendError::Full(record));
        }
        self.records.try_send(record)?;
        self.bytes.fetch_add(size, Ordering::Relaxed);
        Ok(())
    }
}

/// What the consumer's callbacks know.
pub(super) struct Context<P: Processor> {
    pub engine: Arc<P>,
    pub config: Arc<Config>,
    pub troubles: Troubles,
    pub runtime: Handle,
    pub shutdown: CancellationToken,
    pub assigned: Mutex<HashMap<At, Assigned>>,
    pub lanes: Vec<Lane<P>>,
    pub running: Vec<JoinHandle<()>>,
    pub watch: Mutex<Watch>,
    pub ids: Ids,
    /// The watchdog has found a partition quiet.
    pub quiet: AtomicBool,
}

impl<P: Processor> ClientContext for Context<P> {
    fn error(&self, error: KafkaError, reason: &str) {
        tracing::warn!(error = %error, reason, "Kafka consumer");
    }

    fn log(&self, level: RDKafkaLogLevel, facility: &str, message: &str) {
        match level {
            RDKafkaLogLevel::Debug if facility == identity::FACILITY => self.ids.hear(message),
            RDKafkaLogLevel::Debug => tracing::trace!(facility, message, "Kafka consumer"),
            RDKafkaLogLevel::Info | RDKafkaLogLevel::Notice => tracing::info!(facility, message, "Kafka consumer"),
            _ => tracing::warn!(facility, message, "Kafka consumer"),
        }
    }

    fn stats(&self, statistics: Statistics) {
        let mut assigned = self.lock();
        for ((topic, partition), assigned) in assigned.iter_mut() {
            let known = statistics.topics.get(topic).and_then(|t| t.partitions.get(partition));
            let (next, end) = (&assigned.next, known.and_then(lag::end));
            // What lies between the last record and the end that the client has reached is nothing to apply.
            if let Some(end) = end.filter(|end| assigned.ended && *end > assigned.handed)
                && next.compare_exchange(assigned.handed, end, Ordering::Relaxed, Ordering::Relaxed).is_ok()
            {
                assigned.handed = end;
            }
        }
        let next = |a: &Assigned| a.next.load(Ordering::Relaxed);
        let at = assigned.iter().map(|((t, p), a)| (t.clone(), *p, next(a), a.applied.clone())).collect();
        drop(assigned);
        lag::report(&self.config.topics, at, &statistics);
        self.watch(&statistics);
    }
}

impl<P: Processor> ConsumerContext for Context<P> {
    fn rebalance(&self, consumer: &BaseConsumer<Self>, err: RDKafkaRespErr, list: &mut TopicPartitionList) {
        let done = if err == RDKafkaRespErr::RD_KAFKA_RESP_ERR__ASSIGN_PARTITIONS {
            self.assign(consumer, list)
        } else {
            self.revoke(list);
            // A pause outlives the assignment: the partition would come back mute.
            if let Err(error) = consumer.resume(list) {
                tracing::warn!(error = %error, "resuming partitions that go");
            }
            consumer.incremental_unassign(list)
        };
        if let Err(error) = done {
            tracing::error!(error = %error, "rebalance");
        }
    }
}

impl<P: Processor> Context<P> {
    fn watch(&self, statistics: &Statistics) {
        let assigned = self.lock();
        let seen = assigned.iter().map(|(at, assigned)| {
            let known = statistics.topics.get(&at.0).and_then(|t| t.partitions.get(&at.1));
            let more = known.is_some_and(|known| lag::more(known, assigned.handed, assigned.ended));
            let expected = more && assigned.spill.is_none() && !self.troubles.has(&at.0, at.1);
            Seen { at: at.clone(), handed: assigned.handed, expected }
        });
        let seen = seen.collect();
        drop(assigned);
        let mut watch = self.watch.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some((topic, partition)) = watch.quiet(Instant::now(), seen) {
            tracing::error!(topic, partition, "the Kafka client gives nothing though there is more; making a new one");
            self.quiet.store(true, Ordering::Relaxed);
        }
    }

    /// Starts a worker a partition where the database says that it is.
    fn assign(&self, consumer: &BaseConsumer<Self>, list: &mut TopicPartitionList) -> rdkafka::error::KafkaResult<()> {
        let partitions: Vec<At> = list.elements().iter().map(|e| (e.topic().to_owned(), e.partition())).collect();
        for at in partitions {
            self.learn(consumer, &at.0);
            let Some(offset) = self.start(&at) else { continue };
            list.set_partition_offset(&at.0, at.1, Offset::Offset(offset))?;
        }
        tracing::info!(partitions = list.count(), "partitions assigned");
        consumer.incremental_assign(list)
    }

    /// Has the client look at the topic, if its id isn't known yet; it tells it by the way.
    fn learn(&self, consumer: &BaseConsumer<Self>, topic: &str) {
        if self.ids.of(topic).is_none()
            && let Err(error) = consumer.fetch_metadata(Some(topic), METADATA)
        {
            tracing::debug!(topic, error = %error, "the topic's id isn't known yet");
        }
    }

    fn revoke(&self, list: &TopicPartitionList) {
        let gone: Vec<(At, Assigned)> = {
            let mut assigned = self.lock();
            list.elements().iter().filter_map(|e| assigned.remove_entry(&(e.topic().to_owned(), e.partition()))).collect()
        };
        if !gone.is_empty() {
            tracing::info!(partitions = gone.len(), "partitions revoked");
        }
        self.end(gone);
    }

    /// Lets the batches in flight end. One that doesn't in time is fenced by its step.
    pub(super) fn end(&self, gone: Vec<(At, Assigned)>) {
        gone.iter().for_each(|(_, a)| a.stop.cancel());
        let until = Instant::now() + REVOKE;
        for ((topic, partition), assigned) in gone {
            let left = until.saturating_duration_since(Instant::now());
            let ended = self.runtime.block_on(async { tokio::time::timeout(left, assigned.worker).await });
            if ended.is_err() {
                tracing::warn!(topic, partition, "a batch in flight did not end in time");
            }
            self.troubles.set(&topic, partition, None);
        }
    }

    /// Reads the position, waiting for the database if need be, and starts a worker there. `None` at shutdown.
    pub(super) fn start(&self, at: &At) -> Option<i64> {
        let scope = scope(self.engine.reader(), &at.0, at.1);
        let (step, position) = self.runtime.block_on(async {
            let mut pause = Duration::from_millis(50);
            loop {
                let read =
                    async |conn: &mut PgConnection| step::latest::<Position>(conn, &scope).await.map_err(sqlx::Error::decode);
                match asked!(self.engine.sessions(), conn => read(conn)) {
                    Ok(Some((step, position))) => return Some((Some(step), position)),
                    Ok(None) => return Some((None, Position::default())),
                    Err(error) => {
                        let why = chain_of(&error);
                        tracing::warn!(topic = at.0, partition = at.1, why, "reading the position; trying again");
                        self.troubles.set(&at.0, at.1, Some(why));
                    }
                }
                tokio::select! {
                    () = self.shutdown.cancelled() => return None,
                    () = tokio::time::sleep(pause) => pause = (pause * 2).min(Duration::from_secs(3)),
                }
            }
        })?;
        self.troubles.set(&at.0, at.1, None);
        let offset = position.next_offset;
        let (topic_id, mut position) = (self.ids.of(&at.0), position);
        let (mut broken, mut unwritten) = (None, None);
        match (&position.topic_id, &topic_id) {
            (Some(known), Some(found)) if known != found => {
                broken = Some(identity::another(&at.0, at.1, offset, known, found));
            }
            (None, Some(_)) => {
                position.topic_id.clone_from(&topic_id);
                // Written soon: what isn't there can't be compared.
                unwritten = (offset > 0).then(Instant::now);
            }
            _ => {}
        }
        let (records, waiting) = mpsc::channel(WAITING);
        let (next, bytes, stop) = (Arc::new(AtomicI64::new(offset)), Arc::default(), CancellationToken::new());
        let applied = Applied::default();
        let worker = Worker {
            engine: self.engine.clone(),
            config: self.config.clone(),
            topic: at.0.clone(),
            partition: at.1,
            scope,
            step,
            position,
            unwritten,
            broken,
            lane: self.lanes[usize::try_from(at.1).unwrap_or(0) % self.lanes.len()].clone(),
            next: next.clone(),
            applied: applied.clone(),
            bytes: Arc::clone(&bytes),
            troubles: self.troubles.clone(),
            stop: stop.clone(),
            batches: 0,
            first_step: 0,
        };
        let worker = self.runtime.spawn(worker.run(waiting));
        self.lock().insert(
            at.clone(),
            Assigned {
                records,
                bytes,
                worker,
                stop,
                next,
                applied,
                told: offset,
                topic_id,
                handed: offset,
                ended: false,
                spill: None,
            },
        );
        Some(offset)
    }

    pub(super) fn lock(&self) -> std::sync::MutexGuard<'_, HashMap<At, Assigned>> {
        self.assigned.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
