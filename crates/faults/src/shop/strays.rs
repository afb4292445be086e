//! What others write into a service's topics, as the last of their partitions: records that are none of ours, and transactions.
//!
//! Whoever reads the end of such a partition, to find where a chain goes on or whether all is read, finds a stranger there, or
//! nothing at all under the last offset. Each record says `stray` in its key or its value, and no two have the same key; so what
//! parks of them can be told from what must not.

use std::collections::BTreeMap;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use anyhow::Context as _;
use rdkafka::config::ClientConfig;
use rdkafka::message::{Header, OwnedHeaders};
use rdkafka::producer::{BaseRecord, DefaultProducerContext, Producer as _, ThreadedProducer};

use crate::plan::Draw;

/// How long brokers may take to accept a record or a transaction: a leader that was lost is replaced within some seconds.
const ACCEPT: Duration = Duration::from_secs(60);
/// A header that is far longer than anything of ours, and that a broker takes.
const HUGE: usize = 200_000;

/// How many were written to a topic: acknowledged, and tried. Of the others nobody knows.
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq)]
pub struct Written {
    pub foreign: (u64, u64),
    pub damaged: (u64, u64),
}

impl Written {
    /// Whether so many may be there.
    pub fn allows(&self, foreign: u64, damaged: u64) -> bool {
        let within = |(least, most): (u64, u64), found| least <= found && found <= most;
        within(self.foreign, foreign) && within(self.damaged, damaged)
    }
}

/// Writes them.
#[derive(Debug)]
pub struct Strays {
    brokers: String,
    shared: Mutex<Shared>,
}

#[derive(Debug)]
struct Shared {
    draw: Draw,
    number: u64,
    written: BTreeMap<String, Written>,
}

/// A stray record.
#[derive(Debug, Default, Clone, PartialEq, Eq)]
struct Stray {
    key: Option<Vec<u8>>,
    value: Option<Vec<u8>>,
    headers: Vec<(&'static str, Vec<u8>)>,
    damaged: bool,
}

impl Stray {
    /// The `n`th, one of several kinds.
    fn draw(draw: &mut Draw, n: u64) -> Self {
        let key = Some(format!("stray-{n}").into_bytes());
        let text = |text: String| text.into_bytes();
        let uuid = || uuid::Uuid::from_u128(u128::from(n));
        let cloud = |source: String| {
            vec![("ce_id", text(uuid().to_string())), ("ce_source", text(source)), ("ce_type", text("stray.Greeting".into()))]
        };
        let link = |l: &str| text(format!("l={l};n={n};p=-;c=stray;k={};i=1/1", uuid()));
        match draw.below(7) {
            // As of `echo hello | kcat -P`.
            0 => Self { value: Some(b"stray".to_vec()), ..Self::default() },
            1 => Self { key, ..Self::default() },
            // Another source, with a chain of its own.
            2 => {
                let mut headers = cloud(format!("/elsewhere/{n}"));
                headers.push(("farandole", link("1")));
                Self { key, value: Some(b"stray".to_vec()), headers, damaged: false }
            }
            3 => Self {
                key,
                value: None,
                headers: vec![("ce_source", text("/elsewhere".into())), ("farandole", link("x"))],
                damaged: true,
            },
            4 => {
                let mut headers = cloud("/elsewhere".into());
                headers.push(("note", vec![b'x'; HUGE]));
                Self { key, value: Some(b"stray".to_vec()), headers, damaged: false }
            }
            5 => Self {
                key: Some([&[0x81, 0xff, 0], &n.to_be_bytes()[..], b"stray"].concat()),
                value: Some(vec![0xff; 9]),
                ..Self::default()
            },
            _ => Self {
                key,
                value: Some(b"stray".to_vec()),
                headers: vec![("ce_type", vec![0xff, 0xfe]), ("ce_source", Vec::new())],
                damaged: false,
            },
        }
    }

    /// A record of which the schema is `id`, as an event of `kind`.
    fn of_schema(n: u64, kind: &'static str, id: i32) -> Self {
        let headers = vec![
            ("ce_id", uuid::Uuid::from_u128(u128::from(n)).to_string().into_bytes()),
            ("ce_source", b"/elsewhere".to_vec()),
            ("ce_type", kind.into()),
            ("content-type", b"application/avro".to_vec()),
        ];
        let value = [&[0], &id.to_be_bytes()[..], b"stray"].concat();
        Self { key: Some(format!("stray-{n}").into_bytes()), value: Some(value), headers, damaged: false }
    }

    /// A record of `kind`, which is heard, and whose value is no event: it parks. Two after each other have the same key.
    fn unreadable(n: u64, kind: &'static str) -> Self {
        let headers = vec![
            ("ce_id", uuid::Uuid::from_u128(u128::from(n)).to_string().into_bytes()),
            ("ce_source", b"/elsewhere".to_vec()),
            ("ce_type", kind.into()),
        ];
        Self { key: Some(format!("stray-{}", n / 2).into_bytes()), value: Some(b"stray".to_vec()), headers, damaged: false }
    }

    fn record<'a>(&'a self, topic: &'a str, partition: i32) -> BaseRecord<'a, [u8], [u8]> {
        let add = |all: OwnedHeaders, (key, value): &'a (&'static str, Vec<u8>)| all.insert(Header { key, value: Some(value) });
        let mut record = BaseRecord::to(topic).partition(partition).headers(self.headers.iter().fold(OwnedHeaders::new(), add));
        (record.key, record.payload) = (self.key.as_deref(), self.value.as_deref());
        record
    }
}

impl Strays {
    /// A writer past all proxies; what it writes is drawn from `seed`.
    pub fn new(brokers: &str, seed: u64) -> Self {
        let shared = Shared { draw: Draw::new(seed ^ 0x57A7), number: 0, written: BTreeMap::new() };
        Self { brokers: brokers.to_owned(), shared: Mutex::new(shared) }
    }

    /// What was written to `topic`.
    pub fn written(&self, topic: &str) -> Written {
        self.lock().written.get(topic).copied().unwrap_or_default()
    }

    fn lock(&self) -> MutexGuard<'_, Shared> {
        self.shared.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn producer(&self, transactional: bool) -> anyhow::Result<ThreadedProducer<DefaultProducerContext>> {
        let mut config = ClientConfig::new();
        config.set("bootstrap.servers", &self.brokers).set("enable.idempotence", "true").set("reconnect.backoff.max.ms", "500");
        config.set("message.timeout.ms", ACCEPT.as_millis().to_string());
        if transactional {
            config.set("transactional.id", uuid::Uuid::new_v4().to_string());
        }
        config.create().context("making a Kafka producer")
    }

    /// Some partitions of `topic`, at least one.
    fn some_partitions(&self, producer: &ThreadedProducer<DefaultProducerContext>, topic: &str) -> anyhow::Result<Vec<i32>> {
        let described = producer.client().fetch_metadata(Some(topic), ACCEPT).with_context(|| format!("asking for {topic}"))?;
        let all: Vec<i32> = described.topics().iter().flat_map(|t| t.partitions()).map(|p| p.id()).collect();
        anyhow::ensure!(!all.is_empty(), "there is no topic {topic}");
        let draw = &mut self.lock().draw;
        let first = draw.below(all.len() as u64) as usize;
        let mut some: Vec<i32> = all.iter().copied().filter(|_| draw.below(2) == 0).collect();
        if some.is_empty() {
            some.push(all[first]);
        }
        Ok(some)
    }

    /// Counts `stray` as tried, or as acknowledged.
    fn count(&self, topic: &str, stray: &Stray, acknowledged: bool) {
        let mut shared = self.lock();
        let written = shared.written.entry(topic.to_owned()).or_default();
        // One with a chain of its own is counted under its source.
        let none = stray.headers.iter().any(|(name, _)| *name == "farandole") && !stray.damaged;
        let (least, most) = if stray.damaged { &mut written.damaged } else { &mut written.foreign };
        if !none {
            *(if acknowledged { least } else { most }) += 1;
        }
    }

    /// One in each of these partitions.
    fn send(
        &self,
        producer: &ThreadedProducer<DefaultProducerContext>,
        topic: &str,
        partitions: &[i32],
        mut make: impl FnMut(&mut Draw, u64) -> Stray,
    ) -> anyhow::Result<Vec<Stray>> {
        let mut sent = Vec::new();
        for partition in partitions {
            let stray = {
                let shared = &mut *self.lock();
                shared.number += 1;
                make(&mut shared.draw, shared.number)
            };
            self.count(topic, &stray, false);
            producer.send(stray.record(topic, *partition)).map_err(|(error, _)| error).context("writing a stray record")?;
            sent.push(stray);
        }
        producer.flush(ACCEPT).with_context(|| format!("writing stray records to {topic}"))?;
        Ok(sent)
    }

    /// Stray records as the last of some partitions of each topic. Blocks.
    pub fn records(&self, topics: &[String]) -> anyhow::Result<()> {
        let producer = self.producer(false)?;
        for topic in topics {
            let partitions = self.some_partitions(&producer, topic)?;
            let sent = self.send(&producer, topic, &partitions, Stray::draw)?;
            sent.iter().for_each(|stray| self.count(topic, stray, true));
        }
        Ok(())
    }

    /// Markers as the last of some partitions of each topic, of a transaction that committed or one that didn't. Blocks.
    pub fn markers(&self, topics: &[String]) -> anyhow::Result<()> {
        for topic in topics {
            let producer = self.producer(true)?;
            producer.init_transactions(ACCEPT).context("beginning with transactions")?;
            let (partitions, commit) = (self.some_partitions(&producer, topic)?, self.lock().draw.below(2) == 0);
            producer.begin_transaction().context("beginning a transaction")?;
            let sent = self.send(&producer, topic, &partitions, Stray::draw)?;
            if commit {
                producer.commit_transaction(ACCEPT).context("committing a transaction")?;
                sent.iter().for_each(|stray| self.count(topic, stray, true));
            } else {
                producer.abort_transaction(ACCEPT).context("aborting a transaction")?;
            }
        }
        Ok(())
    }

    /// In some partitions of `topic` two records of `kind` with the same key that nobody can read: the second parks behind the first. Blocks.
    pub fn unreadable(&self, topic: &str, kind: &'static str) -> anyhow::Result<()> {
        let producer = self.producer(false)?;
        let partitions: Vec<i32> = self.some_partitions(&producer, topic)?.into_iter().flat_map(|n| [n, n]).collect();
        self.lock().number |= 1; // so that pairs begin with an even one
        let sent = self.send(&producer, topic, &partitions, |_, n| Stray::unreadable(n, kind))?;
        sent.iter().for_each(|stray| self.count(topic, stray, true));
        Ok(())
    }

    /// In every partition of `topic` a record of `kind` whose schema is `id`. Blocks.
    pub fn of_schema(&self, topic: &str, kind: &'static str, id: i32) -> anyhow::Result<()> {
        let producer = self.producer(false)?;
        let described = producer.client().fetch_metadata(Some(topic), ACCEPT).with_context(|| format!("asking for {topic}"))?;
        let all: Vec<i32> = described.topics().iter().flat_map(|t| t.partitions()).map(|p| p.id()).collect();
        let sent = self.send(&producer, topic, &all, |_, n| Stray::of_schema(n, kind, id))?;
        sent.iter().for_each(|stray| self.count(topic, stray, true));
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    /// Each kind comes up; none is taken for the shop's, and each can be told from what is.
    #[test]
    fn strays_are_of_many_kinds_and_say_so() {
        let mut draw = Draw::new(7);
        let all: Vec<Stray> = (0..200).map(|n| Stray::draw(&mut draw, n)).collect();
        let says = |bytes: &Option<Vec<u8>>| bytes.as_ref().is_some_and(|b| b.windows(5).any(|five| five == b"stray"));
        assert!(all.iter().all(|stray| says(&stray.key) || says(&stray.value)));
        let keys: Vec<&Vec<u8>> = all.iter().filter_map(|stray| stray.key.as_ref()).collect();
        assert_eq!(keys.iter().collect::<BTreeSet<_>>().len(), keys.len());
        let names = |s: &Stray| s.headers.iter().map(|(name, _)| *name).collect::<Vec<_>>();
        let kinds: BTreeSet<_> = all.iter().map(|s| (s.key.is_some(), s.value.is_some(), names(s))).collect();
        assert_eq!(kinds.len(), 7, "{kinds:?}");
    }
}
