//! Handles assignment and revocation: workers start at the position in the database, and end with their batches.

use std::collections::{BTreeSet, HashMap};
use std::sync::atomic::{AtomicI64, Ordering};
use std::sync::{Arc, PoisonError};
use std::time::{Duration, Instant};

use rdkafka::client::ClientContext;
use rdkafka::config::RDKafkaLogLevel;
use rdkafka::consumer::{BaseConsumer, Consumer as _, ConsumerContext};
use rdkafka::error::{KafkaError, RDKafkaErrorCode};
use rdkafka::statistics::Statistics;
use rdkafka::topic_partition_list::{Offset, TopicPartitionList};
use rdkafka::types::RDKafkaRespErr;
use sqlx::PgConnection;
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;

use crate::consume::intake::context::{Assigned, At, Context};
use crate::consume::intake::lag::{self, LastEventTime};
use crate::consume::intake::older::Coming;
use crate::consume::intake::position::{Position, scope};
use crate::consume::intake::queue::queue;
use crate::consume::intake::troubles::Of;
use crate::consume::intake::watch::Seen;
use crate::consume::intake::worker::Worker;
use crate::consume::intake::{begin, begun, look};
use crate::database::sessions::with_conn;
use crate::database::step;
use crate::ground::error::chain_of;
use crate::ground::told::Told;
use crate::wire::identity;
use crate::wire::per_topic::Start;

/// How long a broker may take to say what a topic is; it is asked at an assignment, which has the session's time.
const METADATA: Duration = Duration::from_secs(3);
/// How long a partition's batch in flight may take to end when the partition goes: well within the session.
const REVOKE: Duration = Duration::from_secs(10);

impl ClientContext for Context {
    fn error(&self, error: KafkaError, reason: &str) {
        // No error: what the client gives tells the same.
        if error.rdkafka_error_code() == Some(RDKafkaErrorCode::PartitionEOF) {
            return;
        }
        tracing::warn!(error = %error, reason, "Kafka consumer");
        self.complain(format!("{error}: {reason}"));
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
        self.stand(&statistics);
        let topics = self.config.topics.iter().map(|topic| (topic.as_str(), !self.troubles.lacks(topic)));
        lag::report(topics, at, &statistics);
        self.watch(&statistics);
    }
}

impl ConsumerContext for Context {
    fn rebalance(&self, consumer: &BaseConsumer<Self>, err: RDKafkaRespErr, list: &mut TopicPartitionList) {
        // It waits for the database here, for as long as that takes.
        self.pulse.leave();
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
        self.pulse.enter();
    }
}

impl Context {
    /// The client's last complaint, until a report says that it has its place again and there was no other.
    pub(super) fn complain(&self, why: String) {
        self.complained.store(true, Ordering::Relaxed);
        self.troubles.say(Of::Client, Some(why));
    }

    /// Says so when this member has no place in its group.
    fn stand(&self, statistics: &Statistics) {
        let trouble = look::standing(&self.config.group, statistics.cgrp.as_ref());
        if trouble.is_none() && !self.complained.swap(false, Ordering::Relaxed) {
            self.troubles.say(Of::Client, None);
        }
        // A rebalance is over in a moment: two reports in a row tell.
        let again = self.unjoined.swap(trouble.is_some(), Ordering::Relaxed);
        if trouble.is_none() || again {
            self.troubles.say(Of::Group, trouble);
        }
    }

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
            tracing::error!(topic, partition, "watchdog: the Kafka client delivers nothing although there is more; replacing it");
            self.troubles.fired();
            self.quiet.store(true, Ordering::Relaxed);
        }
    }

    /// Starts a worker a partition where the database says that it is.
    fn assign(&self, consumer: &BaseConsumer<Self>, list: &mut TopicPartitionList) -> rdkafka::error::KafkaResult<()> {
        let partitions: Vec<At> = list.elements().iter().map(|e| (e.topic().to_owned(), e.partition())).collect();
        partitions
            .iter()
            .map(|(topic, _)| topic)
            .collect::<BTreeSet<_>>()
            .into_iter()
            .for_each(|topic| self.learn(consumer, topic));
        for at in partitions {
            let Some(offset) = self.start(consumer, &at) else { continue };
            list.set_partition_offset(&at.0, at.1, Offset::Offset(offset))?;
        }
        tracing::info!(partitions = list.count(), "partitions assigned");
        self.troubles.say(Of::Group, None);
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
                tracing::warn!(topic, partition, "a batch in flight did not finish in time");
            }
            self.troubles.set(&topic, partition, None);
        }
    }

    /// Where the partition is, waiting for database and brokers if need be, and starts a worker there. `None` at shutdown.
    pub(super) fn start(&self, consumer: &BaseConsumer<Self>, at: &At) -> Option<i64> {
        let scope = scope(self.engine.reader(), &at.0, at.1);
        let looking = format!("the position of {}/{}", at.0, at.1);
        let say = |why| self.troubles.set(&at.0, at.1, Some(why));
        let (step, position) = self.patiently(&looking, || self.position(consumer, at, &scope), say)?;
        self.troubles.set(&at.0, at.1, None);
        let offset = position.next_offset;
        let (found, written) = (self.ids.of(&at.0), Arc::new(position.clone()));
        let broken =
            position.topic_id.as_ref().zip(found.as_ref()).filter(|(known, found)| known != found).map(|(known, found)| {
                let how = self.config.set_position(self.engine.reader(), &at.0, at.1, "earliest");
                another(&at.0, at.1, offset, known, found, &how)
            });
        // What the client hasn't told yet is what it was, until it tells.
        let topic_id = found.clone().or_else(|| position.topic_id.clone());
        let (queue, waiting) = queue(self.config.max_bytes);
        let (next, stop) = (Arc::new(AtomicI64::new(offset)), CancellationToken::new());
        let applied = LastEventTime::default();
        let (tell, id) = watch::channel(found);
        let elsewhere = broken.is_some();
        let worker = Worker {
            engine: self.engine.clone(),
            config: self.config.clone(),
            topic: at.0.clone(),
            partition: at.1,
            scope,
            step,
            written,
            compared: None,
            position,
            unwritten: None,
            broken,
            id,
            lane: self.lanes[usize::try_from(at.1).unwrap_or(0) % self.lanes.len()].clone(),
            next: next.clone(),
            applied: applied.clone(),
            troubles: self.troubles.clone(),
            told: Told::default(),
            coming: Coming::default(),
            stop: stop.clone(),
            batches: 0,
            first_step: 0,
        };
        let worker = self.runtime.spawn(worker.run(waiting));
        self.lock().insert(
            at.clone(),
            Assigned {
                queue,
                worker,
                stop,
                next,
                applied,
                told: offset,
                topic_id,
                tell,
                handed: offset,
                ended: false,
                spill: None,
                fresh: step.is_none(),
                elsewhere,
            },
        );
        Some(offset)
    }

    /// The position, or why there is none. One that is made here is written at once: asked again after a restart, the brokers
    /// would name a later offset, and what came in between would be lost.
    fn position(&self, consumer: &BaseConsumer<Self>, at: &At, scope: &str) -> Result<(Option<i64>, Position), String> {
        let latest = async |conn: &mut PgConnection| step::latest::<Position>(conn, scope).await.map_err(sqlx::Error::decode);
        let latest = async { with_conn!(self.engine.sessions(), conn => latest(conn)) };
        if let Some((step, position)) = self.runtime.block_on(latest).map_err(|error| chain_of(&error))? {
            return Ok((Some(step), position.bounded()));
        }
        let start = self.config.start.of(&at.0);
        if start == Start::Earliest || begun::is_later(consumer, at)? {
            return Ok((None, Position::default()));
        }
        let offset = begin::offset(consumer, &at.0, at.1, start).map_err(|error| error.to_string())?;
        let position = Position { next_offset: offset, midway: offset > 0, ..Position::default() };
        let write = async |conn: &mut PgConnection| step::append(conn, scope, None, &position).await.map_err(sqlx::Error::decode);
        let write = async { with_conn!(self.engine.sessions(), conn => write(conn)) };
        let step = self.runtime.block_on(write).map_err(|error| chain_of(&error))?;
        tracing::info!(topic = at.0, partition = at.1, offset, %start, "starting here");
        Ok((Some(step), position))
    }

    pub(super) fn lock(&self) -> std::sync::MutexGuard<'_, HashMap<At, Assigned>> {
        self.assigned.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// What is wrong with going on in a topic with `found` as its id after reading one with `known`.
fn another(topic: &str, partition: i32, next: i64, known: &str, found: &str, how: &str) -> String {
    format!(
        "{topic} was deleted and created again since {topic}/{partition} was read up to offset {next}: its id was {known} and \
         is now {found}. It may hold other records or the same ones, so nothing is read. To read all of it: {how}"
    )
}
