//! Where partitions begin and end, and reading them from one offset to another: the one place that knows.
//!
//! **Offsets are not dense.** A transaction's commit or abort takes one, compaction and deleted records leave holes, and a client
//! sees none of that as a record. So the end is asked for, and reading is over when the client says that it has read a partition to
//! its end, or gives a record from behind where reading was to stop; never when some offset's record was seen.
//!
//! **What is read** is the caller's choice, [`View`]. A service's own history is read with everything that is there: its records
//! belong to no transaction and may stand behind one of somebody else's that is open, which would hide them for as long as that
//! takes. Who wants to see what consumers see leaves out what was aborted, and ends where the oldest open transaction begins.
//!
//! **How it would fail without**: who waits for the record before the end waits for ever once that is a marker; who takes a
//! partition's last record for the last of a service takes a stranger's.

use std::collections::{BTreeMap, HashMap};
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use rdkafka::client::ClientContext;
use rdkafka::config::ClientConfig;
use rdkafka::consumer::{BaseConsumer, Consumer as _, ConsumerContext};
use rdkafka::error::{KafkaError, RDKafkaErrorCode};
use rdkafka::message::{BorrowedMessage, Message as _};
use rdkafka::topic_partition_list::{Offset, TopicPartitionList};

use crate::wire::record::Record;

/// For one answer of a broker.
const ANSWER: Duration = Duration::from_secs(10);
/// How long reading may stand still before it is given up: longer than a partition takes to get a new leader.
const STILL: Duration = Duration::from_secs(30);

/// Which records are read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum View {
    /// All that a partition holds, those of aborted and of open transactions too.
    Everything,
    /// What consumers are given: nothing aborted, nothing behind the first transaction that is open.
    Committed,
}

/// A stretch of a partition: offsets from `low` on and below `high`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Extent {
    /// Topic, with its prefix.
    pub topic: String,
    /// Partition.
    pub partition: i32,
    /// The first offset. Above 0 in a whole partition when its beginning has expired or was deleted.
    pub low: i64,
    /// The offset after the last.
    pub high: i64,
}

/// What to read after a record.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Then {
    /// All that comes.
    More,
    /// Nothing more of this partition.
    Enough,
    /// Nothing more at all.
    Stop,
}

/// Why a topic can't be read.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// What the client library or the brokers said.
    #[error("{doing}")]
    Kafka {
        /// What was being done.
        doing: &'static str,
        /// What was said.
        #[source]
        source: KafkaError,
    },
    /// Nothing came.
    #[error("reading {topic}: no data from Kafka for {seconds} s although {partitions} partition(s) have more")]
    Silent {
        /// Which topic.
        topic: String,
        /// For how long.
        seconds: u64,
        /// How many weren't read to their ends.
        partitions: usize,
    },
}

impl Error {
    fn kafka(doing: &'static str) -> impl FnOnce(KafkaError) -> Self {
        move |source| Self::Kafka { doing, source }
    }
}

/// A client that reads by offsets. It joins no group and commits nothing. All of its calls block.
pub struct Client(BaseConsumer<Quiet>);

/// Logs what the client complains about; where a partition ends is no complaint.
#[derive(Default)]
struct Quiet(Mutex<String>);

impl ClientContext for Quiet {
    fn error(&self, error: KafkaError, reason: &str) {
        if error.rdkafka_error_code() != Some(RDKafkaErrorCode::PartitionEOF) {
            // A client without brokers says the same hundreds of times.
            let mut last = self.0.lock().unwrap_or_else(PoisonError::into_inner);
            if *last != reason {
                reason.clone_into(&mut last);
                tracing::warn!(error = %error, reason, "reading a topic");
            }
        }
    }
}

impl ConsumerContext for Quiet {}

impl std::fmt::Debug for Client {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_tuple("Client").finish_non_exhaustive()
    }
}

impl Client {
    /// A client with the properties of `kafka`, but for those that reading to the end rests on.
    ///
    /// # Errors
    /// When a property is wrong.
    pub fn new(kafka: &ClientConfig, view: View) -> Result<Self, Error> {
        let mut kafka = kafka.clone();
        kafka
            // A name that the library wants of every consumer.
            .set("group.id", "farandole-extent")
            .set("enable.auto.commit", "false")
            .set("enable.partition.eof", "true")
            .set("auto.offset.reset", "error")
            .set("isolation.level", if view == View::Everything { "read_uncommitted" } else { "read_committed" })
            .set("fetch.wait.max.ms", "10")
            .set("check.crcs", "true")
            // Producer properties mean nothing to a consumer, which would only warn about them.
            .set("log_level", "3");
        // What is fetched ahead bounds the memory, whatever the partitions hold. The client looks a second later whether there is room
        // again, unless told otherwise, and whoever reads faster than that waits.
        for (name, value) in [("queued.max.messages.kbytes", "4096"), ("fetch.queue.backoff.ms", "2")] {
            if kafka.get(name).is_none() {
                kafka.set(name, value);
            }
        }
        Ok(Self(kafka.create_with_context(Quiet::default()).map_err(Error::kafka("making a Kafka consumer"))?))
    }

    /// How many partitions each topic has. Asks for all of them: a question for one by name makes it, where brokers make topics by
    /// themselves.
    ///
    /// # Errors
    /// When the brokers don't say.
    pub fn topics(&self) -> Result<BTreeMap<String, i32>, Error> {
        let metadata = self.0.fetch_metadata(None, ANSWER).map_err(Error::kafka("asking which topics there are"))?;
        let there = metadata.topics().iter().filter(|t| t.error().is_none());
        Ok(there.map(|t| (t.name().to_owned(), i32::try_from(t.partitions().len()).unwrap_or(i32::MAX))).collect())
    }

    /// What each partition of `topic` holds as of now; nothing when there is no such topic.
    ///
    /// # Errors
    /// When the brokers don't say.
    pub fn extents(&self, topic: &str) -> Result<Vec<Extent>, Error> {
        let metadata = self.0.fetch_metadata(Some(topic), ANSWER).map_err(Error::kafka("asking for a topic's partitions"))?;
        let found = metadata.topics().iter().filter(|t| t.name() == topic && t.error().is_none());
        let mut partitions: Vec<i32> = found.flat_map(|t| t.partitions()).map(|p| p.id()).collect();
        partitions.sort_unstable();
        partitions.into_iter().map(|partition| self.extent(topic, partition)).collect()
    }

    /// What one partition holds as of now.
    ///
    /// # Errors
    /// When the brokers don't say.
    pub fn extent(&self, topic: &str, partition: i32) -> Result<Extent, Error> {
        let ends = self.0.fetch_watermarks(topic, partition, ANSWER);
        let (low, high) = ends.map_err(Error::kafka("asking where a partition ends"))?;
        Ok(Extent { topic: topic.to_owned(), partition, low, high })
    }

    /// Gives the records of `stretches`, which are of one topic and of different partitions, to `take`, each partition's in their
    /// order, until all are read or it says false.
    ///
    /// # Errors
    /// When they can't be read to their ends, and what `take` says.
    pub fn each<E: From<Error>>(&self, stretches: &[Extent], mut take: impl FnMut(Record) -> Result<bool, E>) -> Result<(), E> {
        self.messages(stretches, |message| Ok(if take(Record::copy(message))? { Then::More } else { Then::Stop }))
    }

    /// The same, with when the broker or the producer says that each was written, in milliseconds since 1970, and with more to say about
    /// what comes then.
    ///
    /// # Errors
    /// As [`Client::each`].
    pub fn walk<E: From<Error>>(
        &self,
        stretches: &[Extent],
        mut take: impl FnMut(Record, Option<i64>) -> Result<Then, E>,
    ) -> Result<(), E> {
        self.messages(stretches, |message| take(Record::copy(message), message.timestamp().to_millis()))
    }

    /// The same, for who reads millions: a record is lent until the next one.
    ///
    /// # Errors
    /// As [`Client::each`].
    pub fn lend<E: From<Error>>(&self, stretches: &[Extent], mut take: impl FnMut(&Record) -> Result<bool, E>) -> Result<(), E> {
        let mut record = Record::default();
        self.messages(stretches, |message| {
            record.refill(message);
            Ok(if take(&record)? { Then::More } else { Then::Stop })
        })
    }

    fn messages<E: From<Error>>(
        &self,
        stretches: &[Extent],
        take: impl FnMut(&BorrowedMessage<'_>) -> Result<Then, E>,
    ) -> Result<(), E> {
        let doing = "reading a topic";
        let mut list = TopicPartitionList::new();
        let mut open: HashMap<i32, i64> = HashMap::new();
        for Extent { topic, partition, low, high } in stretches.iter().filter(|s| s.low < s.high) {
            debug_assert_eq!(*topic, stretches[0].topic, "an end is told by the partition's number alone");
            open.insert(*partition, *high);
            list.add_partition_offset(topic, *partition, Offset::Offset(*low)).map_err(Error::kafka(doing))?;
        }
        if open.is_empty() {
            return Ok(());
        }
        self.0.assign(&list).map_err(Error::kafka(doing))?;
        let read = self.assigned(stretches, open, take);
        // Nothing more is fetched ahead until the next call.
        let left = self.0.unassign().map_err(Error::kafka(doing));
        read?;
        Ok(left?)
    }

    fn assigned<E: From<Error>>(
        &self,
        stretches: &[Extent],
        mut open: HashMap<i32, i64>,
        mut take: impl FnMut(&BorrowedMessage<'_>) -> Result<Then, E>,
    ) -> Result<(), E> {
        let doing = "reading a topic";
        let mut heard = Instant::now();
        while !open.is_empty() {
            match self.0.poll(Duration::from_millis(100)) {
                Some(Ok(message)) => {
                    // Of a partition that was read as far as it is wanted more may come.
                    let Some(high) = open.get(&message.partition()).copied() else { continue };
                    heard = Instant::now();
                    let (partition, offset) = (message.partition(), message.offset());
                    let then = if offset < high { take(&message)? } else { Then::Enough };
                    if then == Then::Stop {
                        return Ok(());
                    }
                    if then == Then::Enough || offset + 1 >= high {
                        open.remove(&partition);
                    }
                }
                Some(Err(KafkaError::PartitionEOF(partition))) => {
                    open.remove(&partition);
                    heard = Instant::now();
                }
                Some(Err(error)) => return Err(Error::kafka(doing)(error).into()),
                None if heard.elapsed() > STILL => {
                    let topic = stretches[0].topic.clone();
                    return Err(Error::Silent { topic, seconds: STILL.as_secs(), partitions: open.len() }.into());
                }
                None => {}
            }
        }
        Ok(())
    }

    /// All that `topic` holds as of now, partition by partition: for tests and audits of small topics, since it is held at once.
    ///
    /// # Errors
    /// When it can't be read to its end.
    pub fn records(&self, topic: &str) -> Result<Vec<Record>, Error> {
        let mut records = Vec::new();
        self.each(&self.extents(topic)?, |record| {
            records.push(record);
            Ok::<_, Error>(true)
        })?;
        records.sort_by_key(|r: &Record| (r.partition, r.offset));
        Ok(records)
    }
}
