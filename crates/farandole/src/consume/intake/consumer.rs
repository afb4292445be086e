//! The consumer's thread: polls, hands records to workers, pauses what is full.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use futures_util::FutureExt as _;
use rdkafka::consumer::{BaseConsumer, CommitMode, Consumer as _};
use rdkafka::error::{KafkaError, KafkaResult, RDKafkaErrorCode};
use rdkafka::topic_partition_list::{Offset, TopicPartitionList};
use tokio::runtime::Handle;
use tokio::sync::mpsc::error::TrySendError;
use tokio::task::{JoinError, JoinHandle};
use tokio_util::sync::CancellationToken;

use crate::consume::intake::context::{At, Context};
use crate::consume::intake::lane::Lane;
use crate::consume::intake::pulse::Pulse;
use crate::consume::intake::queue::queue;
use crate::consume::intake::worker::End;
use crate::consume::intake::{Config, Error, Troubles, begun, client, expired, look, members};
use crate::consume::metrics;
use crate::engine::AnyProcessor;
use crate::wire::identity::{self, Ids};
use crate::wire::record::Record;

/// How long one poll blocks: bounds how late a shutdown or a freed channel is noticed.
const POLL: Duration = Duration::from_millis(100);
/// The same while a partition waits for room.
const POLL_FULL: Duration = Duration::from_millis(5);
/// How often Kafka is told the positions.
const TELL: Duration = Duration::from_secs(5);
/// How a consumer ended.
pub(super) enum Ended {
    /// It was told to.
    Stopped,
    /// It had gone quiet; a new one goes on.
    Quiet,
}

/// Polls until shutdown, or until it goes quiet.
pub(super) fn run(
    engine: &Arc<dyn AnyProcessor>,
    config: &Arc<Config>,
    troubles: &Troubles,
    runtime: &Handle,
    shutdown: &CancellationToken,
    pulse: &Arc<Pulse>,
) -> Result<Ended, Error> {
    if let Some(refused) = client::refused(config).into_iter().next() {
        return Err(Error::Property(refused));
    }
    let mut client = client::config(config);
    let client_id = match config.properties.get("client.id") {
        Some(theirs) => theirs.clone(),
        None => runtime.block_on(members::client_id(&config.group, engine.sessions())),
    };
    client.set("client.id", &client_id);
    let client = identity::hearing(&client);
    let lane = |_| {
        let (lane, run) = Lane::new(engine.clone(), config.parked);
        (lane, runtime.spawn(run))
    };
    let (lanes, running) = (0..config.lanes.max(1)).map(lane).unzip();
    // There from the start: who watches a counter sees its first step.
    ["fenced", "panic", "stopped"].into_iter().for_each(|why| restarted(why, 0));
    config.topics.iter().for_each(|topic| metrics::EXPIRED.add(0, [topic.clone().into()]));
    let context = Context {
        engine: engine.clone(),
        config: config.clone(),
        troubles: troubles.clone(),
        client_id,
        runtime: runtime.clone(),
        shutdown: shutdown.clone(),
        assigned: Mutex::default(),
        lanes,
        running,
        watch: Mutex::default(),
        ids: Ids::default(),
        quiet: AtomicBool::new(false),
        unjoined: AtomicBool::new(false),
        complained: AtomicBool::new(false),
        pulse: Arc::clone(pulse),
    };
    let consumer: BaseConsumer<Context> = client.create_with_context(context).map_err(Error::Client)?;
    if !begun::begin(&consumer) {
        return Ok(Ended::Stopped);
    }
    let topics: Vec<&str> = config.topics.iter().map(String::as_str).collect();
    consumer.subscribe(&topics).map_err(Error::Client)?;
    let over = AtomicBool::new(false);
    std::thread::scope(|scope| {
        let looking = || look::run(&consumer, || over.load(Ordering::Relaxed));
        let looker = std::thread::Builder::new().name("intake-look".to_owned()).spawn_scoped(scope, looking);
        let looker = looker.map_err(|e| Error::Thread(e.to_string()))?;
        let read = poll(&consumer, shutdown, || looker.is_finished());
        over.store(true, Ordering::Relaxed);
        looker.thread().unpark();
        tell(&consumer, CommitMode::Sync);
        let gone = consumer.context().lock().drain().collect::<Vec<_>>();
        consumer.context().end(gone);
        read
    })
}

/// Polls until it is told to stop, goes quiet, or somebody who has to work beside it doesn't any more.
fn poll(consumer: &BaseConsumer<Context>, shutdown: &CancellationToken, blind: impl Fn() -> bool) -> Result<Ended, Error> {
    let context = consumer.context();
    let mut told = Instant::now();
    let mut full = 0;
    // Partitions have lost what their position wants, and the brokers haven't said which.
    let mut lost = false;
    // Workers were told to end since their topic's id has changed, and begin again once they have.
    let mut renewing = false;
    while !shutdown.is_cancelled() && !context.quiet.load(Ordering::Relaxed) {
        context.pulse.enter();
        let polled = consumer.poll(if full > 0 { POLL_FULL } else { POLL });
        context.pulse.leave();
        // Before the record is handed on: it may be the first of another topic of that name.
        if context.ids.have_changed() {
            renewing |= end_changed(context);
        }
        match polled {
            Some(Ok(message)) => {
                let record = Record::copy(&message);
                let mapping = context.config.mappings.get(&record.topic);
                let record = match mapping {
                    Some(mapping) => mapping.apply(record),
                    None => record,
                };
                full += hand_over(consumer, record);
            }
            Some(Err(KafkaError::PartitionEOF(partition))) => ended(consumer, partition),
            Some(Err(KafkaError::MessageConsumption(RDKafkaErrorCode::AutoOffsetReset))) => lost = !expired::look(consumer),
            Some(Err(error)) => {
                if let Some((code, words)) = consumer.client().fatal_error() {
                    return Err(Error::Fatal { why: fatal(&context.config, code, &words) });
                }
                tracing::warn!(error = %error, "Kafka consumer error; it recovers when the brokers do");
                context.complain(error.to_string());
            }
            None => {}
        }
        // At once and not with the look of every few seconds: the id of a topic that was just made becomes known while it is read.
        // After the record that was polled was handed to nobody: a new worker would take it for the first at its position.
        if renewing {
            restart_ended(consumer);
            renewing = context.lock().values().any(|assigned| assigned.stop.is_cancelled());
        }
        if full > 0 {
            full = room(consumer);
        }
        if context.running.iter().any(JoinHandle::is_finished) {
            return Err(Error::Thread("a lane ended".to_owned()));
        }
        if blind() {
            return Err(Error::Thread("the check for missing topics ended".to_owned()));
        }
        if told.elapsed() > TELL {
            restart_ended(consumer);
            lost = lost && !expired::look(consumer);
            tell(consumer, CommitMode::Async);
            told = Instant::now();
        }
    }
    Ok(if shutdown.is_cancelled() { Ended::Stopped } else { Ended::Quiet })
}

/// What to say of an error from which the client doesn't recover.
fn fatal(config: &Config, code: RDKafkaErrorCode, words: &str) -> String {
    match (code, &config.instance) {
        (RDKafkaErrorCode::FencedInstanceId, Some(instance)) => format!(
            "another process has joined consumer group {} as {} = \"{instance}\", so this one has lost its place: give each \
             replica an instance of its own, or none",
            config.group,
            config.setting("instance")
        ),
        _ => format!("the Kafka client gives up: {code}: {words}"),
    }
}

/// Gives a record to its worker; 1 if its partition had to be paused.
fn hand_over(consumer: &BaseConsumer<Context>, record: Record) -> usize {
    let at = (record.topic.clone(), record.partition);
    let mut assigned = consumer.context().lock();
    let Some(partition) = assigned.get_mut(&at) else { return 0 };
    (partition.handed, partition.ended) = (record.offset + 1, false);
    if partition.spill.is_some() {
        // What was fetched before the pause took hold comes again once it ends: the consumer is set back to the spilt record.
        return 0;
    }
    match partition.queue.take(record) {
        Ok(()) => 0,
        // The worker has ended; it is started again from its position.
        Err(TrySendError::Closed(_)) => 0,
        Err(TrySendError::Full(record)) => {
            partition.spill = Some(record);
            drop(assigned);
            let mut list = TopicPartitionList::new();
            list.add_partition(&at.0, at.1);
            if let Err(error) = consumer.pause(&list) {
                tracing::error!(topic = at.0, partition = at.1, error = %error, "pausing");
            }
            1
        }
    }
}

/// The client has given all that a partition of this number holds. It doesn't say of which topic; its statistics do.
fn ended(consumer: &BaseConsumer<Context>, partition: i32) {
    let mut assigned = consumer.context().lock();
    assigned.iter_mut().filter(|(at, _)| at.1 == partition).for_each(|(_, assigned)| assigned.ended = true);
}

/// Resumes partitions whose channel has room again; says how many are still full.
fn room(consumer: &BaseConsumer<Context>) -> usize {
    let mut resume = Vec::new();
    let mut full = 0;
    for (at, partition) in consumer.context().lock().iter_mut() {
        let Some(record) = partition.spill.take() else { continue };
        if !partition.queue.goes_on(&record) {
            partition.spill = Some(record);
            full += 1;
            continue;
        }
        let next = record.offset + 1;
        match partition.queue.take(record) {
            Ok(()) => resume.push((at.clone(), next)),
            // The worker has ended; it is started again from its position, which ends the pause.
            Err(TrySendError::Closed(_)) => {}
            Err(TrySendError::Full(record)) => {
                partition.spill = Some(record);
                full += 1;
            }
        }
    }
    for ((topic, partition), next) in resume {
        let mut list = TopicPartitionList::new();
        list.add_partition(&topic, partition);
        let resumed =
            consumer.seek(&topic, partition, Offset::Offset(next), Duration::from_secs(5)).and_then(|()| consumer.resume(&list));
        if let Err(error) = resumed {
            tracing::warn!(topic, partition, error = %error, "resuming; starting again from the position");
            if let Some(assigned) = consumer.context().lock().get(&(topic, partition)) {
                assigned.stop.cancel();
            }
        }
    }
    full
}

/// Ends the workers of partitions whose topic has another id than they know; whether there are any. They start again from their
/// positions, which tell whether it is another topic; until then nothing is handed to them. Who knows none has nothing to compare and is
/// told: a worker that began again would have the client fetch once more what it has fetched.
fn end_changed(context: &Context) -> bool {
    let mut any = false;
    for ((topic, _), partition) in context.lock().iter_mut() {
        let found = context.ids.of(topic);
        if partition.topic_id.is_none() {
            partition.tell.send_replace(found.clone());
            partition.topic_id = found;
        } else if partition.topic_id != found {
            partition.stop.cancel();
            partition.queue = queue(0).0;
            any = true;
        }
    }
    any
}

/// Starts workers again that have ended: their position was taken by another owner, who may be gone by now.
fn restart_ended(consumer: &BaseConsumer<Context>) {
    let context = consumer.context();
    let ended: Vec<At> = context.lock().iter().filter(|(_, a)| a.worker.is_finished()).map(|(at, _)| at.clone()).collect();
    for at in ended {
        let Some(assigned) = context.lock().remove(&at) else { continue };
        let trouble = how_ended(&at, assigned.worker.now_or_never());
        let Some(offset) = context.start(consumer, &at) else { return };
        // Until something is applied: a worker that ends again and again isn't well in between.
        if trouble.is_some() {
            context.troubles.set(&at.0, at.1, trouble);
        }
        let mut list = TopicPartitionList::new();
        list.add_partition(&at.0, at.1);
        let back = consumer
            .seek(&at.0, at.1, Offset::Offset(offset), Duration::from_secs(5))
            // Of a partition that has nothing at its position the client has let go.
            .or_else(|_| assign_again(consumer, &at, offset))
            .and_then(|()| consumer.resume(&list));
        if let Err(error) = back {
            tracing::warn!(topic = at.0, partition = at.1, error = %error, "seeking back failed; retrying");
            if let Some(assigned) = context.lock().get(&at) {
                assigned.stop.cancel();
            }
        }
    }
}

fn assign_again(consumer: &BaseConsumer<Context>, at: &At, offset: i64) -> KafkaResult<()> {
    let mut list = TopicPartitionList::new();
    list.add_partition(&at.0, at.1);
    consumer.incremental_unassign(&list)?;
    list.set_partition_offset(&at.0, at.1, Offset::Offset(offset))?;
    consumer.incremental_assign(&list)
}

/// Counts a worker's end, and says what there is to say of it.
fn how_ended(at: &At, ended: Option<Result<End, JoinError>>) -> Option<String> {
    let (why, trouble) = match ended {
        Some(Ok(End::Fenced)) => ("fenced", None),
        Some(Err(error)) if error.is_panic() => {
            let why = "its worker panicked and restarted from the position".to_owned();
            tracing::error!(topic = at.0, partition = at.1, why);
            ("panic", Some(why))
        }
        Some(Ok(End::Stopped) | Err(_)) | None => ("stopped", None),
    };
    restarted(why, 1);
    trouble
}

/// Counts partitions that began again.
fn restarted(why: &'static str, partitions: u64) {
    metrics::RESTARTS.add(partitions, [why.into()]);
}

/// Tells Kafka where the partitions are, for lag tools; nothing here rests on it.
fn tell(consumer: &BaseConsumer<Context>, mode: CommitMode) {
    let mut list = TopicPartitionList::new();
    for (at, partition) in consumer.context().lock().iter_mut() {
        let next = partition.next.load(Ordering::Relaxed);
        if next > partition.told && list.add_partition_offset(&at.0, at.1, Offset::Offset(next)).is_ok() {
            partition.told = next;
        }
    }
    if list.count() > 0
        && let Err(error) = consumer.commit(&list, mode)
    {
        tracing::debug!(error = %error, "committing offsets to Kafka failed");
    }
}
