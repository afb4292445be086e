//! A producer whose acknowledgements are counted, not awaited one by one.
//!
//! **Invariant:** a producer that failed once is never used again. What it still holds is purged; what it had sent may land
//! late and is a repetition under the same number. Retrying one record while later ones of its partition are in flight would
//! change their order, so nothing here retries: librdkafka's idempotent, gapless producer does, within
//! `delivery.timeout.ms`, and then the round is over.
//!
//! Memory is bounded here and not by librdkafka's queue: at most `WINDOW_RECORDS` records and `WINDOW_BYTES` bytes are
//! unacknowledged, and the database's socket holds back the rest.

use std::collections::{BTreeMap, VecDeque};
use std::sync::atomic::Ordering::SeqCst;
use std::sync::atomic::{AtomicBool, AtomicU64};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::{self, JoinHandle};
use std::time::Duration;

use rdkafka::client::ClientContext;
use rdkafka::config::{ClientConfig, RDKafkaLogLevel};
use rdkafka::error::{KafkaError, RDKafkaErrorCode};
use rdkafka::message::{Headers as _, Message, OwnedHeaders};
use rdkafka::producer::{BaseProducer, BaseRecord, DeliveryResult, Producer as _, ProducerContext, PurgeConfig};
use tokio::sync::Notify;

use crate::ground::text::{brief, name, shown};
use crate::ground::trouble::{Trouble, Troubled as _};
use crate::publish::relay::config::Config;
use crate::publish::relay::error::Error;
use crate::wire::identity::{self, Ids};
use crate::wire::properties;

/// About a tenth of a second of work; with headers and librdkafka's own bookkeeping some 25 MB.
const WINDOW_RECORDS: u64 = 16_384;
/// Of keys and payloads.
const WINDOW_BYTES: u64 = 16 * 1024 * 1024;

/// Records and bytes between two looks at the acknowledgements.
const LOOK_RECORDS: u64 = 64;
const LOOK_BYTES: u64 = 256 * 1024;

/// How long one poll waits for acknowledgements: bounds how late the thread that polls notices that the producer is gone. The
/// client library spins for the last millisecond of each, which is why its own thread, with 100 ms, costs a hundredth of a core.
const POLL: Duration = Duration::from_millis(500);

/// What delivery callbacks tell. Callbacks run on the producer's polling thread.
#[derive(Default)]
pub struct Acks {
    records: AtomicU64,
    /// Somebody waits until `records` is this.
    target: AtomicU64,
    failed: AtomicBool,
    failure: Mutex<Option<Failure>>,
    /// The last thing the client library complained about: why nothing is acknowledged.
    complaint: Mutex<Option<String>>,
    reached: Notify,
}

/// A record that wasn't taken.
#[derive(Debug, Clone)]
struct Failure {
    topic: String,
    record: String,
    reason: String,
    about: Trouble,
    bytes: usize,
}

impl Failure {
    fn of(error: &KafkaError, message: &impl Message) -> Self {
        let key = message.key().map_or_else(|| "none".to_owned(), |key| shown(&brief(&name(key))).into_owned());
        let id = message.headers().and_then(|headers| headers.iter().find(|h| h.key == "ce_id")).and_then(|h| h.value);
        let id = id.map_or_else(|| "none".to_owned(), |id| shown(&brief(&name(id))).into_owned());
        let bytes = message.key().map_or(0, <[u8]>::len) + message.payload().map_or(0, <[u8]>::len);
        Self {
            topic: message.topic().to_owned(),
            record: format!("/{}, event {id} of key {key} ({bytes} bytes)", message.partition()),
            reason: error.to_string(),
            about: error.trouble(),
            bytes,
        }
    }
}

impl Acks {
    fn fail(&self, one: Failure) {
        let mut failure = self.failure.lock().unwrap_or_else(PoisonError::into_inner);
        // The first is why the others fail. Records that go together are refused together, and it is about the largest.
        match &mut *failure {
            Some(first) if first.reason != one.reason || first.about != Trouble::Person || first.bytes >= one.bytes => {}
            first => *first = Some(one),
        }
        drop(failure);
        self.failed.store(true, SeqCst);
        self.reached.notify_one();
    }
}

pub struct Context {
    acks: Arc<Acks>,
    ids: Ids,
}

/// The client library's producer.
pub type Client = BaseProducer<Context>;

impl ClientContext for Context {
    fn log(&self, level: RDKafkaLogLevel, facility: &str, said: &str) {
        match level {
            // That the gapless guarantee is called experimental is known, and said at every start.
            _ if facility == "CONFWARN" => tracing::debug!(facility, said, "kafka client"),
            RDKafkaLogLevel::Warning => tracing::warn!(facility, said, "kafka client"),
            RDKafkaLogLevel::Notice | RDKafkaLogLevel::Info => tracing::info!(facility, said, "kafka client"),
            RDKafkaLogLevel::Debug if facility == identity::FACILITY => self.ids.hear(said),
            RDKafkaLogLevel::Debug => tracing::debug!(facility, said, "kafka client"),
            _ => tracing::error!(facility, said, "kafka client"),
        }
    }

    fn error(&self, error: KafkaError, reason: &str) {
        tracing::debug!(%error, reason, "kafka client");
        *self.acks.complaint.lock().unwrap_or_else(PoisonError::into_inner) = Some(reason.to_owned());
    }
}

impl ProducerContext for Context {
    type DeliveryOpaque = ();

    fn delivery(&self, result: &DeliveryResult<'_>, (): ()) {
        match result {
            Ok(_) => {
                let records = self.acks.records.fetch_add(1, SeqCst) + 1;
                if records == self.acks.target.load(SeqCst) {
                    self.acks.reached.notify_one();
                }
            }
            Err((error, message)) => self.acks.fail(Failure::of(error, message)),
        }
    }
}

/// The producer of one term.
pub struct Producer {
    client: Option<Arc<Client>>,
    /// Polls for as long as somebody else has the client.
    polls: JoinHandle<()>,
    acks: Arc<Acks>,
    sent: u64,
    sent_bytes: u64,
    /// When to look at the acknowledgements again: their counter belongs to another thread's cache.
    look_at: u64,
    look_at_bytes: u64,
    /// Records and bytes sent at past looks, from the last one that is acknowledged.
    marks: VecDeque<(u64, u64)>,
    /// All of the first `settled` records have been acknowledged.
    settled: u64,
    /// Longer than any record may stay without an answer.
    patience: Duration,
}

/// The client properties that the guarantees rest on come last and can't be changed.
pub fn client_config(bootstrap: &str, extra: &BTreeMap<String, String>, delivery_timeout: Duration) -> ClientConfig {
    let mut config = ClientConfig::new();
    config
        .set("linger.ms", "0.2")
        .set("compression.type", "lz4")
        .set("batch.size", "1000000")
        .set("batch.num.messages", "20000")
        .set("queue.buffering.max.messages", "100000")
        .set("topic.metadata.refresh.interval.ms", "30000")
        .set("socket.nagle.disable", "true")
        .set("socket.keepalive.enable", "true")
        .set("client.id", "farandole-relay");
    for (name, value) in extra {
        config.set(name, value);
    }
    config
        .set("bootstrap.servers", bootstrap)
        // What the outbox takes, and some: the brokers have the last word.
        .set("message.max.bytes", (crate::publish::outbox::MAX_RECORD + 4096).to_string())
        .set("acks", "all")
        .set("enable.idempotence", "true")
        .set("enable.gapless.guarantee", "true")
        .set("delivery.timeout.ms", delivery_timeout.as_millis().to_string());
    config
}

impl Config {
    /// The properties of the relay's clients.
    #[doc(hidden)]
    pub fn client(&self) -> ClientConfig {
        client_config(&self.bootstrap, &self.kafka, self.delivery_timeout)
    }
}

/// What is wrong with the user's properties, a sentence each.
pub fn refused(extra: &BTreeMap<String, String>) -> Vec<String> {
    properties::refused_by("relay", extra, || client_config("", extra, Duration::from_secs(30)))
}

impl Producer {
    pub fn new(config: &ClientConfig, delivery_timeout: Duration) -> Result<Self, Error> {
        let acks = Arc::new(Acks::default());
        let context = Context { acks: acks.clone(), ids: Ids::default() };
        let client: Client = identity::hearing(config).create_with_context(context).map_err(Error::kafka("making a producer"))?;
        let client = Arc::new(client);
        let polled = Arc::downgrade(&client);
        let polls = thread::Builder::new().name("relay-acks".to_owned()).spawn(move || {
            while let Some(client) = polled.upgrade() {
                client.poll(POLL);
            }
        });
        let polls = polls.map_err(|_| Error::Thread { doing: "waiting for acknowledgements" })?;
        let patience = delivery_timeout + Duration::from_secs(10);
        Ok(Self {
            client: Some(client),
            polls,
            acks,
            sent: 0,
            sent_bytes: 0,
            look_at: 0,
            look_at_bytes: 0,
            marks: VecDeque::new(),
            settled: 0,
            patience,
        })
    }

    /// The client, for questions about topics.
    pub fn client(&self) -> Option<Arc<Client>> {
        self.client.clone()
    }

    /// Whether a topic was deleted and created again since the producer first met it.
    pub fn met_another_topic(&self) -> bool {
        self.client.as_ref().is_some_and(|client| client.context().ids.is_any_another())
    }

    /// How many records were handed over.
    pub fn sent(&self) -> u64 {
        self.sent
    }

    /// Whether the record that was handed over as number `at` is known to be acknowledged, as are all before it.
    pub fn is_settled(&self, at: u64) -> bool {
        at <= self.settled
    }

    /// How many acknowledgements must be there before one more record may go; 0 when it may go at once.
    pub fn wanted(&mut self) -> u64 {
        if self.sent < self.look_at && self.sent_bytes < self.look_at_bytes {
            return 0;
        }
        (self.look_at, self.look_at_bytes) = (self.sent + LOOK_RECORDS, self.sent_bytes + LOOK_BYTES);
        let records = self.acks.records.load(SeqCst);
        self.marks.push_back((self.sent, self.sent_bytes));
        // Partitions are acknowledged in any order, so this is an estimate of the bytes; it is right when all are.
        while self.marks.len() > 1 && self.marks[1].0 <= records {
            self.marks.pop_front();
        }
        let bytes = self.sent_bytes - self.marks.front().map_or(0, |mark| mark.1);
        let full = self.sent - records >= WINDOW_RECORDS || bytes >= WINDOW_BYTES;
        // Half of what is in flight: waking up for each acknowledgement would cost more than it gains.
        if full || self.acks.failed.load(SeqCst) { records + (self.sent - records).div_ceil(2) } else { 0 }
    }

    /// Hands one record over. The caller has waited for [`Producer::wanted`].
    pub async fn send(
        &mut self,
        topic: &str,
        partition: i32,
        key: &str,
        payload: &[u8],
        headers: OwnedHeaders,
    ) -> Result<(), Error> {
        let Some(client) = &self.client else { return Err(Error::Thread { doing: "publishing" }) };
        let mut record = BaseRecord::to(topic).partition(partition).key(key).payload(payload).headers(headers);
        let mut waited = Duration::ZERO;
        loop {
            match client.send(record) {
                Ok(()) => break,
                Err((KafkaError::MessageProduction(RDKafkaErrorCode::QueueFull), back)) if waited < self.patience => {
                    record = back
                }
                Err((error, _)) => {
                    let (about, topic, record) = (error.trouble(), topic.to_owned(), format!("/{partition}"));
                    return Err(Error::Produce { topic, record, reason: error.to_string(), about });
                }
            }
            // The window is smaller than the queue unless somebody configured it so.
            tokio::time::sleep(Duration::from_millis(1)).await;
            waited += Duration::from_millis(1);
        }
        self.sent += 1;
        self.sent_bytes += (key.len() + payload.len()) as u64;
        Ok(())
    }

    /// Waits until `target` records have been acknowledged, at most for `limit`, and says whether they have.
    pub async fn acknowledged(&mut self, target: u64, limit: Duration) -> Result<bool, Error> {
        self.acks.target.store(target, SeqCst);
        let arrived = tokio::time::timeout(limit, async {
            // The callback counts first and compares then; here the target is set first. One of the two sees the other.
            while self.acks.records.load(SeqCst) < target && !self.acks.failed.load(SeqCst) {
                self.acks.reached.notified().await;
            }
        });
        let arrived = arrived.await.is_ok();
        if self.acks.failed.load(SeqCst) {
            let failure = self.acks.failure.lock().unwrap_or_else(PoisonError::into_inner).clone();
            let Some(Failure { topic, record, reason, about, .. }) = failure else { return Err(self.silent()) };
            return Err(Error::Produce { topic, record, reason: self.explain(reason), about });
        }
        if self.acks.records.load(SeqCst) == self.sent {
            self.settled = self.sent;
        }
        Ok(arrived)
    }

    /// How long to wait for an acknowledgement before giving the producer up.
    pub fn patience(&self) -> Duration {
        self.patience
    }

    /// The error for a producer that keeps silent.
    pub fn silent(&self) -> Error {
        let (topic, record) = ("?".to_owned(), String::new());
        Error::Produce { topic, record, reason: self.explain("no delivery report".to_owned()), about: Trouble::Dependency }
    }

    fn explain(&self, reason: String) -> String {
        match &*self.acks.complaint.lock().unwrap_or_else(PoisonError::into_inner) {
            Some(complaint) => format!("{reason} ({complaint})"),
            None => reason,
        }
    }

    /// Purges what isn't acknowledged and waits for the client's threads to end, which takes up to [`POLL`].
    pub async fn close(mut self) {
        if let Some(client) = self.client.take() {
            client.purge(PurgeConfig::default().queue().inflight());
            drop(client);
            let polls = self.polls;
            let _ = tokio::task::spawn_blocking(move || polls.join()).await; // how it ended is of no use to anybody
        }
    }
}

#[cfg(test)]
mod tests;
